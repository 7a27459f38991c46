"""Bands, color terms, the focal plane, what cannot be told apart, and bad input to jointfit.photometry."""

import numpy as np
import pytest
from jointfit.photometry_survey import PITCH_DEG, make_survey

from obslab.jointfit.photometry import MixedBandsError, NotDeterminedError, PhotometryError, fit_photometry

MMAG = 1e-3
CROSS = 0.7 * PITCH_DEG * np.array([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1], [1, 1], [-1, 1], [0.5, -1]])


@pytest.fixture(scope="module")
def survey():
    return make_survey(per_detector=120)


def test_mixed_bands_are_an_error_that_names_them():
    survey = make_survey(bands=["g", "r"] * 4)
    with pytest.raises(MixedBandsError, match=r"bands 'g', 'r'.*bands=\[\"g\"\].*bands=\"all\""):
        fit_photometry(*survey.tables)
    with pytest.raises(MixedBandsError, match=r"one band only.*reference_band"):
        fit_photometry(*survey.tables, bands="all")
    with pytest.raises(PhotometryError, match=r"'y'.*'g', 'r'"):
        fit_photometry(*survey.tables, bands=["y"])


def test_each_star_has_a_magnitude_in_each_band():
    survey = make_survey(bands=["g", "r"] * 4, per_detector=200)
    result = fit_photometry(*survey.tables, bands="all", reference_band="g")
    assert result.report["bands"] == ["g", "r"]
    fitted = result.magnitudes
    mag = {band: fitted.mag.values[fitted.band.values == band] for band in ("g", "r")}
    both = np.isfinite(mag["g"] + mag["r"])
    assert both.sum() > 200
    wrong = (mag["g"] - survey.mag)[both]
    assert abs(np.median(wrong)) < 1 * MMAG
    z = result.zero_points
    in_r = z.band.values == "r"
    error = np.hypot(*(fitted.mag_error.values[fitted.band.values == band] for band in ("g", "r")))
    wrong = mag["r"] - survey.zero_point[in_r].mean() - mag["g"] - 0.5 * survey.color
    assert abs(np.median(wrong[both])) < 2 * MMAG
    assert np.std((wrong / error)[both]) == pytest.approx(1, abs=0.07)
    assert z.anchored.values.tolist() == (~in_r).tolist()
    assert z.value.values[in_r].mean() == pytest.approx(0, abs=1e-9)
    wrong = z.value.values - survey.zero_point
    assert np.std(wrong[in_r]) < 1.5 * MMAG and np.abs(wrong[~in_r]).max() < 4 * MMAG
    assert len(result.detector_terms.detector) == 18  # each band its own
    together = fit_photometry(*survey.tables, bands="all", reference_band="g", terms_per_band=False)
    assert len(together.detector_terms.detector) == 9


def test_one_band_of_several_is_fitted_as_if_alone():
    survey = make_survey(bands=["g", "r"] * 4, per_detector=120)
    result = fit_photometry(*survey.tables, bands=["g"])
    others = fit_photometry(*survey.tables, bands="g", selected=survey.exposure % 2 == 0)
    np.testing.assert_allclose(result.zero_points.value, others.zero_points.value, atol=1e-9)
    assert result.zero_points.sizes["group"] == 4


def test_a_color_term_of_a_band_comes_back_from_the_reference():
    survey = make_survey(color_term=0.04, per_detector=200)
    result = fit_photometry(*survey.tables, color_terms="band")
    term = result.color_terms
    assert term.error.item() < 2 * MMAG
    assert abs(term.value.item() - 0.04) < 4 * term.error.item()
    exposure, detector = survey.exposure[0], survey.measured.detector.values[0]
    blue, red = (result.correction(exposure, detector, 1000.0, 1000.0, c) for c in (0.3, 1.3))
    assert red - blue == pytest.approx(term.value.item())
    without = result.correction(exposure, detector, 1000.0, 1000.0)
    mean = result.correction(exposure, detector, 1000.0, 1000.0, term.attrs["mean_color"])
    assert without == pytest.approx(float(mean))


def test_a_color_term_of_a_band_needs_a_reference_and_colors(survey):
    with pytest.raises(PhotometryError, match="color term r cannot be told from the stars' own magnitudes"):
        fit_photometry(*survey.tables, color_terms="band", reference_use=False)
    colorless = survey.reference.assign(color=survey.reference.color * np.nan)
    with pytest.raises(PhotometryError, match="color terms need colors"):
        fit_photometry(survey.measured, colorless, *survey.tables[2:], color_terms="band")


