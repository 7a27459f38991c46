"""Friends of friends against the connected components of a k-d tree's pairs."""

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from obslab.jointfit.association.friends import friends


def components(x, y, radius):
    """The first member of each point's connected component, by SciPy."""
    pairs = cKDTree(np.column_stack([x, y])).query_pairs(radius, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(x), len(x)))
    label = connected_components(graph, directed=False)[1]
    first = np.full(label.max() + 1, len(x))
    np.minimum.at(first, label, np.arange(len(x)))
    return first[label]


def heaps(rng, scatter, count=1000, each=12):
    """Stars in a unit square, each measured some times."""
    star = np.repeat(rng.uniform(0, 1, (2, count)), rng.integers(1, each, count), axis=1)
    return star + rng.normal(0, scatter, star.shape)


@pytest.mark.parametrize("radius", [1e-4, 1e-3, 5e-3, 3e-2])
@pytest.mark.parametrize("scatter", [1e-5, 1e-3, 8e-3])
def test_groups_are_the_connected_components(scatter, radius):
    # From heaps far smaller than the radius to a scatter where nearly everything hangs together.
    x, y = heaps(np.random.default_rng(3), scatter)
    np.testing.assert_array_equal(friends(x, y, radius), components(x, y, radius))


def test_points_spread_evenly_near_percolation_keep_their_groups():
    # Long winding chains: 4.5 / (4 n) of the area is where a largest group begins to span the square.
    x, y = np.random.default_rng(4).uniform(0, 1, (2, 20_000))
    radius = np.sqrt(4.5 / np.pi / 20_000)
    label = friends(x, y, radius)
    np.testing.assert_array_equal(label, components(x, y, radius))
    assert np.bincount(label).max() > 1000


def test_points_on_a_line_and_points_at_one_place_are_grouped():
    x = np.random.default_rng(5).uniform(0, 1, 2000)
    np.testing.assert_array_equal(friends(x, 0 * x, 1e-3), components(x, 0 * x, 1e-3))
    assert (friends(np.ones(50), np.ones(50), 1e-3) == 0).all()


def test_heaps_whose_first_points_are_apart_join_by_their_nearest():
    # Radius 1: 0 and 1.6 are no friends, nor are 0 and 1.2, but 0.4 and 1.2 are.
    assert friends(np.array([0.0, 1.6, 0.4, 1.2]), np.zeros(4), 1.0).tolist() == [0, 0, 0, 0]
    assert friends(np.array([0.0, 1.6, 0.4, 1.45]), np.zeros(4), 1.0).tolist() == [0, 1, 0, 1]


def test_a_distance_of_the_radius_still_counts():
    assert friends(np.array([0.0, 1.0, 2.125]), np.zeros(3), 1.0).tolist() == [0, 0, 2]


def test_points_that_are_nan_belong_to_no_group():
    x, y = heaps(np.random.default_rng(6), 1e-3)
    lost = np.random.default_rng(7).random(len(x)) < 0.2
    label = friends(np.where(lost, np.nan, x), y, 3e-3)
    kept = np.flatnonzero(~lost)
    assert (label[lost] == -1).all()
    np.testing.assert_array_equal(label[kept], kept[components(x[kept], y[kept], 3e-3)])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_usable_points_make_no_group(count):
    assert (friends(np.full(count, np.nan), np.zeros(count), 1.0) == -1).all()
    assert friends(np.zeros(1), np.zeros(1), 1.0).tolist() == [0]


def test_the_order_of_the_points_changes_no_group():
    x, y = heaps(np.random.default_rng(8), 1e-3)
    label = friends(x, y, 3e-3)
    order = np.random.default_rng(9).permutation(len(x))
    shuffled = friends(x[order], y[order], 3e-3)
    back = np.empty_like(shuffled)
    back[order] = order[shuffled]  # of each point, some member of its group in the first order
    np.testing.assert_array_equal(label[back], label)
    assert len(np.unique(shuffled)) == len(np.unique(label))
