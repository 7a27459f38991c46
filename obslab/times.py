"""Times: UTC instants as ``datetime64[ns]``, to and from text, nanoseconds, MJD and astropy.

A ``datetime64`` is POSIX time: it counts days of exactly 86,400 s since 1970, so it cannot name a
leap second (``23:59:60``) and the difference of two times leaves out the leap seconds between
them. Of 2016-12-31, the last day that had one, and of the 26 before it, the fraction of the day
differs from astropy's, which divides by 86,401 s: the MJD by up to 1 s, the instant not at all.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from obslab.errors import BadTimeError

if TYPE_CHECKING:
    from astropy.time import Time

Instant = str | datetime | np.datetime64 | int
Times = npt.NDArray[np.datetime64]

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
MJD_OF_1970 = 40_587

# What int64 nanoseconds reach; the lowest integer is NumPy's "not a time".
EARLIEST_NS = -(2**63) + 1
LATEST_NS = 2**63 - 1
_REACH = "nanoseconds reach from 1677-09-21 to 2262-04-11 only"

_ISO = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<clock>\d\d:\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"\s?(?P<zone>Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


def now_ns() -> int:
    """The present by this machine's clock, in ns since 1970."""
    return time.time_ns()


def as_ns(value: Instant) -> int:
    """Nanoseconds since 1970 UTC of an instant given in any of the usual ways.

    Text is ISO 8601 with ``Z`` or an offset; a bare date is the beginning of that UTC day. A
    clock time without a zone, in text or as a ``datetime``, is refused: nobody can tell whether
    it is local. Integers are taken as ns. NumPy's times are UTC by definition.
    """
    match value:
        case bool() | float() | np.floating():
            raise _bad(value, "give whole nanoseconds since 1970, a time, or text such as 2024-05-10T17:05Z")
        case str():
            ns = _ns_of_text(value)
        case datetime():
            ns = _ns_of_datetime(value)
        case date():
            ns = _ns_of_datetime(datetime(value.year, value.month, value.day, tzinfo=UTC))
        case int() | np.integer() if not isinstance(value, np.timedelta64):
            ns = int(value)
        case _ if getattr(getattr(value, "dtype", None), "kind", "") == "M" and not np.shape(value):
            ns = _ns_of_datetime64(np.asarray(value))
        case _:
            raise _bad(value, f"a {type(value).__name__} is not a time")
    if not EARLIEST_NS <= ns <= LATEST_NS:
        raise _bad(value, _REACH)
    return ns


def as_utc(value: Instant) -> np.datetime64:
    """An instant given in any way ``as_ns`` knows, as ``datetime64[ns]``."""
    return np.datetime64(as_ns(value), "ns")


def to_ns(times: Times) -> npt.NDArray[np.int64]:
    """Nanoseconds since 1970 of an array of times, whatever their unit; ``NaT`` is refused."""
    if np.isnat(times).any():
        raise BadTimeError("NaT among the times has no nanoseconds; drop it first", value="NaT")
    ns = times.astype("datetime64[ns]")
    if not np.array_equal(ns.astype(times.dtype), times):  # NumPy wraps around silently
        raise BadTimeError(f"times from {times.min()} to {times.max()}: {_REACH}", value=times)
    return ns.astype(np.int64)


def from_ns(ns: npt.ArrayLike) -> Times:
    """Times of an array of whole nanoseconds since 1970."""
    counts = np.asarray(ns)
    if counts.dtype.kind not in "iu" and counts.size:
        raise BadTimeError(f"nanoseconds must be integers, not {counts.dtype}", value=ns)
    return counts.astype(np.int64).astype("datetime64[ns]")


def iso(value: Instant, places: int | None = None) -> str:
    """ISO text with ``Z``: ``2024-05-10T17:05:00Z``.

    The fraction has the 0, 3, 6 or 9 ``places`` it needs to be exact; given fewer it is cut off,
    not rounded, so that a time never moves to a second, or a day, that had not begun.
    """
    second, fraction = divmod(as_ns(value), NS_PER_S)
    digits = f"{fraction:09}"
    if places is None:
        places = next(n for n in (0, 3, 6, 9) if not digits[n:].strip("0"))
    text = str(np.datetime64(second, "s"))
    return f"{text}.{digits[:places]}Z" if places else f"{text}Z"


