"""How well a field can be known at a place: the standard deviation of the exact process there.

The grid's solution has no variance of its own. But a place is told about by the stars around it, and those
beyond the nearest hundred or so add next to nothing: the exact algebra of the nearest ones is enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.pool import one_blas_thread
from obslab.jointfit.turbulence.process import checked
from obslab.jointfit.turbulence.von_karman import VonKarman

Floats = NDArray[np.float64]


def expected_error(
    kernel: VonKarman, positions: Floats, error: Floats, xi: Any, eta: Any, *, neighbours: int = 150
) -> tuple[Floats, Floats]:
    """Expected error (mas) east and north of a field found from stars with these errors, at xi, eta (deg).

    Of the correlated part: ``kernel.white`` is noise. About 1 ms a place. Each axis is taken by itself: for a
    gradient field that is an upper bound.
    """
    from scipy.spatial import cKDTree

    positions, _, error = checked(positions, np.zeros_like(positions), error)
    xi, eta = np.broadcast_arrays(np.asarray(xi, np.float64), np.asarray(eta, np.float64))
    places = np.stack([xi.ravel(), eta.ravel()], axis=-1)
    near = cKDTree(positions).query(places, min(neighbours, len(positions)))[1].reshape(len(places), -1)
    expected = np.empty((len(places), 2))
    with one_blas_thread():
        for place, rows, result in zip(places, near, expected, strict=True):
            result[:] = _exact(kernel, positions[rows], error[rows], place)
    return expected[:, 0].reshape(xi.shape), expected[:, 1].reshape(xi.shape)


def _exact(kernel: VonKarman, stars: Floats, error: Floats, place: Floats) -> list[float]:
    """Rasmussen & Williams 2006, eq. 2.26, for each axis."""
    apart = stars[:, None] - stars[None]
    among = kernel.correlation(apart[..., 0], apart[..., 1])
    to_place = kernel.correlation(*(stars - place).T)
    errors = []
    for axis, variance in enumerate(kernel.variance):
        noise = np.diag((error[:, axis] ** 2 + kernel.white) / variance)
        known = float(to_place @ np.linalg.solve(among + noise, to_place))
        errors.append(float(np.sqrt(variance * max(1 - known, 0.0))))
    return errors