def test_color_terms_of_detectors_are_compared_without_a_reference():
    truth = np.array([0.03, -0.02, 0.0, 0.05, -0.04, 0.01, 0.0, -0.03, 0.02])
    truth -= truth.mean()
    survey = make_survey(color_term=truth, per_detector=240)
    color = survey.color[np.maximum(survey.association.star, 0)]
    colored = survey.with_measured(
        color=np.where(survey.association.star >= 0, color, np.nan).astype(np.float32)
    )
    result = fit_photometry(colored.measured, None, *survey.tables[2:], color_terms="detector")
    term = result.color_terms
    assert term.detector.values.tolist() == list(range(9))
    assert term.value.values.mean() == pytest.approx(0, abs=1e-9)
    pull = (term.value.values - truth) / term.error.values
    assert np.abs(pull).max() < 4 and term.error.values.max() < 4 * MMAG


def test_the_focal_plane_turns_with_the_camera():
    turns = [0, 90, 180, -90, 45, 10, 0, 120]
    survey = make_survey(rotation_deg=turns, gradient=(0.03, -0.02), per_detector=200, centers=CROSS * 0.4)
    result = fit_photometry(*survey.tables, reference_use=False)
    assert not any("gradient" in note for note in result.report["notes"])
    r = result.residuals
    on = r.star.values >= 0
    np.testing.assert_allclose(r.focal_x.values[on], survey.focal[0][on], atol=2e-5)
    f = np.linspace(-survey.edge_deg, survey.edge_deg, 21)
    fx, fy = np.meshgrid(f, f)
    wrong = result.illumination(fx, fy) - survey.flat(fx, fy)
    assert np.std(wrong) < 1 * MMAG


def test_a_gradient_that_only_pointings_could_tell_is_set_to_zero_and_said_so():
    survey = make_survey(gradient=(0.03, -0.02), per_detector=200, rotation_deg=0.1)
    result = fit_photometry(*survey.tables, reference_use=False)
    assert any("the gradient of the illumination" in note for note in result.report["notes"])
    np.testing.assert_allclose(result.illumination_terms.value.values[:2], 0, atol=1e-9)
    with_reference = fit_photometry(*survey.tables)
    np.testing.assert_allclose(
        with_reference.illumination_terms.value.values[:2], (0.03, -0.02), atol=4 * MMAG
    )


def test_given_focal_plane_positions_are_used(survey):
    turned = survey.focal[1] + 0.1, -survey.focal[0] - 0.2
    here, there = (
        fit_photometry(*survey.tables, focal=survey.focal),
        fit_photometry(*survey.tables, focal=turned),
    )
    np.testing.assert_allclose(here.zero_points.value, there.zero_points.value, atol=1e-4)
    f = np.linspace(-0.2, 0.2, 9)
    np.testing.assert_allclose(
        here.illumination(f, 2 * f), there.illumination(2 * f + 0.1, -f - 0.2), atol=1e-4
    )
    with pytest.raises(PhotometryError, match=r"focal has shapes \(3,\)"):
        fit_photometry(*survey.tables, focal=(np.zeros(3), np.zeros(3)))


def test_sets_of_exposures_without_common_stars_are_named():
    centers = CROSS.copy()
    centers[5:] += 8 * PITCH_DEG
    survey = make_survey(centers=centers, per_detector=40, reference_part=0.5)
    relative = fit_photometry(*survey.tables, reference_use=False)
    note = next(n for n in relative.report["notes"] if "no fitted star in common" in n)
    assert note.startswith("exposure 5, exposure 6, exposure 7: ") and "relative to each other only" in note
    z = relative.zero_points
    assert z.set.values.tolist() == [0] * 5 + [1] * 3
    for number in (0, 1):
        mine = z.set.values == number
        assert z.value.values[mine].mean() == pytest.approx(0, abs=1e-9)
        wrong = (z.value.values - survey.zero_point)[mine]
        assert np.std(wrong) < 3 * MMAG
    absolute = fit_photometry(*survey.tables)
    assert any("tied by the reference only" in note for note in absolute.report["notes"])
    assert np.abs(absolute.zero_points.value.values - survey.zero_point).max() < 8 * MMAG


def test_exposures_without_dithers_do_not_determine_an_illumination():
    survey = make_survey(centers=np.zeros((6, 2)), exposures=6, rotation_deg=0, per_detector=40)
    with pytest.raises(NotDeterminedError, match=r"illumination.*detector") as caught:
        fit_photometry(*survey.tables, reference_use=False)
    assert "detectors=False" in str(caught.value) and "illumination_degree" in str(caught.value)
    plain = fit_photometry(*survey.tables, reference_use=False, detectors=False, illumination_degree=0)
    wrong = plain.zero_points.value.values - survey.zero_point
    assert np.std(wrong) < 1 * MMAG
    assert fit_photometry(*survey.tables).report["converged"]  # a reference determines it


