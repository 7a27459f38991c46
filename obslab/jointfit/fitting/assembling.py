"""From tables and an association to the Problem and the State the solver starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.association import Association
from obslab.jointfit.fitting.choices import Choices, FitError
from obslab.jointfit.fitting.image_plane import held_image, onto_held_image
from obslab.jointfit.fitting.motion import priors
from obslab.jointfit.fitting.movers import who_moves
from obslab.jointfit.fitting.starting import plane_grid, start
from obslab.jointfit.fitting.weights import pixel_scale_mas, weights
from obslab.jointfit.mapping.layout import Layout
from obslab.jointfit.mapping.terms import Bound, Points
from obslab.jointfit.polynomial import basis
from obslab.jointfit.projection import MAS, earth, homography
from obslab.jointfit.selection import usable_reference
from obslab.jointfit.solve.problem import Problem, State

Floats = NDArray[np.float64]
GAUGE_REFERENCE_ARCSEC = 0.5
"""A reference with larger errors does not hold the low-order distortions of single exposures."""
GAUGE_ARCSEC = 0.5
"""Then each exposure's mapping is held to its start within this, at the edge of the field."""


@dataclass
class Assembled:
    """A Problem with what leads back to the tables: ``rows`` of measured, in the problem's order."""

    problem: Problem
    state: State
    rows: NDArray[np.int64]
    epoch_yr: float
    frame: Floats
    frames: Floats
    mas: float
    """Milliarcseconds of a plane unit; between images, by the pixel scale of the held one."""
    grid: Floats
    """Where the mappings started on the nodes of ``starting``, plane units."""
    mid: Floats
    half: Floats
    notes: list[str] = field(default_factory=list)


def assemble(
    measured: xr.Dataset,
    reference: xr.Dataset | None,
    exposures: xr.Dataset,
    association: Association,
    layout: Layout,
    choices: Choices,
    *,
    color: Floats | None = None,
) -> Assembled:
    """The Problem of all associated measurements, and where it starts."""
    rows = np.flatnonzero(association.star >= 0)
    if not len(rows):
        raise FitError("no star was measured twice: nothing to fit", counts=association.counts)
    image = measured.image.values[rows]
    images = measured.sizes["image"]
    exposure = np.searchsorted(exposures.exposure.values, measured.exposure.values).astype(np.int32)
    star = association.star[rows].astype(np.uint32)
    count = len(association.reference)
    place_of_row = np.cumsum(association.star >= 0, dtype=np.int32) - np.int32(1)
    members = place_of_row[association.members]
    grid = plane_grid(measured, association.frames, association.affine, exposure)
    notes: list[str] = []
    identity = choices.projector == "identity"
    if identity:
        grid, place, unit = onto_held_image(measured, association, layout, grid, exposure)
    else:
        unit = float(np.abs(grid).max())
        place = association.position / unit
        grid = grid / unit
    inner, outer = start(layout, grid)
    if identity:
        inner[layout.held_inner] = basis(layout.inner_degree).identity()
        held = held_image(layout)
        inner[layout.held_inner, :, 0] = measured.mid.values[held] / unit
        inner[layout.held_inner, 0, 1] = measured.half.values[held, 0] / unit
        inner[layout.held_inner, 1, 2] = measured.half.values[held, 1] / unit

    epochs = exposures.epoch.values
    per_exposure = np.bincount(exposure[image], minlength=len(epochs))
    epoch_yr = float(np.average(epochs, weights=per_exposure))
    span = float(np.ptp(epochs[per_exposure > 0]))
    motion, parallax = who_moves(choices, reference, association, rows, exposure, image, epochs, star, count)
    prior = priors(
        None if identity else reference,
        association.reference,
        place,
        association.frame,
        epoch_yr,
        span,
        unit,
        motion,
        parallax,
        error_mas=choices.reference_error_mas,
        floor_mas=choices.reference_floor_mas,
    )
    size = prior.at.shape[1]
    stars = np.zeros((count, size))
    stars[:, :2] = place
    stars[:, 2:] = prior.at[:, 2:]

    mas = (pixel_scale_mas(measured, held_image(layout)) if identity else 1 / MAS) * unit
    floor: Floats | float = 0.0
    if np.any(choices.floor_mas):
        floor = _floor(choices.floor_mas, measured.sizes["measured"])[rows] / mas
    scale = np.array([unit, unit, 1.0])
    plane = homography(association.frames, association.frame) * scale[None, :] / scale[:, None]
    mjd = exposures.mjd.values
    directions = earth(mjd) @ association.frame.T if size == 5 else np.zeros((len(mjd), 3))
    held_gauge = _gauge(choices, reference, layout, mas, notes)
    terms: tuple[Bound, ...] = ()
    if choices.terms:
        points = _points(measured, exposures, rows, exposure, image, unit, color)
        terms = tuple(term.bind(points) for term in choices.terms)
    first = np.concatenate([[0], np.cumsum(np.bincount(image, minlength=images))]).astype(np.int64)
    problem = Problem(
        basis(layout.inner_degree),
        basis(layout.outer_degree),
        layout.inner,
        layout.outer,
        exposure,
        first,
        _normalised(measured, "x", 0, rows, image),
        _normalised(measured, "y", 1, rows, image),
        weights(measured, rows, unit, floor, identity=identity),
        star,
        association.first,
        members,
        np.broadcast_to(np.eye(3), plane.shape).copy() if identity else plane,
        prior.information,
        prior.at,
        prior.free,
        np.repeat(~layout.held_inner[:, None], len(basis(layout.inner_degree)), 1),
        np.repeat(~layout.held_outer[:, None], len(basis(layout.outer_degree)), 1),
        epochs - epoch_yr,
        directions,
        0.0 if identity else np.radians(unit),
        unit,
        prior.on,
        (association.reference >= 0) & (not identity),
        held_gauge,
        terms,
    )
    notes.append(f"stars: {prior.why}")
    begin = np.concatenate([np.zeros(0)] + [np.where(t.free, 0.0, 1.0) for t in terms])
    return Assembled(
        problem,
        State(inner, outer, stars, begin),
        rows,
        epoch_yr,
        association.frame,
        association.frames,
        mas,
        grid,
        measured.mid.values,
        measured.half.values,
        notes,
    )


