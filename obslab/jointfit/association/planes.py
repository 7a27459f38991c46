"""Where every measurement lies: by its rough WCS in its exposure's plane, from there in one common plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numba import njit
from numpy.typing import NDArray

from obslab.errors import SchemaError
from obslab.jointfit import polynomial, pool, projection
from obslab.jointfit.projection import Floats

_BLOCK = 128
"""Rows at a time: the monomials of 128 rows stay in the first-level cache up to degree 7."""


_FARTHEST_DEG = 60
"""From the middle of all exposures: what is farther apart is not one field."""


@dataclass(frozen=True)
class Rows:
    """Which rows of measured belong to which image and exposure; both are runs of rows."""

    image_starts: NDArray[np.int64]
    exposure_starts: NDArray[np.int64]
    exposure: NDArray[np.int64]
    """Position of each image's exposure in the exposures table."""

    @classmethod
    def of(cls, measured: xr.Dataset, exposures: xr.Dataset) -> Rows:
        image = measured["image"].values
        if np.any(image[1:] < image[:-1]):
            raise SchemaError("measured is not ordered by image, wanted that: measured.sortby('image')")
        numbers = exposures["exposure"].values
        if np.any(numbers[1:] <= numbers[:-1]):
            raise SchemaError("exposures is not ordered by number, wanted that: exposures.sortby('exposure')")
        exposure = np.searchsorted(numbers, measured["exposure"].values)
        unknown = numbers[np.minimum(exposure, len(numbers) - 1)] != measured["exposure"].values
        if np.any(unknown):
            lost = sorted(set(measured["exposure"].values[unknown].tolist()))
            raise SchemaError(
                f"measured has images of exposures {lost}, which exposures lacks", exposures=lost
            )
        if np.any(exposure[1:] < exposure[:-1]):
            raise SchemaError("the images of measured are not ordered by exposure, wanted that order")
        image_starts = np.searchsorted(image, np.arange(len(exposure) + 1))
        exposure_starts = image_starts[np.searchsorted(exposure, np.arange(len(numbers) + 1))]
        return cls(image_starts, exposure_starts, exposure)


@dataclass(frozen=True)
class Planes:
    """The tangent planes of the exposures, and one common to all, at the mean epoch."""

    frames: Floats
    frame: Floats
    epoch: float
    years: Floats
    """Of each exposure after that epoch."""

    @classmethod
    def of(cls, exposures: xr.Dataset) -> Planes:
        for name in ("ra", "dec", "epoch"):
            lost = exposures["exposure"].values[~np.isfinite(exposures[name].values)].tolist()
            if lost:
                raise SchemaError(f"exposures {lost} have no {name}, wanted a number", exposures=lost)
        frames = projection.frames(exposures["ra"].values, exposures["dec"].values)
        frame = projection.frames(*projection.middle(frames))
        far = frames[:, 2] @ frame[2] < np.cos(np.radians(_FARTHEST_DEG))
        if far.any():
            lost = exposures["exposure"].values[far].tolist()
            raise SchemaError(
                f"exposures {lost} lie more than {_FARTHEST_DEG} deg from the middle of all, "
                f"wanted one field: correct their WCS, or fit fields apart",
                exposures=lost,
            )
        epoch = float(exposures["epoch"].values.mean())
        return cls(frames, frame, epoch, exposures["epoch"].values - epoch)

    @property
    def to_common(self) -> Floats:
        return projection.homography(self.frame, self.frames)

    @property
    def from_common(self) -> Floats:
        return projection.homography(self.frames, self.frame)


def rough_positions(measured: xr.Dataset, rows: Rows, planes: Planes, xi: Floats, eta: Floats) -> None:
    """Write into xi and eta (deg) where the rough WCSs put each measurement in its exposure's plane."""
    start = np.ascontiguousarray(measured["start"].values)
    basis = polynomial.basis(polynomial.degree_of(start.shape[-1]))
    crval = measured["crval"].values
    tangent_planes = projection.frames(crval[:, 0], crval[:, 1])
    matrices = projection.homography(planes.frames[rows.exposure], tangent_planes)
    pixels = measured["x"].values, measured["y"].values, measured["mid"].values, measured["half"].values
    parts = min(16, len(start))
    pool.run(
        _evaluate,
        parts,
        parts,
        rows.image_starts,
        *pixels,
        start,
        basis.parent,
        basis.by_v,
        matrices,
        xi,
        eta,
    )


