"""The record of an absolute measurement: its bytes, its closed form, and all that takes or keeps it."""

import math
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry.makers import NS, T0_S, batch

from obslab.errors import CodecError, MetadataError
from obslab.telemetry import autodif, bodies, codec
from obslab.telemetry.absolutes.records import to_record
from obslab.telemetry.absolutes.simulating import LASTING_S, LEAD_S, simulate
from obslab.telemetry.archive.batch import Arrivals
from obslab.telemetry.archive.chunk import decode, encode
from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.live.ring import Ring
from obslab.telemetry.pack import pack_payloads, unpack_payloads
from obslab.telemetry.readings import Stored
from obslab.telemetry.sample import FORMAT, Clock, Meta, Stream, as_datetime, encode_meta

ABS = Stream("PEA", "autodif01", "abs")
AZIMUTH_DEG = 251.372
ERRORS = {"delta_arcmin": 3.0, "epsilon_arcmin": -2.0, "offset_nt": 4.0, "sighting_arcmin": 1.5}
STOP_ARCSEC = 3.5  # evenly to both sides: 2" one sigma
NOISE = {"stop_arcsec": STOP_ARCSEC, "circle_noise_arcsec": 5.0, "noise_nt": 0.05}


def meta(**changes):
    facts = {"components": ("d", "i"), "units": "deg", "scale": 1e-6, "azimuth_deg": AZIMUTH_DEG}
    return Meta(**{"format": FORMAT, "valid_from": as_datetime(0), "kind": "absolute", **facts, **changes})


def records(horizontal, vertical, n=1):
    table = [np.tile(np.asarray(column, float), (n, 1)) for column in (horizontal, vertical)]
    return autodif.Records(
        np.tile(np.arange(12) * 50.0, (n, 1)), *table, np.zeros((n, 12)), np.full((n, 12), 100, np.uint8)
    )


def field(d_deg, i_deg, f_nt=48_600.0):
    """A field that does not vary, as ``simulate`` takes it."""
    d, i = math.radians(d_deg), math.radians(i_deg)
    vector = f_nt * np.array([math.cos(i) * math.cos(d), math.cos(i) * math.sin(d), math.sin(i)])
    return lambda time_ns: np.tile(vector, (time_ns.size, 1))


def measurement(d_deg=4.25, i_deg=64.37, seed=1, azimuth_deg=AZIMUTH_DEG, **noise):
    """The record of a theodolite with ``ERRORS``, whose circles begin at north."""
    made = simulate(
        field(d_deg, i_deg),
        (T0_S + LEAD_S) * NS,
        method="autodif",
        azimuth_deg=azimuth_deg,
        rng=np.random.default_rng(seed),
        **ERRORS,
        **noise,
    )
    time_ns, body = to_record(made)
    assert time_ns == T0_S * NS
    return replace(autodif.unpack(body), quality=np.full((1, 12), 100, np.uint8))


def payload(second=T0_S, **options):
    return codec.encode(ABS, meta(), second * NS, measurement(**options))


# Readings of D 4.25 and I 64.37 with a mark at azimuth 251.372, the circle's zero at north, and no error.
MARKS = [251.372, 71.372]
SIMPLE_H = [*MARKS, 94.25, 94.25, 274.25, 274.25, *MARKS, 184.25, 184.25, 4.25, 4.25]
SIMPLE_V = [90, 270, 90, 270, 270, 90, 90, 270, 115.63, 295.63, 244.37, 64.37]


# ---- bytes


