"""Templates: displacements within a detector of known shape and fitted strength.

A table gives the displacement in pixels along x, y, or the distance from a centre: radial patterns, the
crowding at a detector's edges, tree rings (their centre lies outside the detector). The strength is one
number, for all detectors or for each of them; one says that the table is right as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.mapping.terms import Linear, Points, TermError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Template:
    """Displacement ``pixels`` tabulated ``at`` pixels along x or y, or from ``centre`` outwards (along "r").

    Linear between the table's rows, zero outside. ``detectors``: whose, None for all; ``each``: a strength
    for each detector. ``fixed``: the strength stays one (a fixed map).
    """

    name: str
    along: Literal["x", "y", "r"]
    at: tuple[float, ...]
    pixels: tuple[float, ...]
    centre: tuple[float, float] = (0.0, 0.0)
    detectors: tuple[int, ...] | None = None
    each: bool = False
    fixed: bool = False

    def __post_init__(self) -> None:
        if len(self.at) != len(self.pixels) or len(self.at) < 2 or not np.all(np.diff(self.at) > 0):
            raise TermError(
                f"template {self.name!r} has {len(self.at)} places and {len(self.pixels)} displacements; it "
                "needs as many of each, two at least, and places that grow",
                template=self.name,
            )

    def displacement(self, x: Floats, y: Floats) -> Floats:
        """(2, n) in pixels at strength one."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if self.along == "r":
            away = np.stack([x - self.centre[0], y - self.centre[1]])
            distance = np.hypot(*away)
            size = np.interp(distance, self.at, self.pixels, 0.0, 0.0)
            return np.asarray(away / np.maximum(distance, 1e-12) * size)
        move = np.zeros((2, len(x)))
        axis = 0 if self.along == "x" else 1
        move[axis] = np.interp((x, y)[axis], self.at, self.pixels, 0.0, 0.0)
        return move

    def bind(self, points: Points) -> Linear:
        mine = np.array([self.detectors is None or d in self.detectors for d in points.detectors])
        if not mine.any():
            raise TermError(
                f"template {self.name!r} is for detectors {self.detectors}, of which none is here"
            )
        move = self.displacement(points.x, points.y) * mine[points.detector] / points.half.T
        if self.each:
            names = tuple(f"{self.name} detector {points.detectors[d]}" for d in np.flatnonzero(mine))
            number = np.cumsum(mine) - 1
            index = np.where(mine[points.detector], number[points.detector], 0)
        else:
            names, index = (self.name,), np.zeros(len(points.x), np.int64)
        return Linear("pixel", names, np.full(len(names), not self.fixed), index, move)

    @property
    def start(self) -> float:
        """Strength before the fit: one where it is fixed."""
        return 1.0 if self.fixed else 0.0


def strengths(
    terms: Iterable[Any], assembled: Any, solver: Any, detector: int
) -> Iterator[tuple[Template, float]]:
    """The templates that act on a detector, with their fitted strengths."""
    for term, bound, part in zip(terms, solver.terms.terms, solver.terms.parts, strict=True):
        if not isinstance(term, Template):
            continue
        if term.detectors is not None and detector not in term.detectors:
            continue
        values: dict[str, float] = dict(zip(bound.names, solver.state.extra[part].tolist(), strict=True))
        yield term, values.get(f"{term.name} detector {detector}", values.get(term.name, 0.0))
