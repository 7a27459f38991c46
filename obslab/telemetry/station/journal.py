"""The station's own record: every message is on its disk before it is published.

Nothing is freed when the broker says PUBACK: brokers lose what they have acknowledged (a killed
Mosquitto lost 1,000 of 1,000 messages). PUBACKs only move a watermark, from which a restarted
publisher goes on; a message sent twice is harmless, since the archive is idempotent.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
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

    def append(self, messages: Sequence[tuple[str, int, bytes]]) -> None:
        """Write ``(topic, time_ns, payload)`` in one commit, in this order."""
        with self._lock, transaction(self._connection) as write:
            write.executemany("INSERT INTO entry (topic, time_ns, payload) VALUES (?, ?, ?)", messages)

    def after(self, seq: int, limit: int) -> list[Entry]:
        """Up to ``limit`` entries that follow ``seq``."""
        query = "SELECT seq, topic, time_ns, payload FROM entry WHERE seq > ? ORDER BY seq LIMIT ?"
        return [Entry(*row) for row in self._rows(query, (seq, limit))]

    def newest_ns(self, topic: str) -> int | None:
        """Time of the latest sample written for a topic: where a replay goes on."""
        newest: int | None = self._rows("SELECT max(time_ns) FROM entry WHERE topic = ?", (topic,))[0][0]
        return newest

    def last_seq(self) -> int:
        """Number of the newest entry, 0 for an empty journal."""
        return int(self._rows("SELECT coalesce(max(seq), 0) FROM entry")[0][0])

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