def test_a_measurement_has_the_documented_bytes():
    one = records(SIMPLE_H, SIMPLE_V)
    one.residual_nt[0, 2:4] = [-0.25, math.nan]
    one.vertical_deg[0, 0] = math.nan
    message = codec.encode(ABS, meta(), T0_S * NS, one)
    assert len(message) == codec.message_size(ABS, meta()) == 4 + 12 * 16
    readings = list(struct.iter_unpack("<HBBIIi", message[4:]))
    assert message[:4] == struct.pack("<I", T0_S)
    assert readings[0] == (0, 1, 100, 251_372_000, 0xFFFFFFFF, 0)
    assert readings[2] == (1000, 3, 100, 94_250_000, 90_000_000, -250)
    assert readings[3][5] == -(2**31)
    assert [reading[1] for reading in readings] == [1, 2, 3, 4, 5, 6, 1, 2, 7, 8, 9, 10]
    assert [reading[0] for reading in readings] == [500 * number for number in range(12)]


ANGLES = st.none() | st.floats(-720, 720)


@given(st.lists(st.tuples(ANGLES, ANGLES, st.none() | st.floats(-2e6, 2e6)), min_size=12, max_size=12))
def test_readings_come_back_within_half_a_count(rows):
    table = np.array([[math.nan if cell is None else cell for cell in row] for row in rows])
    one = replace(records(table[:, 0], table[:, 1]), residual_nt=table[None, :, 2])
    found = autodif.unpack(autodif.pack(one))
    for name in ("horizontal_deg", "vertical_deg"):
        met, given = getattr(found, name), getattr(one, name)
        assert (np.isnan(met) == np.isnan(given)).all()
        assert np.nanmax(np.abs((met - given + 180) % 360 - 180), initial=0) <= 0.51e-6  # half a count
        assert not (met >= 360).any()
    np.testing.assert_allclose(found.residual_nt, one.residual_nt, rtol=0, atol=0.00051)
    assert autodif.faults(autodif.pack(one)) == [""]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"after_s": np.full((1, 12), 6553.6)}, "65536 x 0.1 s"),
        ({"after_s": np.full((1, 12), -0.1)}, "-1 x 0.1 s"),
        ({"residual_nt": np.full((1, 12), 2_147_483.7)}, "residual"),
        ({"horizontal_deg": np.full((1, 12), math.inf)}, "horizontal"),
    ],
)
def test_what_the_layout_cannot_hold_is_refused(change, named):
    with pytest.raises(CodecError, match=named) as refusal:
        codec.encode(ABS, meta(), 0, replace(records(SIMPLE_H, SIMPLE_V), **change))
    assert str(ABS) in str(refusal.value)


@pytest.mark.parametrize("values", [[1.0, 2.0], records(SIMPLE_H, SIMPLE_V, n=2)], ids=["numbers", "two"])
def test_one_measurement_is_sent_at_a_time_and_with_its_readings(values):
    with pytest.raises(CodecError, match="Records of one measurement"):
        codec.encode(ABS, meta(), 0, values)
    with pytest.raises(CodecError, match="more than its values"):
        bodies.of_values(meta(), np.zeros((1, 2)))


# ---- closed form


def test_closed_form_gives_the_angles_of_readings_written_down_by_hand():
    d, i = autodif.declination_inclination(records(SIMPLE_H, SIMPLE_V), AZIMUTH_DEG)
    assert (d[0], i[0]) == pytest.approx((4.25, 64.37), abs=1e-12)


@given(
    st.floats(-179.999, 180.0),
    st.floats(-89.0, 89.0),
    st.floats(0, 360),
    st.floats(0, 360),
    st.integers(0, 99),
)
def test_errors_of_the_theodolite_drop_out_wherever_its_circle_begins(
    d_deg, i_deg, azimuth_deg, zero_deg, seed
):
    """Simulated by the exact geometry, with 3' and 2' of collimation and 4 nT of offset."""
    one = measurement(d_deg, i_deg, azimuth_deg=azimuth_deg, seed=seed)
    one = autodif.unpack(autodif.pack(replace(one, horizontal_deg=one.horizontal_deg + zero_deg)))
    d, i = autodif.declination_inclination(one, azimuth_deg)
    # A few counts of 1e-6 degrees; nearer to the pole errors grow by 1 / cos I, and their cubes are left.
    assert abs((d[0] - d_deg + 180) % 360 - 180) < 2e-6 / math.cos(math.radians(i_deg)) ** 3
    assert abs(i[0] - i_deg) < 2e-6 / math.cos(math.radians(i_deg)) ** 2
    assert -180 < d[0] <= 180


