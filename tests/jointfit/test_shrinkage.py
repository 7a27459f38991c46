import numpy as np
import pytest
from jointfit.simulated_fits import CLEAN, rms, small

from obslab.jointfit import fit
from obslab.jointfit.simulate import score

MANY = {"detectors": (3, 3), "exposures": 6, "stars_per_detector": 120}


def fitted(seed, shrinkage, **options):
    simulated = small(**{**MANY, "rng": seed})
    return simulated, fit(*simulated.loaded, shrinkage=shrinkage, **options)


def test_mappings_come_nearer_to_the_truth():
    """The simulated detectors differ by quadratic and cubic warps only, and are fitted with degree 4."""
    errors = []
    for seed in range(4):
        errors.append([score(*pair) for pair in _mappers(seed)])
    free, shrunk = rms(np.array(errors).T[0]), rms(np.array(errors).T[1])
    # 12 to 17 % were measured with more stars; 5 is what four small surveys cannot miss by chance.
    assert shrunk < 0.95 * free


def _mappers(seed):
    for shrinkage in (False, True):
        simulated, result = fitted(seed, shrinkage)
        yield simulated, result.sky


def test_what_detectors_do_not_share_is_left_as_it_is():
    _, result = fitted(1, True)
    width = result.report["shrinkage_mas"]
    # Warps of a tenth of a pixel are 26 mas; degree 4 has only what the common optics leave.
    assert width["detectors degree 2"] > 5 > width["detectors degree 4"]
    _, free = fitted(1, False)
    terms = slice(3, 6)  # of degree 2
    inner, other = (r.outcome.solver.state.inner[:, :, terms] for r in (result, free))
    spread = np.std(other, axis=0).mean()
    assert np.abs(inner - other).max() < 0.2 * spread
    assert free.report["shrinkage_mas"] is None


def test_held_out_stars_judge_the_mappings_before_it():
    _, shrunk = fitted(2, True)
    _, free = fitted(2, False)
    assert shrunk.report["held_out"] == free.report["held_out"]


def test_a_gauge_or_too_few_detectors_leave_it_out():
    simulated = small(detectors=(1, 1), exposures=3, rng=3)
    assert fit(*simulated.loaded).report["shrinkage_mas"] is None
    _, result = fitted(3, True, gauge_arcsec=0.5)
    assert result.report["shrinkage_mas"] is None


@pytest.mark.parametrize("holdout", [0.0, 0.1])
def test_chi2_is_still_what_it_should_be(holdout):
    simulated = small(**{**MANY, **CLEAN, "rng": 4})
    report = fit(*simulated.loaded, holdout=holdout).report
    assert report["shrinkage_mas"]
    scatter = np.sqrt(2 / report["degrees_of_freedom"])
    assert report["chi2_per_degree"] == pytest.approx(1, abs=3 * scatter)
