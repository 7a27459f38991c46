"""The covariance of one exposure's turbulence: von Karman's spectrum, sheared.

Displacements by a frozen screen that the wind blows past have a power spectrum (k2 + k02)^(-11/6): that of
Kolmogorov, flat below k0 = 1 / outer scale (von Karman 1948; Leget et al. 2021, A&A 650, A81, eq. 12).
Frequencies k are in cycles per degree. The wind makes it longer along one direction: a shear of the plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REACH = 40.0  # the correlation at 2 pi r / outer scale = 40 is 1e-16
_STEPS = 4096  # linear in the root of it, this table is good to 1e-6


@dataclass(frozen=True)
class VonKarman:
    """Hyperparameters: what is known of an exposure's turbulence before its stars are looked at.

    ``variance`` (mas2) is of the displacement along xi and along eta; ``white`` (mas2) of what no two stars
    share, beyond their errors. The correlation is longer along xi where ``shear[0]`` is positive, and along
    the diagonal xi = eta where ``shear[1]`` is, by (1 + g) / (1 - g). ``curl`` is the part of the power in
    curl: 1/2 makes the two displacements independent, 0 makes them a gradient, as refraction should be.
    """

    variance: tuple[float, float]
    outer_scale_deg: float
    shear: tuple[float, float] = (0.0, 0.0)
    white: float = 0.0
    curl: float = 0.5

    def correlation(self, d_xi: Floats, d_eta: Floats) -> Floats:
        """Of one displacement at two places so far (deg) apart; 1 at the same place."""
        squared = sheared(d_xi, d_eta, *self.shear)
        root, values, _ = table()
        reach = np.sqrt(2 * np.pi / self.outer_scale_deg) * squared**0.25
        return np.asarray(np.interp(reach, root, values), np.float64)

    def power(self, k_xi: Floats, k_eta: Floats) -> Floats:
        """Power spectrum (deg2) of a displacement of variance 1 mas2: its integral over all k is 1."""
        k0 = 1 / self.outer_scale_deg
        squared = sheared(k_xi, k_eta, -self.shear[0], -self.shear[1])
        return np.asarray(5 / (6 * np.pi) * k0 ** (5 / 3) * (squared + k0 * k0) ** (-11 / 6))

    def unresolved(self, step_deg: float) -> tuple[float, float]:
        """Variance (mas2) along xi and eta of the waves too short for a grid of this step."""
        nyquist = 1 / (np.sqrt(np.pi) * step_deg)  # of the disc as large as the square of the grid's waves
        part = (1 + (nyquist * self.outer_scale_deg) ** 2) ** (-5 / 6)
        return self.variance[0] * part, self.variance[1] * part

    def step_deg(self, unresolved: float) -> float:
        """Step of the grid that leaves so much variance (mas2) unresolved; infinite where that is all."""
        parts = max(max(self.variance) / unresolved, 1.0) ** (6 / 5) - 1
        return self.outer_scale_deg / np.sqrt(np.pi * parts) if parts else np.inf


def sheared(x: Floats, y: Floats, g1: float, g2: float) -> Floats:
    """Square of the length of (x, y) after the shear that shortens along the direction of (g1, g2)."""
    g = g1 * g1 + g2 * g2
    return np.asarray(((1 + g) * (x * x + y * y) - 2 * g1 * (x * x - y * y) - 4 * g2 * x * y) / (1 - g))


@lru_cache
def table() -> tuple[Floats, Floats, Floats]:
    """Roots of z = 2 pi r / outer scale, evenly spaced; the correlation there; z times its derivative by z.

    It is 2^(1/6) / Gamma(5/6) z^(5/6) K_5/6(z): Matern's, of smoothness 5/6. Near zero it falls as z^(5/3).
    """
    from scipy.special import gamma, kv

    root = np.linspace(0, np.sqrt(REACH), _STEPS)
    z = root[1:] ** 2
    scale = 2 ** (1 / 6) / gamma(5 / 6)
    values = np.append(1.0, scale * z ** (5 / 6) * kv(5 / 6, z))
    slopes = np.append(0.0, -scale * z ** (11 / 6) * kv(1 / 6, z))
    return root, values, slopes
