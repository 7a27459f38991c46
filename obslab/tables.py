"""SQLite files with numbered migrations and explicit transactions.

Journals, ledgers and the archive's hot store are such files. WAL lets readers work while one
process writes; ``synchronous=FULL`` makes a commit survive a power cut, not only a crash.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from obslab.errors import NewerVersionError, NoArchiveError, StorageFullError, TableError

_BUSY_TIMEOUT_S = 30.0


def connect(path: Path, migrations: Sequence[str], *, readonly: bool = False) -> sqlite3.Connection:
    """An open connection, migrated to ``len(migrations)``; autocommit, so use ``transaction``.

    The connection may be passed between threads; whoever shares it holds a lock of its own.

    Raises
    ------
    NewerVersionError
        the file was written with more migrations than are known here.
    TableError
        the file is not a database, or cannot be created.
    """
    path = Path(path)
    if readonly and not path.exists():
        raise NoArchiveError(f"{path} does not exist; check the path", path=path)
    try:
        uri = f"{path.absolute().as_uri()}?mode={'ro' if readonly else 'rwc'}"
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False
        )
        if readonly:
            connection.execute("PRAGMA query_only=ON")
        else:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        _migrate(connection, path, migrations, readonly=readonly)
    except sqlite3.Error as error:
        raise told(error, path) from error
    return connection


def version(connection: sqlite3.Connection) -> int:
    """How many migrations the file has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing: commits at the end, rolls back on any exception.

    ``BEGIN IMMEDIATE`` takes the write lock at once: a transaction that reads first and writes
    later could otherwise fail half-way when another process wrote in between.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have rolled it back already
                connection.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise told(error, _path(connection)) from error


def rows(connection: sqlite3.Connection, query: str, parameters: Sequence[object] = ()) -> list[Any]:
    """All rows of a query; a damaged file is told as a TableError."""
    try:
        return connection.execute(query, parameters).fetchall()
    except sqlite3.Error as error:
        raise told(error, _path(connection)) from error


def hold(path: Path, what: str, *, shared: bool = False) -> IO[str]:
    """Lock a file for the life of this process, so that two writers never share a folder.

    With ``shared`` others that say so too may hold it at the same time.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except OSError as error:
        raise TableError(f"{what} cannot be opened: {error.strerror}; check the path", path=path) from error
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise TableError(
            f"{what} is in use by another process; stop that one or choose another folder"
        ) from error
    return handle


def told(error: sqlite3.Error, path: Path) -> TableError:
    """The same failure as an error of ours, with the file's name and the next step."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFullError(f"no space left for {path}; free some or move it to another disk", path=path)
    if code == sqlite3.SQLITE_NOTADB:
        return TableError(f"{path} is not a SQLite database; check the path", path=path)
    if code == sqlite3.SQLITE_CORRUPT:
        return TableError(f"{path} is damaged ({error}); restore it from a copy", path=path)
    if code == sqlite3.SQLITE_CANTOPEN:
        return TableError(f"{path} cannot be opened; does its folder exist, may you write there?", path=path)
    return TableError(f"{path}: {error}", path=path)


def _path(connection: sqlite3.Connection) -> Path:
    return Path(connection.execute("PRAGMA database_list").fetchone()[2])


def _migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[str], *, readonly: bool
) -> None:
    have, know = version(connection), len(migrations)
    if have > know:
        raise NewerVersionError(
            f"{path} has format {have}, this obslab knows up to {know}; upgrade obslab to open it",
            path=path,
            have=have,
            know=know,
        )
    if have == know:
        return
    if readonly and not have:
        raise NoArchiveError(f"{path} is only just being made; try again in a moment", path=path)
    if readonly:
        raise TableError(
            f"{path} has format {have}, wanted is {know}; whoever writes to it brings it up to date",
            path=path,
        )
    with transaction(connection):
        # Asked again under the write lock: another process may have migrated meanwhile.
        for step in range(version(connection), know):
            for statement in migrations[step].split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version={know}")
