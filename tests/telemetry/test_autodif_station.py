"""The simulated AUTODIF at a station: when it measures, what it hands out, and how a station carries it."""

import itertools
import time

import msgspec
import numpy as np
import pytest
from telemetry.makers import NS, T0_S

from obslab.errors import ConfigError
from obslab.telemetry import autodif, codec
from obslab.telemetry.absolutes.simulating import LASTING_S
from obslab.telemetry.sample import Stream, as_datetime
from obslab.telemetry.station.autodif import (
    AZIMUTH_DEG,
    SCHEDULE,
    TRUE_BASELINES,
    Autodif,
    on_pillar,
    stream_of,
)
from obslab.telemetry.station.equipment import instruments_from, streams_of
from obslab.telemetry.station.journal import Entry, Journal
from obslab.telemetry.station.link_model import PRESETS
from obslab.telemetry.station.recording import STORM, Recording, Track
from obslab.telemetry.station.rendering import ImpfRendering
from obslab.telemetry.station.replay import Replay
from obslab.telemetry.station.simulate import Satellite, Simulator, variometer_nt
from obslab.times import NS_PER_DAY, as_ns, iso

PEA, WIC = stream_of("PEA"), stream_of("WIC")
DAY_NS = as_ns("2024-05-10")
LASTING_NS = LASTING_S * NS
SIGMA_DEG = np.array([3.7, 2.7]) / 3600  # of D and I: 5" of reading and 2" of stopping, four of each
OPTIONS = {"replay": None, "simulate": False, "station": None, "instruments": [], "speed": 1.0}
OPTIONS |= {"time": "original", "begin": None, "loop": False, "seed": 1}


def simulator(begin_ns=DAY_NS + 9 * 3600 * NS, **options):
    return Simulator(wall_ns=begin_ns, absolutes=True, **options)


def minutes_of_the_storm():
    """Every 60th of its samples: the same day, told faster."""
    return Recording(
        tuple(
            Track(
                Stream(track.stream.station, track.stream.instrument, "min"),
                track.meta,
                track.time_ns[::60],
                track.values[::60],
            )
            for track in Recording.read(STORM).tracks
        )
    )


def records(instruments, upto_ns, stream=PEA):
    """Time and payload of the absolute measurements up to a time; the samples are not made."""
    return [
        (at, payload) for topic, at, payload in instruments._autodif.due(upto_ns) if topic == stream.topic
    ]


def angles(pillar_nt):
    north, east, down = pillar_nt.T
    return np.degrees([np.arctan2(east, north), np.arctan2(down, np.hypot(north, east))]).T


def measured(payloads, azimuth_deg=AZIMUTH_DEG):
    meta = simulator().metas()[2][1]
    meta = msgspec.structs.replace(meta, azimuth_deg=azimuth_deg)
    return codec.unpack(meta, b"".join(payload[4:] for payload in payloads))[0]


# ---- when


def test_it_measures_before_and_after_the_station_begins_and_then_by_its_schedule():
    begin_ns = DAY_NS + 9 * 3600 * NS
    found = [at for at, _ in records(simulator(begin_ns), begin_ns + 2 * NS_PER_DAY)]
    clock = [iso(at, 0)[11:16] for at in found]
    assert clock == ["08:54", "09:00", *SCHEDULE[2:], *SCHEDULE, *SCHEDULE[:2]]
    assert found[0] == begin_ns - LASTING_NS  # so it is there at once
    assert found[1] == begin_ns  # so the variometer has the field of all its readings
    steps = np.diff(found[2:7])
    assert len(set(steps.tolist())) > 2  # unevenly spaced, five a day


def test_a_record_is_handed_out_after_its_last_reading():
    device = simulator()
    records(device, DAY_NS + 10 * 3600 * NS)
    start_ns = DAY_NS + (10 * 60 + 25) * 60 * NS
    assert records(device, start_ns + LASTING_NS - 1) == []
    ((at, payload),) = records(device, start_ns + LASTING_NS)
    assert at == start_ns
    meta = device.metas()[2][1]
    assert codec.completed(meta, np.array([at]), payload[4:]).tolist() == [at + LASTING_NS]
    assert meta.delay_s == LASTING_S == 318


