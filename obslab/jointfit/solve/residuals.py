"""Residuals of all measurements, and the sums over them that each star's equations need."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from obslab.jointfit.solve.blocks import BLOCK, evaluate, monomials

BINS = 800
"""Logarithmic bins of chi2, 16 an octave, from 2^-10 up: the median comes from them, to 2 %."""

HOPELESS = 16.0
"""A rejected measurement beyond this many times the suspicious chi2, eight times the cut, does not come back
in this pass: without this every star that ever had an outlier, a third of them, is judged anew each time."""

SUMS = {2: 5, 5: 19}
"""Sums over a star's measurements: for two parameters D'WD (3) and D'Wr (2)."""


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy", inline="always")
def parallax_factors(
    x: float, y: float, earth: Any, radian: float
) -> tuple[float, float]:  # pragma: no cover
    """Shift in the common plane per unit of parallax of a star at (x, y), the Earth being at ``earth``.

    A star's direction s moves by minus the Earth's place times the parallax; the plane's (e.s, n.s) / p.s
    then by -(E_e - xi E_p, E_n - eta E_p) / p.s, and 1 / p.s = sqrt(1 + xi2 + eta2). No trigonometry, any
    distance from the pole.
    """
    a, b = x * radian, y * radian
    far = np.sqrt(1 + a * a + b * b)
    return -(earth[0] - a * earth[2]) * far, -(earth[1] - b * earth[2]) * far


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy", inline="always")
def add_two(sums: Any, w00: float, w01: float, w11: float, g0: float, g1: float) -> None:  # pragma: no cover
    """Add one measurement to a star's sums: information w about its place in the plane, D'Wr = g."""
    sums[0] += w00
    sums[1] += w01
    sums[2] += w11
    sums[3] += g0
    sums[4] += g1


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy", inline="always")
def add_five(
    sums: Any, w00: float, w01: float, w11: float, g0: float, g1: float, t: float, p: float, q: float
) -> None:  # pragma: no cover
    """The same with a motion over t years and parallax factors (p, q)."""
    sums[0] += w00
    sums[1] += w01
    sums[2] += w11
    sums[3] += g0
    sums[4] += g1
    sums[5] += t * w00
    sums[6] += t * w01
    sums[7] += t * w11
    sums[8] += t * t * w00
    sums[9] += t * t * w01
    sums[10] += t * t * w11
    a, b = w00 * p + w01 * q, w01 * p + w11 * q
    sums[11] += a
    sums[12] += b
    sums[13] += t * a
    sums[14] += t * b
    sums[15] += p * a + q * b
    sums[16] += t * g0
    sums[17] += t * g1
    sums[18] += p * g0 + q * g1


