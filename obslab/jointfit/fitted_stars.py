"""The table of a FitResult's stars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import datasets, projection
from obslab.jointfit.projection import MAS
from obslab.jointfit.residuals import measured_chi2

if TYPE_CHECKING:
    from obslab.jointfit.result import FitResult

Floats = NDArray[np.float64]


def fitted(result: FitResult) -> xr.Dataset:
    """``datasets.FITTED``, at the epoch in its attributes."""
    solver, p, a = result.outcome.solver, result.assembled.problem, result.association
    state = solver.state.stars
    count = len(state)
    place = state[:, :2] * p.unit
    identity = result.choices.projector == "identity"
    scale = p.unit if identity else p.unit / MAS
    nan = np.full(count, np.nan)
    if identity:
        ra, dec = place.T
        turn = np.broadcast_to(np.eye(2), (count, 2, 2))
    else:
        ra, dec = projection.sky(projection.from_plane(result.assembled.frame, *place.T))
        turn = _to_local(result.assembled.frame, place, ra, dec)
    covariance = _turned(turn, solver.inverse[:, :2, :2]) * scale**2
    alive = solver.inverse[:, 0, 0] > 0
    errors = np.sqrt(np.where(alive[:, None], np.einsum("kii->ki", covariance), np.nan))
    moving = dict.fromkeys(("pm_ra_error", "pm_dec_error", "parallax_error"), nan)
    speed, far = np.full((count, 2), np.nan), nan
    if p.star_parameters == 5:
        speed = np.einsum("kij,kj->ki", turn, state[:, 2:4]) * scale
        far = state[:, 4] * scale
        of_speed = _turned(turn, solver.inverse[:, 2:4, 2:4]) * scale**2
        fit_motion, fit_far = solver.inverse[:, 2, 2] > 0, solver.inverse[:, 4, 4] > 0
        moving = {
            "pm_ra_error": np.where(fit_motion, np.sqrt(np.abs(of_speed[:, 0, 0])), np.nan),
            "pm_dec_error": np.where(fit_motion, np.sqrt(np.abs(of_speed[:, 1, 1])), np.nan),
            "parallax_error": np.where(fit_far, np.sqrt(np.abs(solver.inverse[:, 4, 4])) * scale, np.nan),
        }
    rows = result.assembled.rows
    star = a.star[rows]
    used = solver.active[0] > 0
    chi2 = np.bincount(star[used], measured_chi2(solver)[used], count)
    on = p.reference_on == 1
    away = state - p.prior_at
    upper = np.triu_indices(p.star_parameters)
    twice = np.where(upper[0] == upper[1], 1.0, 2.0)
    chi2 += np.where(on, np.einsum("kp,kp,kp,p->k", p.prior, away[:, upper[0]], away[:, upper[1]], twice), 0)
    has = a.reference >= 0
    mag = nan.copy()
    if result.reference is not None:
        mag[has] = result.reference.mag.values[a.reference[has]]
    if result.photometry is not None:
        found = result.photometry.magnitudes
        mine = np.isfinite(found.mag.values) & (
            found.band.values == found.band.values[:1]
        )  # one band's: its first
        mag[found.star.values[mine]] = found.mag.values[mine]
    color = nan.copy()
    color[star] = result.color[rows]
    held = result.outcome.held_stars
    return datasets.FITTED.build(
        {
            "epoch": result.assembled.epoch_yr,
            "coordinates": "pixels of the held image" if identity else "ICRS",
        },
        ra=ra,
        dec=dec,
        ra_error=errors[:, 0],
        dec_error=errors[:, 1],
        covariance=covariance[:, 0, 1],
        measurements=np.bincount(star, minlength=count),
        used=np.bincount(star[used], minlength=count),
        reference=a.reference,
        reference_used=on & has,
        held_out=held if held is not None else np.zeros(count, bool),
        chi2=chi2,
        mag=mag,
        color=color,
        pm_ra=speed[:, 0],
        pm_dec=speed[:, 1],
        parallax=far,
        **moving,
    )


def _to_local(frame: Floats, place: Floats, ra: Floats, dec: Floats) -> Floats:
    """(K, 2, 2): displacements in the common plane to displacements east and north on the sky."""
    local = projection.frames(ra, dec)
    x, y = np.radians(place[:, 0]), np.radians(place[:, 1])
    length = np.sqrt(1 + x * x + y * y)
    star = local[:, 2]
    turn = np.empty((len(ra), 2, 2))
    for column in range(2):
        away = (frame[column] - star * (star @ frame[column])[:, None]) / length[:, None]
        turn[:, 0, column] = np.einsum("ki,ki->k", away, local[:, 0])
        turn[:, 1, column] = np.einsum("ki,ki->k", away, local[:, 1])
    return turn


def _turned(turn: Floats, covariance: Floats) -> Floats:
    return np.asarray(np.einsum("kij,kjl,kml->kim", turn, covariance, turn))
