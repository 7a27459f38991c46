"""DI-flux sheets as text, read: what an observer writes.

    # MagPy Absolutes
    # Abs-Observer: Herzog
    # Abs-Theodolite: T010B_160391_072011
    # Abs-TheoUnit: deg
    # Abs-FGSensor: MAG01H_504-0911H_032016
    # Abs-AzimuthMark: 180.1372
    # Abs-Pillar: A2
    # Abs-Temperature: 7.8C
    Miren:
    155.8175  155.81833  335.81972  335.82027  155.81861  155.81888  335.82  335.81972
    Positions:
    2018-08-29_07:42:00  250.18777  90  0.2
    ...
    PPM:
    2018-08-29_07:43:00  48622.8
    Result:

The mark is read twice with the sensor down, twice up; again so after the readings for D. A position line has
time (UTC), horizontal circle, vertical circle, residual in nT; for I the horizontal circle is 0 or 180 in the
magnetic meridian. A last line with the vertical circle tilted by some 0.2 degrees gives the scale value.
Angles are in ``Abs-TheoUnit``, deg or gon. ``Abs-Station``, ``Abs-Method`` and ``Abs-Step`` (last digit of
the circles in degrees) are our own and optional.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from obslab.errors import SheetError
from obslab.telemetry.absolutes.measurement import NO_TIME_NS, SCALAR, Measurement, Rows, reading_rows, within
from obslab.telemetry.absolutes.positions import is_meridian, name_positions
from obslab.telemetry.absolutes.sheet_lines import UNITS, Line, SheetLines

FIRST_LINE = "# MagPy Absolutes"
FACES = ("down", "down", "up", "up")
"""How the readings of the mark stand in a line, once or twice."""

_UPSIDE_DEG = 0.5  # no theodolite has faces further from 180 apart
_LEVEL_DEG = 1e-6
_SAME_SETTING_DEG = 1.0
_MOST_NT = 2_000.0  # beyond the range of a DI fluxgate
_LEAST_F_NT, _MOST_F_NT = 15_000.0, 80_000.0  # more than the Earth has anywhere
_KIND, _HORIZONTAL, _VERTICAL = 0, 4, 5  # places in a row

Row = tuple[str, str, int, int, float, float, float]


def read_sheet(path: Path, azimuth_deg: float | None = None, near_deg: float = 0.0) -> Measurement:
    """The measurement in a sheet. Raises SheetError that names file, line and field.

    ``azimuth_deg`` of the mark overrides the sheet's. Where declination is beyond 90 degrees, ``near_deg``
    must say roughly what it is.
    """
    sheet = SheetLines(path)
    readings = _readings(sheet)
    shown = readings["residual_nt"][readings["kind"] != "scale"]
    measurement = Measurement(
        method=sheet.fact("method") or ("residual" if shown.any() else "null"),
        azimuth_deg=_azimuth(sheet) if azimuth_deg is None else azimuth_deg,
        readings=readings,
        station=sheet.fact("station"),
        pillar=sheet.fact("pillar"),
        observer=sheet.fact("observer"),
        theodolite=sheet.fact("theodolite"),
        sensor=sheet.fact("fgsensor"),
        source=str(path),
        temperature_c=_temperature(sheet),
        circle_step_deg=sheet.number("step", 1 / 3600),
        scalar=_scalar(sheet),
    )
    name_positions(readings, measurement.azimuth_deg - measurement.mark_deg, near_deg)
    return measurement


def _azimuth(sheet: SheetLines) -> float:
    if not sheet.fact("azimuthmark"):
        line = sheet.header.get("azimuthmark")
        where = f"{sheet.path} line {line.number}" if line else str(sheet.path)
        raise SheetError(
            f"{where}: field Abs-AzimuthMark is empty or missing, wanted the azimuth of the mark; "
            "write it there or give azimuth_deg (--azimuth)",
            path=sheet.path,
            field="Abs-AzimuthMark",
        )
    line = sheet.header["azimuthmark"]
    found = sheet.value(line, 0, "Abs-AzimuthMark") * sheet.degrees
    if abs(found) > 360.0:
        sheet.refuse(line.number, "Abs-AzimuthMark", line.words[0], f"{sheet.unit} in a circle")
    return found


def _readings(sheet: SheetLines) -> Rows:
    """All readings in order: the first marks, those for D, the second marks, those for I, the tilt."""
    marks = _marks(sheet)
    positions = [_position(sheet, line) for line in sheet.sections["positions"]]
    for_d = [row for row in positions if row[_KIND] == "declination"]
    for_i = [row for row in positions if row[_KIND] == "inclination"]
    _need_four(sheet, "D (the vertical circle at 90 or 270)", for_d, _HORIZONTAL)
    _need_four(sheet, "I (in the meridian)", for_i, _VERTICAL)
    if len(for_i) % 2:
        for_i[-1] = ("scale", *for_i[-1][1:])
    half = len(marks) // 2
    return reading_rows([*marks[:half], *for_d, *marks[half:], *for_i])


def _marks(sheet: SheetLines) -> list[Row]:
    lines = sheet.sections["miren"]
    found = [
        (line.number, sheet.angle(line, place, "Miren")) for line in lines for place in range(len(line.words))
    ]
    if len(found) not in (len(FACES), 2 * len(FACES)):
        raise SheetError(
            f"{sheet.where('miren')}: field Miren has {len(found)} readings of the mark, wanted 8: "
            "two with the sensor down, two up, and again",
            path=sheet.path,
            field="Miren",
        )
    faces = (FACES * 2)[: len(found)]
    angles = np.array([angle for _, angle in found])
    apart = within(angles - np.where(np.array(faces) == "up", 180.0, 0.0) - angles[0], 360.0)
    if np.abs(apart).max() > _UPSIDE_DEG:
        _refuse_marks(sheet, found[int(np.abs(apart).argmax())][0], angles, int(np.abs(apart).argmax()))
    return [
        ("mark", face, number, NO_TIME_NS, angle, np.nan, 0.0)
        for face, (number, angle) in zip(faces, found, strict=True)
    ]


def _refuse_marks(sheet: SheetLines, number: int, angles: NDArray[np.float64], worst: int) -> NoReturn:
    other = "gon" if sheet.unit == "deg" else "deg"
    turned = (angles[[2, 3]] - angles[[0, 1]]) / sheet.degrees * UNITS[other]
    fits = np.abs(within(turned - 180.0, 360.0)).max() < _UPSIDE_DEG
    sheet.refuse(
        number,
        f"Miren, reading {worst + 1}",
        f"{angles[worst] / sheet.degrees:g} {sheet.unit}",
        f"half a circle between sensor down and up, and {angles[0] / sheet.degrees:g} as the first reading"
        + (f"; the numbers look like {other}: set Abs-TheoUnit: {other}" if fits else ""),
    )


def _position(sheet: SheetLines, line: Line) -> Row:
    if len(line.words) != 4:
        columns = f"{len(line.words)} columns"
        sheet.refuse(line.number, "Positions", columns, "4: time, horizontal, vertical, residual")
    time_ns = sheet.time(line)
    horizontal = sheet.angle(line, 1, "horizontal circle")
    vertical = sheet.angle(line, 2, "vertical circle")
    residual = sheet.value(line, 3, "residual")
    if abs(residual) > _MOST_NT:
        wanted = f"nT within {_MOST_NT:g}; are columns misaligned?"
        sheet.refuse(line.number, "residual", line.words[3], wanted)
    level, meridian = _is_level(vertical), bool(is_meridian(horizontal))
    if bool(is_meridian(vertical)) or (_is_level(horizontal) and not level and not meridian):
        sheet.refuse(
            line.number,
            "horizontal and vertical circle",
            f"{line.words[1]} and {line.words[2]}",
            "them the other way round: the two columns look exchanged",
        )
    kind = "declination" if level and not meridian else "inclination"
    return kind, "", line.number, time_ns, horizontal, vertical, residual


def _need_four(sheet: SheetLines, what: str, rows: list[Row], circle: int) -> None:
    """Whether there are readings in four settings; which positions they are, comes out when reduced."""
    settings: list[tuple[float, bool]] = []
    for row in rows:
        angle, up = float(row[circle]), float(row[_VERTICAL]) < 180.0
        near = (abs(within(angle - a, 360.0)) < _SAME_SETTING_DEG and up == u for a, u in settings)
        if not any(near):
            settings.append((angle, up))
    # Eight readings in fewer settings are of two positions swapped, which the fit can name.
    if len(rows) < 4 or (len(settings) < 4 and len(rows) < 8):
        raise SheetError(
            f"{sheet.where('positions')}: field Positions has {len(rows)} readings in {len(settings)} "
            f"positions for {what}, wanted four positions",
            path=sheet.path,
            field="Positions",
        )


def _scalar(sheet: SheetLines) -> Rows:
    difference = sheet.number("deltaf", 0.0)
    found = []
    for line in sheet.sections["ppm"]:
        if len(line.words) != 2:
            sheet.refuse(line.number, "PPM", f"{len(line.words)} columns", "2: time and F in nT")
        f_nt = sheet.value(line, 1, "F")
        if not _LEAST_F_NT < f_nt < _MOST_F_NT:
            wanted = f"nT as on Earth, {_LEAST_F_NT:g} to {_MOST_F_NT:g}"
            sheet.refuse(line.number, "F", line.words[1], wanted)
        found.append((sheet.time(line), f_nt + difference))
    return np.array(found, SCALAR)


def _temperature(sheet: SheetLines) -> float:
    text = sheet.fact("temperature").upper().replace("C", "").replace("\N{DEGREE SIGN}", "").strip()
    try:
        return float(text.replace(",", ".")) if text else float("nan")
    except ValueError:
        sheet.refuse(sheet.header["temperature"].number, "Abs-Temperature", text, "a number such as 7.8C")


def _is_level(vertical_deg: float) -> bool:
    return bool(abs(abs(within(vertical_deg, 360.0)) - 90.0) < _LEVEL_DEG)
