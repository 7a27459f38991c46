"""Latency over time and its distribution, as lines and bars on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.telemetry.metrics.targets import TARGET_S
from obslab.telemetry.sample import Stream
from obslab_widgets.latency_dashboard.answer import Answer
from obslab_widgets.wording import latency

Floats = NDArray[np.float64]

LOWEST_S = 1e-3  # arrivals are known to a millisecond; what is lower, or before its time, stands there
_HOUR_S = 3600.0
TICKS = {0.001: "1 ms", 0.01: "10 ms", 0.1: "0.1 s", 1.0: "1 s", 10.0: "10 s", 60.0: "1 min", 600.0: "10 min"}
TICKS |= {n * _HOUR_S: name for n, name in ((1, "1 h"), (6, "6 h"), (24, "1 d"), (168, "7 d"), (720, "30 d"))}
_BELOW = 0.3  # of the height above
_BARS = 8  # in a factor of ten
_QUANTILES = (("p50_s", "half", "solid"), ("p90_s", "90 %", "dashed"), ("p99_s", "99 %", "dotted"))


@dataclass(frozen=True, eq=False)
class Curve:
    """A line: ``y_s`` is where it is drawn, ``value_s`` what it is; NaN breaks it.

    ``lone_s`` is the same of points without a neighbour, which no line would show.
    """

    name: str
    colour: int
    dash: str
    time_ms: Floats
    y_s: Floats
    lone_s: Floats
    value_s: Floats
    worst_s: Floats
    n: Floats


@dataclass(frozen=True)
class Level:
    """A latency to compare with, drawn across."""

    name: str
    at_s: float
    is_target: bool


@dataclass(frozen=True, eq=False)
class Bars:
    """The distribution: ``n`` samples between ``low_s`` and ``high_s``."""

    low_s: Floats
    high_s: Floats
    n: Floats


def curves(answer: Answer) -> tuple[Curve, ...]:
    """Quantiles of one stream; of several streams the latency that 99 % keep, one line each."""
    if answer.scope is None:
        return ()
    table, streams = answer.latency, answer.scope.paced
    if len(streams) == 1:
        return tuple(
            _curve(table, str(streams[0]), name, f"{label} within", number, dash, answer.window_s)
            for number, (name, label, dash) in enumerate(_QUANTILES)
        )
    return tuple(
        _curve(table, str(stream), "p99_s", str(stream), number, "solid", answer.window_s)
        for number, stream in enumerate(streams)
    )


def levels(streams: Sequence[Stream], delay_s: float) -> tuple[Level, ...]:
    """INTERMAGNET's targets for these streams, and the delay that one instrument is known to have."""
    wanted = {max(stream.cadence_s, 1.0) for stream in streams}
    named = {1.0: "1 s data", 60.0: "1 min data"}
    found = [
        Level(f"target for {named[cadence_s]}: {latency(at_s).replace('.0', '')}", at_s, True)
        for cadence_s, at_s in TARGET_S.items()
        if cadence_s in wanted
    ]
    if len(streams) == 1 and delay_s > 0:
        found.append(Level(f"known delay of the instrument: {latency(delay_s)}", delay_s, False))
    return tuple(found)


def limits(drawn: Sequence[Curve], compared: Sequence[Level], bars: Bars) -> tuple[float, float]:
    """Ends of the axis of latency: room for everything, moved out so that they seldom move."""
    values = np.concatenate([np.empty(0), *(curve.y_s for curve in drawn), *([b.at_s] for b in compared)])
    values = np.concatenate([values[np.isfinite(values)], bars.low_s[:1], bars.high_s[-1:]])
    if not values.size:
        return 0.01, 100.0
    low, high = np.log10(max(values.min(), LOWEST_S)), np.log10(max(values.max(), 2 * LOWEST_S))
    high = np.ceil(2 * high + 0.4) / 2
    # Below the lowest line stand its name and those of the curves.
    return float(10 ** (np.floor(4 * (low - _BELOW * (high - low))) / 4)), float(10**high)


def ticks_s(low_s: float, high_s: float, apart: float) -> list[float]:
    """Latencies to write at an axis, so that neighbours are a fraction ``apart`` of its length apart."""
    length = np.log10(high_s / low_s)
    chosen: list[float] = []
    for at_s in TICKS:
        if low_s <= at_s <= high_s and (not chosen or np.log10(at_s / chosen[-1]) >= apart * length):
            chosen.append(at_s)
    return chosen


def bars(histogram: xr.Dataset) -> Bars:
    """A histogram of few bars, of equal width on the logarithmic axis."""
    n = histogram.n.values.astype(np.float64)
    middle_s = np.maximum((histogram.low_s.values + histogram.high_s.values) / 2, LOWEST_S)
    place = np.floor(np.log10(middle_s) * _BARS + 1e-9).astype(np.int64)
    if not n.sum():
        return Bars(*(np.empty(0) for _ in range(3)))
    first = place[n > 0].min()
    summed: Floats = np.bincount(np.maximum(place - first, 0), n).astype(np.float64)
    edges_s = 10.0 ** (np.arange(first, first + summed.size + 1) / _BARS)
    held = summed > 0
    return Bars(edges_s[:-1][held], edges_s[1:][held], summed[held])


def _curve(
    table: xr.Dataset, stream: str, column: str, name: str, colour: int, dash: str, window_s: float
) -> Curve:
    mine = table.stream.values == stream
    begin, end = table.begin.values[mine], table.end.values[mine]
    time_ms = (begin.astype(np.int64) + end.astype(np.int64)) / 2e6
    columns = [table[column].values[mine], table.max_s.values[mine], table.n.values[mine].astype(float)]
    breaks = np.flatnonzero(np.diff(begin.astype(np.int64)) > 1.5e9 * window_s) + 1
    value_s, worst_s, n = (np.insert(values, breaks, np.nan) for values in columns)
    y_s = np.maximum(value_s, LOWEST_S)
    around = np.isfinite(np.concatenate([[np.nan], y_s, [np.nan]]))
    return Curve(
        name,
        colour,
        dash,
        np.insert(time_ms, breaks, time_ms[breaks - 1] if breaks.size else []),
        y_s,
        np.where(around[:-2] | around[2:], np.nan, y_s),
        value_s,
        worst_s,
        n,
    )
