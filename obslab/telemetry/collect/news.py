"""What of a batch an archive does not have yet, so that a file read twice changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.archive.batch import Arrivals, Batch
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.protocol import interval_of
from obslab.telemetry.readings import Stored


@dataclass
class Tally:
    """Samples of a batch: ``there`` with the same values, ``contradictions`` with other ones.

    Of a stream that revises, other values are ``revised``: new versions; ``routine``: there is nothing else.
    """

    new: int = 0
    there: int = 0
    contradictions: int = 0
    revised: int = 0
    routine: bool = field(default=False, repr=False)


def news_of(archive: Archive, batch: Batch) -> tuple[Batch, Tally]:
    """The batch without what the archive has already; what contradicts it is still in, to be kept beside."""
    tally, kept = Tally(routine=bool(batch.arrivals) and all(one.revises for one in batch.arrivals)), []
    for arrivals in batch.arrivals:
        rows, counts = _news(archive, arrivals)
        tally.new += counts.new
        tally.there += counts.there
        tally.contradictions += counts.contradictions
        tally.revised += counts.revised
        if rows.size:
            kept.append(_taken(arrivals, rows))
    return Batch(arrivals=kept, metas=batch.metas), tally


def settle_holes(archive: Archive, stored: Sequence[Arrivals], now_ns: int) -> None:
    """Note as filled those holes of the book that have no gap any more."""
    for arrivals in stored:
        begin_ns = int(arrivals.time_ns.min())
        end_ns = int(arrivals.time_ns.max()) + interval_of(arrivals.stream)
        for hole in archive.book.holes(arrivals.stream.topic, begin_ns, end_ns, ("open", "asked", "lost")):
            if not archive.missing(arrivals.stream, hole.begin_ns, hole.end_ns):
                inside = (arrivals.time_ns >= hole.begin_ns) & (arrivals.time_ns < hole.end_ns)
                archive.book.set_hole(hole, now_ns, state="filled", filled=hole.filled + int(inside.sum()))


def _news(archive: Archive, arrivals: Arrivals) -> tuple[NDArray[np.int64], Tally]:
    """Rows to store in order of time, and what the samples are, each counted once."""
    times, width = arrivals.time_ns, arrivals.width
    held = archive.stored(arrivals.stream, int(times.min()), int(times.max()) + 1)
    place = np.searchsorted(held.time_ns, times)
    there = place < len(held)
    there[there] = held.time_ns[place[there]] == times[there]
    known = {
        int(held.time_ns[row]): body
        for row, body in zip(place[there].tolist(), _bodies(held, place[there]), strict=True)
    }
    tally, rows = Tally(), []
    seen: set[tuple[int, bytes]] = set()
    for row in np.argsort(times, kind="stable").tolist():
        time_ns, body = int(times[row]), arrivals.bodies[row * width : (row + 1) * width]
        if (time_ns, body) in seen:
            continue
        seen.add((time_ns, body))
        first = known.setdefault(time_ns, body)
        if first != body and arrivals.revises:
            tally.revised += 1
        elif first != body:
            tally.contradictions += 1
        elif there[row]:
            tally.there += 1
            continue
        else:
            tally.new += 1
        rows.append(row)
    return np.array(rows, dtype=np.int64), tally


def _bodies(held: Stored, rows: NDArray[np.int64]) -> list[bytes]:
    end = np.cumsum(held.size, dtype=np.int64)
    return [held.bodies[int(end[row]) - int(held.size[row]) : int(end[row])] for row in rows.tolist()]


def _taken(arrivals: Arrivals, rows: NDArray[np.int64]) -> Arrivals:
    """These rows of the samples, in this order."""
    table = np.frombuffer(arrivals.bodies, dtype=np.uint8).reshape(-1, arrivals.width)
    return Arrivals(
        arrivals.stream,
        arrivals.time_ns[rows],
        arrivals.arrival_ns[rows],
        arrivals.width,
        table[rows].tobytes(),
        arrivals.late[rows],
        arrivals.revises,
        arrivals.whole,
    )
