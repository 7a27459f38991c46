"""Measurements that came over MQTT, from the record to a Measurement, and from a station to an archive."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from telemetry.makers import NS, T0_S, batch, vector_meta, wait_for
from telemetry.test_autodif import ABS, NOISE, meta, payload

from obslab import conrad
from obslab.config import broker_at
from obslab.errors import NoStreamError, SheetError
from obslab.telemetry import autodif, codec
from obslab.telemetry.absolutes.measurement import NO_TIME_NS
from obslab.telemetry.absolutes.records import measurements, of_record, to_record
from obslab.telemetry.absolutes.reducing import reduce
from obslab.telemetry.absolutes.simulating import LASTING_S
from obslab.telemetry.archive.batch import Arrivals
from obslab.telemetry.baseline import spots
from obslab.telemetry.collect.collector import Collector
from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.datasets import samples_schema
from obslab.telemetry.protocol import Unit
from obslab.telemetry.sample import Stream, encode_meta
from obslab.telemetry.station.autodif import TRUE_BASELINES
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.liaison import Liaison
from obslab.telemetry.station.publisher import Publisher
from obslab.telemetry.station.recording import STORM, Recording
from obslab.telemetry.station.replay import Replay
from obslab.telemetry.station.run import Station
from obslab.telemetry.station.simulate import Simulator, variometer_nt
from obslab.times import as_ns, from_ns

BODY = payload(**NOISE)[4:]


def one(body=BODY, **changes):
    return of_record(ABS, meta(**changes), T0_S * NS, body)


def test_a_record_is_a_measurement_with_all_readings_and_their_times():
    found, record = one(sensor="AUTODIF"), autodif.unpack(BODY)
    kinds = [*["mark"] * 2, *["declination"] * 4, *["mark"] * 2, *["inclination"] * 4]
    assert found.readings["kind"].tolist() == kinds
    assert found.readings["position"].tolist()[2:6] == ["up-east", "down-west", "down-east", "up-west"]
    assert found.readings["position"].tolist()[8:] == ["up-south", "down-north", "down-south", "up-north"]
    assert found.readings["time_ns"].tolist() == [T0_S * NS + round(at * NS) for at in record.after_s[0]]
    for name in ("horizontal_deg", "vertical_deg", "residual_nt"):
        those = found.readings["kind"] != "mark"
        np.testing.assert_array_equal(found.readings[name][those], getattr(record, name)[0, those])
    assert np.isnan(found.readings["vertical_deg"][:2]).all()
    assert (found.method, found.station, found.azimuth_deg) == ("autodif", "PEA", 251.372)
    assert (found.theodolite, found.sensor) == ("PEA autodif01 abs", "AUTODIF")
    assert found.source == "pea/autodif01/abs 2024-05-10T17:05:00Z"


def test_a_measurement_goes_back_into_its_record_in_whatever_order_its_readings_are():
    found = one()
    assert to_record(found) == (T0_S * NS, no_quality(BODY))
    shuffled = found.readings[np.random.default_rng(1).permutation(12)]
    assert to_record(replace(found, readings=shuffled)) == (T0_S * NS, no_quality(BODY))


def no_quality(body):
    """A Measurement has no figures of quality, and no vertical circle of the mark."""
    record = autodif.unpack(body)
    record.quality[:] = 0
    record.vertical_deg[0, [0, 1, 6, 7]] = np.nan
    return autodif.pack(record)


def test_an_instrument_that_tells_no_residual_has_none():
    record = autodif.unpack(BODY)
    record.residual_nt[:] = np.nan
    found = one(autodif.pack(record))
    assert len(found.of("declination")) == len(found.of("inclination")) == 4


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        (slice(0, 11), "no reading inclination up-north"),
        ([*range(12), 11], "13 readings do not fit the 12"),
        ([1, *range(1, 12)], "no reading mark up|13 readings|no reading mark"),
    ],
)
def test_a_measurement_without_the_readings_of_a_record_is_refused(chosen, named):
    found = one()
    with pytest.raises(SheetError, match=named):
        to_record(replace(found, readings=found.readings[chosen]))


def test_a_measurement_without_times_is_refused():
    found = one()
    found.readings["time_ns"][3] = NO_TIME_NS
    with pytest.raises(SheetError, match="a reading without a time"):
        to_record(found)


@pytest.mark.parametrize(
    ("body", "named"), [(BODY[:100], "100 bytes"), (BODY[16:] + BODY[:16], "reading 1 of 12 has position 2")]
)
def test_bytes_that_are_no_measurement_are_named_with_stream_and_time(body, named):
    with pytest.raises(SheetError, match=f"pea/autodif01/abs 2024-05-10T17:05:00Z .*{named}"):
        one(body)


def test_reduction_finds_the_theodolites_errors_and_gets_nearer_than_the_closed_form():
    """Up to 60" from the null, 6 nT, which the residuals tell and the closed form does not hear."""
    far = [payload(seed=seed, stop_arcsec=60.0)[4:] for seed in range(20)]
    scalar = samples_schema({"f": "nT"}).build(
        {"station": "PEA", "instrument": "gsm90001", "samplerate": "sec", "cadence_s": 1.0},
        time=from_ns((T0_S + np.arange(-60, 660)) * NS),
        f=np.full(720, 48_600.0),
    )
    found = reduce([one(body) for body in far], scalar=scalar)
    assert found.d.values == pytest.approx(np.full(20, 4.25), abs=3e-6)
    assert found.i.values == pytest.approx(np.full(20, 64.37), abs=3e-6)
    assert found.delta.values == pytest.approx(np.full(20, 3.0), abs=0.01)
    closed = codec.unpack(meta(), b"".join(far))[0]
    assert closed[:, 0].std() > 10 / 3600  # 60" evenly to both sides, in four positions: 17"


