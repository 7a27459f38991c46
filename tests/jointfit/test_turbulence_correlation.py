from itertools import pairwise

import numpy as np
import pytest
from jointfit.turbulent_sky import Waves

from obslab.jointfit.turbulence import CorrelationError, correlation, curl_fraction


def sky(rng, curl, exposures=12, stars=1500):
    """exposure, positions, displacement of turbulence without noise."""
    positions = rng.uniform(0, 1, (exposures, stars, 2))
    displacement = np.stack([Waves(rng, curl=curl, waves=300)(p) for p in positions])
    return np.repeat(np.arange(exposures), stars), positions.reshape(-1, 2), displacement.reshape(-1, 2)


@pytest.mark.parametrize(("curl", "there", "none"), [(0, "xi_e", "xi_b"), (1, "xi_b", "xi_e")])
def test_gradients_are_all_xi_e_and_curls_all_xi_b(curl, there, none):
    exposure, positions, displacement = sky(np.random.default_rng(1), curl)
    found = correlation(positions, displacement, exposure=exposure)
    inner = found.isel(separation=(found.separation.values > 0.8) & (found.separation.values < 20))
    # 2 x 100 mas2 at zero; what is in the wrong one comes from the few pairs of the first bins
    assert np.abs(inner[none]).max() < 6
    assert np.abs(inner[none]).mean() < 2
    assert inner[there].values[:4].min() > 90
    assert inner[there].values == pytest.approx((inner.xi_plus - inner[none]).values)
    assert curl_fraction(found) == pytest.approx(curl, abs=0.03)


def test_independent_axes_are_half_gradient_half_curl():
    exposure, positions, displacement = sky(np.random.default_rng(2), None, exposures=20)
    found = correlation(positions, displacement, exposure=exposure)
    assert curl_fraction(found) == pytest.approx(0.5, abs=0.12)


def by_hand(positions, displacement, weights, edges):
    first, second = np.triu_indices(len(positions), 1)
    apart = positions[second] - positions[first]
    distance, phi = np.hypot(*apart.T), np.arctan2(apart[:, 1], apart[:, 0])
    z = displacement[:, 0] + 1j * displacement[:, 1]
    rows = []
    for low, high in pairwise(edges):
        k = (distance >= low) & (distance < high)
        a, b, w = z[first[k]], z[second[k]], (weights[first] * weights[second])[k]
        minus = (a * b * np.exp(-2j * phi[k])).real
        rows.append(
            [
                k.sum(),
                distance[k].mean() * 60,
                (w * (a * b.conj()).real).sum() / w.sum(),
                (w * minus).sum() / w.sum(),
            ]
        )
    return np.transpose(rows)


def test_correlation_is_that_of_all_pairs():
    rng = np.random.default_rng(3)
    positions, weights = rng.uniform(0, 1, (1500, 2)), rng.uniform(0.5, 2, 1500)
    displacement = Waves(rng)(positions)
    edges = np.geomspace(0.5 / 128, 0.5, 13)
    found = correlation(positions, displacement, weights=weights, bins=12, maximum_deg=0.5)
    pairs, separation, xi_plus, xi_minus = by_hand(positions, displacement, weights, edges)
    wide = slice(3, None)  # below that positions rounded to a cell move too many pairs to the next bin
    assert found.pairs.values[wide] == pytest.approx(pairs[wide], rel=0.03)
    assert found.separation.values[wide] == pytest.approx(separation[wide], rel=0.005)
    assert found.xi_plus.values[wide] == pytest.approx(xi_plus[wide], abs=4)  # of 200 mas2
    assert found.xi_minus.values[wide] == pytest.approx(xi_minus[wide], abs=4)


def test_every_pair_is_counted_once_and_none_across_exposures():
    rng = np.random.default_rng(4)
    positions, displacement = rng.uniform(0, 1, (400, 2)), rng.normal(size=(400, 2))
    # all but the few pairs nearer than 1/128 and farther than the longer side
    together = correlation(positions, displacement)
    assert together.pairs.sum() == pytest.approx(400 * 399 / 2, rel=0.05)
    apart = correlation(positions, displacement, exposure=np.arange(400) % 4)
    assert apart.pairs.sum() == pytest.approx(4 * 100 * 99 / 2, rel=0.05)
    two = correlation(np.array([[0.0, 0.0], [0.3, 0.4]]), np.array([[1.0, 2.0], [3.0, 4.0]]), maximum_deg=1.0)
    row = two.isel(separation=np.flatnonzero(two.pairs.values))
    assert row.pairs.values.tolist() == [1]
    assert row.separation.item() == pytest.approx(30, rel=0.01)
    assert row.xi_plus.item() == pytest.approx(11)
    cosine, sine = (0.09 - 0.16) / 0.25, 0.24 / 0.25
    assert row.xi_minus.item() == pytest.approx((3 - 8) * cosine + (4 + 6) * sine, rel=0.01)
    assert np.isnan(two.xi_plus.values[0])


def test_independent_noise_leaves_no_bias():
    rng = np.random.default_rng(5)
    positions, noise = rng.uniform(0, 1, (20000, 2)), rng.normal(0, 10, (20000, 2))
    found = correlation(positions, noise)
    # xi_plus of n pairs scatters by sqrt(2) 100 mas2 / sqrt(n); all 24 within four of that
    scatter = np.sqrt(2) * 100 / np.sqrt(found.pairs)
    assert np.abs(found.xi_plus / scatter).max() < 4
    assert np.abs(found.xi_minus / scatter).max() < 4


def test_result_does_not_depend_on_the_number_of_threads(monkeypatch):
    exposure, positions, displacement = sky(np.random.default_rng(6), None, exposures=7, stars=200)
    found = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OBSLAB_THREADS", threads)
        found.append(correlation(positions, displacement, exposure=exposure))
    assert found[0].identical(found[1])


def test_bad_rows_are_refused_by_name():
    positions, displacement = np.zeros((5, 2)), np.ones((5, 2))
    displacement[2, 0] = np.inf
    with pytest.raises(
        CorrelationError, match=r"displacement of row 2 is .*, and 1 of 5 rows are not finite"
    ):
        correlation(positions, displacement)
    with pytest.raises(CorrelationError, match=r"weights has shape \(4,\), wanted \(5,\)"):
        correlation(positions, np.ones((5, 2)), weights=np.ones(4))
    with pytest.raises(CorrelationError, match="1 displacements make no pair"):
        correlation(positions[:1], np.ones((1, 2)))
    with pytest.raises(CorrelationError, match="maximum_deg is 0"):
        correlation(positions, np.ones((5, 2)))
