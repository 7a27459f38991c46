"""Each star's own equations, solved at fixed mappings, and the judgement over its measurements.

The rule for outliers looks at a star as a whole, at its best place for the measurements that count:

- one that counts is rejected when chi2 / (1 - h) is above the cut, h being its share in the star's place:
  what its chi2 would be if it had not pulled the star; and only if that is at least half of the star's worst,
  since one gross outlier makes good neighbours look bad;
- one that was rejected comes back when chi2 / (1 + h) is below 0.9 of the cut: the gap keeps it from
  flickering;
- the reference star is judged like a measurement;
- a star that lost everything is judged once more from the start in each early iteration: its mapping may have
  been wrong when it was lost.

This is repeated within the star until nothing changes. In late iterations nothing comes back any more, so
that a verdict on the edge cannot go to and fro for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from obslab.jointfit.solve.matrices import add_prior, invert, prior_chi2
from obslab.jointfit.solve.residuals import SUMS, add_five, add_two, parallax_factors

ROUNDS = 8
RETURNS = 3
"""Rounds within a star in which rejected ones may come back; then only rejection, which comes to an end."""
COME_BACK = 0.9
NEAR_WORST = 0.5
LEAST_LIMIT = 0.02
REFERENCE_CUT = {2: 1.0, 5: 1.32}
"""chi2 of five degrees of freedom that is as rare as one of two at 5 sigma: 33 in place of 25."""


@njit(cache=True, nogil=True, error_model="numpy")
def equations(s: Any, matrix: Any, right: Any) -> None:  # pragma: no cover
    """A star's matrix and right side out of its sums."""
    matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1] = s[0], s[1], s[1], s[2]
    right[0], right[1] = s[3], s[4]
    if len(matrix) == 5:
        matrix[0, 2], matrix[0, 3], matrix[1, 2], matrix[1, 3] = s[5], s[6], s[6], s[7]
        matrix[2, 2], matrix[2, 3], matrix[3, 3] = s[8], s[9], s[10]
        for i in range(5):
            matrix[i, 4] = s[11 + i]
        right[2], right[3], right[4] = s[16], s[17], s[18]
        for i in range(5):
            for j in range(i):
                matrix[i, j] = matrix[j, i]


@njit(cache=True, nogil=True, error_model="numpy")
def spread_of(c: Any, t: float, p: float, q: float) -> tuple[float, float, float]:  # pragma: no cover
    """Variances xi xi, xi eta, eta eta of a star's place after t years, parallax factors (p, q), by its
    inverse c."""
    v00, v01, v11 = c[0, 0], c[0, 1], c[1, 1]
    if len(c) == 5:
        v00 += 2 * t * c[0, 2] + t * t * c[2, 2] + 2 * p * (c[0, 4] + t * c[2, 4]) + p * p * c[4, 4]
        v11 += 2 * t * c[1, 3] + t * t * c[3, 3] + 2 * q * (c[1, 4] + t * c[3, 4]) + q * q * c[4, 4]
        v01 += t * (c[0, 3] + c[1, 2]) + t * t * c[2, 3] + q * (c[0, 4] + t * c[2, 4])
        v01 += p * (c[1, 4] + t * c[3, 4]) + p * q * c[4, 4]
    return v00, v01, v11