def test_metadata_hold_from_before_the_first_record_on():
    device = simulator()
    (stream, meta), ((first_ns, payload), *_) = device.metas()[2], records(device, DAY_NS + NS_PER_DAY)
    assert (stream, meta.kind, meta.schedule) == (PEA, "absolute", SCHEDULE)
    assert meta.valid_from_ns <= first_ns
    assert codec.message_size(stream, meta) == len(payload) == 196


def test_samples_and_records_come_from_one_station_in_one_go():
    device = simulator()
    begin_ns = DAY_NS + 9 * 3600 * NS
    assert device.next_ns() == begin_ns
    topics = [topic for topic, _, _ in device.due(begin_ns + 300_000_000)]
    assert topics == ["pea/lemi0001/sec", "pea/gsm90001/sec", "pea/autodif01/abs"]
    assert device.next_ns() == begin_ns + 1_300_000_000


# ---- what


def test_measurements_agree_with_variometer_and_true_baseline_within_the_noise():
    found = records(simulator(), DAY_NS + 40 * NS_PER_DAY)
    assert len(found) > 150
    base = np.array(TRUE_BASELINES["xyz"])
    truth = []
    for at, payload in found:
        times_s = at / NS + autodif.unpack(payload[4:]).after_s[0]
        at_readings = angles(np.array([variometer_nt(time_s) for time_s in times_s]) + base)
        truth.append([at_readings[2:6, 0].mean(), at_readings[8:12, 1].mean()])
    off_deg = measured([payload for _, payload in found]) - np.array(truth)
    assert (np.abs(off_deg.mean(axis=0)) < 4 * SIGMA_DEG / np.sqrt(len(found))).all()
    assert off_deg.std(axis=0) == pytest.approx(SIGMA_DEG, rel=4 / np.sqrt(2 * len(found)))


def test_the_pillar_is_the_variometer_and_the_baseline_of_its_frame():
    h, e, z = 20_800.0, 160.0, 43_700.0
    h0, d0, z0 = TRUE_BASELINES["hez"]
    d = np.radians(d0) + np.arctan2(e, h + h0)
    level = np.hypot(h + h0, e)
    expected = [level * np.cos(d), level * np.sin(d), z + z0]
    assert on_pillar(("h", "e", "z"), np.array([[h, e, z]]))[0] == pytest.approx(expected)
    x0, y0, z0 = TRUE_BASELINES["xyz"]
    assert on_pillar(("x", "y", "z"), np.array([[h, e, z]]))[0] == pytest.approx([h + x0, e + y0, z + z0])
    h0, d0, z0 = TRUE_BASELINES["hdz"]
    d = np.radians(d0 + 30 / 60)
    expected = [(h + h0) * np.cos(d), (h + h0) * np.sin(d), z + z0]
    assert on_pillar(("h", "d", "z"), np.array([[h, 30.0, z]]))[0] == pytest.approx(expected)
    with pytest.raises(ConfigError, match="simulated on h e z, x y z, h d z, not on d i f"):
        on_pillar(("d", "i", "f"), np.zeros((1, 3)))


def test_replay_measures_beside_the_recorded_storm():
    storm = Recording.read(STORM)
    replay = Replay(storm, shifted=False, absolutes=True)
    payloads = records(replay, 2**62, WIC)
    assert [iso(at, 0)[:16] for at, _ in payloads] == [
        f"2024-05-10T{clock}" for clock in ("00:00", *SCHEDULE)
    ]  # none has a reading before the recording begins, the last ends before its end
    track = storm.tracks[0]
    found = measured([payload for _, payload in payloads])
    for (at, _), met in zip(payloads, found, strict=True):
        for offset, column in ((118, 0), (283, 1)):  # the middle of those for D, for I
            window = (track.time_ns >= at + (offset - 40) * NS) & (track.time_ns <= at + (offset + 40) * NS)
            truth = angles(on_pillar(("h", "e", "z"), track.values[window]))[:, column]
            # In a storm the field of the four readings is not that of the whole window: it lies within it.
            assert truth.min() - 4 * SIGMA_DEG[column] < met[column] < truth.max() + 4 * SIGMA_DEG[column]


