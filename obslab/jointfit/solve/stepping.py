"""One Gauss-Newton step of mappings and terms, the stars eliminated: by conjugate gradients, else by the
dense matrix."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.solve import dense, precondition
from obslab.jointfit.solve.conjugate import conjugate_gradients
from obslab.jointfit.solve.squares import scales

if TYPE_CHECKING:
    from obslab.jointfit.solve.solver import Solver

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
CG_TOLERANCE = 1e-3
"""Reduction of the residual in a step: more accuracy would be lost to the next linearisation."""
SMALL_SIGMA = 1e-3
CG_FAILED = 0.1
"""With more than this of the right side left over, conjugate gradients have failed."""
CG_MOST = {"SharedFactor": 60, "BlockFactor": 400}
EXACT_RIDGES = (1e-12, 1e-9, 1e-6)
"""Of the diagonal: the first holds directions that the data leave open, the others what rounding makes
negative."""


def gauss_newton(solver: Solver) -> tuple[Floats, Floats, float, int]:
    """-> step of coefficients and terms, step of the stars, size in sigma of all parameters together,
    products."""
    solver.terms.linearise(solver)
    right = -solver.gradient()
    if not solver.free.any():
        return right * 0, solver.star_step.copy(), _star_sigma(solver), 0
    if solver.dense:
        x = _exact(solver, right, np.zeros(len(right)))
        size, products = float(np.sqrt(np.maximum(right @ x, 0))), 0
    else:
        x, size, products = _fast(solver, right)
    solver.forward(x)
    return x, solver.star_step + solver.settled, size, products


def _fast(solver: Solver, right: Floats) -> tuple[Floats, float, int]:
    """The step by conjugate gradients, its size in sigma, and products; by the dense matrix where they
    fail."""
    if solver.factor is None:
        solver.factor = precondition.make(solver.problem, solver.linear.seen, solver.active, solver.inverse)
    factor, free, terms = solver.factor, solver.free, solver.terms
    cut = len(right) - terms.count

    def preconditioned(vector: Floats) -> Floats:
        masked = np.where(free, vector, 0)
        out = np.concatenate([factor.solve(masked[:cut]), masked[cut:] * terms.inverse_diagonal])
        out[~free] = 0
        return out

    done = conjugate_gradients(
        solver.product, preconditioned, right, tolerance=CG_TOLERANCE, small=solver.small_sigma,
        most=CG_MOST[type(factor).__name__],
    )  # fmt: skip
    if done.last <= max(CG_FAILED * done.first, solver.small_sigma):
        return done.x, done.first, done.products
    log.info("conjugate gradients did not converge: exact dense step")
    return _exact(solver, right, done.x), done.first, done.products


def _exact(solver: Solver, right: Floats, otherwise: Floats) -> Floats:
    """The step by the dense matrix; ``otherwise`` where it is too large: that one goes downhill as well."""
    from scipy import linalg

    free = solver.free
    try:
        matrix = solver.reduced()[np.ix_(free, free)]
    except dense.TooLargeError as error:
        log.warning("the step of the conjugate gradients is taken as it is: %s", error)
        return otherwise
    solver.exact_steps += 1
    norm = scales(np.diag(matrix))
    scaled = matrix / norm[:, None] / norm
    out = np.zeros(len(right))
    for ridge in EXACT_RIDGES:
        try:
            factor = linalg.cho_factor(scaled + ridge * np.eye(len(norm)), lower=True, check_finite=False)
        except linalg.LinAlgError:
            continue
        out[free] = linalg.cho_solve(factor, right[free] / norm, check_finite=False) / norm
        return out
    log.warning("the exact matrix is not positive: the step of the conjugate gradients is taken as it is")
    return otherwise


def _star_sigma(solver: Solver) -> float:
    """Size of the stars' own steps, in sigma, when nothing else moves."""
    variance = np.einsum("kii->ki", solver.inverse)
    ratio = np.where(variance > 0, solver.star_step**2 / np.maximum(variance, 1e-300), 0.0)
    return float(np.sqrt(ratio.sum() / solver.problem.star_parameters))
