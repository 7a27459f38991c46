"""Solving: penalised weighted least squares of one component, its smoothing chosen by the data or given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from obslab.errors import BaselineError
from obslab.telemetry.baseline.basis import Basis, Floats, Nanoseconds

_CAUTION = 1.4
"""Each effective parameter counts so much in cross validation: without it one curve in ten follows the
noise (Kim and Gu, 2004, J. R. Statist. Soc. B 66, 337)."""

_PERIODS = 60


@dataclass(frozen=True)
class Solution:
    """Coefficients with ``factor @ factor.T`` as covariance, and how well each spot is described.

    ``leverage`` is what a spot's own value contributes to the curve at its time, for weight one.
    """

    coefficients: Floats
    factor: Floats
    chi2: float
    freedom: float
    smoothing_days: float | None
    leverage: Floats


@dataclass(frozen=True, eq=False)
class Problem:
    """The design of all components on one basis; ``at_ns`` are the times of the spots taken."""

    basis: Basis
    rows: Floats
    penalty: Floats
    span_days: float

    @classmethod
    def on(cls, basis: Basis, at_ns: Nanoseconds, *, smooth: bool) -> Problem:
        penalty = basis.penalty() if smooth else np.zeros((basis.size, basis.size))
        span_days = sum(float(piece.knots_days[-1]) for piece in basis.pieces)
        return cls(basis, basis.rows(at_ns), penalty, span_days)

    def solve(self, values: Floats, weights: Floats, smoothing_days: float | None = None) -> Solution:
        """The curve with the least sum of weighted squares plus the penalty for bending.

        ``weights`` are 1/error^2, 0 leaves a spot out. ``smoothing_days`` is the period of a wave of which
        half the amplitude remains, None: chosen by generalised cross validation. The covariance is the
        Bayesian one (Wahba 1983, J. R. Statist. Soc. B 45, 133), which counts the bias of smoothing in, so
        that the band covers; it is scaled by chi2, for the errors given are seldom the whole scatter, and
        widened for few degrees of freedom so that two standard errors hold 95 % (Student).
        """
        mean = float(weights[weights > 0].mean())
        gram = self.rows.T @ ((weights / mean)[:, None] * self.rows)
        aim = self.rows.T @ (weights / mean * values)
        count = int((weights > 0).sum())
        if not self.penalty.any():
            smoothing_days = None
            root = self._root(gram)
        elif smoothing_days is None:
            smoothing_days = self._best_period(gram, aim, values, weights / mean, count)
            root = self._root(gram + self._strength(smoothing_days, count) * self.penalty)
        else:
            root = self._root(gram + self._strength(smoothing_days, count) * self.penalty)
        inverse = np.triu(np.linalg.inv(root).T)  # inverse @ inverse.T is the inverse of the matrix
        coefficients = inverse @ (inverse.T @ aim)
        trace = float(np.sum((inverse.T @ gram) * inverse.T))
        squares = float(weights @ (values - self.rows @ coefficients) ** 2)
        freedom = count - trace
        # With as many unknowns as spots nothing is left to tell the scatter by: the errors are believed.
        chi2 = squares / freedom if freedom > 0.5 else 1.0
        leverage = ((self.rows @ inverse) ** 2).sum(1) / mean
        return Solution(
            coefficients,
            inverse * (np.sqrt(chi2 / mean) * _student(freedom)),
            chi2,
            freedom,
            smoothing_days,
            leverage,
        )

    def _strength(self, period_days: float, count: int) -> float:
        # The penalty passes 1 / (1 + (T/2 pi)^4 omega^4 ...) of a wave: one half of that with period T.
        return float(count / self.span_days * (period_days / (2 * np.pi)) ** 4)

    def _best_period(self, gram: Floats, aim: Floats, values: Floats, weights: Floats, count: int) -> float:
        shortest = min(np.diff(piece.knots_days).max() for piece in self.basis.pieces)
        periods = np.geomspace(min(2 * shortest, self.span_days), 30 * self.span_days, _PERIODS)
        strengths = np.array([self._strength(period, count) for period in periods])
        # One eigenproblem serves all strengths: gram + s P = R (1 + (s - m) K) R^T with m R^-1 P R^-T = m K.
        middle = strengths[_PERIODS // 2]
        inverse = np.linalg.inv(self._root(gram + middle * self.penalty))
        bends, modes = np.linalg.eigh(inverse @ self.penalty @ inverse.T)
        modes = inverse.T @ modes
        shrunk = 1 / (1 + (strengths[:, None] - middle) * bends)
        curves = self.rows @ (modes @ (shrunk * (modes.T @ aim)).T)
        squares = weights @ (values[:, None] - curves) ** 2
        left = count - _CAUTION * ((1 - middle * bends) * shrunk).sum(1)
        scores = np.where(left > 0, squares / np.where(left > 0, left, 1.0) ** 2, np.inf)
        if not np.isfinite(scores).any():
            return float(periods[-1])
        # Of curves as good as the best the smoothest: exact data would else choose by rounding errors.
        good = scores <= scores.min() * (1 + 1e-6) + 1e-24 * float(weights @ values**2)
        return float(periods[np.flatnonzero(good)[-1]])

    def _root(self, matrix: Floats) -> Floats:
        """Lower Cholesky root; BaselineError when the spots do not determine every coefficient."""
        scale = np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
        try:
            root = np.linalg.cholesky(matrix / np.outer(scale, scale))
        except np.linalg.LinAlgError:
            root = np.zeros_like(matrix)
        if np.diag(root).min() < 1e-7:
            raise BaselineError(
                "the spots do not determine the baseline: between some of its knots or steps there are too "
                "few; take fewer knots, a lower degree, or method='spline'"
            )
        return np.asarray(scale[:, None] * root)


def _student(freedom: float) -> float:
    """What a standard error is multiplied with so that 1.96 of it hold 95 %."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1.0), 0.975)) / 1.96 if freedom > 0.5 else 1.0
