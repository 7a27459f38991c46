"""Images that show the same stars as another image of their exposure: one file twice, or a wrong number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.association.planes import Rows
from obslab.jointfit.association.refusal import Refusal
from obslab.jointfit.association.stars import AMBIGUOUS

_LEAST_SHARE = 0.8
_FEWEST = 10


def twin_images(
    star: NDArray[np.int32],
    group: NDArray[np.int32],
    rows: Rows,
    numbers: NDArray[np.int32],
    names: NDArray[np.str_],
) -> list[Refusal]:
    """The second of each two such images; almost all their measurements are in ambiguous groups together."""
    doubtful = np.flatnonzero(star == AMBIGUOUS)
    image = np.searchsorted(rows.image_starts, doubtful, side="right") - 1
    count = np.bincount(image, minlength=len(names))
    offered = np.add.reduceat(group >= 0, rows.image_starts[:-1]) if len(doubtful) else count
    refusals: list[Refusal] = []
    for second in np.flatnonzero((count >= _FEWEST) & (count > _LEAST_SHARE * offered)).tolist():
        shared = np.isin(group[doubtful], group[doubtful[image == second]])
        earlier = shared & (image < second) & (rows.exposure[image] == rows.exposure[second])
        if np.count_nonzero(earlier) < _LEAST_SHARE * count[second]:
            continue
        first = np.bincount(image[earlier]).argmax()
        refusals.append(
            Refusal(
                int(numbers[rows.exposure[second]]),
                second,
                f"image {names[second]} shows the same stars as image {names[first]} of the same exposure "
                f"({count[second]} of its {offered[second]} measurements): a file twice, or a wrong number",
            )
        )
    return refusals
