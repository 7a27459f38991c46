"""A fit again without some data: the same as a fit that never had them."""

import numpy as np
import pytest
from jointfit.simulated_fits import base, largest_difference_mas, small

from obslab.jointfit import fit

# At the minimum, not near it, and without the prior that a refit takes over and a cold fit finds anew.
TIGHT = {"tolerance_sigma": 1e-3, "shrinkage": False}


@pytest.fixture(scope="module")
def clean():
    simulated = small(outliers=0.0, spurious=0.0)
    return simulated, fit(*simulated.loaded, clip_sigma=0, holdout=0, **TIGHT)


def cold(simulated, result, excluded):
    """The fit without some rows, from the start, with the same stars."""
    from dataclasses import replace

    a = result.association
    star = np.where(excluded & (a.star >= 0), -4, a.star)
    members = a.members[star[a.members] >= 0]
    first = np.concatenate([[0], np.cumsum(np.bincount(star[star >= 0], minlength=len(a.reference)))])
    return fit(
        *simulated.loaded,
        association=replace(a, star=star, members=members, first=first),
        clip_sigma=0,
        holdout=0,
        on_trouble="exclude",
        **TIGHT,
    )


def rows_of(simulated, **wanted):
    images = np.ones(simulated.measured.sizes["image"], bool)
    for name, value in wanted.items():
        images &= np.isin(simulated.measured[name].values, value)
    return images[simulated.measured.image.values]


@pytest.mark.parametrize(
    "exclude", [{"exposure": 1}, {"exposure": [0, 2], "detector": 3}, {"exposure": 4}], ids=str
)
def test_a_refit_is_the_cold_fit_without_what_was_excluded(clean, exclude):
    simulated, result = clean
    again = result.refit(exclude)
    other = cold(simulated, result, rows_of(simulated, **exclude))
    gone = np.atleast_1d(exclude["exposure"]) if "detector" not in exclude else []
    assert largest_difference_mas(simulated, again, other, set(range(6)) - set(gone)) < 0.01
    assert again.report["chi2"] == pytest.approx(other.report["chi2"], rel=1e-6)
    assert again.report["degrees_of_freedom"] == pytest.approx(other.report["degrees_of_freedom"], abs=4)


def test_a_detector_a_mask_and_ids_can_be_excluded(clean):
    simulated, result = clean
    detector = result.refit({"detector": 2})
    rows = rows_of(simulated, detector=2)
    mask = result.refit(rows)
    ids = result.refit(simulated.measured.id.values[rows])
    for other in (mask, ids):
        assert other.report["chi2"] == detector.report["chi2"]
    assert (
        set(detector.residuals.state.values[rows]) <= {3, 4, 5, 6, 7}
        and 3 in detector.residuals.state.values[rows]
    )
    assert np.isnan(detector.residuals.chi2.values[rows]).all()
    with pytest.raises(ValueError, match=r"no fitted mapping.*detector 2"):
        detector.sky(0, 2, 1.0, 1.0)


def test_the_old_result_stays_and_exclusions_add_up(clean):
    simulated, result = clean
    before = result.outcome.solver.state.copy(), result.residuals.copy(deep=True), dict(result.report)
    first = result.refit({"exposure": 1})
    both = first.refit({"exposure": 3})
    assert np.array_equal(result.outcome.solver.state.inner, before[0].inner)
    assert np.array_equal(result.outcome.solver.state.stars, before[0].stars)
    assert result.residuals.identical(before[1]) and result.report == before[2]
    assert np.array_equal(both.excluded, rows_of(simulated, exposure=[1, 3]))
    at_once = result.refit({"exposure": [1, 3]})
    assert largest_difference_mas(simulated, both, at_once, {0, 2, 4, 5}) < 0.01
    assert first.layout.held_outer.tolist() == result.layout.held_outer.tolist()


def test_excluding_the_held_exposure_holds_another(clean):
    _, result = clean
    held = int(np.flatnonzero(result.layout.held_outer)[0])
    again = result.refit({"exposure": held})
    assert again.layout.held_outer.sum() == 1 and not again.layout.held_outer[held]
    assert f"exposure {held} is held" not in again.report["mappings_are"]
    assert result.layout.held_outer[held]
    assert again.report["parameters"] == result.report["parameters"] - 2 * 6
    assert again.covariance().loose == ()


def test_with_shrinkage_a_refit_is_the_cold_fit_within_their_errors():
    simulated, result = base()
    select = ~rows_of(simulated, exposure=1) & (result.association.star != -4)
    again, other = result.refit({"exposure": 1}), fit(*simulated.loaded, select=select)
    assert (
        largest_difference_mas(simulated, again, other, {0, 2, 3, 4, 5}) < 2
    )  # at the corners, where errors are 2 mas


def test_a_refit_with_outliers_takes_fewer_iterations():
    _simulated, result = base()
    again = result.refit({"exposure": 1})
    assert again.report["iterations"] <= result.report["iterations"] / 2
    assert again.report["held_out"] is None  # nobody judged it
    assert again.report["chi2_per_degree"] == pytest.approx(1, abs=0.05)


def test_a_refit_can_clip_harder():
    _, result = base()
    again = result.refit(clip_sigma=3.0)
    assert again.report["rejected"] > result.report["rejected"] + 10
    with pytest.raises(ValueError, match="refit cannot change 'model'"):
        result.refit(model="simple")


@pytest.mark.parametrize(
    ("exclude", "match"),
    [
        ({"exposure": 17}, "there is no exposure 17 to exclude; there are 0 to 5"),
        ({"night": 3}, "has the key 'night'"),
        ({}, "exclude is empty"),
        ([10**9], "no measurement with id 1000000000"),
        (np.zeros(3, bool), "mask to exclude has shape"),
        ([0.5], "exclude is float64"),
        ({"exposure": [0, 1, 2, 3, 4, 5]}, "nothing would be left"),
    ],
    ids=str,
)
def test_what_cannot_be_excluded_is_said(exclude, match):
    with pytest.raises(ValueError, match=match):
        base()[1].refit(exclude)


def test_photometry_after_a_refit_is_without_what_was_excluded():
    _, result = base()
    again = result.refit(exclude={"exposure": 3}).with_photometry()
    rows = again.photometry.residuals
    used = rows.state.values == rows.attrs["states"].index("used")
    assert used.any() and not np.any(rows.exposure.values[used] == 3)
    everything = result.with_photometry().photometry.residuals
    assert np.any((everything.exposure.values == 3) & (everything.state.values == 0))
