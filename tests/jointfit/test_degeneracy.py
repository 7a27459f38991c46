"""Data that do not determine a fit, or are none: an error or a named exclusion, no silent wrong answer."""

import numpy as np
import pytest
from jointfit.simulated_fits import SMALL, base, small

from obslab.errors import ObslabError
from obslab.jointfit import AlignmentError, DegenerateError, fit
from obslab.jointfit.fitting.connections import troubles
from obslab.jointfit.simulate import score, simulate


def altered(simulated=None, **values):
    """The measured stars with some values changed: x=(rows, value)."""
    measured = (simulated or small()).measured.copy(deep=True)
    for name, (rows, value) in values.items():
        measured[name].values[rows] = value
    return measured


def of_image(measured, exposure=None, detector=None):
    """Rows of images of an exposure, of a detector, or both."""
    images = np.ones(measured.sizes["image"], bool)
    if exposure is not None:
        images &= measured.exposure.values == exposure
    if detector is not None:
        images &= measured.detector.values == detector
    return images[measured.image.values]


def one_line(caught):
    assert isinstance(caught.value, ObslabError)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 900
    return message


def test_an_exposure_without_overlap_is_named_and_can_be_left_out():
    lone = simulate(
        **{**SMALL, "dither_deg": [(0, 0), (0.02, 0), (0, 0.03), (0.01, 0.01), (0.03, 0.02), (2.0, 0)]}
    )
    near = lone.reference.isel(reference=np.abs(lone.reference.ra.values - 150.0) < 0.4)
    with pytest.raises(ObslabError, match="exposure 5") as caught:
        fit(lone.measured, near, lone.exposures)
    one_line(caught)
    result = fit(lone.measured, near, lone.exposures, on_trouble="exclude")
    assert any("exposure 5" in note for note in result.report["notes"])
    assert result.report["chi2_per_degree"] == pytest.approx(1, abs=0.06)
    with pytest.raises(ValueError, match=r"image e005_c02 has no fitted mapping.*exposure 5"):
        result.sky(5, 2, 100.0, 100.0)
    assert result.has_mapping.sum() == 20


def test_a_detector_with_too_few_stars_is_named_and_can_be_left_out():
    simulated = small()
    rows = np.flatnonzero(of_image(simulated.measured, detector=3))
    measured = altered(sigma=(rows[20:], np.nan))
    with pytest.raises(
        DegenerateError, match=r"detector 3 shares \d+ stars .* its degree 4 needs 30"
    ) as caught:
        fit(measured, simulated.reference, simulated.exposures)
    one_line(caught)
    assert caught.value.troubles[0].kind == "detector"
    result = fit(measured, simulated.reference, simulated.exposures, on_trouble="exclude")
    assert any(note.startswith("left out: detector 3") for note in result.report["notes"])
    with pytest.raises(ValueError, match=r"no fitted mapping.*detector 3"):
        result.wcs(0, 3)
    assert np.isfinite(result.sky(0, 2, 10.0, 10.0)).all()
    assert result.report["association"]["stars"] == result.fitted.sizes["star"]


def test_an_exposure_with_few_stars_is_named():
    simulated = small()
    rows = np.flatnonzero(of_image(simulated.measured, exposure=2))
    select = np.ones(len(simulated.measured.image), bool)
    select[rows[9:]] = False
    with pytest.raises(ObslabError, match="exposure 2") as caught:
        fit(simulated.measured, simulated.reference, simulated.exposures, select=select)
    one_line(caught)
    select[rows] = False  # whoever selects none of its stars does not want it
    result = fit(simulated.measured, simulated.reference, simulated.exposures, select=select)
    assert any("left out: exposure 2" in note for note in result.report["notes"])


