"""The archive's hot store: recent samples in SQLite, each once, as the bytes that came.

Idempotent on (station, instrument, samplerate, time in ns). The same sample again is a duplicate;
another body for the same time is a contradiction: the first stays, the other is kept beside it; or, of a
stream that revises, it is a new version, and the earlier one is kept beside it. That holds
for sealed days too: what is not newer than everything is looked up in the chunk of its day.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import TableError
from obslab.tables import connect, rows, transaction
from obslab.telemetry.archive.batch import Arrivals, Batch, Refusal
from obslab.telemetry.archive.entries import (
    ahead_of,
    contradict,
    count,
    insert,
    keep_metas,
    refuse,
    revise,
    rows_of,
    stream_id,
)
from obslab.telemetry.archive.layout import MIGRATIONS
from obslab.telemetry.archive.sealed import Query, Sealed, day_of
from obslab.telemetry.bodies import revised
from obslab.telemetry.readings import Stored, united
from obslab.telemetry.sample import Meta, Stream, decode_meta
from obslab.times import NS_PER_DAY

_PAGE = 100_000


class HotStore:
    """One SQLite file. One process writes (its threads share the lock here), any number read.

    With ``shared`` several processes may write: each commit then looks up first what the others stored.
    """

    def __init__(self, file: Path, *, readonly: bool, shared: bool = False) -> None:
        self.file = file
        self.sealed = Sealed(file.parent)
        self.lock = threading.Lock()
        self.connection = connect(file, MIGRATIONS, readonly=readonly)
        self._shared = shared
        self._ids: dict[Stream, int] = {}
        self._newest: dict[int, int] = {}
        if not readonly:
            self._look_up()
            with transaction(self.connection) as write:
                write.execute("INSERT OR IGNORE INTO fact VALUES ('id', ?)", (uuid.uuid4().hex,))

    @property
    def id(self) -> str:
        """A name that stays with the archive: its collector's MQTT session is found by it."""
        return str(self.rows("SELECT value FROM fact WHERE name = 'id'")[0][0])

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows of a query, from any thread. Raises TableError for a damaged file."""
        with self.lock:
            return rows(self.connection, query, parameters)

    @contextmanager
    def reading(self) -> Iterator[Query]:
        """Several queries that see the store as of one instant, whatever is sealed meanwhile."""

        def query(text: str, parameters: Sequence[object] = ()) -> list[Any]:
            return rows(self.connection, text, parameters)

        with self.lock:
            rows(self.connection, "BEGIN")
            try:
                yield query
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that may take samples away; what is known of the newest is looked up afterwards."""
        with self.lock:
            try:
                with transaction(self.connection) as write:
                    yield write
            finally:
                self._look_up()

    def samples(self, query: Query, row_id: int | None, begin_ns: int, end_ns: int) -> Stored:
        """What is hot of ``[begin, end)`` of a stream, in order of time."""
        text = """SELECT time_ns, arrival_ns, body FROM sample
                  WHERE stream = ? AND time_ns >= ? AND time_ns < ? ORDER BY time_ns LIMIT ?"""
        parts = []
        while True:  # by the page: as tuples, samples take ten times the memory
            found = query(text, (row_id, begin_ns, end_ns, _PAGE))
            parts.append(Stored.of_rows(found))
            if len(found) < _PAGE:
                return united(parts)
            begin_ns = found[-1][0] + 1

    def times(self, query: Query, row_id: int | None, begin_ns: int, end_ns: int) -> NDArray[np.int64]:
        """The times alone, which the index has."""
        text = "SELECT time_ns FROM sample WHERE stream = ? AND time_ns >= ? AND time_ns < ? ORDER BY time_ns"
        return np.array([row[0] for row in query(text, (row_id, begin_ns, end_ns))], dtype=np.int64)

    def days(self, query: Query, row_id: int, begin_ns: int, end_ns: int) -> Iterator[int]:
        """Days with hot samples of ``[begin, end)``, by going along the index from one to the next."""
        text = "SELECT min(time_ns) FROM sample WHERE stream = ? AND time_ns >= ? AND time_ns < ?"
        while (first_ns := query(text, (row_id, begin_ns, end_ns))[0][0]) is not None:
            yield day_of(first_ns)
            begin_ns = day_of(first_ns) + NS_PER_DAY

    def trace(self, query: Query, row_id: int, day_ns: int) -> tuple[int, ...]:
        """Differs after each change to the samples of a day, hot or sealed."""
        text = """SELECT count(*), coalesce(max(id), 0), (
                    SELECT coalesce(max(generation), 0) FROM chunk WHERE stream = ?1 AND day_ns = ?2
                    AND state = 'sealed')
                  FROM sample WHERE stream = ?1 AND time_ns >= ?2 AND time_ns < ?3"""
        return tuple(query(text, (row_id, day_ns, day_ns + NS_PER_DAY))[0])

    def streams(self) -> dict[Stream, int]:
        """All streams that have samples, with their row ids."""
        found = self.rows("SELECT station, instrument, samplerate, id FROM stream")
        return dict(sorted((Stream(*row[:3]), int(row[3])) for row in found))

    def row_id(self, stream: Stream) -> int | None:
        """Where the samples of a stream are; None when there are none."""
        query = "SELECT id FROM stream WHERE station = ? AND instrument = ? AND samplerate = ?"
        found = self.rows(query, (stream.station, stream.instrument, stream.samplerate))
        return int(found[0][0]) if found else None

    def metas(self) -> dict[str, tuple[Meta, ...]]:
        """All metadata versions by topic, oldest first."""
        found: dict[str, tuple[Meta, ...]] = {}
        for topic, payload in self.rows("SELECT topic, payload FROM meta ORDER BY topic, valid_from_ns"):
            found[topic] = (*found.get(topic, ()), *decode_meta(payload))
        return found

    def metas_of(self, topic: str) -> tuple[Meta, ...]:
        """The versions of one instrument, oldest first."""
        query = "SELECT payload FROM meta WHERE topic = ? ORDER BY valid_from_ns"
        return tuple(meta for (payload,) in self.rows(query, (topic,)) for meta in decode_meta(payload))

    def waiting(self, meta_topic: str) -> list[tuple[int, Refusal]]:
        """Messages of one instrument that wait for metadata, with their row ids."""
        instrument = meta_topic.rsplit("/", 1)[0]
        query = """SELECT id, arrival_ns, topic, payload, reason, waiting FROM rejected
                   WHERE waiting AND topic >= ?1 || '/' AND topic < ?1 || '0' ORDER BY id"""
        return [(int(row[0]), Refusal(*row[1:])) for row in self.rows(query, (instrument,))]

    def counters(self) -> dict[Stream | None, Counter[str]]:
        """Counts by stream: unique, duplicate, contradiction, revised, late, ...; under None: rejected."""
        names = {row_id: stream for stream, row_id in self.streams().items()}
        found: dict[Stream | None, Counter[str]] = {}
        for stream, name, n in self.rows("SELECT stream, name, n FROM counter"):
            found.setdefault(names.get(stream), Counter())[name] += n
        return found

    def add(self, batch: Batch) -> Counter[str]:
        """Store a batch durably; returns what was counted. Raises StorageFullError, storing nothing."""
        counted: dict[int, Counter[str]] = {}
        fresh: dict[int, list[tuple[NDArray[np.int64], bytes]]] = {}
        behind: list[tuple[int, Arrivals, NDArray[np.int64]]] = []
        try:
            with self.lock, transaction(self.connection) as write:
                if self._shared:
                    self._look_up()
                newest, ids = dict(self._newest), dict(self._ids)
                for arrivals in batch.arrivals:
                    row_id = ids[arrivals.stream] = ids.get(arrivals.stream) or stream_id(
                        write, arrivals.stream
                    )
                    counts = counted.setdefault(row_id, Counter())
                    ahead = ahead_of(arrivals.time_ns, newest.get(row_id))
                    if not ahead.all():
                        behind.append((row_id, arrivals, np.flatnonzero(~ahead)))
                    if ahead.any():
                        fresh.setdefault(arrivals.width, []).append(
                            rows_of(row_id, arrivals, np.flatnonzero(ahead))
                        )
                        counts.update(unique=int(ahead.sum()), late=int((ahead & arrivals.late).sum()))
                        newest[row_id] = int(arrivals.time_ns[ahead][-1])
                for width, parts in fresh.items():
                    insert(write, width, parts)
                for row_id, arrivals, places in behind:
                    counted[row_id].update(self._add_behind(write, row_id, arrivals, places))
                refuse(write, batch, counted.setdefault(0, Counter()))
                keep_metas(write, batch.metas)
                for row_id, counts in counted.items():
                    count(write, row_id, counts)
        except TableError:
            with self.lock:  # a commit that reported a failure may be on disk all the same
                self._look_up()
            raise
        self._newest, self._ids = newest, ids
        return sum(counted.values(), Counter())

    def _add_behind(
        self, write: sqlite3.Connection, row_id: int, arrivals: Arrivals, places: NDArray[np.int64]
    ) -> Counter[str]:
        """What is not newer than everything may be there already, hot or sealed."""
        times, width = arrivals.time_ns[places].tolist(), arrivals.width
        there: dict[int, bytes | None] = dict(
            write.execute(
                """SELECT s.time_ns, s.body FROM json_each(?1) j
                   CROSS JOIN sample s ON s.stream = ?2 AND s.time_ns = j.value""",
                (msgspec.json.encode(times).decode(), row_id),
            )
        )

        def query(text: str, parameters: Sequence[object]) -> list[Any]:
            return write.execute(text, parameters).fetchall()

        there |= self.sealed.bodies_at(query, row_id, [time_ns for time_ns in times if time_ns not in there])
        counts: Counter[str] = Counter()
        new = []
        for time_ns, place in zip(times, places.tolist(), strict=True):
            body = arrivals.bodies[place * width : (place + 1) * width]
            if time_ns not in there:
                there[time_ns] = body
                new.append(place)
                counts.update(unique=1, out_of_order=1, late=int(arrivals.late[place]))
            elif (known := there[time_ns]) is None:
                counts["retired"] += 1
            elif known == body:
                counts["duplicate"] += 1
            elif arrivals.revises:
                if new:  # the sample that is revised may be among them
                    insert(write, width, [rows_of(row_id, arrivals, np.array(new))])
                    new.clear()
                there[time_ns] = better = body if arrivals.whole else revised(known, body)
                came_ns = int(arrivals.arrival_ns[place])
                counts[revise(write, row_id, time_ns, came_ns, known, better)] += 1
            else:
                counts["contradiction"] += 1
                contradict(write, row_id, time_ns, int(arrivals.arrival_ns[place]), body)
        if new:
            insert(write, width, [rows_of(row_id, arrivals, np.array(new))])
        return counts

    def _look_up(self) -> None:
        """What the file itself says of its streams and their newest samples, hot or sealed."""
        query = """SELECT s.station, s.instrument, s.samplerate, s.id, (
                     SELECT max(time_ns) FROM sample WHERE stream = s.id), (
                     SELECT end_ns FROM chunk WHERE stream = s.id AND state <> 'damaged'
                     ORDER BY day_ns DESC LIMIT 1)
                   FROM stream s"""
        self._ids, self._newest = {}, {}
        for *names, row_id, hot, sealed in rows(self.connection, query):
            self._ids[Stream(*names)] = row_id
            known = [newest for newest in (hot, sealed) if newest is not None]
            if known:
                self._newest[row_id] = max(known)

    def close(self) -> None:
        with self.lock:
            self.connection.close()
