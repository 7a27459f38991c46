"""The solver of jointfit.photometry against dense algebra, and its rule for outliers."""

import numpy as np
import pytest
from jointfit.photometry_survey import make_survey
from scipy.optimize import least_squares

from obslab.jointfit import polynomial
from obslab.jointfit.datasets import STATES
from obslab.jointfit.photometry import fit_photometry
from obslab.jointfit.photometry.rejection import BINS, bin_of, judge, look, median

USED, REJECTED = STATES.index("used"), STATES.index("rejected")


@pytest.fixture(scope="module")
def small():
    return make_survey(3, exposures=4, grid=2, per_detector=8, reference_part=0.3)


def dense(survey, result):
    """Rows of the whole linear model, stars included: terms first, then stars; and the right side, both
    over errors."""
    points, columns = result.points, result.problem.columns
    entry = np.repeat(np.arange(len(points.star)), np.diff(points.first))
    rows, right = [], []
    stars = len(points.star)
    for n in np.flatnonzero(points.state == USED):
        image = points.image[n]
        row = np.zeros(len(columns) + stars)
        row[columns.zero[image]] = row[columns.detector[image]] = 1
        row[columns.illumination[image] + np.arange(len(columns.powers))] = polynomial.basis(2)(
            points.fx[n], points.fy[n]
        )[1:]
        row[len(columns) + entry[n]] = 1
        rows.append(row / points.error[n])
        right.append(points.value[n] / points.error[n])
    for k in np.flatnonzero(points.reference_state == USED):
        row = np.zeros(len(columns) + stars)
        row[len(columns) + k] = 1
        rows.append(row / points.reference_error[k])
        right.append(points.reference_value[k] / points.reference_error[k])
    return np.array(rows), np.array(right)


@pytest.mark.parametrize("reference_use", [True, False])
def test_terms_and_covariance_are_those_of_dense_least_squares(small, reference_use):
    result = fit_photometry(*small.tables, holdout=0, floor_mag=0.0, reference_use=reference_use)
    rows, right = dense(small, result)
    terms = len(result.problem.columns)
    gauge = np.zeros((len(result.state.gauge), rows.shape[1]))
    gauge[:, :terms] = (
        1e5 * result.state.gauge / np.linalg.norm(result.state.gauge, axis=1)[:, None]
    )  # nearly exact
    solution, _, rank, _ = np.linalg.lstsq(
        np.vstack([rows, gauge]), np.append(right, np.zeros(len(gauge))), rcond=None
    )
    in_use = np.flatnonzero(np.any(rows != 0, 0))
    assert rank == len(in_use)
    np.testing.assert_allclose(result.state.terms, solution[:terms], atol=1e-8)
    star = result.magnitudes.mag.values
    np.testing.assert_allclose(star[np.isfinite(star)], solution[terms:][np.isfinite(star)], atol=1e-8)
    inverse = np.linalg.pinv(np.vstack([rows, gauge])[:, in_use].T @ np.vstack([rows, gauge])[:, in_use])
    np.testing.assert_allclose(
        result.covariance().values, inverse[:terms, :terms], atol=1e-5 * np.abs(inverse[:terms, :terms]).max()
    )
    chi2 = np.sum((rows @ solution - right) ** 2)
    assert result.report["chi2"] == pytest.approx(chi2, rel=1e-9)
    assert result.report["dof"] == len(rows) - (rank - len(gauge))