def test_noise_of_the_readings_becomes_that_of_their_means():
    found = [
        autodif.declination_inclination(measurement(seed=seed, **NOISE), AZIMUTH_DEG) for seed in range(400)
    ]
    d, i = (3600 * np.array(column)[:, 0] for column in zip(*found, strict=True))
    # 5" of reading and 2" of stopping in each of four positions, 5" in each of four sightings.
    for met, sigma, truth in ((d, math.sqrt(29 / 4 + 25 / 4), 4.25), (i, math.sqrt(29 / 4), 64.37)):
        assert met.std() == pytest.approx(sigma, rel=4 / math.sqrt(2 * 400))
        assert met.mean() == pytest.approx(3600 * truth, abs=4 * sigma / math.sqrt(400))


def test_residual_is_what_the_sensor_shows_where_it_stopped():
    """At 60" from the null of 21 uT across: 6 nT; so a reduction can make good for it."""
    one = measurement(stop_arcsec=60.0)
    exact = measurement()
    off_rad = np.radians(one.horizontal_deg - exact.horizontal_deg)[0, 2:6]
    level_nt = 48_600 * math.cos(math.radians(64.37))
    assert one.residual_nt[0, 2:6] == pytest.approx(
        level_nt * off_rad * [-1, 1, -1, 1], abs=0.002
    )  # 6 nT to 1e-4, and a pT
    assert np.abs(exact.residual_nt[0, [2, 3, 4, 5, 8, 9, 10, 11]]).max() < 1e-9
    assert np.isnan(exact.residual_nt[0, [0, 1, 6, 7]]).all()
    up, down = exact.horizontal_deg[0, [0, 6]], exact.horizontal_deg[0, [1, 7]]
    assert up - down - 180 == pytest.approx([3 / 60] * 2, abs=2e-6)  # twice the sighting's 1.5'


def test_a_missing_reading_costs_only_what_needs_it():
    one = records(SIMPLE_H, SIMPLE_V, n=5)
    one.horizontal_deg[0, 0] = math.nan  # the other pair of sightings is whole
    one.horizontal_deg[1, [0, 7]] = math.nan  # one of each pair
    one.horizontal_deg[2, 4] = math.nan
    one.vertical_deg[3, 11] = math.nan
    d, i = autodif.declination_inclination(one, AZIMUTH_DEG)
    assert np.isfinite(d).tolist() == [True, False, False, True, True]
    assert np.isfinite(i).tolist() == [True, True, True, False, True]
    assert d[0] == pytest.approx(4.25)


def test_without_an_azimuth_there_is_no_declination_and_that_is_told(caplog):
    values, quality = codec.unpack(meta(azimuth_deg=None), payload()[4:])
    assert np.isnan(values[0, 0])
    assert values[0, 1] == pytest.approx(64.37, abs=2e-6)
    assert quality.tolist() == [100]
    Intake({}).sort([Message(ABS.meta_topic, encode_meta([meta(azimuth_deg=None)]), 0)])
    assert "pea/autodif01/$meta has no azimuth_deg of the mark" in caplog.text


# ---- metadata


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"components": ("x", "y")}, "components d, i"),
        ({"components": ("d", "i", "f")}, "components d, i"),
        ({"units": ("deg", "arcmin")}, "is in deg"),
        ({"azimuth_deg": math.nan}, "azimuth_deg nan"),
        ({"azimuth_deg": 361.0}, "azimuth_deg 361"),
    ],
)
def test_metadata_that_are_none_of_a_measurement_are_refused(change, named):
    with pytest.raises(MetadataError, match=named):
        meta(**change)


# ---- on the way in

