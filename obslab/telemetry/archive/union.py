"""Hot and sealed samples of a stream as one, whatever is being sealed meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from obslab.errors import CodecError
from obslab.telemetry.archive import sealed
from obslab.telemetry.archive.cover import Stretch, missing_stretches, runs
from obslab.telemetry.archive.hot import HotStore
from obslab.telemetry.archive.sealed import Chunk, ChunkGoneError, day_of
from obslab.telemetry.metrics.day import DaySummary
from obslab.telemetry.metrics.summary import summarise
from obslab.telemetry.protocol import checksum, interval_of
from obslab.telemetry.readings import Stored, united
from obslab.telemetry.sample import Meta, Stream
from obslab.times import NS_PER_DAY

_THREADS = 4
_FEW = 2
_TRIES = 4
_CACHED_DAYS = 128


@dataclass(frozen=True)
class Day:
    """Where the samples of a day are: in a chunk, hot, or in both when some came late.

    It can be sent to another process that sees the same folder.
    """

    folder: Path
    stream: Stream
    day_ns: int
    chunk: Chunk | None
    hot: Stored

    def load(self) -> Stored:
        """All samples of the day, in order of time; of one that was revised, the new version."""
        if self.chunk is None:
            return self.hot
        try:
            return united([sealed.load(self.folder, self.chunk), self.hot])
        except ChunkGoneError:
            raise sealed.damaged(self.folder, self.chunk, "the file is missing") from None

    def summary(self, metas: tuple[Meta, ...]) -> DaySummary:
        """The summary computed from the samples, whatever is stored."""
        stored = self.load()
        return summarise(self.stream, metas, self.day_ns, stored.time_ns, stored.arrival_ns)


class Union:
    """Reads one archive; methods may be called from any thread."""

    def __init__(self, hot: HotStore) -> None:
        self._hot = hot
        self._lock = threading.Lock()
        self._summaries: dict[tuple[int, int], tuple[object, DaySummary]] = {}

    def span(self, stream: Stream) -> tuple[int, int] | None:
        """Times of the first and the last sample; None when there is none."""
        query = """SELECT min(first), max(last) FROM (
                     SELECT min(time_ns) AS first, max(time_ns) AS last FROM sample WHERE stream = ?1
                     UNION ALL
                     SELECT min(begin_ns), max(end_ns) FROM chunk WHERE stream = ?1 AND state = 'sealed')"""
        ((first, last),) = self._hot.rows(query, (self._hot.row_id(stream),))
        return None if first is None else (int(first), int(last))

    def parts(self, stream: Stream, begin_ns: int, end_ns: int) -> list[Day]:
        """The days of ``[begin, end)`` that have samples, in order; what is hot is cut to the interval."""
        row_id = self._hot.row_id(stream)
        with self._hot.reading() as query:
            chunks = self._hot.sealed.chunks(query, row_id, begin_ns, end_ns)
            hot = self._hot.samples(query, row_id, begin_ns, end_ns)
        by_day = {row.day_ns: replace(row, summary=b"") for row in chunks}
        days = hot.time_ns // NS_PER_DAY * NS_PER_DAY
        edge = np.flatnonzero(np.diff(days, prepend=-(2**62))) if len(hot) else np.empty(0, np.int64)
        pieces = {
            int(days[start]): hot.take(np.arange(start, stop))
            for start, stop in zip(edge, [*edge[1:], len(hot)], strict=False)
        }
        nothing = Stored.of_rows([])
        return [
            Day(self._hot.sealed.folder, stream, day_ns, by_day.get(day_ns), pieces.get(day_ns, nothing))
            for day_ns in sorted(by_day.keys() | pieces.keys())
        ]

    def stored(self, stream: Stream, begin_ns: int, end_ns: int) -> Stored:
        """Samples of ``[begin, end)`` in order of time. Raises DamagedChunkError."""
        row_id = self._hot.row_id(stream)
        for left in reversed(range(_TRIES)):
            with self._hot.reading() as query:
                chunks = self._hot.sealed.chunks(query, row_id, begin_ns, end_ns)
                hot = self._hot.samples(query, row_id, begin_ns, end_ns)
            try:
                return united([*self._load(chunks, begin_ns, end_ns), hot])
            except ChunkGoneError as gone:
                if not left:
                    row = next(row for row in chunks if row.file == str(gone))
                    raise sealed.damaged(self._hot.sealed.folder, row, "the file is missing") from None
        raise AssertionError("not reached")

    def checksum(self, stream: Stream, begin_ns: int, end_ns: int) -> tuple[int, int]:
        """How many samples of ``[begin, end)`` are stored, and ``protocol.checksum`` over them."""
        stored = self.stored(stream, begin_ns, end_ns)
        return len(stored), checksum(stored.time_ns, stored.bodies)

    def missing(self, stream: Stream, begin_ns: int, end_ns: int) -> list[Stretch]:
        """Maximal stretches of ``[begin, end)`` without samples; see ``missing_stretches``.

        An irregular stream has no cadence: the whole interval is missing when it has no sample, or nothing
        is. A day whose chunk was retired counts as there.
        """
        row_id = self._hot.row_id(stream)
        if stream.cadence_s == float("inf"):
            with self._hot.reading() as query:
                there = self._hot.sealed.chunks(query, row_id, begin_ns, end_ns, ("retired",))
            there = there or self.stored(stream, begin_ns, end_ns).time_ns.tolist()
            return [] if there or begin_ns >= end_ns else [(begin_ns, end_ns)]
        cadence_ns = interval_of(stream)
        low_ns, high_ns = begin_ns - 2 * cadence_ns, end_ns + 2 * cadence_ns
        with self._hot.reading() as query:
            chunks = self._hot.sealed.chunks(query, row_id, low_ns, high_ns, ("sealed", "retired"))
            hot_ns = self._hot.times(query, row_id, low_ns, high_ns)
        late_days = set(np.unique(hot_ns // NS_PER_DAY * NS_PER_DAY).tolist())
        there_runs, loose_ns = [], [hot_ns]
        for row in chunks:
            whole = row.n == 1 + round((row.end_ns - row.begin_ns) / cadence_ns)
            if (whole and row.day_ns not in late_days) or row.state == "retired":
                there_runs.append((np.array([row.begin_ns]), np.array([row.end_ns])))
            else:
                loose_ns.append(self._day(stream, row).time_ns)
        there_runs.append(runs(np.sort(np.concatenate(loose_ns)), cadence_ns))
        first_ns = np.concatenate([first for first, _ in there_runs])
        last_ns = np.concatenate([last for _, last in there_runs])
        order = np.argsort(first_ns)
        return missing_stretches(first_ns[order], last_ns[order], begin_ns, end_ns, cadence_ns)

    def days(self, stream: Stream, metas: tuple[Meta, ...], begin_ns: int, end_ns: int) -> list[DaySummary]:
        """Summaries of the UTC days that have samples and touch ``[begin, end)``, each of its whole day.

        That of a sealed day is stored; others, and those to which samples came late, are computed now.
        """
        row_id = self._hot.row_id(stream)
        if row_id is None or begin_ns >= end_ns:
            return []
        low_ns = day_of(begin_ns) if begin_ns > -(2**62) else begin_ns
        high_ns = day_of(end_ns - 1) + NS_PER_DAY if end_ns < 2**62 else end_ns
        found: dict[int, DaySummary] = {}
        with self._hot.reading() as query:
            chunks = self._hot.sealed.chunks(query, row_id, low_ns, high_ns, ("sealed", "retired"))
            hot = {
                day_ns: self._hot.trace(query, row_id, day_ns)
                for day_ns in self._hot.days(query, row_id, low_ns, high_ns)
            }
        for row in chunks:
            if row.day_ns in hot and row.state == "sealed":
                continue
            try:
                found[row.day_ns] = DaySummary.decode(row.summary)
            except CodecError:  # written by another obslab
                if row.state == "retired":
                    raise
                hot[row.day_ns] = (row.generation,)
        for day_ns, trace in hot.items():
            found[day_ns] = self._fresh(stream, metas, row_id, day_ns, trace)
        return [found[day_ns] for day_ns in sorted(found)]

    def _fresh(
        self, stream: Stream, metas: tuple[Meta, ...], row_id: int, day_ns: int, trace: object
    ) -> DaySummary:
        """Computed from the samples, unless nothing was stored since the last time."""
        mark = (trace, metas)
        with self._lock:
            known = self._summaries.get((row_id, day_ns))
        if known is not None and known[0] == mark:
            return known[1]
        stored = self.stored(stream, day_ns, day_ns + NS_PER_DAY)
        made = summarise(stream, metas, day_ns, stored.time_ns, stored.arrival_ns)
        with self._lock:
            self._summaries[row_id, day_ns] = (mark, made)
            while len(self._summaries) > _CACHED_DAYS:
                self._summaries.pop(next(iter(self._summaries)))
        return made

    def _load(self, chunks: list[Chunk], begin_ns: int, end_ns: int) -> list[Stored]:
        if len(chunks) <= _FEW:
            return [self._hot.sealed.load(row).between(begin_ns, end_ns) for row in chunks]
        # zlib and NumPy let go of the interpreter, so decoding gains from threads.
        folder = self._hot.sealed.folder
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda row: sealed.load(folder, row).between(begin_ns, end_ns), chunks))

    def _day(self, stream: Stream, row: Chunk) -> Stored:
        """What is sealed of a day, by this row or the one that took its place meanwhile."""
        try:
            return self._hot.sealed.load(row)
        except ChunkGoneError:
            return self.stored(stream, row.day_ns, row.day_ns + NS_PER_DAY)
