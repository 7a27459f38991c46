"""A Dataset of samples as an IAGA-2002 file, to the letter of the standard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.errors import FrameError, RecordingError
from obslab.telemetry.grid import SAMPLERATES, Grid
from obslab.telemetry.iaga2002.digits import write_digits, write_fixed
from obslab.telemetry.iaga2002.table import NEVER
from obslab.telemetry.iaga2002.words import INDEPENDENT, header_lines
from obslab.times import NS_PER_DAY, iso
from obslab.whole import write_whole

if TYPE_CHECKING:
    import xarray as xr

_WHAT = "IAGA-2002"
_ORDER = {"xyz": "xyz", "hdz": "dhz", "hez": "ehz", "": "xyz"}  # the standard's sets of three
_INTERVALS = {1.0: "1-second", 60.0: "1-minute", 3600.0: "1-hour", 86_400.0: "1-day"}
_MISSING, _NOT_MEASURED = 9_999_900, 8_888_800
_MS = 1_000_000
_WIDTH, _DOY, _FIRST = 71, 24, 30  # characters with the line's end; columns of day of year and first value


def write(dataset: xr.Dataset, path: str | Path) -> Path:
    """Write x y z, h d z, h e z or a scalar alone, with f, s or g beside; times that lack become 99999.

    Cadence is 1 s, 1 min, 1 h or 1 day. Values are rounded to 0.01 nT and 0.01 arcmin. Of the attributes,
    ``station`` must be there; the others that ``read`` gives are written when they are. Other variables
    (arrival, quality) are left out. The file is there whole or not at all. Raises FrameError for components
    and units that the format does not hold, RecordingError for times and values that it does not.
    """
    grid = Grid.of(dataset, _WHAT)
    letters, comments = _letters(grid, int(dataset.attrs.get("publication_level", 1)))
    if grid.cadence_s not in SAMPLERATES:
        raise RecordingError(
            f"{_WHAT}: a cadence of {grid.cadence_s:g} s is none of 1, 60, 3600 and 86400 s",
            cadence_s=grid.cadence_s,
        )
    attrs = {"data_interval": _INTERVALS[grid.cadence_s], "orientation": grid.frame} | {
        name: value for name, value in dataset.attrs.items() if value not in (None, "")
    }
    reported = "".join(letters).upper()[:3] + (letters[3] if letters[3] == "g" else "f").upper()
    names = "".join(f"{grid.station}{letter}".ljust(10) for letter in reported)
    lines = [
        *header_lines(grid.station, reported, bool(grid.frame), attrs, comments),
        f"DATE       TIME         DOY     {names}"[:69] + "|",
    ]
    table = _times(grid.time_ns)
    for column, letter in enumerate(letters):
        begin = _FIRST + 10 * column
        write_fixed(table[:, begin : begin + 10], _counts(grid, letter), 2)
    return write_whole(Path(path), "\n".join([*lines, ""]).encode("ascii") + table.tobytes())


def _letters(grid: Grid, level: int) -> tuple[list[str], list[str]]:
    """The component of each of the four columns, and what is to be said of them."""
    if grid.frame not in _ORDER:
        raise FrameError(
            f"{_WHAT} does not hold {' '.join(grid.frame)}; convert it to x y z or h d z first",
            frame=grid.frame,
        )
    if "e" in grid.frame and level > 1:
        raise FrameError(
            f"{_WHAT} holds e for variation data only, this is publication_level {level}; adjust it to x y z "
            "or h d z with a baseline first",
            frame=grid.frame,
        )
    if len(grid.scalar) > 1:
        raise FrameError(
            f"{_WHAT} has one column beside the vector, for {' or '.join(grid.scalar)}; leave out the others",
            frame=grid.frame + grid.scalar,
        )
    letters = [*_ORDER[grid.frame], grid.scalar or "f"]
    return letters, [INDEPENDENT] if grid.frame and grid.scalar == "s" else []


def _times(time_ns: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Lines of date, time and day of year, the rest blank, shape (time, 71)."""
    ms, finer = np.divmod(time_ns, _MS)
    if finer.any():
        at = int(np.argmax(finer != 0))
        raise RecordingError(f"{_WHAT}: time {iso(int(time_ns[at]))} is finer than the format's millisecond")
    table = np.full((len(ms), _WIDTH), ord(" "), np.uint8)
    table[:, -1] = ord("\n")
    day, ms = np.divmod(ms, NS_PER_DAY // _MS)
    begins = np.concatenate([[0], np.flatnonzero(np.diff(day)) + 1])
    for begin, end in zip(begins, [*begins[1:], len(day)], strict=True):
        date = np.datetime64(int(day[begin]), "D")
        doy = int((date - date.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)) + 1
        table[begin:end, : _DOY + 3] = np.frombuffer(f"{date} 00:00:00.000 {doy:03}".encode(), np.uint8)
    for begin, unit, size in ((11, 3600, 24), (14, 60, 60), (17, 1, 60)):
        write_digits(table[:, begin : begin + 2], ms // (unit * 1000) % size)
    if (ms % 1000).any():
        write_digits(table[:, 20:23], ms % 1000)
    return table


def _counts(grid: Grid, letter: str) -> NDArray[np.int64]:
    """Values of a column in hundredths."""
    values = grid.values.get(letter)
    if values is None:
        return np.full(len(grid.time_ns), _NOT_MEASURED)
    # Compared as they will be read: a value just below would be rounded to one that says missing.
    counts = np.rint(values * 100)
    wrong = np.abs(counts) >= NEVER * 100
    if wrong.any():
        at = int(np.argmax(wrong))
        raise RecordingError(
            f"{_WHAT}: {letter} at {iso(int(grid.time_ns[at]))} is {values[at]:g}, not within 88888; "
            "that says missing or never measured",
            field=letter,
            value=float(values[at]),
        )
    return np.where(np.isnan(counts), _MISSING, counts).astype(np.int64)