def test_the_exposure_that_was_to_hold_the_gauge_may_be_left_out():
    simulated, result = base()
    rows = of_image(simulated.measured, exposure=4)  # the one that holds it when all are there
    measured = altered(sigma=(rows & (np.arange(len(rows)) % 40 > 0), -1.0))
    again = fit(measured, simulated.reference, simulated.exposures, held=4, on_trouble="exclude")
    assert any("exposure 4, which was to hold the gauge" in note for note in again.report["notes"])
    assert "exposure 4" not in again.report["mappings_are"].split("of which")[1]
    x = np.array([200.0, 1800.0])
    near = np.hypot(*(np.subtract(again.sky(1, 1, x, x), result.sky(1, 1, x, x)) * 3.6e6))
    assert near.max() < 5  # mas: without a fifth of the data, but not adrift


@pytest.mark.parametrize("model", ["constrained", "simple"])
def test_a_wcs_wrong_by_a_degree_names_the_exposure(model):
    simulated = small()
    measured = simulated.measured.copy(deep=True)
    measured.crval.values[measured.exposure.values == 3] += [0.0, 1.0]
    with pytest.raises(AlignmentError, match="exposure 3 cannot be aligned") as caught:
        fit(measured, simulated.reference, simulated.exposures, model=model)
    one_line(caught)
    result = fit(measured, simulated.reference, simulated.exposures, model=model, on_trouble="exclude")
    assert any("exposure 3" in note for note in result.report["notes"])
    assert set(result.residuals.state.values[of_image(measured, exposure=3)]) == {7}  # unselected
    with pytest.raises(ValueError, match="no fitted mapping"):
        result.sky(3, 0, 1.0, 1.0)


def test_measurements_without_an_error_are_counted_and_left_out():
    simulated = small()
    measured = altered(sigma=(slice(0, 50), np.nan), x=([60, 61], np.inf))
    measured.sigma.values[100:120] = -0.1
    result = fit(measured, simulated.reference, simulated.exposures)
    notes = " ".join(result.report["notes"])
    assert "70 measurements left out: position error is not positive" in notes
    assert "2 measurements left out: position is not finite" in notes
    assert set(result.residuals.state.values[:50]) == {7}
    assert score(simulated, result.sky) < 1.5
    with pytest.raises(ValueError, match="no measurement is left") as caught:
        fit(altered(sigma=(slice(None), -1.0)), simulated.reference, simulated.exposures)
    one_line(caught)


def test_a_reference_without_epoch_is_refused():
    simulated = small()
    timeless = simulated.reference.copy(deep=True)
    timeless.epoch.values[:] = np.nan
    with pytest.raises(ValueError, match="have no epoch") as caught:
        fit(simulated.measured, timeless, simulated.exposures)
    one_line(caught)


def test_an_image_that_is_there_twice_is_named():
    simulated = small()
    m = simulated.measured
    same = m.copy(deep=True)
    same.detector.values[1] = 0  # e000_c01 says that it is detector 0
    with pytest.raises(
        ValueError, match=r"e000_c00 and e000_c01 both are detector 0 of exposure 0"
    ) as caught:
        fit(same, simulated.reference, simulated.exposures)
    one_line(caught)
    # exposure 1's file under the number 0 too: the same positions
    rows = np.flatnonzero(of_image(m, exposure=1, detector=2))
    others = np.flatnonzero(of_image(m, exposure=0, detector=2))
    n = min(len(rows), len(others))
    kept = np.sort(np.r_[np.setdiff1d(np.arange(len(m.image)), np.r_[others, rows]), others[:n], rows[:n]])
    copy = m.isel(measured=kept).copy(deep=True)
    to, source = (np.flatnonzero(of_image(copy, exposure=e, detector=2)) for e in (0, 1))
    copy.x.values[to], copy.y.values[to] = copy.x.values[source], copy.y.values[source]
    with pytest.raises(ValueError, match="e000_c02 and e001_c02 hold the same") as caught:
        fit(copy, simulated.reference, simulated.exposures)
    one_line(caught)


