"""What an irregular stream should have: the times of its schedule, and which of them were kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.metrics.day import DaySummary, Ints
from obslab.times import NS_PER_DAY


def scheduled(days: Sequence[DaySummary], begin_ns: int, end_ns: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Times of ``[begin, end)`` at which a sample is due, in order, and whether there is one.

    A sample counts for one time at most. A day without samples has the schedule of the one before it.
    ``days`` should hold the neighbours of the interval, since a tolerance may reach over midnight.
    """
    due_ns, within_ns = _due(days, begin_ns, end_ns)
    times_ns = np.concatenate([np.empty(0, np.int64), *(day.times_ns for day in days)])
    met = np.zeros(due_ns.size, bool)
    place = 0
    # The earliest sample still free serves the earliest time: with one tolerance nothing does better.
    for number, (due, within) in enumerate(zip(due_ns, within_ns, strict=True)):
        while place < times_ns.size and times_ns[place] < due - within:
            place += 1
        if place < times_ns.size and times_ns[place] <= due + within:
            met[number] = True
            place += 1
    inside = due_ns >= begin_ns  # a sample before the beginning may have served a time before it
    return due_ns[inside], met[inside]


def _due(days: Sequence[DaySummary], begin_ns: int, end_ns: int) -> tuple[Ints, Ints]:
    """Times due until the end, from a day before the beginning, with their tolerance in ns."""
    known = [day for day in days if day.n]
    due: list[tuple[int, int]] = []
    if known and end_ns > begin_ns:
        starts = np.array([day.day_ns for day in known])
        from_ns = begin_ns // NS_PER_DAY * NS_PER_DAY
        if known[0].day_ns < from_ns:  # a sample near midnight may have served a time of the day before
            from_ns -= NS_PER_DAY
        for day_ns in range(from_ns, end_ns, NS_PER_DAY):
            day = known[max(0, int(np.searchsorted(starts, day_ns, side="right")) - 1)]
            within = round(day.schedule_tolerance_s * 1e9)
            due += [(day_ns + _of_day_ns(clock_time), within) for clock_time in day.schedule]
    kept = sorted(one for one in due if one[0] < end_ns)
    table = np.array(kept, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _of_day_ns(clock_time: str) -> int:
    hour, minute = clock_time.split(":")
    return (int(hour) * 60 + int(minute)) * 60_000_000_000
