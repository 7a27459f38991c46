"""The catalogue of sealed days: which file holds which day of a stream, and what is in it.

A day may be sealed again when samples come late: the new file is the next generation, and the one before
stays for a day for whoever is still reading it. Each method takes the query to ask with, so that one
transaction sees the catalogue and the hot samples as of one instant.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from obslab.errors import CodecError, TableError
from obslab.telemetry.archive import chunk
from obslab.telemetry.readings import Stored
from obslab.telemetry.sample import Stream
from obslab.times import NS_PER_DAY, iso

log = logging.getLogger(__name__)

Query = Callable[[str, Sequence[object]], list[Any]]
State = Literal["sealed", "old", "damaged", "retired"]

FOLDER, QUARANTINE = "chunks", "quarantine"
_KEPT = 4  # decoded days: a backfill asks for each sample of a day whether it is there already

_COLUMNS = """stream, day_ns, generation, state, file, n, bytes, crc32, begin_ns, end_ns, first_arrival_ns,
              last_arrival_ns, summary, changed_ns, checked_ns"""


@dataclass(frozen=True)
class Chunk:
    """A row of the catalogue; ``begin_ns`` and ``end_ns`` are the times of its first and last sample.

    ``sealed`` is what is read; ``old`` has been sealed anew; ``damaged`` lies in quarantine; of a
    ``retired`` one only the summary is kept.
    """

    stream: int
    day_ns: int
    generation: int
    state: State
    file: str
    n: int
    size: int
    crc32: int
    begin_ns: int
    end_ns: int
    first_arrival_ns: int
    last_arrival_ns: int
    summary: bytes
    changed_ns: int
    checked_ns: int


class ChunkGoneError(Exception):
    """The file has gone since the catalogue was read: ask the catalogue again."""


class DamagedChunkError(TableError):
    """A chunk that is not as it was written; ``chunk`` is its row, ``why`` what is wrong."""


def day_of(time_ns: int) -> int:
    """The beginning of the UTC day of a time."""
    return time_ns // NS_PER_DAY * NS_PER_DAY


def file_of(stream: Stream, day_ns: int, generation: int) -> str:
    """Where a chunk lies below the archive's folder."""
    day = iso(day_ns)[:10]
    folder = f"{stream.station}/{stream.instrument}/{stream.samplerate}/{day[:4]}"
    return f"{FOLDER}/{folder}/{day}.{generation}{chunk.SUFFIX}"


def load(folder: Path, row: Chunk) -> Stored:
    """The samples of a chunk. Raises ChunkGoneError, or DamagedChunkError that names the file."""
    try:
        return chunk.decode(read(folder, row))
    except CodecError as error:
        raise damaged(folder, row, error.message) from error


def read(folder: Path, row: Chunk) -> bytes:
    """The file's content, which is the one of the catalogue; raises as ``load``."""
    try:
        content = (folder / row.file).read_bytes()
    except FileNotFoundError:
        raise ChunkGoneError(row.file) from None
    except OSError as error:
        raise damaged(folder, row, f"it cannot be read: {error.strerror}") from error
    if len(content) != row.size:
        raise damaged(folder, row, f"it has {len(content)} bytes, written were {row.size}")
    try:
        crc = chunk.check(content)[1]
    except CodecError as error:
        raise damaged(folder, row, error.message) from error
    if crc != row.crc32:
        raise damaged(folder, row, "it is another file than the one written")
    return content


def damaged(folder: Path, row: Chunk, why: str) -> DamagedChunkError:
    return DamagedChunkError(
        f"{folder / row.file} is damaged ({why}); `obslab archive info {folder} --repair` sets it aside "
        "and has its samples asked for again",
        path=folder / row.file,
        chunk=row,
        why=why,
    )


