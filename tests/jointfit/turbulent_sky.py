"""Displacements made of many random waves, and the dense algebra that a turbulence field is compared with."""

import numpy as np
from scipy.special import gamma, kv


class Waves:
    """A field with von Karman's spectrum: ``waves`` plane waves, evenly spread in the logarithm of k.

    ``curl`` 0 and 1 push along each wave and across it (only with g 0), None each axis with its own phase.
    ``variance`` is of each axis, in mas2; the shear g stretches the field along xi.
    """

    def __init__(self, rng, *, variance=100.0, outer_scale_deg=1 / 6, g=0.0, curl=None, waves=600):
        k = 10 ** rng.uniform(-1, 2, waves)  # cycles per degree: 10 deg to 0.6 arcmin
        angle = rng.uniform(0, 2 * np.pi, waves)
        power = k * k * (k * k + outer_scale_deg**-2) ** (-11 / 6)
        self.amplitude = np.sqrt(2 * variance * power / power.sum())
        stretch = np.sqrt((1 - g) / (1 + g))
        self.k = np.stack([k * np.cos(angle) * stretch, k * np.sin(angle) / stretch])
        self.phase = rng.uniform(0, 2 * np.pi, (2, waves))
        if curl is None:
            self.push = np.ones((2, waves))
        else:
            self.phase[1] = self.phase[0]
            self.push = np.sqrt(2) * np.stack(
                [np.cos(angle + curl * np.pi / 2), np.sin(angle + curl * np.pi / 2)]
            )

    def __call__(self, positions):
        turns = 2 * np.pi * positions @ self.k
        return np.stack([np.cos(turns + self.phase[a]) @ (self.amplitude * self.push[a]) for a in (0, 1)], -1)


def correlation(apart, outer_scale_deg):
    """Matern's of smoothness 5/6, from scipy's Bessel function."""
    z = np.maximum(2 * np.pi * apart / outer_scale_deg, 1e-9)
    return 2 ** (1 / 6) / gamma(5 / 6) * z ** (5 / 6) * kv(5 / 6, z)


def tensor(here, there, outer_scale_deg, curl):
    """Covariance (2, n, 2, m) of displacements of variance 1, of which a part ``curl`` is curl.

    Along a pair C - (1 - 2 curl) D, across it C + (1 - 2 curl) D, where C and D are the transforms of the
    power with J0 and J2; D(r) = 2/r2 (integral of r C from 0 to r) - C(r), as J2 = 2 J1(x)/x - J0.
    """
    d = here[:, None] - there[None]
    z = np.maximum(2 * np.pi * np.hypot(d[..., 0], d[..., 1]) / outer_scale_deg, 1e-6)
    c = 2 ** (1 / 6) / gamma(5 / 6) * z ** (5 / 6) * kv(5 / 6, z)
    whole = 2 ** (1 / 6) / gamma(5 / 6) * (2 ** (5 / 6) * gamma(11 / 6) - z ** (11 / 6) * kv(11 / 6, z))
    difference = (1 - 2 * curl) * (2 * whole / z**2 - c)
    phi = np.arctan2(d[..., 1], d[..., 0])
    out = np.empty((2, len(here), 2, len(there)))
    out[0, :, 0], out[1, :, 1] = c - difference * np.cos(2 * phi), c + difference * np.cos(2 * phi)
    out[0, :, 1] = out[1, :, 0] = -difference * np.sin(2 * phi)
    return out


def observed(rng, field, count, side_deg=0.47, faintest_mas=12.6):
    """positions, residual and error of stars as a survey has them: most are faint. Errors from 2.6 mas."""
    positions = rng.uniform(-side_deg / 2, side_deg / 2, (count, 2))
    mag = np.log10(rng.uniform(10**4.8, 10**6.6, count)) / 0.3
    error = np.hypot(2.6, faintest_mas * 10 ** (0.3 * (mag - 22)))
    return positions, field(positions) + rng.normal(size=(count, 2)) * error[:, None], error


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))
