"""The whole fit against the truth of simulations: unbiased, with honest errors, in all its models."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from jointfit.simulated_fits import (
    apart_mas,
    base,
    fooled,
    grid,
    images,
    largest_difference_mas,
    rms,
    small,
    star_pulls,
)

from obslab.jointfit import CancelledError, fit, subset
from obslab.jointfit.catalogue import Loaded
from obslab.jointfit.mapping.templates import Template
from obslab.jointfit.simulate import score, simulate


@pytest.fixture(scope="module")
def large():
    simulated = simulate(rng=3, detectors=(2, 2), exposures=8, stars_per_detector=300, dither_deg=0.06)
    return simulated, fit(*simulated.loaded)


# ---- honest errors


def test_chi2_per_degree_of_freedom_is_one(large):
    report = large[1].report
    # 15,000 numbers scatter by 1.2 %; clipping at 5 sigma takes nothing measurable of good ones
    assert report["chi2_per_degree"] == pytest.approx(1, abs=0.02)
    assert report["held_out"]["chi2_per_degree"] == pytest.approx(1, abs=0.1)  # a tenth of the stars
    assert report["converged"] and report["degrees_of_freedom"] > 14_000


def test_outliers_are_rejected_and_good_measurements_kept(large):
    simulated, result = large
    state, outlier = result.residuals.state.values, simulated.truth.outlier
    pulled = np.sqrt(result.residuals.chi2.values) > 8  # in sigma: the mildest blends cannot be told
    assert (state[outlier & pulled & (state < 2)] == 1).all()
    assert (
        np.mean(state[~outlier & (state < 2)] == 1) < 3e-3
    )  # those whose star has a blend beside them, mostly


def test_places_of_stars_have_normal_pulls(large):
    pulls, _ = star_pulls(*large)
    assert rms(pulls) == pytest.approx(1, abs=0.15)  # errors are at fixed mappings, which adds a little
    assert np.abs(pulls.mean(1)).max() < 0.15
    assert np.mean(np.abs(pulls) > 3) < 0.02


def test_predicted_errors_of_the_mapping_are_those_against_the_truth(large):
    simulated, result = large
    x, y = grid(simulated, 5)
    pulls = []
    for exposure, detector in images(simulated):
        away = apart_mas(
            *result.sky(exposure, detector, x, y), *simulated.truth.sky(exposure, detector, x, y)
        )
        pulls.append(away.T / result.predicted_error(exposure, detector, x, y))
    assert rms(pulls) == pytest.approx(1, abs=0.15)
    assert score(simulated, result.sky) < 0.8  # mas; 10 mas is what a faint star scatters by


def test_a_fit_gives_the_same_for_any_order_of_rows_and_images(large):
    simulated, result = large
    rng = np.random.default_rng(5)
    m = simulated.measured
    rows, order = rng.permutation(m.sizes["measured"]), rng.permutation(m.sizes["image"])
    mixed = m.isel(measured=rows, image=order)
    mixed = mixed.assign(image=mixed.image.copy(data=np.argsort(order)[mixed.image.values].astype(np.int32)))
    exposures = simulated.exposures.isel(exposure=rng.permutation(8))
    # stars are numbered anew, so another tenth would be held out: the mappings rest on all of them in the end
    again = fit(mixed, simulated.reference, exposures)
    assert largest_difference_mas(simulated, result, again) < 0.02  # a hundredth of the error
    assert again.report["rejected"] == pytest.approx(result.report["rejected"], abs=2)
    assert sorted(again.measured.id.values) == sorted(m.id.values)


def test_a_fit_does_not_depend_on_the_number_of_threads(large, monkeypatch):
    simulated, result = large
    monkeypatch.setenv("OBSLAB_THREADS", "1")
    one = fit(*simulated.loaded)
    monkeypatch.setenv("OBSLAB_THREADS", "5")
    five = fit(*simulated.loaded)
    assert np.array_equal(one.outcome.solver.state.inner, five.outcome.solver.state.inner)
    assert np.array_equal(one.outcome.solver.state.stars, five.outcome.solver.state.stars)
    assert np.array_equal(one.residuals.state.values, result.residuals.state.values)


def test_input_tables_are_left_as_they_were():
    simulated = small()
    before = [table.copy(deep=True) for table in simulated.loaded]
    fit(*simulated.loaded)
    for table, copy in zip(simulated.loaded, before, strict=True):
        assert table.identical(copy)


# ---- models


def test_simple_and_constrained_models_count_their_mappings():
    simulated, result = base()
    simple = fit(*simulated.loaded, model="simple")
    assert (result.report["mappings"], simple.report["mappings"]) == (4 + 6, 24)
    assert (
        "exposure 4 is held" in result.report["mappings_are"]
        and "24 mappings" in simple.report["mappings_are"]
    )
    assert score(simulated, simple.sky) < 3 and score(simulated, result.sky) < 1.3  # mas
    assert simple.report["parameters"] == 24 * 2 * 10
    assert result.report["parameters"] == 4 * 2 * 15 + 5 * 2 * 6


def test_instrument_epochs_have_detectors_of_their_own():
    simulated = small(instruments=2, exposures=8)
    result = fit(*simulated.loaded)
    assert score(simulated, result.sky) < 1.6
    assert result.report["mappings"] == 2 * 4 + 8
    together = simulated.exposures.assign(instrument=simulated.exposures.instrument.copy(data=["one"] * 8))
    wrong = fit(simulated.measured, simulated.reference, together, on_trouble="exclude")
    assert score(simulated, wrong.sky) > 3 * score(simulated, result.sky)


def test_fixed_detectors_need_few_stars_on_new_exposures():
    simulated = small(exposures=8, stars_per_detector=120)
    earlier = fit(*subset(Loaded(*simulated.loaded), exposures=[0, 1, 2, 3, 4, 5]))
    rest = subset(Loaded(*simulated.loaded), exposures=[6, 7])
    result = fit(*rest, fixed=earlier)
    free = fit(*rest)
    one, other = (r.outcome.solver.state.inner * r.assembled.problem.unit for r in (result, earlier))
    assert one == pytest.approx(other, abs=1e-15)  # degrees
    part = dataclasses.replace(simulated, measured=rest.measured)
    assert score(part, result.sky) < 0.7 * score(part, free.sky)
    assert result.report["parameters"] == 2 * 2 * 6


def turned(simulated, turns):
    """The same sky seen by a camera that is turned by ``turns`` quarters at each exposure: x, y and WCS."""
    m = simulated.measured.copy(deep=True)
    mid = (simulated.truth.camera.pixels + 1) / 2
    count = simulated.truth.camera.detectors
    for e, turn in enumerate(turns):
        for _ in range(turn):
            mine = m.exposure.values[m.image.values] == e
            x, y = m.x.values[mine] - mid, m.y.values[mine] - mid
            m.x.values[mine], m.y.values[mine] = mid - y, mid + x
            i = np.flatnonzero(m.exposure.values == e)
            start = m.start.values[i].copy()  # f(u, v), where now u = v', v = -u'
            m.start.values[i, :, 1], m.start.values[i, :, 2] = -start[:, :, 2], start[:, :, 1]
    assert count == 1
    return m


def test_a_camera_turned_by_90_and_180_degrees_is_fitted():
    simulated = simulate(rng=2, detectors=(1, 1), exposures=6, stars_per_detector=250, dither_deg=0.02)
    measured = turned(simulated, [0, 1, 2, 3, 0, 2])
    result = fit(measured, simulated.reference, simulated.exposures, model="simple")
    assert result.report["chi2_per_degree"] == pytest.approx(1, abs=0.06)
    mid, away = (simulated.truth.camera.pixels + 1) / 2, np.array([-700.0, 0.0, 400.0])
    for exposure, (x, y) in {1: (mid - away[::-1], mid + away), 2: (mid - away, mid - away[::-1])}.items():
        there = simulated.truth.sky(exposure, 0, mid + away, mid + away[::-1])
        assert rms(apart_mas(*result.sky(exposure, 0, x, y), *there)) < 3


def test_a_rotator_camera_keeps_its_detector_through_a_turn():
    # A detector without a warp of its own shows the same after half a turn: constrained mapping and free
    # exposure.
    simulated = simulate(rng=2, detectors=(1, 1), exposures=6, stars_per_detector=250, dither_deg=0.02)
    warp = simulated.truth.camera.warp
    assert rms(warp) * 263 < 50  # mas: small, and in pixels turned with the camera it does not fit
    measured = turned(simulated, [0, 1, 2, 3, 0, 2])
    result = fit(measured, simulated.reference, simulated.exposures)
    x, y = grid(simulated, 4)
    assert np.isfinite(result.sky(1, 0, x, y)).all()
    assert result.report["rejected"] < 0.05 * result.report["measurements"]


@pytest.mark.parametrize("center", [(30.0, 89.5), (0.02, -30.0)], ids=["pole", "RA 0"])
def test_fields_at_the_pole_and_across_ra_zero_are_as_any_other(center):
    simulated = small(center=center)
    result = fit(*simulated.loaded)
    assert score(simulated, result.sky) < 1.4
    pulls, _ = star_pulls(simulated, result)
    assert rms(pulls) == pytest.approx(1, abs=0.2)
    assert np.all((result.fitted.ra.values >= 0) & (result.fitted.ra.values < 360))


def test_a_tangent_point_of_ones_own_gives_the_same_sky():
    simulated = small()
    moved = simulated.exposures.copy(deep=True)
    moved.ra.values[:] += np.linspace(-0.2, 0.3, 6)
    moved.dec.values[:] -= np.linspace(-0.1, 0.2, 6)
    result = fit(*simulated.loaded, shrinkage=False)  # whose prior would be of other coefficients
    other = fit(simulated.measured, simulated.reference, moved, shrinkage=False)
    # polynomials about another point are others by their truncation, far less than their errors
    assert largest_difference_mas(simulated, result, other) < 0.3
    assert other.assembled.frames[0, 2] @ result.assembled.frames[0, 2] < np.cos(np.radians(0.1))


@pytest.mark.parametrize("what", [{"exposures": [0, 2, 4, 5]}, {"detectors": [1, 2]}, {"bands": ["r"]}])
def test_subsets_are_fitted_by_themselves(what):
    simulated = small(bands=("r", "i"))
    part = subset(Loaded(*simulated.loaded), **what)
    result = fit(*part)
    assert score(dataclasses.replace(simulated, measured=part.measured), result.sky) < 2
    assert result.measured.sizes["image"] < simulated.measured.sizes["image"]


# ---- refraction


def test_refraction_of_each_band_comes_back_within_its_error():
    simulated = small(
        refraction_mas=frozenset({"r": 20.0, "g": 45.0}.items()), bands=("r", "g"), measured_color=True
    )
    result = fit(*simulated.loaded, refraction="tan z")
    covariance = result.covariance()
    for band, k in {"r": 20.0, "g": 45.0}.items():
        error = covariance.of(f"refraction {band}")
        assert 0.1 < error < 3  # mas per mag
        assert result.report["terms"][f"refraction {band}"]["mas_per_mag"] == pytest.approx(
            k, abs=3.5 * error
        )
    assert score(simulated, partial(result.sky, color=simulated.truth.color_zero)) < 1.4
    without = fit(*simulated.loaded)
    assert result.report["chi2_per_degree"] == pytest.approx(1, abs=0.05)
    assert without.report["chi2_per_degree"] > 1.3


def test_stars_without_a_color_are_taken_as_of_the_mean_one():
    simulated = small(refraction_mas=20.0)  # colors of the reference only: two thirds of the stars have none
    result = fit(*simulated.loaded, refraction="tan z")
    color = result.residuals.color.values[result.residuals.star.values >= 0]
    assert 0.2 < np.mean(np.isnan(color)) < 0.8
    k = result.report["terms"]["refraction r"]["mas_per_mag"]
    assert k == pytest.approx(20, abs=4 * result.covariance().of("refraction r"))
    nobody = simulated.reference.copy(deep=True)
    nobody.color.values[:] = np.nan
    with pytest.raises(ValueError, match="no star has a color"):
        fit(simulated.measured, nobody, simulated.exposures, refraction="tan z")


def test_constant_refraction_ignores_the_airmass():
    simulated = small(refraction_mas=25.0, measured_color=True)
    level = simulated.exposures.assign(airmass=("exposure", np.full(6, np.nan)))
    level.airmass.attrs = simulated.exposures.airmass.attrs
    result = fit(simulated.measured, simulated.reference, level, refraction="constant")
    tan_z = np.sqrt(simulated.exposures.airmass.values**2 - 1)
    k = result.report["terms"]["refraction r"]["mas_per_mag"]
    assert 25 * tan_z.min() < k < 25 * tan_z.max()
    with pytest.raises(ValueError, match="no airmass"):
        fit(simulated.measured, simulated.reference, level, refraction="tan z")


# ---- templates


def test_strengths_of_templates_come_back():
    simulated = small(stars_per_detector=250, edge_pixel=0.3, ring_pixel=0.1)
    camera = simulated.truth.camera
    at, away = camera.edge_table()
    rings = [
        Template(
            f"rings{d}", "r", *map(tuple, camera.ring_table()), tuple(camera.ring_center[d]), detectors=(d,)
        )
        for d in range(4)
    ]
    edges = [
        Template("left", "x", tuple(at + 0.5), tuple(away)),
        Template("bottom", "y", tuple(at + 0.5), tuple(away)),
        Template("right", "x", tuple(camera.pixels + 0.5 - at[::-1]), tuple(-away[::-1])),
        Template("top", "y", tuple(camera.pixels + 0.5 - at[::-1]), tuple(-away[::-1])),
    ]
    result = fit(*simulated.loaded, terms=[*rings, *edges])
    covariance = result.covariance()
    pulls = [(term["strength"] - 1) / covariance.of(name) for name, term in result.report["terms"].items()]
    # the table holds at measured places, the true displacement at true ones: second order, 1 % of it
    assert len(pulls) == 8 and max(map(abs, pulls)) < 4 and rms(pulls) < 2
    assert score(simulated, result.sky, margin_pixel=5) < 0.6 * score(
        simulated, fit(*simulated.loaded).sky, margin_pixel=5
    )


def test_a_fixed_template_is_taken_as_it_is():
    simulated = small(ring_pixel=0.1)
    camera = simulated.truth.camera
    at, size = map(tuple, camera.ring_table())
    rings = [
        Template(f"rings{d}", "r", at, size, tuple(camera.ring_center[d]), detectors=(d,), fixed=True)
        for d in range(4)
    ]
    result = fit(*simulated.loaded, terms=rings)
    assert [term["strength"] for term in result.report["terms"].values()] == [1.0] * 4
    assert result.report["chi2_per_degree"] < fit(*simulated.loaded).report["chi2_per_degree"] - 0.2


# ---- errors that differ by direction


def test_error_ellipses_are_used():
    simulated = small(elongation=2.0)
    result = fit(*simulated.loaded)
    assert result.report["chi2_per_degree"] == pytest.approx(1, abs=0.05)
    pulls, _ = star_pulls(simulated, result)
    assert rms(pulls) == pytest.approx(1, abs=0.15)
    table = result.residuals
    used = table.state.values == 0
    apart = table.xi_error.values[used] / table.eta_error.values[used]
    assert np.percentile(apart, 95) > 1.5
    covariance = table.covariance.values[used] / table.xi_error.values[used] / table.eta_error.values[used]
    assert np.abs(covariance).max() == pytest.approx(
        0.6, abs=0.01
    )  # (4 - 1) / (4 + 1) of an ellipse at 45 deg
    assert not fooled(simulated, result).all()


# ---- progress


def test_progress_is_told_of_every_iteration():
    simulated, _ = base()
    told = []
    again = fit(*simulated.loaded, progress=told.append)
    assert [i.asdict() for i in told] == again.report["history"]
    assert told[-1].step_sigma < 0.1 and told[-1].degrees_of_freedom == again.report["degrees_of_freedom"]
    assert {i.stage for i in told} == {"mappings+positions", "with held-out stars"}
    assert told[-1].used + told[-1].rejected == again.report["measurements"]
    assert told[-1].rejected == again.report["rejected"] > 0


def test_a_cancelled_fit_leaves_nothing_behind():
    simulated, result = base()
    copies = [table.copy(deep=True) for table in simulated.loaded]
    with pytest.raises(CancelledError):
        fit(*simulated.loaded, association=result.association, progress=lambda i: i.number < 1)
    assert all(table.identical(copy) for table, copy in zip(simulated.loaded, copies, strict=True))
    again = fit(*simulated.loaded, association=result.association)
    assert largest_difference_mas(simulated, result, again) < 1e-6  # what sky() itself rounds to
    with pytest.raises(CancelledError):
        result.refit({"exposure": 2}, progress=lambda i: False)
    assert largest_difference_mas(simulated, result, again) < 1e-6


def test_no_clip_keeps_every_outlier_and_no_holdout_judges_nobody():
    simulated, result = base()
    everything = fit(*simulated.loaded, clip_sigma=0, holdout=0)
    assert everything.report["rejected"] == 0 and everything.report["held_out"] is None
    assert everything.report["chi2_per_degree"] > 5
    assert not everything.fitted.held_out.values.any() and result.fitted.held_out.values.sum() > 50


def test_too_few_iterations_are_said():
    report = fit(*small().loaded, most_iterations=1).report
    assert not report["converged"] and any("not converged" in note for note in report["notes"])
