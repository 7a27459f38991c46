"""TAN-SIP: a polynomial in pixels before the tangent plane, and its inverse (Shupe et al. 2005).

    xi, eta = CD (p + (A(p), B(p)))        p = pixel - CRPIX
    p = q + (AP(q), BP(q))                 q = CD^-1 (xi, eta)

CRPIX is the middle of the image, CRVAL where the fit puts it, and CD the slope there, so A and B have terms
from the second degree up. Everything is linear but the inverse, so one pseudo-inverse serves all images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.polynomial import Floats, basis, chebyshev_grid
from obslab.jointfit.projection import MAS
from obslab.jointfit.wcs.cards import Card
from obslab.jointfit.wcs.planes import Error, Mapped, NoWCSError, checks, error_of, flattened, slopes

DEGREE = 5
"""For a camera of 1 degree with 2.7 arcsec of distortion at its edge, mapped with degree 4 for the detectors
and 2 for the exposures, degree 3 misses 0.2 mas, 4 misses 5e-6 mas and 5 misses 1e-8 mas. 5 leaves room for
detector mappings of degree 5."""

INVERSE_DEGREE = 6
"""On the same camera, pixels come back to 2e-5 pixel with degree 4, 1e-7 with 5 and 3e-9 with 6."""

_TOGETHER = 64  # images inverted at once: what fits into the cache


@dataclass(frozen=True)
class Sip:
    """TAN-SIP headers of images: A, B are ``forward`` and AP, BP ``inverse`` (B, 2, terms), in pixels."""

    names: Sequence[str]
    crval: Floats
    crpix: Floats
    cd: Floats
    forward: Floats
    inverse: Floats
    degree: int
    inverse_degree: int
    error: Error
    """Of the header: distance on the sky from the mapping."""
    inverse_error: Error
    """Of AP and BP: how far from where it started a pixel comes back, as an angle."""
    inverse_max_pixel: Floats

    ctype = ("RA---TAN-SIP", "DEC--TAN-SIP")

    def cards(self) -> Iterator[Card]:
        """All cards but those of the axes that every WCS has."""
        for axis, name in enumerate("AB"):
            yield from _polynomial(
                name, self.degree, self.forward[:, axis], "Degree of the SIP polynomial", 2
            )
        for axis, name in enumerate(("AP", "BP")):
            yield from _polynomial(
                name, self.inverse_degree, self.inverse[:, axis], "Degree of its inverse", 0
            )
        yield Card("OBSLIPIX", self.inverse_max_pixel, "[pixel] Largest error of AP and BP", "%20.6E")
        yield Card("OBSLIMAS", self.inverse_error.max_mas, "[mas] The same on the sky", "%20.6E")


def fit_sip(mapped: Mapped, degree: int = DEGREE, inverse_degree: int = INVERSE_DEGREE) -> Sip:
    """TAN-SIP headers of all images; raises NoWCSError for an image that cannot have one."""
    for what, wanted in (("degree", degree), ("inverse degree", inverse_degree)):
        if not 2 <= wanted <= 9:
            raise NoWCSError(f"SIP {what} {wanted} is not from 2 to 9", degree=wanted)
    plane = flattened(mapped, degree)
    half = mapped.half
    slope = slopes(plane.coefficients)
    powers = np.array(basis(degree).powers)
    in_uv = np.asarray(
        np.linalg.solve(slope, plane.coefficients), np.float64
    )  # p + A(p) and p + B(p), in units of half
    in_uv[..., :3] = 0
    forward = in_uv * half[:, :, None] / _scales(half, powers)[:, None]
    cd = slope / half[:, None, :]
    back, left = _inverted(in_uv, half, degree, inverse_degree)
    sky = left @ np.swapaxes(cd, 1, 2) / MAS
    inverse = back / _scales(half, np.array(basis(inverse_degree).powers))[:, None]
    return Sip(
        names=mapped.names,
        crval=plane.tangent,
        crpix=mapped.mid,
        cd=cd,
        forward=forward,
        inverse=inverse,
        degree=degree,
        inverse_degree=inverse_degree,
        error=plane.error,
        inverse_error=error_of(sky),
        inverse_max_pixel=error_of(left).max_mas,
    )


def _polynomial(name: str, degree: int, table: Floats, comment: str, lowest: int) -> Iterator[Card]:
    yield Card(f"{name}_ORDER", degree, comment)
    for n, (i, j) in enumerate(basis(degree).powers):
        if i + j >= lowest:
            yield Card(f"{name}_{i}_{j}", table[:, n], form="%20.13E")


def _scales(half: Floats, powers: NDArray[np.int64]) -> Floats:
    """half_x^i half_y^j of all monomials (B, terms)."""
    return np.asarray(half[:, :1] ** powers[:, 0] * half[:, 1:] ** powers[:, 1])


def _inverted(forward: Floats, half: Floats, degree: int, inverse_degree: int) -> tuple[Floats, Floats]:
    """Inverse (B, 2, terms) of q = (u, v) + forward(u, v), in pixels of (u, v), and how far it misses them.

    Images have nodes q of their own, so there is a small system for each; monomials made orthonormal on the
    nodes of an image without distortion keep it nearly the unit matrix.
    """
    nodes = np.stack(chebyshev_grid(inverse_degree + 2), -1)
    there, back = basis(degree), basis(inverse_degree)
    tame = np.linalg.inv(np.linalg.qr(back(*nodes.T), mode="r"))
    ends = np.stack(checks(), -1)
    at_nodes, at_ends, across = there(*nodes.T), there(*ends.T), np.swapaxes(forward, 1, 2)
    inverse = np.empty((len(forward), 2, len(back)))
    left = np.empty((len(forward), len(ends), 2))
    for begin in range(0, len(forward), _TOGETHER):
        part = slice(begin, begin + _TOGETHER)
        bent = at_nodes @ across[part]
        rows = back(*np.moveaxis(nodes + bent, -1, 0)) @ tame
        turned = np.swapaxes(rows, 1, 2)
        found = tame @ np.linalg.solve(turned @ rows, turned @ -bent)
        inverse[part] = np.swapaxes(found, 1, 2) * half[part, :, None]
        bent = at_ends @ across[part]
        left[part] = (bent + back(*np.moveaxis(ends + bent, -1, 0)) @ found) * half[part, None]
    return inverse, left
