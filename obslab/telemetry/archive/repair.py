"""Keeps an archive sound: finds damaged chunks and has them filled again, clears up, forecasts the disk."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obslab.tables import connect, transaction
from obslab.telemetry.archive import sealed
from obslab.telemetry.archive.book import Book
from obslab.telemetry.archive.hot import HotStore
from obslab.telemetry.archive.layout import MIGRATIONS
from obslab.telemetry.archive.seal import AFTER_DAYS, SETTLE_S, due_days, seal_day
from obslab.telemetry.archive.sealed import FOLDER, QUARANTINE, Chunk, ChunkGoneError, DamagedChunkError
from obslab.telemetry.protocol import interval_of
from obslab.telemetry.sample import Stream
from obslab.times import NS_PER_DAY, iso

log = logging.getLogger(__name__)

WHY = "chunk quarantined"

_OLD_NS = NS_PER_DAY  # for so long a Dataset that was opened lazily may go on reading a day sealed anew
_CHECK_AGAIN_NS = 30 * NS_PER_DAY
_GROWTH_DAYS = 30


@dataclass(frozen=True)
class Damage:
    """A chunk that is not as it was written, and what is wrong with it."""

    chunk: Chunk
    file: Path
    why: str


def tidy(hot: HotStore, book: Book, now_ns: int, after_days: float = AFTER_DAYS) -> Counter[str]:
    """One piece of work of at most about a second: seal a day, else delete what is old, else check a chunk.

    Counts what was done: sealed, removed, checked, quarantined. Called once a minute it keeps up with a
    thousand streams of 1 Hz, and checks every chunk once a month.
    """
    day = next(due_days(hot, now_ns, after_days, SETTLE_S), None)
    if day is not None:
        try:
            return Counter(sealed=int(seal_day(hot, *day, now_ns) is not None))
        except (DamagedChunkError, ChunkGoneError):
            found = [damage for row in _of_day(hot, *day) if (damage := inspect(hot, row))]
            return Counter(quarantined=sum(quarantine(hot, book, damage, now_ns) for damage in found))
    if removed := remove_old(hot, now_ns):
        return Counter(removed=removed)
    with hot.reading() as query:
        rows = hot.sealed.in_state(query, "sealed", 1)
    if not rows or rows[0].checked_ns > now_ns - _CHECK_AGAIN_NS:
        return Counter()
    if bad := inspect(hot, rows[0]):
        return Counter(quarantined=int(quarantine(hot, book, bad, now_ns)))
    with hot.writing() as write:
        sealed.change(write, rows[0], checked_ns=now_ns)
    return Counter(checked=1)


def repair(hot: HotStore, book: Book, now_ns: int) -> Counter[str]:
    """Quarantine every damaged chunk and remove the files that a crash left; counts quarantined, removed."""
    quarantined = sum(quarantine(hot, book, damage, now_ns) for damage in verify(hot))
    return +Counter(quarantined=quarantined, removed=clear(hot))


def ask(damages: list[Damage], file: Path) -> int:
    """Have the process that keeps the archive check these chunks next; it need not stop for that."""
    connection = connect(file, MIGRATIONS)
    try:
        with transaction(connection) as write:
            for damage in damages:
                sealed.change(write, damage.chunk, checked_ns=0)
    finally:
        connection.close()
    return len(damages)


def verify(hot: HotStore) -> list[Damage]:
    """Every chunk that is damaged or missing, by reading all of them."""
    with hot.reading() as query:
        rows = hot.sealed.in_state(query, "sealed")
    return [damage for row in rows if (damage := inspect(hot, row))]


def inspect(hot: HotStore, row: Chunk) -> Damage | None:
    """What is wrong with a chunk; None when it is as it was written, or not read any more."""
    folder = hot.sealed.folder
    try:
        sealed.load(folder, row)
    except DamagedChunkError as error:
        return Damage(row, folder / row.file, error.why)
    except ChunkGoneError:
        with hot.reading() as query:
            now = hot.sealed.of_day(query, row.stream, row.day_ns)
        if any(one.generation == row.generation and one.state == "sealed" for one in now):
            return Damage(row, folder / row.file, "the file is missing")
    return None


def quarantine(hot: HotStore, book: Book, damage: Damage, now_ns: int) -> bool:
    """Set a damaged chunk aside and mark its time as a hole, so that the station is asked for it again."""
    row, folder = damage.chunk, hot.sealed.folder
    stream = {row_id: stream for stream, row_id in hot.streams().items()}[row.stream]
    aside = f"{QUARANTINE}/{stream.topic.replace('/', '-')}-{Path(row.file).name}"
    (folder / QUARANTINE).mkdir(exist_ok=True)
    # First the hole: whatever stops us after it, the samples are asked for, which is harmless.
    book.add_hole(stream.topic, row.begin_ns, row.end_ns + interval_of(stream), WHY, now_ns, again=True)
    with hot.writing() as write:
        sealed.change(write, row, state="damaged", file=aside, changed_ns=now_ns)
    if damage.file.exists():
        damage.file.rename(folder / aside)
    log.warning(
        "%s is damaged (%s): set aside as %s, its %d samples are asked for again",
        damage.file,
        damage.why,
        folder / aside,
        row.n,
    )
    return True


def remove_old(hot: HotStore, now_ns: int) -> int:
    """Delete chunks that were sealed anew a day ago; how many."""
    with hot.reading() as query:
        rows = hot.sealed.in_state(query, "old")
    rows = [row for row in rows if row.changed_ns <= now_ns - _OLD_NS]
    _forget(hot, rows)
    return len(rows)


def clear(hot: HotStore) -> int:
    """Remove the files that a crash left; how many."""
    left = orphans(hot)
    for file in left:
        log.info("removed %s, which a crash left", file)
        file.unlink(missing_ok=True)
    return len(left)


def orphans(hot: HotStore) -> list[Path]:
    """Files below ``chunks/`` that the catalogue does not name: what a crash left."""
    folder = hot.sealed.folder
    names = {row[0] for row in hot.rows("SELECT file FROM chunk")}
    files = [path for path in (folder / FOLDER).rglob("*") if path.is_file()]
    return sorted(path for path in files if path.relative_to(folder).as_posix() not in names)


def retain(hot: HotStore, keep_days: float, now_ns: int) -> Counter[str]:
    """Delete chunks of days that ended ``keep_days`` ago; the summaries stay. Counts chunks, samples, bytes.

    A sample of such a day that comes again is counted as ``retired`` and not stored.
    """
    limit_ns = now_ns - round(keep_days * NS_PER_DAY)
    with hot.reading() as query:
        rows = [row for row in hot.sealed.in_state(query, "sealed") if row.day_ns + NS_PER_DAY <= limit_ns]
    with hot.writing() as write:
        for row in rows:
            sealed.change(write, row, state="retired", file="", changed_ns=now_ns)
    for row in rows:
        (hot.sealed.folder / row.file).unlink(missing_ok=True)
    if not rows:
        return Counter()
    log.info("removed %d chunks of days that ended before %s; their summaries stay", len(rows), iso(limit_ns))
    return Counter(chunks=len(rows), samples=sum(row.n for row in rows), bytes=sum(row.size for row in rows))


def disk(hot: HotStore) -> dict[str, Any]:
    """What the archive takes on the disk, by stream, and in how many days the disk is full at this rate.

    A sealed day takes its chunk and, in the hot store, its summary. Growth is what the last 30 sealed days of
    each stream took; None when nothing is sealed yet.
    """
    folder = hot.sealed.folder
    streams = {}
    growth = 0.0
    for stream, row_id in hot.streams().items():
        ((days, n, size),) = hot.rows(
            "SELECT count(*), coalesce(sum(n), 0), coalesce(sum(bytes + length(summary)), 0) FROM chunk "
            "WHERE stream = ? AND state = 'sealed'",
            (row_id,),
        )
        recent = hot.rows(
            "SELECT bytes + length(summary) FROM chunk "
            "WHERE stream = ? AND state = 'sealed' ORDER BY day_ns DESC LIMIT ?",
            (row_id, _GROWTH_DAYS),
        )
        per_day = sum(row[0] for row in recent) / len(recent) if recent else 0.0
        growth += per_day
        streams[str(stream)] = {
            "sealed_days": days,
            "sealed_samples": n,
            "sealed_bytes": size,
            "bytes_per_sample": size / n if n else None,
            "bytes_per_day": per_day,
        }
    free = shutil.disk_usage(folder).free
    states = dict(hot.rows("SELECT state, count(*) FROM chunk GROUP BY state"))
    hot_bytes = sum(path.stat().st_size for path in folder.glob("*.db*") if path.is_file())
    return {
        "streams": streams,
        "hot_bytes": hot_bytes,
        "sealed_bytes": sum(one["sealed_bytes"] for one in streams.values()),
        "bytes_per_day": growth,
        "free_bytes": free,
        "full_in_days": free / growth if growth else None,
        "chunks": {state: states.get(state, 0) for state in ("sealed", "old", "damaged", "retired")},
    }


def _of_day(hot: HotStore, stream: Stream, day_ns: int) -> list[Chunk]:
    row_id = hot.row_id(stream)
    with hot.reading() as query:
        rows = hot.sealed.of_day(query, row_id, day_ns) if row_id is not None else []
    return [row for row in rows if row.state == "sealed"]


def _forget(hot: HotStore, rows: list[Chunk]) -> None:
    for row in rows:
        (hot.sealed.folder / row.file).unlink(missing_ok=True)
    with hot.writing() as write:
        for row in rows:
            sealed.drop(write, row)
