"""Runs `obslab ...` with a clock that can be set wrong and a disk that can be full, from outside.

    python bent.py CONTROL station run ...

CONTROL is a file of 16 bytes: how far the clock is ahead in ns, and whether SQLite meets a full disk.
"""

from __future__ import annotations

import mmap
import sqlite3
import struct
import sys
import time
from pathlib import Path

LAYOUT = struct.Struct("<qq")


class Control:
    """The file, seen from the test; changes hold at once in the process that was started with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(LAYOUT.pack(0, 0))

    def set_clock(self, ahead_s: float) -> None:
        with self.path.open("r+b") as file:
            file.write(struct.pack("<q", round(ahead_s * 1e9)))

    def set_full(self, full: bool) -> None:
        with self.path.open("r+b") as file:
            file.seek(8)
            file.write(struct.pack("<q", full))


def main() -> None:
    with open(sys.argv[1], "r+b") as file:
        told = mmap.mmap(file.fileno(), LAYOUT.size)
    del sys.argv[1]
    true_ns, connect = time.time_ns, sqlite3.connect

    def time_ns() -> int:
        return true_ns() + int(LAYOUT.unpack_from(told)[0])

    class FullDisk(sqlite3.Connection):
        """Fails where a full disk does: when a commit writes its pages to the log."""

        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            if sql == "COMMIT" and LAYOUT.unpack_from(told)[1]:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            return super().execute(sql, *parameters)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9
    sqlite3.connect = lambda *where, **how: connect(*where, **{"factory": FullDisk, **how})

    from obslab.cli import main as obslab

    obslab()


if __name__ == "__main__":
    main()
