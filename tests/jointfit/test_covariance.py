"""Covariance of the mappings: of what, by its names, and against the scatter of many fits."""

import numpy as np
import pytest
from jointfit.simulated_fits import CLEAN, apart_mas, base, grid, rms, small

from obslab.jointfit import fit


def test_errors_are_the_scatter_of_many_fits():
    # The same sky and camera measured eight times: fitted places scatter by what each fit predicts.
    simulated = small(**CLEAN)
    x, y = grid(simulated, 4, margin=30)
    rng = np.random.default_rng(4)
    result = fit(*simulated.loaded, clip_sigma=0, holdout=0, shrinkage=False)
    truth = simulated.truth
    sky, predicted = [], {}
    for _ in range(8):
        measured = simulated.measured.copy(deep=True)
        sigma = measured.sigma.values
        exact = simulated.measured.x.values, simulated.measured.y.values
        # its own noise is common to all, so it drops out of the scatter
        measured.x.values[:], measured.y.values[:] = (e + rng.normal(0, sigma) for e in exact)
        reference = simulated.reference.copy(deep=True)
        reference.ra.values[:] += (
            rng.normal(0, reference.ra_error.values) / 3.6e6 / np.cos(np.radians(reference.dec))
        )
        reference.dec.values[:] += rng.normal(0, reference.dec_error.values) / 3.6e6
        again = fit(
            measured,
            reference,
            simulated.exposures,
            association=result.association,
            clip_sigma=0,
            holdout=0,
            shrinkage=False,
        )
        sky.append([again.sky(e, d, x, y) for e in (0, 3) for d in range(4)])
    predicted = np.array([result.predicted_error(e, d, x, y).T for e in (0, 3) for d in range(4)])
    sky = np.array(sky)
    mean = sky.mean(0)
    scatter = np.array(
        [[apart_mas(*image, *where) for image, where in zip(one, mean, strict=True)] for one in sky]
    )
    found = np.sqrt((scatter**2).sum(0) / 7)
    # 8 fits of some 30 independent places each: 5 %
    assert np.sqrt((found**2).mean() / (predicted**2).mean()) == pytest.approx(1, abs=0.12)
    assert rms(scatter / predicted) == pytest.approx(np.sqrt(7 / 8), abs=0.15)
    assert truth.camera.detectors == 4


def test_corners_are_worse_than_the_middle():
    _, result = base()
    middle, corner = result.predicted_error(1, 2, [1024.0, 2.0], [1024.0, 2.0])
    assert corner.min() > 1.3 * middle.max() > 0


def test_parameters_have_names_and_none_is_loose():
    _, result = base()
    covariance = result.covariance()
    assert len(covariance.names) == len(covariance.matrix) == result.report["parameters"] == 180
    assert covariance.loose == ()
    assert covariance.of("detector 1 xi u2v0") > 0 and "exposure 3 eta u0v1" in covariance.names
    assert not any(name.startswith("exposure 4 ") for name in covariance.names)  # it is held
    assert result.covariance() is covariance


def test_what_the_data_do_not_determine_is_named():
    simulated = small(**CLEAN)
    result = fit(*simulated.loaded)
    layout, problem = result.layout, result.assembled.problem
    layout.held_outer[:] = False  # as if nobody held the gauge
    free = result.outcome.fitted.copy()
    free[problem.inner_free.size * 2 :] = True
    result.outcome.fitted = free
    problem.gauge = None
    loose = result.covariance().loose
    assert len(loose) >= 6  # an affine map can go from all detectors to all exposures
    assert any("exposure" in name and "detector" in name for name in loose)


def test_errors_follow_the_strength_of_templates():
    from obslab.jointfit.mapping.templates import Template

    simulated = small(ring_pixel=0.1, **CLEAN)
    at, size = simulated.truth.camera.ring_table()
    rings = Template(
        "rings", "r", tuple(at), tuple(size), tuple(simulated.truth.camera.ring_center[0]), detectors=(0,)
    )
    result = fit(*simulated.loaded, terms=[rings], shrinkage=False)
    image, (x, y) = result.image(2, 0), grid(simulated, 5)
    covariance = result.covariance()
    whole = covariance.predicted_error(image, x, y)
    strength = covariance.names.index("rings")
    less = covariance.matrix.copy()
    less[strength], less[:, strength] = 0, 0
    from dataclasses import replace

    assert np.abs(replace(covariance, matrix=less).predicted_error(image, x, y) / whole - 1).max() > 1e-3
    solver = result.outcome.solver
    solver.state.extra[:] += 0.01
    moved = result.plane([image], *result.solution.normalised(image, x, y))[0]
    solver.state.extra[:] -= 0.01
    still = result.plane([image], *result.solution.normalised(image, x, y))[0]
    only = np.zeros_like(covariance.matrix)
    only[strength, strength] = 0.01**2
    expected = np.abs(moved - still) * 3.6e6
    assert replace(covariance, matrix=only).predicted_error(image, x, y) == pytest.approx(
        expected, rel=1e-2, abs=1e-5
    )
