"""Errors of the measurements, from pixels to the tangent plane, with a floor."""

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


def weights(
    measured: xr.Dataset, rows: NDArray[np.int64], unit: float, floor_mas: Floats | float = 0.0
) -> NDArray[np.float32]:
    """Information about each place in the plane, (1, n), or (3, n) where errors differ by direction.

    ``floor_mas``: added in quadrature, one number or one for each row. One scale for an image: the scale of a wide
    camera changes by 0.2 % over a detector, which changes chi2 by less than that.
    """
    image = measured.image.values[rows]
    matrix = pixel_matrices(measured) / unit
    floor = np.broadcast_to(np.asarray(floor_mas, np.float64), (len(rows),)) * MAS / unit
    if "sigma_x" not in measured:
        scale = np.sqrt(np.abs(np.linalg.det(matrix))).astype(np.float32)
        error = scale[image] * measured.sigma.values[rows].astype(np.float32)
        variance = error * error
        if np.any(floor):
            variance = variance + (floor * floor).astype(np.float32)
        return np.asarray(1 / variance, np.float32)[None]
    covariance = np.zeros((len(rows), 2, 2))
    covariance[:, 0, 0] = measured.sigma_x.values[rows].astype(float) ** 2
    covariance[:, 1, 1] = measured.sigma_y.values[rows].astype(float) ** 2
    cross = measured.covariance_xy.values[rows].astype(float) if "covariance_xy" in measured else 0.0
    covariance[:, 0, 1] = covariance[:, 1, 0] = cross
    plane = np.einsum("nij,njk,nlk->nil", matrix[image], covariance, matrix[image])
    plane[:, [0, 1], [0, 1]] += floor[:, None] ** 2
    inverse = np.linalg.inv(plane)
    return np.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]]).astype(np.float32)