# ---- again


def test_the_same_seed_gives_the_same_readings_and_another_others():
    first, again, other = (records(simulator(seed=seed), DAY_NS + NS_PER_DAY) for seed in (1, 1, 2))
    assert first == again
    assert [at for at, _ in first] == [at for at, _ in other]
    assert not {payload for _, payload in first} & {payload for _, payload in other}


def test_restart_measures_nothing_twice_and_nothing_differently(tmp_path, monkeypatch):
    """Killed at any time: what one run does not hand out, the next one does, as the first would have."""
    begin_ns = DAY_NS + 9 * 3600 * NS
    whole = records(simulator(begin_ns), begin_ns + NS_PER_DAY)
    journal = Journal(tmp_path / "j")
    for hours in (0, 0.01, 1, 1.45, 1.55, 6.9, 13, 24):
        now_ns = begin_ns + round(hours * 3600) * NS
        monkeypatch.setattr("obslab.telemetry.station.simulate.time.time_ns", lambda now_ns=now_ns: now_ns)
        device = Simulator(wall_ns=now_ns, absolutes=True)
        device.resume(journal)
        kept = records(device, now_ns + (30 if hours == 0 else 600) * NS)
        # It ran for ten minutes only, so what it measured in between is not made up.
        journal.append([(PEA.topic, at, payload) for at, payload in kept])
        journal.append([(device.vector.topic, now_ns, b"")])
        for stream, meta in device.metas():
            journal.add_meta(stream.meta_topic, meta)
    stored = [(one.time_ns, one.payload) for one in journal.between(PEA.topic, 0, 2**62, 100)]
    journal.close()
    assert set(stored) <= set(whole)
    # 10:25 lasts to 10:30: the run at 10:27 hands it out, and that at 10:33 does not again.
    assert [iso(at, 0)[11:16] for at, _ in stored] == ["08:54", "09:00", "10:25", "15:50"]


@pytest.mark.parametrize("loop", [False, True])
def test_replay_goes_on_after_a_restart_with_what_was_missed(tmp_path, loop):
    storm = minutes_of_the_storm()
    begin_ns, wall_ns = as_ns("2024-05-10T06:00Z"), time.time_ns() // NS * NS

    def run(journal, upto_s):
        replay = Replay(storm, begin_ns=begin_ns, wall_ns=wall_ns, loop=loop, absolutes=True)
        replay.resume(journal)
        sent = replay.due(wall_ns + upto_s * NS)
        for stream, meta in replay.metas():
            if meta not in journal.metas().get(stream.meta_topic, ()):
                journal.add_meta(stream.meta_topic, meta)
        journal.append(sent)
        return [(topic, at, payload) for topic, at, payload in sent if topic == WIC.topic]

    with_breaks = []
    journal = Journal(tmp_path / "a")
    for upto_s in (60, 120, 3000, 3000, 40_000):
        with_breaks += run(journal, upto_s)
    journal.close()
    journal = Journal(tmp_path / "b")
    assert with_breaks == run(journal, 40_000)
    journal.close()
    assert len(with_breaks) == 5  # before and after it begins, and at 06:40, 10:25, 15:50 of the recording


def test_loop_goes_on_measuring_by_the_recordings_time_of_day():
    storm = minutes_of_the_storm()
    replay = Replay(
        storm, shifted=False, begin_ns=as_ns("2024-05-10T20:00Z"), loop=True, wall_ns=DAY_NS, absolutes=True
    )
    found = []
    for hour in range(30):
        upto_ns = as_ns("2024-05-10T20:00Z") + hour * 3600 * NS
        found += [at for topic, at, _ in replay.due(upto_ns) if topic == WIC.topic]
    clock = [iso(at, 0)[8:16] for at in found]
    assert clock == ["10T19:54", "10T20:00", "10T21:15", *(f"11T{at}" for at in SCHEDULE)]
    assert {meta.clock.recorded for _, meta in replay.metas()} == {as_datetime(DAY_NS)}


