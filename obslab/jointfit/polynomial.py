"""Polynomials of two variables: which monomials, in which order, and their derivatives.

Plain monomials, not an orthogonal set: they compose, and within [-1, 1], where all our coordinates are
brought, degree 7 loses no more than four of a double's sixteen digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def terms(degree: int) -> tuple[tuple[int, int], ...]:
    """Powers (i, j) of u and v in the order of all coefficients: 1, u, v, u2, uv, v2, u3, ..."""
    return tuple((d - j, j) for d in range(degree + 1) for j in range(d + 1))


def degree_of(count: int) -> int:
    """The degree with so many terms; ValueError if there is none."""
    degree = int((np.sqrt(8 * count + 1) - 3) / 2 + 0.5)
    if (degree + 1) * (degree + 2) // 2 != count:
        raise ValueError(f"{count} coefficients fit no degree: 1, 3, 6, 10, 15, 21, ... do")
    return degree


@dataclass(frozen=True)
class Basis:
    """The monomials up to ``degree``; coefficients have them along their last axis."""

    degree: int

    @cached_property
    def powers(self) -> tuple[tuple[int, int], ...]:
        return terms(self.degree)

    def __len__(self) -> int:
        return len(self.powers)

    @cached_property
    def parent(self) -> NDArray[np.int64]:
        """Monomial i is monomial parent[i] times u, or times v where ``by_v[i]`` is 1."""
        at = {power: n for n, power in enumerate(self.powers)}
        return np.array([0] + [at[(i - 1, j)] if i else at[(i, j - 1)] for i, j in self.powers[1:]])

    @cached_property
    def by_v(self) -> NDArray[np.int64]:
        return np.array([0] + [0 if i else 1 for i, _ in self.powers[1:]])

    def __call__(self, u: Any, v: Any) -> Floats:
        """Values of all monomials, shape u.shape + (terms,)."""
        u, v = np.broadcast_arrays(np.asarray(u, np.float64), np.asarray(v, np.float64))
        values = np.empty((*u.shape, len(self)))
        values[..., 0] = 1
        for n in range(1, len(self)):
            values[..., n] = values[..., self.parent[n]] * (v if self.by_v[n] else u)
        return values

    def derivatives(self, coefficients: Floats) -> tuple[Floats, Floats]:
        """Coefficients of the derivatives by u and by v, in this same basis."""
        by_u, by_v = np.zeros_like(coefficients), np.zeros_like(coefficients)
        at = {power: n for n, power in enumerate(self.powers)}
        for n, (i, j) in enumerate(self.powers):
            if i:
                by_u[..., at[(i - 1, j)]] += i * coefficients[..., n]
            if j:
                by_v[..., at[(i, j - 1)]] += j * coefficients[..., n]
        return by_u, by_v

    def identity(self, scale: float = 1.0) -> Floats:
        """Coefficients (2, terms) of the mapping that multiplies by ``scale``."""
        coefficients = np.zeros((2, len(self)))
        coefficients[0, 1] = coefficients[1, 2] = scale
        return coefficients


@lru_cache
def basis(degree: int) -> Basis:
    """The one Basis of this degree."""
    return Basis(degree)


def chebyshev_grid(points: int) -> tuple[Floats, Floats]:
    """Points x points positions in [-1, 1]2, denser to the edges, where polynomial fits need them."""
    nodes = np.cos(np.pi * (np.arange(points) + 0.5) / points)
    u, v = np.meshgrid(nodes, nodes)
    return u.ravel(), v.ravel()


def extended(coefficients: Floats, degree: int) -> Floats:
    """The same polynomials with the terms up to a higher degree, zero, or a lower one, cut off."""
    wanted = len(terms(degree))
    have = coefficients.shape[-1]
    out = np.zeros((*coefficients.shape[:-1], wanted))
    out[..., : min(have, wanted)] = coefficients[..., :wanted]
    return out


def substituted(coefficients: Floats, linear: Floats, offset: Floats) -> Floats:
    """The same polynomials (B, 2, terms) in (x, y), where (u, v) = offset + linear @ (x, y).

    Exact but for rounding: the degree stays what it was. ``linear`` is (B, 2, 2), ``offset`` (B, 2).
    """
    terms = coefficients.shape[-1]
    monomials = np.zeros((terms, *coefficients.shape[:1], terms))  # of (u, v), as polynomials of (x, y)
    monomials[0, :, 0] = 1
    form = basis(degree_of(terms))
    up_x, up_y = _raised(form.powers)
    for n in range(1, terms):
        parent, axis = monomials[form.parent[n]], form.by_v[n]
        monomials[n] = offset[:, axis, None] * parent
        for up, along in ((up_x, 0), (up_y, 1)):
            # Only terms below the last degree are multiplied: the parent has no others.
            monomials[n][:, up] += linear[:, axis, along, None] * parent[:, : len(up)]
    return coefficients @ np.swapaxes(monomials, 0, 1)


def _raised(powers: tuple[tuple[int, int], ...]) -> tuple[list[int], list[int]]:
    """Where monomial (i, j) goes when multiplied by x and by y, for all below the last degree."""
    at = {power: n for n, power in enumerate(powers)}
    low = [(i, j) for i, j in powers if (i + 1, j) in at]
    return [at[(i + 1, j)] for i, j in low], [at[(i, j + 1)] for i, j in low]
