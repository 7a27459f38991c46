"""What association finds: the fitted stars, and what became of every measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.projection import Floats


@dataclass(frozen=True)
class Association:
    """Fitted stars, numbered by their first measurement, and what became of every measurement."""

    star: NDArray[np.int32]
    """Fitted star of each row of measured; -1 alone, -2 in an ambiguous group, -3 with too few others,
    -4 not offered: not selected, not usable, or of an excluded exposure or image."""
    reference: NDArray[np.int32]
    """Reference star of each fitted star, -1 none."""
    position: Floats
    """First position of each fitted star in the common plane at ``epoch``, deg, shape (stars, 2)."""
    frame: Floats
    """The common plane, a frame as in projection."""
    frames: Floats
    """The exposures' planes, shape (exposures, 3, 3)."""
    affine: Floats
    """Alignment of each exposure: plane' = plane + affine[:, :, 0] + affine[:, :, 1:] @ plane, in deg."""
    alignment: xr.Dataset
    """How that was found: ``datasets.ALIGNMENT``."""
    first: NDArray[np.int64]
    """Star s has the rows members[first[s]:first[s + 1]] of measured, in their order."""
    members: NDArray[np.int32]
    counts: dict[str, int]
    """Rows by what became of them, ambiguous groups, stars, excluded exposures and images."""
    epoch: float
    """Julian year of the common plane: the mean of the exposures'."""
    radius_arcsec: float
    """Within which friends were sought."""
    excluded_exposures: tuple[int, ...] = ()
    """Numbers of exposures left out as they could not be aligned."""
    excluded_images: tuple[int, ...] = ()
    """Images left out, as positions along dimension image."""
    reasons: tuple[str, ...] = ()
    """Why, one sentence each."""
