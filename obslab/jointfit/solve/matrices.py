"""Small symmetric matrices inside kernels: a star's own, packed or whole, and its inverse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SINGULAR = 1e-10
"""Share of a diagonal element that must be left of it when the others are known."""


@njit(cache=True, nogil=True, error_model="numpy")
def invert(matrix: Any, free: int, lower: Any, keep: Any, inverse: Any) -> None:  # pragma: no cover
    """Inverse of a positive matrix over the free parameters, zero in the others and in those without
    information.

    ``free``: bits of ``problem.POSITION``, MOTION and PARALLAX. ``lower`` (n, n) and ``keep`` (n,) are
    scratch.
    """
    n = len(matrix)
    if n == 2 and free & 1:  # by hand: most fits have two parameters a star, and a million of these to do
        a, b, c = matrix[0, 0], matrix[0, 1], matrix[1, 1]
        rest = a * c - b * b
        if a > 0 and rest > SINGULAR * a * c:
            inverse[0, 0], inverse[1, 1] = c / rest, a / rest
            inverse[0, 1] = inverse[1, 0] = -b / rest
            return
    for j in range(n):
        keep[j] = 0
        for i in range(n):
            lower[i, j] = 0.0
            inverse[i, j] = 0.0
    for j in range(n):
        bit = 1 if j < 2 else (2 if j < 4 else 4)
        if not free & bit or matrix[j, j] <= 0:
            continue
        pivot = matrix[j, j]
        for c in range(j):
            pivot -= lower[j, c] ** 2
        if pivot <= SINGULAR * matrix[j, j]:
            continue
        keep[j] = 1
        lower[j, j] = np.sqrt(pivot)
        for i in range(j + 1, n):
            s = matrix[i, j]
            for c in range(j):
                s -= lower[i, c] * lower[j, c]
            lower[i, j] = s / lower[j, j]
    for c in range(n):
        if not keep[c]:
            continue
        for i in range(c, n):
            s = 1.0 if i == c else 0.0
            for j in range(c, i):
                s -= lower[i, j] * inverse[j, c]
            inverse[i, c] = s / lower[i, i] if keep[i] else 0.0
        for i in range(n - 1, -1, -1):
            s = inverse[i, c]
            for j in range(i + 1, n):
                s -= lower[j, i] * inverse[j, c]
            inverse[i, c] = s / lower[i, i] if keep[i] else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def add_prior(packed: Any, at: Any, here: Any, matrix: Any, right: Any) -> None:  # pragma: no cover
    """matrix += P, right -= P (here - at), P's upper triangle being ``packed`` row by row."""
    n = len(matrix)
    m = 0
    for i in range(n):
        for j in range(i, n):
            matrix[i, j] += packed[m]
            right[i] -= packed[m] * (here[j] - at[j])
            if j > i:
                matrix[j, i] += packed[m]
                right[j] -= packed[m] * (here[i] - at[i])
            m += 1


@njit(cache=True, nogil=True, error_model="numpy")
def prior_chi2(
    packed: Any, at: Any, here: Any, step: Any, inverse: Any
) -> tuple[float, float]:  # pragma: no cover
    """d' P d with d = here + step - at, and the prior's share in the answer, trace(P inverse) / n."""
    n = len(at)
    chi2, share = 0.0, 0.0
    m = 0
    for i in range(n):
        for j in range(i, n):
            twice = 2.0 if j > i else 1.0
            chi2 += twice * packed[m] * (here[i] + step[i] - at[i]) * (here[j] + step[j] - at[j])
            share += twice * packed[m] * inverse[i, j]
            m += 1
    return chi2, share / n
