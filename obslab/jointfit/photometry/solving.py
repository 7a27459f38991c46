"""The fit: passes over the points until neither the terms nor the set of rejected points moves.

For given rejections the magnitude model is linear. A pass costs little, so the scheme is plain: a first
solution in which all stars count alike and nothing is rejected, then judge and solve by turns. The matrix
changes only as much as points come and go, and an old factor serves while that is little.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.photometry import kernels, passes
from obslab.jointfit.photometry.columns import Columns, Gauge
from obslab.jointfit.photometry.passes import Passes, Sums
from obslab.jointfit.photometry.reduced import Reduced, gradient_equations
from obslab.jointfit.photometry.settings import Progress, Settings

log = logging.getLogger(__name__)
Floats = NDArray[np.float64]

SOFT_MAG = 0.1
"""Added to all errors at first: a bright variable star with an error of 1 mmag must not steer the start."""
_SMALL_STEP = 0.02  # of all terms together, in units of their errors
_FEW_CHANGES = 1e-5
_FREE_TURNS = 8  # after which points only go, and cut and floor stay: then it must end
_STEADY_CUT = 0.01
_STEADY_FLOOR = 0.01
_STEADY_MAG = 1e-5
_NEW_FACTOR = 3e-3  # changed points, as a part of all, after which the matrix is made again


@dataclass
class State:
    """Where a fit stands: all that a warm start needs."""

    terms: Floats
    floor_mag: float
    cut: float
    gauge: Floats | None = None
    """Equations that the terms obey; None until a first matrix shows which gradients are open."""
    open_gradients: tuple[int, ...] = ()
    iterations: list[dict[str, Any]] = field(default_factory=list)
    converged: bool = False
    sums: Sums | None = None
    covariance: Floats | None = None


def start(columns: Columns, gauge: Gauge, settings: Settings, run: Passes) -> State:
    """A first solution in magnitudes, with nothing rejected, and what that says of scale and floor."""
    state = State(np.zeros(len(columns)), settings.floor_mag or 0.0, np.inf)
    sums = run(state.terms, soft_mag=SOFT_MAG, matrix=True)
    reduced = _reduced(state, sums, columns, gauge)
    state.terms = reduced.solve(reduced.factor(columns), sums.right, state.terms)
    sums = run(state.terms, floor_mag=state.floor_mag, verdict=kernels.LOOK, gradient=False)
    if settings.floor_mag is None:
        state.floor_mag = passes.rough_floor(sums)
        if state.floor_mag:
            sums = run(state.terms, floor_mag=state.floor_mag, verdict=kernels.LOOK, gradient=False)
    state.cut = settings.clip**2 * sums.scale
    return state


def iterate(
    state: State, columns: Columns, gauge: Gauge, settings: Settings, run: Passes, progress: Progress | None
) -> None:
    """Judge and solve by turns until converged; ``state`` is updated, and the stars of ``run`` are its."""
    begin = time.perf_counter()
    factor: Any = None
    stale = True
    reduced: Reduced | None = None
    state.converged = False
    for turn in range(settings.maximum_iterations):
        verdict = kernels.FREE if turn < _FREE_TURNS else kernels.STRICT
        sums = run(state.terms, floor_mag=state.floor_mag, cut=state.cut, verdict=verdict, matrix=stale)
        if stale or reduced is None:
            reduced = _reduced(state, sums, columns, gauge)
            factor = reduced.factor(columns)
        step = reduced.solve(factor, sums.right, state.terms)
        size = float(np.sqrt(np.maximum(step @ sums.right, 0.0)))
        state.terms = state.terms + step
        changed = sums.totals[:, kernels.CHANGED].sum() / max(1.0, sums.totals[:, kernels.POINTS].sum())
        cut, floor_mag = state.cut, state.floor_mag
        if turn < _FREE_TURNS:
            cut = settings.clip**2 * sums.scale
            floor_mag = passes.floor(sums) if settings.floor_mag is None else floor_mag
        steady = abs(cut / state.cut - 1) < _STEADY_CUT
        steady = steady and abs(floor_mag - state.floor_mag) <= max(
            _STEADY_FLOOR * state.floor_mag, _STEADY_MAG
        )
        state.converged = size < _SMALL_STEP and changed <= _FEW_CHANGES and steady
        record = _record(sums, columns, state, size, time.perf_counter() - begin)
        state.iterations.append(record)
        log.debug("photometry: %s", record)
        if progress is not None:
            progress(dict(record))
        if state.converged:
            break
        stale = changed > _NEW_FACTOR or not steady
        state.cut, state.floor_mag = cut, floor_mag
    if not state.converged:
        log.warning("photometry did not converge in %d iterations", settings.maximum_iterations)
    if reduced is not None:
        state.covariance = reduced.covariance(factor)
    state.sums = run(
        state.terms, floor_mag=state.floor_mag, cut=state.cut, verdict=kernels.STRICT, gradient=False
    )


def freedom(sums: Sums, terms: int) -> int:
    """Degrees of freedom: points and references that count, less stars and terms."""
    counted = (
        sums.of_fitted(kernels.POINTS) + sums.of_fitted(kernels.REFERENCES) - sums.of_fitted(kernels.STARS)
    )
    return int(counted) - terms


def free_terms(columns: Columns, state: State) -> int:
    """Terms less the equations that they obey."""
    return len(columns) - (0 if state.gauge is None else len(state.gauge))


def _reduced(state: State, sums: Sums, columns: Columns, gauge: Gauge) -> Reduced:
    if state.gauge is None:
        first = Reduced(sums.matrix, sums.diagonal, gauge.equations)
        equations, state.open_gradients = gradient_equations(first, columns, gauge)
        state.gauge = np.concatenate([gauge.equations, equations])
    return Reduced(sums.matrix, sums.diagonal, state.gauge)


def _record(sums: Sums, columns: Columns, state: State, size: float, seconds: float) -> dict[str, Any]:
    return {
        "iteration": len(state.iterations) + 1,
        "chi2": sums.of_fitted(kernels.CHI2) + sums.of_fitted(kernels.REFERENCE_CHI2),
        "dof": freedom(sums, free_terms(columns, state)),
        "rejected": int(sums.totals[:, kernels.REJECTED_POINTS].sum()),
        "step": size,
        "floor_mag": state.floor_mag,
        "seconds": seconds,
    }
