"""Robust: which spots do not belong to the curve that the others make."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.baseline.basis import Floats, Nanoseconds

RESOLUTION = {"nT": 0.01, "deg": 3e-5}
"""Scatter less than this is not seen in a theodolite: 0.1 second of arc; spots that agree so well that a
multiple of their scatter means nothing are not rejected for it."""

TYPICAL = {"nT": 0.5, "deg": 1.5e-3}
"""Error of a spot when no spot has one: 5 seconds of arc."""

MAD_TO_SIGMA = 1.4826  # of a normal distribution

_ALL_PAIRS = 200
_NEIGHBOURS = 3  # on each side: the median of seven is moved by no group of three
_BISQUARE = 4.685  # 95 % efficient for a normal distribution
_LEAST = 1e-3
_FEW = 4.0  # halves the good spots rejected at 4 sigma when there are 20


def spread(values: Floats) -> float:
    """Standard deviation by the median of absolute values: half of the values may be anything."""
    return MAD_TO_SIGMA * float(np.median(np.abs(values))) if values.size else 0.0


def usable_errors(errors: Floats, unit: str) -> Floats:
    """Errors to weigh by: half the median at least, so no spot outweighs four; the median where unknown."""
    known = np.isfinite(errors) & (errors > 0)
    if not known.any():
        return np.full(errors.shape, TYPICAL[unit])
    median = max(float(np.median(errors[known])), RESOLUTION[unit])
    return np.maximum(np.where(known, errors, median), median / 2)


def first_weights(time_ns: Nanoseconds, values: Floats, break_ns: Nanoseconds, resolution: float) -> Floats:
    """Weights to begin with, near 0 for what is far from a running median about a line, between two breaks.

    The line is that of Theil and Sen, the median of the slopes between halves: without it the ends of few
    spots that drift would be far from the median, and a wrong one among them would not stand out.
    """
    from scipy.signal import medfilt

    left = values.copy()
    group = np.searchsorted(break_ns, time_ns, side="right")
    for number in np.unique(group):
        here = np.flatnonzero(group == number)
        left[here] -= _slope(time_ns[here], values[here]) * (time_ns[here] - time_ns[here[0]])
        own = np.pad(left[here], _NEIGHBOURS, mode="reflect" if len(here) > _NEIGHBOURS else "edge")
        left[here] -= medfilt(own, 2 * _NEIGHBOURS + 1)[_NEIGHBOURS:-_NEIGHBOURS]
    return bisquare(left, resolution)


def _slope(time_ns: Nanoseconds, values: Floats) -> float:
    """Median of the slopes between all pairs, of many spots between those half of them apart only."""
    count = len(values)
    first, second = np.triu_indices(count, 1)
    if count > _ALL_PAIRS:
        first = np.arange(count - count // 2)
        second = first + count // 2
    apart = time_ns[second] - time_ns[first]
    rising = (values[second] - values[first])[apart > 0]
    return float(np.median(rising / apart[apart > 0])) if rising.size else 0.0


def bisquare(residuals: Floats, resolution: float) -> Floats:
    """Tukey's weights in units of the spread; never quite 0, so that the curve stays determined."""
    return bisquare_weights(residuals / max(spread(residuals), resolution))


def bisquare_weights(far: Floats) -> Floats:
    """Tukey's weights of residuals in standard deviations."""
    part = far / _BISQUARE
    return np.maximum(np.where(np.abs(part) < 1, (1 - part**2) ** 2, 0.0), _LEAST)


def sigmas(
    residuals: Floats,
    errors: Floats,
    leverage: Floats,
    taken: NDArray[np.bool_],
    freedom: float,
    resolution: float,
) -> Floats:
    """Each residual by its own standard deviation, found from the spread of those ``taken``.

    A curve bends towards what it was fitted to (1 - h) and misses by its own error what it was not (1 + h).
    The spread of few is not well known: with 16 degrees of ``freedom`` it is taken a quarter larger.
    """
    h = leverage / errors**2
    own = errors * np.sqrt(np.where(taken, 1 - np.minimum(h, 0.9), 1 + h))
    scale = spread((residuals / own)[taken]) * (1 + _FEW / max(freedom, 1.0))
    return np.asarray(residuals / np.maximum(scale * own, resolution))
