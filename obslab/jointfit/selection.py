"""Which measurements a fit is offered: those that can be used, and of them those that are wanted.

Any boolean array along ``measured`` is a selection, so they combine as arrays do:

    selected = default_selection(measured) & (measured.flux.values < 1e5)

What cannot be used (no position, no error) is never offered, whatever the selection says, and is counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numba import njit
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.pool import run, threads

Mask = NDArray[np.bool_]

MINIMUM_SNR = 10.0
"""Fainter centroids are pulled by the noise around them, and together weigh little."""
ISOLATION_ARCSEC = 0.5
"""Closer pairs of one image cannot be told apart when images are matched; blends that can be have FLAGS."""


class SelectionError(ObslabError, ValueError):
    """A selection that is no mask of the measurements, or leaves none of them."""


def default_selection(
    measured: xr.Dataset,
    *,
    minimum_snr: float = MINIMUM_SNR,
    allowed_flags: int = 0,
    isolation_arcsec: float = ISOLATION_ARCSEC,
) -> Mask:
    """Usable measurements of good signal to noise, without flags, and alone in their place.

    ``minimum_snr``       flux over its error
    ``allowed_flags``     the bits of FLAGS that a measurement may have: 3 for neighbours and deblending
    ``isolation_arcsec``  no other measurement of the same image, however bad, is closer; 0: it may be
    """
    mask, _ = usable(measured)
    flux, error = measured.flux.values, measured.flux_error.values
    mask &= flux >= np.float32(minimum_snr) * error
    if ~allowed_flags:
        mask &= (measured.flags.values & ~np.int32(allowed_flags)) == 0
    if isolation_arcsec > 0:
        mask &= isolated(measured, isolation_arcsec)
    return mask


def usable(measured: xr.Dataset) -> tuple[Mask, dict[str, int]]:
    """What can be used at all, and how many measurements fail for each reason, each under its first."""
    x, y, sigma = measured.x.values, measured.y.values, measured.sigma.values
    flux_error = measured.flux_error.values
    with np.errstate(invalid="ignore"):
        place = x + y  # finite when both are
    checks: dict[str, Mask] = {
        "position is not finite": np.isfinite(place),
        "position error is not positive": (sigma > 0) & np.isfinite(sigma),
        "flux is not finite": np.isfinite(measured.flux.values),
        "flux error is not positive": (flux_error > 0) & np.isfinite(flux_error),
    }
    if "sigma_x" in measured:
        a, b, c = (measured[name].values for name in ("sigma_x", "sigma_y", "covariance_xy"))
        with np.errstate(invalid="ignore"):
            checks["error ellipse is none"] = (a > 0) & (b > 0) & (c * c < (a * b) ** 2)
    mask = np.ones(len(x), bool)
    counts = {}
    for reason, good in checks.items():
        left = int(np.count_nonzero(mask))
        mask &= good
        counts[reason] = left - int(np.count_nonzero(mask))
    return mask, counts


def usable_reference(reference: xr.Dataset) -> tuple[Mask, dict[str, int]]:
    """The same for reference stars: a position on the sky, positive errors and an epoch."""
    dec = reference.dec.values
    errors = np.minimum(reference.ra_error.values, reference.dec_error.values)
    sums = reference.ra_error.values + reference.dec_error.values
    checks = {
        "position is not on the sky": np.isfinite(reference.ra.values) & (np.abs(dec) <= 90),
        "position error is not positive": (errors > 0) & np.isfinite(sums),
        "epoch is not finite": np.isfinite(reference.epoch.values),
    }
    mask = np.ones(len(dec), bool)
    counts = {}
    for reason, good in checks.items():
        counts[reason] = int(np.count_nonzero(mask & ~good))
        mask &= good
    return mask, counts


def chosen(measured: xr.Dataset, selected: Any = None) -> tuple[Mask, dict[str, int]]:
    """The mask that a fit works with, of a selection or the default one, and what it leaves out and why."""
    good, counts = usable(measured)
    if selected is None:
        wanted = default_selection(measured)
    else:
        wanted = np.asarray(selected)
        if wanted.dtype != bool or wanted.shape != good.shape:
            raise SelectionError(
                f"a selection is one boolean for each of {len(good)} measurements, "
                f"not {wanted.dtype} of shape {wanted.shape}",
                shape=wanted.shape,
            )
    counts = {**counts, "not selected": int(np.count_nonzero(good & ~wanted))}
    mask: Mask = good & wanted
    if not mask.any():
        why = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
        why = why or "there are none"
        raise SelectionError(f"no measurement is left of {len(good)}: {why}", counts=counts)
    return mask, counts


def isolated(measured: xr.Dataset, radius_arcsec: float) -> Mask:
    """Measurements without another of the same image within the radius, by the rough WCS's pixel scale.

    Both of a pair go, however bright. A position that is not finite is nobody's neighbour.
    """
    linear = measured.start.values[:, :, 1:3] / measured.half.values[:, None, :]
    pixels = radius_arcsec / 3600 / np.sqrt(np.abs(np.linalg.det(linear)))
    image = measured["image"].values
    ends = np.searchsorted(image, np.arange(measured.sizes["image"] + 1, dtype=image.dtype))
    alone = np.ones(len(image), bool)
    parts = 8 * threads()
    run(_mark_pairs, parts, parts, ends, measured.x.values, measured.y.values, pixels, alone)
    return alone


@njit(cache=True, nogil=True)
def _mark_pairs(part, parts, ends, x, y, radius, alone):  # type: ignore[no-untyped-def]
    """Grid hashing, an image at a time: about one measurement a cell, and no cell smaller than the radius."""
    images = len(ends) - 1
    for image in range(part * images // parts, (part + 1) * images // parts):
        begin, end = ends[image], ends[image + 1]
        count = 0
        x0 = y0 = np.inf
        x1 = y1 = -np.inf
        for n in range(begin, end):
            if np.isfinite(x[n]) and np.isfinite(y[n]):
                count += 1
                x0, x1 = min(x0, x[n]), max(x1, x[n])
                y0, y1 = min(y0, y[n]), max(y1, y[n])
        if count < 2:
            continue
        reach = radius[image]
        step = max(reach, np.sqrt((x1 - x0) * (y1 - y0) / count), max(x1 - x0, y1 - y0) / 2000.0)
        if not step > 0:
            step = 1.0
        columns = int((x1 - x0) / step) + 1
        lines = int((y1 - y0) / step) + 1
        start = np.zeros(columns * lines + 1, np.int32)
        for n in range(begin, end):
            if np.isfinite(x[n]) and np.isfinite(y[n]):
                start[int((y[n] - y0) / step) * columns + int((x[n] - x0) / step) + 1] += 1
        for cell in range(columns * lines):
            start[cell + 1] += start[cell]
        fill = start.copy()
        order = np.empty(count, np.int32)
        for n in range(begin, end):
            if np.isfinite(x[n]) and np.isfinite(y[n]):
                cell = int((y[n] - y0) / step) * columns + int((x[n] - x0) / step)
                order[fill[cell]] = n - begin
                fill[cell] += 1
        for n in range(begin, end):
            if not (np.isfinite(x[n]) and np.isfinite(y[n])):
                continue
            # Only the cells that the radius reaches, mostly the own one; each pair is met from both sides.
            left, right = int(max(x[n] - reach - x0, 0.0) / step), int((x[n] + reach - x0) / step)
            low, high = int(max(y[n] - reach - y0, 0.0) / step), int((y[n] + reach - y0) / step)
            for line in range(low, min(high, lines - 1) + 1):
                first = start[line * columns + left]
                last = start[line * columns + min(right, columns - 1) + 1]
                for k in range(first, last):
                    other = begin + order[k]
                    if other != n and (x[other] - x[n]) ** 2 + (y[other] - y[n]) ** 2 < reach * reach:
                        alone[n] = False
