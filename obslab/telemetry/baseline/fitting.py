"""Fitting: the adopted curve through spot baselines, with steps, rejection of outliers and a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from obslab.errors import BaselineError
from obslab.telemetry.baseline import drifting
from obslab.telemetry.baseline.baseline import Baseline
from obslab.telemetry.baseline.basis import Basis, Extrapolation, Floats
from obslab.telemetry.baseline.candidates import REJECTED, Candidates
from obslab.telemetry.baseline.canonical import How
from obslab.telemetry.baseline.curve import Curve
from obslab.telemetry.baseline.knotting import basis_for
from obslab.telemetry.baseline.layout import spots_layout, texts
from obslab.telemetry.baseline.robust import RESOLUTION, bisquare, first_weights, sigmas
from obslab.telemetry.baseline.solving import Problem, Solution
from obslab.times import NS_PER_DAY, Instant, as_ns, as_utc, iso

if TYPE_CHECKING:
    import xarray as xr

_ROUNDS = 20
_LEAST_FREEDOM = 3.5  # with less to spare nobody can tell which spot is wrong
_REWEIGHTINGS = 5
_DIGITS = 9  # of the covariance factor: far finer than it is known, and half the length in JSON

Smoothing = float | Sequence[float] | None
Knots = int | Sequence[Instant] | None


@dataclass(frozen=True, eq=False)
class Fit:
    """A baseline that nobody adopted yet, and what speaks for and against it.

    ``spots`` is the table that was given, with ``used`` and ``note`` of those the fit rejected, which
    ``rejected`` holds alone; ``rms`` and ``freedom`` (degrees of freedom left) are by component;
    ``drift`` and ``steps`` are as in ``drift`` and ``steps_of``.
    """

    baseline: Baseline
    spots: xr.Dataset
    residuals: xr.Dataset
    rms: dict[str, float]
    freedom: dict[str, float]
    drift: xr.Dataset
    steps: xr.Dataset

    @property
    def rejected(self) -> xr.Dataset:
        return self.spots.isel(spot=[str(note).startswith(REJECTED) for note in self.spots.note.values])


def fit(
    spots: xr.Dataset,
    *,
    method: Literal["spline", "polynomial"] = "spline",
    degree: int = 3,
    knots: Knots = None,
    smoothing: Smoothing = None,
    steps: Sequence[Instant] = (),
    restart: bool = False,
    begin: Instant | None = None,
    end: Instant | None = None,
    reject_sigma: float | None = 4.0,
    extrapolation: Extrapolation = "linear",
) -> Fit:
    """The curve through SPOTS that is valid in ``[begin, end)``, by default the days of the spots, whole.

    ``spline`` has many knots and a penalty for bending; ``smoothing`` is the period in days of which it
    follows half the amplitude (or one for each component), None lets cross validation choose. ``polynomial``
    has no penalty: pieces of ``degree`` that join at ``knots`` with all derivatives below it. ``knots`` are
    interior ones: how many, with equally many spots between, or their times; None: 0 for a polynomial, for a
    spline one for two spots, 30 at most. At ``steps`` all components jump; with ``restart`` a new curve
    begins there, its slope free too. All components share knots and steps.

    Spots farther from the curve than ``reject_sigma`` robust standard deviations in any component are not
    used (None: all are); ``used`` = False by a person stays. Every spot in the table takes part, those
    outside the interval too. Beyond the outer spots the curve goes on as ``extrapolation`` says. Raises
    BaselineError when there are too few spots.
    """
    how = _how(method, degree, knots, smoothing, steps, restart, reject_sigma, extrapolation)
    table = Candidates.of(spots)
    interval = _interval(table, begin, end)
    with _blas().limit(limits=1, user_api="blas"):  # such small matrices wait for threads, not for sums
        taken, problem, solutions, far = _settled(table, how)
    final = table.with_rejected(~taken, far, how.reject_sigma)
    curves = tuple(
        Curve(name, unit, problem.basis, s.coefficients, _rounded(s.factor), s.chi2, s.smoothing_days)
        for name, unit, s in zip(table.components, table.units, solutions, strict=True)
    )
    facts = table.dataset.attrs
    baseline = Baseline(
        station=str(facts.get("station", "")),
        instrument=str(facts.get("instrument", "")),
        frame=facts["frame"],
        begin=interval[0],
        end=interval[1],
        curves=(curves[0], curves[1], curves[2]),
        how=how,
        table=spots_layout(final),
        pier_difference_nt=float(facts.get("pier_difference_nt", 0.0)),
        mean_h_nt=_known(facts.get("mean_h_nt")),
        mean_f_nt=_known(facts.get("mean_f_nt")),
    )
    residuals = table.residuals(final, problem.basis, solutions, far)
    own = residuals.residual.values[final.used.values]
    return Fit(
        baseline=baseline,
        spots=final,
        residuals=residuals,
        rms=dict(zip(table.components, np.sqrt((own**2).mean(0)).tolist(), strict=True)),
        freedom=dict(zip(table.components, (s.freedom for s in solutions), strict=True)),
        drift=drifting.drift(baseline),
        steps=drifting.steps_of(baseline),
    )


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # looks at every library loaded, once


def _settled(table: Candidates, how: How) -> tuple[NDArray[np.bool_], Problem, list[Solution], Floats]:
    """Which candidates are taken when rejecting changes nothing more, and the solutions with them."""
    everyone = np.ones(len(table.time_ns), bool)
    basis = basis_for(table.time_ns, how)
    if how.reject_sigma is None:
        problem, solutions = _solved(table, basis, how, table.weights)
        return everyone, problem, solutions, _far(table, problem, solutions, everyone)
    weights = table.weights * np.stack(
        [
            first_weights(table.time_ns, values, basis.break_ns, RESOLUTION[unit])
            for values, unit in zip(table.values.T, table.units, strict=True)
        ],
        axis=1,
    )
    for _ in range(_REWEIGHTINGS):
        problem, solutions = _solved(table, basis, how, weights)
        left = table.values - basis.rows(table.time_ns) @ np.stack([s.coefficients for s in solutions], 1)
        robust = [
            bisquare(r / e, RESOLUTION[unit] / float(np.median(e)))
            for r, e, unit in zip(left.T, table.errors.T, table.units, strict=True)
        ]
        weights = table.weights * np.stack(robust, axis=1)
    far = _far(table, problem, solutions, everyone)
    taken, seen = everyone, list[NDArray[np.bool_]]()
    telling = min(solution.freedom for solution in solutions) >= _LEAST_FREEDOM
    for _ in range(_ROUNDS):
        chosen = np.asarray((np.abs(far) <= how.reject_sigma).all(axis=1)) if telling else everyone
        if any(np.array_equal(chosen, before) for before in seen):
            break
        seen.append(chosen)
        taken = chosen
        basis = basis_for(table.time_ns[taken], how)
        problem, solutions = _solved(table, basis, how, table.weights * taken[:, None])
        far = _far(table, problem, solutions, taken)
    return taken, problem, solutions, far


def _solved(table: Candidates, basis: Basis, how: How, weights: Floats) -> tuple[Problem, list[Solution]]:
    problem = Problem.on(basis, table.time_ns, smooth=how.method == "spline")
    wanted = how.smoothing if isinstance(how.smoothing, tuple) else (how.smoothing,) * 3
    return problem, [
        problem.solve(table.values[:, k], weights[:, k], wanted[k]) for k in range(len(table.components))
    ]


def _far(table: Candidates, problem: Problem, solutions: list[Solution], taken: NDArray[np.bool_]) -> Floats:
    columns = []
    for place, (solution, unit) in enumerate(zip(solutions, table.units, strict=True)):
        left = table.values[:, place] - problem.rows @ solution.coefficients
        known = table.errors[:, place], solution.leverage, taken, solution.freedom
        columns.append(sigmas(left, *known, RESOLUTION[unit]))
    return np.stack(columns, axis=1)


def _interval(
    table: Candidates, begin: Instant | None, end: Instant | None
) -> tuple[np.datetime64, np.datetime64]:
    first, last = (int(time_ns) // NS_PER_DAY * NS_PER_DAY for time_ns in table.time_ns[[0, -1]])
    begin_ns = first if begin is None else as_ns(begin)
    end_ns = last + NS_PER_DAY if end is None else as_ns(end)
    if begin_ns >= end_ns:
        raise BaselineError(f"interval of validity: begin {iso(begin_ns)} is not before end {iso(end_ns)}")
    return as_utc(begin_ns), as_utc(end_ns)


def _how(
    method: str,
    degree: int,
    knots: Knots,
    smoothing: Smoothing,
    steps: Sequence[Instant],
    restart: bool,
    reject_sigma: float | None,
    extrapolation: str,
) -> How:
    if method not in ("spline", "polynomial"):
        raise BaselineError(f"method {method!r} is none of spline, polynomial")
    lowest = 2 if method == "spline" else 0
    if not lowest <= degree <= 5:
        raise BaselineError(f"degree {degree} is none of {lowest} to 5, wanted for a {method}")
    if extrapolation not in ("linear", "constant"):
        raise BaselineError(f"extrapolation {extrapolation!r} is none of linear, constant")
    if reject_sigma is not None and not reject_sigma > 0:
        raise BaselineError(f"reject_sigma {reject_sigma} is not positive; None rejects nothing")
    periods = None if smoothing is None else tuple(float(p) for p in np.atleast_1d(np.asarray(smoothing)))
    if periods is not None and not (len(periods) in (1, 3) and all(0 < p < np.inf for p in periods)):
        raise BaselineError(f"smoothing {smoothing!r} is not a number of days, nor three; None chooses")
    if isinstance(knots, int | np.integer):
        if knots < 0:
            raise BaselineError(f"{knots} knots are not possible; 0 is the least")
        chosen: int | tuple[str, ...] | None = int(knots)
    else:
        chosen = None if knots is None else texts(sorted({as_ns(knot) for knot in knots}))
    return How(
        method="spline" if method == "spline" else "polynomial",
        degree=int(degree),
        knots=chosen,
        smoothing=periods[0] if periods is not None and len(periods) == 1 else periods,
        steps=texts(sorted({as_ns(step) for step in steps})),
        restart=bool(restart),
        reject_sigma=None if reject_sigma is None or np.isinf(reject_sigma) else float(reject_sigma),
        extrapolation="constant" if extrapolation == "constant" else "linear",
    )


def _known(value: object) -> float | None:
    number = float(value) if isinstance(value, int | float | np.floating) else np.nan
    return number if np.isfinite(number) else None


def _rounded(values: Floats) -> Floats:
    return np.array([float(f"{value:.{_DIGITS - 1}e}") for value in values.ravel()]).reshape(values.shape)
