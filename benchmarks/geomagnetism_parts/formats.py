"""Reading and writing a day of 1 s data, four components, as IAGA-2002 and ImagCDF, against MagPy.

The day is MagPy's own example. Each side reads the same files and writes what it has read; the best of
several rounds counts, and the sides take turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from obslab.telemetry import iaga2002, imagcdf

PYTHON = "OBSLAB_MAGPY_PYTHON"
HERE = Path(__file__).parent
ROUNDS = 5


def measure(quick: bool) -> dict[str, Any] | None:
    """Seconds of either side and how many times faster we are; None where there is no MagPy."""
    python = os.environ.get(PYTHON) or str(HERE.parents[1] / ".venv-magpy/bin/python")
    if not Path(python).exists():
        return None
    with tempfile.TemporaryDirectory(prefix="obslab-bench-") as name:
        folder = Path(name)
        with _MagPy(python, folder) as magpy:
            theirs: dict[str, list[float]] = {}
            ours: dict[str, list[float]] = {}
            tasks = _tasks(folder, Path(magpy.ask("example")))
            for _ in range(2 if quick else ROUNDS):
                for what, task in tasks.items():
                    theirs.setdefault(what, []).append(float(magpy.ask(what)))
                    ours.setdefault(what, []).append(_seconds(task))
        _check(folder)
    return {
        what: {
            "obslab_s": round(min(ours[what]), 4),
            "magpy_s": round(min(theirs[what]), 4),
            "ratio": round(min(theirs[what]) / min(ours[what]), 1),
        }
        for what in tasks
    }


def _tasks(folder: Path, example: Path) -> dict[str, Callable[[], object]]:
    day = iaga2002.read(example)
    cdf = imagcdf.write(day, folder / "day.cdf")  # both read this one
    return {
        "iaga2002_read": lambda: iaga2002.read(example),
        "iaga2002_write": lambda: iaga2002.write(day, folder / "ours.sec"),
        "imagcdf_read": lambda: imagcdf.read(cdf),
        "imagcdf_write": lambda: imagcdf.write(day, folder / "ours.cdf"),
    }


def _seconds(task: Callable[[], object]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def _check(folder: Path) -> None:
    """What was timed is the same work: both wrote the same samples."""
    (theirs,) = (folder / "magpy").glob("*.sec")
    first, second = iaga2002.read(folder / "ours.sec"), iaga2002.read(theirs)
    for letter in "hezf":
        if not np.array_equal(first[letter].values, second[letter].values, equal_nan=True):
            raise SystemExit(f"MagPy's {theirs.name} has another {letter} than ours")


class _MagPy:
    """MagPy in a process of its own, which does a task for each line and answers in seconds."""

    def __init__(self, python: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [python, str(HERE / "magpy_formats.py"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "MPLBACKEND": "Agg"},
        )

    def __enter__(self) -> _MagPy:
        return self

    def __exit__(self, *what: object) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(30)

    def ask(self, what: str) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"MagPy ended while it was to do {what}")
        return json.loads(answer)