def test_shifted_replay_says_its_schedule_by_the_stations_clock():
    storm, wall_ns = Recording.read(STORM), as_ns("2026-01-01T12:00:40Z")
    begin_ns = as_ns("2024-05-10T17:03Z")
    replay = Replay(storm, begin_ns=begin_ns, wall_ns=wall_ns, loop=True, absolutes=True)
    first, _, second = itertools.islice(records(replay, wall_ns + 5 * 3600 * NS, WIC), 3)
    assert first[0] == wall_ns - LASTING_NS
    assert second[0] - wall_ns == as_ns("2024-05-10T21:15Z") - begin_ns
    meta = replay.metas()[-1][1]
    assert len(meta.schedule) == 5
    assert iso(second[0] + 30 * NS)[11:16] in meta.schedule  # to the minute
    assert meta.clock == replay.clock


# ---- carried


def test_the_satellite_holds_a_record_back_from_its_last_reading_on(monkeypatch):
    begin_ns = DAY_NS + 9 * 3600 * NS
    device = simulator(begin_ns)
    ((at, payload), *_) = records(device, begin_ns)
    link = Satellite(device.clock, PRESETS["pea"])
    entry = Entry(1, PEA.topic, at, payload)
    way_ns = round(link.latency_s(1) * NS)
    for now_ns, goes in ((begin_ns + way_ns - NS // 100, False), (begin_ns + way_ns + NS // 100, True)):
        monkeypatch.setattr("obslab.telemetry.station.simulate.time.time_ns", lambda now_ns=now_ns: now_ns)
        assert link(entry) is goes


def test_impf_has_no_form_for_it_and_says_so_once(tmp_path, caplog):
    device = simulator()
    journal = Journal(tmp_path / "j")
    for stream, meta in device.metas():
        journal.add_meta(stream.meta_topic, meta)
    rendering = ImpfRendering(journal, 1)
    for seq, (at, payload) in enumerate(records(device, DAY_NS + NS_PER_DAY)):
        assert rendering(Entry(seq, PEA.topic, at, payload)) is None
    journal.close()
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("not published as IMPF: PEA autodif01 abs")


# ---- options


def made(**options):
    return instruments_from(**{**OPTIONS, **options})


def test_options_give_an_autodif_to_simulated_and_replayed_stations():
    assert [str(one) for one in streams_of(made(simulate=True, absolutes=True))] == [
        "PEA lemi0001 sec",
        "PEA gsm90001 sec",
        "PEA autodif01 abs",
    ]
    assert Stream("ABC", "autodif01", "abs") in streams_of(made(replay=STORM, station="abc", absolutes=True))
    assert len(streams_of(made(replay=STORM))) == len(streams_of(made(simulate=True))) == 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"stdin": True, "driver": "gsm90", "station": "PEA"}, "--absolutes is for --replay and --simulate"),
        ({"simulate": True, "instruments": ["autodif01"]}, "--instrument autodif01 is the AUTODIF's"),
    ],
)
def test_options_that_fit_no_autodif_are_refused(options, named):
    with pytest.raises(ConfigError, match=named):
        made(**options, absolutes=True)


def test_a_recording_without_a_whole_vector_has_no_pillar():
    track = Recording.read(STORM).tracks[0]
    for other in (
        Track(track.stream, track.meta, track.time_ns[:2], np.full((2, 3), np.nan)),
        Recording.read(STORM).tracks[1],
    ):
        with pytest.raises(ConfigError, match="vector"):
            Replay(Recording((other,)), absolutes=True)
    halves = Track(track.stream, track.meta, track.time_ns, track.values.copy())
    halves.values[100:2000] = np.nan  # the variometer fails; the pillar has a field all the same
    replay = Replay(Recording((halves,)), shifted=False, absolutes=True)
    assert np.isfinite(measured([payload for _, payload in records(replay, 2**62, WIC)])).all()


def test_an_autodif_needs_no_station():
    """For an archive made in one go, as that of the storm."""
    meta = Recording.read(STORM).tracks[0].meta
    alone = Autodif(WIC, lambda time_ns: np.tile([21_000.0, 1_500.0, 43_700.0], (time_ns.size, 1)), meta)
    alone.begin(T0_S * NS)
    assert len(list(alone.due((T0_S + 4 * 86_400) * NS))) == 22
