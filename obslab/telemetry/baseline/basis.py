"""Basis: the functions of time that a baseline is a sum of, B-splines on pieces and Heaviside steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from obslab.times import NS_PER_DAY

if TYPE_CHECKING:
    from scipy.interpolate import BSpline

Floats = NDArray[np.float64]
Nanoseconds = NDArray[np.int64]
Extrapolation = Literal["linear", "constant"]


@dataclass(frozen=True, eq=False)
class Piece:
    """From ``begin_ns`` on: B-splines of one degree on ``knots_ns``, from its first spot to its last.

    Beyond its outer knots each function goes on as a straight line (``slope``) or as a constant.
    """

    begin_ns: int
    knots_ns: Nanoseconds
    degree: int

    @property
    def size(self) -> int:
        return len(self.knots_ns) - 1 + self.degree

    @cached_property
    def knots_days(self) -> Floats:
        """The full knot vector in days after the first knot, outer knots repeated."""
        days = (self.knots_ns - self.knots_ns[0]) / NS_PER_DAY
        return np.concatenate([np.zeros(self.degree), days, np.full(self.degree, days[-1])])

    @cached_property
    def spline(self) -> BSpline:
        """All functions at once: a spline whose coefficients are the unit matrix."""
        from scipy.interpolate import BSpline

        return BSpline(self.knots_days, np.eye(self.size), self.degree)

    @cached_property
    def edge_slopes(self) -> tuple[Floats, Floats]:
        """Derivatives of all functions at the first and the last knot, a day."""
        if self.degree == 0:
            return np.zeros(self.size), np.zeros(self.size)
        slope = self.spline.derivative()
        return np.asarray(slope(0.0)), np.asarray(slope(self.knots_days[-1]))

    def split(self, time_ns: Nanoseconds) -> tuple[Floats, Floats, Floats]:
        """Days after the first knot, clamped to the knots, and how far before and after them."""
        days = (time_ns - self.knots_ns[0]) / NS_PER_DAY
        last = float(self.knots_days[-1])
        return np.clip(days, 0.0, last), np.minimum(days, 0.0), np.maximum(days - last, 0.0)

    def rows(self, time_ns: Nanoseconds, extrapolation: Extrapolation) -> Floats:
        """All functions at each time: ``(n, size)``."""
        inside, before, after = self.split(time_ns)
        rows = np.asarray(self.spline(inside), np.float64)
        if extrapolation == "linear":
            first, last = self.edge_slopes
            rows = rows + before[:, None] * first + after[:, None] * last
        return rows

    def values(self, time_ns: Nanoseconds, coefficients: Floats, extrapolation: Extrapolation) -> Floats:
        """Sums of the functions: ``(size, m)`` coefficients to ``(n, m)``; as ``rows @ coefficients``."""
        from scipy.interpolate import BSpline

        inside, before, after = self.split(time_ns)
        values = np.asarray(BSpline(self.knots_days, coefficients, self.degree)(inside), np.float64)
        if extrapolation == "linear":
            first, last = (slopes @ coefficients for slopes in self.edge_slopes)
            values = values + before[:, None] * first + after[:, None] * last
        return values


@dataclass(frozen=True, eq=False)
class Basis:
    """Columns of the design: those of each piece, in order, then one Heaviside step for each of ``steps_ns``.

    A piece holds until the next begins. All components of a baseline share one basis.
    """

    pieces: tuple[Piece, ...]
    steps_ns: Nanoseconds
    extrapolation: Extrapolation = "linear"

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces) + len(self.steps_ns)

    @property
    def degree(self) -> int:
        return self.pieces[0].degree

    @cached_property
    def columns(self) -> tuple[slice, ...]:
        """Where the columns of each piece are."""
        ends = np.cumsum([piece.size for piece in self.pieces])
        return tuple(slice(int(end) - p.size, int(end)) for p, end in zip(self.pieces, ends, strict=True))

    @property
    def break_ns(self) -> Nanoseconds:
        """Times at which the curve may jump, in order."""
        begins = [piece.begin_ns for piece in self.pieces[1:]]
        return np.sort(np.concatenate([np.array(begins, np.int64), self.steps_ns]))

    def piece_of(self, time_ns: Nanoseconds) -> NDArray[np.int64]:
        """The piece that holds at each time; the first holds before its begin, too."""
        begins = np.array([piece.begin_ns for piece in self.pieces[1:]], np.int64)
        return np.searchsorted(begins, time_ns, side="right")

    def rows(self, time_ns: Nanoseconds) -> Floats:
        """The design at each time: ``(n, size)``."""
        time_ns = np.asarray(time_ns, np.int64)
        rows = np.zeros((len(time_ns), self.size))
        which = self.piece_of(time_ns)
        for place, (piece, columns) in enumerate(zip(self.pieces, self.columns, strict=True)):
            here = np.flatnonzero(which == place)
            if here.size:
                rows[here, columns] = piece.rows(time_ns[here], self.extrapolation)
        if len(self.steps_ns):
            rows[:, -len(self.steps_ns) :] = time_ns[:, None] >= self.steps_ns
        return rows

    def values(self, time_ns: Nanoseconds, coefficients: Floats) -> Floats:
        """``rows(time_ns) @ coefficients`` for ``(size, m)`` coefficients, fast for very many times."""
        time_ns = np.asarray(time_ns, np.int64)
        values = np.zeros((len(time_ns), coefficients.shape[1]))
        which = self.piece_of(time_ns)
        for place, (piece, columns) in enumerate(zip(self.pieces, self.columns, strict=True)):
            here = which == place
            if here.any():
                values[here] = piece.values(time_ns[here], coefficients[columns], self.extrapolation)
        if len(self.steps_ns):
            before = np.searchsorted(self.steps_ns, time_ns, side="right")
            heights = np.cumsum(coefficients[-len(self.steps_ns) :], axis=0)
            values += np.concatenate([np.zeros((1, heights.shape[1])), heights])[before]
        return values

    def edges(self, time_ns: Nanoseconds) -> tuple[Floats, Floats]:
        """Days from the knots of its piece, 0 within them, and the rows of the slope there: for the band."""
        time_ns = np.asarray(time_ns, np.int64)
        beyond, slopes = np.zeros(len(time_ns)), np.zeros((len(time_ns), self.size))
        which = self.piece_of(time_ns)
        for place, (piece, columns) in enumerate(zip(self.pieces, self.columns, strict=True)):
            here = np.flatnonzero(which == place)
            _, before, after = piece.split(time_ns[here])
            beyond[here] = after - before
            first, last = piece.edge_slopes
            slopes[here, columns] = np.where((before < 0)[:, None], first, last)
        return beyond, slopes

    def penalty(self) -> Floats:
        """Integral of the products of second derivatives, a day cubed: ``(size, size)``; steps have none."""
        whole = np.zeros((self.size, self.size))
        for piece, columns in zip(self.pieces, self.columns, strict=True):
            if piece.degree < 2:
                continue
            # Degree - 1 nodes of Gauss integrate the square of a polynomial of degree - 2 exactly.
            nodes, weights = np.polynomial.legendre.leggauss(piece.degree - 1)
            days = piece.knots_days[piece.degree : len(piece.knots_days) - piece.degree]
            half = np.diff(days)[:, None] / 2
            at = days[:-1, None] + half * (nodes + 1)
            bent = np.asarray(piece.spline.derivative(2)(at.ravel()))
            whole[columns, columns] = bent.T @ ((half * weights).ravel()[:, None] * bent)
        return whole
