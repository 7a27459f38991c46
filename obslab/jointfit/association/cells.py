"""Points of a plane sorted into square cells: neighbours are found without a look at the others. Kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


class Cells(NamedTuple):
    """Cell (row, column) holds the sorted points start[row * columns + column] up to the next start."""

    west: float
    south: float
    size: float
    columns: int
    rows: int
    start: Ints
    x: Floats
    y: Floats
    order: Ints
    """Which of the given points each sorted one is."""


@njit(cache=True, nogil=True, error_model="numpy")
def into_cells(
    x: Floats, y: Floats, west: float, south: float, east: float, north: float, size: float
) -> Cells:
    """Cells over this box; points outside it, or NaN, are left out."""
    columns = int((east - west) / size) + 1
    rows = int((north - south) / size) + 1
    start = np.zeros(columns * rows + 2, np.int32)
    for i in range(len(x)):
        if x[i] >= west and x[i] <= east and y[i] >= south and y[i] <= north:
            start[int((y[i] - south) / size) * columns + int((x[i] - west) / size) + 2] += 1
    for cell in range(2, columns * rows + 2):
        start[cell] += start[cell - 1]
    inside = start[columns * rows + 1]
    sorted_x = np.empty(inside)
    sorted_y = np.empty(inside)
    order = np.empty(inside, np.int32)
    for i in range(len(x)):
        if x[i] >= west and x[i] <= east and y[i] >= south and y[i] <= north:
            cell = int((y[i] - south) / size) * columns + int((x[i] - west) / size) + 1
            at = start[cell]  # one cell late: filling a cell moves its start to where it belongs
            start[cell] += 1
            sorted_x[at] = x[i]
            sorted_y[at] = y[i]
            order[at] = i
    return Cells(west, south, size, columns, rows, start[:-1], sorted_x, sorted_y, order)


@njit(cache=True, nogil=True, error_model="numpy")
def span(value: float, reach: float, origin: float, size: float, count: int) -> tuple[int, int]:
    """The cells, first and last + 1, along one axis that a distance ``reach`` around ``value`` touches.

    Far outside there are none, but first and last are those of some cell: kernels check no bounds.
    """
    first = min(max(int((value - reach - origin) / size), 0), count)
    return first, max(min(int((value + reach - origin) / size) + 1, count), first)