# ---- out of an archive


def filled(archive, *streams, seconds=(T0_S, T0_S + 20_000, T0_S + 40_000)):
    for stream in streams:
        time_ns, bodies = codec.split(stream, meta(), [payload(second) for second in seconds])
        arrivals = Arrivals(stream, time_ns, time_ns, 192, bodies, np.zeros(len(seconds), bool))
        archive.add(batch(arrivals, metas={stream.meta_topic: (meta(),)}))


def test_measurements_are_chosen_by_station_instrument_and_time(archive):
    other = Stream("WIC", "autodif01", "abs")
    filled(archive, ABS, other)
    every = measurements(archive)
    assert [found.station for found in every] == ["PEA"] * 3 + ["WIC"] * 3
    assert [found.readings["time_ns"][0] // NS - T0_S for found in every[:3]] == [0, 20_000, 40_000]
    assert len(measurements(archive, "wic")) == 3
    assert len(measurements(archive, instrument="autodif01")) == 6
    begin, end = (np.datetime64((T0_S + after) * NS, "ns") for after in (20_000, 40_000))
    assert len(measurements(archive, "PEA", begin=begin, end=end)) == 1  # half-open
    assert len(measurements(archive, "PEA", "autodif01", begin=begin)) == 2
    with pytest.raises(
        NoStreamError, match="no absolute measurements of PEA lemi; it has PEA autodif01 abs, WIC"
    ):
        measurements(archive, "PEA", "lemi")


def test_an_archive_without_any_has_none(archive):
    assert measurements(archive) == ()


def test_what_is_no_measurement_is_left_out_and_told(archive, caplog):
    """Stored before there were absolutes, or by an import that looks at no readings."""
    filled(archive, ABS)
    old = Stream("PEA", "didd", "abs")
    archive.add(
        batch(
            Arrivals(old, np.array([T0_S * NS]), np.array([T0_S * NS]), 12, b"\0" * 12, np.zeros(1, bool)),
            Arrivals(ABS, np.array([T0_S * NS - NS]), np.array([0]), 192, b"\0" * 192, np.zeros(1, bool)),
            metas={old.meta_topic: (vector_meta(),)},
        )
    )
    assert len(measurements(archive)) == 3
    assert "pea/didd/abs 2024-05-10T17:05:00Z is no absolute measurement by its metadata" in caplog.text
    assert "pea/autodif01/abs 2024-05-10T17:04:59Z is no absolute measurement: reading 1 of 12" in caplog.text


# ---- the whole way


def test_the_second_measurement_beside_a_replay_is_one_that_a_baseline_can_be_made_of(archive):
    """The first was over when the station began: there is D and I at once, but no variometer data for it."""
    begin_ns = as_ns("2024-05-10T17:03Z")
    storm, end_ns = Recording.read(STORM), begin_ns + LASTING_S * NS
    replay = Replay(storm, begin_ns=begin_ns, wall_ns=begin_ns, shifted=False, absolutes=True)
    known = [(stream.meta_topic, encode_meta([about])) for stream, about in replay.metas()]
    sent = [(topic, payload) for topic, _, payload in replay.due(end_ns)]
    archive.add(Intake({}).sort([Message(*message, end_ns) for message in known + sent]))
    made = measurements(archive, "WIC")
    assert [found.readings["time_ns"][0] - begin_ns for found in made] == [-LASTING_S * NS, 0]
    vector, scalar = (archive.dataset("WIC", name) for name in (conrad.VECTOR, conrad.SCALAR))
    found = reduce(made, vector, scalar, pier_difference_nt=conrad.PIER_DIFFERENCE_NT)
    assert found.used.values.tolist() == [False, True]
    spot = spots(found, vector, scalar, pier_difference_nt=conrad.PIER_DIFFERENCE_NT).isel(spot=1)
    # Four times 3.5" of D, and 2.5" of I across 48.6 uT.
    off = spot.base.values - TRUE_BASELINES["hez"]
    assert (np.abs(off) < [2.5, 0.004, 2.5]).all()


def test_a_simulated_station_sends_what_measurements_give_back(shared_broker, archive, tmp_path, client):
    """Three days in as many seconds: simulator, journal, broker, collector, archive, Measurement."""
    address = broker_at(shared_broker.url, {})
    collector = Collector(archive, address)
    collector.start()
    assert collector.wait_link(10).connected
    # At 100,000 times the speed samples of 1 Hz would be too many: the LEMI and the GSM are left at home.
    journal, device = Journal(tmp_path / "journal"), Simulator(speed=86_400.0, absolutes=True)
    device._next_s = 2**33
    publisher = Publisher(journal, address, Liaison(journal, Unit("PEA", "autodif01")))
    publisher.start()
    ending = threading.Event()
    thread = threading.Thread(target=Station(device, journal, publisher).run, args=(ending,))
    thread.start()
    try:
        wait_for(lambda: collector.counted["unique"] >= 15, what="three days of measurements")
        bad = client(address)
        good = payload(int(time.time()))
        cut, wrong = good[:120], good[:4] + good[20:] + good[4:20]
        for one_of_them in (cut, wrong):
            bad.publish(ABS.topic, one_of_them, qos=1).wait_for_publish(5)
        wait_for(lambda: archive.rejected_count() == 2, what="two rejected messages")
    finally:
        ending.set()
        thread.join()
        publisher.stop()
        collector.stop()
        journal.close()
    found = measurements(archive, "PEA")
    assert len(found) >= 15
    assert collector.counted["contradiction"] == 0
    reasons = archive.rejected().reason.values.tolist()
    assert "120 bytes where an absolute measurement has 196" in reasons[0]
    assert "reading 1 of 12 has position 2 (mark down), wanted 1 (mark up)" in reasons[1]

    # The truth is the field at the readings' own times; D from its four, I from its four.
    dataset = archive.dataset("PEA", "autodif01")
    base = np.array(TRUE_BASELINES["xyz"])
    for number, measured in enumerate(found):
        for kind, name, sigma_deg in (("declination", "d", 3.7 / 3600), ("inclination", "i", 2.7 / 3600)):
            times_s = measured.of(kind)["time_ns"] / NS
            north, east, down = np.array([variometer_nt(at) + base for at in times_s]).T
            angle = (
                np.arctan2(east, north) if kind == "declination" else np.arctan2(down, np.hypot(north, east))
            )
            met = float(dataset[name].values[number])
            assert met == pytest.approx(np.degrees(angle).mean(), abs=5 * sigma_deg)
    assert {str(unit) for unit in (dataset.d.units, dataset.i.units)} == {"deg"}
