"""CDF's TT2000 times: nanoseconds of Terrestrial Time since noon of 2000-01-01, leap seconds counted.

TT is ahead of UTC by 32.184 s and TAI - UTC, which is a whole number of seconds since 1972 and grows by one
with each leap second. The table of leap seconds is cdflib's.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from obslab.errors import BadTimeError
from obslab.times import NS_PER_S

_TT_TAI_NS = 32_184_000_000
_J2000_NS = 946_728_000 * NS_PER_S  # 2000-01-01T12:00:00 as if it were UTC, in ns since 1970


def to_tt2000(time_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """TT2000 of UTC, given in ns since 1970. Raises BadTimeError before 1972."""
    begin_ns, ahead_ns = _leaps()
    span = np.searchsorted(begin_ns, time_ns, side="right") - 1
    if (span < 0).any():
        raise BadTimeError("TT2000 is used from 1972 on, when UTC got leap seconds", value=time_ns.min())
    return np.asarray(time_ns - _J2000_NS + ahead_ns[span])


def of_tt2000(tt2000: NDArray[np.int64]) -> NDArray[np.int64]:
    """UTC in ns since 1970. Raises BadTimeError before 1972 and within a leap second."""
    begin_ns, ahead_ns = _leaps()
    span = np.searchsorted(begin_ns - _J2000_NS + ahead_ns, tt2000, side="right") - 1
    if (span < 0).any():
        raise BadTimeError("TT2000 is used from 1972 on, when UTC got leap seconds", value=tt2000.min())
    time_ns = tt2000 + _J2000_NS - ahead_ns[span]
    ends = np.append(begin_ns[1:], np.iinfo(np.int64).max)[span]
    if (time_ns >= ends).any():
        at = int(np.argmax(time_ns >= ends))
        raise BadTimeError(
            f"time {at} is within the leap second before {np.datetime64(int(ends[at]), 'ns')}, "
            "which datetime64 cannot name",
            value=int(tt2000[at]),
        )
    return np.asarray(time_ns)


@cache
def _leaps() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When each span between leap seconds begins, in ns since 1970, and TT - UTC in it, in ns."""
    from cdflib.epochs import CDFepoch

    rows = [row for row in CDFepoch.LTS if row[0] >= 1972]
    begins = [f"{int(year):04}-{int(month):02}-{int(day):02}" for year, month, day, *_ in rows]
    begin_ns = np.array(begins, dtype="datetime64[ns]").astype(np.int64)
    return begin_ns, np.array([int(row[3]) * NS_PER_S for row in rows], np.int64) + _TT_TAI_NS
