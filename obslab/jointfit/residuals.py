"""The tables of a FitResult: residuals of measured and reference stars, and the fitted stars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import datasets, projection
from obslab.jointfit.projection import MAS

if TYPE_CHECKING:
    from obslab.jointfit.result import FitResult

Floats = NDArray[np.float64]
_STATE = {name: number for number, name in enumerate(datasets.STATES)}
_BY_STAR = {-1: "alone", -2: "ambiguous", -3: "unfit", -4: "unselected"}


def residuals(result: FitResult) -> xr.Dataset:
    """``datasets.RESIDUALS``: one row for each row of ``result.measured``, also those that no fit used."""
    m, a, solver = result.measured, result.association, result.outcome.solver
    p, rows = result.assembled.problem, result.assembled.rows
    count = m.sizes["measured"]
    image = m.image.values
    exposure = p.exposure[image]
    with np.errstate(invalid="ignore"):  # positions that are not finite are there, too
        place = _mapped(result)
    identity = result.choices.projector == "identity"
    to_mas = p.unit if identity else p.unit / MAS
    residual = np.full((2, count), np.nan)
    residual[:, rows] = solver.residual * to_mas
    covariance = _covariances(solver, to_mas)
    errors = np.full((3, count), np.nan)
    errors[:, rows] = np.sqrt(covariance[0]), np.sqrt(covariance[1]), covariance[2]
    chi2 = np.full(count, np.nan)
    chi2[rows] = np.where(p.weight[0] > 0, _chi2(solver), np.nan)
    where = np.full((2, count), np.nan)
    where[:, rows] = _stars_then(result)
    star_at = _sky(result, exposure, where.T) if not identity else (where[0], where[1])
    start, start_residual = _start(result, where.T)
    star = np.where(a.star >= 0, a.star, -1)
    per_star = np.bincount(a.star[rows], minlength=len(a.reference))
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = -2.5 * np.log10(m.flux.values)
    table = datasets.RESIDUALS.build(
        {
            "states": datasets.STATES,
            "epoch": result.assembled.epoch_yr,
            "coordinates": "pixels of the held image, for degrees and for mas" if identity else "ICRS",
        },
        id=m.id.values, exposure=m.exposure.values[image], detector=m.detector.values[image], x=m.x.values,
        y=m.y.values, xi=place[:, 0], eta=place[:, 1], xi_residual=residual[0], eta_residual=residual[1],
        xi_error=errors[0], eta_error=errors[1], covariance=errors[2], xi_start=start[:, 0], eta_start=start[:, 1],
        xi_start_residual=start_residual[:, 0], eta_start_residual=start_residual[:, 1], star=star,
        ra=star_at[0], dec=star_at[1], mag=mag, color=result.color,
        delta_epoch=p.delta_yr[exposure], chi2=chi2, measurements=np.where(star >= 0, per_star[star], 0),
        state=states(result),
    )  # fmt: skip
    return datasets.with_jointcal_names(table, "measured")


def states(result: FitResult) -> NDArray[np.int8]:
    """What became of each measurement: positions in ``datasets.STATES``."""
    solver, rows = result.outcome.solver, result.assembled.rows
    out = np.full(result.measured.sizes["measured"], _STATE["unselected"], np.int8)
    for code, name in _BY_STAR.items():
        out[result.association.star == code] = _STATE[name]
    active, weight = solver.active[0] > 0, solver.problem.weight[0] > 0
    out[rows] = np.where(active, _STATE["used"], np.where(weight, _STATE["rejected"], _STATE["excluded"]))
    return out


def reference_residuals(result: FitResult) -> xr.Dataset:
    """``datasets.REFERENCE_RESIDUALS``: the fitted stars that have a reference star."""
    solver, p = result.outcome.solver, result.assembled.problem
    of = result.association.reference
    stars = np.flatnonzero(of >= 0)
    state = solver.state.stars[stars]
    at = p.prior_at[stars]
    information = _position_information(p, stars)
    covariance = np.linalg.inv(information) * (p.unit / MAS) ** 2
    away = state[:, :2] - at[:, :2]
    ra, dec = projection.sky(projection.from_plane(result.assembled.frame, *(at[:, :2] * p.unit).T))
    east = away * p.unit / MAS
    reference = result.reference
    table = datasets.REFERENCE_RESIDUALS.build(
        {"epoch": result.assembled.epoch_yr},
        reference=of[stars], star=stars, ra=ra, dec=dec, xi_residual=east[:, 0], eta_residual=east[:, 1],
        xi_error=np.sqrt(covariance[:, 0, 0]), eta_error=np.sqrt(covariance[:, 1, 1]),
        covariance=covariance[:, 0, 1],
        mag=reference.mag.values[of[stars]] if reference is not None else np.zeros(0),
        chi2=np.einsum("ki,kij,kj->k", away, information, away),
        measurements=np.bincount(result.association.star[result.assembled.rows], minlength=len(of))[stars],
        used=p.reference_on[stars] == 1,
    )  # fmt: skip
    return datasets.with_jointcal_names(table, "reference")


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
    moving = {name: nan for name in ("pm_ra_error", "pm_dec_error", "parallax_error")}
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
    chi2 = np.bincount(star[used], _chi2(solver)[used], count)
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
        mine = np.isfinite(found.mag.values) & (found.band.values == found.band.values[:1])  # one band's: its first
        mag[found.star.values[mine]] = found.mag.values[mine]
    color = nan.copy()
    color[star] = result.color[rows]
    held = result.outcome.held_stars
    return datasets.FITTED.build(
        {"epoch": result.assembled.epoch_yr, "coordinates": "pixels of the held image" if identity else "ICRS"},
        ra=ra, dec=dec, ra_error=errors[:, 0], dec_error=errors[:, 1], covariance=covariance[:, 0, 1],
        measurements=np.bincount(star, minlength=count), used=np.bincount(star[used], minlength=count),
        reference=a.reference, reference_used=on & has, held_out=held if held is not None else np.zeros(count, bool),
        chi2=chi2, mag=mag, color=color, pm_ra=speed[:, 0], pm_dec=speed[:, 1], parallax=far, **moving,
    )  # fmt: skip


def _mapped(result: FitResult) -> Floats:
    """(N, 2) of all rows: the full mapping (with templates), degrees; pixels of the held image between images."""
    m = result.measured
    out = np.empty((m.sizes["measured"], 2))
    first = np.searchsorted(m.image.values, np.arange(m.sizes["image"] + 1))
    x, y = m.x.values, m.y.values
    for i in range(m.sizes["image"]):
        run = slice(first[i], first[i + 1])
        if run.start < run.stop:
            u, v = result._normalised(i, x[run], y[run])
            out[run] = result._plane(i, *result._with_templates(i, u, v))
    return out


def _stars_then(result: FitResult) -> Floats:
    """(2, n) of the fit's rows: where each star is seen on its exposure's plane, degrees: mapped minus residual."""
    solver, p = result.outcome.solver, result.assembled.problem
    mapped = _mapped(result)[result.assembled.rows].T
    # Refraction and turbulence belong to the residual's mapped side: without them the star is where it is.
    shift = solver._shift()
    total = mapped if shift is None else mapped + shift * p.unit
    return np.asarray(total - solver.residual * p.unit)


def _start(result: FitResult, star_place: Floats) -> tuple[Floats, Floats]:
    """(N, 2): place by the rough WCS in the exposure's plane, and its residual in mas, before any alignment."""
    from obslab.jointfit.polynomial import basis, degree_of

    m = result.measured
    out = np.full((m.sizes["measured"], 2), np.nan)
    if result.choices.projector == "identity":
        return out, out.copy()
    frames = projection.frames(m.crval.values[:, 0], m.crval.values[:, 1])
    exposure = result.assembled.problem.exposure
    move = projection.homography(result.assembled.frames[exposure], frames)
    first = np.searchsorted(m.image.values, np.arange(m.sizes["image"] + 1))
    values = basis(degree_of(m.sizes["term"]))
    x, y = m.x.values, m.y.values
    for i in range(m.sizes["image"]):
        run = slice(first[i], first[i + 1])
        u, v = result._normalised(i, x[run], y[run])
        xi, eta = values(u, v) @ m.start.values[i, 0], values(u, v) @ m.start.values[i, 1]
        out[run, 0], out[run, 1] = projection.apply(move[i], xi, eta)
    return out, (out - star_place) / MAS


