"""Reads an IBFV2.00 file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from obslab.errors import RecordingError, TopicError
from obslab.telemetry.ibfv.file import (
    COMPONENTS,
    DELTA_MISSING,
    DELTA_NEVER,
    MISSING,
    NEVER,
    BaselineFile,
    Days,
    Floats,
    day_of_year,
)
from obslab.telemetry.sample import Stream

_VALUE = re.compile(r"[+-]?\d*\.\d\d|[+-]?(?:99999|88888|999|888)(?:\.\d?)?")


def read(path: str | Path) -> BaselineFile:
    """The file, days in its order even when they are not in order of time.

    Raises RecordingError, naming file, line and field.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("latin-1")
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}", path=path) from error
    lines = [line.rstrip() for line in text.rstrip("\x1a \r\n").split("\n")]
    station, year, components, means = _header(lines[0], f"{path} line 1")
    stars = [at for at, line in enumerate(lines) if line.strip() == "*"]
    if len(stars) < 2:
        section = ("observed", "adopted")[len(stars)]
        raise RecordingError(
            f"{path} line {len(lines)}: the file ends among the {section} baselines; a line with * is wanted "
            "after them",
            path=path,
        )
    names = [*components, "scalar F", "delta F", "marker"]
    rows = _Rows(str(path), year, names)
    first = [rows.row(at, lines[at], 5) for at in range(1, stars[0]) if lines[at]]
    second = [rows.row(at, lines[at], 7) for at in range(stars[0] + 1, stars[1]) if lines[at]]
    comments = lines[stars[1] + 1 :]
    if comments and comments[0].strip().rstrip(":").lower() == "comments":
        comments = comments[1:]
    delta = np.array([values[4] for _, values, _ in second], float)
    delta[np.isin(np.abs(delta), (DELTA_MISSING, DELTA_NEVER))] = np.nan
    return BaselineFile(
        station,
        year,
        components,
        *means,
        _days(year, [day for day, _, _ in first]),
        _values([values for _, values, _ in first]),
        _days(year, [day for day, _, _ in second]),
        _values([values[:4] for _, values, _ in second]),
        np.array([step for _, _, step in second], bool),
        tuple(comments),
        None if np.isnan(delta).all() else delta,
    )


def _header(line: str, where: str) -> tuple[str, int, str, tuple[float, float]]:
    fields = line.split()
    if len(fields) == 4:
        raise RecordingError(f"{where}: {line[:40]!r} is of IBFV1.20 or older; IBFV2.00 is read")
    if len(fields) != 5:
        raise RecordingError(
            f"{where}: {line[:40]!r} is not components, H, F, IAGA code and year of IBFV2.00"
        )
    components = fields[0].upper().rstrip("_")
    components = components[:3] if components != "DIFF" else "DIF"
    station = fields[3].upper()
    if components not in COMPONENTS:
        raise RecordingError(f"{where}: components {fields[0]!r} are none of XYZF, DIF, HDZF, UVZF")
    try:
        Stream(station, "any")
        year = int(fields[4])
        means = float(fields[1]), float(fields[2])
    except (TopicError, ValueError) as error:
        raise RecordingError(f"{where}: {getattr(error, 'message', error)}") from error
    if not 1800 <= year < 2262:
        raise RecordingError(f"{where}: year {fields[4]} is not one of geomagnetism")
    h_nt, f_nt = (np.nan if mean >= NEVER else mean for mean in means)
    return station, year, components, (h_nt, f_nt)


@dataclass(frozen=True)
class _Rows:
    """Reads the lines of a file; ``names`` are those of the fields after the day."""

    path: str
    year: int
    names: list[str]

    def row(self, at: int, line: str, wanted: int) -> tuple[int, list[float], bool]:
        """Day of the year, values, and whether the line says discontinuous."""
        where, fields = f"{self.path} line {at + 1}", line.split()
        if len(fields) != wanted:
            raise RecordingError(f"{where}: {len(fields)} fields, wanted {wanted}", path=self.path)
        last = day_of_year(np.datetime64(f"{self.year}-12-31"))
        if not fields[0].isdigit() or not 1 <= int(fields[0]) <= last:
            raise RecordingError(f"{where}: day {fields[0]!r} is not within 1 to {last} of {self.year}")
        marker = fields[6].lower() if wanted == 7 else "c"
        if marker not in ("c", "d"):
            raise RecordingError(f"{where}: marker {fields[6]!r} is not c, continuous, or d, discontinuous")
        values = []
        for name, field in zip(self.names, fields[1:6], strict=False):
            if not _VALUE.fullmatch(field):
                raise RecordingError(
                    f"{where}: {name} {field!r} is not a number with two decimals", field=name
                )
            values.append(float(field))
        return int(fields[0]), values, marker == "d"


def _values(rows: list[list[float]]) -> Floats:
    values = np.array(rows, float).reshape(-1, 4)
    return np.where(np.isin(np.abs(values), (MISSING, NEVER)), np.nan, values)


def _days(year: int, days: list[int]) -> Days:
    return np.datetime64(f"{year:04}-01-01", "D") + np.array(days, "timedelta64[D]") - np.timedelta64(1, "D")