def test_illumination_that_is_flat_on_each_detector_is_not_told_from_detector_terms(survey):
    chip = survey.chip
    steps = (chip % 3 - 1) * 0.16, (chip // 3 - 1) * 0.16
    with pytest.raises(
        NotDeterminedError, match=r"detector terms and illumination|illumination and detector terms"
    ):
        fit_photometry(*survey.tables, focal=steps)


def test_an_exposure_with_too_few_stars_is_left_out_by_name(survey):
    few = survey.exposure == 4
    few[np.flatnonzero(few)[:3]] = False
    result = fit_photometry(*survey.tables, selected=~few)
    assert len(result.report["left_out"]) == 1
    assert "exposure 4 has" in result.report["left_out"][0] and "wanted 5" in result.report["left_out"][0]
    assert (
        np.isnan(result.zero_points.value.values[4])
        and np.isfinite(result.zero_points.value.values).sum() == 7
    )
    assert np.isnan(result.calibrate(4, 0, 100.0, 100.0, 1e4))
    alone = fit_photometry(*survey.tables, selected=survey.exposure == 4)  # its reference stars are enough
    assert alone.report["left_out"] == [] and np.isfinite(alone.zero_points.value.values).sum() == 1
    with pytest.raises(
        PhotometryError, match=r"no star has two usable measurements.*exposure 4 has 0 usable stars"
    ):
        fit_photometry(*survey.tables, selected=survey.exposure == 4, reference_use=False)


def test_measurements_without_a_flux_are_excluded_and_counted(survey):
    flux, error = survey.measured.flux.values.copy(), survey.measured.flux_error.values.copy()
    rows = np.flatnonzero(survey.association.star >= 0)
    flux[rows[0]], flux[rows[1]], flux[rows[2]] = np.nan, -5, np.inf
    error[rows[3]], error[rows[4]] = np.nan, 0
    result = fit_photometry(*survey.with_measured(flux=flux, flux_error=error).tables)
    assert result.report["bad_flux"] == 5
    assert set(result.residuals.state.values[rows[:5]]) == {3}
    clean = fit_photometry(*survey.tables)
    np.testing.assert_allclose(result.zero_points.value, clean.zero_points.value, atol=0.2 * MMAG)


def test_without_reference_magnitudes_zero_points_are_relative(survey):
    blank = survey.reference.assign(mag=survey.reference.mag * np.nan)
    for reference in (None, blank):
        result = fit_photometry(survey.measured, reference, *survey.tables[2:])
        assert "there are no reference magnitudes: zero points are relative" in result.report["notes"]
        assert result.zero_points.value.values.mean() == pytest.approx(0, abs=1e-9)


def test_settings_that_make_no_sense_are_refused_by_name(survey):
    for wrong in (
        {"model": "log"},
        {"clip": 1},
        {"illumination_degree": 9},
        {"zero_point": "night"},
        {"holdout": 0.9},
    ):
        (name,) = wrong
        with pytest.raises(PhotometryError, match=f"{name} is"):
            fit_photometry(*survey.tables, **wrong)
    with pytest.raises(PhotometryError, match="selected is"):
        fit_photometry(*survey.tables, selected=np.ones(3, bool))
    with pytest.raises(PhotometryError, match="association is of"):
        fit_photometry(survey.measured.isel(measured=slice(10)), *survey.tables[1:])
    with pytest.raises(PhotometryError, match="no row for exposure 7"):
        fit_photometry(*survey.tables[:2], survey.exposures.isel(exposure=slice(7)), survey.association)
    result = fit_photometry(*survey.tables)
    with pytest.raises(PhotometryError, match="no image of exposure 3 with detector 77"):
        result.calibrate(3, 77, 1.0, 1.0, 1.0)
    with pytest.raises(PhotometryError, match="exclude has id"):
        result.refit(exclude=[-4])


def test_two_cameras_each_have_their_own_terms():
    survey = make_survey(per_detector=200)
    instrument = np.array(["old"] * 4 + ["new"] * 4)
    flux = survey.measured.flux.values.copy()
    in_new = (survey.exposure >= 4) & (survey.chip == 4)
    flux[in_new] *= 10 ** (-0.4 * 0.05)
    changed = survey.with_measured(flux=flux)
    exposures = survey.exposures.assign(instrument=("exposure", instrument))
    result = fit_photometry(changed.measured, survey.reference, exposures, survey.association)
    term = result.detector_terms
    assert set(term.setup.values) == {"old r", "new r"}
    middle = {
        s: float(term.value.values[(term.setup.values == s) & (term.detector.values == 4)][0])
        for s in ("old r", "new r")
    }
    # Terms have mean 0, so one of nine that rises by 50 mmag rises by 44.
    assert middle["new r"] - middle["old r"] == pytest.approx(0.05 * 8 / 9, abs=4 * MMAG)
