"""One astrometric fit from start to end: stages, held-out stars, floors, everything."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.fitting import floors, holdout, stages
from obslab.jointfit.fitting.assembling import Assembled
from obslab.jointfit.fitting.shrinkage import shrink
from obslab.jointfit.mapping.layout import Layout
from obslab.jointfit.solve.newton import Control, Iteration, Progress, minimise
from obslab.jointfit.solve.problem import POSITION
from obslab.jointfit.solve.solver import Solver

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FLOOR_ROUNDS = 4
FLOOR_STEADY = 0.01
"""Rounds end when no floor changes by more, as a fraction of itself."""
LOOSE_SIGMA, LOOSE_FLICKER = 1.0, 1e-4
"""Where the fit without held-out stars ends: the one with them goes on from there."""


@dataclass
class Outcome:
    """What a run leaves: the solver at its solution, and the story of how it got there."""

    solver: Solver
    fitted: Bools
    """Coefficients and terms that any stage moved: the parameters, also where the last stage kept them."""
    cut: float = 0.0
    iterations: list[Iteration] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    """Stages that ran out of iterations."""
    held_out: dict[str, Any] | None = None
    held_stars: Bools | None = None
    floor_mas: Floats | None = None
    shrunk: dict[str, float] | None = None
    """Width, mas at the edge, of the distribution of each degree's coefficients."""
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def degrees_of_freedom(self) -> int:
        """Numbers measured less numbers fitted, in all stages."""
        solver = self.solver
        return solver.degrees_of_freedom + int(solver.free.sum()) - int(self.fitted.sum())

    def descend(self, control: Control, stage: str, progress: Progress | None) -> None:
        """Iterate to convergence from where the solver is."""
        self.fitted = self.fitted | self.solver.free
        done, self.cut = minimise(self.solver, control, stage=stage, cut=self.cut, progress=progress)
        self.iterations += done
        if len(done) == control.most and done[-1].step_sigma >= control.tolerance_sigma:
            self.unsettled.append(stage)


def run(
    assembled: Assembled,
    layout: Layout,
    wanted: tuple[frozenset[str], ...],
    control: Control,
    *,
    holdout_fraction: float = 0.1,
    seed: int = 0,
    fit_floor: NDArray[np.int64] | None = None,
    shrinkage: bool = True,
    progress: Progress | None = None,
) -> Outcome:
    """Fit the stages in their order.

    The last stage is fitted without the held-out stars first, judged on them, and then with them; the
    mappings that come out rest on every star. ``fit_floor``: group of each measurement whose error floor is
    fitted.
    """
    with pool.one_blas_thread():
        begin = time.perf_counter()
        solver = Solver(assembled.problem, assembled.state)
        outcome = Outcome(solver, np.zeros(len(solver.free), bool))
        gone = without_data(solver, layout)
        free = assembled.problem.star_free.copy()
        held = holdout.choose(assembled.state.stars[:, :2], holdout_fraction, seed)
        back = _hold_back(solver, held) if held.any() else None
        for number, names in enumerate(wanted):
            stages.apply(names, solver, layout, free, gone)
            if number:
                _judge_anew(solver, outcome)
            more = back is not None and number == len(wanted) - 1 and fit_floor is None
            outcome.descend(_loosely(control) if more else control, stages.label(names, solver), progress)
        if fit_floor is not None:
            _fit_floors(assembled, outcome, control, fit_floor, back and back[0], progress)
        if (
            shrinkage and assembled.problem.gauge is None
        ):  # what a gauge holds has no errors to be compared with
            # Held-out stars judge the mappings as they are; what follows is only nearer to the truth.
            outcome.shrunk = shrink(solver)
        outcome.seconds["fit"] = time.perf_counter() - begin
        if back is not None:
            begin = time.perf_counter()
            _judge_by(outcome, held, *back, free & stages.star_bits(wanted))
            outcome.descend(control, "with held-out stars", progress)
            outcome.seconds["held out"] = time.perf_counter() - begin
        elif outcome.shrunk:
            outcome.descend(control, "shrunk", progress)
        finish(outcome, free & stages.star_bits(wanted))
    return outcome


