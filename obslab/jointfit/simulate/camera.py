"""The true camera: detectors with warps of their own behind optics that distort, pixel -> focal plane.

Focal plane coordinates are degrees on the sky at the optical axis, X against east and Y to the north of a
camera that is not turned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ConfigError
from obslab.jointfit.polynomial import Floats, basis

GAP_PIXEL = 120  # between neighbouring detectors
EDGE_WIDTH_PIXEL = 20.0
RING_PERIOD_PIXEL = 150.0
_CUBIC, _QUINTIC = 3e-3, 6e-4  # radial distortion, per deg2 and deg4: 2.7 arcsec half a degree off the axis
_ROUNDS = 60

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Camera:
    """All detectors in each instrument epoch; arrays begin with the axes (instrument, detector).

    ``warp`` are the terms of degree 2 and 3 of ``polynomial.basis(3)`` in (u, v), in pixels.
    """

    pixels: int
    scale_deg: float
    columns: int
    rows: int
    place: Floats  # (I, D, 2) deg
    angle: Floats  # (I, D) rad
    stretch: Floats  # (I, D)
    warp: Floats  # (I, D, 2, 10) pixel
    decentering: Floats  # (2,) per deg
    ring_center: Floats  # (D, 2) pixel
    edge_pixel: float = 0.0
    ring_pixel: float = 0.0

    @property
    def pitch_deg(self) -> float:
        return (self.pixels + GAP_PIXEL) * self.scale_deg

    @property
    def detectors(self) -> int:
        return self.columns * self.rows

    @property
    def field_deg(self) -> float:
        """Width of the field of view, the longer side."""
        return self.pitch_deg * max(self.columns, self.rows)

    def focal(self, instrument: Any, detector: Any, x: Any, y: Any) -> Floats:
        """Focal plane position (2, ...) in degrees of FITS pixels; all arguments broadcast."""
        instrument, detector, *pixel = np.broadcast_arrays(instrument, detector, x, y)
        return self._distorted(self._placed(instrument, detector, np.stack(pixel).astype(np.float64)))

    def pixel(self, instrument: Ints, focal: Floats) -> tuple[Ints, Floats]:
        """Detector, -1 where none is, and FITS pixels (2, n) of focal plane positions (2, n)."""
        flat = undone(self._distorted, focal, focal, 1e-14)
        column = np.rint(flat[0] / self.pitch_deg + (self.columns - 1) / 2).astype(np.int64)
        row = np.rint(flat[1] / self.pitch_deg + (self.rows - 1) / 2).astype(np.int64)
        inside = (column >= 0) & (column < self.columns) & (row >= 0) & (row < self.rows)
        detector = np.where(inside, row * self.columns + column, -1)
        at = np.flatnonzero(inside)
        instrument, where = instrument[at], detector[at]

        def in_pixels(pixel: Floats) -> Floats:
            return self._placed(instrument, where, pixel) / self.scale_deg

        wanted = flat[:, at] / self.scale_deg
        guess = wanted - self.place[instrument, where].T / self.scale_deg + (self.pixels + 1) / 2
        pixel = np.full_like(focal, np.nan)
        pixel[:, at] = undone(in_pixels, wanted, guess, 1e-9)
        with np.errstate(invalid="ignore"):
            seen = ((pixel >= 1) & (pixel <= self.pixels)).all(0)
        return np.where(seen, detector, -1), pixel

    def edge_table(self) -> tuple[Floats, Floats]:
        """Distance from an edge and displacement away from it, both in pixels."""
        distance = np.arange(0.0, 8 * EDGE_WIDTH_PIXEL)
        return distance, self.edge_pixel * np.exp(-distance / EDGE_WIDTH_PIXEL)

    def ring_table(self) -> tuple[Floats, Floats]:
        """Distance from a detector's ``ring_center`` and displacement outward, both in pixels."""
        distance = np.arange(0.0, 2 * self.pixels, RING_PERIOD_PIXEL / 16)
        return distance, self.ring_pixel * np.sin(2 * np.pi * distance / RING_PERIOD_PIXEL)

    def _placed(self, instrument: Any, detector: Any, pixel: Floats) -> Floats:
        half = self.pixels / 2
        centered = pixel - (self.pixels + 1) / 2
        monomials = basis(3)(*(centered / half))
        moved = centered + np.einsum("...k,...ak->a...", monomials, self.warp[instrument, detector])
        if self.edge_pixel:
            near, far = np.maximum(pixel - 0.5, 0), np.maximum(self.pixels + 0.5 - pixel, 0)
            moved += self.edge_pixel * (np.exp(-near / EDGE_WIDTH_PIXEL) - np.exp(-far / EDGE_WIDTH_PIXEL))
        if self.ring_pixel:
            away = pixel - np.moveaxis(self.ring_center[detector], -1, 0)
            radius = np.hypot(*away)
            moved += away / radius * self.ring_pixel * np.sin(2 * np.pi * radius / RING_PERIOD_PIXEL)
        cos, sin = np.cos(self.angle[instrument, detector]), np.sin(self.angle[instrument, detector])
        scale = self.scale_deg * self.stretch[instrument, detector]
        place = self.place[instrument, detector]
        return np.stack(
            [
                place[..., 0] + scale * (cos * moved[0] - sin * moved[1]),
                place[..., 1] + scale * (sin * moved[0] + cos * moved[1]),
            ]
        )

    def _distorted(self, flat: Floats) -> Floats:
        r2 = (flat * flat).sum(0)
        d, cross = self.decentering, flat[0] * flat[1]
        out: Floats = flat * (1 + _CUBIC * r2 + _QUINTIC * r2 * r2)
        out[0] += d[0] * (r2 + 2 * flat[0] ** 2) + 2 * d[1] * cross
        out[1] += d[1] * (r2 + 2 * flat[1] ** 2) + 2 * d[0] * cross
        return out


