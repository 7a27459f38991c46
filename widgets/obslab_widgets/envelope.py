"""Fewer points, same picture: the lowest and highest sample for each pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NS = 1_000_000_000
_GAP = 1.5  # cadences: jitter of half a cadence is no gap

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


def envelope(
    time_ns: Times, values: Floats, cadence_s: float, begin_ns: int, end_ns: int, bins: int
) -> tuple[Times, Floats]:
    """At most two samples for each of ``bins`` equal parts of the window: the lowest and the highest.

    No spike is lost, and each kept sample stands at its own time. A NaN stands where samples are missing,
    so that a line drawn through the result breaks there; of a stream without a cadence each stands alone.
    """
    known = np.flatnonzero(np.isfinite(values))
    times, heights = time_ns[known], values[known]
    steps = np.diff(times, prepend=times[:1])
    gap_ns = _GAP * cadence_s * _NS if np.isfinite(cadence_s) else 0.0
    broken = (steps > gap_ns) | (np.diff(known, prepend=known[:1]) > 1)
    piece = np.cumsum(broken)
    if times.size > 2 * bins:
        cell = np.clip((times - begin_ns) / (end_ns - begin_ns) * bins, -1, bins).astype(np.int64)
        starts = np.flatnonzero(np.diff(cell, prepend=cell[0] - 1))
        sizes = np.diff(starts, append=cell.size)
        kept = [
            _first(np.flatnonzero(heights == np.repeat(extreme.reduceat(heights, starts), sizes)), cell)
            for extreme in (np.minimum, np.maximum)
        ]
        places = np.unique(np.concatenate(kept))
        times, heights, piece = times[places], heights[places], piece[places]
    breaks = np.flatnonzero(np.diff(piece)) + 1
    return np.insert(times, breaks, times[breaks]), np.insert(heights, breaks, np.nan)


def _first(places: NDArray[np.intp], cell: Times) -> NDArray[np.intp]:
    """The first place in each cell."""
    chosen: NDArray[np.intp] = places[np.diff(cell[places], prepend=-2) != 0]
    return chosen
