"""Hyperparameters of one exposure's turbulence, by maximum likelihood on a few hundred of its stars.

A fit to the measured correlation function is quicker, but its lags share their few long waves. On ten
simulated exposures its hyperparameters left 0.3 to 3 % more error than the true ones, by the weighting; these
leave 0.2 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# not within a function: a BLAS that is loaded only then has all its threads, whatever was said before
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from obslab.jointfit.turbulence.von_karman import REACH, VonKarman, table

Floats = NDArray[np.float64]
SAMPLE = 400
"""Stars that are looked at. With 300 the field has 0.5 % more error; 700 take four times as long."""
_STEPS = np.array([0.2, 0.2, 0.3, 0.1, 0.1, 1.0])  # about as well as each is known: the search is quicker


def estimate(
    positions: Floats, residual: Floats, error: Floats, curl: float = 0.5, sample: int = SAMPLE
) -> VonKarman:
    """The most probable VonKarman for residuals (mas) and errors (n, 2) at positions (n, 2), deg.

    Weak priors help where an exposure cannot tell: an outer scale of a third of the field and ``white`` of a
    hundredth of the errors' variance, each within a factor of 4.5, and a shear of 0 +- 0.15; and bounds: an
    outer scale from twice the stars' spacing to four times the field. The axes count as independent, whatever
    ``curl``.
    """
    rough = _Likelihood(*_chosen(positions, residual, error, sample // 3), positions)
    fine = _Likelihood(*_chosen(positions, residual, error, sample), positions)
    start = _most_probable(rough, rough.start)  # saves half the time of the fine search
    start[5] = fine.start[5]  # so few stars are too far apart to tell white from turbulence
    v_xi, v_eta, scale, g1, g2, white = _most_probable(fine, start)
    return VonKarman(
        (float(np.exp(v_xi)), float(np.exp(v_eta))),
        float(np.exp(scale)),
        (float(g1), float(g2)),
        float(np.exp(white)),
        curl,
    )


def _most_probable(likelihood: _Likelihood, start: Floats) -> Floats:
    from scipy.optimize import minimize

    def stepped(steps: Floats) -> tuple[float, Floats]:
        value, slope = likelihood(steps * _STEPS)
        return value, slope * _STEPS

    low, high = likelihood.bounds / _STEPS
    found = minimize(
        stepped,
        np.clip(start / _STEPS, low, high),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([low, high], axis=-1),
        options={"maxiter": 60, "ftol": 1e-5},
    )
    return np.asarray(found.x * _STEPS, np.float64)


def _chosen(positions: Floats, residual: Floats, error: Floats, sample: int) -> tuple[Floats, Floats, Floats]:
    """Stars spread over the better measured half, outliers left out: the same in any order of the rows."""
    typical = np.median(np.abs(residual), axis=0) * 1.4826 + error
    good = np.flatnonzero((np.abs(residual) < 5 * typical).all(1))
    order = good[np.lexsort((positions[good, 1], positions[good, 0], error[good].sum(1)))]
    better = order[: max(sample, len(order) // 2)]
    rows = better[:: max(1, len(better) // sample)][:sample]
    return np.ascontiguousarray(positions[rows]), residual[rows], error[rows]


class _Likelihood:
    """Minus the log posterior and its gradient, at ln variances, ln outer scale, shears, ln white."""

    def __init__(self, positions: Floats, residual: Floats, error: Floats, field: Floats) -> None:
        self.positions, self.residual, self.noise = positions, residual, error**2
        extent = float(np.ptp(field, axis=0).max())
        spacing = extent / np.sqrt(len(field))
        noise = float(np.median(self.noise))
        seen = (1.4826 * np.median(np.abs(residual), axis=0)) ** 2
        # from a start that calls noise turbulence the search ends in a field of a tiny outer scale
        white = max(_unlike_neighbour(positions, residual) - noise, 0.3 * noise)
        variance = np.maximum(seen - noise - white, 0.05 * noise)
        self.middle = np.array([0, 0, np.log(extent / 3), 0, 0, np.log(0.01 * noise)])
        self.width = np.array([np.inf, np.inf, 1.5, 0.15, 0.15, 1.5])
        self.start = np.array([*np.log(variance), np.log(extent / 3), 0, 0, np.log(white)])
        low, high = np.log(1e-4 * noise), np.log(1e4 * (seen.max() + noise))
        short, long = np.log(max(2 * spacing, extent / 100)), np.log(4 * extent)
        self.bounds = np.array([[low, low, short, -0.6, -0.6, low], [high, high, long, 0.6, 0.6, high]])

    def __call__(self, at: Floats) -> tuple[float, Floats]:
        variance, scale, white = np.exp(at[:2]), float(np.exp(at[2])), float(np.exp(at[5]))
        count, (_, values, slopes) = len(self.positions), table()
        correlation = np.zeros((count, count), order="F")
        _correlate(self.positions, 2 * np.pi / scale, at[3], at[4], values, correlation)
        off = (at - self.middle) / self.width
        total, gradient = 0.5 * float(off @ off), off / self.width
        for axis in range(2):
            covariance = variance[axis] * correlation
            covariance[np.diag_indices(count)] += self.noise[:, axis] + white
            factor, info = dpotrf(covariance, lower=1, overwrite_a=1)
            if info:
                return np.inf, gradient
            total += float(np.log(np.diag(factor)).sum())
            weight, _ = dpotrs(factor, self.residual[:, axis], lower=1)
            inverse, _ = dpotri(factor, lower=1, overwrite_c=1)
            sums = np.zeros(4)
            total += 0.5 * float(self.residual[:, axis] @ weight)
            _slope(
                self.positions, 2 * np.pi / scale, at[3], at[4], slopes, correlation, inverse, weight, sums
            )
            gradient[axis] += variance[axis] * sums[0]
            gradient[2:5] += variance[axis] * sums[1:]
            gradient[5] += 0.5 * white * float(np.diag(inverse).sum() - weight @ weight)
        return total, gradient


def _unlike_neighbour(positions: Floats, residual: Floats) -> float:
    """Half the variance (mas2) of the difference from the nearest other star, by the median of squares."""
    from scipy.spatial import cKDTree

    nearest = cKDTree(positions).query(positions, 2)[1][:, 1]
    return float(np.median((residual - residual[nearest]) ** 2) / 0.455 / 2)


@njit(cache=True, nogil=True)
def _place(
    dx: Any, dy: Any, wave: Any, g1: Any, g2: Any, last: Any
) -> tuple[int, float, float]:  # pragma: no cover
    """Where in the table this pair is: its row, and the part of a step beyond; and its sheared square."""
    g = g1 * g1 + g2 * g2
    square = ((1 + g) * (dx * dx + dy * dy) - 2 * g1 * (dx * dx - dy * dy) - 4 * g2 * dx * dy) / (1 - g)
    step = np.sqrt(wave * np.sqrt(square) / REACH) * last
    row = min(int(step), last - 1)
    return row, min(step - row, 1.0), square


@njit(cache=True, nogil=True)
def _correlate(
    positions: Any, wave: Any, g1: Any, g2: Any, values: Any, correlation: Any
) -> None:  # pragma: no cover
    """The lower triangle of the correlation matrix."""
    last = values.size - 1
    for j in range(len(positions)):
        correlation[j, j] = 1.0
        for i in range(j + 1, len(positions)):
            dx, dy = positions[i, 0] - positions[j, 0], positions[i, 1] - positions[j, 1]
            row, part, _ = _place(dx, dy, wave, g1, g2, last)
            correlation[i, j] = values[row] + part * (values[row + 1] - values[row])


@njit(cache=True, nogil=True)
def _slope(
    positions: Any,
    wave: Any,
    g1: Any,
    g2: Any,
    slopes: Any,
    correlation: Any,
    inverse: Any,
    weight: Any,
    sums: Any,
) -> None:  # pragma: no cover
    """Half the traces of (inverse - weight weight') times the correlation matrix, and times its derivatives
    by the logarithm of the scale and by the two shears."""
    last = slopes.size - 1
    g = g1 * g1 + g2 * g2
    for j in range(len(positions)):
        sums[0] += 0.5 * (inverse[j, j] - weight[j] * weight[j])
        for i in range(j + 1, len(positions)):
            dx, dy = positions[i, 0] - positions[j, 0], positions[i, 1] - positions[j, 1]
            row, part, square = _place(dx, dy, wave, g1, g2, last)
            slope = slopes[row] + part * (slopes[row + 1] - slopes[row])
            pair = inverse[i, j] - weight[i] * weight[j]
            sums[0] += pair * correlation[i, j]
            sums[1] -= pair * slope
            if square > 0:
                by_square = pair * slope / square / (1 - g)
                long = dx * dx + dy * dy
                sums[2] += by_square * (g1 * (long + square) - (dx * dx - dy * dy))
                sums[3] += by_square * (g2 * (long + square) - 2 * dx * dy)
