"""Error floors, given and found."""

import numpy as np
import pytest
from jointfit.simulated_fits import CLEAN, small

from obslab.jointfit import default_selection, fit
from obslab.jointfit.fitting.floors import Covariances

NOISY = {**CLEAN, "exposures": 8, "stars_per_detector": 250, "floor_mas": 5.0}


@pytest.mark.parametrize("elongation", [1.0, 2.0], ids=["round", "ellipses"])
def test_a_floor_of_5_mas_is_found_within_5_percent(elongation):
    simulated = small(**NOISY, elongation=elongation)
    result = fit(*simulated.loaded, floor_mas="fit")
    # 16,000 numbers, of which the brighter half tells of the floor
    assert result.report["floor_mas"] == [pytest.approx(5, rel=0.05)]
    assert result.report["chi2_per_degree"] == pytest.approx(1, abs=0.03)
    assert result.report["held_out"]["chi2_per_degree"] == pytest.approx(1, abs=0.12)
    assert fit(*simulated.loaded).report["chi2_per_degree"] > 1.3


def test_a_given_floor_is_as_good_as_the_one_found():
    simulated = small(**NOISY)
    given, found = fit(*simulated.loaded, floor_mas=5.0), fit(*simulated.loaded, floor_mas="fit")
    assert given.report["chi2_per_degree"] == pytest.approx(found.report["chi2_per_degree"], abs=0.03)
    errors = given.residuals.xi_error.values, fit(*simulated.loaded).residuals.xi_error.values
    used = np.isfinite(errors[0]) & np.isfinite(errors[1])
    assert errors[0][used] ** 2 - errors[1][used] ** 2 == pytest.approx(25, abs=0.1)  # mas2


def test_floors_of_exposures_and_of_rows_are_their_own():
    simulated = small(**CLEAN, exposures=6, stars_per_detector=300)
    measured = simulated.measured.copy(deep=True)
    rng = np.random.default_rng(8)
    bad = measured.exposure.values[measured.image.values] == 2
    for name in ("x", "y"):
        measured[name].values[bad] += rng.normal(0, 0.04, bad.sum())  # 10.5 mas
    result = fit(measured, simulated.reference, simulated.exposures, floor_mas="fit per exposure")
    floors = result.report["floor_mas"]
    assert len(floors) == 6 and floors[2] == pytest.approx(0.04 * 263, rel=0.08)
    assert max(np.delete(floors, 2)) < 2
    rows = fit(measured, simulated.reference, simulated.exposures, floor_mas=np.where(bad, 10.52, 0.0))
    assert rows.report["chi2_per_degree"] == pytest.approx(1, abs=0.04)


def test_no_floor_is_found_where_there_is_none():
    simulated = small(**CLEAN, exposures=8, stars_per_detector=250)
    assert (
        fit(*simulated.loaded, floor_mas="fit").report["floor_mas"][0] < 1
    )  # of 3 mas and more, the smallest errors


def test_floors_between_images_are_in_mas_as_well():
    simulated = small(**CLEAN, floor_mas=20.0, stars_per_detector=250)
    selected = default_selection(simulated.measured)
    result = fit(
        simulated.measured, None, simulated.exposures, select=selected, projector="identity", floor_mas="fit"
    )
    assert result.report["floor_mas"] == [pytest.approx(20, rel=0.08)]
    given = fit(
        simulated.measured, None, simulated.exposures, select=selected, projector="identity", floor_mas=20.0
    )
    assert given.report["chi2_per_degree"] == pytest.approx(1, abs=0.05)


def test_a_variance_is_added_to_ellipses_along_both_axes():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(5, 2, 2))
    covariance = root @ root.swapaxes(1, 2) + 0.1 * np.eye(2)
    packed = [np.linalg.inv(covariance)[:, i, j] for i, j in ((0, 0), (0, 1), (1, 1))]
    weight = np.array(packed, np.float32)
    weight[:, 2] = 0
    wider = Covariances.of(weight).weights(np.full(5, 0.5))
    expected = np.linalg.inv(covariance + 0.5 * np.eye(2))
    kept = [0, 1, 3, 4]
    for part, (i, j) in enumerate(((0, 0), (0, 1), (1, 1))):
        assert wider[part, kept] == pytest.approx(expected[kept, i, j], rel=1e-4)
    assert not wider[:, 2].any()
