"""Errors of the measurements, from pixels to the plane, with a floor."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.projection import MAS

Floats = NDArray[np.float64]


def pixel_matrices(measured: xr.Dataset) -> Floats:
    """(B, 2, 2): degrees of tangent plane per pixel at the middle of each image, of the rough WCS."""
    start = measured.start.values
    return np.asarray(start[:, :, 1:3] / measured.half.values[:, None, :])


def pixel_scale_mas(measured: xr.Dataset, image: int) -> float:
    """Milliarcseconds of a pixel of an image, by its rough WCS."""
    return float(np.sqrt(np.abs(np.linalg.det(pixel_matrices(measured)[image]))) / MAS)


def weights(
    measured: xr.Dataset,
    rows: NDArray[np.int64],
    unit: float,
    floor: Floats | float,
    *,
    identity: bool = False,
) -> NDArray[np.float32]:
    """Information about each place in the plane, (1, n), or (3, n) where errors differ by direction.

    ``floor`` (n,), or one for all: plane units, added in quadrature. ``identity``: planes are pixels, of an
    image that may be turned against the measurement's, so errors are taken as round. One scale for an image:
    that of a wide camera changes by 0.2 % over a detector, which changes chi2 by less than that.
    """
    image = measured.image.values[rows]
    ellipses = "sigma_x" in measured
    if identity and ellipses:
        error = np.sqrt((measured.sigma_x.values[rows] ** 2 + measured.sigma_y.values[rows] ** 2) / 2) / unit
    elif identity:
        error = measured.sigma.values[rows] / unit
    matrix = pixel_matrices(measured) / unit
    if not identity and not ellipses:
        scale = np.sqrt(np.abs(np.linalg.det(matrix))).astype(np.float32)
        error = scale[image] * measured.sigma.values[rows].astype(np.float32)
    if identity or not ellipses:
        variance = error * error
        if np.any(floor):
            variance = variance + np.square(floor).astype(np.float32)
        return np.asarray(1 / variance, np.float32)[None]
    covariance = np.zeros((len(rows), 2, 2))
    covariance[:, 0, 0] = measured.sigma_x.values[rows].astype(float) ** 2
    covariance[:, 1, 1] = measured.sigma_y.values[rows].astype(float) ** 2
    cross = measured.covariance_xy.values[rows].astype(float) if "covariance_xy" in measured else 0.0
    covariance[:, 0, 1] = covariance[:, 1, 0] = cross
    plane = np.einsum("nij,njk,nlk->nil", matrix[image], covariance, matrix[image])
    plane[:, [0, 1], [0, 1]] += np.square(np.broadcast_to(floor, len(plane)))[:, None]
    inverse = np.linalg.inv(plane)
    return np.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]]).astype(np.float32)
