"""When delivery was interrupted: samples that came too late or not at all, and connection losses by month."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from obslab.telemetry.metrics.causes import LOST, REJECTED, UNKNOWN, Known, causes
from obslab.telemetry.metrics.day import DaySummary, Ints
from obslab.telemetry.metrics.gaps import Days, Reach, clock_of, stretches
from obslab.telemetry.sample import IRREGULAR, Stream
from obslab.times import from_ns

if TYPE_CHECKING:
    import xarray as xr

_NOT_THE_CONNECTION = ("station", LOST, REJECTED)
_NEVER_NS = 2**63 - 1


def outages(days: Days, reach: Reach, known: Known | None = None, *, at_least_s: float = 0.0) -> xr.Dataset:
    """Stretches of samples not delivered in time that touch each stream's reach, as ``OUTAGES``.

    Late samples (transport above ``targets.LATE_S``) and missing ones that follow each other are one outage.
    It begins with the first of these samples and ends when delivery went on: when the first of them, or the
    next after them, arrived. Without an event that says more, an outage whose samples came later is the
    link's. One that lasts to the end of what was asked has no end. Irregular streams have none.
    """
    from obslab.telemetry.metrics.datasets import OUTAGES

    known = known or Known()
    tables = {
        stream: _of_stream(stream, days.get(stream, ()), *reach[stream], at_least_s)
        for stream in sorted(reach)
        if stream.samplerate != IRREGULAR
    }
    why = [np.empty(0, str)]
    for stream, (begin_ns, end_ns, late, lost) in tables.items():
        until_ns = np.where(end_ns == _NEVER_NS, reach[stream][1], end_ns)
        cause, _ = causes(known, stream, clock_of(days.get(stream, ())), begin_ns, until_ns, lost)
        why.append(np.where((cause == UNKNOWN) & (late > 0), "link", cause))
    begin_ns, end_ns, late, lost = np.concatenate([np.empty((4, 0), np.int64), *tables.values()], axis=1)
    over = end_ns != _NEVER_NS
    return OUTAGES.build(
        stream=np.repeat(
            np.array([*map(str, tables), ""]), [*(part.shape[1] for part in tables.values()), 0]
        ),
        begin=from_ns(begin_ns),
        end=np.where(over, from_ns(end_ns), np.datetime64("NaT", "ns")),
        duration_s=np.where(over, (end_ns - begin_ns) / 1e9, np.nan),
        late=late,
        lost=lost,
        cause=np.concatenate(why),
    )


def losses(found: xr.Dataset, reach: Reach) -> xr.Dataset:
    """Connection losses by month and stream, as ``LOSSES``: the outages that are not the station's doing.

    ``found`` is from ``outages``; months of the reach without any are there with none.
    """
    from obslab.telemetry.metrics.datasets import LOSSES

    connection = ~np.isin(found.cause.values, _NOT_THE_CONNECTION)
    begin = found.begin.values.astype("datetime64[M]")
    rows = []
    for stream, (begin_ns, end_ns) in sorted(reach.items()):
        mine = connection & (found.stream.values == str(stream))
        first, last = (np.datetime64(at, "ns").astype("datetime64[M]") for at in (begin_ns, end_ns - 1))
        for month in np.arange(first, last + 1) if end_ns > begin_ns else ():
            those = mine & (begin == month)
            rows.append((month, str(stream), those.sum(), np.nansum(found.duration_s.values[those])))
    month, name, number, out_s = zip(*rows, strict=True) if rows else ((),) * 4
    return LOSSES.build(
        month=np.array(month, "datetime64[ns]"),
        stream=np.array(name, str),
        losses=np.array(number, np.int64),
        out_s=np.array(out_s, float),
    )


def _of_stream(
    stream: Stream, days: Sequence[DaySummary], begin_ns: int, end_ns: int, at_least_s: float
) -> Ints:
    """Rows begin, end, late, lost; one column for each outage."""
    held = [day for day in days if day.n]
    # All that the days tell, so that an outage keeps its beginning when one asks from its middle on.
    missed = stretches(stream, days, min([begin_ns, *(day.first_ns for day in held[:1])]), end_ns)
    pieces = _late(stream, held)
    none = np.zeros(missed.lost.size, np.int64)
    back_ns = np.where(missed.back_ns == 0, _NEVER_NS, missed.back_ns)
    pieces = np.concatenate([pieces, [missed.begin_ns, missed.end_ns, back_ns, none, missed.lost]], axis=1)
    if not pieces.size:
        return np.empty((4, 0), np.int64)
    begin, until, back, late, lost = pieces[:, np.argsort(pieces[0], kind="stable")]
    reached = np.maximum.accumulate(until)
    half_ns = round(stream.cadence_s * 5e8)
    first = np.flatnonzero(np.concatenate([[True], begin[1:] > reached[:-1] + half_ns]))
    table = np.array(
        [
            begin[first],
            np.minimum.reduceat(back, first),
            np.add.reduceat(late, first),
            np.add.reduceat(lost, first),
        ]
    )
    last = np.maximum.reduceat(until, first)
    long = (table[1] - table[0]) / 1e9 >= at_least_s
    return table[:, (table[0] < end_ns) & (last > begin_ns) & long]


def _late(stream: Stream, held: Sequence[DaySummary]) -> Ints:
    """Late runs as rows begin, end, back, late, lost; at ``back`` delivery is known to have worked again."""
    cadence_ns = round(stream.cadence_s * 1e9)
    parts = [np.empty((5, 0), np.int64)]
    for number, day in enumerate(held):
        run = day.late
        after_ns = held[number + 1].first_arrival_ns if number + 1 < len(held) else _NEVER_NS
        back_ns = np.minimum(np.where(run.back_ns == 0, after_ns, run.back_ns), run.first_arrival_ns)
        none = np.zeros(run.n.size, np.int64)
        parts.append(np.array([run.begin_ns, run.last_ns + cadence_ns, back_ns, run.n, none]))
    return np.concatenate(parts, axis=1)