@lru_cache
def star_kernel(star_parameters: int, anisotropic: bool) -> Callable[..., None]:
    """The kernel that solves part ``part`` of all stars and judges those that are suspect.

    ``limit`` (K,), if ``weigh``: of half the cut, at which chi2 of its measurements makes a star suspect.
    What a measurement pulls its star by its share h takes from its chi2, so that the limit is 2 (1 - h), at
    most one. ``report`` (parts, 4): references used, their chi2, measurements gained, chi2 gained.
    """
    five = star_parameters == 5
    size = star_parameters
    width = SUMS[star_parameters]
    reference_cut = REFERENCE_CUT[star_parameters]

    @njit(cache=True, nogil=True, error_model="numpy")
    def kernel(
        part: int, parts: int, sums: Any, prior: Any, prior_at: Any, reference_on: Any, star_free: Any,
        stars: Any, star_first: Any, members: Any, image_of: Any, exposure_of: Any, projection: Any,
        delta_yr: Any, earth: Any, radian: float, residual: Any, weight: Any, active: Any, suspect: Any,
        cut: float, come_back: float, weigh: bool, limit: Any, inverse: Any, step: Any, report: Any,
    ) -> None:  # fmt: skip  # pragma: no cover
        count = len(stars)
        total = np.empty(width)
        matrix, right = np.empty((size, size)), np.empty(size)
        lower, keep = np.empty((size, size)), np.empty(size, np.uint8)
        nowhere = np.zeros(size)
        used = 0.0
        chi2_reference = 0.0
        gained = 0.0
        chi2_gained = 0.0
        for k in range(part * count // parts, (part + 1) * count // parts):
            for j in range(width):
                total[j] = 0.0
                for p in range(len(sums)):
                    total[j] += sums[p, k, j]
            look = suspect[k] > 0 and cut > 0
            c = inverse[k]
            for turn in range(ROUNDS):
                equations(total, matrix, right)
                if reference_on[k] == 1:
                    add_prior(prior[k], prior_at[k], stars[k], matrix, right)
                invert(matrix, star_free[k], lower, keep, c)
                for i in range(size):
                    step[k, i] = 0.0
                    for j in range(size):
                        step[k, i] += c[i, j] * right[j]
                reference_test = 0.0
                if cut > 0 and reference_on[k] > 0:
                    chi2, share = prior_chi2(prior[k], prior_at[k], stars[k], step[k], c)
                    rest = max(1 - share, 1e-3) if reference_on[k] == 1 else 1 + share
                    reference_test = chi2 / rest / reference_cut
                    look = look or reference_test > cut
                most = 0.0
                if weigh and not look and turn == 0:
                    # By weights alone: the projection changes them by less than matters for a limit.
                    for at in range(star_first[k], star_first[k + 1]):
                        n = members[at]
                        if active[0, n] > 0:
                            t, fx, fy = 0.0, 0.0, 0.0
                            if five:
                                e = exposure_of[image_of[n]]
                                t = delta_yr[e]
                                fx, fy = parallax_factors(stars[k, 0], stars[k, 1], earth[e], radian)
                            v00, v01, v11 = spread_of(c, t, fx, fy)
                            most = max(most, 0.5 * np.float64(active[0, n]) * (v00 + v11))
                    limit[k] = min(1.0, max(2 * (1 - most), LEAST_LIMIT))
                if not look or turn == ROUNDS - 1:
                    break
                # First the worst, then the verdicts.
                worst = reference_test if reference_on[k] == 1 else 0.0
                lost = reference_on[k] != 1
                flips = 0
                for stage in range(2):
                    if stage == 1:
                        for j in range(width):
                            total[j] = 0.0
                        if reference_on[k] > 0:
                            if (
                                reference_on[k] == 1
                                and reference_test > cut
                                and reference_test >= NEAR_WORST * worst
                            ):
                                reference_on[k] = 2
                                flips += 1
                            elif reference_on[k] == 2 and come_back > 0 and turn < RETURNS:
                                again = worst <= cut and reference_test < come_back * cut
                                if (turn == 0) if lost else again:
                                    reference_on[k] = 1
                                    flips += 1
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
                        t, fx, fy = 0.0, 0.0, 0.0
                        if five:
                            t = delta_yr[e]
                            fx, fy = parallax_factors(stars[k, 0], stars[k, 1], earth[e], radian)
                            move0 += t * step[k, 2] + fx * step[k, 4]
                            move1 += t * step[k, 3] + fy * step[k, 4]
                        v00, v01, v11 = spread_of(c, t, fx, fy)
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
                        test = chi2 / max(1 - share, 1e-3) if counts else chi2 / (1 + share)
                        if stage == 0:
                            if counts:
                                lost = False
                                worst = max(worst, test)
                                most = max(most, share)
                            continue
                        sign = 0.0
                        if counts and test > cut and test >= NEAR_WORST * worst:
                            sign = -1.0
                        elif not counts and come_back > 0 and turn < RETURNS:
                            again = worst <= cut and test < come_back * cut
                            if (turn == 0) if lost else again:
                                sign = 1.0
                        f0 = w * residual[0, n] + w01 * residual[1, n]
                        f1 = w01 * residual[0, n] + w11 * residual[1, n]
                        if sign != 0.0:
                            flips += 1
                            active[0, n] = weight[0, n] if sign > 0 else 0
                            if anisotropic:
                                active[1, n] = weight[1, n] if sign > 0 else 0
                                active[2, n] = weight[2, n] if sign > 0 else 0
                            gained += sign
                            chi2_gained += sign * (residual[0, n] * f0 + residual[1, n] * f1)
                        if (
                            active[0, n] > 0
                        ):  # summed anew: a difference would leave rounding where nothing is left
                            g0, g1 = d00 * f0 + d10 * f1, d01 * f0 + d11 * f1
                            if five:
                                add_five(total, i00, i01, i11, g0, g1, t, fx, fy)
                            else:
                                add_two(total, i00, i01, i11, g0, g1)
                    if stage == 0:
                        limit[k] = min(1.0, max(2 * (1 - most), LEAST_LIMIT))
                if flips == 0:
                    break
            if reference_on[k] == 1:
                used += 1
                chi2_reference += prior_chi2(prior[k], prior_at[k], stars[k], nowhere, c)[0]
        report[part, 0] = used
        report[part, 1] = chi2_reference
        report[part, 2] = gained
        report[part, 3] = chi2_gained

    return kernel


@lru_cache
def settle_kernel(star_parameters: int) -> Callable[..., None]:
    """The kernel for a star's answer to a change of the mappings: inverse times the sums of all parts."""
    size = star_parameters

    @njit(cache=True, nogil=True, error_model="numpy")
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

    return kernel
