"""Two tables of a FitResult: residuals of measured and of reference stars."""

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


@np.errstate(invalid="ignore")  # positions that are not finite are there, too
def residuals(result: FitResult) -> xr.Dataset:
    """``datasets.RESIDUALS``: one row for each row of ``result.measured``, also those that no fit used."""
    m, a, solver = result.measured, result.association, result.outcome.solver
    p, rows = result.assembled.problem, result.assembled.rows
    count = m.sizes["measured"]
    image = m.image.values
    exposure = p.exposure[image]
    place = _mapped(result)
    identity = result.choices.projector == "identity"
    to_mas = p.unit if identity else p.unit / MAS
    residual = np.full((2, count), np.nan)
    residual[:, rows] = solver.residual * to_mas
    covariance = _covariances(solver, to_mas)
    errors = np.full((3, count), np.nan)
    errors[:, rows] = np.sqrt(covariance[0]), np.sqrt(covariance[1]), covariance[2]
    chi2 = np.full(count, np.nan)
    chi2[rows] = np.where(p.weight[0] > 0, measured_chi2(solver), np.nan)
    where = np.full((2, count), np.nan)
    where[:, rows] = _stars_then(result, place[rows].T)
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
        id=m.id.values,
        exposure=m.exposure.values[image],
        detector=m.detector.values[image],
        x=m.x.values,
        y=m.y.values,
        xi=place[:, 0],
        eta=place[:, 1],
        xi_residual=residual[0],
        eta_residual=residual[1],
        xi_error=errors[0],
        eta_error=errors[1],
        covariance=errors[2],
        xi_start=start[:, 0],
        eta_start=start[:, 1],
        xi_start_residual=start_residual[:, 0],
        eta_start_residual=start_residual[:, 1],
        star=star,
        ra=star_at[0],
        dec=star_at[1],
        mag=mag,
        color=result.color,
        delta_epoch=p.delta_yr[exposure],
        chi2=chi2,
        measurements=np.where(star >= 0, per_star[star], 0),
        state=states(result),
    )
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
        reference=of[stars],
        star=stars,
        ra=ra,
        dec=dec,
        xi_residual=east[:, 0],
        eta_residual=east[:, 1],
        xi_error=np.sqrt(covariance[:, 0, 0]),
        eta_error=np.sqrt(covariance[:, 1, 1]),
        covariance=covariance[:, 0, 1],
        mag=reference.mag.values[of[stars]] if reference is not None else np.zeros(0),
        chi2=np.einsum("ki,kij,kj->k", away, information, away),
        measurements=np.bincount(result.association.star[result.assembled.rows], minlength=len(of))[stars],
        used=p.reference_on[stars] == 1,
    )
    return datasets.with_jointcal_names(table, "reference")


def _mapped(result: FitResult) -> Floats:
    """(N, 2) of all rows: the full mapping (with templates), degrees; pixels of the held image between
    images.
    """
    m = result.measured
    out = np.empty((m.sizes["measured"], 2))
    first = np.searchsorted(m.image.values, np.arange(m.sizes["image"] + 1))
    x, y = m.x.values, m.y.values
    for i in range(m.sizes["image"]):
        run = slice(first[i], first[i + 1])
        if run.start < run.stop:
            out[run] = result.solution.place(i, *result.solution.normalised(i, x[run], y[run]))
    return out


def _stars_then(result: FitResult, mapped: Floats) -> Floats:
    """(2, n) of the fit's rows: where each star is seen on its exposure's plane, degrees: ``mapped`` (2, n)
    minus the residual.
    """
    solver, p = result.outcome.solver, result.assembled.problem
    # Refraction and turbulence belong to the residual's mapped side: without them the star is where it is.
    shift = solver.displacement()
    total = mapped if shift is None else mapped + shift * p.unit
    return np.asarray(total - solver.residual * p.unit)


def _start(result: FitResult, star_place: Floats) -> tuple[Floats, Floats]:
    """(N, 2): place by the rough WCS in the exposure's plane; its residual in mas, before any alignment."""
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
        u, v = result.solution.normalised(i, x[run], y[run])
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


def measured_chi2(solver: Any) -> Floats:
    """(n,) of the fit's rows, rejected ones too."""
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
