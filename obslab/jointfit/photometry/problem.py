"""From the tables to points and columns: what takes part in the fit, and what is left out by name."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.photometry.bands import Bands, find_bands
from obslab.jointfit.photometry.columns import Columns, Gauge, find_gauge, make_columns
from obslab.jointfit.photometry.focal import FocalPlane, from_positions, from_rough_wcs
from obslab.jointfit.photometry.gathering import EXCLUDED, REJECTED, UNSELECTED, thin
from obslab.jointfit.photometry.points import PARTS, Matched, Points, make_points
from obslab.jointfit.photometry.settings import PhotometryError, Settings

log = logging.getLogger(__name__)
Array = NDArray[Any]


@dataclass(frozen=True)
class Tables:
    """What was measured, as ``fit_photometry`` was given it."""

    measured: xr.Dataset
    reference: xr.Dataset | None
    exposures: xr.Dataset
    association: Matched
    selected: Array | None
    held_out: Array | None
    """Fitted stars to be held out, in place of a part of them."""

    def __post_init__(self) -> None:
        rows, stars = self.measured.sizes["measured"], len(self.association.reference)
        if self.association.star.shape != (rows,):
            raise PhotometryError(
                f"the association is of {len(self.association.star)} measurements, and measured has {rows}: "
                "associate these measurements"
            )
        _check_mask("selected", self.selected, rows, "measurement")
        _check_mask("held_out", self.held_out, stars, "fitted star")

    @property
    def exposure(self) -> Array:
        """Row of ``exposures`` of each image."""
        known, wanted = self.exposures.exposure.values, self.measured.exposure.values
        row = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
        missing = np.unique(wanted[known[row] != wanted]) if len(known) else np.unique(wanted)
        if len(missing):
            raise PhotometryError(
                f"exposures has no row for exposure {missing[0]}, of which there are images"
            )
        return np.asarray(row)


@dataclass(frozen=True)
class Problem:
    """Everything that stays the same while a fit is made, and refitted."""

    tables: Tables
    settings: Settings
    exposure: Array
    bands: Bands
    plane: FocalPlane
    points: Points
    """In magnitudes."""
    columns: Columns
    gauge: Gauge
    image_state: Array
    mean_color: float
    bright: float
    """Points with smaller errors (mag) are the brightest quarter."""
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def _check_mask(name: str, mask: Array | None, count: int, what: str) -> None:
    if mask is not None and (mask.dtype != bool or mask.shape != (count,)):
        raise PhotometryError(
            f"{name} is {mask.dtype} of shape {mask.shape}, wanted bool of ({count},): one for each {what}"
        )


def set_up(tables: Tables, focal: tuple[Array, Array] | None, settings: Settings) -> Problem:
    """The problem that the settings pose for these tables."""
    measured, reference, exposures = tables.measured, tables.reference, tables.exposures
    exposure = tables.exposure
    if not len(exposure):
        raise PhotometryError("measured has no images: there is nothing to fit")
    notes: list[str] = []
    with_magnitudes = reference is not None and bool(np.isfinite(reference.mag.values).any())
    if settings.reference_use and not with_magnitudes:
        notes.append("there are no reference magnitudes: zero points are relative")
    bands = find_bands(exposures, np.unique(exposure), settings, with_magnitudes)
    instrument = bands.instrument[exposure]
    if focal is None:
        plane = from_rough_wcs(measured, exposures, exposure, instrument)
    else:
        plane = from_positions(measured, focal, instrument)
    image_state = np.where(bands.of_exposure[exposure] < 0, UNSELECTED, 0).astype(np.int8)
    if tables.selected is not None:
        offered = np.bincount(measured.image.values[tables.selected], minlength=len(image_state))
        image_state[offered == 0] = UNSELECTED
    points = make_points(
        measured,
        reference,
        tables.association,
        bands,
        exposure,
        plane,
        image_state,
        tables.selected,
        tables.held_out,
        settings,
        True,
    )
    left_out = _leave_out(measured, points, image_state, settings)
    good = points.error[points.state <= REJECTED]
    if not len(good):
        raise PhotometryError(
            f"no star has two usable measurements; left out: {'; '.join(left_out) or 'nothing'}",
            left_out=left_out,
        )
    columns = make_columns(measured, exposure, bands, plane, image_state == 0, settings)
    gauge = find_gauge(columns, points)
    notes += _explain(columns, gauge, len(bands.names))
    bright = float(np.partition(good, len(good) // 4)[len(good) // 4])
    return Problem(
        tables, settings, exposure, bands, plane, points, columns, gauge, image_state,
        _center_colors(points, settings), bright, left_out, tuple(notes),
    )  # fmt: skip


def narrowed(problem: Problem, points: Points) -> Problem:
    """The problem of what is left of its points, with the columns that are still needed."""
    image_state = problem.image_state.copy()
    measured = problem.tables.measured
    left_out = _leave_out(measured, points, image_state, problem.settings)
    columns = make_columns(
        measured, problem.exposure, problem.bands, problem.plane, image_state == 0, problem.settings
    )
    if not len(columns.zero_image):
        raise PhotometryError("no exposure has enough stars left", left_out=left_out)
    return replace(
        problem, columns=columns, gauge=find_gauge(columns, points), image_state=image_state,
        left_out=(*problem.left_out, *left_out),
    )  # fmt: skip


def in_fluxes(problem: Problem) -> Points:
    """The same points as fluxes; those with a flux of 0 or less, which have no magnitude, are among them."""
    t = problem.tables
    points = make_points(
        t.measured, t.reference, t.association, problem.bands, problem.exposure, problem.plane,
        problem.image_state, t.selected, t.held_out, problem.settings, False,
    )  # fmt: skip
    count_good(points, problem.image_state)
    points.color[:] = problem.points.color
    return points


def count_good(points: Points, image_state: Array) -> Array:
    """Good points of each image; points of images left out, and those that are alone, are marked."""
    counts = np.zeros((PARTS, len(image_state)), np.int64)
    pool.run(
        thin, PARTS, points.parts(), points.first, points.image, image_state, points.held,
        points.reference_state, points.state, counts,
    )  # fmt: skip
    return np.asarray(counts.sum(0))


def _leave_out(
    measured: xr.Dataset, points: Points, image_state: Array, settings: Settings
) -> tuple[str, ...]:
    """Mark images of exposures and detectors with too few stars, until all others have enough; names them."""
    number, chip = measured.exposure.values, measured.detector.values
    names: list[str] = []
    while True:
        counts = count_good(points, image_state)
        poor = np.zeros(len(counts), bool)
        groups = [("exposure", number)]
        if settings.zero_point == "image":
            groups = [("image", np.arange(len(counts)))]
        elif settings.detectors:
            groups.append(("detector", chip))
        for kind, key in groups:
            for value in np.unique(key[image_state == 0]):
                mine = (key == value) & (image_state == 0)
                stars = int(counts[mine].sum())
                if stars < settings.minimum_stars:
                    poor |= mine
                    name = (
                        f"exposure {number[value]} detector {chip[value]}"
                        if kind == "image"
                        else f"{kind} {value}"
                    )
                    names.append(f"{name} has {stars} usable stars, wanted {settings.minimum_stars}")
                    log.warning("left out of the photometry: %s", names[-1])
        if not poor.any():
            return tuple(names)
        image_state[poor] = EXCLUDED


def _explain(columns: Columns, gauge: Gauge, bands: int) -> list[str]:
    """In words: sets of exposures that nothing ties together, and what their zero points mean then."""
    notes = []
    floating = [s for s, anchored in zip(gauge.sets, gauge.anchored, strict=True) if not anchored]
    if len(gauge.sets) > bands:
        for one in sorted(gauge.sets, key=len)[:-1]:
            names = ", ".join(columns.names[c].removeprefix("zero point of ") for c in one[:8])
            more = f" and {len(one) - 8} more" if len(one) > 8 else ""
            how = (
                "relative to each other only"
                if any(one is s for s in floating)
                else "tied by the reference only"
            )
            notes.append(f"{names}{more}: no fitted star in common with the others, zero points are {how}")
            log.warning("photometry: %s", notes[-1])
    if floating:
        notes.append(
            f"zero points have mean 0 in {len(floating)} of {len(gauge.sets)} sets: no reference fixes them"
        )
    return notes


def _center_colors(points: Points, settings: Settings) -> float:
    """Subtract the mean color of the stars that have one; it is returned."""
    seen = points.known_color & (np.diff(points.first) > 0)
    if not seen.any():
        if settings.color_terms is not None:
            raise PhotometryError(
                "color terms need colors: neither the measurements nor the reference stars have any; "
                "give color_terms=None"
            )
        points.color[:] = 0
        return float("nan")
    mean = float(points.color[seen].mean())
    points.color[:] = np.where(points.known_color, points.color - mean, 0)
    return mean
