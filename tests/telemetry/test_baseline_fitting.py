"""The fitted baseline against the truth of simulations, a dense solution, and real spots."""

import numpy as np
import pytest
from telemetry.spot_tables import BEGIN, SIGMA, at_days, drifting, simulated, spot_table, wic_spots

from obslab.errors import BaselineError
from obslab.telemetry.baseline import fit
from obslab.telemetry.baseline.basis import Basis, Piece
from obslab.times import to_ns

SIGMAS = np.array([SIGMA[name] for name in "hdz"])
STEP = at_days(200)
OPTIONS = {
    "spline": {},
    "spline with a step": {"steps": [STEP]},
    "spline anew after a step": {"steps": [STEP], "restart": True},
    "polynomial": {"method": "polynomial", "degree": 3, "knots": 3},
}


def grid(fit_):
    days = np.arange(1.0, 364.0)
    return days, fit_.baseline.values(at_days(days)), fit_.baseline.band(at_days(days))


@pytest.mark.parametrize("name", OPTIONS)
def test_two_sigma_of_the_band_hold_the_truth_in_about_95_percent(name):
    options = OPTIONS[name]
    truth = {"step_day": 200, "step": 1.0} if "steps" in options else {}
    rng = np.random.default_rng(4)
    held, sharp = [], []
    for _ in range(12):
        table, _ = simulated(rng, **truth)
        days, values, band = grid(fit(table, begin=BEGIN, end=at_days(365), **options))
        held.append(np.abs(values - drifting(days, **truth)) < 2 * band)
        sharp.append(band / SIGMAS)
    # 36 curves of about 6 free parameters: the fraction is known to about 0.02.
    assert 0.90 < np.mean(held) < 0.99
    assert np.mean(sharp) < 0.5  # and it is no wider than a curve through 80 spots should be


def test_a_known_drift_and_step_are_found():
    table, _ = simulated(np.random.default_rng(1), step_day=200, step=1.0)
    found = fit(table, steps=[STEP], begin=BEGIN, end=at_days(365))
    assert found.steps.component.values.tolist() == ["h", "d", "z"]
    assert (found.steps.time.values == STEP).all()
    truth = np.array([3.0, -0.01, 1.5])
    assert (np.abs(found.steps["size"].values - truth) < 3 * found.steps.error.values).all()
    drift = found.drift
    yearly = np.array([3.0, -0.01, 1.5]) * 365.25 / 365  # the wave is over after the year
    assert (np.abs(drift.per_year.values - yearly) < 3 * drift.error.values).all()
    assert drift.over_limit.values.tolist() == [False, False, False]
    assert drift.per_year_nt.values[1] == pytest.approx(np.radians(drift.per_year.values[1]) * 21_000)


def test_without_a_penalty_it_is_the_dense_weighted_least_squares_solution():
    table, days = simulated(np.random.default_rng(2), count=30)
    found = fit(table, method="polynomial", degree=2, knots=0, reject_sigma=None)
    x = days - days[0]
    for k, curve in enumerate(found.baseline.curves):
        error = table.error.values[:, k]
        weight = 1 / np.maximum(error, np.median(error) / 2)
        design = np.vander(x, 3) * weight[:, None]
        dense, *_ = np.linalg.lstsq(design, table.base.values[:, k] * weight, rcond=None)
        assert curve.values(to_ns(table.time.values)) == pytest.approx(np.vander(x, 3) @ dense, abs=1e-9)


def test_half_of_a_wave_of_the_smoothing_period_remains():
    days = np.arange(0, 400.0, 0.5)
    wave = np.sin(2 * np.pi * days / 40)
    table = spot_table(at_days(days), np.stack([wave, wave, wave], axis=1), np.ones((len(days), 3)))
    found = fit(table, smoothing=40.0, knots=100, reject_sigma=None)
    middle = (days > 100) & (days < 300)
    left = found.baseline.values(at_days(days))[middle, 0] @ wave[middle] / (wave[middle] @ wave[middle])
    assert left == pytest.approx(0.5, abs=0.01)


