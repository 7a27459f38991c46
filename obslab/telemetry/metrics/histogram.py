"""Histograms of latency with bins fine enough to read quantiles from: 1 ms, or 2 % above 50 ms.

Bins reach from -100 to 100 years, since a station's clock may be ahead and a backfill years late. Only those
that hold something are ever stored: ``bin`` is an index into ``LOW_S`` and ``HIGH_S``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RATIO = 1.02
_LINEAR_MS = 50  # below, 2 % would be finer than the millisecond to which arrivals are kept
_REACH_S = 100 * 365.25 * 86_400.0

_steps = int(np.ceil(np.log(_REACH_S * 1e3 / _LINEAR_MS) / np.log(RATIO)))
_up = np.concatenate([np.arange(1, _LINEAR_MS), _LINEAR_MS * RATIO ** np.arange(_steps + 1)]) / 1e3
EDGES_S: Floats = np.concatenate([-_up[::-1], [0.0], _up])
LOW_S: Floats = np.concatenate([EDGES_S[:1], EDGES_S])
HIGH_S: Floats = np.concatenate([EDGES_S, EDGES_S[-1:]])


def bin_of(latency_s: Floats) -> Ints:
    """The bin of each value."""
    return np.searchsorted(EDGES_S, latency_s, side="right")


def quantiles(group: Ints, low_s: Floats, high_s: Floats, count: Ints, wanted: tuple[float, ...]) -> Floats:
    """Quantiles of groups of bins, shape (groups, wanted); the groups are those that occur, in order.

    ``group``, ``low_s``, ``high_s`` and ``count`` have one entry for each bin that holds something. A
    quantile is the smallest value that the wanted fraction of samples does not exceed, placed inside its bin
    by rank: it differs from the exact one by less than the width of the bin.
    """
    order = np.lexsort((low_s, group))
    group, low_s, high_s, count = group[order], low_s[order], high_s[order], count[order]
    first = np.flatnonzero(np.diff(group, prepend=group[:1] - 1))
    upto = np.cumsum(count)
    before = upto[first] - count[first]
    total = np.add.reduceat(count, first) if first.size else np.empty(0, np.int64)
    found = np.empty((first.size, len(wanted)))
    for place, fraction in enumerate(wanted):
        # Of 100 samples the 99th is the 0.99 quantile, although 0.99 * 100 is a little more than 99.
        rank = np.clip(np.ceil(fraction * total - 1e-9), 1, total)
        entry = np.searchsorted(upto, before + rank, side="left")
        inside = (before + rank - (upto[entry] - count[entry]) - 0.5) / count[entry]
        found[:, place] = low_s[entry] + inside * (high_s[entry] - low_s[entry])
    return found
