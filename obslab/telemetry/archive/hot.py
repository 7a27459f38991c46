"""The archive's hot store: recent samples in SQLite, each once, as the bytes that came.

Idempotent on (station, instrument, samplerate, time in ns). The same sample again is a duplicate;
another body for the same time is a contradiction: the first stays, the other is kept beside it.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import TableError
from obslab.tables import connect, rows, transaction
from obslab.telemetry.archive.batch import Arrivals, Batch, Refusal
from obslab.telemetry.sample import Meta, Stream, decode_meta, encode_meta

_MIGRATIONS = (
    """
    CREATE TABLE stream (
        id INTEGER PRIMARY KEY,
        station TEXT NOT NULL,
        instrument TEXT NOT NULL,
        samplerate TEXT NOT NULL,
        UNIQUE (station, instrument, samplerate)
    );
    CREATE TABLE sample (
        id INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        arrival_ns INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (stream, time_ns)
    );
    CREATE TABLE contradiction (
        stream INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        arrival_ns INTEGER NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (stream, time_ns, body)
    );
    CREATE TABLE rejected (
        id INTEGER PRIMARY KEY,
        arrival_ns INTEGER NOT NULL,
        topic TEXT NOT NULL,
        payload BLOB NOT NULL,
        reason TEXT NOT NULL,
        waiting INTEGER NOT NULL,
        times INTEGER NOT NULL DEFAULT 1,
        UNIQUE (topic, payload)
    );
    CREATE TABLE meta (
        topic TEXT NOT NULL,
        valid_from_ns INTEGER NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (topic, valid_from_ns)
    );
    CREATE TABLE counter (
        stream INTEGER NOT NULL,
        name TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (stream, name)
    );
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL)
    """,
)

_ADD = """
    INSERT INTO sample (stream, time_ns, arrival_ns, body)
    SELECT value ->> 0, value ->> 1, value ->> 2, substr(?1, key * ?2 + 1, ?2) FROM json_each(?3)
