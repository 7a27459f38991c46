"""The color of each measured star."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.association import Association


def colors(
    measured: xr.Dataset, reference: xr.Dataset | None, association: Association
) -> NDArray[np.float64]:
    """Color of each measurement's star, mag: its own column, else the mean of its star's, else the
    reference's; NaN.
    """
    star = association.star
    rows = np.flatnonzero(star >= 0)
    of_star = np.full(len(association.reference), np.nan)
    if reference is not None:
        has = association.reference >= 0
        of_star[has] = reference.color.values[association.reference[has]]
    if "color" in measured:
        own = measured.color.values[rows].astype(float)
        known = np.isfinite(own)
        count = np.bincount(star[rows][known], minlength=len(of_star))
        total = np.bincount(star[rows][known], own[known], len(of_star))
        of_star = np.where(count > 0, total / np.maximum(count, 1), of_star)
    out = np.full(len(star), np.nan)
    out[rows] = of_star[star[rows]]
    return out
