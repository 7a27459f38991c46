"""Each star's own equations, solved at fixed mappings, and the judgement over its measurements.

The rule for outliers looks at a star as a whole, at its best place for the measurements that count:

- one that counts is rejected when chi2 / (1 - h) is above the cut, h being its share in the star's place: what its
  chi2 would be if it had not pulled the star; and only if that is at least half of the star's worst, since one gross
  outlier makes good neighbours look bad;
- one that was rejected comes back when chi2 / (1 + h) is below 0.9 of the cut: the gap keeps it from flickering;
- the reference star is judged like a measurement.

This is repeated within the star until nothing changes. A star that lost everything stays lost. In late iterations
nothing comes back any more, so that a verdict on the edge cannot go to and fro for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from obslab.jointfit.solve.residuals import SUMS, add_five, add_two, parallax_factors

ROUNDS = 8
RETURNS = 3
"""Rounds within a star in which rejected ones may come back; then only rejection, which comes to an end."""
COME_BACK = 0.9
NEAR_WORST = 0.5
REFERENCE_CUT = {2: 1.0, 5: 1.32}
"""chi2 of five degrees of freedom that is as rare as one of two at 5 sigma: 33 in place of 25."""


@njit(cache=True, nogil=True)
def _invert(matrix: Any, free: int, inverse: Any) -> None:  # pragma: no cover
    """Inverse of a positive matrix over the free parameters, zero in the others and in those without information."""
    n = len(matrix)
    lower = np.zeros((n, n))
    keep = np.zeros(n, np.uint8)
    for j in range(n):
        bit = 1 if j < 2 else (2 if j < 4 else 4)
        if not free & bit or matrix[j, j] <= 0:
            continue
        pivot = matrix[j, j]
        for c in range(j):
            pivot -= lower[j, c] ** 2
        if pivot <= 1e-10 * matrix[j, j]:
            continue
        keep[j] = 1
        lower[j, j] = np.sqrt(pivot)
        for i in range(j + 1, n):
            s = matrix[i, j]
            for c in range(j):
                s -= lower[i, c] * lower[j, c]
            lower[i, j] = s / lower[j, j]
    for c in range(n):
        for i in range(n):
            inverse[i, c] = 0.0
    column = np.empty(n)
    for c in range(n):
        if not keep[c]:
            continue
        for i in range(n):
            s = 1.0 if i == c else 0.0
            for j in range(i):
                s -= lower[i, j] * column[j] if keep[j] else 0.0
            column[i] = s / lower[i, i] if keep[i] else 0.0
        for i in range(n - 1, -1, -1):
            s = column[i]
            for j in range(i + 1, n):
                s -= lower[j, i] * column[j] if keep[j] else 0.0
            column[i] = s / lower[i, i] if keep[i] else 0.0
        for i in range(n):
            inverse[i, c] = column[i]


@njit(cache=True, nogil=True)
def _unpack(packed: Any, matrix: Any) -> None:  # pragma: no cover
    """matrix += the symmetric one whose upper triangle, row by row, is ``packed``."""
    n = len(matrix)
    at = 0
    for i in range(n):
        for j in range(i, n):
            matrix[i, j] += packed[at]
            if j > i:
                matrix[j, i] += packed[at]
            at += 1


@lru_cache
def star_kernel(star_parameters: int, anisotropic: bool) -> Callable[..., None]:
    """The kernel that solves part ``part`` of all stars and judges those that are suspect."""
    five = star_parameters == 5
    size = star_parameters
    width = SUMS[star_parameters]
    reference_cut = REFERENCE_CUT[star_parameters]

    @njit(cache=True, nogil=True)
    def equations(s: Any, prior: Any, on: int, at: Any, here: Any, matrix: Any, right: Any) -> None:  # pragma: no cover
        for i in range(size):
            for j in range(size):
                matrix[i, j] = 0.0
        matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1] = s[0], s[1], s[1], s[2]
        right[0], right[1] = s[3], s[4]
        if five:
            matrix[0, 2], matrix[0, 3], matrix[1, 2], matrix[1, 3] = s[5], s[6], s[6], s[7]
            matrix[2, 2], matrix[2, 3], matrix[3, 3] = s[8], s[9], s[10]
            matrix[0, 4], matrix[1, 4], matrix[2, 4], matrix[3, 4], matrix[4, 4] = s[11], s[12], s[13], s[14], s[15]
            right[2], right[3], right[4] = s[16], s[17], s[18]
            for i in range(size):
                for j in range(i):
                    matrix[i, j] = matrix[j, i]
        if on:
            full = np.zeros((size, size))
            _unpack(prior, full)
            for i in range(size):
                for j in range(size):
                    matrix[i, j] += full[i, j]
                    right[i] -= full[i, j] * (here[j] - at[j])

    @njit(cache=True, nogil=True)
    def kernel(
        part: int, parts: int, sums: Any, prior: Any, prior_at: Any, reference_on: Any, star_free: Any, stars: Any,
        star_first: Any, members: Any, image_of: Any, exposure_of: Any, projection: Any, delta_yr: Any, earth: Any,
        radian: float, residual: Any, weight: Any, active: Any, suspect: Any, cut: float, come_back: float, inverse: Any,
        step: Any, report: Any,
    ) -> None:  # fmt: skip  # pragma: no cover
        count = len(stars)
        total = np.empty(width)
        matrix = np.empty((size, size))
        right = np.empty(size)
        used = 0.0
        chi2_reference = 0.0
        changed = 0.0
        chi2_changed = 0.0
        for k in range(part * count // parts, (part + 1) * count // parts):
            for j in range(width):
                total[j] = 0.0
                for p in range(len(sums)):
                    total[j] += sums[p, k, j]
            rounds = ROUNDS if suspect[k] and cut > 0 else 1
            for turn in range(rounds):
                equations(total, prior[k], reference_on[k] == 1, prior_at[k], stars[k], matrix, right)
                _invert(matrix, star_free[k], inverse[k])
                for i in range(size):
                    step[k, i] = 0.0
                    for j in range(size):
                        step[k, i] += inverse[k, i, j] * right[j]
                if rounds == 1 or turn == rounds - 1:
                    break
                worst = 0.0
                flips = 0
                alive = total[0] > 0 or reference_on[k] == 1
                for stage in range(2):  # first the worst, then the verdicts
                    bad = 0
                    for at in range(star_first[k], star_first[k + 1]):
                        n = members[at]
                        w = np.float64(weight[0, n])
                        if w <= 0:
                            continue
                        i = image_of[n]
                        e = exposure_of[i]
                        d00, d01 = projection[i, 0, 0], projection[i, 0, 1]
                        d10, d11 = projection[i, 1, 0], projection[i, 1, 1]
                        move0, move1 = step[k, 0], step[k, 1]
                        c = inverse[k]
                        v00, v01, v11 = c[0, 0], c[0, 1], c[1, 1]
                        t, p, q = 0.0, 0.0, 0.0
                        if five:
                            t = delta_yr[e]
                            p, q = parallax_factors(stars[k, 0], stars[k, 1], earth[e], radian)
                            move0 += t * step[k, 2] + p * step[k, 4]
                            move1 += t * step[k, 3] + q * step[k, 4]
                            v00 += 2 * t * c[0, 2] + t * t * c[2, 2] + 2 * p * (c[0, 4] + t * c[2, 4]) + p * p * c[4, 4]
                            v11 += 2 * t * c[1, 3] + t * t * c[3, 3] + 2 * q * (c[1, 4] + t * c[3, 4]) + q * q * c[4, 4]
                            v01 += t * (c[0, 3] + c[1, 2]) + t * t * c[2, 3] + q * (c[0, 4] + t * c[2, 4])
                            v01 += p * (c[1, 4] + t * c[3, 4]) + p * q * c[4, 4]
                        r0 = residual[0, n] - d00 * move0 - d01 * move1
                        r1 = residual[1, n] - d10 * move0 - d11 * move1
                        w01, w11 = 0.0, w
                        if anisotropic:
                            w01, w11 = np.float64(weight[1, n]), np.float64(weight[2, n])
                        chi2 = w * r0 * r0 + 2 * w01 * r0 * r1 + w11 * r1 * r1
                        i00 = d00 * (w * d00 + w01 * d10) + d10 * (w01 * d00 + w11 * d10)
                        i01 = d00 * (w * d01 + w01 * d11) + d10 * (w01 * d01 + w11 * d11)
                        i11 = d01 * (w * d01 + w01 * d11) + d11 * (w01 * d01 + w11 * d11)
                        share = 0.5 * (i00 * v00 + 2 * i01 * v01 + i11 * v11)
                        counts = active[0, n] > 0
                        if counts:
                            test = chi2 / max(1 - share, 1e-3)
                        else:
                            test = chi2 / (1 + share)
                        if stage == 0:
                            if counts and test > worst:
                                worst = test
                            continue
                        sign = 0.0
                        if counts and test > cut and test >= NEAR_WORST * worst:
                            sign = -1.0
                            bad += 1
                        elif not counts and turn < RETURNS and worst <= cut and test < come_back * cut and alive:
                            sign = 1.0
                        if sign == 0.0:
                            continue
                        flips += 1
                        active[0, n] = weight[0, n] if sign > 0 else 0
                        f0 = w * residual[0, n] + w01 * residual[1, n]
                        f1 = w01 * residual[0, n] + w11 * residual[1, n]
                        g0, g1 = d00 * f0 + d10 * f1, d01 * f0 + d11 * f1
                        chi2_changed += sign * (residual[0, n] * f0 + residual[1, n] * f1)
                        changed += sign
                        if anisotropic:
                            active[1, n] = weight[1, n] if sign > 0 else 0
                            active[2, n] = weight[2, n] if sign > 0 else 0
                        if five:
                            add_five(
                                total, sign * i00, sign * i01, sign * i11, sign * g0, sign * g1, t, p, q
                            )
                        else:
                            add_two(total, sign * i00, sign * i01, sign * i11, sign * g0, sign * g1)
                    if reference_on[k] > 0:
                        chi2, share = 0.0, 0.0
                        full = np.zeros((size, size))
                        _unpack(prior[k], full)
                        for i in range(size):
                            for j in range(size):
                                here = stars[k, i] + step[k, i] - prior_at[k, i]
                                there = stars[k, j] + step[k, j] - prior_at[k, j]
                                chi2 += here * full[i, j] * there
                                share += full[i, j] * inverse[k, j, i]
                        share /= size
                        counts = reference_on[k] == 1
                        test = chi2 / max(1 - share, 1e-3) if counts else chi2 / (1 + share)
                        test /= reference_cut
                        if stage == 0:
                            if counts and test > worst:
                                worst = test
                        elif counts and test > cut and test >= NEAR_WORST * worst:
                            reference_on[k] = 2
                            flips += 1
                        elif not counts and turn < RETURNS and worst <= cut and test < come_back * cut:
                            reference_on[k] = 1
                            flips += 1
                if flips == 0:
                    break
            if reference_on[k] == 1:
                used += 1
                full = np.zeros((size, size))
                _unpack(prior[k], full)
                for i in range(size):
                    for j in range(size):
                        chi2_reference += (stars[k, i] - prior_at[k, i]) * full[i, j] * (stars[k, j] - prior_at[k, j])
        report[part, 0] = used
        report[part, 1] = chi2_reference
        report[part, 2] = changed
        report[part, 3] = chi2_changed

    return kernel  # type: ignore[no-any-return]


@lru_cache
def settle_kernel(star_parameters: int) -> Callable[..., None]:
    """The kernel for a star's answer to a change of the mappings: inverse times the sums of all parts."""
    size = star_parameters

    @njit(cache=True, nogil=True)
    def kernel(part: int, parts: int, sums: Any, inverse: Any, moved: Any) -> None:  # pragma: no cover
        count = len(moved)
        right = np.empty(size)
        for k in range(part * count // parts, (part + 1) * count // parts):
            for j in range(size):
                right[j] = 0.0
                for p in range(len(sums)):
                    right[j] += sums[p, k, j]
            for i in range(size):
                s = 0.0
                for j in range(size):
                    s += inverse[k, i, j] * right[j]
                moved[k, i] = s

    return kernel  # type: ignore[no-any-return]
