"""Photometric fits of simulated surveys, scored against their truth."""

from types import SimpleNamespace

import numpy as np
import pytest
from jointfit.photometry_survey import make_survey, shuffled

from obslab.jointfit.datasets import STATES
from obslab.jointfit.photometry import (
    JOINTCAL,
    MAGNITUDES,
    PHOTOMETRY_RESIDUALS,
    ZERO_POINTS,
    fit_photometry,
)

MMAG = 1e-3


@pytest.fixture(scope="module")
def survey():
    return make_survey(per_detector=240)


@pytest.fixture(scope="module")
def result(survey):
    return fit_photometry(*survey.tables)


def zero_point_errors(survey, result):
    """Fitted minus true zero points; without a reference only their differences mean something."""
    wrong = result.zero_points.value.values - survey.zero_point
    return wrong if result.zero_points.anchored.values.all() else wrong - wrong.mean()


@pytest.mark.parametrize("model", ["magnitude", "flux"])
@pytest.mark.parametrize("reference_use", [True, False])
def test_zero_points_detectors_and_illumination_come_back(survey, model, reference_use):
    result = fit_photometry(*survey.tables, model=model, reference_use=reference_use)
    assert result.report["converged"]
    wrong = zero_point_errors(survey, result)
    assert np.std(wrong) < 1 * MMAG  # the brief's bar; the formal errors are 0.3 mmag
    assert np.abs(result.detector_terms.value.values - survey.detector).max() < 1.5 * MMAG
    f = np.linspace(-survey.edge_deg, survey.edge_deg, 21)
    fx, fy = np.meshgrid(f, f)
    wrong = result.illumination(fx, fy) - survey.flat(fx, fy)
    assert np.std(wrong) < 1 * MMAG


@pytest.mark.parametrize("model", ["magnitude", "flux"])
def test_chi2_per_degree_of_freedom_is_one(model):
    chi2, dof = 0.0, 0
    for seed in (1, 2):  # 2 x 13,000 degrees of freedom: 0.9 % of scatter
        survey = make_survey(seed, per_detector=240, signal_to_noise=(60, 300))
        report = fit_photometry(*survey.tables, model=model, floor_mag=0.0, holdout=0).report
        chi2, dof = chi2 + report["chi2"], dof + report["dof"]
    assert dof > 25_000
    assert chi2 / dof == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("reference_use", [True, False])
def test_pulls_of_zero_points_are_normal(reference_use):
    pulls = []
    for seed in range(30):
        survey = make_survey(seed, exposures=6, grid=2, per_detector=40)
        result = fit_photometry(*survey.tables, floor_mag=0.0, reference_use=reference_use)
        pulls.append(zero_point_errors(survey, result) / result.zero_points.error.values)
    # 180 pulls; zero points of a survey share their gauge, so about half as many are independent.
    assert np.std(pulls) == pytest.approx(1, abs=0.2)
    assert abs(np.mean(pulls)) < 0.35
    assert np.mean(np.abs(pulls) < 1) == pytest.approx(0.683, abs=0.12)


def test_fluxes_do_not_bias_faint_stars_where_magnitudes_do():
    survey = make_survey(signal_to_noise=(7, 300), per_detector=240, exposures=12, reference_part=0)
    noise = 10 ** (0.4 * (survey.mag - 22)) / 7  # relative, of one measurement
    bias, error = {}, {}
    for model in ("magnitude", "flux"):
        fitted = fit_photometry(*survey.tables, model=model).magnitudes
        wrong = fitted.mag.values - survey.mag
        several = fitted.used.values >= 6
        faint, bright = several & (noise > 0.1), several & (noise < 0.03)
        bias[model] = wrong[faint].mean() - wrong[bright].mean()
        error[model] = np.std(wrong[faint]) / np.sqrt(faint.sum())
    assert abs(bias["flux"]) < 3 * error["flux"]
    # Noise that makes a measurement brighter gives it weight too, 2 s**2 less the part it has in the mean of
    # about
    # ten; the logarithm's own bias is -s**2 / 2.
    assert bias["magnitude"] == pytest.approx(-1.0857 * 1.3 * np.mean(noise[faint] ** 2), rel=0.2)


