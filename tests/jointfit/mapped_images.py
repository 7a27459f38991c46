"""Composed mappings like those of a fit: degree 4 for each detector, then degree 2 for each exposure."""

from dataclasses import dataclass

import numpy as np

from obslab.jointfit.polynomial import basis, chebyshev_grid
from obslab.jointfit.projection import frames, from_plane, sky
from obslab.jointfit.wcs import Mapped

PIXELS, PITCH, SCALE = 2048, 2168, 0.263 / 3600
MID, HALF = (PIXELS + 1) / 2, PIXELS / 2


@dataclass
class Camera:
    """grid x grid detectors with the optics of a wide-field camera, and its exposures."""

    inner: np.ndarray  # (detectors, 2, 15): deg in the focal plane of (u, v)
    outer: np.ndarray  # (exposures, 2, 6): deg in the tangent plane of deg
    tangent: np.ndarray  # (exposures, 2)

    def plane(self, exposure, detector, u, v):
        """xi, eta (2, P) in degrees."""
        focal = self.inner[detector] @ basis(4)(u, v).T
        return self.outer[exposure] @ basis(2)(*focal).T

    def sky(self, exposure, detector, x, y):
        """ra, dec of FITS pixels: the full mapping, by another way than the headers."""
        xi, eta = self.plane(exposure, detector, (x - MID) / HALF, (y - MID) / HALF)
        return sky(from_plane(frames(*self.tangent[exposure]), xi, eta))

    def mapped(self):
        exposures, detectors = len(self.outer), len(self.inner)
        images = [(e, d) for e in range(exposures) for d in range(detectors)]

        def evaluate(image, u, v):
            focal = basis(4)(u, v) @ np.swapaxes(self.inner, 1, 2)
            plane = basis(2)(focal[..., 0], focal[..., 1]) @ np.swapaxes(self.outer, 1, 2)[:, None]
            return plane.reshape(-1, len(u), 2)[image]

        count = len(images)
        return Mapped.sample(
            evaluate,
            frames=np.repeat(frames(*self.tangent.T), detectors, 0),
            mid=np.full((count, 2), MID),
            half=np.full((count, 2), HALF),
            names=[f"e{e:03}_c{d:02}" for e, d in images],
        )


def camera(grid=2, exposures=2, seed=1, ra=150.0, dec=2.2):
    rng = np.random.default_rng(seed)
    u, v = chebyshev_grid(8)
    inner = [_detector(rng, *place, u, v) for place in _places(grid)]
    outer = np.zeros((exposures, 2, 6))
    turn = rng.normal(0, 5e-3, exposures)
    outer[:, 0, 1], outer[:, 0, 2] = -np.cos(turn), np.sin(turn)  # east is left
    outer[:, 1, 1], outer[:, 1, 2] = np.sin(turn), np.cos(turn)
    outer[:, :, 1:3] += rng.normal(0, 5e-5, (exposures, 2, 2))
    outer[:, :, 3:] = rng.normal(0, 20 / 3.6e6 / 0.25, (exposures, 2, 3))
    tangent = np.stack([ra + rng.uniform(-0.2, 0.2, exposures), dec + rng.uniform(-0.2, 0.2, exposures)], -1)
    return Camera(np.array(inner), outer, np.stack([tangent[:, 0] % 360, tangent[:, 1]], -1))


def _places(grid):
    middle = (grid - 1) / 2
    along = (np.arange(grid) - middle) * PITCH * SCALE
    return [(x, y) for y in along for x in along]


def _detector(rng, x0, y0, u, v):
    """Warps of 0.1 pixel and radial distortion of 2.7 arcsec half a degree off the axis, as degree 4."""
    warp = rng.normal(0, 0.08, (2, 10)) * [0, 0, 0, 1, 1, 1, 0.4, 0.4, 0.4, 0.4]
    x, y = np.stack([u, v]) * HALF * SCALE + SCALE * (warp @ basis(3)(u, v).T)
    angle = rng.normal(0, 1e-3)
    x, y = x0 + np.cos(angle) * x - np.sin(angle) * y, y0 + np.sin(angle) * x + np.cos(angle) * y
    square = x * x + y * y
    bent = np.stack([x, y]) * (1 + 3e-3 * square + 6e-4 * square * square)
    return bent @ np.linalg.pinv(basis(4)(u, v)).T
