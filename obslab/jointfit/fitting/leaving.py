"""Leaving out: exposures and detectors that the data do not determine, and measurements a user excludes."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.association import Association
from obslab.jointfit.fitting import connections
from obslab.jointfit.fitting.choices import FitError
from obslab.jointfit.mapping.layout import Layout

log = logging.getLogger(__name__)


def without_troubles(
    measured: xr.Dataset,
    exposures: xr.Dataset,
    association: Association,
    plan: Layout,
    on_trouble: str,
    select: Any = None,
) -> tuple[Association, list[connections.Trouble]]:
    """Refuse, or leave out, what the data do not determine; what the user did not ``select`` at all is left
    out.
    """
    exposure = np.searchsorted(exposures.exposure.values, measured.exposure.values).astype(np.int32)
    every: list[connections.Trouble] = []
    while True:  # what leaves may leave others alone
        rows = np.flatnonzero(association.star >= 0)
        if not len(rows):
            raise nothing_to_fit(association, every)
        image = measured.image.values[rows]
        found = connections.troubles(
            plan, exposure, exposures.exposure.values, image, association.star[rows], association
        )
        gone = set(association.excluded_exposures)
        numbers = measured.exposure.values
        known = {t.name for t in every}
        found = [t for t in found if t.name not in known and not all(numbers[i] in gone for i in t.images)]
        if not found:
            break
        if on_trouble == "raise":
            connections.refuse([t for t in found if select is None or _touched(measured, t, select)])
        every += found
        out = np.isin(measured.image.values, [i for t in found for i in t.images])
        association = _without(association, out)
    for trouble in every:
        log.warning("left out of the fit: %s", trouble.sentence)
    return association, every


def _touched(measured: xr.Dataset, trouble: connections.Trouble, select: Any) -> bool:
    """Whether a user's selection has any measurement of what is in trouble."""
    return bool(np.any(np.asarray(select) & np.isin(measured.image.values, trouble.images)))


def nothing_to_fit(association: Association, found: list[connections.Trouble]) -> FitError:
    """What to raise when no star is left."""
    counts = {
        k: v
        for k, v in association.counts.items()
        if v and k in ("alone", "ambiguous", "too_few", "not_offered")
    }
    why = ", ".join(f"{count:,} measurements {what.replace('_', ' ')}" for what, count in counts.items())
    if found:
        why = "; ".join(t.sentence for t in found[:3])
    return FitError(f"no star was measured twice, nothing is left to fit: {why}", counts=association.counts)


def excluded_rows(measured: xr.Dataset, before: NDArray[np.bool_], exclude: Any) -> NDArray[np.bool_]:
    """``before`` and the rows of measured that ``exclude`` names; ``FitResult.refit`` documents its forms."""
    if exclude is None:
        return before.copy()
    if isinstance(exclude, dict):
        return before | _named(measured, exclude)
    given = np.asarray(exclude)
    if given.dtype == bool:
        if given.shape != before.shape:
            raise FitError(
                f"the mask to exclude has shape {given.shape}, wanted {before.shape}: rows of measured"
            )
        return np.asarray(before | given)
    if given.size and given.dtype.kind not in "iu":
        raise FitError(
            f"exclude is {given.dtype}, wanted a mask, ids, or {{'exposure': ..., 'detector': ...}}"
        )
    ids = np.unique(given)
    missing = ids[~np.isin(ids, measured.id.values)]
    if len(missing):
        raise FitError(
            f"there is no measurement with id {missing[0]} to exclude; ids are those of measured.id"
        )
    return np.asarray(before | np.isin(measured.id.values, ids))


def some(values: Any) -> str:
    """A few numbers, or their range, for a message."""
    unique = np.unique(values).tolist()
    return f"{unique[0]} to {unique[-1]}" if len(unique) > 3 else ", ".join(map(str, unique))


def _named(measured: xr.Dataset, exclude: dict[str, Any]) -> NDArray[np.bool_]:
    """Rows of images that have all that is named: exposures, detectors."""
    images = np.ones(measured.sizes["image"], bool)
    if not exclude:
        raise FitError("exclude is empty; it names 'exposure', 'detector' or both")
    for key, wanted in exclude.items():
        if key not in ("exposure", "detector"):
            raise FitError(f"exclude has the key {key!r}; 'exposure' and 'detector' are known", key=key)
        values = np.atleast_1d(wanted)
        unknown = sorted(set(values.tolist()) - set(measured[key].values.tolist()))
        if unknown:
            raise FitError(
                f"there is no {key} {unknown[0]} to exclude; there are {some(measured[key].values)}", key=key
            )
        images &= np.isin(measured[key].values, values)
    return np.asarray(images[measured.image.values])


def _without(association: Association, out: NDArray[np.bool_]) -> Association:
    """The association less some rows; stars measured once, and without a reference, go with them."""
    star = association.star.copy()
    star[out & (star >= 0)] = -4
    left = np.bincount(star[star >= 0], minlength=len(association.reference))
    keep = (left >= 2) | ((left == 1) & (association.reference >= 0))
    number = np.where(keep, np.cumsum(keep) - 1, -3).astype(np.int32)
    star = np.where(star >= 0, number[np.maximum(star, 0)], star).astype(np.int32)
    members = association.members[star[association.members] >= 0]
    count = np.bincount(star[star >= 0], minlength=int(keep.sum()))
    return replace(
        association,
        star=star,
        reference=association.reference[keep],
        position=association.position[keep],
        first=np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        members=members,
        counts={
            **association.counts,
            "associated": len(members),
            "stars": int(keep.sum()),
            "stars_with_reference": int((association.reference[keep] >= 0).sum()),
            "left_out_later": association.counts.get("left_out_later", 0)
            + int((out & (association.star >= 0)).sum()),
        },
    )
