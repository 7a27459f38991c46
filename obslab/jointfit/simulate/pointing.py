"""The true exposures: focal plane -> tangent plane, with all that differs from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from obslab.jointfit.polynomial import Floats, basis
from obslab.jointfit.projection import MAS, frames, from_plane, sky
from obslab.jointfit.simulate.atmosphere import Turbulence, turbulence
from obslab.jointfit.simulate.camera import Ints, undone

# Flexure, aberration and refraction: 0.05 arcsec at 1,000 arcsec, and 20 mas half a degree off the axis.
_AFFINE, _QUADRATIC = 5e-5, 20 * MAS / 0.25


@dataclass(frozen=True)
class Pointings:
    """All exposures; arrays begin with the axis (exposure,).

    ``bend`` is what ``polynomial.basis(2)`` in focal plane degrees adds to them, before the camera's
    rotation. X points to the west: the plane's xi is -X of a camera that is not turned.
    """

    frame: Floats  # (E, 3, 3)
    rotation: Floats  # (E,) rad
    bend: Floats  # (E, 2, 6) deg
    air: tuple[Turbulence, ...] = ()

    def plane(self, exposure: Any, focal: Floats) -> Floats:
        """Tangent plane position (2, ...) in degrees of focal plane positions (2, ...)."""
        exposure = np.asarray(exposure)
        bend = np.einsum("...k,...ak->a...", basis(2)(*focal), self.bend[exposure])
        return self._blurred(exposure, self._turned(exposure, focal + bend))

    def focal(self, exposure: Ints, plane: Floats) -> Floats:
        """The inverse of ``plane``."""
        turned = self._turned_back(exposure, plane)

        def bent(focal: Floats) -> Floats:
            return self._turned_back(exposure, self.plane(exposure, focal))

        return undone(bent, turned, turned, 1e-14)

    def _turned(self, exposure: Any, focal: Floats) -> Floats:
        cos, sin = np.cos(self.rotation[exposure]), np.sin(self.rotation[exposure])
        return np.stack([-cos * focal[0] + sin * focal[1], sin * focal[0] + cos * focal[1]])

    def _turned_back(self, exposure: Any, plane: Floats) -> Floats:
        return self._turned(exposure, plane)  # a mirrored rotation is its own inverse

    def _blurred(self, exposure: Any, plane: Floats) -> Floats:
        if not self.air:
            return plane
        if not exposure.ndim:
            return plane + self.air[int(exposure)](plane)
        exposure = np.broadcast_to(exposure, plane.shape[1:])
        moved = plane.copy()
        for number in np.unique(exposure):
            at = exposure == number
            moved[:, at] += self.air[number](plane[:, at])
        return moved


def pointings(
    rng: np.random.Generator,
    exposures: int,
    center: tuple[float, float],
    dither_deg: Any,
    *,
    field_deg: float,
    turbulence_mas: float,
    outer_scale_arcmin: float,
    wind_elongation: float,
) -> Pointings:
    """Exposures about a center; ``dither_deg`` bounds their offsets, or is one (xi, eta) for each."""
    drawn = rng.uniform(-1, 1, (exposures, 2))
    offset = np.asarray(dither_deg, np.float64)
    offset = drawn * offset if offset.ndim == 0 else np.broadcast_to(offset, (exposures, 2))
    middle = frames(*center)
    bend = np.zeros((exposures, 2, 6))
    bend[..., 1:3] = rng.normal(0, _AFFINE, (exposures, 2, 2))
    bend[..., 3:] = rng.normal(0, _QUADRATIC, (exposures, 2, 3))
    rotation = rng.normal(0, 5e-3, exposures)
    seen = [rng.spawn(1)[0] for _ in range(exposures)] if turbulence_mas else []
    return Pointings(
        frame=frames(*sky(from_plane(middle, *offset.T))),
        rotation=rotation,
        bend=bend,
        air=tuple(
            turbulence(one, turbulence_mas, field_deg, outer_scale_arcmin, wind_elongation) for one in seen
        ),
    )
