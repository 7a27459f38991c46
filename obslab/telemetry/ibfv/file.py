"""BaselineFile: a year of baselines, as an IBFV2.00 file has them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.datetime64]
Floats = NDArray[np.float64]

COMPONENTS = {"XYZ": "XYZF", "HDZ": "HDZF", "DIF": "DIF ", "UVZ": "UVZF"}
"""Components of the vector, and the four characters that the file has for them."""

MISSING, NEVER = 99_999.0, 88_888.0
DELTA_MISSING, DELTA_NEVER = 999.0, 888.0
"""What is written of a value that lacks, and of one that is never observed; the same of delta F."""


@dataclass(frozen=True)
class BaselineFile:
    """A year of baselines; ``components`` is a key of ``COMPONENTS``, means of H and F are of the year.

    ``observed`` has shape (n, 4) and is of the days ``observed_day``, datetime64[D], in the file's order:
    absolute minus variometer in the order of the components, then absolute minus scalar F. ``adopted`` of
    shape (m, 4) is that of the days ``adopted_day``. Units are nT, for D and I arcmin; NaN is missing.
    ``discontinuous`` of shape (m,) says that a component has a step between the day before and this one;
    ``delta_f_nt`` of shape (m,) is F of the vector minus F of the scalar on the day, None when there is none.
    """

    station: str
    year: int
    components: str
    mean_h_nt: float
    mean_f_nt: float
    observed_day: Days
    observed: Floats
    adopted_day: Days
    adopted: Floats
    discontinuous: NDArray[np.bool_]
    comments: tuple[str, ...]
    delta_f_nt: Floats | None = None


def day_of_year(day: np.datetime64) -> int:
    """1 for the first of January."""
    return int((day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)) + 1
