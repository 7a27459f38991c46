"""Reference stars that move too far between exposures for their measurements to be friends.

A star of 1 arcsec a year is measured over two years at places 2 arcsec apart. Where it was at each exposure
is known, so what was measured there is moved along with it to the epoch of the common plane, by the star's
own motion: its measurements then meet as those of any other star do.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.association.cells import Cells, into_cells, span
from obslab.jointfit.projection import Floats

_SLOW = 0.2
"""In radii: a star that moves less than this keeps its friends as it is."""


def follow_fast_stars(
    known: Floats, years: Floats, exposure_starts: NDArray[np.int64], x: Floats, y: Floats, radius: float
) -> int:
    """Move, in place, measurements of fast reference stars to the common plane's epoch -> how many stars.

    ``known`` has rows xi, eta, motion; ``years`` is the time of each exposure after that epoch.
    """
    moves = np.hypot(known[:, 2], known[:, 3]) * np.abs(years).max(initial=0.0)
    fast = known[moves > _SLOW * radius]  # NaN compares as False
    if not len(fast):
        return 0
    size = radius + float(moves[moves > _SLOW * radius].max())
    xi, eta = np.ascontiguousarray(fast[:, 0]), np.ascontiguousarray(fast[:, 1])
    west, south, east, north = float(xi.min()), float(eta.min()), float(xi.max()), float(eta.max())
    spread = np.sqrt((east - west) * (north - south) / len(fast)) + max(east - west, north - south) / len(
        fast
    )
    cells = into_cells(xi, eta, west, south, east, north, max(size, float(spread)))
    pool.run(_follow, len(years), cells, fast, years, exposure_starts, x, y, size, radius)
    return len(fast)


@njit(cache=True, nogil=True, error_model="numpy")
def _follow(
    exposure: int,
    cells: Cells,
    fast: Floats,
    years: Floats,
    starts: NDArray[np.int64],
    x: Floats,
    y: Floats,
    size: float,
    radius: float,
) -> None:
    time = years[exposure]
    for i in range(starts[exposure], starts[exposure + 1]):
        if np.isnan(x[i]):
            continue
        left, right = span(x[i], size, cells.west, cells.size, cells.columns)
        low, high = span(y[i], size, cells.south, cells.size, cells.rows)
        best, best2 = -1, radius * radius
        for row in range(low, high):
            for k in range(cells.start[row * cells.columns + left], cells.start[row * cells.columns + right]):
                star = cells.order[k]
                dx = x[i] - fast[star, 0] - time * fast[star, 2]
                dy = y[i] - fast[star, 1] - time * fast[star, 3]
                if dx * dx + dy * dy <= best2:
                    best, best2 = star, dx * dx + dy * dy
        if best >= 0:
            x[i] -= time * fast[best, 2]
            y[i] -= time * fast[best, 3]