"""


class HotStore:
    """One SQLite file. One process writes (its threads share the lock here), any number read."""

    def __init__(self, file: Path, *, readonly: bool) -> None:
        self.file = file
        self.lock = threading.Lock()
        self.connection = connect(file, _MIGRATIONS, readonly=readonly)
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
        """Counts by stream: unique, duplicate, contradiction, late, out_of_order; under None: rejected."""
        names = {row_id: stream for stream, row_id in self.streams().items()}
        found: dict[Stream | None, Counter[str]] = {}
        for stream, name, n in self.rows("SELECT stream, name, n FROM counter"):
            found.setdefault(names.get(stream), Counter())[name] += n
        return found

    def add(self, batch: Batch) -> Counter[str]:
        """Store a batch durably; returns what was counted. Raises StorageFullError, storing nothing."""
        counted: dict[int, Counter[str]] = {}
        newest, ids = dict(self._newest), dict(self._ids)
        fresh: dict[int, list[tuple[NDArray[np.int64], bytes]]] = {}
        behind: list[tuple[int, Arrivals, int]] = []
        try:
            with self.lock, transaction(self.connection) as write:
                for arrivals in batch.arrivals:
                    row_id = ids[arrivals.stream] = ids.get(arrivals.stream) or _stream_id(
                        write, arrivals.stream
                    )
                    counts = counted.setdefault(row_id, Counter())
                    ahead = _ahead(arrivals.time_ns, newest.get(row_id))
                    behind += [(row_id, arrivals, int(place)) for place in np.flatnonzero(~ahead)]
                    if ahead.any():
                        fresh.setdefault(arrivals.width, []).append(_rows(row_id, arrivals, ahead))
                        counts.update(unique=int(ahead.sum()), late=int((ahead & arrivals.late).sum()))
                        newest[row_id] = int(arrivals.time_ns[ahead][-1])
                for width, parts in fresh.items():
                    table = msgspec.json.encode(np.concatenate([part[0] for part in parts]).tolist())
                    write.execute(_ADD, (b"".join(part[1] for part in parts), width, table.decode()))
                # What is not ahead may be there already; it is rare, so it is asked for one by one.
                for row_id, arrivals, place in behind:
                    counted[row_id].update(_add_one(write, row_id, arrivals, place))
                _refuse(write, batch, counted.setdefault(0, Counter()))
                _keep_metas(write, batch.metas)
                for row_id, counts in counted.items():
                    _count(write, row_id, counts)
        except TableError:
            with self.lock:  # a commit that reported a failure may be on disk all the same
                self._look_up()
            raise
        self._newest, self._ids = newest, ids
        return sum(counted.values(), Counter())

    def _look_up(self) -> None:
        """What the file itself says of its streams and their newest samples."""
        query = "SELECT s.id, (SELECT max(time_ns) FROM sample WHERE stream = s.id) FROM stream s"
        found = rows(self.connection, query)
        self._ids, self._newest = {}, {row_id: newest for row_id, newest in found if newest is not None}

    def close(self) -> None:
        with self.lock:
            self.connection.close()


def _ahead(time_ns: NDArray[np.int64], newest: int | None) -> NDArray[np.bool_]:
    """Which samples are newer than all before them: certainly not stored yet, and in order."""
    start = np.iinfo(np.int64).min if newest is None else newest
    before = np.maximum.accumulate(np.concatenate([[start], time_ns[:-1]]))
    return time_ns > before


def _rows(row_id: int, arrivals: Arrivals, chosen: NDArray[np.bool_]) -> tuple[NDArray[np.int64], bytes]:
    times, came = arrivals.time_ns[chosen], arrivals.arrival_ns[chosen]
    rows = np.stack([np.full(times.size, row_id), times, came], axis=1)
    if chosen.all():
        return rows, arrivals.bodies
    table = np.frombuffer(arrivals.bodies, dtype=np.uint8).reshape(-1, arrivals.width)
    return rows, table[chosen].tobytes()


def _add_one(write: sqlite3.Connection, row_id: int, arrivals: Arrivals, place: int) -> Counter[str]:
    time_ns, came = int(arrivals.time_ns[place]), int(arrivals.arrival_ns[place])
    body = arrivals.bodies[place * arrivals.width : (place + 1) * arrivals.width]
    there = write.execute(
        "SELECT body FROM sample WHERE stream = ? AND time_ns = ?", (row_id, time_ns)
    ).fetchone()
    if there is None:
        insert = "INSERT INTO sample (stream, time_ns, arrival_ns, body) VALUES (?, ?, ?, ?)"
        write.execute(insert, (row_id, time_ns, came, body))
        return Counter(unique=1, out_of_order=1, late=int(arrivals.late[place]))
    if there[0] == body:
        return Counter(duplicate=1)
    write.execute("INSERT OR IGNORE INTO contradiction VALUES (?, ?, ?, ?)", (row_id, time_ns, came, body))
    return Counter(contradiction=1)


def _refuse(write: sqlite3.Connection, batch: Batch, counts: Counter[str]) -> None:
    for row_id in batch.read_again:
        again = write.execute("DELETE FROM rejected WHERE id = ? RETURNING times", (row_id,)).fetchall()
        counts["waiting"] -= sum(times for (times,) in again)
    for refusal in batch.refusals:
        write.execute(
            """INSERT INTO rejected (arrival_ns, topic, payload, reason, waiting) VALUES (?, ?, ?, ?, ?)
               ON CONFLICT (topic, payload) DO UPDATE SET times = times + 1""",
            (refusal.arrival_ns, refusal.topic, refusal.payload, refusal.reason, refusal.waiting),
        )
        counts["waiting" if refusal.waiting else "rejected"] += 1


def _keep_metas(write: sqlite3.Connection, metas: Mapping[str, Sequence[Meta]]) -> None:
    rows = [
        (topic, meta.valid_from_ns, encode_meta([meta]))
        for topic, versions in metas.items()
        for meta in versions
    ]
    write.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", rows)


def _count(write: sqlite3.Connection, row_id: int, counts: Counter[str]) -> None:
    write.executemany(
        "INSERT INTO counter VALUES (?, ?, ?) ON CONFLICT (stream, name) DO UPDATE SET n = n + excluded.n",
        [(row_id, name, n) for name, n in counts.items() if n],
    )


def _stream_id(write: sqlite3.Connection, stream: Stream) -> int:
    key = (stream.station, stream.instrument, stream.samplerate)
    write.execute("INSERT OR IGNORE INTO stream (station, instrument, samplerate) VALUES (?, ?, ?)", key)
    query = "SELECT id FROM stream WHERE station = ? AND instrument = ? AND samplerate = ?"
    return int(write.execute(query, key).fetchone()[0])
