"""What the priors of stars add to chi2, and how many numbers a star's fit takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.solve.problem import MOTION, PARALLAX, POSITION, Problem, State

Floats = NDArray[np.float64]


def reference_chi2(problem: Problem, state: State, which: NDArray[np.bool_] | None = None) -> float:
    """chi2 of the stars' places, motions and parallaxes against the priors that count, or those of ``which`` (K,)."""
    size = problem.star_parameters
    which = problem.reference_on == 1 if which is None else which
    away = np.where(which[:, None], state.stars - problem.prior_at, 0.0)
    rows, columns = np.triu_indices(size)
    twice = np.where(rows == columns, 1.0, 2.0)
    return float(np.einsum("kp,kp,kp,p->", problem.prior, away[:, rows], away[:, columns], twice))


def star_freedom(problem: Problem, inverse: Floats) -> Floats:
    """Numbers fitted for each star (K,), less those its prior gives; ``inverse`` (K, n, n) of the stars' matrices.

    A reference gives a number for each parameter that may move. The wide priors of other stars count by the part
    of the answer that is theirs: the trace of their information and the star's covariance.
    """
    p = problem
    free = p.star_free
    per_star = 2.0 * (free & POSITION > 0)
    if p.star_parameters == 5:
        per_star = per_star + 2 * (free & MOTION > 0) + 1 * (free & PARALLAX > 0)
    diagonal = np.cumsum([0, *range(p.star_parameters, 1, -1)])
    theirs = (p.prior[:, diagonal] * np.einsum("kii->ki", inverse)).sum(1)
    given = np.where(p.measured_prior, per_star, theirs)
    return np.asarray(per_star - np.where(p.reference_on == 1, given, 0.0))
