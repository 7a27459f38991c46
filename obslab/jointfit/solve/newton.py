"""The iterations: Gauss-Newton steps with a line search, and outliers judged in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from obslab.errors import ObslabError
from obslab.jointfit.solve.solver import Solver
from obslab.jointfit.solve.stars import COME_BACK

MEDIAN_OF_TWO = 1.386
"""Median of chi2 with two degrees of freedom."""
ABSORBED = 0.6
"""A median below this share of that is what the stars' own freedom leaves; above it errors are too small."""
STEADY = 0.02
"""The cut moves only when it changes by more, so that verdicts settle."""
SETTLED_AFTER = 4
"""Iterations after which nothing that was rejected comes back."""
HALVINGS = 6
WORSE = 1e-6


class CancelledError(ObslabError):
    """The progress callback asked to stop."""


class DivergedError(ObslabError, ArithmeticError):
    """A fit whose chi2 grows along the Gauss-Newton direction, or is not a number."""


@dataclass(frozen=True)
class Iteration:
    """What ``progress`` is told after each iteration."""

    stage: str
    number: int
    chi2: float
    degrees_of_freedom: int
    used: int
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
    """Iterate to convergence: a step below ``tolerance_sigma`` of all parameters together and verdicts at rest.

    ``cut`` is that of an earlier fit, for a warm start. -> iterations, cut.
    """
    solver.linearise()
    done: list[Iteration] = []
    solver.residuals(_suspect(cut))
    best = np.inf
    previous: tuple[Any, ...] | None = None
    for number in range(control.most):
        begin = time.perf_counter()
        halvings = 0
        while previous is not None and not solver.objective <= best * (1 + WORSE) + 1e-9:
            halvings += 1
            if halvings > HALVINGS:
                raise DivergedError(
                    f"the fit got worse along its own direction: chi2 {best:.6g} became {solver.objective:.6g} at "
                    f"iteration {number}{' of stage ' + stage if stage else ''}; are the errors of the measurements "
                    "positive and in pixels, and does the rough WCS hold?"
                )
            before, step, stars = previous
            solver.state = before.moved(step, stars, 0.5**halvings)
            solver.residuals(_suspect(cut))
        cut = _cut(solver, control, cut, number)
        solver.solve_stars(cut, COME_BACK if number < SETTLED_AFTER else 0.0)
        changed = solver.changed
        settled = abs(changed) <= control.flicker * max(solver.used, 1)
        best = solver.objective
        solver.linearise()
        step, stars, sigma, products = solver.step()
        if not np.isfinite(sigma) or not np.all(np.isfinite(step)):
            raise DivergedError(f"the fit produced a step that is not a number at iteration {number}")
        previous = (solver.state, step, stars)
        solver.accept(step, stars)
        solver.residuals(_suspect(cut))
        done.append(
            Iteration(
                stage, number, solver.chi2, solver.degrees_of_freedom, solver.used,
                changed, sigma, products, halvings, time.perf_counter() - begin,
            )
        )  # fmt: skip
        if progress is not None and progress(done[-1]) is False:
            raise CancelledError(f"the fit was cancelled at iteration {number}", iteration=number)
        if sigma < control.tolerance_sigma and settled and (number > 0 or cut > 0 or control.clip_sigma <= 0):
            break
    return done, cut


def _cut(solver: Solver, control: Control, cut: float, number: int) -> float:
    """Above this chi2 is an outlier. It follows the median down while the fit improves; the first pass has none."""
    if control.clip_sigma <= 0 or (number == 0 and cut == 0):
        return 0.0
    wanted = control.clip_sigma**2 * max(1.0, solver.median / MEDIAN_OF_TWO / ABSORBED)
    if cut and abs(wanted / cut - 1) <= STEADY:
        return cut
    solver.residuals(_suspect(wanted))
    return wanted


def _suspect(cut: float) -> float:
    """Stars with a measurement above this are looked at: half the cut, for those that pull their star."""
    return 0.5 * cut if cut > 0 else np.inf