def _sky(result: FitResult, exposure: Any, place: Floats) -> tuple[Floats, Floats]:
    x, y = np.radians(place[:, 0]), np.radians(place[:, 1])
    vectors = np.empty((len(place), 3))
    for e in np.unique(exposure):
        mine = exposure == e
        f = result.assembled.frames[e]
        vectors[mine] = x[mine, None] * f[0] + y[mine, None] * f[1] + f[2]
    return projection.sky(vectors)


def _covariances(solver: Any, to_mas: float) -> tuple[Floats, Floats, Floats]:
    """Variance along xi and eta and their covariance of the fit's rows, mas2; NaN where excluded."""
    weight = solver.problem.weight.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        if solver.problem.anisotropic:
            det = weight[0] * weight[2] - weight[1] ** 2
            parts = weight[2] / det, weight[0] / det, -weight[1] / det
        else:
            parts = 1 / weight[0], 1 / weight[0], np.zeros_like(weight[0])
    a, b, c = (np.where(weight[0] > 0, part, np.nan) * to_mas**2 for part in parts)
    return a, b, c


def _chi2(solver: Any) -> Floats:
    weight = solver.problem.weight.astype(float)
    r0, r1 = solver.residual
    if solver.problem.anisotropic:
        return np.asarray(weight[0] * r0**2 + 2 * weight[1] * r0 * r1 + weight[2] * r1**2)
    return np.asarray(weight[0] * (r0**2 + r1**2))


def _position_information(p: Any, stars: Any) -> Floats:
    """(n, 2, 2): information of the prior about the place at the fit's epoch, motions marginalised."""
    size = p.star_parameters
    upper = np.triu_indices(size)
    full = np.zeros((len(stars), size, size))
    full[:, upper[0], upper[1]] = p.prior[stars]
    full[:, upper[1], upper[0]] = p.prior[stars]
    if size == 2:
        return full
    rest = full[:, 2:, 2:] + 1e-30 * np.eye(3)
    return np.asarray(full[:, :2, :2] - full[:, :2, 2:] @ np.linalg.solve(rest, full[:, 2:, :2]))


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
