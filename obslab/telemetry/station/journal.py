"""The station's own record: every message is on its disk before it is published.

Nothing is freed when the broker says PUBACK: brokers lose what they have acknowledged (a killed
Mosquitto lost 1,000 of 1,000 messages). PUBACKs only move a watermark, from which a restarted
publisher goes on. An entry goes when the archive confirms that it has stored it, or, counted and told,
when the journal holds more days of a stream than it was allowed.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obslab.tables import connect, hold, rows, transaction
from obslab.telemetry.sample import Meta, decode_meta, encode_meta

_MIGRATIONS = (
    """
    CREATE TABLE entry (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        topic TEXT NOT NULL,
        time_ns INTEGER NOT NULL,
        payload BLOB NOT NULL
    );
    CREATE INDEX entry_topic_time ON entry (topic, time_ns);
    CREATE TABLE meta (topic TEXT PRIMARY KEY, payload BLOB NOT NULL);
    CREATE TABLE unsendable (time_ns INTEGER, topic TEXT, reading TEXT, reason TEXT);
    CREATE TABLE mark (name TEXT PRIMARY KEY, seq INTEGER NOT NULL)
    """,
    """
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE confirmed (topic TEXT PRIMARY KEY, seq INTEGER NOT NULL);
    CREATE TABLE newest (topic TEXT PRIMARY KEY, time_ns INTEGER NOT NULL);
    CREATE TABLE expired (
        topic TEXT NOT NULL, begin_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, n INTEGER NOT NULL
    )
    """,
)


@dataclass(frozen=True)
class Entry:
    """One message as it will be published; ``seq`` counts up without gaps in order of writing."""

    seq: int
    topic: str
    time_ns: int
    payload: bytes


@dataclass(frozen=True)
class Unsendable:
    """A reading that the wire format cannot carry, kept as text with the reason."""

    time_ns: int
    topic: str
    reading: str
    reason: str


@dataclass(frozen=True)
class Expired:
    """Entries that went unconfirmed: ``n`` samples or blocks of a topic, times of the first and last."""

    topic: str
    begin_ns: int
    end_ns: int
    n: int


class Journal:
    """A folder with one SQLite file, used by one publisher at a time.

    Every method is safe to call from any thread. ``append`` returns when the entries would survive
    a power cut. Raises StorageFullError when the disk is full; what was appended before stays.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._held = hold(self.folder / "lock", f"journal {self.folder}")
        self._lock = threading.RLock()
        self._connection = connect(self.folder / "journal.db", _MIGRATIONS)
        with transaction(self._connection) as write:
            write.execute("INSERT OR IGNORE INTO fact VALUES ('id', ?)", (uuid.uuid4().hex[:12],))
        self.id = str(self.fact("id"))

    def append(self, messages: Sequence[tuple[str, int, bytes]]) -> None:
        """Write ``(topic, time_ns, payload)`` in one commit, in this order."""
        with self._lock, transaction(self._connection) as write:
            write.executemany("INSERT INTO entry (topic, time_ns, payload) VALUES (?, ?, ?)", messages)

    def after(self, seq: int, limit: int) -> list[Entry]:
        """Up to ``limit`` entries that follow ``seq``."""
        query = "SELECT seq, topic, time_ns, payload FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"
        return [Entry(*row) for row in self._rows(query, (seq, limit))]

    def stretch(self, topic: str, after: int, upto: int, limit: int) -> list[Entry]:
        """Up to ``limit`` entries of one topic with numbers in ``(after, upto]``, in order of writing."""
        # The plus keeps SQLite from sorting all entries of the topic by the other index.
        query = """SELECT seq, topic, time_ns, payload FROM entry
                   WHERE seq > ? AND seq <= ? AND +topic = ? ORDER BY seq LIMIT ?"""
        return [Entry(*row) for row in self._rows(query, (after, upto, topic, limit))]

    def between(self, topic: str, begin_ns: int, end_ns: int, limit: int) -> list[Entry]:
        """Up to ``limit`` entries of one topic with times in ``[begin, end)``, in order of time."""
        query = """SELECT seq, topic, time_ns, payload FROM entry
                   WHERE topic = ? AND time_ns >= ? AND time_ns < ? ORDER BY time_ns, seq LIMIT ?"""
        return [Entry(*row) for row in self._rows(query, (topic, begin_ns, end_ns, limit))]

    def topics(self) -> list[str]:
        """Topics that have entries."""
        # One step of the index for each topic; DISTINCT would walk through all entries.
        query = """WITH RECURSIVE one(topic) AS (
                       SELECT min(topic) FROM entry
                       UNION ALL
                       SELECT (SELECT min(topic) FROM entry WHERE topic > one.topic) FROM one
                       WHERE one.topic IS NOT NULL
                   ) SELECT topic FROM one WHERE topic IS NOT NULL"""
        return [row[0] for row in self._rows(query)]

    def newest_ns(self, topic: str) -> int | None:
        """Time of the latest sample ever written for a topic: where a replay goes on."""
        query = """SELECT max(time_ns) FROM (
                       SELECT max(time_ns) AS time_ns FROM entry WHERE topic = ?1
                       UNION ALL SELECT time_ns FROM newest WHERE topic = ?1)"""
        newest: int | None = self._rows(query, (topic,))[0][0]
        return newest

    def last_seq(self) -> int:
        """Number of the newest entry ever written, 0 for a new journal."""
        found = self._rows("SELECT seq FROM sqlite_sequence WHERE name = 'entry'")
        return int(found[0][0]) if found else 0

    def confirm(self, marks: Mapping[str, int]) -> int:
        """Free what the archive has, by topic up to a number; returns how many entries went."""
        with self._lock, transaction(self._connection) as write:
            freed = sum(_free(write, topic, seq) for topic, seq in marks.items())
            write.executemany(
                """INSERT INTO confirmed VALUES (?, ?)
                   ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)""",
                list(marks.items()),
            )
        return freed

    def confirmed(self) -> dict[str, int]:
        """Up to which entry each topic has been confirmed."""
        return {topic: int(seq) for topic, seq in self._rows("SELECT topic, seq FROM confirmed")}

    def expire(self, topic: str, keep: int) -> Expired | None:
        """Free the oldest entries of a topic beyond the newest ``keep``; what went is written down."""
        # Counted first, which an index does alone: mostly there is nothing to free.
        count = "SELECT count(*) FROM (SELECT 1 FROM entry WHERE topic = ? LIMIT ?)"
        if self._rows(count, (topic, keep + 1))[0][0] <= keep:
            return None
        query = "SELECT seq FROM entry WHERE topic = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
        with self._lock, transaction(self._connection) as write:
            limit = write.execute(query, (topic, keep)).fetchone()
            if limit is None:
                return None
            query = "SELECT min(time_ns), max(time_ns) FROM entry WHERE topic = ? AND seq <= ?"
            begin_ns, end_ns = write.execute(query, (topic, limit[0])).fetchone()
            gone = Expired(topic, begin_ns, end_ns, _free(write, topic, limit[0]))
            write.execute("INSERT INTO expired VALUES (?, ?, ?, ?)", (topic, begin_ns, end_ns, gone.n))
        return gone

    def expired(self) -> int:
        """How many entries went unconfirmed, because the journal was full of days."""
        return int(self._rows("SELECT coalesce(sum(n), 0) FROM expired")[0][0])

    def fact(self, name: str) -> str | None:
        """Something this journal remembers: its ``id``, the archive that confirms it."""
        found = self._rows("SELECT value FROM fact WHERE name = ?", (name,))
        return str(found[0][0]) if found else None

    def set_fact(self, name: str, value: str) -> None:
        with self._lock, transaction(self._connection) as write:
            write.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def extent(self) -> tuple[int, int, int | None]:
        """Entries held, bytes of the file, and the time of the oldest entry in ns."""
        # Numbers are handed out without gaps, but streams are confirmed each at its own pace.
        count, oldest = self._rows("SELECT count(*), min(time_ns) FROM entry")[0]
        return int(count), (self.folder / "journal.db").stat().st_size, oldest

    def acknowledged(self) -> int:
        """All entries up to this one have had their PUBACK."""
        marks = self._rows("SELECT seq FROM mark WHERE name = 'puback'")
        return int(marks[0][0]) if marks else 0

    def acknowledge(self, seq: int) -> None:
        """Move the watermark; it need not be recent, since sending twice is harmless."""
        with self._lock, transaction(self._connection) as write:
            write.execute("INSERT OR REPLACE INTO mark VALUES ('puback', ?)", (seq,))

    def metas(self) -> dict[str, tuple[Meta, ...]]:
        """All metadata versions the entries may need, by topic."""
        return {
            topic: decode_meta(payload) for topic, payload in self._rows("SELECT topic, payload FROM meta")
        }

    def add_meta(self, topic: str, meta: Meta) -> tuple[Meta, ...]:
        """Add a version (or replace the one that begins at the same time); returns all of them."""
        with self._lock, transaction(self._connection) as write:
            kept = [old for old in self.metas().get(topic, ()) if old.valid_from != meta.valid_from]
            versions = tuple(sorted([*kept, meta], key=lambda version: version.valid_from))
            write.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (topic, encode_meta(versions)))
        return versions

    def keep_unsendable(self, readings: Sequence[Unsendable]) -> None:
        """Keep what cannot be sent."""
        kept = [(one.time_ns, one.topic, one.reading, one.reason) for one in readings]
        with self._lock, transaction(self._connection) as write:
            write.executemany("INSERT INTO unsendable VALUES (?, ?, ?, ?)", kept)

    def unsendable(self) -> list[Unsendable]:
        """What could not be sent, oldest first."""
        return [Unsendable(*row) for row in self._rows("SELECT * FROM unsendable")]

    def close(self) -> None:
        with self._lock:
            self._connection.close()
        self._held.close()

    def _rows(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:
        with self._lock:
            return rows(self._connection, query, parameters)


def _free(write: sqlite3.Connection, topic: str, seq: int) -> int:
    """Delete a topic's entries up to a number, remembering its newest time; returns how many."""
    newest = write.execute("SELECT max(time_ns) FROM entry WHERE topic = ?", (topic,)).fetchone()[0]
    if newest is None:
        return 0
    write.execute(
        "INSERT INTO newest VALUES (?, ?) ON CONFLICT DO UPDATE SET time_ns = max(time_ns, excluded.time_ns)",
        (topic, newest),
    )
    return write.execute("DELETE FROM entry WHERE seq <= ? AND +topic = ?", (seq, topic)).rowcount
