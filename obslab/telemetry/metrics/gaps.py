"""What is missing: gaps within days, across midnight, and at the edges of what is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from obslab.telemetry.metrics.causes import Known, causes
from obslab.telemetry.metrics.day import DaySummary, Ints
from obslab.telemetry.metrics.schedule import scheduled
from obslab.telemetry.metrics.summary import missing
from obslab.telemetry.sample import IRREGULAR, Clock, Stream
from obslab.times import from_ns

if TYPE_CHECKING:
    import xarray as xr

Days = Mapping[Stream, Sequence[DaySummary]]
Reach = Mapping[Stream, tuple[int, int]]

_HAIR = 1e-6  # of a cadence: 1/3 s is no whole number of ns


@dataclass(frozen=True, eq=False)
class Stretches:
    """Stretches of missing samples of one stream, as ``day.Gaps``; ``back_ns`` is 0 where none came since."""

    begin_ns: Ints
    end_ns: Ints
    back_ns: Ints
    lost: Ints


def gaps(days: Days, reach: Reach, known: Known | None = None) -> xr.Dataset:
    """Samples missing within each stream's reach (see ``targets.judged``), as ``GAPS``.

    ``days`` are in order; those without samples may be left out. A gap that goes on beyond the reach is cut
    there. Of an irregular stream each scheduled time without a sample is a gap; it ends with the next sample.
    """
    from obslab.telemetry.metrics.datasets import GAPS

    known = known or Known()
    streams, parts, why = [], [], []
    for stream in sorted(reach):
        part = stretches(stream, days.get(stream, ()), *reach[stream])
        streams += [str(stream)] * part.lost.size
        parts.append(part)
        clock = clock_of(days.get(stream, ()))
        why.append(causes(known, stream, clock, part.begin_ns, part.end_ns, part.lost))
    none = [np.empty(0, np.int64)]
    begin_ns, end_ns, lost = (
        np.concatenate([*(getattr(part, name) for part in parts), *none])
        for name in ("begin_ns", "end_ns", "lost")
    )
    return GAPS.build(
        stream=np.array(streams, str),
        begin=from_ns(begin_ns),
        end=from_ns(end_ns),
        duration_s=(end_ns - begin_ns) / 1e9,
        lost=lost,
        cause=np.concatenate([np.empty(0, str), *(cause for cause, _ in why)]),
        state=np.concatenate([np.empty(0, str), *(state for _, state in why)]),
    )


def stretches(stream: Stream, days: Sequence[DaySummary], begin_ns: int, end_ns: int) -> Stretches:
    """Missing samples of ``[begin, end)`` of one stream, in order of time."""
    if begin_ns >= end_ns:
        return Stretches(*(np.empty(0, np.int64) for _ in range(4)))
    if stream.samplerate == IRREGULAR:
        return _unmet(days, begin_ns, end_ns)
    held = [day for day in days if day.n]
    if not held:
        cadence_ns = stream.cadence_s * 1e9
        lost = int(np.ceil((end_ns - begin_ns) / cadence_ns - _HAIR))
        return Stretches(*(np.array([one], np.int64) for one in (begin_ns, end_ns, 0, lost)))
    whole = _joined(
        _before(stream, held[0], begin_ns),
        *(part for day, after in pairwise(held) for part in (_of(day), _night(day, after))),
        _of(held[-1]),
        _after(stream, held[-1], end_ns),
    )
    return _cut(stream, whole, begin_ns, end_ns)


def clock_of(days: Sequence[DaySummary]) -> Clock | None:
    """The station's clock, as last known."""
    return next((day.clock for day in reversed(days) if day.n), None)


def _of(day: DaySummary) -> Stretches:
    return Stretches(day.gaps.begin_ns, day.gaps.end_ns, day.gaps.back_ns, day.gaps.lost)


def _night(day: DaySummary, after: DaySummary) -> Stretches:
    """What is missing between the last sample of a day and the first of the next that has any."""
    cadence_ns = day.stream.cadence_s * 1e9
    step_ns = after.first_ns - day.last_ns
    lost = int(missing(day.stream, np.array([step_ns]))[0]) if step_ns > 1.5 * cadence_ns else 0
    return _one(day.last_ns + round(cadence_ns), after.first_ns, after.first_arrival_ns, lost)


def _before(stream: Stream, day: DaySummary, begin_ns: int) -> Stretches:
    cadence_ns = stream.cadence_s * 1e9
    lost = int(np.floor((day.first_ns - begin_ns) / cadence_ns + _HAIR))
    return _one(day.first_ns - round(lost * cadence_ns), day.first_ns, day.first_arrival_ns, lost)


def _after(stream: Stream, day: DaySummary, end_ns: int) -> Stretches:
    cadence_ns = stream.cadence_s * 1e9
    lost = int(np.ceil((end_ns - day.last_ns) / cadence_ns - _HAIR)) - 1
    return _one(day.last_ns + round(cadence_ns), end_ns, 0, lost)


def _one(begin_ns: int, end_ns: int, back_ns: int, lost: int) -> Stretches:
    return Stretches(
        *(np.array([one] if lost > 0 else [], np.int64) for one in (begin_ns, end_ns, back_ns, lost))
    )


def _joined(*parts: Stretches) -> Stretches:
    names = ("begin_ns", "end_ns", "back_ns", "lost")
    return Stretches(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _cut(stream: Stream, whole: Stretches, begin_ns: int, end_ns: int) -> Stretches:
    """What of the stretches lies within ``[begin, end)``; what is cut off behind is not back yet."""
    cadence_ns = stream.cadence_s * 1e9
    skip = np.maximum(0, np.ceil((begin_ns - whole.begin_ns) / cadence_ns - _HAIR)).astype(np.int64)
    first_ns = whole.begin_ns + np.rint(skip * cadence_ns).astype(np.int64)
    over = whole.end_ns > end_ns
    inside = np.ceil((end_ns - first_ns) / cadence_ns - _HAIR).astype(np.int64)
    lost = np.where(over, np.minimum(inside, whole.lost - skip), whole.lost - skip)
    kept = lost > 0
    return Stretches(
        first_ns[kept],
        np.minimum(whole.end_ns, end_ns)[kept],
        np.where(over, 0, whole.back_ns)[kept],
        lost[kept],
    )


def _unmet(days: Sequence[DaySummary], begin_ns: int, end_ns: int) -> Stretches:
    due_ns, met = scheduled(days, begin_ns, end_ns)
    unmet_ns = due_ns[~met]
    times_ns = np.concatenate([np.empty(0, np.int64), *(day.times_ns for day in days)])
    ends_ns = np.append(times_ns, end_ns)[np.searchsorted(times_ns, unmet_ns, side="right")]
    lost = np.ones(unmet_ns.size, np.int64)
    return Stretches(unmet_ns, np.minimum(ends_ns, end_ns), np.zeros_like(lost), lost)
