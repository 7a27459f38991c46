"""K indices of the storm, of fields made up, and of what lacks data; and the figures of hours."""

import numpy as np
import pytest

from obslab import conrad
from obslab.errors import ConfigError, FrameError, SchemaError
from obslab.telemetry.activity import k_index, statistics
from obslab.telemetry.activity.datasets import K_INDEX, STATISTICS
from obslab.telemetry.activity.kindex import NIEMEGK_NT
from obslab.telemetry.datasets import samples_schema
from obslab.telemetry.frames import to_hdz

NS = 1_000_000_000
DAY0 = np.datetime64("2024-03-01", "ns")
MINUTE = np.timedelta64(60, "s")
NIEMEGK = {"k9_limit_nt": 500.0, "longitude_deg": 12.7}

# MagPy 2.0.2, K_fmi of its own minutes of the same recording, K9 limit 500 nT, longitude 15.865; tests/magpy
# makes the comparison itself.
STORM_K = [[3, 2, 3, 2, 4, 7, 7, 8], [7, 6, 7, 8, 7, 6, 7, 6]]


def minutes(x, y=None, begin=DAY0, **attrs):
    """Minutes of x, y, z from 1 March 2024."""
    y = np.zeros_like(x) if y is None else y
    return samples_schema({"x": "nT", "y": "nT", "z": "nT"}).build(
        {"station": "WIC", "instrument": "lemi036", "cadence_s": 60.0, **NIEMEGK, **attrs},
        time=begin + np.arange(len(x)) * MINUTE,
        x=20_000 + x,
        y=1_500 + y,
        z=np.full(len(x), 44_000.0),
    )


def quiet(days=3):
    """A quiet daily variation of 30 nT, with a drift, in UTC."""
    hour = np.arange(days * 1440) / 60
    angle = 2 * np.pi * (hour - 12) / 24
    return 15 * np.cos(angle) + 4 * np.cos(2 * angle) + 0.1 * hour


def k_of(dataset, **given_):
    return k_index(dataset, **given_).k.values.reshape(-1, 8).tolist()


@pytest.fixture(scope="module")
def storm_seconds():
    """The storm as seconds of h, e, z, as an archive gives it."""
    tracks = [conrad.day(date).tracks[0] for date in conrad.DAYS]
    meta = tracks[0].meta
    values = np.concatenate([track.values for track in tracks])
    return samples_schema(dict.fromkeys("hez", "nT")).build(
        {"station": "WIC", "instrument": "lemi036", "cadence_s": 1.0, "longitude_deg": meta.longitude_deg},
        time=np.concatenate([track.time_ns for track in tracks]).astype("datetime64[ns]"),
        **{name: values[:, n] for n, name in enumerate("hez")},
    )


@pytest.fixture(scope="module")
def storm_k(storm_seconds):
    return k_index(storm_seconds, conrad.K9_LIMIT_NT, sq=True)


def test_the_storm_has_the_k_indices_that_magpy_gives_it(storm_k):
    by_day = storm_k.k.values.reshape(-1, 8)
    assert by_day[1:3].tolist() == STORM_K
    assert (by_day[[0, 3]] == -1).all(), "the first and the last day lack a neighbour"
    assert set(storm_k.note.values[:8]) == {"not enough of the day before"}
    assert set(storm_k.note.values[-8:]) == {"not enough of the day after"}
    assert set(storm_k.note.values[8:-8]) == {""}


def test_the_table_is_as_declared_and_says_how_it_was_made(storm_k):
    K_INDEX.check(storm_k)
    assert storm_k.time.values[8] == np.datetime64("2024-05-10")
    assert storm_k.attrs["axes"] == "h and e of the variometer taken for x and y, without baseline"
    assert storm_k.attrs["k9_limit_nt"] == 500
    assert storm_k.attrs["longitude_deg"] == pytest.approx(15.87, abs=0.01)
    assert "Sucksdorff" in storm_k.attrs["method"]
    assert (storm_k.sizes["minute"], storm_k.sizes["interval"]) == (4 * 1440, 32)


def test_a_baseline_does_not_move_k(storm_seconds):
    based = storm_seconds.assign(h=storm_seconds.h + 23.35, e=storm_seconds.e - 1000)
    assert k_of(based, k9_limit_nt=500)[1:3] == STORM_K


def test_a_quiet_variation_is_eliminated():
    """30 nT a day, and more than 10 nT in three hours, would be K = 2 if it were not taken off."""
    given_ = minutes(quiet(), 0.5 * quiet())
    intervals = given_.x.values.reshape(-1, 180)
    assert np.ptp(intervals, axis=1).max() > 10
    found = k_index(given_, sq=True)
    assert found.k.values[8:16].tolist() == [0] * 8
    assert found.range_x.values[8:16].max() < 5
    own = slice(1440, 2880)
    assert np.abs(found.sq_x.values[own] - given_.x.values[own]).max() < 5
    assert (found.sq_time.values == given_.time.values).all()


