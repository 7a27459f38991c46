from datetime import UTC, date, datetime, timedelta, timezone

import erfa
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from obslab import times
from obslab.errors import BadTimeError
from obslab.times import (
    NS_PER_DAY,
    as_ns,
    as_utc,
    from_astropy,
    from_mjd,
    from_ns,
    iso,
    mjd,
    to_astropy,
    to_ns,
)

ANY_NS = st.integers(times.EARLIEST_NS, times.LATEST_NS)
# Before 1972 UTC had seconds of a length of its own, which only astropy knows.
# Of years to come it warns, as nobody has announced their leap seconds.
SINCE_1972 = st.integers(as_ns("1972-01-01"), as_ns("2026-01-01"))
DAYS_WITH_A_LEAP_SECOND = ("1972-06-30", "1998-12-31", "2016-12-31")


@pytest.mark.parametrize(
    "value",
    [
        "2024-05-10T17:05:00Z",
        "2024-05-10 17:05:00.000Z",
        "2024-05-10T17:05Z",
        "2024-05-10T19:05:00+02:00",
        "2024-05-10T06:05-1100",
        datetime(2024, 5, 10, 17, 5, tzinfo=UTC),
        datetime(2024, 5, 10, 19, 5, tzinfo=timezone(timedelta(hours=2))),
        pd.Timestamp("2024-05-10T17:05Z"),
        np.datetime64("2024-05-10T17:05"),
        np.array("2024-05-10T17:05:00", "datetime64[us]"),
        xr.DataArray(np.datetime64("2024-05-10T17:05:00", "ns")),
        1_715_360_700_000_000_000,
        np.int64(1_715_360_700_000_000_000),
    ],
)
def test_one_instant_in_all_its_forms(value):
    assert as_ns(value) == 1_715_360_700_000_000_000
    assert as_utc(value) == np.datetime64("2024-05-10T17:05", "ns")


def test_a_bare_date_is_the_beginning_of_that_utc_day():
    assert as_ns("2024-05-10") == as_ns(date(2024, 5, 10)) == as_ns("2024-05-10T00:00Z")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("2024-05-10T17:05", "has no time zone; write 2024-05-10T17:05Z if it is UTC"),
        (datetime(2024, 5, 10, 17, 5), r"has no time zone; give datetime\(..., tzinfo=UTC\)"),
        (pd.Timestamp("2024-05-10"), "has no time zone"),
        ("10 May 2024", "time '10 May 2024': wanted ISO text such as 2024-05-10"),
        ("2024-13-10", "month must be in 1..12"),
        ("2016-12-31T23:59:60Z", "cannot name a leap second"),
        ("2024-05-10T17:05:00.0000000001Z", "finer than a nanosecond"),
        ("2262-04-12", "from 1677-09-21 to 2262-04-11 only"),
        (np.datetime64("9999-01-01"), "from 1677-09-21 to 2262-04-11 only"),
        (2**63, "from 1677-09-21 to 2262-04-11 only"),
        (1_715_360_700.5, "give whole nanoseconds since 1970"),
        (np.float64(1_715_360_700.5), "give whole nanoseconds since 1970"),
        (True, "give whole nanoseconds since 1970"),
        (np.datetime64("NaT"), "it is not a time"),
        (pd.NaT, "it is not a time"),
        (np.timedelta64(5, "s"), "a timedelta64 is not a time"),
        (np.array(["2024-05-10"], "datetime64[ns]"), "a ndarray is not a time"),
        (None, "a NoneType is not a time"),
    ],
)
def test_what_is_not_an_instant_is_refused_and_told_why(value, message):
    with pytest.raises(BadTimeError, match=message):
        as_ns(value)


@given(st.from_regex(times._ISO, fullmatch=True) | st.text(max_size=30))
def test_any_text_is_a_time_or_a_bad_one(text):
    try:
        ns = as_ns(text)
    except BadTimeError:
        return
    assert as_ns(iso(ns)) == ns


def test_now_is_between_two_looks_at_the_clock():
    before = datetime.now(UTC)
    assert as_ns(before) <= times.now_ns() <= as_ns(datetime.now(UTC)) + 1_000


@given(ANY_NS)
def test_text_keeps_the_nanosecond(ns):
    assert as_ns(iso(ns)) == ns
    assert as_ns(as_utc(ns)) == ns


