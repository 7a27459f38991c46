"""Differential chromatic refraction: stars of another color than the mean move along the parallactic
direction.

dX = k_b (c - c0) n (the note's equation 2), times the tangent of the zenith distance, since that is how
refraction grows; the note's constant k_b, which cannot follow a change of airmass, is there by
``constant=True``. The mean color c0 is of the measurements, so the correction is zero on average and the
fitted mappings hold for the mean star. k_b comes out in mas per magnitude of color.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.mapping.terms import Linear, Points, TermError
from obslab.jointfit.projection import MAS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Refraction:
    """One k_b for each band. A star without a color is taken as of the mean color: it does not move."""

    constant: bool = False

    def bind(self, points: Points) -> BoundRefraction:
        known = np.isfinite(points.color)
        if not known.any():
            raise TermError(
                "no star has a color, so refraction cannot be fitted: give COLOR in the reference catalogue "
                "or in CAT, or leave refraction out of the stages"
            )
        tilt = self.strength(points.airmass)
        used = np.unique(points.exposure)
        bad = [
            int(e) for e in used if not (np.isfinite(tilt[e]) and np.isfinite(points.parallactic_angle[e]))
        ]
        if bad:
            raise TermError(
                f"exposures at rows {bad[:5]} have no airmass of 1 or more or no parallactic angle, which "
                "refraction needs: add AIRMASS and PARANG to exposures.fits",
                exposures=tuple(bad),
            )
        mean = float(points.color[known].mean())
        bands = tuple(dict.fromkeys(points.bands))
        index = np.array([bands.index(b) for b in points.bands])[points.exposure]
        away = np.where(known, points.color - mean, 0.0)
        direction = self.direction(points, tilt)[:, points.exposure] * away
        names = tuple(f"refraction {band}" for band in bands)
        scale = MAS / points.unit
        return BoundRefraction(
            "plane", names, np.ones(len(names), bool), index, direction * scale, mean, bands, tilt, points
        )

    def strength(self, airmass: Floats) -> Floats:
        """tan z, or one for a constant k_b."""
        if self.constant:
            return np.ones_like(airmass)
        with np.errstate(invalid="ignore"):
            return np.sqrt(airmass**2 - 1)

    @staticmethod
    def direction(points: Points, tilt: Floats) -> Floats:
        """(2, E): tan z along the parallactic direction, towards the zenith."""
        angle = np.radians(points.parallactic_angle)
        return np.stack([np.sin(angle), np.cos(angle)]) * tilt


@dataclass
class BoundRefraction(Linear):
    """The term with its mean color, in mag."""

    mean_color: float
    bands: tuple[str, ...]
    tilt: Floats
    points: Points

    def displacement_mas(self, parameters: Floats, exposure: int, color: Floats) -> Floats:
        """(2, n): what a star of this color is moved by on this exposure, xi and eta in mas."""
        band = self.bands.index(self.points.bands[exposure])
        away = np.where(np.isfinite(color), np.asarray(color, np.float64) - self.mean_color, 0.0)
        direction = Refraction.direction(self.points, self.tilt)[:, exposure]
        return np.asarray(parameters[band] * direction[:, None] * away)
