"""Held-out stars: kept from the mappings, then measured with them, so that the fit is judged by what it never
saw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.projection import MAS
from obslab.jointfit.solve.solver import Solver


def choose(places: NDArray[np.float64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """A random ``fraction`` of the fitted stars at ``places`` (K, 2): the same ones however they are
    numbered.
    """
    held = np.zeros(len(places), bool)
    count = round(fraction * len(places))
    if count:
        order = np.lexsort((places[:, 1], places[:, 0]))
        held[order[np.random.default_rng(seed).permutation(len(places))[:count]]] = True
    return held


def validate(solver: Solver, held: NDArray[np.bool_], cut: float) -> dict[str, Any]:
    """Scatter of the held-out stars' measurements about their own mean place, with mappings they had no part
    in.

    The caller has given their measurements their weight back, and their reference stars not yet.
    """
    p = solver.problem
    free = p.star_free.copy()
    p.star_free[~held] = 0
    solver.residuals(0.5 * cut if cut else np.inf)
    solver.solve_stars(cut)  # linear in a star's own parameters: one step is enough
    solver.accept(np.zeros(len(solver.free)), solver.star_step)
    solver.residuals()
    freedom = solver.star_freedom()
    p.star_free[:] = free
    mine = held[p.star] & (solver.active[0] > 0)
    per_star = np.bincount(p.star[mine], minlength=len(held))
    several = per_star > 1
    mine &= several[p.star]
    weight = solver.active[:, mine].astype(float)
    r0, r1 = solver.residual[:, mine]
    if p.anisotropic:
        chi2 = weight[0] * r0**2 + 2 * weight[1] * r0 * r1 + weight[2] * r1**2
    else:
        chi2 = weight[0] * (r0**2 + r1**2)
    dof = round(2 * int(mine.sum()) - float(freedom[several].sum()))
    # Rms corrected for the place fitted out of the same measurements.
    scale = np.sqrt(2 * mine.sum() / max(dof, 1))
    rms = (
        float(np.sqrt(np.mean(np.concatenate([r0, r1]) ** 2)) * scale * p.unit / MAS)
        if mine.any()
        else np.nan
    )
    all_of = int((held[p.star] & (p.weight[0] > 0)).sum())
    return {
        "stars": int(held.sum()),
        "measurements": int(mine.sum()),
        "rejected": all_of - int((held[p.star] & (solver.active[0] > 0)).sum()),
        "chi2": round(float(chi2.sum()), 1),
        "degrees_of_freedom": dof,
        "chi2_per_degree": round(float(chi2.sum()) / dof, 4) if dof > 0 else None,
        "rms_mas": round(rms, 4),
    }
