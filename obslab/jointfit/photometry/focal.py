"""Where on the focal plane a pixel lies, which is what flat corrections depend on: one plane for each camera.

Sky-oriented positions would not do: exposures are rotated against each other. The detectors' places therefore
come from the rough WCS of all exposures, each turned and moved onto the first one of its instrument, and are
the same in all of them. A position measured better, such as the inner mapping of an astrometric fit, can be
given instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import polynomial
from obslab.jointfit.photometry.settings import PhotometryError
from obslab.jointfit.projection import apply, frames, homography

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEGREE = 4  # of what is fitted to given positions: exact for inner mappings of the usual degree
_POINTS_PER_TERM = 4
_SAMPLE = 4000  # points of one detector are enough to know its place
_ROUNDS = 3


@dataclass(frozen=True)
class FocalPlane:
    """Focal-plane position of a pixel as polynomials of u, v, within [-1, 1] over the camera."""

    of_image: Ints
    """Which polynomial each image has: one for each detector of each instrument."""
    coefficients: Floats
    """Shape (detectors, 2, terms), of positions already divided by ``scale``."""
    center: Floats
    """Position, in ``unit``, at which the normalised one is zero; shape (instruments, 2)."""
    scale: float
    unit: str

    def position(self, image: Ints, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Normalised position of pixels on images, arrays of one shape."""
        basis = polynomial.basis(polynomial.degree_of(self.coefficients.shape[-1]))(u, v)
        c = self.coefficients[self.of_image[image]]
        return (basis * c[..., 0, :]).sum(-1), (basis * c[..., 1, :]).sum(-1)


def detectors_of(measured: xr.Dataset, instrument: Ints) -> tuple[Ints, Ints]:
    """Number of each image's detector-in-an-instrument, and the instrument of each of those."""
    pairs = np.stack([instrument, measured.detector.values], 1)
    unique, of_image = np.unique(pairs, axis=0, return_inverse=True)
    return of_image.reshape(-1), unique[:, 0]


def from_rough_wcs(
    measured: xr.Dataset, exposures: xr.Dataset, exposure: Ints, instrument: Ints
) -> FocalPlane:
    """The camera's plane in degrees from all rough WCS; ``exposure`` is each image's row of exposures."""
    of_image, instruments = detectors_of(measured, instrument)
    u, v = (a.ravel() for a in np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1]))
    start = measured.start.values
    plane = polynomial.basis(polynomial.degree_of(start.shape[-1]))(u, v) @ np.swapaxes(start, -1, -2)
    crval = measured.crval.values
    tangent = frames(exposures.ra.values, exposures.dec.values)[exposure]
    matrix = homography(tangent, frames(crval[:, 0], crval[:, 1]))
    xi, eta = apply(matrix[:, None], plane[..., 0], plane[..., 1])
    seen = xi + 1j * eta  # (image, 9): a rotation is a factor, a shift a summand
    layout = np.full((len(instruments), seen.shape[1]), np.nan + 0j)
    for number in np.unique(instrument):
        _lay_out(layout, seen, of_image, [np.flatnonzero((instrument == number) & (exposure == e)) for e in
                 np.unique(exposure[instrument == number])])  # fmt: skip
    linear = np.linalg.pinv(polynomial.basis(1)(u, v))
    coefficients = np.stack([layout.real @ linear.T, layout.imag @ linear.T], 1)
    return _normalised(coefficients, of_image, instruments, "deg")


