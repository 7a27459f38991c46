"""Kernels that bring measurements into the order of their stars, and find which of them can take part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

USED, REJECTED, EXCLUDED, ALONE, UNSELECTED = 0, 1, 3, 4, 7
"""States of a point: positions in datasets.STATES."""

MAG_PER_E = 1.0857362047581296
"""2.5 / ln(10): a relative error of a flux times this is one of its magnitude."""


@njit(cache=True, nogil=True, error_model="numpy")
def pack(
    part: int, bounds: Any, image_of: Any, x: Any, y: Any, flux: Any, flux_error: Any, allowed: Any,
    image_state: Any, mid: Any, half: Any, plane_of: Any, plane: Any, parent: Any, by_v: Any,
    magnitudes: bool, packed: Any, bad: Any,
) -> None:  # fmt: skip  # pragma: no cover
    """Of each measurement its place in the focal plane, magnitude or flux, and error.

    In place of the error stands minus the state, if that is not USED. Side by side, because stars take them
    in another order: one visit to memory instead of five.
    """
    terms = len(parent)
    phi = np.empty(terms)
    phi[0] = 1.0
    bad[part] = 0
    for row in range(bounds[part], bounds[part + 1]):
        i = image_of[row]
        u = (x[row] - mid[i, 0]) / half[i, 0]
        v = (y[row] - mid[i, 1]) / half[i, 1]
        c = plane[plane_of[i]]
        p = c[0, 0]
        q = c[1, 0]
        for t in range(1, terms):
            phi[t] = phi[parent[t]] * (v if by_v[t] else u)
            p += c[0, t] * phi[t]
            q += c[1, t] * phi[t]
        f = np.float64(flux[row])
        e = np.float64(flux_error[row])
        good = (
            np.isfinite(f) and np.isfinite(e) and e > 0 and np.isfinite(p + q) and (f > 0 or not magnitudes)
        )
        one = packed[row]
        one[0] = p
        one[1] = q
        one[2] = f
        one[3] = e
        if len(allowed) and not allowed[row]:
            one[3] = -UNSELECTED
        elif image_state[i]:
            one[3] = -image_state[i]
        elif not good:
            one[3] = -EXCLUDED
            bad[part] += 1
        elif magnitudes:
            one[2] = -2.5 * np.log10(f)
            one[3] = MAG_PER_E * e / f


@njit(cache=True, nogil=True)
def gather(
    part: int, bounds: Any, members: Any, image_of: Any, packed: Any, image: Any, fx: Any, fy: Any,
    value: Any, error: Any, state: Any,
) -> None:  # fmt: skip  # pragma: no cover
    """The same in the order of stars, each its own array."""
    for n in range(bounds[part], bounds[part + 1]):
        one = packed[members[n]]
        image[n] = image_of[members[n]]
        fx[n] = one[0]
        fy[n] = one[1]
        value[n] = one[2]
        error[n] = one[3]
        state[n] = USED if one[3] > 0 else -one[3]


@njit(cache=True, nogil=True)
def thin(
    part: int,
    bounds: Any,
    first: Any,
    image: Any,
    image_state: Any,
    held: Any,
    reference_state: Any,
    state: Any,
    counts: Any,
) -> None:  # pragma: no cover
    """Points of images left out go, and what is then alone; how many good ones each image has."""
    here = counts[part]
    for i in range(len(here)):
        here[i] = 0
    for k in range(bounds[part], bounds[part + 1]):
        good = 1 if reference_state[k] <= REJECTED else 0
        for n in range(first[k], first[k + 1]):
            if state[n] <= REJECTED:
                if image_state[image[n]]:
                    state[n] = image_state[image[n]]
                else:
                    good += 1
        for n in range(first[k], first[k + 1]):
            if state[n] <= REJECTED:
                if good < 2:
                    state[n] = ALONE
                elif not held[k]:
                    here[image[n]] += 1
        if good < 2 and reference_state[k] <= REJECTED:
            reference_state[k] = ALONE


@njit(cache=True, nogil=True)
def _root(parent: Any, node: int) -> int:  # pragma: no cover
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def connect(
    first: Any,
    image: Any,
    state: Any,
    reference_state: Any,
    held: Any,
    column: Any,
    set_of: Any,
    anchored: Any,
) -> None:  # pragma: no cover
    """Which zero points common stars tie together: each one's set, and whether that has references."""
    for k in range(len(first) - 1):
        if held[k]:
            continue
        one = -1
        for n in range(first[k], first[k + 1]):
            if state[n] > REJECTED:
                continue
            here = _root(set_of, column[image[n]])
            if one < 0:
                one = here
            elif here != one:
                low, high = min(one, here), max(one, here)
                set_of[high] = low
                anchored[low] = anchored[low] or anchored[high]
                one = low
        if one >= 0 and reference_state[k] <= REJECTED:
            anchored[one] = True
    for node in range(len(set_of)):
        set_of[node] = _root(set_of, node)