class Sealed:
    """Reads the catalogue and the files of one archive; the last few decoded are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], Stored] = OrderedDict()

    def chunks(
        self,
        query: Query,
        row_id: int | None,
        begin_ns: int,
        end_ns: int,
        states: Sequence[State] = ("sealed",),
    ) -> list[Chunk]:
        """Those that have samples of ``[begin, end)``, in order of time."""
        marks = ", ".join("?" * len(states))
        found = query(
            f"""SELECT {_COLUMNS} FROM chunk WHERE stream = ? AND state IN ({marks})
                AND day_ns > ? AND begin_ns < ? AND end_ns >= ? ORDER BY day_ns, generation""",
            (row_id, *states, max(begin_ns, -(2**62)) - NS_PER_DAY, end_ns, begin_ns),
        )
        return [Chunk(*row) for row in found]

    def in_state(self, query: Query, state: State, most: int = -1) -> list[Chunk]:
        """All of one state, those first that were not checked for the longest time."""
        text = f"SELECT {_COLUMNS} FROM chunk WHERE state = ? ORDER BY checked_ns LIMIT ?"
        found = query(text, (state, most))
        return [Chunk(*row) for row in found]

    def of_day(self, query: Query, row_id: int, day_ns: int) -> list[Chunk]:
        """Every generation of one day, the newest last."""
        found = query(
            f"SELECT {_COLUMNS} FROM chunk WHERE stream = ? AND day_ns = ? ORDER BY generation",
            (row_id, day_ns),
        )
        return [Chunk(*row) for row in found]

    def load(self, row: Chunk) -> Stored:
        """As the function of that name, from memory when it was read just now."""
        key = (row.file, row.crc32)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        stored = load(self.folder, row)
        with self._lock:
            self._kept[key] = stored
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return stored

    def bodies_at(self, query: Query, row_id: int, times_ns: Sequence[int]) -> dict[int, bytes | None]:
        """What is sealed at these times; None where the day was retired and nobody knows any more."""
        found: dict[int, bytes | None] = {}
        by_day: dict[int, list[int]] = {}
        for time_ns in times_ns:
            by_day.setdefault(day_of(time_ns), []).append(time_ns)
        for day_ns, times in by_day.items():
            for row in self.of_day(query, row_id, day_ns):
                if row.state == "retired":
                    found |= dict.fromkeys(times, None)
                elif row.state == "sealed":
                    found |= self._among(row, times)
        return found

    def _among(self, row: Chunk, times_ns: Sequence[int]) -> dict[int, bytes | None]:
        try:
            stored = self.load(row)
        except (DamagedChunkError, ChunkGoneError) as error:
            # What comes now is stored beside it, and stays when the damaged chunk is set aside.
            log.warning("cannot compare with what is sealed: %s", error)
            return {}
        wanted = np.array(times_ns, dtype=np.int64)
        place = np.minimum(np.searchsorted(stored.time_ns, wanted), len(stored) - 1)
        there = np.flatnonzero(stored.time_ns[place] == wanted)
        end = np.cumsum(stored.size, dtype=np.int64)[place[there]]
        size = stored.size[place[there]]
        return {
            int(time_ns): stored.bodies[int(stop) - int(width) : int(stop)]
            for time_ns, stop, width in zip(wanted[there], end, size, strict=True)
        }


def insert(write: Any, row: Chunk) -> None:
    """Enter a chunk; another generation of its day that was read so far is ``old`` from now on."""
    write.execute(
        "UPDATE chunk SET state = 'old', changed_ns = ? WHERE stream = ? AND day_ns = ? AND state = 'sealed'",
        (row.changed_ns, row.stream, row.day_ns),
    )
    write.execute(f"INSERT INTO chunk ({_COLUMNS}) VALUES ({', '.join('?' * 15)})", tuple(vars(row).values()))


def change(write: Any, row: Chunk, **changes: Any) -> Chunk:
    """The row with other values for state, file, changed_ns or checked_ns, written down."""
    new = replace(row, **changes)
    write.execute(
        """UPDATE chunk SET state = ?, file = ?, changed_ns = ?, checked_ns = ?
           WHERE stream = ? AND day_ns = ? AND generation = ?""",
        (new.state, new.file, new.changed_ns, new.checked_ns, new.stream, new.day_ns, new.generation),
    )
    return new


def drop(write: Any, row: Chunk) -> None:
    write.execute(
        "DELETE FROM chunk WHERE stream = ? AND day_ns = ? AND generation = ?",
        (row.stream, row.day_ns, row.generation),
    )