@pytest.mark.parametrize("limit_nt", [300.0, 500.0, 1500.0])
def test_a_range_has_the_k_of_its_class_in_proportion_to_the_limit(limit_nt):
    """A minute off by some range counts as that range: the curve follows it by a sixtieth at most."""
    for k, begins in enumerate(NIEMEGK_NT, start=1):
        for factor, expected in ((0.9, k - 1), (1.1, k)):
            x = np.zeros(3 * 1440)
            x[1440 + 12 * 60 + 90] = factor * begins * limit_nt / 500
            assert k_of(minutes(x), k9_limit_nt=limit_nt)[1][4] == expected
            assert k_of(minutes(np.zeros_like(x), -x), k9_limit_nt=limit_nt)[1][4] == expected


def test_all_frames_give_the_same_k():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 4 * 1440)).cumsum(axis=1)
    xyz = minutes(quiet(4) + x, y)
    assert k_of(xyz) == k_of(to_hdz(xyz))
    assert k_index(to_hdz(xyz)).attrs["axes"] == "x and y of h d z"
    assert max(max(day) for day in k_of(xyz)) > 1


def test_days_do_not_touch_days_further_off():
    """Also where K is 9 at midnight, whose mean would reach 1,500 minutes to either side."""
    x = np.random.default_rng(2).normal(size=6 * 1440).cumsum()
    for limit_nt in (10.0, 500.0):
        whole = k_index(minutes(x), limit_nt, sq=True)
        if limit_nt == 10:
            assert (whole.k.values[8:40] == 9).all()
        for day in range(1, 5):
            begin = DAY0 + (day - 1) * 1440 * MINUTE
            alone = k_index(minutes(x[(day - 1) * 1440 : (day + 2) * 1440], begin=begin), limit_nt, sq=True)
            assert alone.k.values[8:16].tolist() == whole.k.values[8 * day : 8 * day + 8].tolist()
            own = whole.sq_x.values[1440 * day : 1440 * (day + 1)]
            assert np.abs(alone.sq_x.values[1440:2880] - own).max() < 1e-6


def test_local_night_is_where_the_longitude_says():
    """A bay at 00:30 UTC: at night the hour's mean is one of 241 minutes, at noon of 61."""
    x = np.zeros(3 * 1440)
    x[1440:1500] = 4.0
    night, noon = (
        np.nanmax(k_index(minutes(x), longitude_deg=where, sq=True).sq_x.values[1440:2880]) - 20_000
        for where in (0.0, 180.0)
    )
    assert night < noon / 3


@pytest.mark.parametrize(("minute", "highest_nt"), [(48, 18.2), (240, 25.4), (528, 30.0), (1104, 18.4)])
def test_a_mean_is_over_as_many_minutes_as_in_the_program_of_fmi(minute, highest_nt):
    """4,000 nT in one minute of a field of K = 0; the curve gets as high as MagPy says, within 0.3 nT.

    So the night's 90, the dawn's 60 and the day's 0 minutes to either side are told apart.
    """
    x = np.zeros(3 * 1440)
    x[1440 + minute] = 4_000.0
    curve = k_index(minutes(x), 500_000.0, 0.0, sq=True).sq_x.values[1440:2880] - 20_000
    assert curve.max() == pytest.approx(highest_nt, abs=0.3)


def test_an_interval_with_too_little_data_has_no_k():
    x = quiet()
    x[1440 + 180 : 1440 + 180 + 19] = np.nan  # 19 of 180
    x[1440 + 360 : 1440 + 360 + 18] = np.nan  # 18 of 180, which leaves 90 %
    found = k_index(minutes(x))
    assert found.k.values[8:16].tolist() == [0, -1, 0, 0, 0, 0, 0, 0]
    assert found.note.values[9] == "less than 90 % of the minutes are there"
    assert np.isnan(found.range_x.values[9])
    assert found.complete.values[8:11] == pytest.approx([1, 1 - 19 / 180, 0.9])


def test_hours_without_data_leave_the_day_without_a_curve():
    x = quiet(4)
    gone = np.isin(np.arange(4 * 1440), 1440 + np.arange(7 * 60, 12 * 60))
    found = k_index(minutes(x).isel(time=~gone), sq=True)
    assert (found.k.values[8:16] == -1).all()
    assert found.note.values[8] == "no quiet curve: hours of this day are missing"
    assert (found.k.values[16:24] == 0).all()
    assert np.isnan(found.sq_x.values[1440:2880]).all()


