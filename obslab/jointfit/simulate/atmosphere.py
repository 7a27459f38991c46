"""What air does to positions: turbulence, a random smooth field in each exposure, and refraction by color."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from obslab.jointfit.polynomial import Floats
from obslab.jointfit.projection import MAS

COLOR_ZERO = 0.8
"""The color whose refraction is part of the mappings; the simulated colors scatter about it."""

_STEP_ARCSEC = 15.0
_BLUR_ARCSEC = 80.0  # waves shorter than this are averaged out during an exposure; splines follow the others


@dataclass(frozen=True)
class Turbulence:
    """A periodic displacement field: coefficients (2, n, n) of cubic splines over a square about the axis."""

    box_deg: float
    coefficients: Floats

    def __call__(self, plane: Floats) -> Floats:
        """Displacement (2, ...) in degrees at tangent plane positions (2, ...)."""
        from scipy.ndimage import map_coordinates

        cell = (plane[::-1] / self.box_deg + 0.5) * self.coefficients.shape[-1]
        spline = {"order": 3, "mode": "grid-wrap", "prefilter": False}
        flat = cell.reshape(2, -1)  # a scalar has no axis to map over
        moved = np.stack([map_coordinates(axis, flat, **spline) for axis in self.coefficients])
        return moved.reshape(plane.shape)


def turbulence(
    rng: np.random.Generator, rms_mas: float, field_deg: float, outer_scale_arcmin: float, elongation: float
) -> Turbulence:
    """A field with ``rms_mas`` expected per axis and von Karman's spectrum, (k2 + k0^2)^(-11/6).

    It is the gradient of a potential, so it has E modes only, as what phase screens do to star positions
    (Leget et al. 2021, A&A 650, A81). Along the wind, whose direction is random, it is correlated
    ``elongation`` times as far as across.
    """
    from scipy.ndimage import spline_filter

    box_deg = 2 * field_deg  # so that what is periodic does not repeat in the field
    n = 1 << int(np.ceil(np.log2(box_deg * 3600 / _STEP_ARCSEC)))
    k = np.fft.fftfreq(n, box_deg / n)  # cycles per degree
    kx, ky = k[None, :], k[:, None]
    wind = rng.uniform(0, np.pi)
    along, across = kx * np.cos(wind) + ky * np.sin(wind), ky * np.cos(wind) - kx * np.sin(wind)
    power = along**2 * elongation + across**2 / elongation + (60 / outer_scale_arcmin) ** 2
    length = np.hypot(kx, ky)
    length[0, 0] = np.inf  # no mean displacement
    filters = 1j * np.stack([kx / length, ky / length]) * power ** (-11 / 12)
    filters *= np.exp(-((length * _BLUR_ARCSEC / 3600) ** 2))
    filters *= rms_mas * MAS / np.sqrt((np.abs(filters) ** 2).sum(0).mean() / 2)
    noise = np.fft.fft2(rng.normal(size=(n, n)))
    field = np.fft.ifft2(filters * noise).real
    return Turbulence(box_deg, np.stack([spline_filter(f, 3, mode="grid-wrap") for f in field]))


def refraction(k_mas: Any, airmass: Any, parallactic_angle: Any, color: Any) -> Floats:
    """Displacement (2, ...) in degrees, east and north: k tan z (color - COLOR_ZERO) towards the zenith."""
    q = np.radians(parallactic_angle)
    shift = np.asarray(k_mas) * MAS * np.sqrt(np.asarray(airmass) ** 2 - 1) * (np.asarray(color) - COLOR_ZERO)
    return np.stack([shift * np.sin(q), shift * np.cos(q)])