def test_a_straight_line_is_smoothed_to_itself():
    days = np.linspace(0, 100, 40)
    line = np.stack([1 + 0.1 * days, 4 + 0.001 * days, -3 - 0.2 * days], axis=1)
    found = fit(spot_table(at_days(days), line), end=at_days(200))
    later = np.array([150.0])
    expected = np.array([[16.0, 4.15, -33.0]])
    assert found.baseline.values(at_days(later)) == pytest.approx(expected, abs=1e-6)
    assert found.rejected.sizes["spot"] == 0


def test_wrong_spots_are_rejected_and_said_so():
    table, days = simulated(np.random.default_rng(3))
    base = table.base.values.copy()
    base[17, 1] += 0.02
    base[40] -= 20 * SIGMAS
    base[41] -= 20 * SIGMAS  # of the same session
    found = fit(table.assign(base=(("spot", "component"), base, table.base.attrs)))
    assert set(np.flatnonzero(~found.spots.used.values)) == {17, 40, 41}
    assert str(found.spots.note.values[17]).startswith("rejected by the fit: d is +")
    assert found.residuals.residual.values[40] == pytest.approx(-20 * SIGMAS, rel=0.25)
    clean = fit(table.isel(spot=np.setdiff1d(np.arange(80), [17, 40, 41])))
    assert found.baseline.values(at_days(days)) == pytest.approx(clean.baseline.values(at_days(days)))
    again = fit(found.spots, reject_sigma=None)
    assert again.spots.used.values.all()  # what a fit rejected, another may take


def test_what_a_person_took_out_stays_out():
    table, _ = simulated(np.random.default_rng(3))
    used = np.ones(80, bool)
    used[5] = False
    note = np.where(used, "", "tripod was moved")
    found = fit(table.assign(used=("spot", used), note=("spot", note)), reject_sigma=None)
    assert not found.spots.used.values[5]
    assert str(found.spots.note.values[5]) == "tripod was moved"
    assert np.isfinite(found.residuals.residual.values[5]).all()
    without = fit(table.isel(spot=np.flatnonzero(used)), reject_sigma=None)
    assert found.baseline.curves[0].coefficients == pytest.approx(without.baseline.curves[0].coefficients)


def test_few_good_spots_are_not_rejected():
    rng = np.random.default_rng(8)
    lost = sum(fit(simulated(rng, count=20)[0]).rejected.sizes["spot"] for _ in range(20))
    assert lost <= 4  # of 400; at exactly 4 sigma it would be 0.08


@pytest.mark.parametrize("extrapolation", ["linear", "constant"])
def test_beyond_the_spots_it_goes_on_as_asked_and_the_band_grows(extrapolation):
    table, days = simulated(np.random.default_rng(5), span=200.0)
    found = fit(table, end=at_days(300), extrapolation=extrapolation).baseline
    beyond = at_days(days[-1] + np.array([0.0, 20.0, 40.0, 60.0]))
    values, band = found.values(beyond), found.band(beyond)
    bends = np.diff(values, axis=0)
    assert bends[1] == pytest.approx(bends[0], abs=1e-9)
    assert (np.abs(bends[0]) < 1e-12).all() == (extrapolation == "constant")
    assert (np.diff(band, axis=0) > 0).all()


def test_a_restart_lets_the_slope_change():
    days = np.linspace(0, 100, 50)
    bent = np.where(days < 50, 0.1 * days, 20 - 0.3 * (days - 50))
    table = spot_table(at_days(days), np.stack([bent, bent, bent], axis=1))
    options = {"method": "polynomial", "degree": 1, "steps": [at_days(50)], "reject_sigma": None}
    assert max(fit(table, restart=True, **options).rms.values()) < 1e-9
    assert min(fit(table, **options).rms.values()) > 1.0


