"""Polynomials on blocks of measurements, for the kernels.

Measurements stay in the order of their images, so a polynomial's coefficients are constant over a run and the
inner loops go over measurements and vectorise. Monomials live in a scratch block of BLOCK measurements, which
fits the first-level cache, and are made again at each pass: nothing of size measurements x terms is stored.
"""

from __future__ import annotations

from typing import Any

from numba import njit

BLOCK = 128


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def monomials(u: Any, v: Any, m: int, parent: Any, by_v: Any, phi: Any) -> None:  # pragma: no cover
    """phi[i, :m] = monomial i at the first m of (u, v)."""
    one = phi[0]
    for n in range(m):
        one[n] = 1
    for i in range(1, len(parent)):
        source = phi[parent[i]]
        target = phi[i]
        if by_v[i]:
            for n in range(m):
                target[n] = source[n] * v[n]
        else:
            for n in range(m):
                target[n] = source[n] * u[n]


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def evaluate(phi: Any, c: Any, m: int, y0: Any, y1: Any) -> None:  # pragma: no cover
    """y0, y1 = the two polynomials c (2, terms) on the block; three terms a sweep save loads and stores."""
    terms = c.shape[1]
    for n in range(m):
        y0[n] = c[0, 0]
        y1[n] = c[1, 0]
    i = 1
    while i + 2 < terms:
        p, q, r = phi[i], phi[i + 1], phi[i + 2]
        p0, q0, r0 = c[0, i], c[0, i + 1], c[0, i + 2]
        p1, q1, r1 = c[1, i], c[1, i + 1], c[1, i + 2]
        for n in range(m):
            y0[n] += p0 * p[n] + q0 * q[n] + r0 * r[n]
            y1[n] += p1 * p[n] + q1 * q[n] + r1 * r[n]
        i += 3
    while i < terms:
        p = phi[i]
        p0, p1 = c[0, i], c[1, i]
        for n in range(m):
            y0[n] += p0 * p[n]
            y1[n] += p1 * p[n]
        i += 1


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def moments(phi: Any, z0: Any, z1: Any, m: int, g: Any) -> None:  # pragma: no cover
    """g[a, i] += sum over the block of z_a phi_i."""
    for i in range(g.shape[1]):
        p = phi[i]
        s0 = z0[0] * 0
        s1 = s0
        for n in range(m):
            s0 += z0[n] * p[n]
            s1 += z1[n] * p[n]
        g[0, i] += s0
        g[1, i] += s1
