"""Raw samples and baselines become the field: against the truth of a simulation, and the storm's delta-F."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry import observatory
from telemetry.observatory import DAY_NS, NOON, NS, PIER_NT, baseline, seconds, truth, values, vector

from obslab.errors import ConfigError, FrameError, NoBaselineError
from obslab.telemetry.adjusted import Piece, adjust, delta_f, field_of
from obslab.telemetry.baseline import Baselines
from obslab.telemetry.datasets import FLAGS, samples_schema
from obslab.telemetry.station.recording import STORM, Recording
from obslab.times import as_ns, from_ns

TIME = seconds(600)
SAME_NT = 1e-4  # what a fit of exact spots leaves: a tenth of the archive's resolution


def flags(*rows):
    """(stream, component, begin, end, state), times in seconds after noon."""
    stream, component, begin, end, state = zip(*rows, strict=True)
    texts = {"kind": "mark", "author": "me", "reason": "test"}
    return FLAGS.build(
        id=np.arange(len(rows)),
        stream=np.array(stream),
        component=np.array(component),
        begin=from_ns(NOON + np.array(begin) * NS),
        end=from_ns(NOON + np.array(end) * NS),
        state=np.array(state),
        size=np.full(len(rows), np.nan),
        **{name: np.full(len(rows), text) for name, text in texts.items()},
    )


def scalar(time_ns, **attrs):
    facts = {"station": "WIC", "instrument": "gp20s3", "samplerate": "sec"} | attrs
    return samples_schema({"f": "nT"}).build(facts, time=from_ns(time_ns), f=observatory.scalar(time_ns))


def test_adjusted_samples_are_the_field_of_the_simulation():
    adjusted = adjust(vector(TIME), baseline())
    np.testing.assert_allclose(values(adjusted), truth(TIME), atol=SAME_NT)
    assert adjusted.attrs["baseline"] == baseline().id
    facts = {"instrument": "lemi036-adj", "publication_level": 2, "orientation": "XYZ", "station": "WIC"}
    assert facts.items() <= adjusted.attrs.items()
    assert {adjusted[name].attrs["units"] for name in "xyz"} == {"nT"}


def test_the_input_is_not_altered():
    given_ = vector(TIME)
    before = given_.copy(deep=True)
    adjust(given_, baseline(), flags=flags(("WIC lemi036 sec", "", 0, 9, "confirmed")))
    assert given_.identical(before)


@pytest.mark.parametrize("frame", ["hdz", "dif"])
def test_other_frames_are_the_same_field_with_angles_in_minutes_of_arc(frame):
    x, y, z = truth(TIME).T
    horizontal, total = np.hypot(x, y), np.sqrt(x**2 + y**2 + z**2)
    d, i = (60 * np.degrees(np.arctan2(*pair)) for pair in ((y, x), (z, horizontal)))
    wanted = {"hdz": (horizontal, d, z), "dif": (d, i, total)}[frame]
    adjusted = adjust(vector(TIME), baseline(), frame=frame, level=4)
    # 1e-4 nT at a horizontal of 21,000 nT are 2e-5 arcmin.
    np.testing.assert_allclose(values(adjusted, frame), np.stack(wanted, axis=1), atol=SAME_NT)
    assert adjusted.d.attrs["units"] == "arcmin"
    assert adjusted.attrs["instrument"] == "lemi036-def"


@given(
    st.lists(st.floats(-3000, 3000), min_size=3, max_size=3),
    st.floats(100, 60_000),
    st.floats(-180, 180),
    st.floats(-60_000, 60_000),
)
def test_hez_is_exact_however_large_e_is(read, h0, d0, z0):
    class Fixed:
        frame = "hez"

        def values(self, time_ns):
            return np.array([[h0, d0, z0]])

    (field,) = field_of(("h", "e", "z"), np.array([read]), np.array([5]), [Piece(0, 10, Fixed())])
    # The variometer's axes as vectors: h along D0, e at right angles to the east of it.
    turn = np.radians(d0)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    np.testing.assert_allclose(field[:2], (h0 + read[0]) * along + read[1] * across, atol=1e-8)
    assert field[2] == pytest.approx(z0 + read[2], abs=1e-9)


@pytest.mark.parametrize(
    ("frame", "units", "base"),
    [
        ("xyz", ("nT", "nT", "nT"), (20_000.0, 1_500.0, 43_000.0)),
        ("hdz", ("nT", "arcmin", "nT"), (20_900.0, 4.0, 43_000.0)),
        ("dif", ("arcmin", "arcmin", "nT"), (4.0, 64.0, 48_000.0)),
    ],
)
def test_other_variometers_are_sums_with_their_bases(frame, units, base):
    from obslab.telemetry.frames import dif_of_xyz, hdz_of_xyz

    class Fixed:
        station, instrument, begin, end, id = "WIC", "lemi036", from_ns(0), from_ns(2**62), "fixed"
        adopted_at = None

        def values(self, time_ns):
            return np.tile(base, (len(time_ns), 1))

    Fixed.frame = frame
    absolute = {"xyz": np.asarray, "hdz": hdz_of_xyz, "dif": dif_of_xyz}[frame](truth(TIME))
    scale = np.array([60.0 if unit == "arcmin" else 1.0 for unit in units])
    read = (absolute - base) * scale
    attrs = {"station": "WIC", "instrument": "lemi036"}
    schema = samples_schema(dict(zip(frame, units, strict=True)))
    given_ = schema.build(attrs, time=from_ns(TIME), **dict(zip(frame, read.T, strict=True)))
    np.testing.assert_allclose(values(adjust(given_, Fixed())), truth(TIME), atol=1e-7)


def test_outside_its_validity_a_baseline_is_refused_or_leaves_samples_missing():
    short = baseline(end=from_ns(NOON + 300 * NS))
    with pytest.raises(
        NoBaselineError, match=r"no adopted baseline of WIC lemi036 is valid at 2024-05-10T12:05"
    ):
        adjust(vector(TIME), short)
    adjusted = adjust(vector(TIME), short, outside="missing")
    np.testing.assert_allclose(values(adjusted)[:300], truth(TIME)[:300], atol=SAME_NT)
    assert np.isnan(values(adjusted)[300:]).all()


def test_of_two_baselines_the_one_adopted_last_holds_where_they_overlap(tmp_path):
    first = baseline(adopted="2024-06-02")
    second = baseline(
        from_ns(NOON + 200 * NS), from_ns(NOON + 400 * NS), more=(5.0, 0.0, -3.0), adopted="2024-06-03"
    )
    folder = Baselines(tmp_path)
    for one in (second, first):
        folder.adopt(one)
    for given_ in ([second, first], [first, second], folder):
        adjusted = adjust(vector(TIME), given_)
        off = values(adjusted)[:, 2] - truth(TIME)[:, 2]
        np.testing.assert_allclose(
            off, np.where((TIME[200] <= TIME) & (TIME[400] > TIME), -3, 0), atol=SAME_NT
        )
        assert adjusted.attrs["baseline"].split() == [first.id, second.id]


def test_baseline_of_another_instrument_is_refused():
    with pytest.raises(NoBaselineError, match="the baseline is of WIC lemi025, the data are of WIC lemi036"):
        adjust(vector(TIME), baseline(instrument="lemi025"))


def test_confirmed_flags_take_out_raw_and_adjusted_samples():
    marks = flags(
        ("WIC lemi036 sec", "e", 10, 20, "confirmed"),
        ("WIC lemi036 sec", "", 30, 40, "proposed"),
        ("WIC lemi036-adj sec", "z", 50, 60, "confirmed"),
        ("WIC gp20s3 sec", "", 70, 80, "confirmed"),
    )
    missing = np.isnan(values(adjust(vector(TIME), baseline(), flags=marks)))
    expected = np.zeros((600, 3), bool)
    expected[10:20, :2] = True  # e turns into x and y
    expected[50:60, 2] = True
    np.testing.assert_array_equal(missing, expected)


def test_what_is_adjusted_already_is_refused():
    with pytest.raises(FrameError, match="publication level 2: they are adjusted already"):
        adjust(adjust(vector(TIME), baseline()), baseline())


def test_components_that_do_not_fit_the_baseline_are_refused():
    with pytest.raises(
        FrameError, match="components h, z do not fit a baseline of frame hez: wanted h, e, z"
    ):
        adjust(vector(TIME).drop_vars("e"), baseline())
    with pytest.raises(ConfigError, match="level 1"):
        adjust(vector(TIME), baseline(), level=1)


def test_no_samples_are_adjusted_to_none():
    assert adjust(vector(TIME).isel(time=slice(0)), baseline()).sizes["time"] == 0


# ---- delta-F


def test_delta_f_is_zero_when_vector_baseline_scalar_and_pier_difference_are_right():
    found = delta_f(adjust(vector(TIME), baseline()), scalar(TIME), pier_difference_nt=PIER_NT)
    np.testing.assert_allclose(found.delta_f.values, 0, atol=SAME_NT)
    assert found.delta_f.attrs["units"] == "nT"
    assert found.attrs["scalar"] == "gp20s3"


def test_delta_f_shows_a_base_that_is_off():
    wrong = adjust(vector(TIME), baseline(more=(0.0, 0.0, 10.0)))
    found = delta_f(wrong, scalar(TIME), pier_difference_nt=PIER_NT).delta_f.values
    z, total = truth(TIME)[:, 2], np.sqrt((truth(TIME) ** 2).sum(axis=1))
    # 10 nT in Z are 10 sin I in F, to second order.
    np.testing.assert_allclose(found, -10 * z / total, atol=0.01)


def test_delta_f_is_given_at_the_times_that_both_have():
    found = delta_f(vector(TIME[:400]), scalar(TIME[300:][::2]))
    np.testing.assert_array_equal(found.time.values, from_ns(TIME[300:400:2]))


def test_delta_f_refuses_another_station_and_a_scalar_that_is_none():
    with pytest.raises(FrameError, match="of WIC with the scalar of PEA"):
        delta_f(vector(TIME), scalar(TIME, station="PEA"))
    with pytest.raises(FrameError, match="no independent scalar among h, e, z"):
        delta_f(vector(TIME), vector(TIME))


def test_delta_f_of_the_storm_is_what_is_known_of_its_pier():
    """Median of S - sqrt(H^2 + E^2 + Z^2) of GeoSphere Austria's file of 9 to 12 May 2024: -11.7 nT."""
    tracks = {track.stream.instrument: track for track in Recording.read(STORM).tracks}
    made = []
    for track in tracks.values():
        schema = samples_schema(dict.fromkeys(track.meta.components, "nT"))
        attrs = {"station": "WIC", "instrument": track.stream.instrument}
        columns = dict(zip(track.meta.components, track.values.T, strict=True))
        made.append(schema.build(attrs, time=from_ns(track.time_ns), **columns))
    made.sort(key=lambda one: len(one.data_vars), reverse=True)
    found = delta_f(*made)
    assert np.nanmedian(found.delta_f.values) == pytest.approx(-11.7, abs=0.1)
    assert found.sizes["time"] == DAY_NS // NS
    assert found.time.values[0] == from_ns(as_ns("2024-05-10"))
