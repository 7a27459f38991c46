"""One exposure onto known stars: a histogram of offsets, then nearest neighbours and an affine.

Every bright measurement votes for the offset to each known star around it. Wrong pairs spread over the
histogram, right ones pile up at one place, unless a turn or a stretch of the field smears them: then a fan
of turns and stretches is tried. All lengths are degrees in the exposure's tangent plane.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.association.cells import Cells, into_cells
from obslab.jointfit.association.voting import pair, peak, seen, vote
from obslab.jointfit.projection import Floats

FEWEST_BRIGHT, FEWEST_KNOWN = 8, 5
BINS = 80
"""Along each axis of the histogram, over twice the search radius: 0.25 arcsec for the default 10."""
LARGEST_TURN_DEG = 0.1
_LARGEST_TURN = np.radians(LARGEST_TURN_DEG)
_LARGEST_STRETCH = 1e-3
_MOST_STEPS = 25
_FAN_BRIGHT = 1000
"""Measurements that try the turns: enough for a peak, and a third of the time."""

_LEAST_SIGMA, _LEAST_SHARE, _MOST_RUNNER_UP = 8.0, 0.05, 0.6
_ROUNDS = 5
_ROUND_SIGMA = 4.0
_LEAST_DETERMINANT = 1e-6


@dataclass
class Pose:
    """How one exposure lies on the known stars, or how far the search for that came."""

    bright: int = 0
    known: int = 0
    """Known stars in and around it."""
    near: int = 0
    """Bright measurements that have a known star within the search radius."""
    pairs: int = 0
    by_chance: float = 0.0
    runner_up: int = 0
    clear: bool = False
    """Whether the best offset stands out."""
    matched: int = 0
    rms: float = np.nan
    middle: Floats = field(default_factory=lambda: np.zeros(2))
    pose: Floats = field(default_factory=lambda: np.zeros((2, 3)))
    """Offset and slopes about ``middle``, for xi and for eta."""

    @property
    def affine(self) -> Floats:
        """The same about the tangent point; zero if nothing was found."""
        about_zero = self.pose.copy()
        about_zero[:, 0] -= self.pose[:, 1:] @ self.middle
        return about_zero if self.clear else np.zeros((2, 3))

    @property
    def turn(self) -> float:
        return float(self.pose[1, 1] - self.pose[0, 2]) / 2


def align(
    x: Floats,
    y: Floats,
    known: Floats,
    years: float,
    matrix: Floats,
    search: float,
    match_cut: float,
    fan: bool,
    mark: NDArray[np.int8],
) -> Pose:
    """The pose of bright measurements x, y; ``mark`` says afterwards which of them are NEAR and MATCHED.

    ``known`` has rows xi, eta, motion in the common plane; ``years`` and ``matrix`` lead to this exposure's
    time and plane.
    """
    if len(x) < FEWEST_BRIGHT:
        return Pose(bright=len(x))
    low, high = np.array([x.min(), y.min()]), np.array([x.max(), y.max()])
    radius = float(np.hypot(*(high - low))) / 2
    margin = 2 * search + radius * (_LARGEST_TURN + _LARGEST_STRETCH)
    west, south = (low - margin).tolist()
    east, north = (high + margin).tolist()
    stars = seen(known, years, matrix, west, south, east, north)
    found = Pose(bright=len(x), known=len(stars[0]), middle=(low + high) / 2)
    if found.known < FEWEST_KNOWN:
        return found
    cells = into_cells(*stars, west, south, east, north, search)
    _find_offset(found, x, y, cells, search, mark)
    if fan and not found.clear:
        found.pose = _best_turn(found.middle, radius, x, y, cells, search)
        _find_offset(found, x, y, cells, search, mark)
    if found.clear:
        bin_size = 2 * search / BINS
        spacing = float(np.sqrt(np.prod(high - low + 2 * margin) / found.known))
        first_radius = min(search, max(1.5 * bin_size, min(match_cut, 0.35 * spacing)))
        _fit(found, x, y, cells, first_radius, bin_size, mark)
    return found


def _find_offset(
    found: Pose, x: Floats, y: Floats, cells: Cells, search: float, mark: NDArray[np.int8]
) -> None:
    """The best offset at this turn, and whether it stands out: over chance, over the runner-up, and as a
    share of those that could match."""
    counts = np.empty((BINS, BINS), np.int32)
    pairs = vote(x, y, found.middle, found.pose, cells, search, counts, mark)
    best, i, j = peak(counts)
    counts[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3] = 0
    found.pairs, found.runner_up = best, peak(counts)[0]
    found.by_chance = (pairs - best) * 9.0 / (BINS * BINS - 9)
    found.near = int(np.count_nonzero(mark))
    found.pose[:, 0] += (np.array([i, j]) + 0.5) * (2 * search / BINS) - search
    excess = best - found.by_chance
    found.clear = bool(
        excess >= _LEAST_SIGMA * np.sqrt(found.by_chance + 1)
        and excess >= _LEAST_SHARE * min(found.near, found.known)
        and found.runner_up <= _MOST_RUNNER_UP * best
    )


def _best_turn(middle: Floats, radius: float, x: Floats, y: Floats, cells: Cells, search: float) -> Floats:
    """Turn and stretch, as a pose, with the highest peak; a step moves the rim of the field by two bins."""
    step = max(4 * search / BINS / max(radius, 1e-9), _LARGEST_TURN / _MOST_STEPS)
    turns, stretches = int(np.ceil(_LARGEST_TURN / step)), int(np.ceil(_LARGEST_STRETCH / step))
    every = max(1, len(x) // _FAN_BRIGHT)
    x, y = x[::every].copy(), y[::every].copy()
    counts, mark = np.empty((BINS, BINS), np.int32), np.empty(len(x), np.int8)
    best, best_pose = -1, np.zeros((2, 3))
    for turn in np.arange(-turns, turns + 1) * step:
        for stretch in np.arange(-stretches, stretches + 1) * step:
            pose = np.array([[0, stretch, -turn], [0, turn, stretch]])
            vote(x, y, middle, pose, cells, search, counts, mark)
            height = peak(counts)[0]
            if height > best:
                best, best_pose = height, pose
    return best_pose


def _fit(
    found: Pose,
    x: Floats,
    y: Floats,
    cells: Cells,
    first_radius: float,
    last_radius: float,
    mark: NDArray[np.int8],
) -> None:
    """Least squares on nearest neighbours, again and again within four times the scatter found before."""
    radius = first_radius
    for _ in range(_ROUNDS):
        normal, right_side = np.zeros((3, 3)), np.zeros((2, 3))
        squares = pair(x, y, found.middle, found.pose, cells, radius, mark, normal, right_side)
        normal += np.tril(normal, -1).T
        found.matched = int(normal[0, 0])
        if found.matched < FEWEST_KNOWN:
            found.clear = False
            return
        found.rms = float(np.sqrt(squares / found.matched))
        found.pose = _solved(normal, right_side, found.pose)
        radius = min(radius, max(_ROUND_SIGMA * found.rms / np.sqrt(2), last_radius))


def _solved(normal: Floats, right_side: Floats, pose: Floats) -> Floats:
    """The pose of these normal equations; only its offsets with too few stars, or stars on a line."""
    count = normal[0, 0]
    spread = normal[1:, 1:] - np.outer(normal[1:, 0], normal[1:, 0]) / count
    flat = np.linalg.det(spread) <= _LEAST_DETERMINANT * np.trace(spread) ** 2
    if count < 2 * FEWEST_KNOWN or flat:
        offsets = (right_side[:, 0] - pose[:, 1:] @ normal[1:, 0]) / count
        return np.column_stack([offsets, pose[:, 1:]])
    return np.ascontiguousarray(np.linalg.solve(normal, right_side.T).T)
