"""The samples of an IAGA-2002 file as arrays: of a sound file, or of what can be read of a damaged one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from obslab.errors import RecordingError
from obslab.telemetry.iaga2002.header import Header, split
from obslab.telemetry.iaga2002.table import NEVER, Rows, rows
from obslab.times import iso


@dataclass(frozen=True)
class IagaFile:
    """One file: ``values`` has shape (time, 4) in nT, angles (D, I) in minutes of arc.

    ``never`` says of each column whether all of it was written as never measured; ``comments`` are
    the lines of comment, in their order.
    """

    header: dict[str, str]
    components: tuple[str, ...]
    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    cadence_s: float
    never: tuple[bool, ...] = (False,) * 4
    comments: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


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
    header, found = _rows(content, str(path))
    for number, why in found.bad.items():
        raise RecordingError(f"{path} line {number}: {why}", path=path, line=number)
    steps = np.diff(found.time_ns)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        after = f"{iso(int(found.time_ns[at + 1]))} after {iso(int(found.time_ns[at]))}"
        raise RecordingError(f"{path} line {found.line[at + 1]}: time does not go on: {after}", path=path)
    return _file(header, found.time_ns, found.values)


def decode(content: bytes, name: str) -> tuple[IagaFile, list[BadLine]]:
    """What can be read of a file that may be damaged, or put together out of pieces, in order of time.

    Lines that are not understood are set aside, and so are those that contradict an earlier line of the same
    time; one that repeats it is left out. Raises RecordingError when fewer than two samples remain.
    """
    header, found = _rows(content, name)
    bad = [BadLine(number, why) for number, why in found.bad.items()]
    if bad and len(found.line) < 2:
        raise RecordingError(f"{name} line {bad[0].number}: {bad[0].why}", path=name)
    _, first, same = np.unique(found.time_ns, return_index=True, return_inverse=True)
    values = found.values
    differs = ((values != values[first[same]]) & ~(np.isnan(values) & np.isnan(values[first[same]]))).any(
        axis=1
    )
    bad += [BadLine(int(at), "contradicts an earlier line of the same time") for at in found.line[differs]]
    if first.size < 2:
        raise RecordingError(f"{name} has 1 sample; two at least are wanted", path=name)
    return _file(header, found.time_ns[first], values[first]), sorted(bad, key=lambda line: line.number)


def _rows(content: bytes, name: str) -> tuple[Header, Rows]:
    header = split(content, name)
    found = rows(content[header.begin :], header.line, header.names)
    lines = len(found.line) + len(found.bad)
    if lines < 2:
        raise RecordingError(f"{name} has {lines} samples; two at least are wanted", path=name)
    return header, found


def _file(header: Header, time_ns: NDArray[np.int64], values: NDArray[np.float64]) -> IagaFile:
    # 88888.88, 888888 and the like are written too.
    never = np.isin(np.floor(values), (NEVER, 888_888.0))
    values[np.abs(values) >= NEVER] = np.nan
    cadence_s = float(np.median(np.diff(time_ns))) / 1e9
    return IagaFile(
        header.facts,
        header.letters,
        time_ns,
        values,
        cadence_s,
        tuple(bool(never[:, column].all()) for column in range(4)),
        header.comments,
        header.names,
    )