def _lay_out(
    layout: NDArray[np.complex128], seen: NDArray[np.complex128], of_image: Ints, groups: list[Ints]
) -> None:
    """Fill the detectors' places, from exposures (groups of images) turned and moved onto each other."""
    turned = seen.copy()
    for turn in range(_ROUNDS):
        waiting = list(groups)
        while waiting:
            known = [g for g in waiting if np.isfinite(layout[of_image[g]].real).any()] or waiting[:1]
            for group in known:
                here, there = seen[group], layout[of_image[group]]
                both = np.isfinite(there.real).all(1) & np.isfinite(here.real).all(1)
                turned[group] = here
                if both.any():
                    a, b = here[both], there[both]
                    factor = (np.conj(a - a.mean()) * (b - b.mean())).sum()
                    turned[group] = b.mean() + factor / abs(factor) * (here - a.mean())
                if turn == 0:
                    new = ~np.isfinite(layout[of_image[group]].real).all(1)
                    layout[of_image[group[new]]] = turned[group[new]]
            waiting = [g for g in waiting if not any(g is k for k in known)]
        rows = np.concatenate(groups)
        count = np.bincount(of_image[rows], minlength=len(layout))[:, None]
        total = np.zeros_like(layout)
        np.add.at(total, of_image[rows], turned[rows])
        layout[:] = np.where(count > 0, total / np.maximum(count, 1), layout)


def from_positions(
    measured: xr.Dataset, focal: tuple[Floats, Floats], instrument: Ints, unit: str = "deg"
) -> FocalPlane:
    """The plane in which the measured stars lie at ``focal``: two arrays, one value a row of ``measured``.

    Each detector's positions are fitted by one polynomial, so that other pixels have a place too.
    """
    fx, fy = (np.asarray(f, np.float64) for f in focal)
    rows = measured.sizes["measured"]
    if fx.shape != (rows,) or fy.shape != (rows,):
        raise PhotometryError(
            f"focal has shapes {fx.shape} and {fy.shape}, wanted ({rows},) twice: one for each measurement"
        )
    of_image, instruments = detectors_of(measured, instrument)
    image, mid, half = measured.image.values, measured.mid.values, measured.half.values
    order = np.argsort(of_image[image], kind="stable")
    first = np.searchsorted(of_image[image][order], np.arange(len(instruments) + 1))
    terms = len(polynomial.terms(DEGREE))
    coefficients = np.zeros((len(instruments), 2, terms))
    empty = np.zeros(len(instruments), bool)
    for d in range(len(instruments)):
        here = order[first[d] : first[d + 1]]
        here = here[np.isfinite(fx[here]) & np.isfinite(fy[here])][
            :: max(1, (first[d + 1] - first[d]) // _SAMPLE)
        ]
        degree = max(
            (n for n in range(DEGREE + 1) if _POINTS_PER_TERM * len(polynomial.terms(n)) <= len(here)),
            default=-1,
        )
        if degree < 0:
            empty[d] = True
            continue
        at = (np.stack([measured.x.values[here], measured.y.values[here]], 1) - mid[image[here]]) / half[
            image[here]
        ]
        basis = polynomial.basis(degree)(at[:, 0], at[:, 1])
        fitted = np.linalg.lstsq(basis, np.stack([fx[here], fy[here]], 1), rcond=None)[0]
        coefficients[d, :, : len(basis.T)] = fitted.T
    return _normalised(coefficients, of_image, instruments, unit, empty)


def _normalised(
    coefficients: Floats, of_image: Ints, instruments: Ints, unit: str, empty: NDArray[np.bool_] | None = None
) -> FocalPlane:
    basis = polynomial.basis(polynomial.degree_of(coefficients.shape[-1]))
    u, v = (a.ravel() for a in np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1]))
    edge = coefficients @ basis(u, v).T  # (detector, 2, 9)
    if not np.isfinite(edge).all():
        raise PhotometryError(
            "a rough WCS is not finite: give focal=(fx, fy), focal-plane positions of the measured stars"
        )
    center = np.zeros((int(instruments.max()) + 1, 2))
    scale = 0.0
    for number in np.unique(instruments):
        mine = edge[(instruments == number) & ~(np.zeros(len(edge), bool) if empty is None else empty)]
        if not len(mine):
            continue
        low, high = mine.min((0, 2)), mine.max((0, 2))
        center[number] = (low + high) / 2
        scale = max(scale, float((high - low).max()) / 2)
    scale = scale or 1.0
    moved = coefficients.copy()
    moved[:, :, 0] -= center[instruments]
    return FocalPlane(of_image, moved / scale, center, scale, unit)
