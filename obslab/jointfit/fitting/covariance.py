"""Covariance of the mapping parameters, and what it says of positions. Made when asked for: it needs the
dense matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.mapping.templates import Template
from obslab.jointfit.projection import MAS

if TYPE_CHECKING:
    from obslab.jointfit.result import FitResult

Floats = NDArray[np.float64]
NULL = 1e-11
"""Eigenvalues of the scaled matrix below this are directions the data do not determine."""


@dataclass(frozen=True)
class Covariance:
    """``matrix`` over the free parameters, in plane units squared, in the order of ``names``."""

    result: FitResult
    matrix: Floats
    at: NDArray[np.int64]
    names: tuple[str, ...]
    loose: tuple[str, ...]

    def predicted_error(self, image: int, x: Any, y: Any) -> Floats:
        """(n, 2): standard error in mas, along xi and eta, of the mapping of an image at pixels; between
        images pixels.

        Between images it is of the place in the held image, which chains of shared stars may leave far less
        certain than the transform of one image to another: ``transform_error``.
        """
        r = self.result
        rows, _ = _derivatives(r, image, x, y)
        p = r.assembled.problem
        scale = p.unit if r.choices.projector == "identity" else p.unit / MAS
        return np.asarray(self._errors(rows) * scale)

    def transform_error(self, source: int, here: Floats, target: int, there: Floats) -> Floats:
        """(n, 2): standard error in pixels of image ``target`` of what takes pixels ``here`` (2, n) of image
        ``source`` to pixels ``there`` (2, n) of it.

        Planes of two exposures are tilted against each other by a degree or so: taken as one, to 1e-4.
        """
        moved_here, _ = _derivatives(self.result, source, *here)
        moved_there, jacobian = _derivatives(self.result, target, *there)
        in_pixels = np.asarray(np.linalg.solve(jacobian, moved_here - moved_there), np.float64)
        return np.asarray(self._errors(in_pixels) * self.result.measured.half.values[target])

    def _errors(self, rows: Floats) -> Floats:
        part = rows[:, :, self.at]
        variance = np.einsum("nai,ij,naj->na", part, self.matrix, part, optimize=True)
        return np.asarray(np.sqrt(np.maximum(variance, 0)))

    def of(self, name: str) -> float:
        """Standard error of one parameter, in its own units: plane units, or those of a term."""
        return float(np.sqrt(self.matrix[self.names.index(name), self.names.index(name)]))


def covariance(result: FitResult) -> Covariance:
    """Inverse of the exact reduced matrix at the solution; null directions are left out and named.

    It is of all parameters that any stage fitted, and of the stars' places with them.
    """
    solver = result.outcome.solver
    solver.linearise()
    solver.terms.linearise(solver)
    at = np.flatnonzero(result.outcome.fitted)
    matrix = solver.reduced()[np.ix_(at, at)]
    norm = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    values, vectors = np.linalg.eigh(matrix / norm[:, None] / norm)
    good = values > NULL * values[-1]
    names = parameter_names(result)
    mine = tuple(names[i] for i in at)
    inverse = (vectors[:, good] / values[good]) @ vectors[:, good].T / norm[:, None] / norm
    loose = tuple(_leading(vectors[:, i], mine) for i in np.flatnonzero(~good))
    return Covariance(result, inverse, at, mine, loose)


def _derivatives(result: FitResult, image: int, x: Any, y: Any) -> tuple[Floats, Floats]:
    """(n, 2, parameters): what each parameter moves the mapped place of pixels by; (n, 2, 2): what (u, v)
    does.
    """
    p, s = result.assembled.problem, result.outcome.solver.state
    x, y = np.atleast_1d(np.asarray(x, np.float64)), np.atleast_1d(np.asarray(y, np.float64))
    u, v = result.solution.with_templates(image, *result.solution.normalised(image, x, y))
    phi = p.inner_basis(u, v)
    focal = phi @ s.inner[p.inner[image]].T
    psi = p.outer_basis(focal[:, 0], focal[:, 1])
    by_x, by_y = (psi @ d[p.outer[image]].T for d in p.outer_basis.derivatives(s.outer))
    terms, outer_terms = len(p.inner_basis), len(p.outer_basis)
    rows = np.zeros((len(u), 2, s.inner.size + s.outer.size + len(s.extra)))
    c = int(p.inner[image]) * 2 * terms
    o = s.inner.size + int(p.outer[image]) * 2 * outer_terms
    for axis in range(2):
        rows[:, axis, c : c + terms] = by_x[:, axis, None] * phi
        rows[:, axis, c + terms : c + 2 * terms] = by_y[:, axis, None] * phi
        rows[:, axis, o + axis * outer_terms : o + (axis + 1) * outer_terms] = psi
    inner_u, inner_v = (phi @ d[p.inner[image]].T for d in p.inner_basis.derivatives(s.inner))
    jacobian = np.stack([by_x, by_y], -1) @ np.stack([inner_u, inner_v], -1)
    for column, move in _templates(result, image, x, y):
        rows[:, :, s.inner.size + s.outer.size + column] = np.einsum("nab,bn->na", jacobian, np.stack(move))
    return rows, jacobian


def _templates(
    result: FitResult, image: int, x: Floats, y: Floats
) -> Iterator[tuple[int, tuple[Floats, Floats]]]:
    """For each strength that acts on an image: its place among the terms' parameters, what one of it moves
    (u, v) by.
    """
    detector = int(result.measured.detector.values[image])
    half = result.measured.half.values[image]
    terms = result.outcome.solver.terms
    for template, bound, part in zip(result.choices.terms, terms.terms, terms.parts, strict=True):
        if isinstance(template, Template) and (template.detectors is None or detector in template.detectors):
            move = template.displacement(x, y)
            name = f"{template.name} detector {detector}"
            at = bound.names.index(name) if name in bound.names else 0
            yield part.start + at, (move[0] / half[0], move[1] / half[1])


def parameter_names(result: FitResult) -> list[str]:
    """Names of all parameters: mapping, axis and powers; terms by their own."""
    p, layout = result.assembled.problem, result.layout
    names = []
    for mappings, powers in (
        (layout.inner_names, p.inner_basis.powers),
        (layout.outer_names, p.outer_basis.powers),
    ):
        names += [f"{m} {axis} u{i}v{j}" for m in mappings for axis in ("xi", "eta") for i, j in powers]
    for term in p.terms:
        names += list(term.names)
    return names


def _leading(vector: Floats, names: tuple[str, ...]) -> str:
    """The mappings that a null direction is made of, most first."""
    share: dict[str, float] = {}
    for weight, name in zip(vector**2, names, strict=True):
        mapping = name.split(" xi ")[0].split(" eta ")[0]
        share[mapping] = share.get(mapping, 0.0) + float(weight)
    ordered = sorted(share, key=lambda m: -share[m])
    return ", ".join(m for m in ordered[:3] if share[m] > 0.05)