def test_the_real_spots_of_wic_are_described_to_their_scatter():
    # Spots of a session differ by sqrt 2 times 0.27 nT, 0.0006 deg, 0.10 nT: no curve can do better.
    table = wic_spots()
    found = fit(table)
    time, base = table.time.values, table.base.values
    close = np.flatnonzero(np.diff(time) < np.timedelta64(1, "h"))
    pairs = 1.4826 * np.nanmedian(np.abs(base[close + 1] - base[close]), axis=0) / np.sqrt(2)
    rms = np.array(list(found.rms.values()))
    assert (rms > 0.8 * pairs).all() and (rms < 2.0 * pairs).all()
    assert 3 <= found.rejected.sizes["spot"] <= 12
    assert not found.drift.over_limit.any()
    nothing = np.isnan(base).any(axis=1)
    assert nothing.sum() == 1
    assert found.spots.note.values[nothing].tolist() == ["not all of its components have a value"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"degree": 3}, "too few spots .*: 3 at different times.* wants 4"),
        ({"method": "polynomial", "degree": 1, "knots": 3}, "3 at different times.* wants 5"),
        ({"method": "polynomial", "degree": 1, "steps": [at_days(-1)]}, "no usable spot before the step"),
        ({"method": "polynomial", "degree": 1, "steps": [at_days(99)]}, "no usable spot after the step"),
        ({"method": "polynomial", "degree": 1, "knots": [at_days(99)]}, "knot 2024-04-09.* is not between"),
        ({"method": "magic"}, "'magic' is none of spline, polynomial"),
        ({"degree": 9}, "degree 9 is none of 2 to 5"),
        ({"smoothing": -1.0}, "smoothing -1.0 is not a number of days"),
        ({"begin": "2025-01-01", "end": "2024-01-01"}, "begin 2025-01-01T00:00:00Z is not before end"),
    ],
)
def test_what_cannot_be_fitted_says_why(options, words):
    table = spot_table(at_days([0, 10, 20]), drifting([0, 10, 20]))
    with pytest.raises(BaselineError, match=words):
        fit(table, **options)


def test_knots_without_spots_between_are_refused_without_a_penalty():
    days = np.r_[np.linspace(0, 10, 10), np.linspace(90, 100, 10)]
    table = spot_table(at_days(days), drifting(days))
    knots = at_days([30, 40, 50, 60, 70])
    with pytest.raises(BaselineError, match="do not determine"):
        fit(table, method="polynomial", knots=knots)
    assert np.isfinite(fit(table, knots=knots).baseline.band(at_days([50]))).all()


def test_unusable_tables_are_refused():
    table, _ = simulated(np.random.default_rng(1))
    with pytest.raises(BaselineError, match="none of 80 spots may be used"):
        fit(table.assign(used=("spot", np.zeros(80, bool))))
    with pytest.raises(BaselineError, match="frame 'uvw'"):
        fit(table.assign_attrs(frame="uvw"))


def test_fast_values_are_those_of_the_rows():
    pieces = (
        Piece(0, np.array([0, 5, 10]) * 86_400_000_000_000, 3),
        Piece(12 * 86_400_000_000_000, np.array([13, 20]) * 86_400_000_000_000, 3),
    )
    basis = Basis(pieces, np.array([7, 15]) * 86_400_000_000_000)
    time_ns = np.linspace(-3, 25, 200).astype(np.float64) * 86_400e9
    coefficients = np.random.default_rng(0).normal(size=(basis.size, 3))
    assert basis.values(time_ns.astype(np.int64), coefficients) == pytest.approx(
        basis.rows(time_ns.astype(np.int64)) @ coefficients
    )


def test_one_wrong_spot_among_six_that_drift_is_found():
    days = np.arange(0.0, 12, 2)
    for wrong in range(6):
        base = np.stack([0.8 * days, 4 + 0.01 * days, -0.5 * days], axis=1)
        base += SIGMAS / 5 * np.random.default_rng(wrong).normal(size=base.shape)
        base[wrong, 1] -= 0.2
        found = fit(spot_table(at_days(days), base), method="polynomial", degree=1)
        assert np.flatnonzero(~found.spots.used.values).tolist() == [wrong]
