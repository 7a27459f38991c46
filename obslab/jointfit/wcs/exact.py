"""The composed mapping itself as a gwcs, and gwcs in ASDF files; needs ``obslab[gwcs]``.

    pixel -> u, v -> detector's polynomial -> exposure's polynomial (+ displacement) -> sky

Nothing is approximated on this way; the way back is a polynomial. Pixels count from 0, as in gwcs: the FITS
pixel (1, 1) is (0, 0) here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from obslab.errors import NoLabError
from obslab.jointfit.polynomial import Floats, basis, chebyshev_grid, degree_of
from obslab.whole import unfinished

if TYPE_CHECKING:
    from gwcs import WCS


_INVERSE_DEGREE = 8  # comes back to 1e-9 pixel, where degree 6 does to 1e-8
_NODES = 12  # along each axis


@dataclass(frozen=True)
class Displacement:
    """What a turbulence field adds to (xi, eta), in degrees, on a regular grid; between its nodes linear,
    outside of it nothing. ``table`` is (2, len(xi), len(eta))."""

    xi: Floats
    eta: Floats
    table: Floats


@dataclass(frozen=True)
class Composed:
    """Two polynomials one after the other, coefficients (2, terms) in the order of ``polynomial.terms``.

    ``inner`` takes u = (x - mid[0]) / half[0] of FITS pixels x, and v likewise; ``outer`` takes what that
    gives, and ``plane_deg`` times its result are xi, eta in degrees about ``tangent`` (ra, dec in degrees).
    """

    inner: Floats
    outer: Floats
    mid: Floats
    half: Floats
    tangent: tuple[float, float]
    plane_deg: float = 1.0
    displacement: Displacement | None = None


def model(composed: Composed) -> WCS:
    """The mapping as a gwcs of 0-based pixels; NaN outside of the image.

    Its inverse is a polynomial that comes back to 1e-8 pixel, but with a displacement there is none.
    """
    models, coordinates, gwcs = _modules()
    transform = _normalised(models, composed) | _polynomial(models, composed.inner)
    transform = transform | _polynomial(models, composed.outer * composed.plane_deg)
    if composed.displacement is not None:
        transform = transform | _displaced(models, composed.displacement)
    ra, dec = map(float, composed.tangent)
    transform = transform | models.Pix2Sky_TAN() | models.RotateNative2Celestial(ra, dec, 180.0)
    if composed.displacement is None:
        # gwcs would search for the pixels itself, but its 1.0 fails to where there is a projection (#726).
        to_plane = models.RotateCelestial2Native(ra, dec, 180.0) | models.Sky2Pix_TAN()
        transform.inverse = to_plane | _inverse(models, composed)
    from astropy import units

    frames = gwcs.coordinate_frames
    pixels = frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    sky = frames.CelestialFrame(reference_frame=coordinates.ICRS(), name="sky", unit=(units.deg, units.deg))
    wcs = gwcs.WCS([(pixels, transform), (sky, None)])
    low, high = composed.mid - composed.half - 1, composed.mid + composed.half - 1
    wcs.bounding_box = tuple((float(a), float(b)) for a, b in zip(low, high, strict=True))
    return wcs


def write(path: str | Path, models: Mapping[str, WCS]) -> Path:
    """An ASDF file with the gwcs of each name; whole or not at all. Raises WriteError."""
    asdf = _asdf()
    tree = {"wcs": dict(models), "comment": "Pixels count from 0: FITS pixel (1, 1) is (0, 0)."}
    with unfinished(path, durable=False, folders=True) as file:
        asdf.AsdfFile(tree).write_to(file)
    return Path(path)


def read(path: str | Path) -> dict[str, WCS]:
    """The gwcs of each name in a file of ``write``."""
    with _asdf().open(path, lazy_load=False, memmap=False) as file:
        return dict(file["wcs"])


def _normalised(models: Any, composed: Composed) -> Any:
    (x, y), (half_x, half_y) = composed.mid, composed.half
    shift = models.Shift(float(1 - x)) & models.Shift(float(1 - y))
    return shift | models.Scale(float(1 / half_x)) & models.Scale(float(1 / half_y))


def _polynomial(models: Any, coefficients: Floats) -> Any:
    degree = degree_of(coefficients.shape[-1])
    powers = basis(degree).powers
    xi, eta = (
        models.Polynomial2D(degree, **{f"c{i}_{j}": float(c) for (i, j), c in zip(powers, row, strict=True)})
        for row in coefficients
    )
    return models.Mapping((0, 1, 0, 1)) | xi & eta


def _inverse(models: Any, composed: Composed) -> Any:
    """xi, eta in degrees -> 0-based pixels."""
    nodes = np.stack(chebyshev_grid(_NODES))
    inner, outer = (basis(degree_of(part.shape[-1])) for part in (composed.inner, composed.outer))
    plane = composed.plane_deg * composed.outer @ outer(*(composed.inner @ inner(*nodes).T)).T
    linear = plane @ np.linalg.pinv(basis(1)(*nodes)).T
    back = np.linalg.inv(linear[:, 1:])
    start = back @ -linear[:, 0]
    values = basis(_INVERSE_DEGREE)(*(back @ plane + start[:, None]))
    undone = np.asarray(np.linalg.lstsq(values, nodes.T)[0].T, np.float64)
    affine = models.AffineTransformation2D(matrix=back, translation=start)
    return affine | _polynomial(models, undone) | _normalised(models, composed).inverse


def _displaced(models: Any, displacement: Displacement) -> Any:
    points = (np.asarray(displacement.xi), np.asarray(displacement.eta))
    moves = [
        models.Tabular2D(points=points, lookup_table=table, bounds_error=False, fill_value=0.0)
        for table in np.asarray(displacement.table, np.float64)
    ]
    keep = [models.Mapping((axis,), n_inputs=2) for axis in (0, 1)]
    return models.Mapping((0, 1, 0, 1)) | (keep[0] + moves[0]) & (keep[1] + moves[1])


def _modules() -> tuple[Any, Any, Any]:
    try:
        import gwcs
        import gwcs.coordinate_frames
        from astropy import coordinates
        from astropy.modeling import models
    except ImportError as error:
        raise _missing(error) from error
    return models, coordinates, gwcs


def _asdf() -> Any:
    try:
        import asdf
        import gwcs
    except ImportError as error:
        raise _missing(error) from error
    return asdf if gwcs else None


def _missing(error: ImportError) -> NoLabError:
    return NoLabError(f"an exact WCS needs {error.name}, which is not installed: pip install obslab[gwcs]")
