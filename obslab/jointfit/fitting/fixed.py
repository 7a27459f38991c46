"""Mappings of detectors taken from an earlier fit, and kept as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from obslab.jointfit.fitting.assembling import Assembled
from obslab.jointfit.fitting.choices import FitError
from obslab.jointfit.fitting.starting import outer_from
from obslab.jointfit.mapping.layout import Layout

if TYPE_CHECKING:
    from obslab.jointfit.result import FitResult


def take_fixed(fixed: FitResult, plan: Layout, assembled: Assembled) -> None:
    """Inner mappings of an earlier result by their names, in this fit's units, held; with them its templates.

    All exposures are free then, and start where the fixed detectors put them.
    """
    theirs = {name: n for n, name in enumerate(fixed.layout.inner_names)}
    missing = [name for name in plan.inner_names if name not in theirs]
    if plan.model == "simple" or fixed.layout.model == "simple":
        raise FitError(
            "mappings of single images cannot be fixed in another fit: both fits have to be of the "
            "constrained model"
        )
    if missing or fixed.layout.inner_degree != plan.inner_degree:
        what = f"lack {', '.join(missing[:3])}" if missing else f"are of degree {fixed.layout.inner_degree}"
        raise FitError(
            f"the fixed mappings {what}; this fit needs {len(plan.inner_names)} mappings of degree "
            f"{plan.inner_degree}: "
            "fit the same detectors and instrument epochs with the same device_degree"
        )
    here, there = assembled.problem, fixed.assembled.problem
    at = [theirs[name] for name in plan.inner_names]
    half = {
        name: fixed.measured.half.values[fixed.layout.inner == theirs[name]][0] for name in plan.inner_names
    }
    mid = {
        name: fixed.measured.mid.values[fixed.layout.inner == theirs[name]][0] for name in plan.inner_names
    }
    for n, name in enumerate(plan.inner_names):
        image = int(np.flatnonzero(plan.inner == n)[0])
        if not (
            np.allclose(half[name], assembled.half[image]) and np.allclose(mid[name], assembled.mid[image])
        ):
            raise FitError(f"{name} has another size in the fixed mappings: {half[name] * 2} pixels, here "
                           f"{assembled.half[image] * 2}")  # fmt: skip
    assembled.state.inner[:] = fixed.outcome.solver.state.inner[at] * (there.unit / here.unit)
    plan.held_inner[:] = True
    plan.held_outer[:] = False
    here.inner_free[:] = False
    here.outer_free[:] = True
    assembled.state.outer[:] = outer_from(plan, assembled.state.inner, assembled.grid)
    _take_templates(fixed, assembled)


def _take_templates(fixed: FitResult, assembled: Assembled) -> None:
    """Strengths of the templates the fixed mappings were fitted with, held as well."""
    solver = fixed.outcome.solver
    found = {
        name: value
        for term, part in zip(solver.terms.terms, solver.terms.parts, strict=True)
        if term.where == "pixel"
        for name, value in zip(term.names, solver.state.extra[part], strict=True)
    }
    start = 0
    for term in assembled.problem.terms:
        for n, name in enumerate(term.names):
            if name in found:
                assembled.state.extra[start + n] = found.pop(name)
                term.free[n] = False
        start += len(term.names)
    if found:
        raise FitError(
            f"the fixed mappings were fitted with the template {next(iter(found))!r}, which this fit lacks: "
            f"pass it in "
            "terms as well"
        )
