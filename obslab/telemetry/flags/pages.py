"""The SQLite file of a flag book: flags as they were set, and every change of their state."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from obslab.errors import FlagError
from obslab.tables import connect, rows, transaction
from obslab.telemetry.flags.entry import Entry

_MIGRATIONS = (
    """
    CREATE TABLE flag (
        id INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        component TEXT NOT NULL,
        begin_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        kind TEXT NOT NULL,
        size REAL,
        author TEXT NOT NULL,
        reason TEXT NOT NULL
    );
    CREATE INDEX flag_of ON flag (stream, begin_ns);
    CREATE TABLE change (
        id INTEGER PRIMARY KEY,
        flag INTEGER NOT NULL REFERENCES flag,
        at_ns INTEGER NOT NULL,
        action TEXT NOT NULL,
        state TEXT NOT NULL,
        author TEXT NOT NULL,
        reason TEXT NOT NULL
    );
    CREATE INDEX change_of ON change (flag, id)
    """,
)
_NEWEST = "(SELECT max(id) FROM change WHERE flag = flag.id)"


@dataclass(frozen=True)
class Change:
    """What happened to the state of a flag; a flag is withdrawn before it is first set.

    ``previous`` is the change that was in force before, 0 for none.
    """

    id: int
    flag: int
    previous: int
    before: str
    after: str
    author: str
    reason: str


class Pages:
    """Rows in, rows out; ``FlagBook`` knows what they mean."""

    def __init__(self, path: Path, *, readonly: bool) -> None:
        self._path, self._readonly = path, readonly
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._in_force: dict[
            int, int
        ] = {}  # what undo and redo wrote, and the change each put in force again

    def add(self, entries: Sequence[Entry], action: str, state: str, at_ns: int) -> list[Change]:
        """New flags, all or none."""
        made = []
        with self._lock, transaction(self._writable()) as connection:
            for entry in entries:
                flag = connection.execute(
                    "INSERT INTO flag (stream, component, begin_ns, end_ns, kind, size, author, reason)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    astuple(entry),
                ).lastrowid
                assert flag is not None
                made.append(
                    _write(connection, flag, 0, at_ns, action, "withdrawn", state, entry.author, entry.reason)
                )
        return made

    def move(
        self, flags: Sequence[int], action: str, state: str, author: str, reason: str, at_ns: int
    ) -> list[Change]:
        """Flags to a state, all or none; those that have it already are passed over."""
        with self._lock, transaction(self._writable()) as connection:
            newest = {flag: _newest(connection, flag) for flag in flags}
            return [
                _write(connection, flag, self._force(number), at_ns, action, before, state, author, reason)
                for flag, (number, before, _) in newest.items()
                if before != state
            ]

    def reverse(self, changes: Sequence[Change], action: str, author: str, at_ns: int) -> list[Change]:
        """The opposite of these changes, all or none. Raises FlagError when others came after them."""
        with self._lock, transaction(self._writable()) as connection:
            for change in changes:
                number, state, by = _newest(connection, change.flag)
                if self._force(number) != self._force(change.id):
                    raise FlagError(
                        f"flag {change.flag} was changed since: {by} made it {state}; {action} would take "
                        "that back, so confirm or withdraw it instead",
                        flag=change.flag,
                    )
            made = [
                _write(
                    connection,
                    change.flag,
                    self._force(change.id),
                    at_ns,
                    action,
                    change.after,
                    change.before,
                    author or change.author,
                    change.reason,
                )
                for change in changes
            ]
        for one, change in zip(made, changes, strict=True):
            self._in_force[one.id] = change.previous
        return made

    def overlaps(self, entry: Entry) -> bool:
        """Whether a flag of the same kind, stream and component is there, withdrawn ones too."""
        query = """SELECT 1 FROM flag WHERE stream = ? AND component = ? AND kind = ?
                   AND begin_ns < ? AND end_ns > ? LIMIT 1"""
        same = (entry.stream, entry.component, entry.kind, entry.end_ns, entry.begin_ns)
        return bool(self._rows(query, same))

    def flags(
        self, stream: str | None, begin_ns: int | None, end_ns: int | None, states: Sequence[str]
    ) -> list[sqlite3.Row]:
        """Flags with their state, in order of time."""
        wanted = [f"change.state IN ({', '.join('?' * len(states))})"]
        values: list[object] = [*states]
        for condition, value in (("stream = ?", stream), ("end_ns > ?", begin_ns), ("begin_ns < ?", end_ns)):
            if value is not None:
                wanted.append(condition)
                values.append(value)
        return self._rows(
            f"""SELECT flag.*, change.state FROM flag JOIN change ON change.id = {_NEWEST}
                WHERE {" AND ".join(wanted)} ORDER BY begin_ns, flag.id""",
            values,
        )

    def changes(self, flag: int | None) -> list[sqlite3.Row]:
        """Changes with the flags they are of, in the order made."""
        query = """SELECT change.*, stream, component, begin_ns, end_ns, kind
                   FROM change JOIN flag ON flag.id = change.flag"""
        if flag is None:
            return self._rows(f"{query} ORDER BY change.id")
        return self._rows(f"{query} WHERE flag.id = ? ORDER BY change.id", (flag,))

    def version(self) -> tuple[int, ...]:
        newest = self._rows("SELECT max(id) FROM change")
        return (int(newest[0][0] or 0),) if newest else (0,)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _force(self, change: int) -> int:
        return self._in_force.get(change, change)

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        with self._lock:
            if self._connection is None and not self._path.exists():
                return []  # nobody flagged anything yet
            return rows(self._open(), query, values)

    def _writable(self) -> sqlite3.Connection:
        if self._readonly:
            raise FlagError(f"{self._path} was opened to read only; open FlagBook(path) to change flags")
        return self._open()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self._path, _MIGRATIONS, readonly=self._readonly)
            self._connection.row_factory = sqlite3.Row
        return self._connection


def _newest(connection: sqlite3.Connection, flag: int) -> tuple[int, str, str]:
    found = connection.execute(
        "SELECT id, state, author FROM change WHERE flag = ? ORDER BY id DESC LIMIT 1", (flag,)
    ).fetchone()
    if found is None:
        raise FlagError(f"no flag has the number {flag}", flag=flag)
    return int(found[0]), str(found[1]), str(found[2])


def _write(
    connection: sqlite3.Connection,
    flag: int,
    previous: int,
    at_ns: int,
    action: str,
    before: str,
    after: str,
    author: str,
    reason: str,
) -> Change:
    number = connection.execute(
        "INSERT INTO change (flag, at_ns, action, state, author, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (flag, at_ns, action, after, author, reason),
    ).lastrowid
    assert number is not None
    return Change(number, flag, previous, before, after, author, reason)