def test_the_flux_model_is_that_of_nonlinear_least_squares(small):
    result = fit_photometry(*small.tables, model="flux", holdout=0, floor_mag=0.0, clip=50)
    points, columns, terms = result.points, result.problem.columns, result.state.terms
    n = np.flatnonzero(points.state == USED)
    entry = np.repeat(np.arange(len(points.star)), np.diff(points.first))[n]
    with_reference = np.flatnonzero(points.reference_state == USED)
    basis = polynomial.basis(2)(points.fx[n], points.fy[n])[:, 1:]
    image, size = points.image[n], len(terms)
    at = columns.first_illumination + np.arange(len(columns.powers))
    unit = np.nanmedian(result.star)

    def misfit(p):
        total = p[columns.zero[image]] + p[columns.detector[image]] + basis @ p[at]
        model = p[size:][entry] * unit * 10 ** (-0.4 * total)
        reference = p[size:][with_reference] * unit - points.reference_value[with_reference]
        gauge = 1e5 * (result.state.gauge @ p[:size])
        return np.concatenate(
            [
                (points.value[n] - model) / points.error[n],
                reference / points.reference_error[with_reference],
                gauge,
            ]
        )

    guess = np.concatenate([terms, np.nan_to_num(result.star) / unit])
    guess[: len(columns.zero_image)] += 0.01
    best = least_squares(misfit, guess, x_scale="jac", method="lm", xtol=1e-13, ftol=1e-13, gtol=1e-13)
    # The fit stops when a step is below 0.02 sigma, and by then is much nearer.
    np.testing.assert_allclose(terms, best.x[:size], atol=2e-6)
    assert result.report["chi2"] == pytest.approx(np.sum(best.fun**2), rel=1e-7)
    slopes = best.jac[:, np.any(best.jac != 0, 0)]
    covariance = np.linalg.inv(slopes.T @ slopes)[:size, :size]
    np.testing.assert_allclose(result.covariance().values, covariance, atol=2e-3 * np.abs(covariance).max())


def test_outliers_are_rejected_and_nothing_else(small):
    survey = make_survey(4, per_detector=120)
    rng = np.random.default_rng(0)
    flux = survey.measured.flux.values.copy()
    several = np.diff(survey.association.first) > 3
    star = survey.association.star
    bad = (rng.random(len(flux)) < 0.03) & (star >= 0) & several[star]
    flux[bad] *= 10 ** (0.4 * rng.choice([-1, 1], bad.sum()) * rng.uniform(0.5, 3, bad.sum()))
    result = fit_photometry(*survey.with_measured(flux=flux).tables)
    state = result.residuals.state.values
    good_pairs = np.bincount(star[bad], minlength=len(survey.mag))[star] <= 1
    assert (state[bad & good_pairs] == USED).mean() < 0.002
    assert (state[~bad & good_pairs & (star >= 0)] == REJECTED).sum() <= 3
    assert result.report["rejected"] > 100
    clean = fit_photometry(*survey.tables)
    difference = result.zero_points.value.values - clean.zero_points.value.values
    assert np.abs(difference).max() < 0.5e-3
    assert result.report["chi2_per_dof"] == pytest.approx(clean.report["chi2_per_dof"], abs=0.02)


def test_a_third_of_the_measurements_of_one_exposure_may_be_clouded(small):
    survey = make_survey(4, per_detector=120)
    flux = survey.measured.flux.values.copy()
    cloud = (survey.exposure == 2) & (survey.focal[0] > survey.edge_deg / 3)
    flux[cloud] *= 0.7
    result = fit_photometry(*survey.with_measured(flux=flux).tables, floor_mag=0.0)
    clean = fit_photometry(*survey.tables, floor_mag=0.0)
    difference = result.zero_points.value.values - clean.zero_points.value.values
    assert np.abs(difference).max() < 2e-3
    assert result.report["rejected"] > 0.9 * (cloud & (survey.association.star >= 0)).sum()


def test_wrong_reference_magnitudes_are_rejected():
    survey = make_survey(4, per_detector=120)
    wrong = np.arange(survey.reference.sizes["reference"]) % 20 == 0
    reference = survey.reference.assign(mag=survey.reference.mag + 0.5 * wrong)
    result = fit_photometry(survey.measured, reference, *survey.tables[2:])
    fitted = result.magnitudes
    seen = fitted.reference.values >= 0
    bad = seen & wrong[fitted.reference.values]
    assert bad.sum() > 20
    assert not fitted.reference_used.values[bad].any()
    assert fitted.reference_used.values[seen & ~bad].mean() > 0.995
    assert result.report["rejected_references"] >= bad.sum()
    used = fitted.reference_used.values & ~fitted.held_out.values
    assert result.report["references"] == used.sum()
    counted = result.report["measurements"] + used.sum() - result.report["stars"]
    assert result.report["dof"] == counted - result.report["terms"] + 1  # detector terms have mean 0


