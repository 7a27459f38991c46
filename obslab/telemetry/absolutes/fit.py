"""The unknowns of one measurement by least squares, with their errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from obslab.errors import SheetError
from obslab.telemetry.absolutes.measurement import MARKS, Measurement, within
from obslab.telemetry.absolutes.model import (
    DEC,
    DELTA,
    EPSILON_D,
    EPSILON_I,
    INC,
    OFFSET_D,
    OFFSET_I,
    TOTAL,
    UNKNOWNS,
    Geometry,
    differences,
    directions,
    first_guess,
    geometry,
    meridian,
    predicted,
)
from obslab.telemetry.absolutes.variation import Variation, still

Floats = NDArray[np.float64]

_F_OF_NOWHERE = 50_000.0  # null readings are of directions only: any F gives the same D, I and collimation
_STEP = np.where(np.isin(np.arange(len(UNKNOWNS)), (TOTAL, OFFSET_D, OFFSET_I)), 1.0, 1e-5)
_ROUNDS = 20
_SMALL = 1e-5  # of a step: 1e-10 rad, 1e-5 nT
_RESIDUAL_STEP_NT, _F_STEP_NT = 0.1, 0.01  # the last digits of a fluxgate's display and of a scalar

# Tied: one offset and one epsilon in both parts, so that the parts check each other.
_TIED = [DEC, INC, TOTAL, OFFSET_D, DELTA, EPSILON_D]
_SPREAD = np.eye(len(UNKNOWNS))[:, _TIED]
_SPREAD[OFFSET_I, _TIED.index(OFFSET_D)] = _SPREAD[EPSILON_I, _TIED.index(EPSILON_D)] = 1.0


@dataclass(frozen=True, eq=False)
class Conditions:
    """What the field was during the readings.

    ``variation`` is of the times of the readings for D, then I, then the tilt; ``f_nt`` are readings of F on
    the pillar, none when F is not known, and ``at_f`` is the variation at their times.
    """

    variation: Variation
    f_nt: Floats
    at_f: Variation

    def without(self, place: int) -> Conditions:
        """The same of one reading less."""
        values = np.delete(self.variation.values, place, axis=0)
        return replace(self, variation=replace(self.variation, values=values))


@dataclass(frozen=True, eq=False)
class Solution:
    """Unknowns in the order of ``UNKNOWNS`` with standard errors, and what is left of each reading in nT.

    ``scale`` is field found over field read, from the tilt; NaN when there was none. Without F, f and the
    offsets are NaN.
    """

    unknowns: Floats
    errors: Floats
    left_nt: Floats
    scale: float

    @property
    def rms_nt(self) -> float:
        return float(np.sqrt(np.mean(self.left_nt**2)))


def standing(measurement: Measurement, f_nt: Floats | None = None) -> Conditions:
    """Conditions of a field that does not change."""
    values = np.zeros(0) if f_nt is None else f_nt
    return Conditions(still(sum(_counts(measurement))), values, still(len(values)))


def solve(measurement: Measurement, conditions: Conditions) -> Solution:
    """Least squares over all readings. ``measurement`` must have four positions for D and four for I."""
    where = geometry(measurement)
    shown = _shown(measurement)
    knows_f = conditions.f_nt.size > 0
    if not knows_f and shown.any():
        raise SheetError(
            f"{measurement.name}: readings of the residual method need F; give a scalar, or PPM lines",
            source=measurement.source,
        )
    unknowns, jacobian, left = _solved(measurement, where, shown, conditions, np.eye(len(UNKNOWNS)))
    count = len(shown)
    errors = _errors(measurement, unknowns[TOTAL], jacobian[:count], left[:count])
    errors[TOTAL] = _error_of_mean(left[count:])
    scale = _scale(measurement, where, unknowns, conditions)
    left_nt = left[:count]
    if not knows_f:
        for place in (TOTAL, OFFSET_D, OFFSET_I):
            unknowns[place] = errors[place] = np.nan
        left_nt = np.full(count, np.nan)
    return Solution(unknowns, errors, left_nt, scale)


def disagreement(measurement: Measurement, conditions: Conditions) -> float:
    """rms in nT of the readings when one offset and one epsilon must do for D and I: what a swap spoils."""
    where, shown = geometry(measurement), _shown(measurement)
    try:
        _, _, left = _solved(measurement, where, shown, conditions, _SPREAD)
    except (SheetError, np.linalg.LinAlgError):
        return float("inf")
    return float(np.sqrt(np.mean(left[: len(shown)] ** 2)))


def _solved(
    measurement: Measurement, where: Geometry, shown: Floats, conditions: Conditions, spread: Floats
) -> tuple[Floats, Floats, Floats]:
    """Gauss-Newton: unknowns, Jacobian and observed minus predicted at the solution."""
    f_nt = float(conditions.f_nt.mean()) if conditions.f_nt.size else _F_OF_NOWHERE
    observed = np.concatenate([shown, conditions.f_nt])
    variation = conditions.variation.part(slice(len(shown)))

    def model(unknowns: Floats) -> tuple[Floats, Floats]:
        shown_nt, derivatives = predicted(unknowns, where, variation)
        if not conditions.f_nt.size:
            return shown_nt, derivatives
        by_three = np.zeros((conditions.f_nt.size, len(UNKNOWNS)))
        by_three[:, : TOTAL + 1] = differences(total, unknowns[: TOTAL + 1])
        return (
            np.concatenate([shown_nt, total(unknowns[: TOTAL + 1])]),
            np.concatenate([derivatives, by_three]),
        )

    def total(three: Floats) -> Floats:
        return np.asarray(np.linalg.norm(conditions.at_f.vectors(three[0], three[1], three[2]), axis=1))

    free = spread if conditions.f_nt.size else np.delete(spread, TOTAL, axis=1)
    unknowns = first_guess(measurement, where, f_nt)
    for _ in range(_ROUNDS):
        found, jacobian = model(unknowns)
        left = observed - found
        # In units of the steps, so that nT and radians weigh alike in what counts as singular.
        scaled = jacobian @ (free * _STEP[:, None])
        step, _, rank, _ = np.linalg.lstsq(scaled, left, rcond=1e-9)
        if rank < free.shape[1]:
            raise SheetError(
                f"{measurement.name}: the positions do not determine D, I and the theodolite's errors",
                source=measurement.source,
            )
        change = free @ step * _STEP
        unknowns = unknowns + change
        if np.max(np.abs(change / _STEP)) < _SMALL:
            break
    else:
        raise SheetError(
            f"{measurement.name}: no fit after {_ROUNDS} rounds; readings contradict each other",
            source=measurement.source,
        )
    # Gauss-Newton ends with a step of no size: what it was taken from is what it led to.
    left = left - jacobian @ change
    unknowns[[DEC, INC]] = np.radians(within(np.degrees(unknowns[[DEC, INC]]), 360.0))
    return unknowns, jacobian, left


def _errors(measurement: Measurement, f_nt: float, jacobian: Floats, left: Floats) -> Floats:
    """Standard errors of all unknowns but F.

    From the scatter of the readings, at least their last digit, and from how well the circles are read,
    which the readings of the mark show. Null readings scatter by that too, pairs of residuals in one setting
    do not; but those for I have one reading to spare, which may fit by chance.
    """
    free = np.delete(np.arange(len(UNKNOWNS)), TOTAL)
    circle_deg = _circle_error_deg(measurement)
    residual = measurement.method == "residual"
    digit = _RESIDUAL_STEP_NT if residual else f_nt * np.radians(measurement.circle_step_deg)
    spare = len(left) - len(free)
    scatter = np.sqrt(np.sum(left**2) / spare) if spare > 0 else 0.0
    inverse = np.linalg.pinv(jacobian[:, free] * _STEP[free])
    errors = np.full(len(UNKNOWNS), np.nan)
    errors[free] = max(scatter, digit / np.sqrt(12)) * np.linalg.norm(inverse, axis=1) * _STEP[free]
    circle = np.radians(circle_deg)
    errors[INC] = np.hypot(errors[INC], circle / 2)
    errors[DEC] = np.hypot(errors[DEC], circle / 2) if residual else max(errors[DEC], circle / 2)
    errors[DEC] = np.hypot(errors[DEC], circle / np.sqrt(len(measurement.of("mark"))))
    return errors


def _circle_error_deg(measurement: Measurement) -> float:
    """Scatter of one reading of the circle, from the readings of the mark in each face."""
    marks = measurement.of("mark")
    faces = [marks["horizontal_deg"][marks["position"] == face] for face in MARKS]
    differences = [within(face - face[0], 360.0) for face in faces if face.size]
    spare = sum(len(face) - 1 for face in differences)
    squares = sum(float(np.sum((face - face.mean()) ** 2)) for face in differences)
    digit: float = measurement.circle_step_deg / np.sqrt(12)
    return max(float(np.sqrt(squares / spare)), digit) if spare > 0 else digit


def _error_of_mean(left: Floats) -> float:
    if not left.size:
        return float("nan")
    scatter = np.std(left, ddof=1) if left.size > 1 else 0.0
    return max(float(scatter / np.sqrt(left.size)), _F_STEP_NT)


def _scale(measurement: Measurement, where: Geometry, unknowns: Floats, conditions: Conditions) -> float:
    """Field found over field read: how much more the sensor should show tilted than before, over what it did.

    Compared with the readings of the setting that it was tilted from, the nearest in both circles.
    """
    tilt, for_i = measurement.of("scale"), measurement.of("inclination")
    if not len(tilt) or not conditions.f_nt.size:
        return float("nan")
    apart = np.abs(within(for_i["vertical_deg"] - tilt["vertical_deg"][0], 360.0))
    near = apart < apart.min() + 1e-9
    if not _LEAST_TILT_DEG < apart.min() < _MOST_TILT_DEG:  # no tilt, as in sheets that repeat the last line
        return float("nan")
    field = conditions.variation.vectors(*unknowns[: TOTAL + 1])
    count = len(where.azimuth_d)
    turned = where.azimuth_i[near][0] + where.meridian[near][0] * meridian(field, where)
    vertical = np.radians([*for_i["vertical_deg"][near], tilt["vertical_deg"][0]])
    axes = directions(np.full(len(vertical), turned), vertical)
    axis = axes[0] + unknowns[DELTA] * axes[1] + unknowns[EPSILON_I] * axes[2]
    rows = [*np.flatnonzero(near) + count, count + len(for_i)]
    found = np.sum(field[rows] * axis, axis=1)
    read = np.array([*for_i["residual_nt"][near], tilt["residual_nt"][0]])
    change = read[-1] - read[:-1].mean()
    return float((found[-1] - found[:-1].mean()) / change) if change else float("nan")


_LEAST_TILT_DEG, _MOST_TILT_DEG = 0.03, 1.0


def _shown(measurement: Measurement) -> Floats:
    return np.concatenate([measurement.of(kind)["residual_nt"] for kind in ("declination", "inclination")])


def _counts(measurement: Measurement) -> list[int]:
    return [len(measurement.of(kind)) for kind in ("declination", "inclination", "scale")]


def uncorrected(conditions: Conditions) -> Conditions:
    """The same F in a field that stands still."""
    return replace(
        conditions,
        variation=still(len(conditions.variation.values)),
        at_f=still(len(conditions.at_f.values)),
    )
