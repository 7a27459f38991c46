"""Which points of a star do not belong: the rule of the astrometric fit, with one number a point, not two.

A star is looked at whole, at the best value of the points that count:

- a point that counts is rejected when chi2 / (1 - h) is above the cut, h being its share in the star's value:
  what its chi2 would be had it not pulled the star; and only if that is at least half of the star's worst,
  since one gross outlier makes good neighbours look bad;
- one that was rejected comes back when chi2 / (1 + h) is below 0.9 of the cut: the gap keeps it from
  flickering;
- the reference magnitude is a point like the others.

This is repeated within the star until nothing changes. A star that lost all its points (two that disagree) is
judged anew, with all of them, at the next pass. What still comes and goes after some passes stays out, or two
halves of a star that exclude each other might take turns for ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

ROUNDS = 8
COME_BACK = 0.9
NEAR_WORST = 0.5
LEAST_FREE = 1e-6
"""A point with all but this share of the star's weight says nothing about itself."""

BINS = 2560
"""Of a histogram of positive numbers: 64 an octave, from 2**-20 to 2**20. Its median is good to 0.5 %, and
does not depend on an order or on a sample."""
_SHIFT = 17  # of a float32's bits, so that 64 bins are left of an octave
_FIRST = 107 << (23 - _SHIFT)  # the bin of 2**-20

MEDIAN_CHI2 = 0.4549364
"""Median of chi2 with one degree of freedom."""


@njit(cache=True, nogil=True, error_model="numpy")
def bin_of(value: float) -> int:  # pragma: no cover
    """The histogram bin of a positive number: its leading bits as a float32."""
    place = (np.float32(value).view(np.int32) >> _SHIFT) - _FIRST
    if place < 0:
        return 0
    return int(place) if place < BINS else BINS - 1


def median(histogram: NDArray[np.float64]) -> float:
    """The middle of the numbers in a histogram of ``bin_of``; NaN of none."""
    return quantile(histogram, 0.5)


def quantile(histogram: NDArray[np.float64], part: float) -> float:
    """The number below which ``part`` of those in the histogram are; NaN of none."""
    below = np.cumsum(histogram)
    if not below[-1]:
        return float("nan")
    place = int(np.searchsorted(below, part * below[-1]))
    left, right = (np.array([place, place + 1], np.int32) + _FIRST << _SHIFT).view(np.float32).astype(float)
    within = (part * below[-1] - (below[place] - histogram[place])) / max(histogram[place], 1)
    return float(left + within * (right - left))


@njit(cache=True, nogil=True, error_model="numpy")
def judge(
    n: int, y: Any, slope: Any, weight: Any, active: Any, chi2: Any, cut: float, come_back: bool
) -> tuple[float, float]:  # pragma: no cover
    """Value of a star and its information, from the ``n`` points y = slope * value; ``active`` is updated.

    ``chi2`` becomes what the rule compares with the cut. An infinite cut judges nothing. Without information
    the value is that of all points, and none is active. Without ``come_back`` nothing that was rejected
    returns.
    """
    alive = not come_back
    for i in range(n):
        alive = alive or active[i]
    if not alive:
        for i in range(n):
            active[i] = True
    value = 0.0
    information = 0.0
    for turn in range(ROUNDS):
        information = 0.0
        total = 0.0
        for i in range(n):
            if active[i]:
                information += weight[i] * slope[i] * slope[i]
                total += weight[i] * slope[i] * y[i]
        if information <= 0:
            return value, 0.0
        value = total / information
        worst = 0.0
        for i in range(n):
            r = y[i] - slope[i] * value
            c = weight[i] * r * r
            h = weight[i] * slope[i] * slope[i] / information
            if active[i]:
                c = c / (1 - h) if 1 - h > LEAST_FREE else 0.0
                worst = max(worst, c)
            else:
                c /= 1 + h
            chi2[i] = c
        if turn == ROUNDS - 1:
            break
        changed = 0
        for i in range(n):
            if active[i] and chi2[i] > cut and chi2[i] >= NEAR_WORST * worst:
                active[i] = False
                changed += 1
            elif come_back and not active[i] and worst <= cut and chi2[i] < COME_BACK * cut:
                active[i] = True
                changed += 1
        if not changed:
            break
    return value, information


@njit(cache=True, nogil=True, error_model="numpy")
def look(
    n: int, y: Any, weight: Any, active: Any, chi2: Any, ordered: Any
) -> tuple[float, float]:  # pragma: no cover
    """The same from the median of the points, of which nearly half may be wrong; all become active."""
    information = 0.0
    for i in range(n):
        active[i] = True
        information += weight[i]
        j = i
        while j > 0 and ordered[j - 1] > y[i]:
            ordered[j] = ordered[j - 1]
            j -= 1
        ordered[j] = y[i]
    value = (ordered[n // 2] + ordered[(n - 1) // 2]) / 2
    for i in range(n):
        r = y[i] - value
        h = weight[i] / information
        chi2[i] = weight[i] * r * r / (1 - h) if 1 - h > LEAST_FREE else 0.0
    return value, information
