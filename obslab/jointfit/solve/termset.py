"""TermSet: the terms of a problem (refraction, templates) as columns in plane units, for the solver."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.solve.problem import Problem

if TYPE_CHECKING:
    from obslab.jointfit.solve.solver import Solver

Floats = NDArray[np.float64]


class TermSet:
    """All terms together: their parameters one after the other, their derivatives side by side.

    A term displaces a measurement in pixels, before the mapping, or its star's image in the tangent plane,
    after it. Each is bound to its measurements already (``mapping.terms.Bound``) and speaks in (u, v) or
    plane units.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.terms = problem.terms
        self.count = sum(len(term.names) for term in self.terms)
        starts = np.cumsum([0] + [len(term.names) for term in self.terms])
        self.parts = [slice(a, b) for a, b in pairwise(starts)]
        self.free = np.concatenate([np.zeros(0, bool)] + [np.asarray(term.free, bool) for term in self.terms])
        self.index = np.zeros((len(problem.u), 0), np.int64)
        self.value = np.zeros((2, len(problem.u), 0))
        self.inverse_diagonal = np.ones(self.count)

    def moved_pixels(self, extra: Floats) -> tuple[Floats, Floats]:
        """(u, v) with the displacement of the pixel terms."""
        u, v = self.problem.u, self.problem.v
        for term, part in zip(self.terms, self.parts, strict=True):
            if term.where == "pixel":
                move = term.value(extra[part])
                u, v = u + move[0], v + move[1]
        return u, v

    def plane_shift(self, extra: Floats) -> Floats | None:
        """What the plane terms add to the mapped positions, or None."""
        total: Floats | None = None
        for term, part in zip(self.terms, self.parts, strict=True):
            if term.where == "plane":
                shift = -term.value(extra[part])
                total = shift if total is None else total + shift
        return total

    def linearise(self, solver: Solver) -> None:
        """Columns at the solver's state: d residual / d parameter."""
        if not self.count:
            return
        indices, values = [], []
        for term, part in zip(self.terms, self.parts, strict=True):
            index, value = term.derivatives(solver.state.extra[part])
            value = _through_mapping(solver, value) if term.where == "pixel" else -value
            indices.append(index + part.start)
            values.append(value)
        self.index = np.concatenate(indices, 1)
        self.value = np.concatenate(values, 2)
        weight = solver.active[0].astype(float)
        share = 1 - weight * solver.inverse[:, 0, 0][self.problem.star]
        info = np.zeros(self.count)
        for j in range(self.index.shape[1]):
            square = (self.value[0, :, j] ** 2 + self.value[1, :, j] ** 2) * weight * np.maximum(share, 0)
            info += np.bincount(self.index[:, j], square, self.count)
        self.inverse_diagonal = np.where(info > 0, 1 / np.maximum(info, 1e-300), 0.0)

    def displacement(self, step: Floats) -> Floats:
        """What a step of the terms' parameters moves each measurement by."""
        return np.asarray((self.value * step[self.index]).sum(2))

    def moments(self, z: Floats) -> Floats:
        """Sum over measurements of column times z."""
        out = np.zeros(self.count)
        for j in range(self.index.shape[1]):
            along = self.value[0, :, j] * z[0] + self.value[1, :, j] * z[1]
            out += np.bincount(self.index[:, j], along, self.count)
        return out


def _through_mapping(solver: Solver, value: Floats) -> Floats:
    """Displacements (2, N, J) in (u, v) as displacements in the plane, by the Jacobian of each mapping."""
    p, s = solver.problem, solver.state
    out = np.empty_like(value)
    by_u, by_v = p.inner_basis.derivatives(s.inner)
    for i in range(len(p.inner)):
        run = slice(p.first[i], p.first[i + 1])
        phi = p.inner_basis(solver.u[run], solver.v[run])
        q = phi @ s.inner[p.inner[i]].T
        psi = p.outer_basis(q[:, 0], q[:, 1])
        outer_x, outer_y = psi @ solver.linear.by_x[p.outer[i]].T, psi @ solver.linear.by_y[p.outer[i]].T
        inner_u, inner_v = phi @ by_u[p.inner[i]].T, phi @ by_v[p.inner[i]].T
        to_u = outer_x * inner_u[:, :1] + outer_y * inner_u[:, 1:]
        to_v = outer_x * inner_v[:, :1] + outer_y * inner_v[:, 1:]
        for axis in range(2):
            out[axis, run] = to_u[:, axis, None] * value[0, run] + to_v[:, axis, None] * value[1, run]
    return out
