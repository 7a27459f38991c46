"""The exact gradient, and the product of the reduced matrix with a vector, without that matrix.

The gradient is exact, each star being at its own best in first order. The matrix is simplified: one
derivative of the projection and one of the outer mapping for each image. That changes the path, not where it
ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from obslab.jointfit.solve.blocks import BLOCK, evaluate, moments, monomials
from obslab.jointfit.solve.residuals import parallax_factors


@lru_cache
def gradient_kernel(star_parameters: int, anisotropic: bool, keep: bool) -> Callable[..., None]:
    """Moments of z = W (r - D step) with the inner basis, through the outer Jacobian, and with the outer
    basis.

    ``keep``: store z, for the parameters of the terms.
    """
    five = star_parameters == 5

    @njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
    def kernel(
        part: int, u: Any, v: Any, star: Any, first: Any, parts: Any, inner_of: Any, outer_of: Any,
        exposure_of: Any, inner: Any, outer: Any, outer_by_x: Any, outer_by_y: Any, homography: Any,
        stars: Any, step: Any, delta_yr: Any, earth: Any, radian: float, parent: Any, by_v: Any,
        outer_parent: Any, outer_by_v: Any, active: Any, residual: Any, inner_moments: Any,
        outer_moments: Any, kept: Any,
    ) -> None:  # fmt: skip  # pragma: no cover
        phi = np.empty((len(parent), BLOCK))
        psi = np.empty((len(outer_parent), BLOCK))
        q0, q1, x0, x1 = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
        y0, y1, z0, z1 = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
        for i in range(parts[part], parts[part + 1]):
            inner_moments[i] = 0
            outer_moments[i] = 0
            e = exposure_of[i]
            h = homography[e]
            h00, h01, h02 = h[0, 0], h[0, 1], h[0, 2]
            h10, h11, h12 = h[1, 0], h[1, 1], h[1, 2]
            h20, h21, h22 = h[2, 0], h[2, 1], h[2, 2]
            t = delta_yr[e]
            for a in range(first[i], first[i + 1], BLOCK):
                b = min(a + BLOCK, first[i + 1])
                m = b - a
                monomials(u[a:b], v[a:b], m, parent, by_v, phi)
                evaluate(phi, inner[inner_of[i]], m, q0, q1)
                monomials(q0, q1, m, outer_parent, outer_by_v, psi)
                evaluate(psi, outer_by_x[outer_of[i]], m, x0, x1)
                evaluate(psi, outer_by_y[outer_of[i]], m, y0, y1)
                block_star = star[a:b]
                for n in range(m):
                    k = block_star[n]
                    f, g = step[k, 0], step[k, 1]
                    x, y = stars[k, 0], stars[k, 1]
                    if five:
                        p, q = parallax_factors(x, y, earth[e], radian)
                        f += t * step[k, 2] + p * step[k, 4]
                        g += t * step[k, 3] + q * step[k, 4]
                        x += t * stars[k, 2] + p * stars[k, 4]
                        y += t * stars[k, 3] + q * stars[k, 4]
                    near = 1 / (h20 * x + h21 * y + h22)
                    along = (h20 * f + h21 * g) * near
                    r0 = residual[0, a + n] - ((h00 * f + h01 * g) - (h00 * x + h01 * y + h02) * along) * near
                    r1 = residual[1, a + n] - ((h10 * f + h11 * g) - (h10 * x + h11 * y + h12) * along) * near
                    w = active[0, a + n]
                    if anisotropic:
                        z0[n] = w * r0 + active[1, a + n] * r1
                        z1[n] = active[1, a + n] * r0 + active[2, a + n] * r1
                    else:
                        z0[n] = w * r0
                        z1[n] = w * r1
                    if keep:
                        kept[0, a + n] = z0[n]
                        kept[1, a + n] = z1[n]
                moments(psi, z0, z1, m, outer_moments[i])
                for n in range(m):
                    s0 = x0[n] * z0[n] + x1[n] * z1[n]
                    s1 = y0[n] * z0[n] + y1[n] * z1[n]
                    x0[n] = s0
                    x1[n] = s1
                moments(phi, x0, x1, m, inner_moments[i])

    return kernel


@lru_cache
def forward_kernel(star_parameters: int, anisotropic: bool, columns: bool) -> Callable[..., None]:
    """y = what a change of the mappings moves each measurement by, and each star's sums of D'W y.

    The change comes as one polynomial per image, inner and outer part folded; ``columns``: plus ``extra``,
    what the terms add.
    """
    five = star_parameters == 5

    @njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
    def kernel(
        part: int, u: Any, v: Any, active: Any, star: Any, first: Any, parts: Any, exposure_of: Any,
        change: Any, projection: Any, stars: Any, delta_yr: Any, earth: Any, radian: float, parent: Any,
        by_v: Any, extra: Any, moved: Any, sums: Any,
    ) -> None:  # fmt: skip  # pragma: no cover
        phi = np.empty((len(parent), BLOCK))
        total = sums[part]
        total[:] = 0
        for i in range(parts[part], parts[part + 1]):
            d00, d01 = projection[i, 0, 0], projection[i, 0, 1]
            d10, d11 = projection[i, 1, 0], projection[i, 1, 1]
            e = exposure_of[i]
            t = delta_yr[e]
            for a in range(first[i], first[i + 1], BLOCK):
                b = min(a + BLOCK, first[i + 1])
                m = b - a
                monomials(u[a:b], v[a:b], m, parent, by_v, phi)
                y0, y1 = moved[0, a:b], moved[1, a:b]
                evaluate(phi, change[i], m, y0, y1)
                block_star = star[a:b]
                wxx = active[0, a:b]
                for n in range(m):
                    if columns:
                        y0[n] += extra[0, a + n]
                        y1[n] += extra[1, a + n]
                    k = block_star[n]
                    z0, z1 = wxx[n] * y0[n], wxx[n] * y1[n]
                    if anisotropic:
                        z0 = wxx[n] * y0[n] + active[1, a + n] * y1[n]
                        z1 = active[1, a + n] * y0[n] + active[2, a + n] * y1[n]
                    g0, g1 = d00 * z0 + d10 * z1, d01 * z0 + d11 * z1
                    total[k, 0] += g0
                    total[k, 1] += g1
                    if five:
                        p, q = parallax_factors(stars[k, 0], stars[k, 1], earth[e], radian)
                        total[k, 2] += t * g0
                        total[k, 3] += t * g1
                        total[k, 4] += p * g0 + q * g1

    return kernel


@lru_cache
def backward_kernel(star_parameters: int, anisotropic: bool, keep: bool) -> Callable[..., None]:
    """Moments with the inner basis of z = W (y - D settled), the stars having followed the change."""
    five = star_parameters == 5

    @njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
    def kernel(
        part: int, u: Any, v: Any, active: Any, star: Any, first: Any, parts: Any, exposure_of: Any,
        projection: Any, stars: Any, settled: Any, delta_yr: Any, earth: Any, radian: float, moved: Any,
        parent: Any, by_v: Any, image_moments: Any, kept: Any,
    ) -> None:  # fmt: skip  # pragma: no cover
        phi = np.empty((len(parent), BLOCK))
        z0, z1 = np.empty(BLOCK), np.empty(BLOCK)
        for i in range(parts[part], parts[part + 1]):
            d00, d01 = projection[i, 0, 0], projection[i, 0, 1]
            d10, d11 = projection[i, 1, 0], projection[i, 1, 1]
            image_moments[i] = 0
            e = exposure_of[i]
            t = delta_yr[e]
            for a in range(first[i], first[i + 1], BLOCK):
                b = min(a + BLOCK, first[i + 1])
                m = b - a
                monomials(u[a:b], v[a:b], m, parent, by_v, phi)
                y0, y1 = moved[0, a:b], moved[1, a:b]
                block_star = star[a:b]
                wxx = active[0, a:b]
                for n in range(m):
                    k = block_star[n]
                    f, g = settled[k, 0], settled[k, 1]
                    if five:
                        p, q = parallax_factors(stars[k, 0], stars[k, 1], earth[e], radian)
                        f += t * settled[k, 2] + p * settled[k, 4]
                        g += t * settled[k, 3] + q * settled[k, 4]
                    r0 = y0[n] - (d00 * f + d01 * g)
                    r1 = y1[n] - (d10 * f + d11 * g)
                    if anisotropic:
                        z0[n] = wxx[n] * r0 + active[1, a + n] * r1
                        z1[n] = active[1, a + n] * r0 + active[2, a + n] * r1
                    else:
                        z0[n] = wxx[n] * r0
                        z1[n] = wxx[n] * r1
                    if keep:
                        kept[0, a + n] = z0[n]
                        kept[1, a + n] = z1[n]
                moments(phi, z0, z1, m, image_moments[i])

    return kernel


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def fold(
    step: Any, inner_of: Any, outer_of: Any, jacobian: Any, seen: Any, inners: int, inner_terms: int,
    outer_terms: int, change: Any,
) -> None:  # fmt: skip  # pragma: no cover
    """A step of all coefficients as one polynomial ``change`` (B, 2, work terms), in the basis of the higher
    degree.

    ``seen[c, k, j]``: monomial j of the outer basis, at inner mapping c, expanded in that basis.
    """
    outer_at = inners * 2 * inner_terms
    for i in range(len(inner_of)):
        c = inner_of[i]
        o = c * 2 * inner_terms
        p = outer_at + outer_of[i] * 2 * outer_terms
        for k in range(seen.shape[1]):
            a, b = (step[o + k], step[o + inner_terms + k]) if k < inner_terms else (0.0, 0.0)
            r0 = jacobian[i, 0, 0] * a + jacobian[i, 0, 1] * b
            r1 = jacobian[i, 1, 0] * a + jacobian[i, 1, 1] * b
            for j in range(outer_terms):
                r0 += seen[c, k, j] * step[p + j]
                r1 += seen[c, k, j] * step[p + outer_terms + j]
            change[i, 0, k] = r0
            change[i, 1, k] = r1


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def unfold(
    image_moments: Any, inner_of: Any, outer_of: Any, jacobian: Any, seen: Any, inners: int, inner_terms: int,
    outer_terms: int, out: Any,
) -> None:  # fmt: skip  # pragma: no cover
    """The transpose of ``fold``: moments per image to a vector over all coefficients."""
    outer_at = inners * 2 * inner_terms
    out[:] = 0
    for i in range(len(inner_of)):
        c = inner_of[i]
        o = c * 2 * inner_terms
        p = outer_at + outer_of[i] * 2 * outer_terms
        for k in range(seen.shape[1]):
            a, b = image_moments[i, 0, k], image_moments[i, 1, k]
            if k < inner_terms:
                out[o + k] += jacobian[i, 0, 0] * a + jacobian[i, 1, 0] * b
                out[o + inner_terms + k] += jacobian[i, 0, 1] * a + jacobian[i, 1, 1] * b
            for j in range(outer_terms):
                out[p + j] += seen[c, k, j] * a
                out[p + outer_terms + j] += seen[c, k, j] * b
