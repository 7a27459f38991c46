"""Steps: the level of a component changes from one sample to the next, and stays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.flags.series import Floats, Series

_SIGMA = 1.4826  # of a normal distribution, over the median of its size
_AROUND = 30  # windows in which the usual size of such changes is taken
_NEAR = 5  # lengths of a gap on either side of it, in which what is usual in such a time is taken
_STAYS = 0.3  # share of the jump by which the levels of whole windows may differ from it
_ALONE = 0.4  # share of the jump that other changes in a window around it may have

Places = NDArray[np.intp]


class Jumps(NamedTuple):
    """First sample at the new level, height and significance of each."""

    place: Places
    size: Floats
    sigma: Floats


def jumps(series: Series, threshold: float, window: int, least: float) -> Jumps:
    """Jumps in order.

    A jump is the median of a sixth of a window after a sample minus that before it, and must be higher than
    ``threshold`` times what is usual for such changes; be the same between medians of whole windows, so it
    stays; and have no change half as large within a window of it, so it is no part of a storm. One across a
    gap must be higher than what the component changes in such a time.
    """
    from scipy.ndimage import median_filter

    values, count = series.values, series.values.size
    short = window // 6
    if count < 3 * window:
        return Jumps(np.empty(0, np.intp), np.empty(0), np.empty(0))
    change = _change(values, short)
    stays = _change(values, window)
    usual = _SIGMA * median_filter(np.abs(change), min(_AROUND * window + 1, count), mode="nearest")
    usual = np.maximum(usual, 0.01 * max(least, 1e-9))
    high = (np.abs(change) > threshold * usual) & (np.abs(change) > least)
    kept: list[tuple[int, float, float]] = []
    candidates = np.flatnonzero(high & (np.abs(stays - change) < _STAYS * np.abs(change)))
    for place in candidates[np.argsort(-np.abs(change[candidates]), kind="stable")]:
        if any(abs(place - other) < window for other, _, _ in kept) or not window <= place <= count - window:
            continue
        if not _alone(change, int(place), window, short):
            continue
        exact = _exact(values, int(place), short, float(change[place]))
        size = float(np.median(values[exact : exact + window]) - np.median(values[exact - window : exact]))
        sigma = abs(size) / max(float(usual[place]), _in_such_a_time(series, exact, window))
        if sigma > threshold:
            kept.append((exact, size, sigma))
    kept.sort()
    return Jumps(
        np.array([place for place, _, _ in kept], dtype=np.intp),
        np.array([size for _, size, _ in kept]),
        np.array([sigma for _, _, sigma in kept]),
    )


def _change(values: Floats, length: int) -> Floats:
    """Median of ``length`` samples from each one on, minus that of as many before it."""
    from scipy.ndimage import median_filter

    # The filter of an even length is about its right middle: [c - length // 2, c + length - length // 2).
    middle = median_filter(values, length, mode="nearest")
    places = np.arange(values.size)
    after = np.minimum(places + length // 2, values.size - 1)
    before = np.maximum(places - length + length // 2, 0)
    changed: Floats = middle[after] - middle[before]
    return changed


def _alone(change: Floats, place: int, window: int, short: int) -> bool:
    around = np.abs(change[max(0, place - window) : place + window + 1]).copy()
    own = min(place, window)
    around[max(0, own - short) : own + short + 1] = 0.0
    return bool(around.max() < _ALONE * abs(change[place]))


def _exact(values: Floats, place: int, short: int, change: float) -> int:
    """The sample with the largest step of the right sign nearby: medians only tell it to a few samples."""
    first = place - short
    steps = np.diff(values[first - 1 : place + short + 1]) * np.sign(change)
    return first + int(np.argmax(steps))


def _in_such_a_time(series: Series, place: int, window: int) -> float:
    """What the component changes in the length of the longest gap around a place; 0 without one."""
    time_ns = series.time_ns[max(0, place - window) : place + window]
    lost = int(np.max(np.diff(time_ns))) // series.cadence_ns
    if lost <= 1:
        return 0.0
    reach = _NEAR * max(lost, window)
    values = series.values[max(0, place - reach) : place + reach]
    if values.size < 2 * lost:
        return np.inf
    return _SIGMA * float(np.median(np.abs(values[lost:] - values[:-lost])))
