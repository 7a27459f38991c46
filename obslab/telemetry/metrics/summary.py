"""From the samples of a day to their summary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.metrics.day import DaySummary, Floats, Gaps, Hours, Ints, LateRuns
from obslab.telemetry.metrics.histogram import bin_of
from obslab.telemetry.metrics.targets import LATE_S, target_s
from obslab.telemetry.sample import Meta, Stream

__all__ = ["DaySummary", "summarise"]

MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS


def summarise(
    stream: Stream, metas: Sequence[Meta], day_ns: int, time_ns: Ints, arrival_ns: Ints
) -> DaySummary:
    """The summary of a day's samples; ``time_ns`` is in order, and within the day from ``day_ns`` on.

    Samples of a part of the day give the summary of that part. Can be mapped over days by Dask.
    """
    station_ns, delay_s, slowness = on_station_clock(metas, time_ns, arrival_ns)
    meta = metas[_version(metas, time_ns[-1:])[0]] if metas and time_ns.size else None
    irregular = stream.cadence_s == float("inf")
    latency_s = (station_ns - time_ns) / 1e9
    late = np.zeros(time_ns.size, bool) if irregular else latency_s - delay_s > LATE_S * slowness
    edges = (time_ns[0], time_ns[-1], station_ns[0], station_ns[-1]) if time_ns.size else (0, 0, 0, 0)
    first, last, first_arrival, last_arrival = (int(edge) for edge in edges)
    return DaySummary(
        stream,
        int(day_ns),
        int(time_ns.size),
        first,
        last,
        first_arrival,
        last_arrival,
        np.bincount((time_ns[_places(stream, time_ns)] - day_ns) // MINUTE_NS, minlength=1440),
        _hours((time_ns - day_ns) // HOUR_NS, latency_s, delay_s, target_s(stream)),
        _gaps(stream, time_ns, station_ns),
        _late_runs(time_ns, station_ns, late),
        time_ns.astype(np.int64) if irregular else np.empty(0, np.int64),
        meta.schedule if meta else (),
        meta.schedule_tolerance_s if meta else 0.0,
        meta.clock if meta else None,
    )


def on_station_clock(metas: Sequence[Meta], time_ns: Ints, arrival_ns: Ints) -> tuple[Ints, Floats, Floats]:
    """Of each sample: its arrival by the station's clock, known delay in s, and how fast that clock runs.

    A clock faster than UTC makes any way look longer: 10 ms are a second at 100 times the speed.
    """
    station_ns = arrival_ns.astype(np.int64)
    delay_s, fast = np.zeros(time_ns.size), np.ones(time_ns.size)
    version = _version(metas, time_ns)
    for place in np.unique(version):
        if place < 0:
            continue
        meta, chosen = metas[place], version == place
        delay_s[chosen] = meta.delay_s
        if meta.clock is not None:
            station_ns[chosen] = meta.clock.times_at(arrival_ns[chosen])
            fast[chosen] = max(1.0, meta.clock.speed)
    return station_ns, delay_s, fast


def _version(metas: Sequence[Meta], time_ns: Ints) -> Ints:
    """Which metadata version is in force at each time; -1 before the first."""
    edges = np.array([meta.valid_from_ns for meta in metas], np.int64)
    return np.searchsorted(edges, time_ns, side="right") - 1


def _places(stream: Stream, time_ns: Ints) -> NDArray[np.bool_]:
    """Which samples are the first at their place in the cadence."""
    cadence_ns = stream.cadence_s * 1e9
    first = np.ones(time_ns.size, bool)
    if cadence_ns == float("inf") or not (np.diff(time_ns) < cadence_ns / 2).any():
        return first
    place = (time_ns - time_ns[0]) / cadence_ns
    phase = np.median(place - np.rint(place))
    first[1:] = np.diff(np.rint(place - phase)) > 0
    return first


def _gaps(stream: Stream, time_ns: Ints, station_ns: Ints) -> Gaps:
    """Neighbours more than 1.5 cadences apart: jitter of up to half a cadence is no gap."""
    cadence_ns = stream.cadence_s * 1e9
    step_ns = np.diff(time_ns)
    left = np.flatnonzero(step_ns > 1.5 * cadence_ns)
    lost = missing(stream, step_ns[left])
    begin_ns = time_ns[left] + (round(cadence_ns) if left.size else 0)
    return Gaps(begin_ns, time_ns[left + 1], station_ns[left + 1], lost)


def missing(stream: Stream, step_ns: Ints) -> Ints:
    """Samples missing between two that are so far apart."""
    return np.rint(step_ns / (stream.cadence_s * 1e9)).astype(np.int64) - 1


def _late_runs(time_ns: Ints, station_ns: Ints, late: NDArray[np.bool_]) -> LateRuns:
    edges = np.diff(np.concatenate([[False], late, [False]]).astype(np.int8))
    first, after = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not first.size:
        return LateRuns(*(np.empty(0, np.int64) for _ in range(6)))
    # Every second stretch that reduceat sees lies between two runs; it needs an index behind the last run.
    whole, bounds = np.append(station_ns, 0), np.column_stack([first, after]).ravel()
    return LateRuns(
        time_ns[first],
        time_ns[after - 1],
        after - first,
        np.minimum.reduceat(whole, bounds)[::2],
        np.maximum.reduceat(whole, bounds)[::2],
        whole[after],
    )


def _hours(hour: Ints, latency_s: Floats, delay_s: Floats, target: float) -> Hours:
    bins = bin_of(latency_s - delay_s)
    n = np.bincount(hour, minlength=24)
    base_s = delay_s[0] if delay_s.size else 0.0  # so that the mean of one delay is that delay
    max_s = np.full(24, -np.inf)
    np.maximum.at(max_s, hour, latency_s)
    width = int(bins.max(initial=0)) + 1
    key, count = np.unique(hour * width + bins, return_counts=True)
    return Hours(
        n,
        np.bincount(hour[latency_s <= target], minlength=24),
        np.bincount(hour, latency_s, minlength=24).astype(np.float64),
        max_s,
        np.bincount(hour, delay_s - base_s, minlength=24) / np.maximum(n, 1) + base_s,
        key // width,
        key % width,
        count,
    )
