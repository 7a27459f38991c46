"""Reads IAGA-2002 text files: the exchange format of geomagnetic observatories.

https://www.ngdc.noaa.gov/IAGA/vdat/IAGA2002/iaga2002format.html: header lines of 70 characters that end
with ``|``, a line of column names, then one line for each sample. Missing is 99999, never measured
88888; both become NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from obslab.errors import RecordingError

_NEVER = 88_888.0


@dataclass(frozen=True)
class IagaFile:
    """One file: ``values`` has shape (time, 4) in nT, angles (D, I) in minutes of arc."""

    header: dict[str, str]
    components: tuple[str, ...]
    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    cadence_s: float


def parse(path: Path) -> IagaFile:
    """The file as arrays. Raises RecordingError, naming file, line and what is wrong."""
    path = Path(path)
    lines = path.read_text(encoding="latin-1").splitlines()
    top = next((number for number, line in enumerate(lines) if line.startswith("DATE ")), None)
    if top is None:
        raise RecordingError(f"{path} is not an IAGA-2002 file: no line begins with DATE", path=path)
    header = {
        line[1:24].strip().upper(): line[24:69].strip()
        for line in lines[:top]
        if line.startswith(" ") and not line.startswith(" #")
    }
    names = lines[top].rstrip("| ").split()[3:]
    if len(names) != 4:
        raise RecordingError(f"{path} line {top + 1}: {len(names)} columns of values, wanted 4", path=path)
    rows = [line.split() for line in lines[top + 1 :] if line.strip()]
    wrong = next((number for number, row in enumerate(rows) if len(row) != 7), None)
    if wrong is not None:
        raise RecordingError(f"{path}, data line {wrong + 1}: {len(rows[wrong])} fields, wanted 7", path=path)
    if len(rows) < 2:
        raise RecordingError(f"{path} has {len(rows)} samples; two at least are wanted", path=path)
    try:
        time_ns = np.array([f"{row[0]}T{row[1]}" for row in rows], dtype="datetime64[ns]").astype(np.int64)
        values = np.array([row[3:] for row in rows], dtype=np.float64)
    except ValueError as error:
        raise RecordingError(f"{path}: {error}", path=path) from error
    steps = np.diff(time_ns)
    if (steps <= 0).any():
        raise RecordingError(
            f"{path}, data line {int(np.argmax(steps <= 0)) + 2}: time does not go on", path=path
        )
    values[values >= _NEVER] = np.nan
    return IagaFile(
        header, tuple(name[-1].upper() for name in names), time_ns, values, float(np.median(steps)) / 1e9
    )
