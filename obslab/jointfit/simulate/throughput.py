"""The true photometry: what flux a star gives in an exposure, on a detector, at a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from obslab.jointfit.polynomial import Floats
from obslab.jointfit.simulate.atmosphere import COLOR_ZERO

COLOR_TERMS = {"u": 1.5, "g": 0.6, "r": 0.0, "i": -0.4, "z": -0.6, "y": -0.7}
"""Magnitude in a band minus that of the reference, per magnitude of color; 0 in a band not named."""

_ZERO_POINT = 28.0


@dataclass(frozen=True)
class Throughput:
    """``mag = -2.5 log10(flux) + zero point - color term (color - COLOR_ZERO)``, in the reference's band.

    The zero point is the sum of the exposure's, the detector's, and the illumination at that place.
    """

    exposure: Floats  # (E,) mag
    detector: Floats  # (D,) mag, mean 0
    color_term: Floats  # (E,)
    illumination: float  # mag at the corner of the field
    corner_deg: float

    def zero_point(self, exposure: Any, detector: Any, focal: Floats) -> Floats:
        """In mag, at focal plane positions (2, ...) in degrees."""
        vignetting = self.illumination * (focal * focal).sum(0) / self.corner_deg**2
        return np.asarray(self.exposure[exposure] + self.detector[detector] - vignetting)

    def flux(self, mag: Any, color: Any, exposure: Any, detector: Any, focal: Floats) -> Floats:
        seen = mag + self.color_term[exposure] * (color - COLOR_ZERO)
        return np.asarray(10 ** (-0.4 * (seen - self.zero_point(exposure, detector, focal))))


def throughput(
    rng: np.random.Generator,
    bands: list[str],
    detectors: int,
    corner_deg: float,
    *,
    zero_point_mag: float,
    detector_mag: float,
    illumination_mag: float,
    color_terms: Mapping[str, float] | None,
) -> Throughput:
    """Zero points that scatter about 28; ``bands`` has the band of each exposure."""
    terms = COLOR_TERMS if color_terms is None else color_terms
    detector = rng.normal(0, detector_mag, detectors)
    return Throughput(
        exposure=_ZERO_POINT + rng.normal(0, zero_point_mag, len(bands)),
        detector=detector - detector.mean(),
        color_term=np.array([float(terms.get(band, 0.0)) for band in bands]),
        illumination=illumination_mag,
        corner_deg=corner_deg,
    )
