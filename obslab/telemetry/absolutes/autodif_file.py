"""AUTODIF's own text files (.abs): a day of measurements, each of twelve lines with time and one angle.

    AUTODIF001<tab>2020-08-01

    STATION NAME : Dourbes
    IAGA CODE    : DOU
    PILLAR ID    : DO4
    TARGET ID    : TDO2
    TARGET AZ    : -007.38389

    ID    <tab>YYYY-MM-DD<tab>HH:MM:SS<tab>VALUE

    RecTime<tab>2020-08-01<tab>00:13:12<tab>COMPLETE
    LaserPU<tab>2020-08-01<tab>00:09:50<tab>242.5156
    LaserPD ... Decl1UE Decl2DW Decl3DE Decl4UW LaserPU LaserPD Incl1US Incl2DN Incl3DS Incl4UN

This is the layout of a Mark II (Dourbes, 2020; in the test data of MagPy's source repository). Each line says
what it is, so the lines of one measurement may come in any order, and the header too. A file with other names
is refused: its layout is not known to us.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np

from obslab.errors import BadTimeError, SheetError
from obslab.telemetry.absolutes.measurement import Measurement, reading_rows
from obslab.times import as_ns

# Of D the vertical circle, of I the horizontal one in the meridian, is not in the file: the position has it.
POSITIONS = {
    "LaserPU": ("mark", "up", np.nan),
    "LaserPD": ("mark", "down", np.nan),
    "Decl1UE": ("declination", "up-east", 90.0),
    "Decl2DW": ("declination", "down-west", 270.0),
    "Decl3DE": ("declination", "down-east", 270.0),
    "Decl4UW": ("declination", "up-west", 90.0),
    "Incl1US": ("inclination", "up-south", 180.0),
    "Incl2DN": ("inclination", "down-north", 180.0),
    "Incl3DS": ("inclination", "down-south", 0.0),
    "Incl4UN": ("inclination", "up-north", 0.0),
}
"""Kind and position by the name of a line, and the circle that is not in the file."""

_BEGINS = "RecTime"
_FACTS = {"STATION NAME": "site", "IAGA CODE": "station", "PILLAR ID": "pillar", "TARGET AZ": "azimuth"}
_STEP_DEG = 1e-4


def is_autodif(text: str) -> bool:
    """Whether a file looks like one of an AUTODIF."""
    return any(line.startswith((_BEGINS, "TARGET AZ", "AUTODIF")) for line in text.splitlines()[:12])


def read_autodif(
    path: Path, azimuth_deg: float | None = None, skip_incomplete: bool = False
) -> tuple[Measurement, ...]:
    """All measurements of a file, in its order. Raises SheetError that names file, line and field.

    ``azimuth_deg`` of the mark overrides the file's. A measurement that the instrument itself did not
    mark COMPLETE is refused with the whole file, or left out with ``skip_incomplete``.
    """
    facts: dict[str, str] = {}
    blocks: list[tuple[int, str, list[tuple[int, list[str]]]]] = []
    for number, text in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), 1):
        fields = [field.strip() for field in text.split("\t")]
        if fields[0] == _BEGINS:
            if len(fields) < 4:
                _refuse(path, number, _BEGINS, text.strip(), "name, date, time and COMPLETE, between tabs")
            blocks.append((number, fields[3], []))
        elif blocks and fields[0]:
            blocks[-1][2].append((number, fields))
        elif not blocks and ":" in text and "\t" not in text:
            key, _, value = text.partition(":")
            facts[_FACTS.get(key.strip().upper(), key.strip().upper())] = value.strip()
        elif not blocks and number == 1 and fields[0]:
            facts["theodolite"] = fields[0]
    if not blocks:
        raise SheetError(f"{path}: no line begins with {_BEGINS}: no measurement of an AUTODIF", path=path)
    azimuth = _azimuth(path, facts) if azimuth_deg is None else azimuth_deg
    wrong = [(number, state) for number, state, _ in blocks if state.upper() != "COMPLETE"]
    if wrong and not skip_incomplete:
        number, state = wrong[0]
        _refuse(path, number, "state", state, "COMPLETE; skip_incomplete (--skip-incomplete) leaves it out")
    return tuple(
        _measurement(path, number, lines, azimuth, facts)
        for number, state, lines in blocks
        if state.upper() == "COMPLETE"
    )


def _measurement(
    path: Path, first: int, lines: list[tuple[int, list[str]]], azimuth_deg: float, facts: dict[str, str]
) -> Measurement:
    rows = [_reading(path, number, fields) for number, fields in lines]
    met = sorted(fields[0] for _, fields in lines)
    wanted = sorted([*POSITIONS, "LaserPU", "LaserPD"])
    if met != wanted:
        lacking = [name for name in wanted if met.count(name) < wanted.count(name)]
        what = f"{lacking[0]} is missing" if lacking else f"{len(met)} readings"
        raise SheetError(
            f"{path} line {first}: of the measurement that begins here {what}; wanted 12 readings, "
            "the mark in both faces twice, four positions for D and four for I",
            path=path,
            line=first,
            field=lacking[0] if lacking else _BEGINS,
        )
    return Measurement(
        method="autodif",
        azimuth_deg=azimuth_deg,
        readings=reading_rows(sorted(rows, key=lambda row: row[3])),
        station=facts.get("station", ""),
        pillar=facts.get("pillar", ""),
        observer="AUTODIF",
        theodolite=facts.get("theodolite", "AUTODIF"),
        source=f"{path} line {first}",
        circle_step_deg=_STEP_DEG,
    )


def _reading(path: Path, number: int, fields: list[str]) -> tuple[str, str, int, int, float, float, float]:
    if fields[0] not in POSITIONS:
        _refuse(path, number, "ID", fields[0], f"one of {' '.join(POSITIONS)}")
    if len([field for field in fields if field]) != 4:
        _refuse(path, number, fields[0], "\t".join(fields), "name, date, time and angle, between tabs")
    try:
        time_ns = as_ns(f"{fields[1]}T{fields[2]}Z")
    except BadTimeError:
        _refuse(path, number, "time", f"{fields[1]} {fields[2]}", "UTC as in 2020-08-01 and 00:13:12")
    try:
        angle = float(fields[3])
    except ValueError:
        angle = np.nan
    if not 0 <= angle <= 360:
        _refuse(path, number, fields[0], fields[3], "degrees from 0 to 360")
    kind, position, other = POSITIONS[fields[0]]
    horizontal, vertical = (other, angle) if kind == "inclination" else (angle, other)
    return kind, position, number, time_ns, horizontal, vertical, 0.0


def _azimuth(path: Path, facts: dict[str, str]) -> float:
    try:
        found = float(facts.get("azimuth", ""))
    except ValueError:
        found = np.nan
    if abs(found) <= 360.0:
        return found
    raise SheetError(
        f"{path}: field TARGET AZ is {facts.get('azimuth', '')!r}, wanted the mark's azimuth in degrees; "
        "write it there or give azimuth_deg (--azimuth)",
        path=path,
        field="TARGET AZ",
    )


def _refuse(path: Path, number: int, field: str, met: str, wanted: str) -> NoReturn:
    raise SheetError(
        f"{path} line {number}: field {field} is {met!r}, wanted {wanted}",
        path=path,
        line=number,
        field=field,
    )