def test_an_image_without_usable_stars_takes_the_mapping_of_its_detector_and_exposure():
    simulated = small()
    rows = of_image(simulated.measured, exposure=2, detector=1)
    result = fit(altered(sigma=(rows, np.nan)), simulated.reference, simulated.exposures)
    assert result.has_mapping.all()
    assert score(simulated, result.sky) < 1.6
    simple = fit(
        altered(sigma=(rows, np.nan)),
        simulated.reference,
        simulated.exposures,
        model="simple",
        on_trouble="exclude",
    )
    assert any("image e002_c01" in note for note in simple.report["notes"])
    with pytest.raises(ValueError, match="image e002_c01 has no fitted mapping"):
        simple.sky(2, 1, 1.0, 1.0)


def test_a_poor_reference_says_what_the_gauge_holds():
    simulated = small(reference_error_mas=200.0, positions_only=True)
    result = fit(*simulated.loaded, reference_error_mas=1000.0)
    assert any(
        "leaves low-order distortions to the gauge (its typical error is 1" in n
        for n in result.report["notes"]
    )
    assert (
        score(simulated, result.sky) < 60
    )  # 300 stars hold the sky to 200 / sqrt(300) = 12 mas, its slopes to twice that
    assert result.report["held_out"]["chi2_per_degree"] == pytest.approx(
        1, abs=0.2
    )  # among themselves as good as ever


def test_without_a_reference_the_rough_wcs_is_the_sky():
    simulated = small(wcs_error_arcsec=0.0, wcs_rotation_deg=0.0)
    result = fit(simulated.measured, None, simulated.exposures)
    assert any("there is no reference" in note for note in result.report["notes"])
    assert result.report["chi2_per_degree"] == pytest.approx(1, abs=0.05)
    # one star at two exposures is at one place, wherever that is: as well as with a reference
    from jointfit.simulated_fits import base, rms

    scatter = [
        rms(np.r_[r.residuals.xi_residual.values[s], r.residuals.eta_residual.values[s]])
        for r in (result, base()[1])
        for s in [r.residuals.state.values == 0]
    ]
    assert scatter[0] == pytest.approx(scatter[1], rel=0.05)


def test_wrong_tables_are_told_apart():
    simulated, result = base()
    with pytest.raises(ValueError, match=r"exposures .5. that the exposure table does not have"):
        fit(simulated.measured, simulated.reference, simulated.exposures.isel(exposure=slice(5)))
    half = simulated.measured.isel(measured=slice(2000))
    with pytest.raises(ValueError, match="it is of other tables"):
        fit(half, simulated.reference, simulated.exposures, association=result.association)
    with pytest.raises(ValueError, match="pass one of them"):
        fit(*simulated.loaded, association=result.association, select=np.ones(3681, bool))
    with pytest.raises(ValueError, match="a selection is one boolean"):
        fit(*simulated.loaded, select=np.arange(10))
    flat = simulated.measured.copy(deep=True)
    flat.start.values[3, :, 1:] = 0
    with pytest.raises(ValueError, match="image e000_c03 has no usable rough WCS"):
        fit(flat, simulated.reference, simulated.exposures)


def test_what_hangs_together_is_found_by_chains_of_shared_stars():
    _, result = base()
    a = result.association
    rows = np.flatnonzero(a.star >= 0)
    image = result.measured.image.values[rows]
    exposure = result.assembled.problem.exposure
    assert troubles(result.layout, exposure, result.exposures.exposure.values, image, a.star[rows], a) == []
    # without reference and with the stars of exposures 4 and 5 renamed, these two hang together and not with
    # others
    from dataclasses import replace

    count = len(a.reference)
    star = a.star[rows] + count * (exposure[image] >= 4)
    alone = replace(a, reference=np.full(2 * count, -1, np.int32))
    found = troubles(result.layout, exposure, result.exposures.exposure.values, image, star, alone)
    assert [t.name for t in found] == ["exposure 4", "exposure 5"]
    assert "hangs loose: 0 reference stars" in found[0].sentence
