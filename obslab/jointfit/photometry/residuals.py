"""The tables of a result: terms with their errors, fitted magnitudes, and one row for each measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.datasets import STATES
from obslab.jointfit.photometry import datasets
from obslab.jointfit.photometry.calibration import Calibration
from obslab.jointfit.photometry.gathering import ALONE, MAG_PER_E, REJECTED, UNSELECTED, USED
from obslab.jointfit.photometry.points import Points
from obslab.jointfit.photometry.problem import Problem
from obslab.jointfit.projection import from_plane, sky

Array = NDArray[Any]
Floats = NDArray[np.float64]

AMBIGUOUS, UNFIT, HELD_OUT = 5, 6, 2


def zero_points(problem: Problem, points: Points, terms: Floats, errors: Floats) -> xr.Dataset:
    """ZERO_POINTS: one row for each exposure that was offered, or each image."""
    measured, c = problem.tables.measured, problem.columns
    by_image = problem.settings.zero_point == "image"
    offered = np.flatnonzero(problem.bands.of_exposure[problem.exposure] >= 0)
    key = offered if by_image else problem.exposure[offered]
    rows, inverse = np.unique(key, return_inverse=True)
    column, image = np.full(len(rows), -1), np.zeros(len(rows), np.int64)
    np.maximum.at(column, inverse.reshape(-1), c.zero[offered])
    image[inverse.reshape(-1)] = offered
    used = (points.state == USED) & ~np.repeat(points.held, np.diff(points.first))
    stars = np.bincount(c.zero[points.image[used]], minlength=len(c.zero_image))
    set_of, anchored = np.full(len(c.zero_image) + 1, -1), np.zeros(len(c.zero_image) + 1, bool)
    for number, members in enumerate(problem.gauge.sets):
        set_of[members], anchored[members] = number, problem.gauge.anchored[number]
    fitted = column >= 0
    value = np.where(fitted, np.append(terms, np.nan)[column], np.nan)
    names = np.array(problem.bands.names)
    return datasets.ZERO_POINTS.build(
        exposure=measured.exposure.values[image],
        detector=measured.detector.values[image] if by_image else np.full(len(rows), -1),
        band=names[problem.bands.of_exposure[problem.exposure[image]]],
        value=value,
        zero_point=-value,
        error=np.where(fitted, np.append(errors, np.nan)[column], np.nan),
        stars=np.where(fitted, np.append(stars, 0)[column], 0),
        set=set_of[column],
        anchored=anchored[column],
    )


def detector_terms(problem: Problem, terms: Floats, errors: Floats) -> xr.Dataset:
    """DETECTOR_TERMS."""
    c, part = problem.columns, slice(len(problem.columns.zero_image), problem.columns.first_illumination)
    return datasets.DETECTOR_TERMS.build(
        detector=problem.tables.measured.detector.values[c.detector_image],
        setup=_setups(problem, c.detector_image),
        value=terms[part],
        error=errors[part],
    )


def illumination_terms(problem: Problem, terms: Floats, errors: Floats) -> xr.Dataset:
    """ILLUMINATION."""
    c, part = problem.columns, slice(problem.columns.first_illumination, problem.columns.first_color)
    image = np.repeat(c.illumination_image, len(c.powers))
    powers = np.tile(np.array(c.powers, np.int64).reshape(-1, 2), (len(c.illumination_image), 1))
    center = problem.plane.center[problem.bands.instrument[problem.exposure[image]]]
    return datasets.ILLUMINATION.build(
        setup=_setups(problem, image),
        power_x=powers[:, 0],
        power_y=powers[:, 1],
        value=terms[part],
        error=errors[part],
        center_x=center[:, 0],
        center_y=center[:, 1],
        scale=np.full(len(image), problem.plane.scale),
    )


def color_terms(problem: Problem, terms: Floats, errors: Floats) -> xr.Dataset:
    """COLOR_TERMS, with the mean color as an attribute."""
    c, part = problem.columns, slice(problem.columns.first_color, None)
    detector = problem.tables.measured.detector.values[c.color_image]
    return datasets.COLOR_TERMS.build(
        {"mean_color": problem.mean_color},
        band=np.array(problem.bands.names, dtype=str)[c.color_band],
        detector=detector if problem.settings.color_terms == "detector" else np.full(len(detector), -1),
        value=terms[part],
        error=errors[part],
    )


def _setups(problem: Problem, image: Array) -> Array:
    names = np.array(problem.bands.setup_names, dtype=str)
    return names[problem.bands.setup[problem.exposure[image]]]


def magnitudes(
    problem: Problem, points: Points, star: Floats, information: Floats, chi2: Floats
) -> xr.Dataset:
    """MAGNITUDES; ``chi2`` is each point's."""
    entry = np.repeat(np.arange(len(points.star)), np.diff(points.first))
    usable, used = points.state <= REJECTED, points.state == USED
    count = len(points.star)
    value = np.where(information > 0, star, np.nan)
    error = np.where(information > 0, 1 / np.sqrt(np.where(information > 0, information, 1)), np.nan)
    if problem.settings.model == "flux":
        flux, flux_error = value, error
        mag, mag_error = _magnitude(flux, flux_error)
    else:
        mag, mag_error = value, error
        flux = 10 ** (-0.4 * mag)
        flux_error = flux * mag_error / MAG_PER_E
    reference, given = problem.tables.reference, points.reference_state <= REJECTED
    reference_mag = np.full(count, np.nan)
    if reference is not None and len(reference.mag):
        reference_mag = np.where(points.reference >= 0, reference.mag.values[points.reference], np.nan)
    counted = points.reference_state == USED
    own = np.where(counted, (star - points.reference_value) / points.reference_error, 0) ** 2
    return datasets.MAGNITUDES.build(
        star=points.star,
        band=np.array(problem.bands.names, dtype=str)[points.band],
        mag=mag, mag_error=mag_error, flux=flux, flux_error=flux_error,
        color=np.where(points.known_color, points.color + problem.mean_color, np.nan),
        measurements=np.bincount(entry[usable], minlength=count),
        used=np.bincount(entry[used], minlength=count),
        chi2=np.bincount(entry[used], chi2[used], minlength=count) + np.where(counted, own, 0),
        reference=np.where(given, points.reference, -1),
        reference_mag=np.where(given, reference_mag, np.nan),
        reference_residual=np.where(given, mag - reference_mag, np.nan),
        reference_used=counted,
        held_out=points.held,
    )  # fmt: skip


