"""The exact reduced matrix, dense: what the fast solver is checked against, falls back on, and covariances
come from.

Cost goes with stars x coefficients squared, so this is for when it is asked for: 1,400 coefficients of 36
detectors x 30 exposures and 45,000 stars take some seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit import pool
from obslab.jointfit.solve.problem import Problem, State
from obslab.jointfit.solve.residuals import parallax_factors
from obslab.jointfit.solve.squares import mirror, subtract_square

Floats = NDArray[np.float64]
LARGEST = 12_000
"""Coefficients: the matrix takes 1.2 GB then."""
BATCH = 256
SMALL = 4000
"""Up to so many coefficients the sum is made in four parts, each with a matrix of its own; above, in one."""


class TooLargeError(ObslabError, MemoryError):
    """More coefficients than a dense matrix is made for."""


def reduced(
    problem: Problem,
    state: State,
    place: tuple[Floats, Floats],
    active: Any,
    inverse: Floats,
    columns: tuple[Any, Any] | None = None,
) -> Floats:
    """The reduced matrix over all coefficients and terms (frozen ones included), stars eliminated.

    ``place``: (u, v) with the displacements of the pixel terms; ``inverse`` (K, n, n) is that of each star's
    own matrix; ``columns``: index (N, J) and value (2, N, J) of the terms' derivatives.
    """
    p = problem
    extra = len(state.extra)
    size = state.inner.size + state.outer.size + extra
    if size > LARGEST:
        raise TooLargeError(
            f"an exact matrix of {size:,} coefficients would take {size * size * 8 / 2**30:.0f} GB; "
            f"up to {LARGEST:,} are made: fit fewer images at once, or the constrained model",
            coefficients=size,
        )
    by_x, by_y = p.outer_basis.derivatives(state.outer)
    index, value = columns if columns is not None else (np.zeros((1, 0), np.int64), np.zeros((2, 1, 0)))
    image_of = p.image_of
    stars = len(state.stars)
    ns = p.star_parameters

    parts = 4 if size <= SMALL else 1

    def part(number: int, matrices: Floats) -> None:
        rows = np.empty((BATCH * ns, size))
        begin, end = number * stars // parts, (number + 1) * stars // parts
        for a in range(begin, end, BATCH):
            b = min(a + BATCH, end)
            factors = _roots(inverse[a:b])
            _rows(
                a, b, *place, active, p.inner, p.outer, p.exposure, image_of, p.star_first, p.members,
                state.inner, state.outer, by_x, by_y, p.homography, state.stars, p.delta_yr, p.earth,
                p.radian, factors, p.inner_basis.parent, p.inner_basis.by_v, p.outer_basis.parent,
                p.outer_basis.by_v, index, value, matrices[number], rows,
            )  # fmt: skip
            subtract_square(matrices[number], rows[: (b - a) * ns])

    matrices = np.zeros((parts, size, size))
    with pool.one_blas_thread():
        pool.run(part, parts, matrices)
    for other in matrices[1:]:
        matrices[0] += other
    mirror(matrices[0])
    return np.asarray(matrices[0])


def _roots(inverse: Floats) -> Floats:
    """R with R'R = inverse, for semidefinite ones too: rows R B then give B' inverse B."""
    scale = np.sqrt(np.maximum(np.einsum("kii->ki", inverse), 1e-300))
    scaled = inverse / scale[:, :, None] / scale[:, None, :]
    values, vectors = np.linalg.eigh(scaled)
    root = np.sqrt(np.maximum(values, 0))[:, :, None] * np.swapaxes(vectors, 1, 2)
    return np.ascontiguousarray(root * scale[:, None, :])


@njit(cache=True, nogil=True, error_model="numpy")
def _rows(
    begin: int, end: int, u: Any, v: Any, active: Any, inner_of: Any, outer_of: Any, exposure_of: Any,
    image_of: Any, star_first: Any, members: Any, inner: Any, outer: Any, outer_by_x: Any, outer_by_y: Any,
    homography: Any, stars: Any, delta_yr: Any, earth: Any, radian: float, factors: Any, parent: Any,
    by_v: Any, outer_parent: Any, outer_by_v: Any, column_index: Any, column_value: Any, direct: Any,
    rows: Any,
) -> None:  # fmt: skip  # pragma: no cover
    """For stars begin:end: direct += sum J'WJ (its lower triangle), rows = factor sum X'D'WJ."""
    terms, outer_terms = len(parent), len(outer_parent)
    inner_size = inner.shape[0] * 2 * terms
    extra_at = inner_size + outer.shape[0] * 2 * outer_terms
    extras = column_index.shape[1]
    width = 2 * terms + 2 * outer_terms + extras
    ns = stars.shape[1]
    g, b = np.empty(terms), np.empty(outer_terms)
    where = np.empty(width, np.int64)
    j0, j1 = np.empty(width), np.empty(width)
    turned = np.empty((ns, width))
    for k in range(begin, end):
        for r in range(ns):
            rows[(k - begin) * ns + r] = 0
        for at in range(star_first[k], star_first[k + 1]):
            n = members[at]
            w00 = np.float64(active[0, n])
            if w00 == 0:
                continue
            w01, w11 = 0.0, w00
            if len(active) == 3:
                w01, w11 = np.float64(active[1, n]), np.float64(active[2, n])
            i = image_of[n]
            e = exposure_of[i]
            c, o = inner_of[i], outer_of[i]
            g[0] = 1
            for j in range(1, terms):
                g[j] = g[parent[j]] * (v[n] if by_v[j] else u[n])
            x, y = 0.0, 0.0
            for j in range(terms):
                x += inner[c, 0, j] * g[j]
                y += inner[c, 1, j] * g[j]
            b[0] = 1
            for j in range(1, outer_terms):
                b[j] = b[outer_parent[j]] * (y if outer_by_v[j] else x)
            xx, xy, yx, yy = 0.0, 0.0, 0.0, 0.0
            for j in range(outer_terms):
                xx += outer_by_x[o, 0, j] * b[j]
                yx += outer_by_x[o, 1, j] * b[j]
                xy += outer_by_y[o, 0, j] * b[j]
                yy += outer_by_y[o, 1, j] * b[j]
            for j in range(terms):
                where[j] = c * 2 * terms + j
                j0[j], j1[j] = xx * g[j], yx * g[j]
                where[terms + j] = c * 2 * terms + terms + j
                j0[terms + j], j1[terms + j] = xy * g[j], yy * g[j]
            base = 2 * terms
            for j in range(outer_terms):
                where[base + j] = inner_size + o * 2 * outer_terms + j
                j0[base + j], j1[base + j] = b[j], 0.0
                where[base + outer_terms + j] = inner_size + o * 2 * outer_terms + outer_terms + j
                j0[base + outer_terms + j], j1[base + outer_terms + j] = 0.0, b[j]
            base = 2 * terms + 2 * outer_terms
            for j in range(extras):
                where[base + j] = extra_at + column_index[n, j]
                j0[base + j], j1[base + j] = column_value[0, n, j], column_value[1, n, j]
            # the star's side: D and its five columns
            t, p, q = delta_yr[e], 0.0, 0.0
            sx, sy = stars[k, 0], stars[k, 1]
            if ns == 5:
                p, q = parallax_factors(sx, sy, earth[e], radian)
                sx += t * stars[k, 2] + p * stars[k, 4]
                sy += t * stars[k, 3] + q * stars[k, 4]
            h = homography[e]
            near = 1 / (h[2, 0] * sx + h[2, 1] * sy + h[2, 2])
            xi = (h[0, 0] * sx + h[0, 1] * sy + h[0, 2]) * near
            eta = (h[1, 0] * sx + h[1, 1] * sy + h[1, 2]) * near
            d00, d01 = (h[0, 0] - xi * h[2, 0]) * near, (h[0, 1] - xi * h[2, 1]) * near
            d10, d11 = (h[1, 0] - eta * h[2, 0]) * near, (h[1, 1] - eta * h[2, 1]) * near
            for j in range(width):
                z0, z1 = w00 * j0[j] + w01 * j1[j], w01 * j0[j] + w11 * j1[j]
                a0, a1 = d00 * z0 + d10 * z1, d01 * z0 + d11 * z1
                turned[0, j], turned[1, j] = a0, a1
                if ns == 5:
                    turned[2, j], turned[3, j], turned[4, j] = t * a0, t * a1, p * a0 + q * a1
                for m in range(width):
                    if where[m] <= where[j]:
                        direct[where[j], where[m]] += z0 * j0[m] + z1 * j1[m]
            for r in range(ns):
                row = rows[(k - begin) * ns + r]
                for s in range(ns):
                    f = factors[k - begin, r, s]
                    for j in range(width):
                        row[where[j]] += f * turned[s, j]
