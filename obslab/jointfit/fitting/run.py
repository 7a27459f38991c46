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
from obslab.jointfit.mapping.layout import Layout
from obslab.jointfit.solve.newton import Control, Iteration, Progress, minimise
from obslab.jointfit.solve.problem import MOTION, PARALLAX, POSITION
from obslab.jointfit.solve.solver import Solver

Floats = NDArray[np.float64]


@dataclass
class Outcome:
    """What a run leaves: the solver at its solution, and the story of how it got there."""

    solver: Solver
    cut: float
    iterations: list[Iteration] = field(default_factory=list)
    held_out: dict[str, Any] | None = None
    held_stars: NDArray[np.bool_] | None = None
    floor_mas: Floats | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def run(
    assembled: Assembled,
    layout: Layout,
    wanted: tuple[frozenset[str], ...],
    control: Control,
    *,
    holdout_fraction: float = 0.1,
    seed: int = 0,
    fit_floor: NDArray[np.int64] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Fit the stages in their order.

    The last stage is fitted without the held-out stars first, judged on them, and then with them; the mappings
    that come out rest on every star. ``fit_floor``: group of each measurement whose error floor is fitted.
    """
    with pool.one_blas_thread():
        begin = time.perf_counter()
        solver = Solver(assembled.problem, assembled.state)
        outcome = Outcome(solver, 0.0)
        gone = without_data(solver, layout)
        free = assembled.problem.star_free.copy()
        held = holdout.choose(len(free), holdout_fraction, seed)
        weight, on = _hold_back(solver, held) if held.any() else (None, None)
        for number, names in enumerate(wanted):
            stages.apply(names, solver, layout, free, gone)
            done, outcome.cut = minimise(
                solver, control, stage="+".join(sorted(names)), cut=outcome.cut, progress=progress
            )
            outcome.iterations += done
            if number == len(wanted) - 1 and fit_floor is not None:
                outcome.floor_mas = _floors(solver, control, outcome, fit_floor, weight, progress)
        outcome.seconds["fit"] = time.perf_counter() - begin
        if weight is not None and on is not None:
            begin = time.perf_counter()
            p = solver.problem
            p.weight, p.reference_on = weight, np.where(held & p.measured_prior, 0, p.reference_on).astype(np.uint8)
            mine = held[p.star]
            solver.active[:, mine] = weight[:, mine]
            may = p.star_free.copy()
            p.star_free[:] = _able(free, names=wanted[-1])
            outcome.held_out = holdout.validate(solver, held, outcome.cut)
            outcome.held_stars = held
            p.star_free[:] = may
            p.reference_on = np.where(held, on, p.reference_on).astype(np.uint8)
            done, outcome.cut = minimise(
                solver, control, stage="with held-out stars", cut=outcome.cut, progress=progress
            )
            outcome.iterations += done
            outcome.seconds["held out"] = time.perf_counter() - begin
        finish(solver, outcome.cut)
    return outcome


def finish(solver: Solver, cut: float) -> None:
    """Leave residuals, star errors and verdicts that belong to the final state."""
    p = solver.problem
    p.star_free |= np.uint8(POSITION)  # errors of places, also where the last stage held them
    solver.residuals(0.5 * cut if cut else np.inf)
    solver.solve_stars(0.0)


def without_data(solver: Solver, layout: Layout) -> NDArray[np.bool_]:
    """Outer mappings (and, held at once, inner ones) that no measurement speaks for: they stay as they are."""
    p = solver.problem
    per_image = np.add.reduceat(np.append(p.weight[0] > 0, False), p.first[:-1]) * (np.diff(p.first) > 0)
    outer = np.bincount(p.outer, per_image, len(p.outer_free)) == 0
    inner = np.bincount(p.inner, per_image, len(p.inner_free)) == 0
    layout.held_inner[inner] = True
    return outer


def _able(free: NDArray[np.uint8], names: frozenset[str]) -> NDArray[np.uint8]:
    mask = POSITION | MOTION * ("pm" in names) | PARALLAX * ("parallax" in names)
    return free & np.uint8(mask)


def _hold_back(solver: Solver, held: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Take the weight of held-out stars; -> what it was."""
    p = solver.problem
    weight, on = p.weight, p.reference_on
    mine = held[p.star]
    p.weight = weight.copy()
    p.weight[:, mine] = 0
    solver.active[:, mine] = 0
    p.reference_on = np.where(held, 0, on).astype(np.uint8)
    return weight, on


def _floors(
    solver: Solver, control: Control, outcome: Outcome, group: NDArray[np.int64],
    whole: NDArray[np.float32] | None, progress: Progress | None,
) -> Floats:  # fmt: skip
    """Fit the floor of each group and the mappings in turn; the weights of held-out stars get it as well."""
    from obslab.jointfit.projection import MAS

    p = solver.problem
    source = whole if whole is not None else p.weight
    isotropic = source[0] if not p.anisotropic else (source[0] + source[2]) / 2
    stated = 1 / np.sqrt(np.maximum(isotropic.astype(float), 1e-30))
    groups = int(group.max()) + 1
    floor = np.zeros(groups)
    original = source.copy()
    for _ in range(4):
        before = floor
        floor = floors.fit_floor(solver, stated, group, groups)
        added = (floor[group] * MAS / p.unit) ** 2
        factor = (1 / (1 + added / stated**2)).astype(np.float32)
        source[:] = original * factor
        if p.weight is not source:
            p.weight[:] = np.where(p.weight > 0, source, 0)
        solver.active[:] = np.where(solver.active != 0, p.weight, 0)
        done, outcome.cut = minimise(
            solver, control, stage="error floors", cut=outcome.cut, progress=progress
        )
        outcome.iterations += done
        if np.all(np.abs(floor - before) <= 0.01 * np.maximum(floor, 0.01)):
            break
    return floor


def refit(
    assembled: Assembled, before: Outcome, layout: Layout, names: frozenset[str], control: Control,
    out: NDArray[np.bool_], progress: Progress | None,
) -> tuple[Outcome, Assembled]:  # fmt: skip
    """The last stage again from the earlier solution, without the measurements ``out`` (N,); nothing given changes.

    The earlier preconditioner serves on: it is only out of date by what was left out. If the held exposure lost all
    its data, another one is held, at its present mapping.
    """
    begin = time.perf_counter()
    with pool.one_blas_thread():
        old = assembled.problem
        weight = old.weight.copy()
        weight[:, out] = 0
        problem = replace(
            old, weight=weight, reference_on=old.reference_on.copy(), star_free=old.star_free.copy(),
            inner_free=old.inner_free.copy(), outer_free=old.outer_free.copy(),
        )  # fmt: skip
        again = replace(assembled, problem=problem, state=before.solver.state.copy())
        solver = Solver(problem, again.state)
        solver.start_coefficients = before.solver.start_coefficients
        solver.shift = before.solver.shift
        solver.active[:] = np.where(weight != 0, before.solver.active, 0)
        gone = without_data(solver, layout)
        factor = before.solver.factor
        if np.any(gone & layout.held_outer):
            _hold_another(layout, gone, problem)
            factor = None
        stages.apply(names, solver, layout, old.star_free.copy(), gone)
        solver.factor = factor
        outcome = Outcome(
            solver, before.cut, held_out=before.held_out, held_stars=before.held_stars, floor_mas=before.floor_mas
        )
        outcome.iterations, outcome.cut = minimise(
            solver, control, stage="refit", cut=before.cut, progress=progress
        )
        finish(solver, outcome.cut)
    outcome.seconds["refit"] = time.perf_counter() - begin
    return outcome, again


def _hold_another(layout: Layout, gone: NDArray[np.bool_], problem: Any) -> None:
    """In each instrument epoch whose held exposure is gone, hold the exposure with most data."""
    per_image = np.diff(problem.first)
    count = np.bincount(problem.outer, per_image, len(gone))
    for lost in np.flatnonzero(gone & layout.held_outer):
        detectors = set(layout.inner[layout.outer == lost].tolist())
        same = [
            o for o in np.flatnonzero(~gone & ~layout.held_outer)
            if detectors & set(layout.inner[layout.outer == o].tolist())
        ]  # fmt: skip
        if same:
            layout.held_outer[max(same, key=lambda o: count[o])] = True
