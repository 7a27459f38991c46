"""Sky and tangent planes. One gnomonic plane to another is a projective map: a 3 x 3 matrix, no trigonometry.

A frame is a 3 x 3 matrix of rows east, north, pole: the axes xi and eta of a tangent plane and its tangent
point as unit vectors. Planes are in degrees as in FITS (Calabretta & Greisen 2002, eq. 54, times 180/pi).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DEG = np.pi / 180
MAS = 1 / 3.6e6
"""A milliarcsecond in degrees."""


def unit_vectors(ra: Any, dec: Any) -> Floats:
    """Directions as unit vectors, shape (..., 3); ra and dec in degrees."""
    a, d = np.asarray(ra, np.float64) * DEG, np.asarray(dec, np.float64) * DEG
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d) + 0 * a], -1)


def sky(vectors: Floats) -> tuple[Floats, Floats]:
    """ra in [0, 360) and dec in degrees of vectors (..., 3) of any length."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def frames(ra: Any, dec: Any) -> Floats:
    """Frames (..., 3, 3) with these tangent points, in degrees."""
    a, d = np.broadcast_arrays(np.asarray(ra, np.float64) * DEG, np.asarray(dec, np.float64) * DEG)
    zero = np.zeros_like(a)
    east = np.stack([-np.sin(a), np.cos(a), zero], -1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], -1)
    return np.stack([east, north, unit_vectors(np.degrees(a), np.degrees(d))], -2)


def to_plane(frame: Floats, vectors: Floats) -> tuple[Floats, Floats]:
    """xi, eta (deg) of directions (..., 3) in frames that broadcast; NaN on the other half of the sky."""
    seen = np.einsum("...ij,...j->...i", frame, vectors)
    depth = np.where(seen[..., 2] > 0, seen[..., 2], np.nan) * DEG
    return seen[..., 0] / depth, seen[..., 1] / depth


def from_plane(frame: Floats, xi: Any, eta: Any) -> Floats:
    """Unit vectors (..., 3) of plane positions in degrees."""
    x, y = np.broadcast_arrays(np.asarray(xi, np.float64) * DEG, np.asarray(eta, np.float64) * DEG)
    seen = np.stack([x, y, np.ones_like(x)], -1)
    vectors = np.einsum("...ji,...j->...i", frame, seen)
    length: Floats = np.sqrt(1 + x * x + y * y)
    return np.asarray(vectors / length[..., None])


def homography(to: Floats, source: Floats) -> Floats:
    """Matrices (..., 3, 3) that take (xi, eta, 1), in degrees, of plane ``source`` to that of plane ``to``,
    up to the third component, which divides the other two."""
    scale = np.array([DEG, DEG, 1.0])
    return np.asarray(to @ np.swapaxes(source, -1, -2) * scale[None, :] / scale[:, None])


def apply(matrix: Floats, xi: Any, eta: Any) -> tuple[Floats, Floats]:
    """Plane positions moved by homographies that broadcast against them."""
    m = matrix
    depth = m[..., 2, 0] * xi + m[..., 2, 1] * eta + m[..., 2, 2]
    return (
        (m[..., 0, 0] * xi + m[..., 0, 1] * eta + m[..., 0, 2]) / depth,
        (m[..., 1, 0] * xi + m[..., 1, 1] * eta + m[..., 1, 2]) / depth,
    )


def middle(frame_stack: Floats) -> tuple[float, float]:
    """ra, dec (deg) of the mean tangent point of frames (n, 3, 3)."""
    ra, dec = sky(frame_stack[:, 2].mean(0))
    return float(ra), float(dec)


def earth(mjd: Any) -> Floats:
    """Barycentric position of the Earth in au, equatorial axes, shape (..., 3).

    Astropy's built-in ephemeris (ERFA epv00, good to 5e-8 au in 1900-2100), so no download is needed.
    """
    from astropy.coordinates import get_body_barycentric
    from astropy.time import Time

    place = get_body_barycentric(
        "earth", Time(np.asarray(mjd, np.float64), format="mjd", scale="utc"), "builtin"
    )
    return np.moveaxis(np.asarray(place.xyz.to_value("au"), np.float64), 0, -1)