def point_chi2(problem: Problem, points: Points, terms: Floats, star: Floats, floor_mag: float) -> Floats:
    """chi2 of each point, of one degree of freedom."""
    entry = np.repeat(np.arange(len(points.star)), np.diff(points.first))
    color = points.color[entry] + (problem.mean_color if np.isfinite(problem.mean_color) else 0.0)
    total = Calibration(problem, terms).at_positions(points.image, points.fx, points.fy, color)
    if problem.settings.model == "flux":
        expected = star[entry] * 10 ** (-0.4 * total)
        error = np.hypot(points.error, floor_mag * expected / MAG_PER_E)
        return np.asarray(((points.value - expected) / error) ** 2)
    return np.asarray(((points.value - total - star[entry]) / np.hypot(points.error, floor_mag)) ** 2)


def residuals(
    problem: Problem, points: Points, terms: Floats, fitted: xr.Dataset, floor_mag: float, chi2: Floats
) -> xr.Dataset:
    """PHOTOMETRY_RESIDUALS."""
    tables, association = problem.tables, problem.tables.association
    measured, image = tables.measured, tables.measured.image.values
    rows, bands = measured.sizes["measured"], len(problem.bands.names)
    calibration = Calibration(problem, terms)
    band = problem.bands.of_exposure[problem.exposure][image]
    has_star = (association.star >= 0) & (band >= 0)
    entry = np.where(has_star, association.star * bands + band, -1)
    color = _taken(fitted.color.values, entry)
    total = calibration.of_pixels(image, measured.x.values, measured.y.values, color)
    flux, flux_error = (measured[name].values.astype(np.float64) for name in ("flux", "flux_error"))
    inst_mag, inst_mag_error = _magnitude(flux, flux_error)
    mag = inst_mag - total
    state = np.select([association.star == -1, association.star == -2, association.star == -3],
                      [ALONE, AMBIGUOUS, UNFIT], UNSELECTED).astype(np.int8)  # fmt: skip
    held = np.repeat(points.held, np.diff(points.first)) & (points.state == USED)
    state[points.row] = np.where(held, HELD_OUT, points.state)
    of_point = np.full((3, rows), np.nan)
    of_point[:, points.row] = np.where(points.state <= REJECTED, chi2, np.nan), *_in_deg(problem, points)
    ra, dec = (_taken(angle, association.star) for angle in _positions(association))
    factor = 10 ** (0.4 * total)
    return datasets.PHOTOMETRY_RESIDUALS.build(
        {"states": list(STATES), "model": problem.settings.model, "floor_mag": floor_mag},
        id=measured.id.values, exposure=measured.exposure.values[image],
        detector=measured.detector.values[image], x=measured.x.values, y=measured.y.values,
        focal_x=of_point[1], focal_y=of_point[2],
        mag=mag, inst_mag=inst_mag, inst_mag_error=inst_mag_error,
        residual=mag - _taken(fitted.mag.values, entry), error=np.hypot(inst_mag_error, floor_mag),
        inst_flux=measured.flux.values, inst_flux_error=measured.flux_error.values,
        flux=flux * factor, flux_error=flux_error * factor, star_flux=_taken(fitted.flux.values, entry),
        epoch=tables.exposures.epoch.values[problem.exposure][image], star=association.star,
        ra=ra, dec=dec, color=color, chi2=of_point[0],
        measurements=_taken(fitted.measurements.values, entry, 0), state=state,
    )  # fmt: skip


def _taken(values: Array, index: Array, otherwise: float = np.nan) -> Array:
    """values[index], and ``otherwise`` where the index is below 0."""
    padded = np.append(values, np.asarray(otherwise, values.dtype))
    return np.asarray(padded[np.maximum(index, -1)])


def _in_deg(problem: Problem, points: Points) -> tuple[Floats, Floats]:
    center = problem.plane.center[problem.bands.instrument[problem.exposure[points.image]]]
    return points.fx * problem.plane.scale + center[:, 0], points.fy * problem.plane.scale + center[:, 1]


def _magnitude(flux: Floats, error: Floats) -> tuple[Floats, Floats]:
    good = flux > 0
    safe = np.where(good, flux, 1.0)
    return np.where(good, -2.5 * np.log10(safe), np.nan), np.where(good, MAG_PER_E * error / safe, np.nan)


def _positions(association: Any) -> tuple[Floats, Floats]:
    """ra, dec (deg) of fitted stars: the association's first positions; NaN of an association without."""
    position = getattr(association, "position", None)
    if position is None:
        empty = np.full(len(association.reference), np.nan)
        return empty, empty
    return sky(from_plane(association.frame, position[:, 0], position[:, 1]))