@pytest.mark.parametrize("part", [0.1, 0.25])
@pytest.mark.parametrize("reference_use", [True, False])
def test_many_outliers_raise_neither_the_floor_nor_the_errors(part, reference_use):
    survey = make_survey(4, per_detector=150)
    rng = np.random.default_rng(0)
    flux = survey.measured.flux.values.copy()
    bad = rng.random(len(flux)) < part
    flux[bad] *= 10 ** (0.4 * rng.normal(0, 1, bad.sum()))
    result = fit_photometry(*survey.with_measured(flux=flux).tables, reference_use=reference_use)
    assert result.report[
        "converged"
    ]  # though in stars of two halves that exclude each other points come and go
    wrong = result.zero_points.value.values - survey.zero_point
    assert np.std(wrong) < 1e-3
    assert result.report["floor_mag"] < 0.004


def call_judge(values, errors, cut, active=None):
    values, n = np.asarray(values, float), len(values)
    active = np.ones(n, bool) if active is None else np.array(active)
    weight, chi2 = 1 / np.asarray(errors, float) ** 2, np.zeros(n)
    value, information = judge(n, values, np.ones(n), weight, active, chi2, cut, True)
    return value, information, active, chi2


def test_chi2_without_a_point_is_what_the_rule_compares():
    values, errors = np.array([1.0, 1.3, 0.8, 1.1]), np.array([0.1, 0.2, 0.1, 0.3])
    _, _, _, chi2 = call_judge(values, errors, 25.0)
    for i in range(4):
        others = np.arange(4) != i
        weight = 1 / errors[others] ** 2
        mean = np.sum(weight * values[others]) / weight.sum()
        assert chi2[i] == pytest.approx((values[i] - mean) ** 2 / (errors[i] ** 2 + 1 / weight.sum()))


def test_one_gross_outlier_does_not_take_its_neighbours_along():
    value, _, active, _ = call_judge([0.0, 0.01, -0.01, 3.0], [0.01] * 4, 25.0)
    assert active.tolist() == [True, True, True, False]
    assert value == pytest.approx(0, abs=1e-12)


def test_two_that_disagree_are_both_rejected_and_judged_anew():
    _, information, active, _ = call_judge([0.0, 1.0], [0.01, 0.02], 25.0)
    assert not active.any() and information == 0
    _, information, active, _ = call_judge([0.0, 0.01], [0.01, 0.02], 25.0, active=[False, False])
    assert active.all() and information > 0


def test_a_rejected_point_comes_back_only_well_below_the_cut():
    errors = [0.01] * 5
    for far, comes_back in ((4.6, True), (4.9, False)):  # cut at 5, back below 4.74
        spread = 0.01 * np.sqrt(1 + 1 / 4)
        _, _, active, chi2 = call_judge([0, 0, 0, 0, far * spread], errors, 25.0, active=[True] * 4 + [False])
        assert active[4] == comes_back
        if not comes_back:
            assert chi2[4] == pytest.approx(far**2)
    assert call_judge([0, 0, 0, 0, 4.9 * spread], errors, 25.0)[2].all()


def test_the_first_look_at_a_star_is_its_median():
    values, errors = np.array([3.0, 0.1, 0.0, 0.2, -5.0]), np.full(5, 0.1)
    active, chi2 = np.zeros(5, bool), np.zeros(5)
    value, _ = look(5, values, 1 / errors**2, active, chi2, np.empty(5))
    assert value == 0.1 and active.all()
    assert chi2[3] == pytest.approx(1 / (1 - 1 / 5))
    assert look(4, values, 1 / errors**2, active, chi2, np.empty(5))[0] == pytest.approx(0.15)


def test_the_histogram_knows_the_median():
    values = np.random.default_rng(1).chisquare(1, 20_000)
    histogram = np.zeros(BINS)
    for value in values:
        histogram[bin_of(value)] += 1
    assert median(histogram) == pytest.approx(np.median(values), rel=0.01)
    assert np.isnan(median(np.zeros(BINS)))
