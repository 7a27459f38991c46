"""Friends of friends: points within a radius of each other belong together, and so do their friends. Kernels.

The measurements of a star lie in a heap, so that looking at all pairs would cost the square of the number
of exposures. Points are therefore gathered into balls first: what lies within half a radius of a ball's first
point belongs to it, without further looks. Balls are then joined by the distance of their first points,
and only where that leaves a doubt do their other points decide. The groups are exactly those of the
definition, in whatever order the points come.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from obslab.jointfit.association.cells import span
from obslab.jointfit.projection import Floats

Ints = NDArray[np.int32]

_POINTS_PER_CELL = 4


def friends(x: Floats, y: Floats, radius: float) -> Ints:
    """The group of each point, named by its first member; -1 for points that are NaN.

    Distances of exactly ``radius`` still count. Within a group no step between friends is longer, but the
    group as a whole may be.
    """
    west, east = float(np.fmin.reduce(x, initial=np.inf)), float(np.fmax.reduce(x, initial=-np.inf))
    south, north = float(np.fmin.reduce(y, initial=np.inf)), float(np.fmax.reduce(y, initial=-np.inf))
    if not (west <= east and south <= north):
        return np.full(len(x), -1, np.int32)
    roomy = np.sqrt((east - west) * (north - south) * _POINTS_PER_CELL / len(x))
    slim = max(east - west, north - south) * _POINTS_PER_CELL / len(x)
    size = max(2.001 * radius, float(roomy), slim)
    balls, ball = _gather(x, y, west, south, east, north, size, radius)
    return _label(balls, ball, _join(x, y, balls, radius))


FIRST, LAST, NEXT = range(3)


class Balls(NamedTuple):
    """Heaps of points no larger than a radius, and the cells that hold them."""

    place: Floats
    """Of each ball: x, y of its first point, and the distance of its farthest point from there."""
    link: Ints
    """Of each ball: its first point, its last one, and the next ball in its cell, -1 none."""
    earlier: Ints
    """From the last point of a ball this leads back to the first, and then to -1."""
    head: Ints
    """First ball of each cell, -1 none."""
    west: float
    south: float
    size: float
    columns: int
    rows: int


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(
    x: Floats, y: Floats, west: float, south: float, east: float, north: float, size: float, radius: float
) -> tuple[Balls, Ints]:
    """Put each point into the first ball of its own cell that is near enough, else open one."""
    per_size = 1 / size
    columns = int((east - west) * per_size) + 1  # by the product below: a quotient may round otherwise
    rows = int((north - south) * per_size) + 1
    head = np.empty(columns * rows, np.int32)
    for cell in range(columns * rows):
        head[cell] = -1
    place = np.empty((len(x), 3))  # as many balls as points at worst; what is not written costs nothing
    link = np.empty((len(x), 3), np.int32)
    earlier = np.empty(len(x), np.int32)
    ball = np.empty(len(x), np.int32)
    limit = 0.25 * radius * radius
    count = 0
    for i in range(len(x)):
        earlier[i] = -1
        ball[i] = -1
        if not (x[i] >= west and y[i] >= south):  # NaN
            continue
        cell = int((y[i] - south) * per_size) * columns + int((x[i] - west) * per_size)
        b = head[cell]
        distance2 = 0.0
        while b >= 0:
            distance2 = (x[i] - place[b, 0]) ** 2 + (y[i] - place[b, 1]) ** 2
            if distance2 <= limit:
                break
            b = link[b, NEXT]
        if b >= 0:
            earlier[i] = link[b, LAST]
            place[b, 2] = max(place[b, 2], distance2)
        else:
            b = count
            count += 1
            place[b, 0], place[b, 1], place[b, 2] = x[i], y[i], 0.0
            link[b, FIRST], link[b, NEXT] = i, head[cell]
            head[cell] = b
        link[b, LAST] = i
        ball[i] = b
    for b in range(count):
        place[b, 2] = np.sqrt(place[b, 2])
    return Balls(place[:count], link[:count], earlier, head, west, south, size, columns, rows), ball


@njit(cache=True, nogil=True, error_model="numpy")
def _join(x: Floats, y: Floats, balls: Balls, radius: float) -> Ints:
    """The group of each ball, named by its first ball."""
    count = len(balls.link)
    parent = np.empty(count, np.int32)
    widest = 0.0
    for b in range(count):
        parent[b] = b
        widest = max(widest, balls.place[b, 2])
    for b in range(count):
        around = radius + balls.place[b, 2] + widest
        left, right = span(balls.place[b, 0], around, balls.west, balls.size, balls.columns)
        low, high = span(balls.place[b, 1], around, balls.south, balls.size, balls.rows)
        for row in range(low, high):
            for column in range(left, right):
                c = balls.head[row * balls.columns + column]
                while c >= 0:
                    if c < b and _touch(x, y, balls, b, c, radius, parent):
                        _unite(parent, b, c)
                    c = balls.link[c, NEXT]
    for b in range(count):
        parent[b] = parent[parent[b]]  # a parent comes first, and so is final already
    return parent


@njit(cache=True, nogil=True, error_model="numpy")
def _touch(x: Floats, y: Floats, balls: Balls, b: int, c: int, radius: float, parent: Ints) -> bool:
    """Whether some point of ball b is a friend of some point of ball c; False also if they are joined."""
    distance2 = (balls.place[b, 0] - balls.place[c, 0]) ** 2 + (balls.place[b, 1] - balls.place[c, 1]) ** 2
    if distance2 <= radius * radius:
        return True
    limit = radius * (1 + 1e-9) + balls.place[b, 2] + balls.place[c, 2]
    if distance2 > limit * limit or _root(parent, b) == _root(parent, c):
        return False
    i = balls.link[b, LAST]
    while i >= 0:
        j = balls.link[c, LAST]
        while j >= 0:
            if (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2 <= radius * radius:
                return True
            j = balls.earlier[j]
        i = balls.earlier[i]
    return False


@njit(cache=True, nogil=True, error_model="numpy")
def _root(parent: Ints, b: int) -> int:
    while parent[b] != b:
        parent[b] = parent[parent[b]]
        b = parent[b]
    return b


@njit(cache=True, nogil=True, error_model="numpy")
def _unite(parent: Ints, b: int, c: int) -> None:
    b, c = _root(parent, b), _root(parent, c)
    parent[max(b, c)] = min(b, c)


@njit(cache=True, nogil=True, error_model="numpy")
def _label(balls: Balls, ball: Ints, group: Ints) -> Ints:
    """Overwrite the ball of each point by the first point of its group."""
    for i in range(len(ball)):
        if ball[i] >= 0:
            ball[i] = balls.link[group[ball[i]], FIRST]
    return ball
