"""Passes over all points, and what they find: the sums of a fit at given terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit import polynomial, pool
from obslab.jointfit.photometry import kernels
from obslab.jointfit.photometry.columns import Columns
from obslab.jointfit.photometry.points import PARTS, Points
from obslab.jointfit.photometry.rejection import BINS, MEDIAN_CHI2, median

Floats = NDArray[np.float64]

_TAILS = 2.0  # variance over that by the median: a normal distribution has 1, Student's t with 5 degrees 1.5
_MATRICES_MB = 64  # for the parts' own matrices; no fewer than two parts


@dataclass(frozen=True)
class Sums:
    """What a pass found, and whatever of the normal equations was asked for."""

    totals: Floats
    """Shape (2, TOTALS): of stars that are fitted, and of those held out."""
    scale: float
    """Median of chi2 over that of perfect errors, at least 1: the cut grows with it."""
    bright_median: float
    """Median squared residual of the brightest quarter, mag**2, each star's own pull allowed for."""
    bright_sums: Floats
    """For each step of their errors: points, sum of squared residuals, sum of squared errors."""
    matrix: Floats
    right: Floats
    diagonal: Floats

    def of_fitted(self, what: int) -> float:
        return float(self.totals[0, what])

    def of_held_out(self, what: int) -> float:
        return float(self.totals[1, what])


class Passes:
    """The points and columns of a fit, with the stars' values; each call is one pass over all points."""

    def __init__(self, points: Points, columns: Columns, bright: float, fluxes: bool = False) -> None:
        self.points, self.columns, self.bright, self.fluxes = points, columns, bright, fluxes
        self.basis = polynomial.basis(polynomial.degree_of(len(columns.powers) + 1))
        size = len(columns)
        self.parts = int(np.clip(_MATRICES_MB * 1e6 / (8 * max(size, 1) ** 2), 2, PARTS))
        self.bounds = points.parts(self.parts)
        self.star = np.full(len(points.star), np.nan)
        self.information = np.zeros(len(points.star))
        self._matrix = np.zeros((self.parts, size, size))
        self._diagonal = np.zeros((self.parts, size))
        self._right = np.zeros((self.parts, size))
        self._totals = np.zeros((self.parts, 2, kernels.TOTALS))
        self._histogram = np.zeros((2, self.parts, BINS))
        self._bright = np.zeros((self.parts, kernels.ERROR_BINS, 3))
        longest, many = points.longest, len(columns.powers) + 3
        self._seen = np.empty((self.parts, size), np.int64)
        self._scratch = (
            np.empty((self.parts, 5, longest)), np.empty((self.parts, longest, many)),
            np.empty((self.parts, longest), np.bool_), np.empty((self.parts, longest), np.uint64),
            np.empty((self.parts, many)), np.empty((self.parts, many), np.uint64),
            np.empty((self.parts, size)), self._seen, *np.empty((2, self.parts, size), np.uint64),
        )  # fmt: skip

    def __call__(
        self, terms: Floats, *, soft_mag: float = 0.0, floor_mag: float = 0.0, cut: float = np.inf,
        verdict: int = kernels.FREE, matrix: bool = False, gradient: bool = True,
    ) -> Sums:  # fmt: skip
        p, c = self.points, self.columns
        for sums in (self._right, self._totals, self._histogram, self._bright):
            sums[:] = 0
        if matrix:
            self._matrix[:] = self._diagonal[:] = 0
            self._seen[:] = 0
        pool.run(
            kernels.sweep, self.parts, self.bounds, p.first,
            p.image, p.fx, p.fy, p.value, p.error, p.state,
            self.star, self.information, p.color, p.held,
            p.reference_value, p.reference_error, p.reference_state,
            c.zero, c.detector, c.illumination, c.color, self.basis.parent, self.basis.by_v, terms,
            self.fluxes, soft_mag, floor_mag, cut, verdict, self.bright, matrix, gradient or matrix,
            self._matrix, self._right, self._diagonal, self._totals, self._histogram[0], self._histogram[1],
            self._bright, *self._scratch,
        )  # fmt: skip
        total = self._matrix.sum(0) if matrix else np.zeros((0, 0))
        total = total + total.T - np.diag(np.diag(total))
        middle, bright_middle = (median(histogram.sum(0)) for histogram in self._histogram)
        return Sums(
            totals=self._totals.sum(0),
            scale=max(1.0, middle / MEDIAN_CHI2),
            bright_median=bright_middle,
            bright_sums=self._bright.sum(0),
            matrix=total,
            right=self._right.sum(0),
            diagonal=self._diagonal.sum(0),
        )


def rough_floor(sums: Sums, tails: float = 1.0) -> float:
    """Error floor (mag) that makes ``tails`` times the variance by the median residual of bright points."""
    many, _, errors = sums.bright_sums.sum(0)
    if not many:
        return 0.0
    return float(np.sqrt(max(0.0, tails * sums.bright_median / MEDIAN_CHI2 - errors / many)))


def floor(sums: Sums) -> float:
    """Error floor (mag) at which chi2 of the bright points is what it should be; 0 if it is without one.

    Not more than their median allows: a floor that outliers raised would keep them.
    """
    many, residuals, errors = (column[sums.bright_sums[:, 0] > 0] for column in sums.bright_sums.T)

    def excess(square: float) -> float:
        return float((residuals / (errors / many + square)).sum() - many.sum())

    if not len(many) or excess(0) <= 0:
        return 0.0
    low, high = 0.0, float(residuals.sum() / many.sum())
    while excess(high) > 0:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return min(float(np.sqrt(high)), rough_floor(sums, _TAILS))