def test_the_present_day_has_a_provisional_k():
    given_ = minutes(quiet(2) + np.random.default_rng(3).normal(size=2880).cumsum())
    assert k_of(given_) == [[-1] * 8] * 2
    found = k_index(given_, provisional=True)
    assert (found.k.values >= 0).all()
    assert set(found.note.values) == {
        "provisional, without the day before",
        "provisional, without the day after",
    }
    one = minutes(quiet(1))
    assert set(k_index(one).note.values) == {"not enough of the days before and after"}


def test_what_k_needs_and_does_not_have_is_named():
    given_ = minutes(quiet())
    for name in NIEMEGK:
        without = given_.copy()
        del without.attrs[name]
        with pytest.raises(ConfigError, match=f"WIC lemi036 does not say its {name}") as caught:
            k_index(without)
        assert caught.value.name == name
        assert k_of(without, **{name: NIEMEGK[name]})[1] == [0] * 8
    with pytest.raises(ConfigError, match="k9_limit_nt 0 is not a positive number"):
        k_index(given_, 0.0)
    with pytest.raises(SchemaError, match="K indices want one each minute or second"):
        k_index(given_.isel(time=slice(0, None, 60)).assign_attrs(cadence_s=3600.0))
    with pytest.raises(FrameError, match="x z, which are not the components of one frame"):
        k_index(given_.drop_vars("y"))


def test_no_samples_have_no_k():
    assert k_index(minutes(quiet()).isel(time=slice(0, 0))).sizes["interval"] == 0


def test_figures_of_hours_are_those_of_numpy():
    rng = np.random.default_rng(4)
    x = rng.normal(size=300)
    x[[3, 70, 71]] = np.nan
    x[120:180] = np.nan
    found = statistics(minutes(x).isel(time=slice(10, None)))
    STATISTICS.check(found)
    assert found.time.values.tolist() == (DAY0 + np.arange(5) * 60 * MINUTE).tolist()
    for hour in (0, 1, 3, 4):
        own = 20_000 + x[max(10, hour * 60) : (hour + 1) * 60]
        row = found.sel(component="x").isel(period=hour)
        own = own[~np.isnan(own)]
        assert row["mean"] == pytest.approx(own.mean(), abs=1e-9)
        assert (row["min"], row["max"]) == (own.min(), own.max())
        assert row["std"] == pytest.approx(own.std(), abs=1e-9)
        assert row["n"] == own.size
        assert row["complete"] == pytest.approx(own.size / 60)
        assert row["range"] == pytest.approx(np.ptp(own))
    nothing = found.sel(component="x").isel(period=2)
    assert (int(nothing["n"]), float(nothing["complete"])) == (0, 0)
    assert np.isnan([nothing["mean"], nothing["min"], nothing["std"], nothing["range"]]).all()
    assert found.unit.values.tolist() == ["nT"] * 3


def test_a_gap_of_days_is_in_the_figures_as_empty_days():
    x = np.ones(5 * 1440)
    found = statistics(minutes(x).isel(time=np.r_[0:1440, 4 * 1440 : 5 * 1440]), by="day")
    assert found.n.sel(component="y").values.tolist() == [1440, 0, 0, 0, 1440]


def test_the_largest_range_of_the_storm_is_found(storm_seconds):
    found = statistics(storm_seconds, by="hour")
    hours = storm_seconds.e.values.reshape(-1, 3600)
    largest = np.ptp(hours, axis=1)
    row = found.sel(component="e")
    assert row.largest_range == pytest.approx(largest.max())
    assert row.largest_range_at.values == storm_seconds.time.values[::3600][largest.argmax()]
    assert row.largest_range_at.values == np.datetime64("2024-05-10T22:00")
    assert statistics(storm_seconds, by="day").largest_range.values.min() > 300


def test_declination_has_figures_across_south():
    d = 10_800 + np.linspace(-30, 30, 60)
    written = np.where(d > 10_800, d - 21_600, d)
    given_ = samples_schema({"d": "arcmin"}).build(
        {"cadence_s": 60.0}, time=DAY0 + np.arange(60) * MINUTE, d=written
    )
    row = statistics(given_).isel(period=0, component=0)
    assert row["range"] == pytest.approx(60)
    assert row["std"] == pytest.approx(d.std())
    assert abs(row["mean"]) == pytest.approx(10_800)
    assert max(abs(row["min"]), abs(row["max"])) <= 10_800
    assert row.unit == "arcmin"


def test_other_periods_and_too_few_samples_are_refused():
    with pytest.raises(ConfigError, match="by='week' is neither 'hour' nor 'day'"):
        statistics(minutes(quiet()), by="week")
    with pytest.raises(SchemaError, match="wanted a cadence up to 3600 s"):
        statistics(minutes(quiet()).assign_attrs(cadence_s=np.inf))
    assert statistics(minutes(quiet()).isel(time=slice(0, 0))).sizes["period"] == 0
