"""Solution: the fitted mappings of images as functions of position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.fitting.assembling import Assembled
from obslab.jointfit.mapping.refraction import BoundRefraction
from obslab.jointfit.mapping.templates import strengths
from obslab.jointfit.mapping.terms import Term
from obslab.jointfit.projection import MAS
from obslab.jointfit.solve.solver import Solver

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """Images are positions along dimension image; planes are degrees (pixels, for a fit between images)."""

    measured: xr.Dataset
    assembled: Assembled
    solver: Solver
    terms: Sequence[Term]

    def normalised(self, image: int, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """(u, v) of FITS pixels."""
        mid, half = self.measured.mid.values[image], self.measured.half.values[image]
        return (x - mid[0]) / half[0], (y - mid[1]) / half[1]

    def with_templates(self, image: int, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """(u, v) moved by what the templates say of them."""
        mid, half = self.measured.mid.values[image], self.measured.half.values[image]
        x, y = u * half[0] + mid[0], v * half[1] + mid[1]
        detector = int(self.measured.detector.values[image])
        for template, strength in strengths(self.terms, self.assembled, self.solver, detector):
            move = template.displacement(x, y) * strength
            u, v = u + move[0] / half[0], v + move[1] / half[1]
        return u, v

    def focal(self, image: int, u: Floats, v: Floats) -> Floats:
        """(n, 2): places in the focal plane, where the detector's mapping puts (u, v)."""
        p, s = self.assembled.problem, self.solver.state
        return np.asarray(p.inner_basis(u, v) @ s.inner[p.inner[image]].T * p.unit)

    def place(self, image: int, u: Floats, v: Floats) -> Floats:
        """(n, 2): places in the exposure's plane, templates included."""
        p, s = self.assembled.problem, self.solver.state
        focal = self.focal(image, *self.with_templates(image, u, v)) / p.unit
        return np.asarray(p.outer_basis(focal[:, 0], focal[:, 1]) @ s.outer[p.outer[image]].T * p.unit)

    def places(self, images: Any, u: Floats, v: Floats) -> Floats:
        """(B, P, 2): the same of many images at the same positions (P,)."""
        p, s = self.assembled.problem, self.solver.state
        if any(term.where == "pixel" for term in p.terms):
            return np.stack([self.place(int(i), u, v) for i in images])
        focal = np.einsum("pk,bak->abp", p.inner_basis(u, v), s.inner[p.inner[images]])
        at = p.outer_basis(focal[0], focal[1])
        return np.asarray(np.einsum("bpk,bak->bpa", at, s.outer[p.outer[images]]) * p.unit)

    def refraction(self, exposure: int, color: Floats) -> Floats:
        """(n, 2) degrees: what refraction moved stars of these colors by, on the exposure at this row."""
        out = np.zeros((len(color), 2))
        for term, part in zip(self.solver.terms.terms, self.solver.terms.parts, strict=True):
            if isinstance(term, BoundRefraction):
                out += term.displacement_mas(self.solver.state.extra[part], exposure, color).T * MAS
        return out
