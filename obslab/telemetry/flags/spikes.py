"""Spikes: short runs of samples off the cubic through the two samples on each side of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.flags.series import Floats, Series

_SIGMA = 1.4826  # of a normal distribution, over the median of its size
_AROUND = 61  # samples: long enough for a median, short enough to follow the onset of a storm
_FINEST = 0.05  # share of ``least``: without any noise the last digit would be a spike
_NEAR, _SHARP, _BEND, _CLEAR = 12, 0.5, 0.4, 4.0  # see ``_stands_alone``
_PASSES = 4
_EDGE = 3.0  # median steps from sample to sample that one next to a gap may be off

Places = NDArray[np.intp]


class Spikes(NamedTuple):
    """First sample, length, height and significance of each."""

    place: Places
    length: Places
    size: Floats
    sigma: Floats


def spikes(series: Series, threshold: float, longest: int, least: float) -> Spikes:
    """Spikes of up to ``longest`` samples, in order.

    In each pass the clearest of those that overlap is taken and replaced by the cubic: otherwise it would
    spoil the verdict on its neighbours, and hide smaller ones.
    """
    padded, place, edge = _padded(series, longest + 2)
    found: dict[int, tuple[int, float, float]] = {}
    if series.values.size < 2 * longest + 5:
        return _table(found)
    for _ in range(_PASSES):
        run, length, size, sigma = _candidates(padded, place, edge, threshold, longest, least)
        if not run.size:
            break
        for first, count, height, times in zip(run, length, size, sigma, strict=True):
            found[int(first)] = (int(count), float(height), float(times))
            inside = np.arange(first, first + count)
            padded[inside] -= height
    return _table({int(place[first]): values for first, values in found.items()})


def _candidates(
    padded: Floats, place: Places, edge: NDArray[np.bool_], threshold: float, longest: int, least: float
) -> Spikes:
    """The clearest runs that do not touch, in a padded series."""
    from scipy.ndimage import median_filter

    around = min(max(_AROUND, 8 * longest + 1), padded.size)
    own = place >= 0
    steps = np.diff(padded, prepend=padded[0])
    slope = median_filter(steps, _NEAR - 1, mode="nearest")
    usual = median_filter(np.abs(steps), around, mode="nearest")
    singly = np.pad(np.abs(_left_over(padded, 1)[0]), 2, mode="edge")
    run, length, size, sigma = [], [], [], []
    for count in range(1, longest + 1):
        left_over, first = _left_over(padded, count)
        noise = _SIGMA * median_filter(np.abs(left_over), around, mode="nearest")
        allowed = np.where(edge[first] | edge[first + count - 1], _EDGE * usual[first], 0.0)
        height = np.abs(left_over) - allowed
        times = height / np.maximum(noise, _FINEST * max(least, 1e-9))
        inside = own[first] & own[first + count - 1]
        chosen = np.flatnonzero(inside & (times > threshold) & (height > least))
        alone = _stands_alone(padded, slope, singly, first[chosen], count, left_over[chosen])
        chosen = chosen[alone]
        run.append(first[chosen])
        length.append(np.full(chosen.size, count))
        size.append(left_over[chosen])
        sigma.append(times[chosen])
    return _apart(
        Spikes(np.concatenate(run), np.concatenate(length), np.concatenate(size), np.concatenate(sigma))
    )


def _stands_alone(
    values: Floats, slope: Floats, singly: Floats, first: Places, count: int, height: Floats
) -> NDArray[np.bool_]:
    """Runs with a sharp edge on both sides, and calm beyond.

    An edge has half the height or more, apart from the slope across the run: so it is the whole run and no
    part of one. What is left over by single samples near by (``singly``; without those that have the run in
    their cubic) is smaller than a fourth in three of four: a swing of the field is rough for several seconds.
    """
    after = first + count
    rise = (values[first] - values[first - 1] - slope[first]) * np.sign(height)
    fall = (values[after - 1] - values[after] + slope[after]) * np.sign(height)
    sharp = np.minimum(rise, fall) > _SHARP * np.abs(height)
    beyond = np.concatenate([np.arange(-_NEAR - 2, -2), np.arange(count + 2, count + 2 + _NEAR)])
    bent = singly[first[:, None] + np.arange(-1, count + 1)].max(1) > _BEND * np.abs(height)
    near = singly[np.clip(first[:, None] + beyond, 0, singly.size - 1)]
    calm = _CLEAR * np.quantile(near, 0.75, axis=1) < np.abs(height)
    alone: NDArray[np.bool_] = sharp & bent & calm
    return alone


def _left_over(values: Floats, count: int) -> tuple[Floats, Places]:
    """Mean of each run of ``count`` samples minus the cubic through two on each side, and the first of it."""
    middle = (count - 1) / 2
    known = np.array([-middle - 2, -middle - 1, middle + 1, middle + 2])
    inside = np.arange(count) - middle
    cubic = np.vander(inside, 4) @ np.linalg.inv(np.vander(known, 4))
    weights = np.concatenate([-cubic[:, :2].mean(0), np.full(count, 1 / count), -cubic[:, 2:].mean(0)])
    left_over = np.correlate(values, weights, "valid")
    return left_over, np.arange(left_over.size) + 2


def _apart(found: Spikes) -> Spikes:
    """Of runs whose cubics share samples, the one with the highest significance."""
    kept: list[int] = []
    taken: list[tuple[int, int]] = []
    for number in np.argsort(-found.sigma):
        first, last = int(found.place[number]) - 2, int(found.place[number] + found.length[number]) + 2
        if all(last <= begin or first >= end for begin, end in taken):
            taken.append((first, last))
            kept.append(int(number))
    return Spikes(found.place[kept], found.length[kept], found.size[kept], found.sigma[kept])


def _padded(series: Series, pad: int) -> tuple[Floats, Places, NDArray[np.bool_]]:
    """The stretches of a series, each with ``pad`` medians of its five last samples at either end.

    Also for each place which sample it is, -1 for the medians; and whether it is one of the two at an end.
    """
    first = series.first
    last = np.append(first[1:], series.values.size)
    size = last - first
    begin = np.cumsum(size + 2 * pad) - size - pad  # where each stretch begins in the result
    stretch = np.repeat(np.arange(first.size), size)
    to = np.arange(series.values.size) - first[stretch] + begin[stretch]
    values = np.empty(series.values.size + 2 * pad * first.size)
    place = np.full(values.size, -1, dtype=np.intp)
    edge = np.zeros(values.size, dtype=bool)
    near = np.arange(5)
    heads = np.median(series.values[np.minimum(first[:, None] + near, last[:, None] - 1)], axis=1)
    tails = np.median(series.values[np.maximum(last[:, None] - 1 - near, first[:, None])], axis=1)
    for step in range(pad):
        values[begin - 1 - step] = heads
        values[begin + size + step] = tails
    values[to], place[to] = series.values, np.arange(series.values.size)
    within = np.arange(series.values.size) - first[stretch]
    edge[to] = (within < 2) | (size[stretch] - within <= 2)
    return values, place, edge


def _table(found: dict[int, tuple[int, float, float]]) -> Spikes:
    order = sorted(found)
    return Spikes(
        np.array(order, dtype=np.intp),
        np.array([found[one][0] for one in order], dtype=np.intp),
        np.array([found[one][1] for one in order]),
        np.array([found[one][2] for one in order]),
    )