def mjd(times: Times | np.datetime64) -> npt.NDArray[np.float64]:
    """Modified Julian Date (UTC) in days, to 0.4 microseconds.

    That is half of the last bit of a float near MJD 60,000. For more, keep the ``datetime64``.
    """
    days, ns = np.divmod(to_ns(np.asarray(times)), NS_PER_DAY)
    return np.asarray(days + MJD_OF_1970 + ns / NS_PER_DAY)


def from_mjd(days: npt.ArrayLike) -> Times:
    """Times of Modified Julian Dates (UTC), to the 0.4 microseconds that a float holds."""
    mjd_days = np.asarray(days, np.float64)
    day = np.floor(mjd_days)
    lowest, highest = (limit // NS_PER_DAY + MJD_OF_1970 for limit in (EARLIEST_NS, LATEST_NS))
    inside = (day > lowest) & (day < highest)  # false for NaN
    if not inside.all():
        wrong = mjd_days[~inside].flat[0]
        raise BadTimeError(f"MJD {wrong} is not between {lowest} and {highest}", value=wrong)
    ns = np.rint((mjd_days - day) * NS_PER_DAY).astype(np.int64)
    return from_ns((day.astype(np.int64) - MJD_OF_1970) * NS_PER_DAY + ns)


def to_astropy(times: Times | np.datetime64) -> Time:
    """The same instants as an astropy ``Time`` (UTC), exact to a nanosecond."""
    from astropy.time import Time

    return Time(np.asarray(times).astype("datetime64[ns]"), format="datetime64", scale="utc")


def from_astropy(instants: Time) -> Times:
    """The instants of an astropy ``Time`` of any scale; one within a leap second is refused."""
    second = instants.utc.ymdhms["second"]
    if np.any(second >= 60):
        raise BadTimeError(
            f"{np.atleast_1d(instants.utc.isot)[np.atleast_1d(second >= 60)][0]} is within a leap second, "
            "which datetime64 cannot name",
            value=instants,
        )
    return np.asarray(instants.utc.to_value("datetime64")).astype("datetime64[ns]")


def _ns_of_text(text: str) -> int:
    found = _ISO.fullmatch(text.strip())
    if not found:
        raise _bad(text, "wanted ISO text such as 2024-05-10 or 2024-05-10T17:05:00Z")
    day, clock, second, fraction, zone = found.groups()
    if clock and not zone:
        raise _bad(text, f"it has no time zone; write {text.strip()}Z if it is UTC")
    if second == "60":
        raise _bad(text, "datetime64 cannot name a leap second")
    if fraction and len(fraction.rstrip("0")) > 9:
        raise _bad(text, "it is finer than a nanosecond")
    offset = "+00:00" if zone in (None, "Z") else zone
    try:
        whole = datetime.fromisoformat(f"{day}T{clock or '00:00'}:{second or '00'}{offset}")
    except ValueError as error:
        raise _bad(text, str(error)) from None
    return _ns_of_datetime(whole) + int((fraction or "").ljust(9, "0")[:9])


def _ns_of_datetime(value: datetime) -> int:
    if value != value:  # pandas.NaT is a datetime
        raise _bad(value, "it is not a time")
    if value.utcoffset() is None:
        raise _bad(value, "it has no time zone; give datetime(..., tzinfo=UTC)")
    since = value - datetime(1970, 1, 1, tzinfo=UTC)
    nanosecond: int = getattr(value, "nanosecond", 0)  # a pandas.Timestamp has them
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000 + nanosecond


def _ns_of_datetime64(value: Times) -> int:
    if np.isnat(value):
        raise _bad(value, "it is not a time")
    return int(to_ns(value))


def _bad(value: Any, why: str) -> BadTimeError:
    return BadTimeError(f"time {str(value)!r}: {why}", value=value)
