"""The turbulence stage: a Gaussian process for each exposure, in turn with the mappings and stars.

The residuals of a fit are what the air did to each exposure, less what the stars' mean places took of it. So
the field is taken from the measurements' displacement with everything known added back, subtracted, and
mappings and stars are fitted again; with n exposures each round leaves about 1/n of what the round before
left.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.fitting import again, run
from obslab.jointfit.fitting.choices import FitError
from obslab.jointfit.projection import MAS
from obslab.jointfit.result import FitResult
from obslab.jointfit.solve.newton import Progress
from obslab.jointfit.turbulence import Turbulence, correlation, fit_fields

Floats = NDArray[np.float64]

ROUNDS = 8
STEADY_MAS = 0.05
"""The rounds end when the field changes by less, root mean square."""


@dataclass(frozen=True)
class TurbulenceStage:
    """The fields of all exposures, and the correlation of the residuals before and after they were taken off.

    ``before`` and ``after`` are ``turbulence.CORRELATION``: mas2 over separation, with E and B modes.
    """

    fields: Turbulence
    numbers: NDArray[np.int32]
    before: xr.Dataset
    after: xr.Dataset
    rounds: int
    seconds: float

    def displacement(self, exposure: int, place: Floats) -> Floats:
        """(n, 2) mas by which the air displaced stars at ``place`` (n, 2), degrees in the plane of the
        exposure at row ``exposure`` of the table."""
        number = np.full(len(place), self.numbers[exposure])
        return np.stack(self.fields.predict(number, place[:, 0], place[:, 1]), -1)

    @property
    def table(self) -> xr.Dataset:
        """What was found for each exposure: ``turbulence.TURBULENCE``."""
        return self.fields.table

    @property
    def report(self) -> dict[str, Any]:
        """What fit.json says."""
        near = slice(0, 3)

        def mean(table: xr.Dataset, name: str) -> float | None:
            values, pairs = table[name].values[near], table.pairs.values[near]
            good = np.isfinite(values) & (pairs > 0)
            return round(float(np.average(values[good], weights=pairs[good])), 3) if good.any() else None

        return {
            "exposures": len(self.fields.fields),
            "without": {str(k): v for k, v in self.fields.without.items()},
            "rounds": self.rounds,
            "xi_plus_mas2_before": mean(self.before, "xi_plus"),
            "xi_plus_mas2_after": mean(self.after, "xi_plus"),
            "xi_e_mas2_before": mean(self.before, "xi_e"),
            "xi_b_mas2_before": mean(self.before, "xi_b"),
            "separation_arcmin": round(float(self.before.separation.values[near].mean()), 3),
            "seconds": round(self.seconds, 3),
        }


def add_turbulence(
    result: FitResult, *, rounds: int = ROUNDS, curl: float = 0.5, progress: Progress | None = None
) -> FitResult:
    """The result with turbulence taken off, mappings and stars fitted anew. ``result`` is left as it was."""
    begin = time.perf_counter()
    if rounds < 1:
        raise FitError(f"turbulence was asked for in {rounds} rounds, wanted 1 or more", rounds=rounds)
    if result.choices.projector == "identity":
        raise FitError("turbulence is of the sky, and this fit is between images: fit with a reference")
    layout = replace(
        result.layout, held_inner=result.layout.held_inner.copy(), held_outer=result.layout.held_outer.copy()
    )
    nothing = np.zeros(len(result.assembled.rows), bool)
    outcome, assembled = again.refit(
        result.assembled, result.outcome, layout, result.stages[-1], result.control, nothing, progress
    )
    solver = outcome.solver
    p = solver.problem
    numbers = result.exposures.exposure.values[p.exposure[solver.image_of]]
    scale = p.unit / MAS
    before, field, hyper = None, np.zeros_like(solver.residual), None
    fields: Turbulence | None = None
    done = 0
    for done in range(1, rounds + 1):
        used = np.flatnonzero(solver.active[0] > 0)
        place = _places(solver) * p.unit
        displaced = ((solver.residual + field) * scale)[:, used].T
        if before is None:
            before = correlation(place[used], displaced, exposure=numbers[used])
        error = scale / np.sqrt(solver.active[0][used].astype(float))
        fields = fit_fields(numbers[used], place[used], displaced, error, hyper=hyper, curl=curl)
        hyper = {n: f.kernel for n, f in fields.fields.items()} if done >= 2 else None
        new = np.stack(fields.predict(numbers, place[:, 0], place[:, 1])) / scale
        change = float(np.sqrt(np.mean((new - field) ** 2)) * scale)
        field = new
        solver.shift = -field
        with pool.one_blas_thread():
            outcome.descend(result.control, f"turbulence {done}", progress)
        if change < STEADY_MAS:
            break
    run.finish(outcome, p.star_free)
    used = np.flatnonzero(solver.active[0] > 0)
    place = _places(solver) * p.unit
    after = correlation(place[used], (solver.residual * scale)[:, used].T, exposure=numbers[used])
    assert fields is not None and before is not None
    seconds = time.perf_counter() - begin
    outcome.seconds = {**result.outcome.seconds, "turbulence": seconds}
    outcome.held_out = result.outcome.held_out
    notes = [
        *result.notes,
        "chi2 counts no degrees of freedom for the turbulence; held-out stars judged the fit before it",
    ]
    stage = TurbulenceStage(fields, result.exposures.exposure.values, before, after, done, seconds)
    return replace(result, layout=layout, assembled=assembled, outcome=outcome, turbulence=stage, notes=notes)


def _places(solver: Any) -> Floats:
    """(N, 2): where the mappings put the measurements, plane units."""
    p, s = solver.problem, solver.state
    out = np.empty((len(p.u), 2))
    for i in range(len(p.inner)):
        rows = slice(p.first[i], p.first[i + 1])
        focal = p.inner_basis(solver.u[rows], solver.v[rows]) @ s.inner[p.inner[i]].T
        out[rows] = p.outer_basis(focal[:, 0], focal[:, 1]) @ s.outer[p.outer[i]].T
    return out
