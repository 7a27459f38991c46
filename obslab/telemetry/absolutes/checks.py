"""Are all positions there, are two of them swapped, is a reading wrong?

A reading written into the line of another position spoils the fit, and more than bad weather does: the
sensor's offset and its epsilon come out differently in the two parts. So every exchange of two positions
is tried; when exactly one of them makes the readings agree, that is what happened. And so is leaving out
each reading in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from obslab.errors import SheetError
from obslab.telemetry.absolutes.fit import Conditions, disagreement
from obslab.telemetry.absolutes.measurement import (
    FOR_D,
    FOR_I,
    Measurement,
    Rows,
    within,
)
from obslab.telemetry.absolutes.positions import is_meridian, meridian_circles, name_positions

_SUSPECT_NT = 1.0
"""Readings by hand agree to some 0.5 nT when corrected for variations; a swap below 1 nT is harmless."""

_SUSPECT_UNCORRECTED_NT = 20.0
_BETTER = 2.5
"""No simulated measurement without a swap became this much better by one; half an arc-minute does."""

_MUCH_BETTER = 5.0
_PAIRED = 12
"""Readings of which one is left out: with one to each position, leaving out any makes the others agree."""

_TURNED = (
    "readings of the mark with the sensor up and down are taken the other way round; if they are right, D is "
    "180 degrees from this: give declination_near (--declination-near)"
)

_PARTS = {"declination": (FOR_D, "horizontal_deg"), "inclination": (FOR_I, "vertical_deg")}


@dataclass(frozen=True)
class Swap:
    """Two positions whose circle readings stand in each other's lines.

    ``turned`` says that, put right, "down" readings give the direction of the telescope, not the circle.
    """

    first: str
    second: str
    first_lines: tuple[int, ...]
    second_lines: tuple[int, ...]
    turned: bool

    def __str__(self) -> str:
        lines = [_lines(numbers) for numbers in (self.first_lines, self.second_lines)]
        where = f": lines {lines[0]} and {lines[1]}" if all(lines) else ""
        return f"positions {self.first} and {self.second} look swapped{where}"


def checked(measurement: Measurement, conditions: Conditions, corrected: bool) -> tuple[Measurement, str]:
    """The measurement, if its positions are right, and what is odd about it in words.

    SheetError when a position is missing, two look swapped, or one reading does not fit the others.
    ``corrected`` says whether ``conditions`` know the variations of the field. Where only then the readings
    agree, the faces of the mark are exchanged in what is returned: observers differ in which they write
    first. D is the same either way, the sensor's offset is not.
    """
    missing = [
        f"{name} is missing"
        for kind, (names, _) in _PARTS.items()
        for name in names
        if name not in measurement.of(kind)["position"]
    ]
    suspect = _SUSPECT_NT if corrected else _SUSPECT_UNCORRECTED_NT
    now = float("inf") if missing else disagreement(measurement, conditions)
    if now < suspect:
        return measurement, ""
    good = min(now / _BETTER, suspect)
    other = _marks_turned(measurement)
    left = disagreement(other, conditions) if _is_whole(other) else float("inf")
    swaps = _good_exchanges(measurement, conditions, good, left)
    if len(swaps) == 1:
        raise SheetError(f"{measurement.name}: {swaps[0]}", source=measurement.source, swap=swaps[0])
    if missing:
        raise SheetError(
            f"{measurement.name}: by the circles {', '.join(missing)}; wanted four positions each for D and I"
            + ("; some may be swapped" if swaps else ""),
            source=measurement.source,
            missing=tuple(missing),
        )
    if left < good:
        return other, _TURNED
    _refuse_misread(measurement, conditions, now, suspect)
    return measurement, f"offset and epsilon of D and I disagree by {now:.1f} nT: is a reading wrong?"


def _refuse_misread(measurement: Measurement, conditions: Conditions, now: float, suspect: float) -> None:
    """SheetError when all readings but one agree, many times better than with it."""
    rows = measurement.readings
    places = [int(place) for kind in _PARTS for place in np.flatnonzero(rows["kind"] == kind)]
    whole = len(places) == sum(len(measurement.of(kind)) for kind in _PARTS)
    if not whole or len(places) < _PAIRED or not np.isfinite(now):
        return
    tried = sorted(
        (disagreement(replace(measurement, readings=np.delete(rows, place)), conditions.without(at)), place)
        for at, place in enumerate(places)
    )
    (best, place), (second, _) = tried[:2]
    if best < min(now / _MUCH_BETTER, suspect) and _BETTER * best < second:
        kind, position, line = (rows[name][place] for name in ("kind", "position", "line"))
        where = f" line {line}" if line else ""
        raise SheetError(
            f"{measurement.name}{where}: this reading for {kind}, {position}, does not fit the others, which "
            f"agree to {best:.1f} nT without it and to {now:.1f} nT with it; correct its circles or residual",
            source=measurement.source,
            line=int(line),
        )


def _good_exchanges(
    measurement: Measurement, conditions: Conditions, good: float, marks_left: float
) -> list[Swap]:
    """Those after which the readings agree; only the best if it is much better than the next.

    ``marks_left`` is what is left when the faces of the mark are exchanged: more likely than positions
    that are swapped in a sheet of the rarer kind.
    """
    tried = list(exchanges(measurement))
    # A sheet may give the circle or the telescope's direction: only if the circle explains nothing.
    for turned in (False, True):
        of_kind = [(disagreement(other, conditions), swap) for swap, other in tried if swap.turned == turned]
        limit = min(good, marks_left) if turned else good
        found = sorted(((left, swap) for left, swap in of_kind if left < limit), key=lambda one: one[0])
        if len(found) > 1 and _BETTER * found[0][0] < found[1][0]:
            return [found[0][1]]
        if found:
            return [swap for _, swap in found]
    return []


def _marks_turned(measurement: Measurement) -> Measurement:
    rows = measurement.readings.copy()
    marks = rows["kind"] == "mark"
    rows["position"][marks] = np.where(rows["position"][marks] == "up", "down", "up")
    other = replace(measurement, readings=rows)
    turn = other.azimuth_deg - other.mark_deg
    name_positions(rows, turn, _declination_near(measurement, turn + 180.0))
    return other


def _is_whole(measurement: Measurement) -> bool:
    return all(set(names) <= set(measurement.of(kind)["position"]) for kind, (names, _) in _PARTS.items())


def exchanges(measurement: Measurement) -> Iterator[tuple[Swap, Measurement]]:
    """Every measurement that this one may have been before two of its positions were exchanged.

    Only those with all eight positions; exchanges of readings in one face are left out: each reading
    remains a right one, only at another time.
    """
    turn = measurement.azimuth_deg - measurement.mark_deg
    near = _declination_near(measurement, turn)
    for kind, (_, circle) in _PARTS.items():
        settings = _settings(measurement, kind)
        for one, two in combinations(settings, 2):
            if len(one) != len(two):
                continue
            rows = measurement.readings.copy()
            rows[circle][one], rows[circle][two] = rows[circle][two].copy(), rows[circle][one].copy()
            if kind == "declination" and _face(rows, one) == _face(rows, two):
                continue
            name_positions(rows, turn, near)
            other = replace(measurement, readings=rows)
            if _is_whole(other):
                lines = [tuple(int(line) for line in rows["line"][places] if line) for places in (one, two)]
                first, second = str(rows["position"][one[0]]), str(rows["position"][two[0]])
                yield Swap(first, second, lines[0], lines[1], _turned(other)), other


def _settings(measurement: Measurement, kind: str) -> list[NDArray[np.intp]]:
    """Places of the readings made in one setting after the other: the same number in each of four.

    Else neighbours with like circles.
    """
    rows = measurement.readings
    places = np.flatnonzero(rows["kind"] == kind)
    if len(places) % 4 == 0:
        return np.split(places, 4)
    h, v = (rows[name][places] for name in ("horizontal_deg", "vertical_deg"))
    apart = (np.abs(within(np.diff(h), 360.0)) > 1.0) | (np.abs(within(np.diff(v), 360.0)) > 1.0)
    return np.split(places, np.flatnonzero(apart) + 1)


def _turned(measurement: Measurement) -> bool:
    for_i = measurement.of("inclination")
    if not is_meridian(for_i["horizontal_deg"]).all():
        return False
    return bool((meridian_circles(for_i) != for_i["horizontal_deg"] % 360.0).any())


def _face(rows: Rows, places: NDArray[np.intp]) -> bool:
    return bool(rows["vertical_deg"][places[0]] % 360.0 < 180.0)


def _declination_near(measurement: Measurement, turn: float) -> float:
    """D as the names of the positions have it, where most agree; else 0."""
    rows = measurement.of("declination")
    pointing = rows["horizontal_deg"] + turn + np.where(rows["vertical_deg"] % 360.0 < 180.0, 0.0, 180.0)
    east = np.char.endswith(rows["position"], "east")
    mean = np.mean(np.exp(1j * np.radians(pointing + np.where(east, -90.0, 90.0))))
    return float(np.degrees(np.angle(mean))) if abs(mean) > 0.5 else 0.0


def _lines(numbers: tuple[int, ...]) -> str:
    if not numbers:
        return ""
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
