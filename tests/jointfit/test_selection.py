"""What can be used and what is selected, against selections worked out one measurement at a time."""

import time

import numpy as np
import pytest
import xarray as xr
from jointfit.catalogues import SCALE
from scipy.spatial import cKDTree

from obslab.jointfit.datasets import MEASURED, REFERENCE
from obslab.jointfit.selection import (
    SelectionError,
    chosen,
    default_selection,
    isolated,
    usable,
    usable_reference,
)


def measured(rows_of_image=(40, 0, 60), seed=0, **columns):
    rng = np.random.default_rng(seed)
    rows, images = sum(rows_of_image), len(rows_of_image)
    flux = rng.uniform(100, 1000, rows)
    base = {
        "id": np.arange(rows),
        "image": np.repeat(np.arange(images, dtype=np.int32), rows_of_image),
        "x": rng.uniform(1, 2048, rows),
        "y": rng.uniform(1, 2048, rows),
        "sigma": np.full(rows, 0.03),
        "flux": flux,
        "flux_error": flux / 50,
        "flags": np.zeros(rows, np.int32),
        "name": np.array([f"e{n:03d}_c01" for n in range(images)]),
        "exposure": np.arange(images),
        "detector": np.ones(images, np.int32),
        "mid": np.full((images, 2), 1024.5),
        "half": np.full((images, 2), 1024.0),
        "crval": np.zeros((images, 2)),
        "start": np.tile([[0, -SCALE * 1024, 0], [0, 0, SCALE * 1024]], (images, 1, 1)),
    }
    return MEASURED.build(**{**base, **columns})


def test_what_cannot_be_used_is_counted_under_its_first_reason():
    made = measured()
    made.x[0], made.y[1], made.x[2] = np.nan, np.inf, -np.inf
    made.sigma[2], made.sigma[3], made.sigma[4], made.sigma[5] = 0, -1, np.nan, np.inf
    made.flux[6] = np.nan
    made.flux_error[7], made.flux_error[8] = 0, np.nan
    mask, counts = usable(made)
    assert np.flatnonzero(~mask).tolist() == list(range(9))
    assert counts == {
        "position is not finite": 3,
        "position error is not positive": 3,
        "flux is not finite": 1,
        "flux error is not positive": 2,
    }


def test_an_error_ellipse_must_be_one():
    ones = np.full(100, 0.02, np.float32)
    made = measured(sigma_x=ones, sigma_y=ones, covariance_xy=np.zeros(100, np.float32))
    made.covariance_xy[3] = 0.02**2 * 1.01
    made.sigma_y[4] = np.nan
    mask, counts = usable(made)
    assert np.flatnonzero(~mask).tolist() == [3, 4]
    assert counts["error ellipse is none"] == 2


def test_the_default_asks_for_signal_no_flags_and_room():
    made = measured()
    made.flux_error[0] = made.flux[0] / 9.9
    made.flags[1], made.flags[2] = 4, 1
    made.x[4], made.y[4] = made.x[3] + 1.0, made.y[3] + 1.0  # 0.37 arcsec
    made.x[50], made.y[50] = made.x[5], made.y[5]  # in another image
    made.sigma[6] = -1
    assert np.flatnonzero(~default_selection(made)).tolist() == [0, 1, 2, 3, 4, 6]
    assert np.flatnonzero(~default_selection(made, allowed_flags=3)).tolist() == [0, 1, 3, 4, 6]
    assert np.flatnonzero(~default_selection(made, isolation_arcsec=0)).tolist() == [0, 1, 2, 6]
    assert np.flatnonzero(~default_selection(made, minimum_snr=5, isolation_arcsec=0.3)).tolist() == [1, 2, 6]


@pytest.mark.parametrize("radius_arcsec", [0.5, 5.0, 60.0, 900.0])
def test_neighbours_are_those_of_a_tree(radius_arcsec):
    made = measured((300, 1, 0, 500, 2), seed=4)
    made.x[7] = np.nan
    alone = isolated(made, radius_arcsec)
    for image in range(5):
        rows = np.flatnonzero((made["image"].values == image) & np.isfinite(made.x.values))
        places = np.stack([made.x.values[rows], made.y.values[rows]], 1)
        pairs = cKDTree(places).query_pairs(radius_arcsec / 3600 / SCALE) if rows.size else ()
        crowded = {rows[n] for pair in pairs for n in pair}
        assert set(rows[~alone[rows]]) == crowded
    assert alone[7]


def test_neighbours_are_found_in_clumps_lines_and_far_away():
    made = measured((100,))
    made.y[:] = 17.0
    made.x[:] = np.arange(100) * 10.0
    assert isolated(made, 9.9 * SCALE * 3600).all()
    assert not isolated(made, 10.1 * SCALE * 3600).any()
    made.x[:] = 17.0
    assert not isolated(made, 0.1).any()
    made.x[0] = made.y[0] = 1e12
    assert np.flatnonzero(isolated(made, 0.1)).tolist() == [0]


def test_neighbours_do_not_depend_on_the_number_of_threads(monkeypatch):
    made = measured((300,) * 7, seed=1)
    alone = isolated(made, 5.0)
    monkeypatch.setenv("OBSLAB_THREADS", "1")
    np.testing.assert_array_equal(isolated(made, 5.0), alone)
    assert 0 < (~alone).sum() < alone.size


def test_a_selection_of_ones_own_is_combined_with_what_can_be_used():
    made = measured()
    made.x[0] = np.nan
    wanted = made.flux.values > 500
    wanted[0] = True
    mask, counts = chosen(made, wanted)
    np.testing.assert_array_equal(mask, wanted & (np.arange(100) > 0))
    assert counts["position is not finite"] == 1
    assert counts["not selected"] == (~wanted[1:]).sum()
    bright = xr.DataArray(default_selection(made), dims="measured") & (made.flux > 500)
    np.testing.assert_array_equal(chosen(made, bright)[0], mask)
    np.testing.assert_array_equal(chosen(made)[0], default_selection(made))


def test_a_selection_that_is_none_or_leaves_nothing_is_refused():
    made = measured()
    for wrong in (np.ones(99, bool), np.arange(100), [True]):
        with pytest.raises(SelectionError, match="one boolean for each of 100 measurements"):
            chosen(made, wrong)
    made.sigma[:90] = -1
    with pytest.raises(
        SelectionError, match="left of 100: 90 position error is not positive, 10 not selected"
    ):
        chosen(made, np.zeros(100, bool))


def test_reference_stars_without_place_error_or_epoch_are_counted():
    rows = {name: np.ones(6) for name in REFERENCE.variables}
    rows["ra"][0], rows["dec"][1], rows["ra_error"][2], rows["dec_error"][3] = np.nan, 91, 0, np.nan
    rows["epoch"][4] = np.nan
    mask, counts = usable_reference(REFERENCE.build(**rows))
    assert mask.tolist() == [False] * 5 + [True]
    assert list(counts.values()) == [2, 2, 1]


def test_a_million_measurements_take_a_moment():
    made = measured((1000,) * 1000)
    default_selection(made)
    times = []
    for _ in range(5):
        begin = time.process_time()
        default_selection(made)
        times.append(time.process_time() - begin)
    assert min(times) < 0.3  # 0.03 s on an idle machine of two cores
