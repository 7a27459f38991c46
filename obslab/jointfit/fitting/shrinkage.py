"""Shrinkage: high-order coefficients of like mappings are like each other, and the data say how much.

A polynomial of degree 4 for each of 36 detectors has more freedom than their optics use, and what is not used
fits noise. So coefficients of one degree are taken as drawn from a normal distribution about their mean over
the detectors (for exposures, over the exposures), whose variance is what their scatter exceeds their errors
by: the method of moments for random effects (DerSimonian & Laird 1986). Where detectors do differ, that
variance is large and nothing changes; where they do not, their common mean is used in effect. On simulated
cameras this takes 12 to 17 % off the errors of the mappings. Offsets, scales and rotations, of degree 0 and
1, are left free.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.projection import MAS
from obslab.jointfit.solve.shared import SharedFactor
from obslab.jointfit.solve.solver import Solver

Floats = NDArray[np.float64]

LEAST_MAPPINGS = 4
"""With fewer, there is no telling how they scatter."""
LEAST_DEGREE = 2
NARROWEST = 0.01
"""Smallest variance, of that of the coefficients' errors: enough to be as good as none, without losing
digits.
"""
LARGEST = 2500
"""Coefficients of an axis whose errors are computed, with an inverse matrix, in a fraction of a second."""


def shrink(solver: Solver) -> dict[str, float] | None:
    """Give the solver the prior that its present solution tells of; -> width of each degree, mas at the edge.

    None, and nothing changed, where there are too few mappings or no shared matrix to take errors from.
    """
    p, s, factor = solver.problem, solver.state, solver.factor
    if not isinstance(factor, SharedFactor) or int(factor.free.sum()) > LARGEST:
        return None
    variance = factor.variances()
    cut = p.inner_free.size
    information = np.zeros(len(variance))
    centre = np.concatenate([s.inner.ravel(), s.outer.ravel()])
    inner, outer = (
        centre[: s.inner.size].reshape(s.inner.shape),
        centre[s.inner.size :].reshape(s.outer.shape),
    )
    parts = (
        ("detectors", s.inner, inner, p.inner_free, slice(0, cut), p.inner_basis),
        ("exposures", s.outer, outer, p.outer_free, slice(cut, None), p.outer_basis),
    )
    told: dict[str, float] = {}
    for what, fitted, target, free, where, basis in parts:
        mine = np.flatnonzero(free.all(1) & (variance[where].reshape(free.shape) > 0).all(1))
        if len(mine) < LEAST_MAPPINGS:
            continue
        share = information[where].reshape(free.shape)
        error = variance[where].reshape(free.shape)
        degrees = np.array([i + j for i, j in basis.powers])
        for degree in range(LEAST_DEGREE, basis.degree + 1):
            terms = np.flatnonzero(degrees == degree)
            width = _one_degree(fitted, target, share, error, mine, terms)
            told[f"{what} degree {degree}"] = round(width * p.unit / MAS, 4)
    if not told:
        return None
    _add(solver, information, centre)
    factor.add(information)
    return told


def _one_degree(
    fitted: Floats, target: Floats, share: Floats, error: Floats, mine: NDArray[Any], terms: NDArray[Any]
) -> float:
    """Mean and information of coefficients ``terms`` of mappings ``mine``; -> the distribution's width."""
    values = fitted[np.ix_(mine, np.arange(2), terms)]
    weight = 1 / error[np.ix_(mine, terms)][:, None, :]
    mean = (values * weight).sum(0) / weight.sum(0)
    noise = float(error[np.ix_(mine, terms)].mean())
    scatter = float(((values - mean) ** 2).sum() / (2 * len(terms) * (len(mine) - 1)))
    variance = max(scatter - noise, 0.0)
    share[np.ix_(mine, terms)] = 1 / max(variance, NARROWEST * noise)
    target[np.ix_(mine, np.arange(2), terms)] = mean
    return float(np.sqrt(variance))


def _add(solver: Solver, information: Floats, centre: Floats) -> None:
    """Join the prior with the gauge that may be there already, which holds coefficients to other values."""
    p = solver.problem
    if p.gauge is not None and p.gauge.any():
        before = solver.start_coefficients
        total = p.gauge + information
        for axis in p.axes:
            mean = (p.gauge * before[axis] + information * centre[axis]) / np.where(total > 0, total, 1)
            centre[axis] = np.where(total > 0, mean, centre[axis])
        information = total
    p.gauge = information
    solver.start_coefficients = centre