NOW_NS = (T0_S + LASTING_S + 10) * NS
KNOWN = {ABS.meta_topic: (meta(),)}


def sorted_in(*payloads, at_ns=NOW_NS, topic=ABS.topic, metas=None):
    return Intake(metas or KNOWN).sort([Message(topic, one, at_ns) for one in payloads])


def test_a_record_is_late_by_its_last_reading_not_by_its_key():
    """The key is five minutes before the last reading: without that every record would be late."""
    assert sorted_in(payload()).arrivals[0].late.tolist() == [False]
    assert sorted_in(payload(), at_ns=NOW_NS + 30 * NS).arrivals[0].late.tolist() == [True]
    # Ten times as fast, the same ten seconds are a second of the network.
    clock = Clock(as_datetime(T0_S * NS), as_datetime(T0_S * NS), 10.0)
    fast = {ABS.meta_topic: (meta(clock=clock),)}
    assert sorted_in(payload(), at_ns=T0_S * NS + (LASTING_S + 10) * NS // 10, metas=fast).arrivals[
        0
    ].late.tolist() == [False]


def swapped(first, second):
    """A record whose readings at two places are exchanged."""
    body = np.frombuffer(payload()[4:], np.uint8).reshape(12, 16).copy()
    body[[first, second]] = body[[second, first]]
    return payload()[:4] + body.tobytes()


def changed(place, *new):
    whole = bytearray(payload())
    whole[place : place + len(new)] = bytes(new)
    return bytes(whole)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (payload()[:100], "100 bytes where an absolute measurement has 196"),
        (payload() + b"\0", "197 bytes where an absolute measurement has 196"),
        (payload()[:3], "fewer than 4 bytes"),
        (swapped(2, 3), "reading 3 of 12 has position 4 (declination down-west), wanted 3 (decl"),
        (changed(4 + 16 * 11 + 2, 77), "reading 12 of 12 has position 77 (unknown), wanted 10 (incl"),
        (changed(4, 1, 0), "the times of its readings do not go on from 0"),
        (changed(4 + 16 * 5, 0, 0), "the times of its readings do not go on from 0"),
        (changed(4 + 16 * 2 + 4, 0, 42, 117, 21), "3 of 12 has its horizontal circle at 360.000 deg"),
        (changed(0, 0, 0, 0, 0), "before 1990"),
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_kept_as_rejected_with_its_reason(archive, bad, named):
    found = sorted_in(bad, payload())
    archive.add(found)
    assert len(archive.stored(ABS, 0, 2**63 - 1)) == 1  # the good one beside it
    rejected = archive.rejected()
    assert rejected.payload_hex.values.tolist() == [bad.hex()]
    assert named in str(rejected.reason.values[0])


def test_measurements_at_a_cadence_are_refused():
    other = Stream("PEA", "autodif01", "sec")
    batch = sorted_in(payload(), topic=other.topic)
    assert not batch.arrivals
    assert "sent to .../abs" in batch.refusals[0].reason


# ---- in the archive

DAY_S = 1_715_299_200  # 2024-05-10
TIMES_S = [DAY_S + 60 * minute for minute in (130, 400, 625, 950, 1275)]


def stored(seconds=TIMES_S, **options):
    payloads = [payload(second, seed=number, **options) for number, second in enumerate(seconds)]
    time_ns, flat = codec.split(ABS, meta(), payloads)
    came_ns = time_ns + (LASTING_S + 1) * NS
    return payloads, Arrivals(ABS, time_ns, came_ns, 192, flat, np.zeros(len(seconds), bool))


