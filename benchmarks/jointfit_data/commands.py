"""Commands as processes of their own: wall clock, processor time and peak memory. Standard library only.

The kernel counts to a process what its parent had in memory when it was started, so what is measured must be
started by a small process: this module and its users keep numpy out until they are done with it.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ran:
    code: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str
    errors: str

    @property
    def figures(self) -> dict[str, float]:
        return {
            "wall_s": round(self.wall_s, 3),
            "cpu_s": round(self.cpu_s, 3),
            "peak_mb": round(self.peak_mb, 1),
        }


def run(
    *command: object, timeout_s: float, folder: Path | None = None, more: Mapping[str, str] | None = None
) -> Ran:
    """The command until it ends or its time is up (TimeoutError); ``more`` are environment variables."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=folder,
            env={**os.environ, **(more or {})},
        )
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout_s, stop)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if late.is_set():
            raise TimeoutError(f"{command[0]}: not within {timeout_s:g} s")
        said = []
        for file in (output, errors):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
    cpu_s = usage.ru_utime + usage.ru_stime
    return Ran(process.returncode, wall_s, cpu_s, usage.ru_maxrss / 1024, *said)
