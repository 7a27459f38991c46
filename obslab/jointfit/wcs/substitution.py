"""Polynomials of (u, v) as polynomials of other coordinates, for many images at once."""

from __future__ import annotations

import numpy as np

from obslab.jointfit.polynomial import Floats, basis, degree_of


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
