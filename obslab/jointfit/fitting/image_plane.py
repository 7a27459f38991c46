"""The plane of a fit between images: pixels of the held one, continued over all of the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.association import Association
from obslab.jointfit.mapping.layout import Layout
from obslab.jointfit.polynomial import basis, chebyshev_grid
from obslab.jointfit.projection import homography

Floats = NDArray[np.float64]


def held_image(layout: Layout) -> int:
    """The image whose pixels are the plane of a fit between images."""
    return int(np.flatnonzero(layout.held_inner)[0])


def onto_held_image(
    measured: xr.Dataset, association: Association, layout: Layout, grid: Floats, exposure: Any
) -> tuple[Floats, Floats, float]:
    """For image-to-image fits: all grids and stars in pixels of the held image, over its half size."""
    held = held_image(layout)
    u, v = chebyshev_grid(int(np.sqrt(grid.shape[1])))
    unit = float(measured.half.values[held].max())
    to_common = homography(association.frame, association.frames[exposure])
    m = to_common[:, None]
    depth = m[..., 2, 0] * grid[..., 0] + m[..., 2, 1] * grid[..., 1] + m[..., 2, 2]
    common = np.stack(
        [
            (m[..., r, 0] * grid[..., 0] + m[..., r, 1] * grid[..., 1] + m[..., r, 2]) / depth
            for r in range(2)
        ],
        -1,
    )
    mine = common[held]
    middle, scale = mine.mean(0), np.abs(mine - mine.mean(0)).max()
    pixel = np.stack([u, v], -1) * measured.half.values[held] + measured.mid.values[held]
    back = basis(1)  # it has to hold all over the mosaic, far from the held image
    coefficients = np.linalg.lstsq(back(*((mine - middle) / scale).T), pixel / unit, rcond=None)[0]

    def onto(place: Floats) -> Floats:
        away = (place - middle) / scale
        return np.asarray(back(away[..., 0], away[..., 1]) @ coefficients)

    return onto(common), onto(association.position), unit
