"""The command line as a user has it: real processes, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

OBSLAB = [sys.executable, "-m", "obslab"]


def run(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    return subprocess.run(
        [*OBSLAB, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
    )


def failure(*arguments: object, code: int = 1, **environ: str) -> str:
    """The one line that a command which fails says of it; beside it there may be the log's lines."""
    done = run(*arguments, **environ)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("obslab: ")]
    assert len(told) == 1, done.stderr
    return told[0]


class Running:
    """A command that runs until it is told; ``said`` is what it has printed so far, both streams."""

    def __init__(self, log: Path, *arguments: object, stdin: int = subprocess.DEVNULL, **environ: str):
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*OBSLAB, *map(str, arguments)],
                stdout=file,
                stderr=file,
                stdin=stdin,
                env={**os.environ, **environ},
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def tell(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def processes(part: str) -> set[int]:
    """Process ids with this text in their command line or their environment."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes() + b"\0" + (folder / "environ").read_bytes()
        except OSError:
            continue
        if part.encode() in text and int(folder.name) != os.getpid():
            found.add(int(folder.name))
    return {pid for pid in found if lives(pid)}


def wait(happened: Callable[[], object], what: str, timeout_s: float = 30) -> object:
    """The first true value; an AssertionError when there is none."""
    end_s = time.monotonic() + timeout_s
    while not (value := happened()):
        assert time.monotonic() < end_s, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)
    return value
