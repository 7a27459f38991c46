"""What an archive knows beside samples: links going up and down, gaps being filled, units, clocks.

A SQLite file of its own, ``book.db``: none of it is needed to read samples, and it is written by the
collector's keeper while the hot store takes samples.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from obslab.errors import TableError
from obslab.tables import connect, rows, transaction

_MIGRATIONS = (
    """
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        at_ns INTEGER NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        up INTEGER NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE INDEX event_at ON event (at_ns);
    CREATE INDEX event_of ON event (kind, name, id);
    CREATE TABLE hole (
        id INTEGER PRIMARY KEY,
        topic TEXT NOT NULL,
        begin_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        state TEXT NOT NULL,
        why TEXT NOT NULL,
        filled INTEGER NOT NULL DEFAULT 0,
        changed_ns INTEGER NOT NULL
    );
    CREATE INDEX hole_of ON hole (topic, begin_ns);
    CREATE INDEX hole_state ON hole (state, begin_ns);
    CREATE TABLE unit (
        name TEXT PRIMARY KEY,
        journal TEXT NOT NULL,
        status BLOB NOT NULL,
        came_ns INTEGER NOT NULL
    );
    CREATE TABLE mark (
        journal TEXT NOT NULL,
        topic TEXT NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (journal, topic)
    );
    CREATE TABLE clock (
        unit TEXT NOT NULL,
        at_ns INTEGER NOT NULL,
        offset_s REAL NOT NULL,
        round_trip_s REAL NOT NULL,
        PRIMARY KEY (unit, at_ns)
    )
    """,
)

FILE = "book.db"

Kind = Literal["broker", "link", "bridge", "driver"]
HoleState = Literal["open", "asked", "filled", "lost"]


@dataclass(frozen=True)
class Event:
    """Something went up or down at an instant of UTC.

    ``broker`` is the collector's own link to its broker, ``link`` a unit's (told by its last will),
    ``bridge`` one between brokers, ``driver`` an instrument at a unit.
    """

    at_ns: int
    kind: Kind
    name: str
    up: bool
    detail: str = ""


@dataclass(frozen=True)
class Hole:
    """Samples of ``[begin_ns, end_ns)`` that the archive lacks, and what became of asking for them.

    ``lost`` means that the station does not have them either: they are not asked for again. Times are
    by the station's clock.
    """

    id: int
    topic: str
    begin_ns: int
    end_ns: int
    state: HoleState
    why: str
    filled: int = 0
    changed_ns: int = 0


@dataclass(frozen=True)
class ClockReading:
    """How far a unit's clock was ahead of the archive's; good to half the round trip."""

    unit: str
    at_ns: int
    offset_s: float
    round_trip_s: float


class Book:
    """One process writes, any number read; every method may be called from any thread."""

    def __init__(self, folder: Path, *, readonly: bool) -> None:
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._file = Path(folder) / FILE
        self._readonly = readonly
        if not readonly:
            self._connection = connect(self._file, _MIGRATIONS)

    # ---- events

    def note(self, event: Event) -> bool:
        """Write it down unless it says what is known already; whether it was news."""
        last = self.state_of(event.kind, event.name)
        if last is not None and last.up == event.up:
            return False
        with self._write() as write:
            write.execute(
                "INSERT INTO event (at_ns, kind, name, up, detail) VALUES (?, ?, ?, ?, ?)",
                (event.at_ns, event.kind, event.name, event.up, event.detail),
            )
        return True

    def state_of(self, kind: Kind, name: str) -> Event | None:
        """The last event of one thing."""
        query = """SELECT at_ns, kind, name, up, detail FROM event
                   WHERE kind = ? AND name = ? ORDER BY id DESC LIMIT 1"""
        found = self._rows(query, (kind, name))
        return _event(found[0]) if found else None

    def events(self, begin_ns: int = -(2**63), end_ns: int = 2**63 - 1) -> list[Event]:
        """All of ``[begin, end)`` in order of time."""
        query = """SELECT at_ns, kind, name, up, detail FROM event
                   WHERE at_ns >= ? AND at_ns < ? ORDER BY at_ns, id"""
        return [_event(row) for row in self._rows(query, (begin_ns, end_ns))]

    # ---- holes

    def add_hole(
        self, topic: str, begin_ns: int, end_ns: int, why: str, now_ns: int, *, again: bool = False
    ) -> Hole | None:
        """A new hole to be asked for; None when one that is not filled covers it already.

        ``again`` asks for it even if it was given up as lost.
        """
        query = """SELECT 1 FROM hole
                   WHERE topic = ? AND (state IN ('open', 'asked') OR (state = 'lost' AND ?))
                   AND begin_ns <= ? AND end_ns >= ? LIMIT 1"""
        if self._rows(query, (topic, not again, begin_ns, end_ns)):
            return None
        with self._write() as write:
            done = write.execute(
                """INSERT INTO hole (topic, begin_ns, end_ns, state, why, changed_ns)
                   VALUES (?, ?, ?, 'open', ?, ?)""",
                (topic, begin_ns, end_ns, why, now_ns),
            )
            return Hole(int(done.lastrowid or 0), topic, begin_ns, end_ns, "open", why, 0, now_ns)

    def set_hole(self, hole: Hole, now_ns: int, **changes: Any) -> Hole:
        """The hole with changes to begin_ns, state or filled, written down."""
        new = replace(hole, changed_ns=now_ns, **changes)
        with self._write() as write:
            write.execute(
                "UPDATE hole SET begin_ns = ?, state = ?, filled = ?, changed_ns = ? WHERE id = ?",
                (new.begin_ns, new.state, new.filled, now_ns, new.id),
            )
        return new

    def holes(
        self,
        topic: str | None = None,
        begin_ns: int = -(2**63),
        end_ns: int = 2**63 - 1,
        states: Sequence[HoleState] = ("open", "asked", "filled", "lost"),
    ) -> list[Hole]:
        """Those that touch ``[begin, end)``, in order of time."""
        marks = ", ".join("?" * len(states))
        query = f"""SELECT id, topic, begin_ns, end_ns, state, why, filled, changed_ns FROM hole
                    WHERE state IN ({marks}) AND end_ns > ? AND begin_ns < ? AND (?4 IS NULL OR topic = ?4)
                    ORDER BY begin_ns, id""".replace("?4", f"?{len(states) + 3}")
        return [Hole(*row) for row in self._rows(query, (*states, begin_ns, end_ns, topic))]

    # ---- units, their journals, their clocks

    def keep_unit(self, name: str, journal: str, status: bytes, came_ns: int) -> None:
        with self._write() as write:
            write.execute("INSERT OR REPLACE INTO unit VALUES (?, ?, ?, ?)", (name, journal, status, came_ns))

    def units(self) -> dict[str, tuple[str, bytes, int]]:
        """Journal, last status as it came, and when it came (ns), by unit as in ``PEA lemi0001``."""
        return {row[0]: (row[1], bytes(row[2]), row[3]) for row in self._rows("SELECT * FROM unit")}

    def mark(self, journal: str, topic: str) -> int:
        """Up to which entry this stream of a journal is confirmed."""
        found = self._rows("SELECT seq FROM mark WHERE journal = ? AND topic = ?", (journal, topic))
        return int(found[0][0]) if found else 0

    def marks(self, journal: str) -> dict[str, int]:
        return {
            row[0]: int(row[1])
            for row in self._rows("SELECT topic, seq FROM mark WHERE journal = ?", (journal,))
        }

    def set_marks(self, journal: str, marks: dict[str, int]) -> None:
        with self._write() as write:
            write.executemany(
                """INSERT INTO mark VALUES (?, ?, ?)
                   ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)""",
                [(journal, topic, seq) for topic, seq in marks.items()],
            )

    def add_clock(self, reading: ClockReading) -> None:
        with self._write() as write:
            write.execute(
                "INSERT OR REPLACE INTO clock VALUES (?, ?, ?, ?)",
                (reading.unit, reading.at_ns, reading.offset_s, reading.round_trip_s),
            )

    def clocks(self, begin_ns: int = -(2**63), end_ns: int = 2**63 - 1) -> list[ClockReading]:
        query = "SELECT * FROM clock WHERE at_ns >= ? AND at_ns < ? ORDER BY unit, at_ns"
        return [ClockReading(*row) for row in self._rows(query, (begin_ns, end_ns))]

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None or self._readonly:
                raise TableError(f"{self._file} is open for reading only, or closed", path=self._file)
            with transaction(self._connection) as write:
                yield write

    def _rows(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:
        with self._lock:
            if self._connection is None:
                if not self._file.exists():  # an archive of an older obslab, until a collector opens it
                    return []
                self._connection = connect(self._file, _MIGRATIONS, readonly=self._readonly)
            return rows(self._connection, query, parameters)


def _event(row: Any) -> Event:
    return Event(int(row[0]), row[1], row[2], bool(row[3]), row[4])