def _floor(floor_mas: Any, count: int) -> Floats:
    """One for each row of measured."""
    floor = np.asarray(floor_mas, np.float64)
    if floor.shape not in ((), (count,)) or not np.all((floor >= 0) & (floor < np.inf)):
        raise FitError(
            f"floor_mas is {floor_mas!r}, wanted a number from 0 up, in mas, or one for each of {count} rows "
            f"of measured"
        )
    return np.broadcast_to(floor, (count,))


def _gauge(
    choices: Choices, reference: xr.Dataset | None, layout: Layout, mas: float, notes: list[str]
) -> Floats | None:
    """Weak information on the outer mappings where the reference does not hold them, and the word about it.

    ``mas``: milliarcseconds of a plane unit. Without any, images that few stars join with the held one would
    shrink to a point, where chi2 is zero.
    """
    width = choices.gauge_arcsec
    if width is None:
        error = choices.reference_error_mas
        if error is None and reference is not None:
            error = float(np.median(reference.ra_error.values[usable_reference(reference)[0]]))
        if reference is not None and error is not None and error <= GAUGE_REFERENCE_ARCSEC * 1e3:
            return None
        width = GAUGE_ARCSEC
        what = (
            "there is no reference"
            if reference is None
            else f'its typical error is {(error or 0) / 1e3:.2g}"'
        )
    if choices.projector != "identity" and choices.gauge_arcsec is None:
        notes.append(
            f"the reference leaves low-order distortions to the gauge ({what}): mappings are held to the "
            f"rough WCS "
            f'within {width:g}" at the edge'
        )
    if not width > 0:
        raise FitError(f"gauge_arcsec is {width}, wanted a width above zero", gauge_arcsec=width)
    information = (mas / (width * 1e3)) ** 2
    inner = np.zeros((len(layout.inner_names), len(basis(layout.inner_degree))))
    outer = np.full((len(layout.outer_names), len(basis(layout.outer_degree))), information)
    if layout.model == "simple" or reference is None:
        inner[:] = information  # without a reference the detectors could carry the sky anywhere
    if layout.model == "simple":
        outer[:] = 0
    return np.concatenate([inner.ravel(), outer.ravel()])


def _normalised(measured: xr.Dataset, name: str, axis: int, rows: Any, image: Any) -> Floats:
    """u or v of the rows; a column at a time, since a million rows are 8 MB each."""
    out = np.asarray(measured[name].values[rows], np.float64)
    out -= measured.mid.values[:, axis][image]
    out /= measured.half.values[:, axis][image]
    return out


def _points(
    measured: xr.Dataset,
    exposures: xr.Dataset,
    rows: Any,
    exposure: Any,
    image: Any,
    unit: float,
    color: Floats | None,
) -> Points:
    detectors, number = np.unique(measured.detector.values, return_inverse=True)
    return Points(
        measured.x.values[rows],
        measured.y.values[rows],
        measured.half.values[image],
        exposure[image].astype(np.int64),
        number[image].astype(np.int64),
        tuple(detectors.tolist()),
        color if color is not None else np.zeros(0),
        tuple(exposures.band.values.astype(str).tolist()),
        exposures.airmass.values,
        exposures.parallactic_angle.values,
        unit,
    )
