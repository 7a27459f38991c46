"""Jumps: steps that spot baselines show by themselves, as candidates for a person to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.baseline.basis import Floats
from obslab.telemetry.baseline.candidates import Candidates
from obslab.telemetry.baseline.datasets import JUMPS
from obslab.telemetry.baseline.robust import MAD_TO_SIGMA, RESOLUTION, bisquare_weights, spread
from obslab.times import NS_PER_DAY, from_ns

if TYPE_CHECKING:
    import xarray as xr

_LEAST = 3  # spots on each side: two wrong ones of one day are no jump
_REWEIGHTINGS = 8


@dataclass(frozen=True)
class _Jump:
    component: str
    unit: str
    before_ns: int
    after_ns: int
    size: float
    error: float


def find_jumps(
    spots: xr.Dataset, *, significance: float = 6.0, window: int = 10, most: int = 10
) -> xr.Dataset:
    """JUMPS: steps of at least ``significance`` standard errors, those that stand out most first.

    Between any two neighbours a step and a common slope are fitted, robustly, to ``window`` spots on each
    side; the most significant is taken out of the spots, and so on, up to ``most`` in each component.
    Spots that are not used, or were rejected by a fit (by a step they may all be), are as in ``fit``.
    """
    table = Candidates.of(spots)
    days = (table.time_ns - table.time_ns[0]) / NS_PER_DAY
    found = []
    for place, (name, unit) in enumerate(zip(table.components, table.units, strict=True)):
        values = table.values[:, place].copy()
        noise = _noise(days, values, RESOLUTION[unit])
        for _ in range(most):
            sizes, errors = _steps(days, values, window, noise)
            best = int(np.argmax(np.abs(sizes) / errors))
            if abs(sizes[best]) < significance * errors[best]:
                break
            around = int(table.time_ns[best - 1]), int(table.time_ns[best])
            found.append(_Jump(name, unit, *around, float(sizes[best]), float(errors[best])))
            values[best:] -= sizes[best]
    found.sort(key=lambda jump: -abs(jump.size) / jump.error)
    before = np.array([jump.before_ns for jump in found], np.int64)
    after = np.array([jump.after_ns for jump in found], np.int64)
    size, error = (np.array([getattr(jump, name) for jump in found], float) for name in ("size", "error"))
    return JUMPS.build(
        component=np.array([jump.component for jump in found], str),
        unit=np.array([jump.unit for jump in found], str),
        time=from_ns(before + (after - before) // 2),
        before=from_ns(before),
        after=from_ns(after),
        size=size,
        error=error,
        significance=np.abs(size) / error,
    )


def _noise(days: Floats, values: Floats, resolution: float) -> float:
    """Scatter of one spot about the line through its neighbours: a jump touches only two of them."""
    if len(values) < 3:
        return np.inf
    left, right = np.diff(days)[:-1], np.diff(days)[1:]
    part = np.where(left + right > 0, left / np.where(left + right > 0, left + right, 1.0), 0.5)
    bend = values[1:-1] - values[:-2] * (1 - part) - values[2:] * part
    return max(spread(bend / np.sqrt(1 + part**2 + (1 - part) ** 2)), resolution)


def _steps(days: Floats, values: Floats, window: int, noise: float) -> tuple[Floats, Floats]:
    """Size and error of a step before each spot; 0 with error 1 where it cannot be told.

    All windows are solved at once: rows are places, columns the spots of a window, absent ones masked.
    """
    count = len(values)
    sizes, errors = np.zeros(count), np.ones(count)
    place = np.arange(_LEAST, count - _LEAST + 1)
    place = place[days[place] > days[place - 1]] if place.size else place
    if not place.size:
        return sizes, errors
    index = place[:, None] + np.arange(-window, window)
    there = (index >= 0) & (index < count)
    index = np.clip(index, 0, count - 1)
    y, after = values[index], np.broadcast_to(np.arange(-window, window) >= 0, index.shape)
    span = np.maximum(days[index].max(1) - days[index].min(1), 1e-9)
    design = np.stack([np.ones(y.shape), (days[index] - days[place][:, None]) / span[:, None], after], axis=2)
    sides = [
        np.nanmedian(np.where(there & side, y, np.nan), axis=1, keepdims=True) for side in (~after, after)
    ]
    left = y - np.where(after, sides[1], sides[0])
    for _ in range(_REWEIGHTINGS):
        scatter = _row_spread(left, there, noise)
        weights = bisquare_weights(left / scatter) * there
        gram = np.einsum("pij,pi,pik->pjk", design, weights, design) + np.diag([0, 1e-12, 0])
        aim = np.einsum("pij,pi,pi->pj", design, weights, y)
        solved = np.linalg.solve(gram, aim[:, :, None])[:, :, 0]
        left = y - np.einsum("pij,pj->pi", design, solved)
    scatter = _row_spread(left, there, noise)[:, 0]
    sizes[place] = solved[:, 2]
    errors[place] = scatter * np.sqrt(np.linalg.inv(gram)[:, 2, 2])
    return sizes, errors


def _row_spread(left: Floats, there: NDArray[np.bool_], noise: float) -> Floats:
    middle = np.nanmedian(np.where(there, np.abs(left), np.nan), axis=1, keepdims=True)
    return np.asarray(np.maximum(MAD_TO_SIGMA * middle, noise))
