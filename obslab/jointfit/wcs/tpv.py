"""TPV: a tangent plane with a polynomial in it, as SCAMP, SExtractor and SWarp use it.

    x, y = CD (pixel - CRPIX)              in degrees
    xi   = PV1_0 + PV1_1 x + PV1_2 y + PV1_4 x2 + PV1_5 x y + PV1_6 y2 + ...
    eta  = PV2_0 + PV2_1 y + PV2_2 x + PV2_4 y2 + PV2_5 x y + PV2_6 x2 + ...

Terms 3, 11, 23 and 39 are odd powers of the distance from the tangent point, which we have no use for.
Published as a convention in the FITS registry (https://fits.gsfc.nasa.gov/registry/tpvwcs.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from obslab.jointfit.polynomial import Floats, basis, substituted
from obslab.jointfit.wcs.cards import Card
from obslab.jointfit.wcs.planes import Error, Mapped, NoWCSError, flattened, slopes

DEGREE = 5
"""As for SIP; about the exposure's tangent point 4 misses 1e-6 mas and 5 misses 4e-8 mas."""

_FIRST = (0, 1, 4, 7, 12, 17, 24, 31)  # number of the first term of each degree


@dataclass(frozen=True)
class Tpv:
    """TPV headers of images. ``table`` (B, 2, terms) gives xi and eta in degrees of (x, y) in degrees."""

    names: Sequence[str]
    crval: Floats
    crpix: Floats
    cd: Floats
    table: Floats
    degree: int
    error: Error
    """Of the header: distance on the sky from the mapping."""

    ctype = ("RA---TPV", "DEC--TPV")

    def cards(self) -> Iterator[Card]:
        """All cards but those of the axes that every WCS has."""
        for axis in range(2):
            for number, n in numbers(axis, self.degree):
                yield Card(f"PV{axis + 1}_{number}", self.table[:, axis, n], form="%20.13E")


def fit_tpv(mapped: Mapped, degree: int = DEGREE, exposure_tangent: bool = False) -> Tpv:
    """TPV headers of all images; raises NoWCSError for an image that cannot have one.

    The tangent point is the middle of each image, or as SCAMP has it, that of the exposure: then CRPIX lies
    outside of most images, and all images of an exposure have the same CRVAL.
    """
    if not 1 <= degree <= 7:
        raise NoWCSError(f"TPV degree {degree} is not from 1 to 7", degree=degree)
    plane = flattened(mapped, degree, own=not exposure_tangent)
    slope, middle = slopes(plane.coefficients), plane.coefficients[..., 0]
    to_uv = np.asarray(np.linalg.inv(slope), np.float64)
    cd = slope / mapped.half[:, None, :]
    start = -np.einsum("bij,bj->bi", to_uv, middle)  # (u, v) of the tangent point, were the mapping linear
    return Tpv(
        names=mapped.names,
        crval=plane.tangent,
        crpix=mapped.mid + start * mapped.half,
        cd=cd,
        table=substituted(plane.coefficients, to_uv, start),
        degree=degree,
        error=plane.error,
    )


def numbers(axis: int, degree: int) -> Iterator[tuple[int, int]]:
    """TPV's number of each term and its place in ``polynomial.terms``, in order of TPV."""
    order = [(_FIRST[i + j] + (i if axis else j), n) for n, (i, j) in enumerate(basis(degree).powers)]
    yield from sorted(order)