def test_a_day_of_records_survives_sealing_and_is_read_eagerly_and_lazily(archive):
    payloads, arrivals = stored()
    schedule = meta(schedule=("02:10", "06:40", "10:25", "15:50", "21:15"), delay_s=float(LASTING_S))
    archive.add(batch(arrivals, metas={ABS.meta_topic: (schedule,)}))
    before = archive.dataset("PEA", "autodif01")
    assert archive.seal((DAY_S + 10 * 86_400) * NS, settle_s=0) == 1
    for lazy in (False, True):
        found = archive.dataset("PEA", "autodif01", lazy=lazy).compute()
        np.testing.assert_array_equal(found.d, before.d)
        np.testing.assert_array_equal(found.i, before.i)
        assert found.d.units == found.i.units == "deg"
        assert "quality" not in found
    assert before.d.values == pytest.approx([4.25] * 5, abs=2e-6)
    assert archive.stored(ABS, 0, 2**63 - 1).bodies == b"".join(one[4:] for one in payloads)
    assert archive.info()["streams"][0]["counted"] == {"unique": 5}
    asked = {"begin": "2024-05-10", "end": "2024-05-11", "now": "2024-05-11T12:00Z"}
    assert archive.gaps("PEA", **asked).sizes["gap"] == 0
    assert archive.completeness("PEA", by="day", **asked).present.values.tolist() == [5]
    late = archive.latency("PEA", window="all", **asked).isel(window=0)
    assert (float(late.delay_s), float(late.transport_p50_s)) == pytest.approx((LASTING_S, 1.0), rel=0.03)
    assert archive.wait_whole("PEA", "2024-05-10T20:00Z", timeout_s=0.1)  # none before 21:15 is no gap
    assert archive.ages("PEA").sizes["stream"] == 1


def test_a_measurement_left_out_of_the_schedule_is_a_gap(archive):
    _, arrivals = stored([TIMES_S[0], TIMES_S[1], TIMES_S[3], TIMES_S[4]])
    schedule = meta(schedule=("02:10", "06:40", "10:25", "15:50", "21:15"))
    archive.add(batch(arrivals, metas={ABS.meta_topic: (schedule,)}))
    gaps = archive.gaps("PEA", end="2024-05-11", now="2024-05-11T12:00Z")
    assert gaps.begin.values.astype("datetime64[m]").tolist() == [np.datetime64("2024-05-10T10:25").item()]


def test_days_of_other_bodies_and_records_are_packed_together():
    payloads, arrivals = stored()
    flat = b"\1" * 12 + arrivals.bodies
    size = np.array([12, *[192] * 5], np.uint16)
    time_ns = np.array([DAY_S * NS, *arrivals.time_ns])
    found = decode(encode(ABS, DAY_S * NS, 1, Stored(time_ns, time_ns, size, flat)))
    assert (found.bodies, found.size.tolist()) == (flat, size.tolist())
    for some in (payloads, payloads[:1]):
        assert unpack_payloads(pack_payloads(some)) == some


def test_a_revised_record_is_replaced_whole():
    """0xFFFFFFFF and -2^31 mean something else in each field of it, and readings belong together."""
    old = payload(seed=1)[4:]
    torn = autodif.unpack(old)
    torn.vertical_deg[:], torn.residual_nt[:] = math.nan, math.nan
    assert bodies.revised(old, autodif.pack(torn)) == autodif.pack(torn)


def test_the_same_record_twice_is_one_and_another_a_contradiction(archive):
    archive.add(batch(stored(TIMES_S[:1])[1], metas=KNOWN))
    assert archive.add(batch(stored(TIMES_S[:1])[1]))["duplicate"] == 1
    other = replace(stored(TIMES_S[:1])[1], bodies=payload(seed=99, **NOISE)[4:])
    assert archive.add(batch(other))["contradiction"] == 1


def test_a_live_view_follows_the_angles(archive):
    archive.add(batch(stored()[1], metas=KNOWN))
    ((_, readings),) = archive.follow(0)
    ring = Ring(ABS, readings.components, readings.units, 10)
    ring.append(readings)
    held = ring.between(0, 2**63 - 1)
    assert (held.components, held.units) == (("d", "i"), ("deg", "deg"))
    assert held.values[:, 1] == pytest.approx([64.37] * 5, abs=2e-6)
