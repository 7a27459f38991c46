"""Terms: displacements with few parameters beside the polynomials.

A new term is a small class with ``bind``, which gives it the measurements once and makes it a Bound, with
``value`` and ``derivatives``. Put an example into ``kinds.KINDS`` and its derivatives are checked with those
of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ObslabError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class TermError(ObslabError, ValueError):
    """A term that lacks what it needs of the data."""


@dataclass(frozen=True)
class Points:
    """Measurements as terms see them, (N,) where nothing else is said. ``unit``: degrees of a plane unit."""

    x: Floats
    y: Floats
    half: Floats  # (N, 2): pixels of u, v = 1
    exposure: Ints  # position in the exposure table
    detector: Ints  # position in ``detectors``
    detectors: tuple[int, ...]
    color: Floats  # NaN: unknown
    bands: tuple[str, ...]  # of each exposure
    airmass: Floats  # of each exposure
    parallactic_angle: Floats  # of each exposure, deg
    unit: float


class Bound(Protocol):
    """A term that knows its measurements.

    ``where``: "pixel" displaces the measurement before its mapping, in units of (u, v); "plane" displaces the
    star's image in the tangent plane, in plane units.
    """

    where: Literal["pixel", "plane"]
    names: tuple[str, ...]
    free: NDArray[np.bool_]

    def value(self, parameters: Floats) -> Floats:
        """Displacement (2, N) at these parameters, one for each name."""

    def derivatives(self, parameters: Floats) -> tuple[Ints, Floats]:
        """Which parameters each measurement feels, (N, J), and by how much, (2, N, J)."""


class Term(Protocol):
    """What a user names; ``bind`` makes it a Bound."""

    def bind(self, points: Points) -> Bound: ...


@dataclass
class Linear:
    """A Bound whose displacement is parameter[index] times a fixed direction: index (N,), direction (2,
    N)."""

    where: Literal["pixel", "plane"]
    names: tuple[str, ...]
    free: NDArray[np.bool_]
    index: Ints
    direction: Floats

    def value(self, parameters: Floats) -> Floats:
        return np.asarray(self.direction * parameters[self.index])

    def derivatives(self, parameters: Floats) -> tuple[Ints, Floats]:
        return self.index[:, None], self.direction[:, :, None]

    def at(self, parameters: Floats, index: Any, direction: Floats) -> Floats:
        """The displacement of other points."""
        return np.asarray(direction * parameters[index])
