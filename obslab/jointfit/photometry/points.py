"""The measurements as the kernels want them: in the order of their stars, a star in each band by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import polynomial, pool
from obslab.jointfit.photometry.bands import Bands
from obslab.jointfit.photometry.focal import FocalPlane
from obslab.jointfit.photometry.gathering import ALONE, MAG_PER_E, USED, gather, pack
from obslab.jointfit.photometry.settings import Settings

Array = NDArray[Any]
PARTS = 16
"""Fixed, so that sums do not depend on the number of threads."""


class Matched(Protocol):
    """What is needed of an Association: the fitted star of each measurement, and their reference stars."""

    @property
    def star(self) -> Array: ...
    @property
    def reference(self) -> Array: ...
    @property
    def first(self) -> Array: ...
    @property
    def members(self) -> Array: ...


@dataclass(frozen=True)
class Points:
    """Points ``first[k]`` to ``first[k + 1]`` are those of entry ``k``: one star in one band."""

    first: Array
    star: Array
    band: Array
    row: Array
    image: Array
    fx: Array
    fy: Array
    value: Array
    error: Array
    state: Array
    """Position in datasets.STATES; what was held out is USED or REJECTED here."""
    bad_flux: int
    color: Array
    """Of each entry, minus the mean color; 0 where unknown."""
    known_color: Array
    reference: Array
    reference_value: Array
    reference_error: Array
    reference_state: Array
    held: Array

    @property
    def longest(self) -> int:
        """Points of the entry with the most of them, and its reference."""
        return int(np.diff(self.first).max(initial=0)) + 1

    def parts(self, count: int = PARTS) -> Array:
        """Entries at which so many parts begin and end, each of about as many points."""
        bounds = np.searchsorted(self.first, np.linspace(0, self.first[-1], count + 1)).astype(np.int64)
        bounds[0], bounds[-1] = 0, len(self.star)
        return bounds

    def copy(self) -> Points:
        """The same points with states of their own, to be judged anew."""
        return replace(self, state=self.state.copy(), reference_state=self.reference_state.copy())


def make_points(
    measured: xr.Dataset, reference: xr.Dataset | None, association: Matched, bands: Bands, exposure: Array,
    plane: FocalPlane, image_state: Array, selected: Array | None, held_out: Array | None,
    settings: Settings, magnitudes: bool,
) -> Points:  # fmt: skip
    """All measurements with a fitted star; ``image_state`` says why an image is left out, 0 if it is not."""
    rows = measured.sizes["measured"]
    allowed = np.empty(0, bool) if selected is None else selected
    first, members, star, band = _entries(measured, association, bands, exposure)
    n = len(members)
    image, fx, fy = np.empty(n, np.uint32), np.empty(n), np.empty(n)
    value, error, state = np.empty(n), np.empty(n, np.float32), np.empty(n, np.int8)
    bad = np.zeros(PARTS, np.int64)
    basis = polynomial.basis(polynomial.degree_of(plane.coefficients.shape[-1]))
    packed = np.empty((rows, 4))
    m, image_of = measured, measured.image.values
    pool.run(
        pack, PARTS, _bounds(rows), image_of, m.x.values, m.y.values, m.flux.values, m.flux_error.values,
        allowed, image_state, m.mid.values, m.half.values, plane.of_image, plane.coefficients, basis.parent,
        basis.by_v, magnitudes, packed, bad,
    )  # fmt: skip
    pool.run(gather, PARTS, _bounds(n), members, image_of, packed, image, fx, fy, value, error, state)
    color, known = _colors(measured, reference, association.reference[star], first, members)
    matched = np.where(band == bands.with_reference, association.reference[star], -1)
    reference_value, reference_error = _reference_magnitudes(reference, matched, settings)
    usable = np.isfinite(reference_value)
    if not magnitudes:
        reference_value = 10 ** (-0.4 * reference_value)
        reference_error = reference_error * reference_value / MAG_PER_E
    reference_state = np.where(usable, USED, ALONE).astype(np.int8)
    held = _held_out(measured, first, members, settings.holdout) if held_out is None else held_out[star]
    return Points(
        first, star, band, members, image, fx, fy, value, error, state, int(bad.sum()), color, known,
        matched, reference_value, reference_error, reference_state, held,
    )  # fmt: skip


def _bounds(count: int) -> Array:
    return np.linspace(0, count, PARTS + 1).astype(np.int64)


def _entries(
    measured: xr.Dataset, association: Matched, bands: Bands, exposure: Array
) -> tuple[Array, Array, Array, Array]:
    """first, members, star, band: the association's own order, divided by band where there are several."""
    stars, count = len(association.reference), len(bands.names)
    if count == 1:
        return association.first, association.members, np.arange(stars), np.zeros(stars, np.int64)
    members = association.members
    star = np.repeat(np.arange(stars), np.diff(association.first))
    of_row = np.maximum(bands.of_exposure[exposure], 0)[measured.image.values[members]]
    key = star * count + of_row
    order = np.argsort(key, kind="stable")
    first = np.searchsorted(key[order], np.arange(stars * count + 1)).astype(np.int64)
    entry = np.arange(stars * count)
    return first, members[order], entry // count, entry % count


def _colors(
    measured: xr.Dataset, reference: xr.Dataset | None, matched: Array, first: Array, members: Array
) -> tuple[Array, Array]:
    """A star's color: its reference star's, else the mean of what was measured; and whether it is known."""
    color = np.full(len(matched), np.nan)
    if "color" in measured:
        values = measured.color.values[members].astype(np.float64)
        good = np.isfinite(values)
        sums = np.concatenate([[[0, 0]], np.cumsum(np.stack([np.where(good, values, 0), good], 1), 0)])
        total, count = (sums[first[1:]] - sums[first[:-1]]).T
        color = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    if reference is not None and len(reference.color):
        theirs = np.where(matched >= 0, reference.color.values[matched], np.nan)
        color = np.where(np.isfinite(theirs), theirs, color)
    return color, np.isfinite(color)


def _reference_magnitudes(
    reference: xr.Dataset | None, matched: Array, settings: Settings
) -> tuple[Array, Array]:
    value = np.full(len(matched), np.nan)
    if reference is not None and settings.reference_use and len(reference.mag):
        value = np.where(matched >= 0, reference.mag.values[matched], np.nan)
    return value, np.full(len(matched), settings.reference_error_mag)


def _held_out(measured: xr.Dataset, first: Array, members: Array, part: float) -> Array:
    """A part of the entries, chosen by their first measurement's names: the same in any order of rows."""
    held = np.zeros(len(first) - 1, bool)
    if not part:
        return held
    full = np.flatnonzero(np.diff(first) > 0)
    row = np.minimum.reduceat(members, first[full]) if len(full) else full
    image = measured.image.values[row]
    key = measured.id.values[row].astype(np.int64).view(np.uint64)
    for number in (measured.exposure.values[image], measured.detector.values[image]):
        key = _mixed(key ^ number.astype(np.int64).view(np.uint64))
    held[full] = key < np.uint64(part * 2.0**64)
    return held


def _mixed(key: Array) -> Array:
    """splitmix64: neighbouring numbers become unrelated ones."""
    with np.errstate(over="ignore"):
        key = key + np.uint64(0x9E3779B97F4A7C15)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(key ^ (key >> np.uint64(31)))
