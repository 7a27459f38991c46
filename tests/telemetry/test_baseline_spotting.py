"""Spot baselines against MagPy's printed example, exact inverses, and simulated errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry.spot_tables import BEGIN, absolute_table, variometer

from obslab.errors import BaselineError, FrameError, NoVariometerError
from obslab.telemetry.baseline import spots
from obslab.telemetry.datasets import samples_schema

SECOND = np.timedelta64(1, "s")
ERROR = (0.001, 0.0005, 0.2)


def samples(values, frame="hez", count=60, begin=BEGIN):
    return variometer(begin + np.arange(count) * SECOND, np.tile(values, (count, 1)), frame)


def applied(frame, base, values):
    """Absolute D, I (deg) and F of bases and variations: the definitions of the frames, written forwards."""
    one, two, three = values
    if frame == "dif":
        return base[0] + one / 60, base[1] + two / 60, base[2] + three
    if frame == "xyz":
        x, y, z = base + values
    elif frame == "hdz":
        h, d, z = base[0] + one, np.radians(base[1] + two / 60), base[2] + three
        x, y = h * np.cos(d), h * np.sin(d)
    else:
        h, z = np.hypot(base[0] + one, two), base[2] + three
        d = np.radians(base[1]) + np.arctan2(two, base[0] + one)
        x, y = h * np.cos(d), h * np.sin(d)
    h = np.hypot(x, y)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, h)), np.hypot(h, z)


def test_the_example_of_magpy():
    # MagPy 2.0.2: example6a.txt with example5.sec gives D 4.34346, I 64.37046, F 48622.790 and these bases.
    # The variometer is that file's sample at 07:42:00; five decimals of I are 0.01 nT of H.
    begin = np.datetime64("2018-08-29T07:42:00", "ns")
    there = samples([21006.36, 34.34, 43858.15], begin=begin)
    found = spots(absolute_table([begin], 4.34346, 64.37046, 48622.790), there)
    assert found.base.values[0] == pytest.approx([25.430, 4.24991, -19.374], abs=0.01)
    assert found.base.values[0, 1] == pytest.approx(4.24991, abs=2e-5)
    assert found.component.values.tolist() == ["h", "d", "z"]
    assert found.attrs["frame"] == "hez" and found.attrs["mean_f_nt"] == pytest.approx(48622.79)


@given(
    frame=st.sampled_from(["hez", "hdz", "xyz", "dif"]),
    part=st.lists(st.floats(-1, 1), min_size=6, max_size=6),
)
def test_bases_put_back_give_the_absolute_measurement(frame, part):
    start = {
        "hez": [20_000, 3, 43_000],
        "hdz": [21_000, 3, 43_000],
        "xyz": [20_900, 1_500, 43_000],
        "dif": [4, 64, 48_000],
    }[frame]
    width = np.where(np.array(list(frame)) == "d", 1.0, np.where(np.array(list(frame)) == "i", 1.0, 500.0))
    base = np.array(start) + np.array(part[:3]) * (width if frame != "hez" else np.array([500, 5, 500]))
    values = np.array(part[3:]) * np.array([60.0 if name in "di" else 500.0 for name in frame])
    found = spots(absolute_table([BEGIN], *applied(frame, base, values)), samples(values, frame))
    assert found.attrs["frame"] == frame
    assert found.base.values[0] == pytest.approx(base, abs=1e-7)
    assert found.unit.values.tolist() == ["deg" if name in "di" else "nT" for name in found.component.values]


@pytest.mark.parametrize("frame", ["hez", "hdz", "xyz", "dif"])
def test_errors_are_those_of_a_simulation(frame):
    values = {"hez": [700.0, 9000.0, -300.0], "dif": [5.0, -3.0, 20.0]}.get(frame, [100.0, 20.0, 50.0])
    rng = np.random.default_rng(0)
    d, i, f = np.array([[30.0], [64.0], [48_000.0]]) + np.array(ERROR)[:, None] * rng.normal(size=(3, 4000))
    many = spots(absolute_table(np.full(4000, BEGIN), d, i, f), samples(values, frame))
    one = spots(absolute_table([BEGIN], 30.0, 64.0, 48_000.0, error=ERROR), samples(values, frame))
    # The standard deviation of 4000 is known to 1.1 %.
    assert one.error.values[0] == pytest.approx(many.base.values.std(axis=0), rel=0.05)


def test_between_two_samples_it_is_linear_and_across_a_gap_nothing():
    seconds = np.array([0, 1, 2, 5, 6])
    values = np.stack([1000.0 + 10 * seconds, 0 * seconds, 0.0 * seconds], axis=1)
    there = variometer(BEGIN + seconds * SECOND, values)
    times = BEGIN + np.array([500, 3_500, 5_000]) * np.timedelta64(1, "ms")
    found = spots(absolute_table(times, 4.0, 64.0, 48_000.0), there)
    h = 48_000 * np.cos(np.radians(64))
    assert found.base.values[:, 0] == pytest.approx([h - 1005, np.nan, h - 1050], nan_ok=True)
    assert found.used.values.tolist() == [True, False, True]
    assert "has no data at 2024-01-01T00:00:03.500Z" in str(found.note.values[1])


def test_a_missing_component_is_no_data():
    there = samples([1000.0, 0.0, np.nan])
    with pytest.raises(NoVariometerError, match=r"WIC lemi036 .* no data at any of 1 .*: it has none"):
        spots(absolute_table([BEGIN], 4.0, 64.0, 48_000.0), there)


def test_no_data_at_any_measurement_names_what_there_is():
    with pytest.raises(
        NoVariometerError, match=r"2025-01-01.*from 2024-01-01T00:00:00Z to 2024-01-01T00:00:59Z"
    ):
        later = absolute_table([np.datetime64("2025-01-01", "ns")], 4.0, 64.0, 48_000.0)
        spots(later, samples([1000.0, 0.0, 0.0]))


def test_the_mean_over_the_measurement_is_taken_when_asked():
    seconds = np.arange(601)
    values = np.stack([1000.0 + seconds, 0 * seconds, 0.0 * seconds], axis=1)
    there = variometer(BEGIN + seconds * SECOND, values)
    table = absolute_table([BEGIN], 4.0, 64.0, 48_000.0, minutes=10)
    at_once, mean = spots(table, there), spots(table, there, mean=True)
    assert at_once.base.values[0, 0] - mean.base.values[0, 0] == pytest.approx(300.0)
    holed = there.isel(time=np.r_[0:200, 300:601])
    with pytest.raises(NoVariometerError):
        spots(table, holed, mean=True)


def test_f_comes_from_the_scalar_where_it_was_not_measured():
    scalar = samples_schema({"f": "nT"}).build(
        {"station": "WIC", "cadence_s": 1.0}, time=BEGIN + np.arange(60) * SECOND, f=np.full(60, 48_002.0)
    )
    table = absolute_table([BEGIN, BEGIN + SECOND], 4.0, 64.0, [np.nan, 48_000.0])
    there = samples([1000.0, 0.0, 0.0])
    found = spots(table, there, scalar, pier_difference_nt=-2.0)
    assert found.base.values[0] == pytest.approx(found.base.values[1])
    assert found.attrs["pier_difference_nt"] == -2.0
    without = spots(table, there)
    assert without.used.values.tolist() == [False, True]
    assert str(without.note.values[0]).startswith("no F")


def test_an_absolute_that_is_not_to_be_used_makes_a_spot_that_is_not():
    table = absolute_table([BEGIN, BEGIN + SECOND], 4.0, 64.0, 48_000.0, used=np.array([False, True]))
    found = spots(table, samples([1000.0, 0.0, 0.0]))
    assert found.used.values.tolist() == [False, True]
    assert np.isfinite(found.base.values).all()


def test_what_cannot_be_combined_is_refused():
    table = absolute_table([BEGIN], 4.0, 64.0, 48_000.0)
    there = samples([1000.0, 0.0, 0.0])
    with pytest.raises(BaselineError, match="absolutes are of WIC, the variometer of PEA"):
        spots(table, there.assign_attrs(station="PEA"))
    with pytest.raises(FrameError, match="has no x y"):
        spots(table, there, frame="xyz")
    with pytest.raises(FrameError):
        spots(table, there.drop_vars("e"))
    with pytest.raises(BaselineError, match="no absolute measurement"):
        spots(table.isel(measurement=slice(0)), there)


def test_more_e_than_h_gives_no_baseline():
    table = absolute_table([BEGIN], 4.0, 64.0, 48_000.0)
    found = spots(table, samples([1000.0, 25_000.0, 0.0]))
    assert not found.used.values[0] and "do not give a baseline" in str(found.note.values[0])
