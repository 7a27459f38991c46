"""The tables as a fit wants them: in order, each image once, and no association but their own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import xarray as xr

from obslab.jointfit.association import Association
from obslab.jointfit.datasets import EXPOSURES, MEASURED, REFERENCE
from obslab.jointfit.fitting.choices import FitError


def in_order(
    measured: xr.Dataset,
    reference: xr.Dataset | None,
    exposures: xr.Dataset,
    select: Any,
    association: Association | None,
) -> tuple[xr.Dataset, xr.Dataset, Any]:
    """measured, exposures and the selection, ordered by exposure, detector and image; checked against their
    schemas.
    """
    MEASURED.check(measured)
    EXPOSURES.check(exposures)
    if reference is not None:
        REFERENCE.check(reference)
    number = exposures.exposure.values
    if len(set(number.tolist())) < len(number):
        twice = sorted({int(n) for n in number if (number == n).sum() > 1})
        raise FitError(f"exposures {twice[:5]} have several rows in the exposure table, wanted one each")
    missing = sorted(set(measured.exposure.values.tolist()) - set(number.tolist()))
    if missing:
        raise FitError(
            f"images are of exposures {missing[:5]} that the exposure table does not have; add their rows",
            exposures=tuple(missing),
        )
    _sound(measured)
    if association is not None:
        _fits(association, measured, exposures, select)
        return measured, exposures, None
    if np.any(np.diff(number) < 0):
        exposures = exposures.isel(exposure=np.argsort(number, kind="stable"))
    if select is not None:
        select = np.asarray(select)
    order = np.lexsort((measured.detector.values, measured.exposure.values))
    image = measured.image.values
    if np.any(np.diff(order) < 0):
        measured = measured.isel(image=order)
        image = np.argsort(order)[image].astype(image.dtype)
        measured = measured.assign(image=measured.image.copy(data=image))
    if np.any(np.diff(image) < 0):  # the kernels go along images
        rows = np.argsort(image, kind="stable")
        measured = measured.isel(measured=rows)
        if select is not None and select.shape == rows.shape:
            select = select[rows]
    _copies(measured)
    return measured, exposures, select


def _sound(measured: xr.Dataset) -> None:
    """Images with a WCS that is none, and images that are there twice."""
    names = measured["name"].values
    good = np.isfinite(measured.start.values).all((1, 2)) & np.isfinite(measured.crval.values).all(1)
    good &= (measured.half.values > 0).all(1) & np.isfinite(measured.mid.values).all(1)
    good &= np.abs(np.linalg.det(measured.start.values[:, :, 1:3])) > 0
    if not good.all():
        raise FitError(
            f"image {names[np.argmin(good)]} has no usable rough WCS: its crval, start, mid or half is not a "
            f"number or "
            "zero; correct its header or leave it out",
            images=names[~good].tolist(),
        )
    image = measured.image.values
    if image.size and not (image.min() >= 0 and image.max() < len(names)):
        raise FitError(
            f"measured.image reaches from {image.min()} to {image.max()}, and there are {len(names)} images"
        )
    seen: dict[tuple[int, int], str] = {}
    for key, name in zip(
        zip(measured.exposure.values, measured.detector.values, strict=True), names, strict=True
    ):
        if key in seen:
            raise FitError(
                f"images {seen[key]} and {name} both are detector {key[1]} of exposure {key[0]}: one file "
                f"twice, or a "
                "wrong number; leave one out",
                images=[seen[key], str(name)],
            )
        seen[key] = str(name)


def _copies(measured: xr.Dataset) -> None:
    """One image under two numbers: its errors would be there twice, and the fit would trust them as
    independent.
    """
    first = np.searchsorted(measured.image.values, np.arange(measured.sizes["image"] + 1))
    x, y = measured.x.values, measured.y.values
    seen: dict[tuple[Any, ...], int] = {}
    for i, (a, b) in enumerate(itertools.pairwise(first)):
        if b - a < 2:
            continue
        key = (b - a, float(np.nansum(x[a:b])), float(np.nansum(y[a:b])))
        j = seen.setdefault(key, i)
        if j == i or not np.array_equal(np.sort(x[a:b]), np.sort(x[first[j] : first[j + 1]]), equal_nan=True):
            continue
        names = measured["name"].values
        raise FitError(
            f"images {names[j]} and {names[i]} hold the same {b - a} positions: one file under two numbers; "
            f"leave one out",
            images=[str(names[j]), str(names[i])],
        )


def _fits(association: Association, measured: xr.Dataset, exposures: xr.Dataset, select: Any) -> None:
    """Whether an association can be of these tables."""
    if select is not None:
        raise FitError("select chooses what is associated, and an association is given: pass one of them")
    shapes = len(association.star), len(association.frames)
    wanted = measured.sizes["measured"], exposures.sizes["exposure"]
    if shapes != wanted:
        raise FitError(
            f"the association is of {shapes[0]} measurements and {shapes[1]} exposures, the tables have "
            f"{wanted[0]} and "
            f"{wanted[1]}: it is of other tables"
        )
    ordered = (measured.image.values, measured.exposure.values, exposures.exposure.values)
    if any(np.any(np.diff(values) < 0) for values in ordered):
        raise FitError("the tables are not in the order of the association; pass them as `load` gives them")
