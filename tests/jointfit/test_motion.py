"""Proper motions and parallaxes: what the reference says at its own epoch, who moves by default, and how
well.
"""

import numpy as np
import pytest
from jointfit.simulated_fits import CLEAN, fooled, rms, small, star_pulls, true_stars

from obslab.jointfit import fit
from obslab.jointfit.fitting.motion import MotionError
from obslab.jointfit.simulate import score

MOVING = {**CLEAN, "exposures": 8, "proper_motion": True, "span_yr": 3.0}
NAMES = {"pm_ra": "pm_ra_error", "pm_dec": "pm_dec_error"}


@pytest.fixture(scope="module")
def moving():
    simulated = small(**MOVING)
    return simulated, fit(*simulated.loaded)


def motion_pulls(simulated, result, names=NAMES, of=None):
    """Fitted minus true motions, in their errors, of stars with at least three measurements."""
    true, table = true_stars(simulated, result), result.fitted
    good = (true >= 0) & (table.used.values >= 3) & ~fooled(simulated, result)
    if of is not None:
        good &= of
    pulls = [
        (table[name].values - simulated.truth.stars[name].values[true]) / table[error].values
        for name, error in names.items()
    ]
    return np.array(pulls)[:, good & np.isfinite(pulls).all(0)]


def test_the_rule_fits_motions_of_three_years_and_the_fit_is_honest(moving):
    simulated, result = moving
    assert "proper motions of 0" not in result.report["notes"][-1]
    assert score(simulated, result.sky) < 1.5
    others = [small(**{**MOVING, "rng": seed}) for seed in range(6)]
    reports = [fit(*other.loaded).report for other in others]
    # 37,000 numbers: 0.7 %
    chi2, freedom = (sum(report[name] for report in reports) for name in ("chi2", "degrees_of_freedom"))
    assert chi2 / freedom == pytest.approx(1, abs=0.02)


def test_pulls_of_motions_are_normal_with_and_without_a_reference_star(moving):
    simulated, result = moving
    has = result.association.reference >= 0
    for of in (has, ~has):
        pulls = motion_pulls(simulated, result, of=of)
        assert pulls.shape[1] > 100
        assert rms(pulls) == pytest.approx(1, abs=0.15)
        assert np.abs(pulls.mean(1)).max() < 0.2
    places, _ = star_pulls(simulated, result)
    assert rms(places) == pytest.approx(1, abs=0.15)


def test_pulls_of_parallaxes_are_normal(moving):
    simulated, result = moving
    pulls = motion_pulls(simulated, result, {"parallax": "parallax_error"}, result.association.reference >= 0)
    assert pulls.shape[1] > 50 and rms(pulls) == pytest.approx(1, abs=0.2)


def test_the_reference_is_taken_to_the_epoch_of_the_images():
    # A reference of 2016 for images of 2024: 40 mas of motion that must not go into the mappings.
    simulated = small(**{**MOVING, "span_yr": 0.3})
    result = fit(*simulated.loaded)
    assert "parallaxes of 0" in result.report["notes"][-1] or result.report["notes"][-1] == "stars: positions"
    pulls = result.reference_residuals
    used = pulls.used.values
    assert used.mean() > 0.95 and result.report["chi2_per_degree"] == pytest.approx(1, abs=0.05)
    assert rms(pulls.xi_residual.values[used] / pulls.xi_error.values[used]) < 1.1
    assert score(simulated, result.sky) < 1.5
    frozen = simulated.reference.copy(deep=True)
    for name in ("pm_ra", "pm_dec", "parallax"):
        frozen[name].values[:] = 0
    assert score(simulated, fit(simulated.measured, frozen, simulated.exposures).sky) > 3


def test_motions_off_keeps_the_catalogues_and_is_worse(moving):
    simulated, result = moving
    off = fit(*simulated.loaded, motion=False, parallax=False)
    assert np.isnan(off.fitted.pm_ra_error.values).all()
    has = off.association.reference >= 0
    catalogue = simulated.reference.pm_ra.values[off.association.reference[has]]
    assert off.fitted.pm_ra.values[has] == pytest.approx(
        catalogue, abs=1e-3
    )  # at another place on the sky by arcsec
    assert off.report["chi2_per_degree"] > result.report["chi2_per_degree"] + 0.1


def test_a_mask_says_who_moves(moving):
    simulated, result = moving
    mask = np.zeros(len(result.association.reference), bool)
    mask[::3] = True
    some = fit(*simulated.loaded, association=result.association, motion=mask, parallax=False)
    assert np.array_equal(np.isfinite(some.fitted.pm_ra_error.values), mask)
    with pytest.raises(ValueError, match="mask of moving stars has shape"):
        fit(*simulated.loaded, association=result.association, motion=mask[:-1])


def test_stars_at_rest_are_not_given_motions():
    result = fit(*small().loaded)
    assert result.report["notes"] == ["stars: positions"]
    assert result.assembled.problem.star_parameters == 2
    assert np.isnan(result.fitted.pm_ra.values).all()


def test_a_fast_star_is_followed():
    simulated = small(**MOVING)
    truth, reference = simulated.truth.stars, simulated.reference
    speed = np.hypot(truth.pm_ra.values, truth.pm_dec.values)
    result = fit(*simulated.loaded)
    true = true_stars(simulated, result)
    fast = np.flatnonzero((true >= 0) & (speed[true] > 25) & (result.fitted.used.values >= 3))
    assert len(fast) >= 2
    pulls = motion_pulls(simulated, result, of=np.isin(np.arange(len(true)), fast))
    assert np.abs(pulls).max() < 4
    assert np.nanmax(np.hypot(reference.pm_ra, reference.pm_dec)) > 25


def test_motions_cannot_come_from_positions_alone():
    simulated = small(**{**MOVING, "positions_only": True, "reference_error_mas": 100.0})
    with pytest.raises(MotionError, match=r"the reference has none, so .* mean motion of the field"):
        fit(*simulated.loaded, motion=True)
    with pytest.raises(MotionError, match="there is no reference"):
        fit(simulated.measured, None, simulated.exposures, motion=True)
    result = fit(*simulated.loaded)
    assert any(
        "has no proper motions and was made 9.5 years before" in n or "years before" in n
        for n in result.report["notes"]
    )
    # 100 mas allows for nine years of 5 mas/yr; its mean over 300 stars holds the sky to some mas
    assert score(simulated, result.sky) < 25


def test_some_stars_of_a_reference_may_be_without_motion():
    simulated = small(**MOVING)
    reference = simulated.reference.copy(deep=True)
    for name in ("pm_ra", "pm_dec", "pm_ra_error", "pm_dec_error", "parallax", "parallax_error"):
        reference[name].values[::4] = np.nan
    for span in (True, False):
        result = fit(simulated.measured, reference, simulated.exposures, motion=span, parallax=False)
        assert score(simulated, result.sky) < 2
        assert result.report["references_rejected"] < 0.1 * result.report["references"]


def test_asking_for_what_no_stage_fits_is_refused():
    simulated = small(**MOVING)
    with pytest.raises(ValueError, match="pm is asked for and no stage fits it"):
        fit(*simulated.loaded, motion=True, stages=["mappings+positions"])
    quiet = fit(*simulated.loaded, stages=["mappings+positions"])
    assert np.isnan(quiet.fitted.pm_ra_error.values).all()
