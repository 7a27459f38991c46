"""A disk that is full when a test says so: a small file system where one may mount it, else SQLite's word."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from chaos.bent import Control

_SIZE = "64m"


class MountedDisk:
    """A tmpfs: everything written to it meets ENOSPC, whoever writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ballast = folder, folder / "ballast"
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)], check=True)

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as file, suppress(OSError):
            for size in (1 << 20, 4096):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def free(self) -> None:
        self._ballast.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self._folder)], check=True)


class ToldDisk:
    """Every commit of the process with this control fails as a full disk makes it fail."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def fill(self) -> None:
        self._control.set_full(True)

    def free(self) -> None:
        self._control.set_full(False)

    def close(self) -> None:
        self.free()


@cache
def may_mount() -> bool:
    """Whether this account can make a small file system (root, in a container that allows it)."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            MountedDisk(Path(folder)).close()
        except (OSError, subprocess.CalledProcessError):
            return False
    return True
