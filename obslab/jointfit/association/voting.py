"""Known stars against the bright measurements of one exposure: offsets, their peak, nearest pairs. Kernels.

All lengths are degrees in the exposure's tangent plane. ``pose`` is how the exposure is moved: rows (xi, eta)
of offset and two slopes, about a middle: x' = x + pose[0, 0] + pose[0, 1] dx + pose[0, 2] dy.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from obslab.jointfit.association.cells import Cells, span
from obslab.jointfit.projection import Floats

NEAR, MATCHED = 1, 2
"""Marks of a measurement: a known star is around; one was found at its place."""


@njit(cache=True, nogil=True, error_model="numpy")
def seen(
    known: Floats, years: float, m: Floats, west: float, south: float, east: float, north: float
) -> tuple[Floats, Floats]:
    """Known stars (rows xi, eta, motion, in the common plane) at another time in plane m, within a box."""
    x = np.empty(len(known))
    y = np.empty(len(known))
    count = 0
    for k in range(len(known)):
        a = known[k, 0] + years * known[k, 2]
        b = known[k, 1] + years * known[k, 3]
        depth = m[2, 0] * a + m[2, 1] * b + m[2, 2]
        x[count] = (m[0, 0] * a + m[0, 1] * b + m[0, 2]) / depth
        y[count] = (m[1, 0] * a + m[1, 1] * b + m[1, 2]) / depth
        if depth > 0.1 and x[count] > west and x[count] < east and y[count] > south and y[count] < north:
            count += 1
    return x[:count], y[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def vote(
    x: Floats,
    y: Floats,
    middle: Floats,
    pose: Floats,
    cells: Cells,
    search: float,
    counts: NDArray[np.int32],
    mark: NDArray[np.int8],
) -> int:
    """Histogram of known star minus measurement, up to ``search`` in both directions -> pairs in it."""
    bins = len(counts)
    for i in range(bins):
        for j in range(bins):
            counts[i, j] = 0
    pairs = 0
    scale = bins / (2 * search)
    for n in range(len(x)):
        dx = x[n] - middle[0]
        dy = y[n] - middle[1]
        a = x[n] + pose[0, 0] + pose[0, 1] * dx + pose[0, 2] * dy - search
        b = y[n] + pose[1, 0] + pose[1, 1] * dx + pose[1, 2] * dy - search
        left, right = span(a + search, search, cells.west, cells.size, cells.columns)
        low, high = span(b + search, search, cells.south, cells.size, cells.rows)
        mark[n] = 0
        for row in range(low, high):
            for k in range(cells.start[row * cells.columns + left], cells.start[row * cells.columns + right]):
                i = int((cells.x[k] - a) * scale)
                j = int((cells.y[k] - b) * scale)
                if cells.x[k] > a and cells.y[k] > b and i < bins and j < bins:
                    counts[i, j] += 1
                    pairs += 1
                    mark[n] = NEAR
    return pairs


@njit(cache=True, nogil=True, error_model="numpy")
def peak(counts: NDArray[np.int32]) -> tuple[int, int, int]:
    """The largest sum of 3 x 3 bins, and where."""
    best, best_i, best_j = -1, 1, 1
    for i in range(1, len(counts) - 1):
        for j in range(1, len(counts) - 1):
            total = 0
            for k in range(i - 1, i + 2):
                total += counts[k, j - 1] + counts[k, j] + counts[k, j + 1]
            if total > best:
                best, best_i, best_j = total, i, j
    return best, best_i, best_j


@njit(cache=True, nogil=True, error_model="numpy")
def pair(
    x: Floats,
    y: Floats,
    middle: Floats,
    pose: Floats,
    cells: Cells,
    radius: float,
    mark: NDArray[np.int8],
    normal: Floats,
    right_side: Floats,
) -> float:
    """The nearest known star of each measurement within a radius -> sum of their distances squared.

    Added up are the normal equations (3, 3) of a pose, up to the diagonal, and their right side (2, 3).
    """
    squares = 0.0
    for n in range(len(x)):
        dx = x[n] - middle[0]
        dy = y[n] - middle[1]
        a = x[n] + pose[0, 0] + pose[0, 1] * dx + pose[0, 2] * dy
        b = y[n] + pose[1, 0] + pose[1, 1] * dx + pose[1, 2] * dy
        left, right = span(a, radius, cells.west, cells.size, cells.columns)
        low, high = span(b, radius, cells.south, cells.size, cells.rows)
        best, best2 = -1, radius * radius
        for row in range(low, high):
            for k in range(cells.start[row * cells.columns + left], cells.start[row * cells.columns + right]):
                distance2 = (cells.x[k] - a) ** 2 + (cells.y[k] - b) ** 2
                if distance2 < best2:
                    best, best2 = k, distance2
        if best < 0:
            if mark[n] == MATCHED:
                mark[n] = NEAR
            continue
        mark[n] = MATCHED
        squares += best2
        normal[0, 0] += 1
        normal[1, 0] += dx
        normal[2, 0] += dy
        normal[1, 1] += dx * dx
        normal[2, 1] += dx * dy
        normal[2, 2] += dy * dy
        u = cells.x[best] - x[n]
        v = cells.y[best] - y[n]
        right_side[0, 0] += u
        right_side[0, 1] += u * dx
        right_side[0, 2] += u * dy
        right_side[1, 0] += v
        right_side[1, 1] += v * dx
        right_side[1, 2] += v * dy
    return squares
