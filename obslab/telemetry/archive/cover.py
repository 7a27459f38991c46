"""What of an interval has no sample, at the cadence of its stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Stretch = tuple[int, int]


def runs(time_ns: Ints, cadence_ns: int) -> tuple[Ints, Ints]:
    """Times of the first and the last sample of each run of neighbours at most 1.5 cadences apart."""
    wide = np.flatnonzero(np.diff(time_ns) > cadence_ns + cadence_ns // 2)
    if not time_ns.size:
        return time_ns, time_ns
    return time_ns[np.append(0, wide + 1)], time_ns[np.append(wide, -1)]


def missing_stretches(
    first_ns: Ints, last_ns: Ints, begin_ns: int, end_ns: int, cadence_ns: int
) -> list[Stretch]:
    """Maximal half-open stretches of ``[begin_ns, end_ns)`` in which samples are due and none is there.

    What is there is told by runs, in order of time; they may reach beyond the interval, which tells where the
    grid of samples lies. Each sample stands for one cadence from its time on. Neighbours more than 1.5
    cadences apart bound a stretch, so jitter of up to half a cadence is not one.
    """
    if begin_ns >= end_ns:
        return []
    if not first_ns.size:
        return [(begin_ns, end_ns)]
    half_ns = cadence_ns // 2
    wide = np.flatnonzero(first_ns[1:] - last_ns[:-1] > cadence_ns + half_ns)
    # Each with an instant at which a sample is due, which gives all the others.
    stretches = [(int(last_ns[at]) + cadence_ns, int(first_ns[at + 1])) for at in wide]
    due = [begin for begin, _ in stretches]
    earliest_ns, over_ns = int(first_ns[0]), int(last_ns[-1]) + cadence_ns
    if begin_ns < earliest_ns:
        stretches.insert(0, (begin_ns, earliest_ns))
        due.insert(0, earliest_ns)
    if over_ns < end_ns:
        stretches.append((over_ns, end_ns + half_ns))
        due.append(over_ns)
    found = []
    for (begin, end), grid in zip(stretches, due, strict=True):
        begin = max(begin, begin_ns)
        next_due = grid - (grid - begin) // cadence_ns * cadence_ns
        # A sample due less than half a cadence before the next one is that one, come early.
        if next_due < min(end - half_ns, end_ns):
            found.append((begin, min(end, end_ns)))
    return found
