"""Monomials, their order and their derivatives; numpy's own polynomials are what they are compared with."""

import numpy as np
import pytest
from numpy.polynomial import polynomial as plain

from obslab.jointfit.polynomial import Basis, basis, chebyshev_grid, degree_of, extended, terms
from obslab.jointfit.solve.blocks import BLOCK, evaluate, moments, monomials


def _table(degree, coefficients):
    """numpy's table c[i, j] of u^i v^j."""
    table = np.zeros((degree + 1, degree + 1))
    for n, (i, j) in enumerate(terms(degree)):
        table[i, j] = coefficients[n]
    return table


def test_terms_come_by_degree_and_then_by_the_power_of_v():
    assert terms(2) == ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2))
    assert [len(terms(d)) for d in range(8)] == [1, 3, 6, 10, 15, 21, 28, 36]
    assert terms(3) == terms(5)[:10]  # a lower degree is the beginning of a higher one


@pytest.mark.parametrize("degree", range(8))
def test_values_are_those_of_numpy(degree):
    rng = np.random.default_rng(degree)
    u, v = rng.uniform(-1, 1, (2, 50))
    coefficients = rng.normal(size=len(basis(degree)))
    want = plain.polyval2d(u, v, _table(degree, coefficients))
    assert np.allclose(basis(degree)(u, v) @ coefficients, want, rtol=0, atol=1e-13)
    assert degree_of(len(coefficients)) == degree


@pytest.mark.parametrize("degree", [0, 1, 4, 7])
def test_derivatives_are_those_of_numpy(degree):
    rng = np.random.default_rng(degree)
    u, v = rng.uniform(-1, 1, (2, 50))
    coefficients = rng.normal(size=(3, 2, len(basis(degree))))
    by_u, by_v = Basis(degree).derivatives(coefficients)
    assert by_u.shape == coefficients.shape
    table = _table(degree, coefficients[1, 0])
    for ours, axis in ((by_u, 0), (by_v, 1)):
        want = plain.polyval2d(u, v, plain.polyder(table, axis=axis))
        assert np.allclose(basis(degree)(u, v) @ ours[1, 0], want, rtol=0, atol=1e-12)


def test_counts_that_fit_no_degree_are_refused():
    with pytest.raises(ValueError, match="5 coefficients fit no degree"):
        degree_of(5)


def test_shapes_broadcast_and_the_identity_does_nothing():
    assert basis(3)(np.zeros((4, 1)), np.zeros(5)).shape == (4, 5, 10)
    assert basis(2)(0.5, -0.5).shape == (6,)
    u, v = chebyshev_grid(5)
    assert np.array_equal((basis(4)(u, v) @ basis(4).identity(2.0).T), np.stack([2 * u, 2 * v], -1))


def test_a_degree_can_be_raised_without_a_change_and_lowered():
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=(2, 2, 6))
    higher = extended(coefficients, 4)
    u, v = rng.uniform(-1, 1, (2, 9))
    assert np.allclose(basis(4)(u, v) @ higher[0].T, basis(2)(u, v) @ coefficients[0].T, rtol=0, atol=1e-14)
    assert np.array_equal(extended(higher, 2), coefficients)
    assert extended(coefficients, 1).shape == (2, 2, 3)


def test_a_grid_holds_a_polynomial_of_degree_seven_to_a_double():
    # What every projection onto coefficients in the fit relies on.
    u, v = chebyshev_grid(9)
    values = basis(7)(u, v)
    assert np.abs(u).max() < 1 and len(u) == 81
    assert np.linalg.cond(values) < 1e3
    coefficients = np.random.default_rng(1).normal(size=36)
    assert np.abs(np.linalg.pinv(values) @ (values @ coefficients) - coefficients).max() < 1e-12


@pytest.mark.parametrize("count", [1, 5, BLOCK])
@pytest.mark.parametrize(
    "degree", [1, 2, 3, 5]
)  # 3, 6, 10 and 21 terms: every remainder of the sweeps by three
def test_kernels_on_blocks_do_the_same(degree, count):
    rng = np.random.default_rng(count)
    u, v, z0, z1 = rng.uniform(-1, 1, (4, count))
    b = basis(degree)
    coefficients = rng.normal(size=(2, len(b)))
    phi = np.full((len(b), BLOCK), np.nan)
    y0, y1 = np.empty((2, BLOCK))
    monomials(u, v, count, b.parent, b.by_v, phi)
    assert np.allclose(phi[:, :count].T, b(u, v), rtol=0, atol=1e-15)
    evaluate(phi, coefficients, count, y0, y1)
    assert np.allclose(np.stack([y0, y1])[:, :count], coefficients @ b(u, v).T, rtol=0, atol=1e-14)
    sums = np.ones((2, len(b)))
    moments(phi, z0, z1, count, sums)
    assert np.allclose(sums, 1 + np.stack([z0, z1]) @ b(u, v), rtol=0, atol=1e-12)