def common_positions(rows: Rows, affine: Floats, planes: Planes, x: Floats, y: Floats) -> None:
    """Move positions in the exposures' planes by the affines and into the common plane, in place."""
    pool.run(_move, len(affine), rows.exposure_starts, affine, planes.to_common, x, y)


def reference_positions(reference: xr.Dataset, planes: Planes) -> Floats:
    """Reference stars in the common plane: rows xi, eta (deg) and motion (deg/yr); NaN: not in sight."""
    timeless = int(np.count_nonzero(~np.isfinite(reference["epoch"].values)))
    if timeless:
        raise SchemaError(
            f"{timeless} rows of reference have no epoch, wanted the year their places hold for"
        )
    ra, dec = reference["ra"].values, reference["dec"].values
    east, north, there = np.moveaxis(projection.frames(ra, dec), 1, 0)
    motion = _motion(reference, "pm_ra") * east + _motion(reference, "pm_dec") * north
    there = there + (planes.epoch - reference["epoch"].values)[:, None] * motion
    now = np.stack(projection.to_plane(planes.frame, there), -1)
    later = np.stack(projection.to_plane(planes.frame, there + motion), -1)
    return np.concatenate([now, later - now], -1)


def _motion(reference: xr.Dataset, name: str) -> Floats:
    """Proper motion in radians a year, zero where it is not known."""
    mas: Any = np.nan_to_num(reference[name].values, nan=0.0)
    return np.asarray(mas * (projection.MAS * projection.DEG))[:, None]


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(
    part: int,
    parts: int,
    starts: NDArray[np.int64],
    x: Floats,
    y: Floats,
    mid: Floats,
    half: Floats,
    start: Floats,
    parent: NDArray[np.int64],
    by_v: NDArray[np.int64],
    matrices: Floats,
    xi: Floats,
    eta: Floats,
) -> None:
    """Every parts-th image: its two polynomials, then the homography into the exposure's plane."""
    terms = len(parent)
    uv = np.empty((2, _BLOCK))
    monomial = np.empty((terms, _BLOCK))
    a = np.empty(_BLOCK)
    b = np.empty(_BLOCK)
    for image in range(part, len(starts) - 1, parts):
        m = matrices[image]
        for first in range(starts[image], starts[image + 1], _BLOCK):
            count = min(_BLOCK, starts[image + 1] - first)
            for k in range(count):
                uv[0, k] = (x[first + k] - mid[image, 0]) / half[image, 0]
                uv[1, k] = (y[first + k] - mid[image, 1]) / half[image, 1]
                monomial[0, k] = 1.0
                a[k] = start[image, 0, 0]
                b[k] = start[image, 1, 0]
            for n in range(1, terms):
                lower = monomial[parent[n]]
                factor = uv[by_v[n]]
                for k in range(count):
                    monomial[n, k] = lower[k] * factor[k]
                    a[k] += start[image, 0, n] * monomial[n, k]
                    b[k] += start[image, 1, n] * monomial[n, k]
            for k in range(count):
                depth = m[2, 0] * a[k] + m[2, 1] * b[k] + m[2, 2]
                if depth < 0.1:  # 84 degrees away and more: no tangent plane shows it
                    depth = np.nan
                xi[first + k] = (m[0, 0] * a[k] + m[0, 1] * b[k] + m[0, 2]) / depth
                eta[first + k] = (m[1, 0] * a[k] + m[1, 1] * b[k] + m[1, 2]) / depth


@njit(cache=True, nogil=True, error_model="numpy")
def _move(
    exposure: int, starts: NDArray[np.int64], affine: Floats, matrices: Floats, x: Floats, y: Floats
) -> None:
    a = affine[exposure]
    m = matrices[exposure]
    for i in range(starts[exposure], starts[exposure + 1]):
        xi = x[i] + a[0, 0] + a[0, 1] * x[i] + a[0, 2] * y[i]
        eta = y[i] + a[1, 0] + a[1, 1] * x[i] + a[1, 2] * y[i]
        depth = m[2, 0] * xi + m[2, 1] * eta + m[2, 2]
        x[i] = (m[0, 0] * xi + m[0, 1] * eta + m[0, 2]) / depth
        y[i] = (m[1, 0] * xi + m[1, 1] * eta + m[1, 2]) / depth
