"""What the priors of stars add to chi2, and how many numbers a star's fit takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from obslab.jointfit.solve.problem import MOTION, PARALLAX, POSITION, Problem, State

Floats = NDArray[np.float64]


def reference_chi2(problem: Problem, state: State, which: NDArray[np.bool_] | None = None) -> float:
    """chi2 of the stars' places, motions and parallaxes against the priors that count, or those of ``which``
    (K,)."""
    which = problem.reference_on == 1 if which is None else which
    return float(_sum(problem.prior, problem.prior_at, state.stars, which))


@njit(cache=True, nogil=True, error_model="numpy")
def _sum(prior: Any, at: Any, stars: Any, which: Any) -> float:  # pragma: no cover
    """Sum over the stars of ``which`` of d' P d, P's upper triangle being packed row by row."""
    total = 0.0
    size = stars.shape[1]
    for k in range(len(stars)):
        if not which[k]:
            continue
        m = 0
        for i in range(size):
            away = stars[k, i] - at[k, i]
            for j in range(i, size):
                total += (2.0 if j > i else 1.0) * prior[k, m] * away * (stars[k, j] - at[k, j])
                m += 1
    return total


def star_freedom(problem: Problem, inverse: Floats) -> Floats:
    """Numbers fitted for each star (K,), less those its prior gives; ``inverse`` (K, n, n) of the stars'
    matrices.

    A reference gives a number for each parameter that may move. The wide priors of other stars count by the
    part of the answer that is theirs, squared: their matrices P are diagonal, C is the star's covariance.
    """
    p = problem
    free = p.star_free
    per_star = 2.0 * (free & POSITION > 0)
    if p.star_parameters == 5:
        per_star = per_star + 2 * (free & MOTION > 0) + 1 * (free & PARALLAX > 0)
    on = p.reference_on == 1
    if p.measured_prior[on].all():
        return np.asarray(np.where(on, 0.0, per_star))
    # The residuals of a ridge keep n - 2 tr(H) + tr(H^2); with 1 - H = CP that is n less the parameters plus
    # tr((CP)^2).
    diagonal = p.prior[:, np.cumsum([0, *range(p.star_parameters, 1, -1)])]
    theirs = np.einsum("kij,ki,kj->k", inverse**2, diagonal, diagonal)
    given = np.where(p.measured_prior, per_star, theirs)
    return np.asarray(per_star - np.where(on, given, 0.0))
