"""Sealing: a day of a stream leaves the hot store for a chunk, without a moment at which it is in neither.

    read the day -> write the file -> one transaction: enter the chunk, take the hot rows away

Killed before the transaction the hot rows are what counts, and the file is an orphan that nobody reads;
after it the chunk is. Only one process seals, while others may store.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator

from obslab.telemetry.archive import chunk, sealed
from obslab.telemetry.archive.entries import count
from obslab.telemetry.archive.hot import HotStore
from obslab.telemetry.archive.layout import TOMBSTONE
from obslab.telemetry.archive.sealed import Chunk, Query, file_of
from obslab.telemetry.metrics.summary import summarise
from obslab.telemetry.readings import Stored, united
from obslab.telemetry.sample import Stream
from obslab.times import NS_PER_DAY, NS_PER_S

AFTER_DAYS = 2.0
SETTLE_S = 600.0  # a backfill brings a day in many pieces; each time the whole day is written anew


def due_days(
    hot: HotStore, now_ns: int, after_days: float = AFTER_DAYS, settle_s: float = SETTLE_S
) -> Iterator[tuple[Stream, int]]:
    """The days to seal, oldest first: over for ``after_days``, and nothing came for ``settle_s``.

    A day is over when its stream is that much further, by the station's clock; of a stream that has ended,
    when nothing came for so long by ours. A sealed day with new samples is due as soon as they settle.
    """
    after_ns = round(after_days * NS_PER_DAY)
    for stream, row_id in hot.streams().items():
        with hot.reading() as query:
            found = list(hot.days(query, row_id, -(2**63), 2**63 - 1))
            ends = [row.end_ns for row in hot.sealed.chunks(query, row_id, max(found, default=0), 2**62)]
        for day_ns in found:
            with hot.reading() as query:
                newest_ns, came_ns = _last(query, row_id, day_ns)
                over = day_ns + NS_PER_DAY + after_ns <= max([newest_ns, *ends])
                again = any(row.state == "sealed" for row in hot.sealed.of_day(query, row_id, day_ns))
                if over or again:
                    # Only now, since it looks at every row of the day.
                    ready = _latest_arrival(query, row_id, day_ns) <= now_ns - round(settle_s * NS_PER_S)
                else:
                    ready = came_ns <= now_ns - after_ns - NS_PER_DAY
            if ready:
                yield stream, day_ns


def seal_day(
    hot: HotStore, stream: Stream, day_ns: int, now_ns: int, extra: Stored | None = None
) -> Chunk | None:
    """Write what there is of a day, hot, sealed before and ``extra``, into one new chunk.

    Of two samples of one time the hot one stays, which is a newer version, else the one stored first. Returns
    None when there is nothing new. Raises DamagedChunkError or ChunkGoneError when what was sealed before
    cannot be read.
    """
    row_id, end_ns = hot.row_id(stream), day_ns + NS_PER_DAY
    if row_id is None:
        return None
    with hot.reading() as query:
        generations = hot.sealed.of_day(query, row_id, day_ns)
        here = hot.samples(query, row_id, day_ns, end_ns)
        last_row = query("SELECT coalesce(max(id), 0) FROM sample", ())[0][0]
    before = [hot.sealed.load(row) for row in generations if row.state == "sealed"]
    stored = united([*([extra] if extra is not None else []), *before, here])
    known = sum(map(len, before)) + len(here)
    if not len(here) and len(stored) == known:
        return None
    arrival_ns = chunk.rounded(stored.arrival_ns)
    generation = max((row.generation for row in generations), default=0) + 1
    content = chunk.encode(stream, day_ns, generation, stored)
    summary = summarise(stream, hot.metas_of(stream.meta_topic), day_ns, stored.time_ns, arrival_ns)
    row = Chunk(
        stream=row_id,
        day_ns=day_ns,
        generation=generation,
        state="sealed",
        file=file_of(stream, day_ns, generation),
        n=len(stored),
        size=len(content),
        crc32=chunk.check(content)[1],
        begin_ns=int(stored.time_ns[0]),
        end_ns=int(stored.time_ns[-1]),
        first_arrival_ns=int(arrival_ns.min()),
        last_arrival_ns=int(arrival_ns.max()),
        summary=summary.encode(),
        changed_ns=now_ns,
        checked_ns=now_ns,
    )
    chunk.write(hot.sealed.folder / row.file, content)
    with hot.writing() as write:
        sealed.insert(write, row)
        _take_away(write, row, last_row)
        count(write, row_id, Counter(unique=max(0, len(stored) - known)))
    return row


def _take_away(write: sqlite3.Connection, row: Chunk, last_row: int) -> None:
    """The hot rows that are in the chunk; not those that another process stored meanwhile."""
    ours = "stream = ? AND time_ns >= ? AND time_ns < ? AND id <= ?"
    parameters = (row.stream, row.day_ns, row.day_ns + NS_PER_DAY, last_row)
    write.execute(
        f"""UPDATE sample SET stream = {TOMBSTONE}, time_ns = id, arrival_ns = 0, body = x''
            WHERE id = (SELECT max(id) FROM sample) AND {ours}""",
        parameters,
    )
    write.execute(f"DELETE FROM sample WHERE {ours}", parameters)
    write.execute(f"DELETE FROM sample WHERE stream = {TOMBSTONE} AND id < (SELECT max(id) FROM sample)")


def _last(query: Query, row_id: int, day_ns: int) -> tuple[int, int]:
    """Time of the newest sample of a stream that is hot, and arrival of the last of a day."""
    ((newest_ns,),) = query("SELECT coalesce(max(time_ns), 0) FROM sample WHERE stream = ?", (row_id,))
    text = """SELECT arrival_ns FROM sample WHERE stream = ? AND time_ns >= ? AND time_ns < ?
              ORDER BY time_ns DESC LIMIT 1"""
    found = query(text, (row_id, day_ns, day_ns + NS_PER_DAY))
    return newest_ns, found[0][0] if found else 2**62


def _latest_arrival(query: Query, row_id: int, day_ns: int) -> int:
    text = "SELECT max(arrival_ns) FROM sample WHERE stream = ? AND time_ns >= ? AND time_ns < ?"
    return int(query(text, (row_id, day_ns, day_ns + NS_PER_DAY))[0][0] or 0)