@lru_cache
def residual_kernel(star_parameters: int, anisotropic: bool, shifted: bool) -> Callable[..., None]:
    """The kernel for stars of 2 or 5 parameters, errors round or not, with or without a shift of each
    measurement.

    It fills ``residual`` (2, N), ``sums`` (parts, K, SUMS) and ``histogram`` (parts, BINS + 2) of chi2, whose
    last two are number and chi2 of what is active; and marks a star suspect when a measurement's chi2 is
    above ``suspect_above`` times its ``limit`` (K,), or one was rejected. One of ``skip``, a power of two, is
    in the histogram.
    """
    five = star_parameters == 5

    @njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
    def kernel(
        part: int, u: Any, v: Any, weight: Any, active: Any, star: Any, first: Any, parts: Any, inner_of: Any,
        outer_of: Any, exposure_of: Any, inner: Any, outer: Any, homography: Any, stars: Any, delta_yr: Any,
        earth: Any, radian: float, shift: Any, suspect_above: float, limit: Any, skip: int, parent: Any,
        by_v: Any, outer_parent: Any, outer_by_v: Any, residual: Any, sums: Any, suspect: Any, histogram: Any,
    ) -> None:  # fmt: skip  # pragma: no cover
        phi = np.empty((len(parent), BLOCK))
        psi = np.empty((len(outer_parent), BLOCK))
        q0, q1, m0, m1 = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
        total = sums[part]
        bins = histogram[part]
        total[:] = 0
        bins[:] = 0
        for i in range(parts[part], parts[part + 1]):
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
                evaluate(psi, outer[outer_of[i]], m, m0, m1)
                block_star = star[a:b]
                r0, r1 = residual[0, a:b], residual[1, a:b]
                wxx, axx = weight[0, a:b], active[0, a:b]
                for n in range(m):
                    k = block_star[n]
                    x, y = stars[k, 0], stars[k, 1]
                    p = 0.0
                    q = 0.0
                    if five:
                        p, q = parallax_factors(x, y, earth[e], radian)
                        x += t * stars[k, 2] + p * stars[k, 4]
                        y += t * stars[k, 3] + q * stars[k, 4]
                    near = 1 / (h20 * x + h21 * y + h22)
                    xi = (h00 * x + h01 * y + h02) * near
                    eta = (h10 * x + h11 * y + h12) * near
                    a0, a1 = m0[n] - xi, m1[n] - eta
                    if shifted:
                        a0 += shift[0, a + n]
                        a1 += shift[1, a + n]
                    r0[n] = a0
                    r1[n] = a1
                    d00, d01 = (h00 - xi * h20) * near, (h01 - xi * h21) * near
                    d10, d11 = (h10 - eta * h20) * near, (h11 - eta * h21) * near
                    w = np.float64(axx[n])
                    if anisotropic:
                        c2, s2 = np.float64(weight[1, a + n]), np.float64(weight[2, a + n])
                        chi2 = np.float64(wxx[n]) * a0 * a0 + 2 * c2 * a0 * a1 + s2 * a1 * a1
                        w01, w11 = np.float64(active[1, a + n]), np.float64(active[2, a + n])
                        e00, e01 = w * d00 + w01 * d10, w * d01 + w01 * d11
                        e10, e11 = w01 * d00 + w11 * d10, w01 * d01 + w11 * d11
                        f0, f1 = w * a0 + w01 * a1, w01 * a0 + w11 * a1
                        g0, g1 = d00 * f0 + d10 * f1, d01 * f0 + d11 * f1
                        i00, i01, i11 = d00 * e00 + d10 * e10, d00 * e01 + d10 * e11, d01 * e01 + d11 * e11
                    else:
                        chi2 = np.float64(wxx[n]) * (a0 * a0 + a1 * a1)
                        g0, g1 = w * (d00 * a0 + d10 * a1), w * (d01 * a0 + d11 * a1)
                        i00, i01 = w * (d00 * d00 + d10 * d10), w * (d00 * d01 + d10 * d11)
                        i11 = w * (d01 * d01 + d11 * d11)
                    if five:
                        add_five(total[k], i00, i01, i11, g0, g1, t, p, q)
                    else:
                        add_two(total[k], i00, i01, i11, g0, g1)
                    if w > 0:
                        bins[BINS] += 1
                        bins[BINS + 1] += chi2
                        if chi2 > suspect_above * limit[k]:
                            suspect[k] = 1
                    elif wxx[n] > 0 and chi2 < HOPELESS * suspect_above:
                        suspect[k] = 1
                    if (n & (skip - 1)) == 0 and wxx[n] > 0:  # a sample is enough for the median
                        bins[int(min(max(16 * np.log2(chi2 + 1e-3) + 160, 0.0), BINS - 1.0))] += 1

    return kernel


def median_chi2(histogram: Any) -> float:
    """The median of chi2 out of the summed histogram."""
    count = np.cumsum(histogram[:BINS])
    if not count[-1]:
        return 0.0
    return float(2 ** ((np.searchsorted(count, count[-1] / 2) - 159.5) / 16))
