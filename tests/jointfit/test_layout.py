"""Which polynomials an image's mapping is made of."""

import numpy as np
import pytest
import xarray as xr

from obslab.jointfit.fitting.starting import start
from obslab.jointfit.mapping.layout import MODELS, ModelError, layout
from obslab.jointfit.polynomial import basis, chebyshev_grid


def _tables(exposures=10, detectors=36, instruments=None):
    count = exposures * detectors
    exposure = np.repeat(np.arange(exposures) * 3 + 100, detectors)
    detector = np.tile(np.arange(detectors) + 1, exposures)
    names = np.array([f"{e}_{d}" for e, d in zip(exposure, detector, strict=True)])
    images = xr.Dataset(
        {"exposure": ("image", exposure), "detector": ("image", detector), "name": ("image", names)}
    )
    kinds = np.array(instruments or ["camera"] * exposures)
    table = xr.Dataset(
        {"exposure": ("exposure", np.arange(exposures) * 3 + 100), "instrument": ("exposure", kinds)}
    )
    assert images.sizes["image"] == count
    return images, table


def test_ten_exposures_of_36_detectors_are_360_mappings_or_46():
    images, exposures = _tables()
    weight = np.ones(10)
    assert layout("simple", images, exposures, weight).mappings == 360
    assert layout("constrained", images, exposures, weight).mappings == 46


@pytest.mark.parametrize("model", MODELS)
def test_each_image_has_an_inner_and_an_outer_mapping_and_something_is_held(model):
    images, exposures = _tables(5, 4)
    plan = layout(model, images, exposures, np.arange(5))
    count = images.sizes["image"]
    assert plan.model == model and len(plan.inner) == len(plan.outer) == count
    assert set(plan.inner.tolist()) == set(range(len(plan.inner_names)))
    assert set(plan.outer.tolist()) == set(range(len(plan.outer_names)))
    assert len(plan.held_inner) == len(plan.inner_names) and len(plan.held_outer) == len(plan.outer_names)
    assert plan.held_outer.sum() == 1
    assert len(set(zip(plan.inner.tolist(), plan.outer.tolist(), strict=True))) == count
    assert len(plan.exposure_of_outer) == len(plan.outer_names)
    assert f"{plan.mappings} mappings" in plan.sentence()


def test_images_of_one_detector_share_a_mapping_and_so_do_those_of_one_exposure():
    images, exposures = _tables(5, 4)
    plan = layout("constrained", images, exposures, np.ones(5))
    for detector in range(1, 5):
        mine = plan.inner[images.detector.values == detector]
        assert len(set(mine.tolist())) == 1 and plan.inner_names[mine[0]] == f"detector {detector}"
    for exposure in exposures.exposure.values:
        mine = plan.outer[images.exposure.values == exposure]
        assert len(set(mine.tolist())) == 1 and plan.outer_names[mine[0]] == f"exposure {exposure}"


def test_the_best_measured_exposure_is_held_or_the_one_that_is_named():
    images, exposures = _tables(5, 4)
    weight = np.array([3, 9, 4, 8, 1])
    assert np.flatnonzero(layout("constrained", images, exposures, weight).held_outer).tolist() == [1]
    plan = layout("constrained", images, exposures, weight, held=112)
    assert np.flatnonzero(plan.held_outer).tolist() == [4]
    assert "exposure 112 is held" in plan.sentence()
    with pytest.raises(ModelError, match="exposure 101 cannot be held"):
        layout("constrained", images, exposures, weight, held=101)


def test_a_camera_that_was_taken_apart_has_detectors_and_a_held_exposure_of_each_time():
    images, exposures = _tables(6, 3, ["before"] * 2 + ["after"] * 4)
    plan = layout("constrained", images, exposures, np.array([1, 2, 3, 6, 5, 4]))
    assert plan.inner_names[0] == "before/detector 1" and len(plan.inner_names) == 6
    assert np.flatnonzero(plan.held_outer).tolist() == [1, 3]
    # The one that is named is held in its own time, and nothing changes in the other.
    plan = layout("constrained", images, exposures, np.array([1, 2, 3, 6, 5, 4]), held=115)
    assert np.flatnonzero(plan.held_outer).tolist() == [1, 5]


def test_images_in_any_order_and_exposures_that_have_none():
    images, exposures = _tables(5, 4)
    shuffled = images.isel(image=np.random.default_rng(0).permutation(20)[:15])
    shuffled = shuffled.isel(image=shuffled.exposure.values != 106)
    plan = layout("constrained", shuffled, exposures, np.array([1, 1, 0, 1, 1]))
    for n in range(shuffled.sizes["image"]):
        assert plan.outer_names[plan.outer[n]] == f"exposure {int(shuffled.exposure[n])}"
        assert plan.inner_names[plan.inner[n]] == f"detector {int(shuffled.detector[n])}"
    assert len(plan.outer_names) == 5 and not plan.held_outer[2]


def test_a_model_is_any_function_of_the_tables():
    images, exposures = _tables(2, 2)

    def mine(images, exposures, weight, *, degree, **_):
        return MODELS["simple"](images, exposures, weight, degree=degree + 1)

    assert layout(mine, images, exposures, np.ones(2), degree=2).inner_degree == 3
    with pytest.raises(ModelError, match="no model 'cubic': simple, constrained are there"):
        layout("cubic", images, exposures, np.ones(2))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("turn_deg", [0.0, 120.0])
def test_mappings_start_as_the_grid_they_are_given(model, turn_deg):
    images, exposures = _tables(4, 2, ["a", "a", "b", "b"])
    plan = layout(model, images, exposures, np.array([2, 1, 1, 2]), device_degree=3, degree=3)
    rng = np.random.default_rng(3)
    u, v = chebyshev_grid(8)
    offset = np.array([(-0.5, 0.0), (0.5, 0.0)])
    grid = []
    for e in range(4):
        angle = np.radians(turn_deg * e)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = rng.normal(0, 0.01, 2)
        grid += [
            (np.stack([0.4 * u, 0.4 * v + 0.01 * u * v], -1) + offset[d]) @ turn.T + shift for d in range(2)
        ]
    inner, outer = start(plan, np.array(grid))
    for n, want in enumerate(grid):
        focal = basis(plan.inner_degree)(u, v) @ inner[plan.inner[n]].T
        place = basis(plan.outer_degree)(focal[:, 0], focal[:, 1]) @ outer[plan.outer[n]].T
        assert np.abs(place - want).max() < 1e-12