def _loosely(control: Control) -> Control:
    """What will do where the held-out stars are yet to come: within a sigma of all parameters together."""
    return replace(control, tolerance_sigma=max(control.tolerance_sigma, LOOSE_SIGMA), flicker=LOOSE_FLICKER)


def finish(outcome: Outcome, star_free: NDArray[np.uint8]) -> None:
    """Leave residuals, star errors and verdicts that belong to the final state.

    ``star_free``: what any stage fitted of each star; it has an error, though the last stage may have kept
    it.
    """
    solver = outcome.solver
    solver.problem.star_free[:] = star_free | np.uint8(POSITION)
    solver.residuals(0.5 * outcome.cut if outcome.cut else np.inf)
    solver.solve_stars(0.0)


def without_data(solver: Solver, layout: Layout) -> Bools:
    """Outer mappings (and, held at once, inner ones) that no measurement speaks for: they stay."""
    outer, inner = data(solver)
    layout.held_inner[inner == 0] = True
    return np.asarray(outer == 0)


def data(solver: Solver) -> tuple[NDArray[Any], NDArray[Any]]:
    """Measurements with a weight, of each outer and of each inner mapping."""
    p = solver.problem
    per_image = np.bincount(p.image_of, p.weight[0] > 0, len(p.inner))
    return np.bincount(p.outer, per_image, len(p.outer_free)), np.bincount(
        p.inner, per_image, len(p.inner_free)
    )


def _judge_anew(solver: Solver, outcome: Outcome) -> None:
    """Forget the verdicts of the stage before: where little was fitted, much looked like an outlier."""
    p = solver.problem
    solver.active[:] = p.weight
    p.reference_on[p.reference_on == 2] = 1
    outcome.cut = 0.0


def _hold_back(solver: Solver, held: Bools) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Take the weight of held-out stars; -> what it was, and which references counted."""
    p = solver.problem
    weight, on = p.weight, p.reference_on
    mine = held[p.star]
    p.weight = weight.copy()
    p.weight[:, mine] = 0
    solver.active[:, mine] = 0
    p.reference_on = np.where(held, 0, on).astype(np.uint8)
    return weight, on


def _judge_by(
    outcome: Outcome,
    held: Bools,
    weight: NDArray[np.float32],
    on: NDArray[np.uint8],
    star_free: NDArray[np.uint8],
) -> None:
    """Give the held-out stars their weight back and measure the mappings by them."""
    solver = outcome.solver
    p = solver.problem
    p.weight, p.reference_on = (
        weight,
        np.where(held & p.measured_prior, 0, np.where(held, on, p.reference_on)),
    )
    p.reference_on = p.reference_on.astype(np.uint8)
    mine = held[p.star]
    solver.active[:, mine] = weight[:, mine]
    may = p.star_free.copy()
    p.star_free[:] = star_free | np.uint8(POSITION)
    outcome.held_out = holdout.validate(solver, held, outcome.cut)
    outcome.held_stars = held
    p.star_free[:] = may
    p.reference_on = np.where(held, on, p.reference_on).astype(np.uint8)


def _fit_floors(
    assembled: Assembled,
    outcome: Outcome,
    control: Control,
    group: NDArray[np.int64],
    whole: NDArray[np.float32] | None,
    progress: Progress | None,
) -> None:
    """Fit the floor of each group and the mappings in turn; the weights of held-out stars get it as well."""
    solver = outcome.solver
    p = solver.problem
    source = p.weight if whole is None else whole
    stated = floors.Covariances.of(source)
    groups = int(group.max()) + 1
    floor = np.zeros(groups)
    for _ in range(FLOOR_ROUNDS):
        before = floor
        floor = floors.fit_floor(solver, stated.variance, group, groups, int(outcome.fitted.sum()))
        floor = floor * assembled.mas
        source[:] = stated.weights((floor[group] / assembled.mas) ** 2)
        if p.weight is not source:
            p.weight[:] = np.where(p.weight != 0, source, 0)
        solver.active[:] = np.where(solver.active[:1] > 0, p.weight, 0)
        solver.factor = None
        outcome.descend(control, "error floors", progress)
        if np.all(np.abs(floor - before) <= FLOOR_STEADY * np.maximum(floor, FLOOR_STEADY)):
            break
    outcome.floor_mas = floor
