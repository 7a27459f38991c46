"""Error floors: what must be added in quadrature to the stated errors so that chi2 is what it should be.

Maximum likelihood over the measurements that count: each residual's expected square is its variance less the
part that its star's own freedom takes, (1 - h) (sigma^2 + floor^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.solve.solver import Solver

Floats = NDArray[np.float64]
LEAST = 200
"""Measurements that a floor of their own is fitted from; groups with fewer take the one of all."""


@dataclass(frozen=True)
class Covariances:
    """Errors as the catalogue states them, from their weights (1, N) or (3, N); zero weights stay zero."""

    parts: Floats
    unused: NDArray[np.bool_]

    @classmethod
    def of(cls, weight: NDArray[np.float32]) -> Covariances:
        unused = weight[0] == 0
        w = np.where(unused, np.array([[1.0], [0.0], [1.0]])[[0, 1, 2] if len(weight) == 3 else [0]], weight)
        return cls(_inverse(w), unused)

    @property
    def variance(self) -> Floats:
        """(N,): mean of both axes, plane units squared."""
        return np.asarray(self.parts[[0, -1]].mean(0))

    def weights(self, added: Floats) -> NDArray[np.float32]:
        """With a variance (N,) added to both axes."""
        wider = self.parts.copy()
        wider[0] += added
        if len(wider) == 3:
            wider[2] += added
        return np.where(self.unused, 0, _inverse(wider)).astype(np.float32)


def fit_floor(
    solver: Solver, variance: Floats, group: NDArray[np.int64], groups: int, parameters: int
) -> Floats:
    """The floor of each group in plane units; ``variance`` (N,): as stated, without a floor; ``parameters``
    of mappings and terms take their part of the scatter as the stars do."""
    p = solver.problem
    weight = solver.active[[0, -1]].astype(float).mean(0)
    used = weight > 0
    of_star = np.einsum("kii->ki", solver.inverse)[:, :2].mean(1)
    share = np.minimum(weight * of_star[p.star] + parameters / (2 * max(int(used.sum()), 1)), 0.95)
    square = (solver.residual[0] ** 2 + solver.residual[1] ** 2) / 2 / (1 - share)

    def of(rows: NDArray[np.bool_]) -> float:
        s2, r2 = variance[rows], square[rows]
        if not len(s2) or _slope(0.0, s2, r2) <= 0:
            return 0.0
        low, high = 0.0, float(np.median(r2)) * 10 + 1e-30
        while _slope(high, s2, r2) > 0:
            high *= 4
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _slope(middle, s2, r2) > 0 else (low, middle)
        return float(np.sqrt((low + high) / 2))

    every = of(used)
    out = np.full(groups, every)
    for g in range(groups):
        mine = used & (group == g)
        if mine.sum() >= LEAST:
            out[g] = of(mine)
    return out


def _inverse(parts: Floats) -> Floats:
    """Of symmetric matrices: (1, N) multiples of one, or (3, N) upper triangles."""
    if len(parts) == 1:
        return np.asarray(1 / parts)
    a, b, c = parts
    return np.asarray(np.stack([c, -b, a]) / (a * c - b * b))


def _slope(floor2: float, s2: Floats, r2: Floats) -> float:
    """Derivative of the log likelihood by the floor's square."""
    total = s2 + floor2
    return float(((r2 - total) / total**2).sum())
