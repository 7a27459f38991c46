"""Minutes, hours and days: INTERMAGNET's coefficients as printed, and its rule of 90 %."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from obslab import conrad
from obslab.errors import SchemaError
from obslab.telemetry.datasets import samples_schema
from obslab.telemetry.filters import COEFFICIENTS, gaussian_minutes, one_day, one_hour, one_minute

NS = 1_000_000_000
MINUTE = 60 * NS
T0 = np.datetime64("2024-05-10T00:00", "ns").astype(np.int64)

# INTERMAGNET Technical Reference Manual, coefficients to make one-minute of one-second values, from the edge
# of the window to its centre; the other half is the same. The program by which GNS (Eyrewell) makes its
# minutes has the same 46.
PRINTED = """
0.00045933 0.00054772 0.00065055 0.00076964 0.00090693 0.00106449 0.00124449 0.00144918 0.00168089 0.00194194
0.00223468 0.00256140 0.00292430 0.00332543 0.00376666 0.00424959 0.00477552 0.00534535 0.00595955 0.00661811
0.00732042 0.00806530 0.00885090 0.00967467 0.01053338 0.01142303 0.01233892 0.01327563 0.01422707 0.01518651
0.01614667 0.01709976 0.01803763 0.01895183 0.01983377 0.02067480 0.02146643 0.02220039 0.02286881 0.02346437
0.02398040 0.02441104 0.02475132 0.02499727 0.02514602 0.02519580
"""


def seconds(values, begin=T0, step=NS, **attrs):
    """A Dataset of one component h, or of several given by name."""
    values = values if isinstance(values, dict) else {"h": values}
    n = len(next(iter(values.values())))
    units = {name: "arcmin" if name in "di" else "nT" for name in values}
    facts = {"station": "WIC", "instrument": "lemi036", "samplerate": "sec", "cadence_s": step / NS}
    return samples_schema(units).build(
        facts | {"publication_level": 2} | attrs,
        time=(begin + np.arange(n) * step).astype("datetime64[ns]"),
        **values,
    )


def by_hand(values, minute):
    """The filtered value of one minute, by the definition: a loop over the window and no array."""
    total = weight = 0.0
    for n in range(-45, 46):
        place = 60 * minute + n
        if 0 <= place < len(values) and not np.isnan(values[place]):
            total += float(COEFFICIENTS[n + 45]) * float(values[place])
            weight += float(COEFFICIENTS[n + 45])
    return total / weight if weight >= 0.9 * COEFFICIENTS.sum() else np.nan


def test_the_coefficients_are_those_that_intermagnet_prints():
    half = [float(text) for text in PRINTED.split()]
    assert len(half) == 46
    assert COEFFICIENTS.tolist() == half + half[-2::-1]
    assert COEFFICIENTS.sum() == pytest.approx(0.99999998)


def test_the_filter_has_half_power_at_two_minutes():
    second = np.arange(-45, 46)
    gain = np.sum(COEFFICIENTS * np.cos(2 * np.pi * second / 120))
    assert gain**2 == pytest.approx(0.5, abs=0.01)  # cut at 45 s, the Gaussian is not quite one


# Sums of 91 products of 50,000 nT round by 1e-10 nT at most.
ROUNDING_NT = 1e-9


@given(st.floats(-60_000, 60_000), st.floats(-1, 1), st.integers(0, 3599))
def test_constants_and_linear_trends_come_out_as_they_went_in(level, slope, first):
    values = level + slope * np.arange(7200.0)
    minute_ns, filtered = gaussian_minutes(
        T0 + np.arange(first, first + 3600) * NS, values[first : first + 3600]
    )
    minute = (minute_ns - T0) // MINUTE
    known = ~np.isnan(filtered)
    whole = (60 * minute - 45 >= first) & (60 * minute + 45 < first + 3600)
    assert known[whole].all()
    assert np.abs(filtered[whole] - values[60 * minute[whole]]).max() < ROUNDING_NT


@given(st.floats(-60_000, 60_000), arrays(bool, 600, elements=st.booleans()))
def test_a_constant_with_any_samples_missing_is_that_constant_or_missing(level, missing):
    _, filtered = gaussian_minutes(T0 + np.arange(600) * NS, np.where(missing, np.nan, level))
    assert np.nanmax(np.abs(filtered - level), initial=0.0) < ROUNDING_NT


@given(st.data())
def test_every_minute_is_what_the_definition_says(data):
    values = data.draw(arrays(np.float64, 420, elements=st.floats(-100, 100)))
    gone = data.draw(st.lists(st.integers(0, 419), max_size=60, unique=True))
    values[gone] = np.nan
    kept = np.setdiff1d(np.arange(420), data.draw(st.lists(st.integers(1, 418), max_size=30)))
    blank = np.full(420, np.nan)
    blank[kept] = values[kept]
    minute_ns, filtered = gaussian_minutes(T0 + kept * NS, values[kept])
    assert minute_ns.tolist() == [T0 + n * MINUTE for n in range(7)]
    np.testing.assert_allclose(filtered, [by_hand(blank, n) for n in range(7)], rtol=0, atol=1e-10)


def test_a_long_stream_is_filtered_in_blocks_without_seams():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(3 * 86_400, 2)).cumsum(axis=0)
    _, filtered = gaussian_minutes(T0 + np.arange(len(values)) * NS, values)
    for minute in (1, 1439, 1440, 1441, 2879, 2880, 2881):
        assert filtered[minute] == pytest.approx([by_hand(values[:, n], minute) for n in (0, 1)], abs=1e-9)


def test_ninety_percent_is_of_the_weight_and_not_of_the_number():
    """The 9 samples at the centre have 22 % of the weight, 38 samples at the edges have 9.2 %."""
    centre, edges = np.ones(300), np.ones(300)
    centre[116:125] = np.nan
    edges[[*range(75, 94), *range(147, 166)]] = np.nan
    assert COEFFICIENTS[41:50].sum() > 0.1
    assert 0.09 < COEFFICIENTS[:19].sum() + COEFFICIENTS[72:].sum() < 0.1
    assert np.isnan(one_minute(seconds(centre)).h.values[2])
    assert one_minute(seconds(edges)).h.values[2] == pytest.approx(1)


def test_nothing_is_carried_across_a_gap():
    """100 before, 500 after: no minute has anything in between, and those without data are missing."""
    time_ns = T0 + np.concatenate([np.arange(0, 600), np.arange(900, 1500)]) * NS
    values = np.repeat([100.0, 500.0], 600)
    minute_ns, filtered = gaussian_minutes(time_ns, values)
    assert minute_ns.tolist() == [T0 + n * MINUTE for n in range(25)]
    assert np.isin(filtered[~np.isnan(filtered)].round(9), [100, 500]).all()
    assert np.isnan(filtered[10:16]).all()
    assert filtered[9] == pytest.approx(100)
    assert filtered[16] == pytest.approx(500)


def test_a_hole_of_a_year_costs_no_memory_for_its_seconds():
    import tracemalloc

    far = T0 + np.concatenate([np.arange(600), 365 * 86_400 + np.arange(600)]) * NS
    tracemalloc.start()
    minute_ns, filtered = gaussian_minutes(far, np.ones(1200))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert minute_ns.size == 365 * 1440 + 10
    assert np.isfinite(filtered).sum() == 18
    assert most < 40e6  # 31.5 million seconds would be 252 MB


def test_clock_jitter_of_a_hundredth_of_a_second_is_none():
    rng = np.random.default_rng(2)
    values, jitter = rng.normal(size=600), rng.integers(-10_000_000, 10_000_001, 600)
    time_ns = T0 + np.arange(600) * NS
    np.testing.assert_array_equal(
        gaussian_minutes(time_ns + jitter, values), gaussian_minutes(time_ns, values)
    )


def test_times_that_are_not_whole_seconds_are_refused_with_what_is_wanted():
    time_ns = T0 + np.arange(600) * NS
    with pytest.raises(SchemaError, match=r"2024-05-10T00:00:00.300Z is 0.300 s off the UTC second"):
        gaussian_minutes(time_ns + 300_000_000, np.ones(600))
    with pytest.raises(SchemaError, match="is not a second later than the one before it"):
        gaussian_minutes(time_ns[[0, 1, 1, 2]], np.ones(4))


@pytest.mark.parametrize(
    ("step", "says"),
    [(NS // 10, "a sample each 0.1 s, .* average it to one-second values first"), (MINUTE, "only 1 Hz")],
)
def test_other_cadences_are_refused(step, says):
    with pytest.raises(SchemaError, match=says):
        one_minute(seconds(np.ones(100), step=step))


def test_the_cadence_is_found_from_the_times_where_nobody_says_it():
    silent = seconds(np.ones(300))
    del silent.attrs["cadence_s"]
    assert one_minute(silent).h.values[1:4].tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(SchemaError, match="has 1 sample"):
        one_minute(silent.isel(time=[0]))


def test_a_dataset_keeps_what_it_is_and_says_what_was_done():
    given_ = seconds({"x": np.ones(300), "y": np.ones(300), "s": np.ones(300)}, latitude_deg=47.9)
    given_ = given_.assign(arrival=("time", given_.time.values), quality=("time", np.full(300, 99, np.uint8)))
    minutes = one_minute(given_)
    assert list(minutes.data_vars) == ["x", "y", "s"]
    assert minutes.attrs == {
        **given_.attrs,
        "samplerate": "min",
        "cadence_s": 60.0,
        "data_interval": "filtered 1-minute (00:15-01:45), Gaussian",
    }
    assert minutes.s.units == "nT"
    assert len(minutes.data_interval) <= 45, "what IAGA-2002's Data Interval Type can hold"


def test_declination_is_averaged_through_south():
    """D swings about 180 degrees, written as 10800 or -10800 arcmin; a plain mean would be near north."""
    swing = 10_800 + 20 * np.sin(np.arange(7200) / 3000)
    written = np.where(swing > 10_800, swing - 21_600, swing)
    assert (np.abs(np.diff(written)) > 20_000).any()
    expected = one_minute(seconds({"d": swing})).d.values
    found = one_minute(seconds({"d": written})).d.values
    off = (found - expected + 10_800) % 21_600 - 10_800
    assert np.nanmax(np.abs(off)) < 1e-9
    assert np.nanmax(np.abs(found)) <= 10_800
    hours = one_hour(seconds({"d": written})).d.values
    assert np.abs((hours - one_hour(seconds({"d": swing})).d.values + 10_800) % 21_600 - 10_800).max() < 1e-9


def test_declination_of_zero_to_360_degrees_stays_so():
    north = np.where(np.arange(600) % 2, 21_599.0, 1.0)
    found = one_minute(seconds({"d": north})).d.values[1:-1]
    assert np.abs((found + 10_800) % 21_600 - 10_800).max() < 0.1
    assert (found >= 0).all()


def test_an_hour_wants_54_of_its_60_minutes_and_is_centred():
    values = np.arange(180.0)
    values[[0, 10, 20, 30, 40, 50]] = np.nan
    values[60:67] = np.nan
    hours = one_hour(seconds(values, step=MINUTE))
    assert hours.time.values.astype(str).tolist() == [f"2024-05-10T0{n}:30:00.000000000" for n in (0, 1, 2)]
    there = np.arange(60)[~np.isnan(values[:60])]
    assert hours.h.values == pytest.approx([there.mean(), np.nan, 149.5], nan_ok=True)
    assert (hours.samplerate, hours.cadence_s, hours.attrs["data_interval"]) == (
        "hour",
        3600.0,
        "1-hour (00-59), mean of 1-minute",
    )


def test_a_day_wants_1296_of_its_1440_minutes():
    for missing, known in ((144, True), (145, False)):
        values = np.ones(1440)
        values[:missing] = np.nan
        day = one_day(seconds(values, step=MINUTE))
        assert day.time.values.astype(str).tolist() == ["2024-05-10T12:00:00.000000000"]
        assert np.isfinite(day.h.values).tolist() == [known]
    assert day.samplerate == "day"


def test_hours_of_seconds_are_means_of_filtered_minutes():
    rng = np.random.default_rng(3)
    given_ = seconds(rng.normal(size=7200).cumsum())
    np.testing.assert_array_equal(one_hour(given_).h, one_hour(one_minute(given_)).h)
    np.testing.assert_allclose(
        one_day(seconds(np.arange(2880.0), step=MINUTE)).h,
        one_day(one_hour(seconds(np.arange(2880.0), step=MINUTE))).h,
    )
    with pytest.raises(SchemaError, match="a mean of the hour wants one each minute, or each second"):
        one_hour(seconds(np.ones(48), step=60 * MINUTE))
    with pytest.raises(SchemaError, match="average it to one-second values first"):
        one_day(seconds(np.ones(48), step=NS // 10))


def test_no_samples_give_no_minutes():
    for function in (one_minute, one_hour, one_day):
        made = function(seconds(np.ones(0)))
        assert made.sizes["time"] == 0
        assert list(made.data_vars) == ["h"]


def test_the_onset_of_the_storm_is_where_it_was():
    """10 May 2024, 17:06 UTC, one second and one minute: a step of more than 30 nT within two minutes."""
    track = conrad.day("2024-05-10").tracks[0]
    minute_ns, filtered = gaussian_minutes(track.time_ns, track.values)
    rise = np.abs(filtered[2:, 0] - filtered[:-2, 0])
    onset = minute_ns[1 + np.flatnonzero(rise > 30)[0]]
    assert abs(onset - np.datetime64("2024-05-10T17:06", "ns").astype(np.int64)) <= MINUTE
    assert np.abs(filtered[1:-1] - track.values[60:-60:60]).max() < 100