@pytest.mark.parametrize(
    ("ns", "places", "text"),
    [
        (0, None, "1970-01-01T00:00:00Z"),
        (1_500_000_000, None, "1970-01-01T00:00:01.500Z"),
        (1, None, "1970-01-01T00:00:00.000000001Z"),
        (-1, None, "1969-12-31T23:59:59.999999999Z"),
        (-1, 0, "1969-12-31T23:59:59Z"),
        (1_999_999_999, 3, "1970-01-01T00:00:01.999Z"),
    ],
)
def test_iso_shows_what_is_needed_and_never_rounds_up(ns, places, text):
    assert iso(ns, places) == text


@given(st.lists(ANY_NS, max_size=5))
def test_arrays_of_nanoseconds_come_back(values):
    assert to_ns(from_ns(values)).tolist() == values


def test_arrays_refuse_what_would_change():
    with pytest.raises(BadTimeError, match="NaT among the times"):
        to_ns(np.array(["2024-05-10", "NaT"], "datetime64[ns]"))
    with pytest.raises(BadTimeError, match="reach from 1677"):
        to_ns(np.array(["9999-12-31"], "datetime64[D]"))
    with pytest.raises(BadTimeError, match="must be integers, not float64"):
        from_ns([1.5])


@given(SINCE_1972)
def test_mjd_agrees_with_astropy(ns):
    if iso(ns)[:10] in {iso(day)[:10] for day in _leap_second_days()}:
        return
    # Half of the last bit of MJD 65,000 is 3.6e-12 days or 0.3 microseconds, for us and for astropy.
    assert abs(mjd(as_utc(ns)) - to_astropy(as_utc(ns)).mjd) * 86_400e6 < 0.7


@given(SINCE_1972)
def test_mjd_comes_back_within_its_stated_precision(ns):
    back = to_ns(from_mjd(mjd(as_utc(ns))))
    assert abs(int(back) - ns) <= 400


@pytest.mark.parametrize("day", DAYS_WITH_A_LEAP_SECOND)
def test_a_day_with_a_leap_second_has_86400_seconds_here_and_86401_in_astropy(day):
    noon = as_utc(f"{day}T12:00Z")
    assert mjd(noon) % 1 == 0.5
    # Noon is 43,200 s into a day that astropy divides by 86,401: half a second less of an MJD.
    assert (mjd(noon) - to_astropy(noon).mjd) * 86_400 == pytest.approx(0.5, abs=1e-3)
    # The instant is the same all the same, and so is the next midnight.
    assert to_astropy(noon).isot == f"{day}T12:00:00.000"
    midnight = as_utc(as_ns(day) + NS_PER_DAY)
    assert mjd(midnight) == to_astropy(midnight).mjd


def test_differences_leave_out_leap_seconds():
    before, after = as_utc("2016-12-31T23:59:59Z"), as_utc("2017-01-01")
    assert after - before == np.timedelta64(1, "s")
    assert (to_astropy(after) - to_astropy(before)).sec == pytest.approx(2, abs=1e-9)


@given(SINCE_1972)
def test_astropy_gives_the_nanosecond_back(ns):
    assert to_ns(from_astropy(to_astropy(as_utc(ns)))) == ns


def test_astropy_of_another_scale_is_converted():
    tai = Time("2024-05-10T17:05:37", scale="tai")
    assert from_astropy(tai) == as_utc("2024-05-10T17:05Z")


def test_an_instant_within_a_leap_second_is_refused():
    with pytest.raises(BadTimeError, match=r"2016-12-31T23:59:60.500 is within a leap second"):
        from_astropy(Time(["2016-12-31T23:59:59", "2016-12-31T23:59:60.5"], scale="utc"))


@pytest.mark.parametrize("value", [np.nan, np.inf, 2_460_440.5, 200_000])
def test_a_number_that_is_no_mjd_is_refused(value):
    with pytest.raises(BadTimeError, match=f"MJD {float(value)} is not between"):
        from_mjd([60_000, value])


def test_known_mjd():
    # 2000-01-01T12:00 is JD 2,451,545.0 by definition of J2000.
    assert mjd(as_utc("2000-01-01T12:00Z")) == 51_544.5
    assert from_mjd(51_544.5) == as_utc("2000-01-01T12:00Z")


def _leap_second_days():
    jumps = erfa.leap_seconds.get()
    return [
        as_ns(date(jump["year"], jump["month"], 1)) - NS_PER_DAY for jump in jumps if jump["year"] >= 1972
    ]
