"""The iterations: Gauss-Newton steps with a line search, and outliers judged in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.solve.solver import Solver
from obslab.jointfit.solve.stars import COME_BACK

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
MEDIAN_OF_TWO = 1.386
"""Median of chi2 with two degrees of freedom."""
LEAST_ABSORBED = 0.3
"""Share of the measurements' chi2 that the fit leaves, at least: where nearly all of it is freedom, it tells
little."""
STEADY = 0.02
"""The cut moves only when it changes by more, so that verdicts settle."""
SETTLED_AFTER = 4
"""Iterations after which nothing that was rejected comes back."""
HALVINGS = 6
SMALL = 0.01
"""Of the tolerance: what the conjugate gradients of one step may leave."""
WORSE = 1e-6


class CancelledError(ObslabError):
    """The progress callback asked to stop."""


class DivergedError(ObslabError, ArithmeticError):
    """A fit whose chi2 grows along the Gauss-Newton direction, or is not a number."""


@dataclass(frozen=True)
class Iteration:
    """What ``progress`` is told after each iteration.

    ``used`` measurements count, ``rejected`` ones are outliers; ``changed`` verdicts differ from before.
    ``step_sigma`` is the size of the step in standard errors of all parameters together, ``products`` how
    many with the matrix it took.
    """

    stage: str
    number: int
    chi2: float
    degrees_of_freedom: int
    used: int
    rejected: int
    changed: int
    step_sigma: float
    products: int
    halvings: int
    seconds: float

    def asdict(self) -> dict[str, Any]:
        return asdict(self)


Progress = Callable[[Iteration], Any]


@dataclass(frozen=True)
class Control:
    """When to stop, and what is an outlier. ``clip_sigma`` 0: none."""

    clip_sigma: float = 5.0
    tolerance_sigma: float = 0.1
    most: int = 25
    flicker: float = 1e-5


def minimise(
    solver: Solver, control: Control, *, stage: str = "", cut: float = 0.0, progress: Progress | None = None
) -> tuple[list[Iteration], float]:
    """Iterate to convergence: a step below ``tolerance_sigma`` of all parameters together and verdicts at
    rest.

    ``cut`` is that of an earlier fit, for a warm start. -> iterations, cut.
    """
    solver.weigh = True
    solver.small_sigma = SMALL * control.tolerance_sigma
    solver.residuals(_suspect(cut))
    done: list[Iteration] = []
    offered = int(np.count_nonzero(solver.problem.weight[0] > 0))
    for number in range(control.most):
        begin = time.perf_counter()
        where = f"iteration {number}{' of stage ' + stage if stage else ''}"
        cut = _cut(solver, control, cut, number)
        solver.linearise()
        solver.solve_stars(cut, COME_BACK if number < SETTLED_AFTER else 0.0)
        changed = solver.changed
        settled = changed <= control.flicker * max(solver.used, 1)
        step, stars, sigma, products = solver.step()
        if not (np.isfinite(solver.objective) and np.isfinite(sigma) and np.all(np.isfinite(step))):
            raise DivergedError(
                f"the fit has a chi2 of {solver.objective:.6g} and a step of {sigma:.3g} sigma at {where}; "
                "are all positions numbers and all errors positive?"
            )
        try:
            halvings = _descend(solver, step, stars, cut, where)
        except DivergedError:
            if solver.dense:
                raise
            # One Jacobian an image is too simple where the data hardly hold a mapping: with all of them,
            # then.
            log.info("no step downhill at %s: exact dense steps from here", where)
            solver.dense = True
            step, stars, sigma, products = solver.step()
            halvings = _descend(solver, step, stars, cut, where)
        done.append(
            Iteration(
                stage, number, solver.chi2, solver.degrees_of_freedom, solver.used,
                offered - solver.used, changed, sigma, products, halvings, time.perf_counter() - begin,
            )
        )  # fmt: skip
        if progress is not None and progress(done[-1]) is False:
            raise CancelledError(f"the fit was cancelled at iteration {number}", iteration=number)
        judged = number > 0 or cut > 0 or control.clip_sigma <= 0
        if settled and judged and _near(done, control.tolerance_sigma):
            return done, cut
    if done:
        log.warning(
            "the fit did not converge in %d iterations: the last step was %.3g sigma, %d verdicts changed",
            len(done), done[-1].step_sigma, done[-1].changed,
        )  # fmt: skip
    return done, cut


def _near(done: list[Iteration], tolerance_sigma: float) -> bool:
    """Whether what is left to go is below the tolerance: the last step was, or the next one would be far so.

    Near the solution a Gauss-Newton step is to the one before as that was to its own, or smaller.
    """
    last = done[-1].step_sigma
    if last < tolerance_sigma:
        return True
    if len(done) < 2 or last > 1 or done[-1].halvings:
        return False
    return last * last / done[-2].step_sigma < 0.1 * tolerance_sigma


def _descend(solver: Solver, step: Floats, stars: Floats, cut: float, where: str) -> int:
    """Move by the step, or half of it, or half of that, so that chi2 does not grow; -> how often it was
    halved."""
    before, best = solver.state, solver.objective
    for halvings in range(HALVINGS + 1):
        solver.state = before.moved(step, stars, 0.5**halvings)
        solver.residuals(_suspect(cut))
        if solver.objective <= best * (1 + WORSE) + 1e-9:
            return halvings
    worse = solver.objective
    solver.state = before
    solver.residuals(_suspect(cut))
    raise DivergedError(
        f"the fit got worse along its own direction: chi2 {best:.6g} became {worse:.6g} at {where}; are "
        "the errors of the measurements in pixels, does the rough WCS hold, and do the data determine every "
        "mapping?"
    )


def _cut(solver: Solver, control: Control, cut: float, number: int) -> float:
    """Above this chi2 is an outlier. It follows the median down while the fit improves; the first pass has
    none.

    The median of what is left of chi2 tells how much too small the stated errors are, if they are.
    """
    if control.clip_sigma <= 0 or (number == 0 and cut == 0):
        return 0.0
    left = max(solver.degrees_of_freedom / max(2 * solver.used, 1), LEAST_ABSORBED)
    wanted = control.clip_sigma**2 * max(1.0, solver.median / (MEDIAN_OF_TWO * min(left, 1.0)))
    if cut and abs(wanted / cut - 1) <= STEADY:
        return cut
    solver.residuals(_suspect(wanted))
    return wanted


def _suspect(cut: float) -> float:
    """Stars with a measurement above this are looked at: half the cut, for those that pull their star."""
    return 0.5 * cut if cut > 0 else np.inf
