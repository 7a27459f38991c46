"""What headers are made of: each image's mapping as values on nodes, and polynomials fitted to them.

The nodes are Chebyshev's, on which a least-squares polynomial is nearly the best possible one. What is left
over is measured elsewhere, on a regular grid that includes edges and corners, where it is largest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.polynomial import Floats, basis, chebyshev_grid
from obslab.jointfit.projection import MAS, apply, from_plane, homography, sky
from obslab.jointfit.projection import frames as frames_at

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NODES = 12
"""Nodes along each axis: enough for degree 11."""

_CHECKS = 9  # along each axis; no Chebyshev node of any even order is among them
_SINGULAR = 1e-6  # of the area of a pixel, relative to the square of its longest side


class NoWCSError(ObslabError, ValueError):
    """An image whose mapping no header can hold; the message names it."""


@dataclass(frozen=True)
class Mapped:
    """Fitted mappings of images, ready for headers.

    ``positions`` (B, P, 2) are degrees in each image's exposure plane at the nodes of
    ``chebyshev_grid(sqrt(P))`` in (u, v), where u = (x - mid[0]) / half[0] of FITS pixels; ``frames``
    (B, 3, 3) are these planes, ``mid`` and ``half`` (B, 2) pixels. ``evaluate(images, u, v)`` gives
    the same positions (b, P, 2) elsewhere.
    """

    positions: Floats
    frames: Floats
    mid: Floats
    half: Floats
    names: Sequence[str]
    evaluate: Callable[[Ints, Floats, Floats], Floats]

    @classmethod
    def sample(
        cls,
        evaluate: Callable[[Ints, Floats, Floats], Floats],
        *,
        frames: Floats,
        mid: Floats,
        half: Floats,
        names: Sequence[str],
    ) -> Mapped:
        """Mappings that ``evaluate`` gives on the nodes too."""
        return cls(
            evaluate(np.arange(len(names)), *chebyshev_grid(NODES)), frames, mid, half, names, evaluate
        )

    def __post_init__(self) -> None:
        count, nodes = len(self.names), self.positions.shape[1]
        shapes = {"positions": (nodes, 2), "frames": (3, 3), "mid": (2,), "half": (2,)}
        for field, rest in shapes.items():
            shape = getattr(self, field).shape
            if shape != (count, *rest):
                raise NoWCSError(f"{field} has shape {shape}, wanted {(count, *rest)} for {count} images")
        if isqrt(nodes) ** 2 != nodes:
            raise NoWCSError(f"positions are on {nodes} nodes, wanted a square number of chebyshev_grid")


@dataclass(frozen=True)
class Flattened:
    """Each image as polynomials: (xi, eta) in degrees about its tangent point, of (u, v)."""

    frames: Floats
    """(B, 3, 3)"""
    coefficients: Floats
    """(B, 2, terms)"""
    degree: int
    error: Error

    @property
    def tangent(self) -> Floats:
        """ra, dec (B, 2) of the tangent points in degrees."""
        ra, dec = sky(self.frames[:, 2])
        return np.stack([np.where(ra < 360, ra, 0.0), dec], -1)  # a hair below 0 is 360 modulo 360


@dataclass(frozen=True)
class Error:
    """How far the header is from the mapping it stands for, on the sky, for each image."""

    max_mas: Floats
    rms_mas: Floats


def flattened(mapped: Mapped, degree: int, own: bool = True) -> Flattened:
    """The polynomials nearest to the mappings, about the middle of each image, or the exposure's tangent
    point where not ``own``.

    Raises NoWCSError for an image whose mapping is not finite, is singular, or folds the sky.
    """
    _refuse(mapped, ~np.isfinite(mapped.positions).all((1, 2)), "is not finite")
    _refuse(mapped, ~np.isfinite(mapped.frames).all((1, 2)), "has no tangent point")
    fit = _projector(degree, mapped.positions.shape[1])
    frames, coefficients = mapped.frames, fit @ mapped.positions
    # The middle is where the polynomials are zero, not the mapping: a constant term, which SIP has no place
    # for, is moved into the tangent point. A second round takes away what the first leaves, 1e-9 deg.
    for _ in range(2 if own else 0):
        frames = frames_at(*sky(from_plane(frames, *np.moveaxis(coefficients[:, 0], -1, 0))))
        coefficients = fit @ _moved(mapped, frames, mapped.positions)
    coefficients = np.swapaxes(coefficients, 1, 2)
    u, v = checks()
    _refuse_folds(mapped, coefficients, degree)
    there = mapped.evaluate(np.arange(len(mapped.names)), u, v)
    _refuse(mapped, ~np.isfinite(there).all((1, 2)), "is not finite")
    left = basis(degree)(u, v) @ np.swapaxes(coefficients, 1, 2) - _moved(mapped, frames, there)
    return Flattened(frames, coefficients, degree, error_of(left / MAS))


def error_of(left_mas: Floats) -> Error:
    """Largest and root mean square distance (B,) of differences (B, P, 2) in a tangent plane at ``checks``.

    A tangent plane stretches, so on the sky they are no larger.
    """
    square = (left_mas**2).sum(-1)
    return Error(np.sqrt(square.max(1)), np.sqrt(square @ _areas()))


@lru_cache
def checks() -> tuple[Floats, Floats]:
    """u, v of the points where errors are measured, edges and corners included."""
    u, v = np.meshgrid(*2 * [np.linspace(-1, 1, _CHECKS)])
    return u.ravel(), v.ravel()


@lru_cache
def _areas() -> Floats:
    """The part of the image that each of these points stands for: less along the edges."""
    along = np.ones(_CHECKS)
    along[[0, -1]] = 0.5
    return np.asarray(np.outer(along, along).ravel() / along.sum() ** 2)


def determinant(matrices: Floats) -> Floats:
    """Of matrices (..., 2, 2)."""
    return np.asarray(matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0])


def slopes(coefficients: Floats) -> Floats:
    """Derivatives (B, 2, 2) of xi and eta by u and v at the middle of each image."""
    return coefficients[..., 1:3]


def _projector(degree: int, nodes: int) -> Floats:
    """Values on the nodes -> coefficients (terms, P): one pseudo-inverse for all images."""
    along = isqrt(nodes)
    if not 1 <= degree < along:
        raise NoWCSError(
            f"degree {degree} needs more than {along} x {along} nodes; NODES along an axis are enough for 11"
        )
    return np.asarray(np.linalg.pinv(basis(degree)(*chebyshev_grid(along))))


def _moved(mapped: Mapped, frames: Floats, positions: Floats) -> Floats:
    """Positions (B, P, 2) of the exposure planes in other frames."""
    if frames is mapped.frames:
        return positions
    matrices = homography(frames, mapped.frames)[:, None]
    return np.stack(apply(matrices, positions[..., 0], positions[..., 1]), -1)


def _refuse_folds(mapped: Mapped, coefficients: Floats, degree: int) -> None:
    middle = slopes(coefficients)
    area = determinant(middle)
    largest = (middle**2).sum(1).max(-1)
    _refuse(mapped, ~(np.abs(area) > _SINGULAR * largest), "is singular: it brings its pixels onto a line")
    values = basis(degree)(*checks())
    by_u, by_v = (values @ np.swapaxes(by, 1, 2) for by in basis(degree).derivatives(coefficients))
    areas = determinant(np.stack([by_u, by_v], -1))
    _refuse(mapped, (areas * area[:, None] <= 0).any(1), "is singular: it folds the sky within the image")


def _refuse(mapped: Mapped, bad: Bools | Any, what: str) -> None:
    at = np.flatnonzero(bad)
    if at.size:
        names = tuple(mapped.names[int(n)] for n in at)
        others = f" and {at.size - 1} more" if at.size > 1 else ""
        raise NoWCSError(
            f"the mapping of image {names[0]}{others} {what}; exclude the image and fit again", images=names
        )
