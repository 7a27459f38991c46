"""Images that show the same stars as another image of their exposure: one file twice, or a wrong number."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.association.planes import Rows
from obslab.jointfit.association.refusal import Refusal

_LEAST_SHARE = 0.8
_FEWEST = 10


def twin_images(
    group: NDArray[np.int32],
    ambiguous: NDArray[np.bool_],
    rows: Rows,
    measured: xr.Dataset,
) -> list[Refusal]:
    """The second of each two such images; almost all their measurements are in ambiguous groups together."""
    group = group[: rows.image_starts[-1]]
    doubtful = np.flatnonzero((group >= 0) & ambiguous[group])
    image = np.searchsorted(rows.image_starts, doubtful, side="right") - 1
    count = np.bincount(image, minlength=len(rows.exposure))
    if count.max(initial=0) < _FEWEST:
        return []
    names = measured["name"].values
    refusals: list[Refusal] = []
    for second in np.flatnonzero(count >= _FEWEST).tolist():
        begin, end = rows.image_starts[second : second + 2]
        offered = np.count_nonzero(group[begin:end] >= 0)
        if count[second] < _LEAST_SHARE * offered:
            continue
        shared = np.isin(group[doubtful], group[doubtful[image == second]])
        earlier = shared & (image < second) & (rows.exposure[image] == rows.exposure[second])
        if np.count_nonzero(earlier) < _LEAST_SHARE * count[second]:
            continue
        first = np.bincount(image[earlier]).argmax()
        refusals.append(
            Refusal(
                int(measured["exposure"].values[second]),
                second,
                f"image {names[second]} shows the same stars as image {names[first]} of the same exposure "
                f"({count[second]} of its {offered} measurements): a file twice, or a wrong number",
            )
        )
    return refusals
