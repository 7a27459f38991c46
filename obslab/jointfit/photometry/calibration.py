"""The fitted terms put to use: what any pixel of any image adds to a star's magnitude."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit import polynomial
from obslab.jointfit.photometry.problem import Problem
from obslab.jointfit.photometry.settings import PhotometryError

Array = NDArray[Any]
Floats = NDArray[np.float64]

_CHUNK = 1 << 16  # pixels at a time: their monomials stay in the cache


@dataclass(frozen=True)
class Calibration:
    """Fitted terms with the columns that they belong to."""

    problem: Problem
    terms: Floats

    def of_pixels(self, image: Array, x: Array, y: Array, color: Array) -> Floats:
        """Sum of all terms (mag) at pixels, 1-D arrays; NaN on images left out. NaN color: the mean."""
        total = np.empty(x.shape)
        for part in _chunks(len(x)):
            fx, fy = self.focal(image[part], x[part], y[part])
            total[part] = self._sum(image[part], fx, fy, color[part])
        return total

    def at_positions(self, image: Array, fx: Floats, fy: Floats, color: Array) -> Floats:
        """The same at normalised focal-plane positions."""
        total = np.empty(fx.shape)
        for part in _chunks(len(fx)):
            total[part] = self._sum(image[part], fx[part], fy[part], color[part])
        return total

    def focal(self, image: Array, x: Array, y: Array) -> tuple[Floats, Floats]:
        """Normalised focal-plane position of pixels."""
        measured = self.problem.tables.measured
        u, v = ((np.stack([x, y], -1) - measured.mid.values[image]) / measured.half.values[image]).T
        return self.problem.plane.position(image, u, v)

    def _sum(self, image: Array, fx: Floats, fy: Floats, color: Floats) -> Floats:
        c, padded = self.problem.columns, np.append(self.terms, 0.0)
        total = padded[c.zero[image]] + padded[c.detector[image]]  # column -1: none, the last one
        if c.powers:
            own = c.illumination[image]
            which = np.where(own >= 0, (own - c.first_illumination) // len(c.powers), -1)
            coefficients = self.flat_coefficients()[which]
            basis = polynomial.basis(polynomial.degree_of(len(c.powers) + 1))
            total = total + (basis(fx, fy)[..., 1:] * coefficients).sum(-1)
        if len(c.color_image):
            redder = np.where(np.isfinite(color), color - self.problem.mean_color, 0.0)
            total = total + padded[c.color[image]] * redder
        return np.where(c.zero[image] >= 0, total, np.nan)

    def flat_coefficients(self) -> Floats:
        """Shape (setups, illumination terms), and a row of zeros for images left out."""
        c = self.problem.columns
        flat = self.terms[c.first_illumination : c.first_color].reshape(
            len(c.illumination_image), len(c.powers)
        )
        return np.concatenate([flat, np.zeros((1, len(c.powers)))])

    def images(self, exposure: Any, detector: Any) -> Array:
        """Positions of images along their dimension, by numbers of exposure and detector that broadcast."""
        measured = self.problem.tables.measured
        e, d = np.broadcast_arrays(np.asarray(exposure, np.int64), np.asarray(detector, np.int64))
        span = max(int(measured.detector.values.max()), int(d.max(initial=0))) + 1
        known = measured.exposure.values.astype(np.int64) * span + measured.detector.values
        order = np.argsort(known)
        place = np.minimum(np.searchsorted(known[order], e * span + d), len(known) - 1)
        image = order[place]
        wrong = known[image] != e * span + d
        if wrong.any():
            raise PhotometryError(
                f"there is no image of exposure {e[wrong].flat[0]} with detector {d[wrong].flat[0]} here"
            )
        return np.asarray(image)


def _chunks(count: int) -> Iterator[slice]:
    for begin in range(0, count, _CHUNK):
        yield slice(begin, begin + _CHUNK)
