"""What hangs together: exposures and detectors that the others, or the reference, do not hold.

Found before the fit and said by name, since afterwards a loose exposure is only a matrix that is nearly
singular.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.association import Association
from obslab.jointfit.mapping.layout import Layout

STARS_PER_TERM = 2
"""Stars for each coefficient of a mapping's axis: with fewer, outliers could not be told from distortion."""
LINKED = 10
"""Stars that two exposures share, to count as linked."""


class DegenerateError(ObslabError, ValueError):
    """Exposures or detectors whose mapping the data do not determine; ``facts['troubles']`` lists them."""


@dataclass(frozen=True)
class Trouble:
    """One mapping without a hold. ``kind``: exposure, detector or image; ``images``: those it is part of."""

    kind: str
    name: str
    images: tuple[int, ...]
    sentence: str


def troubles(
    layout: Layout,
    exposure: NDArray[np.int32],
    numbers: NDArray[np.int32],
    image: NDArray[np.int32],
    star: NDArray[np.int32],
    association: Association,
) -> list[Trouble]:
    """Mappings that too few shared stars hold, and sets of exposures that nothing links.

    ``image``, ``star``: of each used measurement; ``exposure``: of each image; ``numbers``: of the exposures.
    """
    found = []
    per_star = np.bincount(star, minlength=len(association.reference))
    has_reference = association.reference >= 0
    shared = (per_star > 1) | has_reference
    holds = shared[star]
    per_image = np.bincount(image[holds], minlength=len(exposure))
    all_per_image = np.bincount(image, minlength=len(exposure))
    inner = np.bincount(layout.inner, per_image, len(layout.inner_names)).astype(int)
    inner_terms = (layout.inner_degree + 1) * (layout.inner_degree + 2) // 2
    wanted = STARS_PER_TERM * inner_terms
    for m in np.flatnonzero((inner < wanted) & ~layout.held_inner):
        mine = np.flatnonzero(layout.inner == m)
        kind = "image" if layout.model == "simple" else "detector"
        found.append(
            Trouble(
                kind,
                layout.inner_names[m],
                tuple(mine.tolist()),
                f"{kind if kind == 'image' else ''} {layout.inner_names[m]} shares {inner[m]} stars with the "
                f"rest or "
                f"the reference ({all_per_image[mine].sum()} measurements); its degree {layout.inner_degree} "
                f"needs "
                f"{wanted}".strip(),
            )
        )
    count = len(numbers)
    per_exposure = np.bincount(exposure[image[holds]], minlength=count)
    outer_terms = (layout.outer_degree + 1) * (layout.outer_degree + 2) // 2
    wanted = STARS_PER_TERM * outer_terms
    used = np.unique(exposure)
    if layout.model != "simple":
        for e in used[per_exposure[used] < wanted]:
            mine = np.flatnonzero(exposure == e)
            found.append(
                Trouble(
                    "exposure",
                    f"exposure {numbers[e]}",
                    tuple(mine.tolist()),
                    f"exposure {numbers[e]} shares {per_exposure[e]} stars with the rest or the reference; "
                    f"its degree "
                    f"{layout.outer_degree} needs {wanted}",
                )
            )
    found += _apart(exposure, numbers, image, star, has_reference, {t.name for t in found})
    return found


def refuse(found: list[Trouble]) -> None:
    """One error for all of them."""
    if found:
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise DegenerateError(
            "the data do not determine every mapping: "
            + "; ".join(t.sentence for t in found[:5])
            + more
            + ". Leave them out (on_trouble='exclude', --exclude-troubled), lower the degrees, or select "
            "more stars",
            troubles=tuple(found),
        )


def apart_from(measured: xr.Dataset, association: Association, held: int) -> list[str]:
    """For a fit between images: a note on those that no chain of shared stars joins with the held one.

    Transforms among themselves are fitted; where they lie against the held image is what their rough WCS
    says.
    """
    from scipy.sparse.csgraph import connected_components

    rows = np.flatnonzero(association.star >= 0)
    image = measured.image.values[rows]
    count = measured.sizes["image"]
    together = _shared(association.star[rows], image, len(association.reference), count) >= LINKED
    _, label = connected_components(together, directed=False)
    apart = np.flatnonzero((label != label[held]) & (np.bincount(image, minlength=count) > 0))
    if not len(apart):
        return []
    names = measured["name"].values.astype(str)
    some = ", ".join(names[apart[:5]]) + (f" and {len(apart) - 5} more" if len(apart) > 5 else "")
    sets = len(set(label[apart].tolist()))
    return [
        f"no chain of {LINKED} shared stars joins {some} with the held image {names[held]} ({sets} separate "
        f"sets): from "
        "one set to another, transforms are those of the rough WCS"
    ]


def _shared(star: NDArray[Any], of: NDArray[Any], stars: int, count: int) -> NDArray[np.int32]:
    """(count, count): stars that two exposures, or images, share."""
    from scipy.sparse import coo_array, csr_array

    incidence = csr_array(coo_array((np.ones(len(of), np.int32), (star, of)), shape=(stars, count)))
    return np.asarray((incidence.T @ incidence).toarray())


def _apart(
    exposure: NDArray[np.int32],
    numbers: NDArray[np.int32],
    image: NDArray[np.int32],
    star: NDArray[np.int32],
    has_reference: NDArray[np.bool_],
    known: set[str],
) -> list[Trouble]:
    """Exposures that no chain of shared stars joins with the reference, or, without one, with the most."""
    count = len(numbers)
    of = exposure[image]
    anchored = np.bincount(of[has_reference[star]], minlength=count)
    used = np.flatnonzero(np.bincount(of, minlength=count))
    if len(used) == 0 or np.all(anchored[used] >= LINKED):
        return []
    from scipy.sparse.csgraph import connected_components

    shared = _shared(star, of, len(has_reference), count)
    together = shared >= LINKED
    if anchored.any():
        joined = np.flatnonzero(anchored >= LINKED)
        together[np.ix_(joined, joined)] = True  # by way of the reference
    _, label = connected_components(together, directed=False)
    main = label[used[np.argmax(anchored[used])]] if anchored.any() else np.bincount(label[used]).argmax()
    out = []
    for e in used[label[used] != main]:
        name = f"exposure {numbers[e]}"
        if name in known:
            continue
        most = int(shared[e][used[used != e]].max(initial=0))
        out.append(
            Trouble(
                "exposure",
                name,
                tuple(np.flatnonzero(exposure == e).tolist()),
                f"{name} hangs loose: {anchored[e]} reference stars, and at most {most} stars shared with "
                f"one other "
                f"exposure, where {LINKED} are needed",
            )
        )
    return out
