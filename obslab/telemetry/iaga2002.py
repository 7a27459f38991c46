"""Reads IAGA-2002 text files: the exchange format of geomagnetic observatories.

https://www.ngdc.noaa.gov/IAGA/vdat/IAGA2002/iaga2002format.html: header lines of 70 characters that end
with ``|``, a line of column names, then one line for each sample. Missing is 99999, never measured
88888; both become NaN.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from obslab.errors import RecordingError

_NEVER = 88_888.0
_FIELDS = 7


@dataclass(frozen=True)
class IagaFile:
    """One file: ``values`` has shape (time, 4) in nT, angles (D, I) in minutes of arc."""

    header: dict[str, str]
    components: tuple[str, ...]
    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    cadence_s: float


@dataclass(frozen=True)
class BadLine:
    """A line of samples that is not understood; ``number`` counts from 1."""

    number: int
    why: str


def parse(path: Path) -> IagaFile:
    """The file as arrays. Raises RecordingError, naming file, line and what is wrong."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}", path=path) from error
    header, names, rows = _split(content, str(path))
    try:
        time_ns, values = _numbers(rows.values())
    except ValueError:
        number, why = next(_wrong(rows))
        raise RecordingError(f"{path} line {number}: {why}", path=path) from None
    steps = np.diff(time_ns)
    if (steps <= 0).any():
        number = list(rows)[int(np.argmax(steps <= 0)) + 1]
        raise RecordingError(f"{path} line {number}: time does not go on", path=path)
    return _file(header, names, time_ns, values)


def decode(content: bytes, name: str) -> tuple[IagaFile, list[BadLine]]:
    """What can be read of a file that may be damaged, or put together out of pieces, in order of time.

    Lines that are not understood are set aside, and so are those that contradict an earlier line of the same
    time; one that repeats it is left out. Raises RecordingError when fewer than two samples remain.
    """
    header, names, rows = _split(content, name)
    bad = []
    try:
        time_ns, values = _numbers(rows.values())
    except ValueError:
        bad = [BadLine(number, why) for number, why in _wrong(rows)]
        for line in bad:
            del rows[line.number]
        if len(rows) < 2:
            raise RecordingError(f"{name} line {bad[0].number}: {bad[0].why}", path=name) from None
        time_ns, values = _numbers(rows.values())
    numbers = np.array(list(rows))
    _, first, same = np.unique(time_ns, return_index=True, return_inverse=True)
    differs = (values != values[first[same]]).any(axis=1)
    bad += [BadLine(int(at), "contradicts an earlier line of the same time") for at in numbers[differs]]
    if first.size < 2:
        raise RecordingError(f"{name} has 1 sample; two at least are wanted", path=name)
    return _file(header, names, time_ns[first], values[first]), sorted(bad, key=lambda line: line.number)


def _split(content: bytes, name: str) -> tuple[dict[str, str], list[str], dict[int, list[str]]]:
    """Facts of the header, names of the four columns, and the fields of each line by its number."""
    # Not splitlines(): in Latin-1 it also splits at 0x85, which is the second byte of a UTF-8 letter.
    lines = content.decode("latin-1").split("\n")
    top = next((number for number, line in enumerate(lines) if line.startswith("DATE ")), None)
    if top is None:
        raise RecordingError(f"{name} is not an IAGA-2002 file: no line begins with DATE", path=name)
    header = {
        line[1:24].strip().upper(): line[24:69].strip()
        for line in lines[:top]
        if line.startswith(" ") and not line.startswith(" #")
    }
    names = lines[top].rstrip("| \r").split()[3:]
    if len(names) != 4:
        raise RecordingError(f"{name} line {top + 1}: {len(names)} columns of values, wanted 4", path=name)
    rows = {number: line.split() for number, line in enumerate(lines[top + 1 :], top + 2) if line.strip()}
    if len(rows) < 2:
        raise RecordingError(f"{name} has {len(rows)} samples; two at least are wanted", path=name)
    return header, names, rows


def _file(
    header: dict[str, str], names: list[str], time_ns: NDArray[np.int64], values: NDArray[np.float64]
) -> IagaFile:
    values[values >= _NEVER] = np.nan
    cadence_s = float(np.median(np.diff(time_ns))) / 1e9
    return IagaFile(header, tuple(name[-1].upper() for name in names), time_ns, values, cadence_s)


def _numbers(rows: Collection[list[str]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if any(len(row) != _FIELDS for row in rows):
        raise ValueError("fields are missing, or too many")
    times = np.array([f"{row[0]}T{row[1]}" for row in rows], dtype="datetime64[ns]")
    return times.astype(np.int64), np.array([row[3:] for row in rows], dtype=np.float64)


def _wrong(rows: Mapping[int, list[str]]) -> Iterator[tuple[int, str]]:
    """Line number and reason of each line that is not understood."""
    for number, row in rows.items():
        try:
            _numbers([row])
        except ValueError as error:
            yield number, f"{len(row)} fields, wanted 7" if len(row) != _FIELDS else str(error)
