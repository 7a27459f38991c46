"""Curve: one component of a baseline, coefficients on the basis that all its components share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from obslab.telemetry.baseline.basis import Basis, Floats, Nanoseconds
from obslab.times import NS_PER_DAY

_CHUNK = 20_000  # times whose rows are in memory at once: 20,000 of 40 columns are 6 MB


@dataclass(frozen=True, eq=False)
class Curve:
    """One component: ``basis.rows(t) @ coefficients``, in ``unit`` (nT or deg).

    ``factor`` is upper triangular; ``factor @ factor.T`` is the covariance of the coefficients, already
    scaled by ``chi2``, the squared residuals for each degree of freedom in units of the errors given.
    ``smoothing_days`` is the period of which the curve follows half the amplitude; None: not smoothed.
    """

    component: str
    unit: str
    basis: Basis
    coefficients: Floats
    factor: Floats
    chi2: float
    smoothing_days: float | None

    def values(self, time_ns: Nanoseconds) -> Floats:
        return self.basis.values(time_ns, self.coefficients[:, None])[:, 0]

    def band(self, time_ns: Nanoseconds) -> Floats:
        """Standard error of ``values``.

        It grows outside the spots: with the error of the slope where the curve goes on as a straight
        line; where it goes on as a constant, with the slope that is neglected and its error.
        """
        time_ns = np.asarray(time_ns, np.int64)
        band = np.empty(len(time_ns))
        for begin in range(0, len(time_ns), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            variance = ((self.basis.rows(time_ns[part]) @ self.factor) ** 2).sum(1)
            if self.basis.extrapolation == "constant":
                beyond, slopes = self.basis.edges(time_ns[part])
                slope2 = (slopes @ self.coefficients) ** 2 + ((slopes @ self.factor) ** 2).sum(1)
                variance += beyond**2 * slope2
            band[part] = np.sqrt(variance)
        return band

    def breaks(self) -> tuple[Nanoseconds, Floats, Floats]:
        """Times at which the curve jumps, by how much, and the standard error of that."""
        time_ns = self.basis.break_ns
        across = self.basis.rows(time_ns) - self.basis.rows(time_ns - 1)
        return time_ns, across @ self.coefficients, np.sqrt(((across @ self.factor) ** 2).sum(1))

    def slope(self, begin_ns: int, end_ns: int) -> tuple[float, float]:
        """Mean slope over ``[begin, end)``, a day, jumps left out, and its standard error."""
        ends = self.basis.rows(np.array([begin_ns, end_ns - 1]))
        row = ends[1] - ends[0]
        for time_ns in self.basis.break_ns:
            if begin_ns < time_ns < end_ns:
                at = self.basis.rows(np.array([time_ns - 1, time_ns]))
                row = row - (at[1] - at[0])
        days = (end_ns - begin_ns) / NS_PER_DAY
        return float(row @ self.coefficients) / days, float(np.linalg.norm(row @ self.factor)) / days