def test_fluxes_below_zero_take_part_in_the_flux_model_and_are_counted_in_the_other(survey):
    flux = survey.measured.flux.values.copy()
    few = survey.mag[np.maximum(survey.association.star, 0)] > 21.9
    flux[few] -= flux[few].mean() * 1.02
    changed = survey.with_measured(flux=flux)
    below = (flux <= 0) & (survey.association.star >= 0)
    assert below.sum() > 20
    in_magnitudes = fit_photometry(*changed.tables)
    assert in_magnitudes.report["bad_flux"] == (flux <= 0).sum()
    state = in_magnitudes.residuals.state.values
    assert set(state[below]) == {STATES.index("excluded")}
    assert fit_photometry(*changed.tables, model="flux").report["bad_flux"] == 0


def test_a_fitted_error_floor_makes_chi2_of_bright_stars_right():
    survey = make_survey(per_detector=240, extra_mag=0.012)
    report = fit_photometry(*survey.tables).report
    assert report["floor_mag"] == pytest.approx(0.012, rel=0.05)  # from 3,000 bright points: 2 %
    assert report["chi2_per_dof"] == pytest.approx(1, abs=0.03)
    assert report["rejected"] < 5
    given = fit_photometry(*survey.tables, floor_mag=0.012).report
    assert given["floor_mag"] == 0.012 and given["chi2_per_dof"] == pytest.approx(1, abs=0.04)


def test_no_floor_is_fitted_to_honest_errors(result):
    assert result.report["floor_mag"] < 0.0012  # of errors from 3.6 mmag up


def test_calibrated_magnitudes_are_the_true_ones(survey, result):
    measured, exposure = survey.measured, survey.exposure
    star = survey.association.star
    flux = 10 ** (-0.4 * (survey.mag[star] + survey.zero_point[exposure] + survey.detector[
        measured.detector.values[measured.image.values]] + survey.flat(*survey.focal)))  # fmt: skip
    mag = result.calibrate(
        measured.exposure.values[measured.image.values], measured.detector.values[measured.image.values],
        measured.x.values, measured.y.values, flux,
    )  # fmt: skip
    good = star >= 0
    assert np.std((mag - survey.mag[star])[good]) < 1 * MMAG
    one = result.calibrate(2, 4, measured.x.values[:5], 1000.0, 1e4)
    assert one.shape == (5,)
    assert np.isnan(result.calibrate(2, 4, 1.0, 1.0, -3.0))


def test_residuals_agree_with_calibrate_and_the_schemas(survey, result):
    residuals, fitted = PHOTOMETRY_RESIDUALS.check(result.residuals), MAGNITUDES.check(result.magnitudes)
    ZERO_POINTS.check(result.zero_points)
    r = residuals
    mag = result.calibrate(r.exposure.values, r.detector.values, r.x.values, r.y.values, r.inst_flux.values)
    np.testing.assert_allclose(r.mag.values, mag, atol=1e-12)
    with_star = r.star.values >= 0
    star_mag = fitted.mag.values[r.star.values]
    np.testing.assert_allclose(r.residual.values[with_star], (mag - star_mag)[with_star], atol=1e-6)
    counted = r.state.values == STATES.index("used")
    assert r.chi2.values[counted].sum() + result.report["reference_chi2"] == pytest.approx(
        result.report["chi2"], rel=1e-6
    )
    assert counted.sum() == result.report["measurements"]
    assert fitted.chi2.values[~fitted.held_out.values].sum() == pytest.approx(result.report["chi2"], rel=1e-6)
    at = (r.focal_x.values + 1j * r.focal_y.values)[with_star]
    true = (survey.focal[0] + 1j * survey.focal[1])[with_star]
    turn = np.vdot(true - true.mean(), at - at.mean())  # the plane is oriented as the first exposure was
    np.testing.assert_allclose(at, true * turn / abs(turn), atol=1e-5)
    assert set(JOINTCAL) <= set(r.variables)