def camera(
    rng: np.random.Generator,
    detectors: tuple[int, int],
    pixels: int,
    scale_deg: float,
    *,
    instruments: int,
    edge_pixel: float,
    ring_pixel: float,
) -> Camera:
    """A camera of columns x rows detectors, mounted a few pixels off and warped by a tenth of one.

    From one instrument epoch to the next each detector moves by a few pixels and its warp by a fifth.
    """
    columns, rows = detectors
    count = columns * rows
    column, row = np.meshgrid(np.arange(columns), np.arange(rows))
    grid = np.stack([column - (columns - 1) / 2, row - (rows - 1) / 2], -1).reshape(count, 2)
    pitch_deg = (pixels + GAP_PIXEL) * scale_deg
    again = np.arange(instruments)[:, None] > 0  # what the first epoch has, and the change to each later one
    warp = np.zeros((instruments, count, 2, 10))
    warp[..., 3:6] = 0.08 * _changing(rng, (instruments, count, 2, 3), 0.2)
    warp[..., 6:] = 0.03 * _changing(rng, (instruments, count, 2, 4), 0.2)
    mounted = rng.normal(0, 4 * scale_deg, (count, 2)) + again[..., None] * rng.normal(
        0, 4 * scale_deg, (instruments, count, 2)
    )
    return Camera(
        pixels=pixels,
        scale_deg=scale_deg,
        columns=columns,
        rows=rows,
        place=grid * pitch_deg + mounted,
        angle=rng.normal(0, 1e-3, count) + again * rng.normal(0, 1e-4, (instruments, count)),
        stretch=np.broadcast_to(1 + rng.normal(0, 3e-5, count), (instruments, count)),
        warp=warp,
        decentering=rng.normal(0, 3e-5, 2),
        ring_center=rng.uniform(-0.3, -0.1, (count, 2)) * pixels,
        edge_pixel=edge_pixel,
        ring_pixel=ring_pixel,
    )


def undone(forward: Callable[[Floats], Floats], wanted: Floats, guess: Floats, accuracy: float) -> Floats:
    """Where ``forward``, an identity but for something small, gives what is wanted."""
    place = guess
    for _ in range(_ROUNDS):
        step = wanted - forward(place)
        place = place + step
        if np.abs(step).max(initial=0) < accuracy:
            return place
    raise ConfigError(
        f"the simulated distortion is too strong to be inverted: still {np.abs(step).max():.2g} off after "
        f"{_ROUNDS} rounds, wanted {accuracy:g}; give a smaller field, edge, rings or turbulence"
    )


def _changing(rng: np.random.Generator, shape: tuple[int, ...], change: float) -> Floats:
    first = rng.normal(size=shape[1:])
    out: Floats = first + change * rng.normal(size=shape)
    out[0] = first
    return out
