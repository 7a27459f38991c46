"""Error floors: what must be added in quadrature to the stated errors so that chi2 is what it should be.

Maximum likelihood over the measurements that count: each residual's expected square is its variance less the part
that its star's own freedom takes, (1 - h) (sigma^2 + floor^2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.projection import MAS
from obslab.jointfit.solve.solver import Solver

Floats = NDArray[np.float64]
LEAST = 200
"""Measurements that a floor of their own is fitted from; groups with fewer take the one of all."""


def fit_floor(solver: Solver, stated: Floats, group: NDArray[np.int64], groups: int) -> Floats:
    """The floor of each group in mas; ``stated`` (N,): errors in plane units without a floor."""
    p = solver.problem
    weight = solver.active[0].astype(float)
    if p.anisotropic:
        weight = (weight + solver.active[2]) / 2
    used = weight > 0
    variance = np.einsum("kii->ki", solver.inverse)[:, :2].mean(1)
    share = np.minimum(weight * variance[p.star], 0.95)
    square = (solver.residual[0] ** 2 + solver.residual[1] ** 2) / 2 / np.maximum(1 - share, 0.05)

    def of(rows: NDArray[np.bool_]) -> float:
        s2, r2 = stated[rows] ** 2, square[rows]
        if _slope(0.0, s2, r2) <= 0:
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
    return out * p.unit / MAS


def _slope(floor2: float, s2: Floats, r2: Floats) -> float:
    """Derivative of the log likelihood by the floor's square."""
    total = s2 + floor2
    return float(((r2 - total) / total**2).sum())
