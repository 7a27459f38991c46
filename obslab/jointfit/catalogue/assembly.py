"""Images as they were read, put together: one Dataset of measured stars in order of exposure and detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.catalogue.fitstable import CatalogueError
from obslab.jointfit.datasets import MEASURED
from obslab.jointfit.headers import number, polynomials, size
from obslab.jointfit.pool import run, threads

Floats = NDArray[np.float64]

ALWAYS = ("id", "x", "y", "sigma", "flux", "flux_error", "flags")
OPTIONAL = ("sigma_x", "sigma_y", "covariance_xy", "color")
NORMALISATION = ("XMID", "YMID", "XHALF", "YHALF")
"""Our own cards for ``mid`` and ``half``, so that a saved dataset is read as it was."""


class Loaded(NamedTuple):
    """What ``fit`` takes: ``fit(*loaded)``. ``reference`` is None where there is none."""

    measured: xr.Dataset
    reference: xr.Dataset | None
    exposures: xr.Dataset


@dataclass(frozen=True)
class Image:
    """One image as read: its header, and its measurements under the names of MEASURED."""

    file: str
    name: str
    header: Mapping[str, Any]
    exposure: int
    detector: int
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.columns["x"])


def in_order(images: Sequence[Image]) -> list[Image]:
    """By exposure, then detector; two images of the same detector and exposure are an error."""
    ordered = sorted(images, key=lambda image: (image.exposure, image.detector))
    for one, other in pairwise(ordered):
        if (one.exposure, one.detector) == (other.exposure, other.detector):
            raise CatalogueError(
                f"exposure {one.exposure} detector {one.detector} is in {one.file} and in {other.file}; "
                "take one away, or correct its EXPNUM or CCDNUM",
                files=(one.file, other.file),
            )
    return ordered


def measured(images: Sequence[Image]) -> xr.Dataset:
    """MEASURED of images that are in order. Rows are kept as they are, with NaN or negative errors too."""
    names = [*ALWAYS, *(name for name in OPTIONAL if any(name in image.columns for image in images))]
    ends = np.cumsum([0, *map(len, images)])
    out = {name: np.empty(ends[-1], MEASURED.variables[name].dtype) for name in names}
    parts = min(8 * threads(), max(len(images), 1))

    def fill(part: int) -> None:
        for n in range(part * len(images) // parts, (part + 1) * len(images) // parts):
            for name in names:
                out[name][ends[n] : ends[n + 1]] = _column(images[n], name)

    run(fill, parts)
    mid, half = _normalisation(images, ends, out["x"], out["y"])
    crval, start = polynomials([i.header for i in images], [i.file for i in images], mid, half)
    return MEASURED.build(
        **out,
        image=np.repeat(np.arange(len(images), dtype=np.int32), np.diff(ends)),
        name=np.array([image.name for image in images], np.str_),
        exposure=np.array([image.exposure for image in images], np.int32),
        detector=np.array([image.detector for image in images], np.int32),
        mid=mid,
        half=half,
        crval=crval,
        start=start,
    )


def _column(image: Image, name: str) -> Any:
    """The column, or what stands for it in an image without: a round error, an unknown color."""
    if name in image.columns:
        return image.columns[name]
    if name in ("sigma_x", "sigma_y"):
        return image.columns["sigma"]
    return {"color": np.nan, "covariance_xy": 0}[name]


def _normalisation(images: Sequence[Image], ends: Any, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """mid and half (images, 2), one for all images of a detector, the largest that any of them asks for."""
    edges = np.stack([_edges(ends, x), _edges(ends, y)], 1)  # image, axis, first and last pixel
    for n, image in enumerate(images):
        if NORMALISATION[0] in image.header:
            mid_x, mid_y, half_x, half_y = (number(image.header, key, image.file) for key in NORMALISATION)
            edges[n] = [[mid_x - half_x, mid_x + half_x], [mid_y - half_y, mid_y + half_y]]
        elif (shape := size(image.header)) is not None:
            edges[n] = [[0.5, shape[0] + 0.5], [0.5, shape[1] + 0.5]]
    detectors, of_image = np.unique([image.detector for image in images], return_inverse=True)
    low, high = np.full((len(detectors), 2), np.inf), np.full((len(detectors), 2), -np.inf)
    known = ~np.isnan(edges).any((1, 2))
    np.minimum.at(low, of_image[known], edges[known, :, 0])
    np.maximum.at(high, of_image[known], edges[known, :, 1])
    nothing = ~(high > low)
    low[nothing], high[nothing] = 0.5, 1.5
    return ((low + high) / 2)[of_image], ((high - low) / 2)[of_image]


def _edges(ends: Any, values: Floats) -> Floats:
    """First and last pixel edge (images, 2) that the measurements ask for; NaN where there are none."""
    edges = np.full((len(ends) - 1, 2), np.nan)
    filled = np.flatnonzero(np.diff(ends))
    if not filled.size:
        return edges
    low, high = np.minimum.reduceat(values, ends[filled]), np.maximum.reduceat(values, ends[filled])
    if not np.isfinite(low + high).all():  # a NaN hides the others, and is rare
        finite = np.where(np.isfinite(values), values, np.nan)
        low, high = np.fmin.reduceat(finite, ends[filled]), np.fmax.reduceat(finite, ends[filled])
    last = np.ceil(high)
    # Fitted pixels may lie a little before the first one, those of a mosaic's own system far before it.
    edges[filled, 0] = np.where(low < -0.05 * last, np.floor(low), 1.0) - 0.5
    edges[filled, 1] = last + 0.5
    return edges
