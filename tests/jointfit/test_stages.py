"""Stages: what is fitted when, jointcal's sequence, and names that do not exist."""

import numpy as np
import pytest
from jointfit.simulated_fits import base, largest_difference_mas, small

from obslab.jointfit import fit
from obslab.jointfit.fitting.stages import JOINTCAL, StageError, parse


def test_jointcals_sequence_ends_where_the_joint_fit_does():
    simulated, result = base()
    staged = fit(*simulated.loaded, stages=JOINTCAL)
    assert staged.report["chi2"] == pytest.approx(result.report["chi2"], rel=1e-4)
    assert staged.report["rejected"] == result.report["rejected"]
    assert staged.report["references_rejected"] == result.report["references_rejected"]
    assert largest_difference_mas(simulated, result, staged) < 0.1
    assert next(i["stage"] for i in staged.report["history"]) == "mappings:exposures"


def test_a_stage_moves_what_it_names_and_nothing_else():
    simulated = small()
    result = fit(*simulated.loaded, shrinkage=False)  # which would change what coefficients are held to
    started = result.outcome.solver.start_coefficients
    cut = result.outcome.solver.state.inner.size

    def moved(*stages):
        solver = fit(*simulated.loaded, stages=stages, holdout=0, shrinkage=False).outcome.solver
        now = np.concatenate([solver.state.inner.ravel(), solver.state.outer.ravel()])
        return bool(np.any(now[:cut] != started[:cut])), bool(np.any(now[cut:] != started[cut:]))

    assert moved("mappings:exposures") == (False, True)
    assert moved("mappings:detectors") == (True, False)
    assert moved("positions") == (False, False)
    assert moved("mappings+positions") == (True, True)


def test_parameters_of_all_stages_count_and_have_errors():
    simulated = small()
    result = fit(*simulated.loaded, shrinkage=False)
    last_positions = fit(*simulated.loaded, stages=["mappings+positions", "positions"], shrinkage=False)
    assert last_positions.report["parameters"] == result.report["parameters"]
    assert last_positions.report["degrees_of_freedom"] == pytest.approx(
        result.report["degrees_of_freedom"], abs=10
    )
    error = last_positions.predicted_error(0, 0, [100.0], [1000.0])
    assert error == pytest.approx(result.predicted_error(0, 0, [100.0], [1000.0]), rel=0.02)


def test_a_stage_that_names_refraction_fits_it_with_the_airmass():
    simulated = small(refraction_mas=25.0, measured_color=True)
    result = fit(*simulated.loaded, stages=["mappings+positions", "mappings+positions+refraction"])
    assert result.report["terms"]["refraction r"]["mas_per_mag"] == pytest.approx(25, abs=3)


@pytest.mark.parametrize(
    ("stages", "match"),
    [
        (["mapings"], "names mapings; a stage joins"),
        ([""], "names nothing"),
        ([], "there are no stages"),
        ("positions+everything", "names everything"),
    ],
)
def test_stages_that_do_not_exist_are_named(stages, match):
    with pytest.raises(StageError, match=match):
        parse(stages)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"model": "simple", "stages": ["mappings:exposures"]}, "does not suit the simple model"),
        ({"stages": ["mappings:images"]}, "does not suit the constrained model"),
        ({"refraction": "tan z", "stages": ["mappings+positions"]}, "refraction is asked for and no stage"),
        ({"refraction": "sec z"}, "'tan z' or 'constant'"),
        ({"model": "cubic"}, "simple, constrained"),
        ({"holdout": 1.5}, "holdout is 1.5, wanted 0 to 0.9"),
        ({"clip_sigma": -1}, "clip_sigma is -1"),
        ({"most_iterations": 0}, "most_iterations is 0"),
        ({"held": 77}, "exposure 77 cannot be held"),
        ({"on_trouble": "ignore"}, "'raise' or 'exclude'"),
        ({"projector": "sine"}, "'gnomonic' or 'identity'"),
        ({"floor_mas": "some"}, "floor_mas 'some' is not known"),
        ({"floor_mas": -1.0}, "wanted a number from 0 up"),
        ({"turbulence": {"rounds": 0}}, "0 rounds"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_line(options, match):
    with pytest.raises(ValueError, match=match) as caught:
        fit(*small().loaded, **options)
    assert "\n" not in str(caught.value)