def test_held_out_stars_have_no_say_and_judge_the_rest(survey, result):
    held = result.magnitudes.held_out.values
    assert held.mean() == pytest.approx(0.1, abs=0.04)
    report = result.report["held_out"]
    assert report["stars"] > 50
    assert report["chi2_per_dof"] == pytest.approx(1, abs=5 * np.sqrt(2 / report["dof"]))
    flux = survey.measured.flux.values.copy()
    flux[held[survey.association.star] & (survey.association.star >= 0)] *= (
        1.01  # a mistake that hides in their magnitudes
    )
    again = fit_photometry(*survey.with_measured(flux=flux).tables, floor_mag=0.0)
    before = fit_photometry(*survey.tables, floor_mag=0.0)
    np.testing.assert_array_equal(again.zero_points.value.values, before.zero_points.value.values)
    wrong = np.nanmedian(
        (again.magnitudes.mag.values - before.magnitudes.mag.values)[
            held & (again.magnitudes.reference.values < 0)
        ]
    )
    assert wrong == pytest.approx(-2.5 * np.log10(1.01), rel=0.01)


def test_the_held_out_stars_can_be_given(survey):
    held = np.arange(len(survey.mag)) % 3 == 0
    result = fit_photometry(*survey.tables, held_out=held)
    np.testing.assert_array_equal(result.magnitudes.held_out.values, held)


def test_the_order_of_rows_and_stars_does_not_matter(survey, result):
    other, order = shuffled(survey)
    again = fit_photometry(*other.tables)
    # What differs is the order in which numbers are added up.
    np.testing.assert_allclose(again.zero_points.value, result.zero_points.value, atol=1e-9)
    np.testing.assert_allclose(again.detector_terms.value, result.detector_terms.value, atol=1e-9)
    np.testing.assert_array_equal(again.residuals.state.values, result.residuals.state.values[order])
    np.testing.assert_allclose(again.residuals.mag.values, result.residuals.mag.values[order], atol=1e-9)


def test_the_number_of_threads_does_not_matter(survey, result, monkeypatch):
    for threads in ("1", "3"):
        monkeypatch.setenv("OBSLAB_THREADS", threads)
        again = fit_photometry(*survey.tables)
        np.testing.assert_array_equal(again.zero_points.value.values, result.zero_points.value.values)
        np.testing.assert_array_equal(again.magnitudes.mag.values, result.magnitudes.mag.values)


def test_a_refit_equals_a_new_fit_without_those_measurements(survey, result):
    out = survey.exposure == 3
    warm = result.refit(exclude=out)
    cold = fit_photometry(*survey.tables, selected=~out)
    by_ids = result.refit(exclude=survey.measured.id.values[out])
    assert np.isnan(warm.zero_points.value.values[3]) and "exposure 3" in warm.report["left_out"][0]
    assert len(warm.state.iterations) <= 3
    both = np.arange(len(survey.zero_point)) != 3
    for other in (cold, by_ids):
        # Fits stop when a step is below 0.02 of the errors, which are 0.5 mmag.
        np.testing.assert_allclose(warm.zero_points.value[both], other.zero_points.value[both], atol=2e-5)
    assert warm.report["dof"] == cold.report["dof"]
    assert set(warm.residuals.state.values[out]) <= {STATES.index("excluded"), STATES.index("alone")}
    assert result.report["measurements"] > warm.report["measurements"]  # the first result is as it was


def test_progress_tells_each_iteration_and_may_stop_the_fit(survey):
    seen = []
    result = fit_photometry(*survey.tables, progress=seen.append)
    assert [one["iteration"] for one in seen] == list(range(1, len(seen) + 1))
    assert {"chi2", "dof", "rejected", "step", "seconds"} <= set(seen[0])
    assert seen == result.report["iterations"]

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_photometry(*survey.tables, progress=stop)


def test_one_zero_point_for_each_image(survey):
    result = fit_photometry(*survey.tables, zero_point="image", illumination_degree=2)
    z = result.zero_points
    assert z.sizes["group"] == survey.measured.sizes["image"]
    wrong = z.value.values - survey.zero_point[z.exposure.values] - survey.detector[z.detector.values]
    assert np.std(wrong / z.error.values) == pytest.approx(1, abs=0.25)
    assert np.std(wrong) < 3 * MMAG


def test_fields_of_an_association_are_used_as_they_are(survey):
    """Nothing else is asked of an Association, so another matcher will do."""
    a = survey.association
    bare = SimpleNamespace(star=a.star, reference=a.reference, first=a.first, members=a.members)
    assert fit_photometry(*survey.tables[:3], bare).residuals.ra.isnull().all()
