"""A fit again, from where an earlier one ended, without some of its measurements."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.fitting import run, stages
from obslab.jointfit.fitting.assembling import Assembled
from obslab.jointfit.fitting.run import Outcome
from obslab.jointfit.mapping.layout import Layout
from obslab.jointfit.solve.newton import Control, Progress
from obslab.jointfit.solve.solver import Solver

Bools = NDArray[np.bool_]


def refit(
    assembled: Assembled,
    before: Outcome,
    layout: Layout,
    names: frozenset[str],
    control: Control,
    out: Bools,
    progress: Progress | None,
) -> tuple[Outcome, Assembled]:
    """The stage ``names`` again from the earlier solution, without the measurements ``out`` (N,).

    Nothing given changes but ``layout``, which is the caller's copy. The earlier preconditioner serves on: it
    is only out of date by what was left out. If the held exposure lost all its data, another one is held, at
    its present mapping.
    """
    begin = time.perf_counter()
    with pool.one_blas_thread():
        old = assembled.problem
        weight = old.weight.copy()
        weight[:, out] = 0
        problem = replace(
            old,
            weight=weight,
            reference_on=old.reference_on.copy(),
            star_free=old.star_free.copy(),
            inner_free=old.inner_free.copy(),
            outer_free=old.outer_free.copy(),
        )
        again = replace(assembled, problem=problem, state=before.solver.state.copy())
        solver = Solver(problem, again.state)
        solver.start_coefficients = before.solver.start_coefficients
        solver.shift = before.solver.shift
        solver.active[:] = np.where(weight != 0, before.solver.active, 0)
        gone = run.without_data(solver, layout)
        factor = before.solver.factor
        if np.any(gone & layout.held_outer):
            _hold_another(layout, gone, solver)
            factor = None
        stages.apply(names, solver, layout, old.star_free.copy(), gone)
        solver.factor = factor
        outcome = Outcome(
            solver,
            before.fitted & _movable(solver, layout, gone),
            before.cut,
            held_stars=before.held_stars,
            floor_mas=before.floor_mas,
            shrunk=before.shrunk,
        )
        outcome.descend(control, "refit", progress)
        run.finish(outcome, old.star_free)
    outcome.seconds["refit"] = time.perf_counter() - begin
    return outcome, again


def _movable(solver: Solver, layout: Layout, gone: Bools) -> Bools:
    """Coefficients and terms that some stage could move."""
    p = solver.problem
    inner = np.repeat(~layout.held_inner, 2 * p.inner_free.shape[1])
    outer = np.repeat(~layout.held_outer & ~gone, 2 * p.outer_free.shape[1])
    return np.concatenate([inner, outer, np.ones(solver.terms.count, bool)])


def _hold_another(layout: Layout, gone: Bools, solver: Solver) -> None:
    """In each instrument epoch whose held exposure is gone, hold the exposure with most data."""
    count, _ = run.data(solver)
    for lost in np.flatnonzero(gone & layout.held_outer):
        detectors = layout.inner[layout.outer == lost]
        same = np.unique(layout.outer[np.isin(layout.inner, detectors)])
        same = same[~gone[same]]
        if len(same) and not layout.held_outer[same].any():
            layout.held_outer[same[np.argmax(count[same])]] = True
        if layout.model != "simple":
            layout.held_outer[lost] = False
