"""What an archive answers to a State: the Datasets behind the picture. Takes up to seconds: not for a
thread that draws or that the user waits for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from obslab.telemetry.archive.book import Event, Hole
from obslab.telemetry.archive.requests import Request, waiting
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.metrics.datasets import (
    AGES,
    COMPLETENESS,
    GAPS,
    LATENCY,
    LATENCY_HISTOGRAM,
    OUTAGES,
)
from obslab.telemetry.metrics.histogram import HIGH_S, LOW_S, bin_of
from obslab.telemetry.metrics.measures import Measures
from obslab.telemetry.metrics.summary import on_station_clock
from obslab.telemetry.sample import IRREGULAR, Stream
from obslab.times import NS_PER_DAY
from obslab_widgets.latency_dashboard.glance import Glance
from obslab_widgets.latency_dashboard.scopes import Scope, chosen, scopes
from obslab_widgets.latency_dashboard.state import Interval, State

_NS = 1_000_000_000
_HOUR_NS = 3600 * _NS
# Reading this many samples takes a second or less; beyond it, windows are the summaries' hours.
_EXACT_SAMPLES = 200_000
_RECENT_NS = 600 * _NS  # how long a gap that was filled stays in the list


@dataclass(frozen=True, eq=False)
class Answer:
    """What is known for a State; ``scope`` is None while the archive holds nothing.

    ``period`` is what the axes show and ``inner`` the marked part of it, else the same. ``latency`` to
    ``outages`` are of the period, ``histogram`` of the inner interval, ``ages`` and ``holes`` of now;
    ``latency`` and ``histogram`` are of the scope's paced streams.
    ``filled`` are gaps that closed lately.
    """

    state: State
    scopes: tuple[Scope, ...]
    scope: Scope | None
    period: Interval
    inner: Interval
    window_s: float
    latency: xr.Dataset
    histogram: xr.Dataset
    completeness: xr.Dataset
    gaps: xr.Dataset
    outages: xr.Dataset
    ages: xr.Dataset
    delay_s: float
    events: tuple[Event, ...] = ()
    units: tuple[str, ...] = ()
    holes: tuple[Hole, ...] = ()
    filled: tuple[Hole, ...] = ()
    requests: tuple[Request, ...] = ()
    wall_ns: int = 0
    took_s: float = 0.0


def ask(archive: Archive, state: State, wall_ns: int) -> Answer:
    """The answer at an instant of UTC."""
    began_s = time.monotonic()
    among = scopes(archive)
    scope = chosen(state.scope, among)
    period, inner = periods(state, scope, wall_ns)
    streams, paced = (scope.streams, scope.paced) if scope else ((), ())
    shown = _whole_days(period)
    glance = Glance(archive, streams, shown)
    even = glance.of(paced)
    now = np.datetime64(wall_ns, "ns")
    measures = Measures(glance, None, None, period.begin_ns, period.end_ns, now=now)
    window_s, exact = window_for(period, streams)
    held = archive.book.holes(states=("open", "asked"))
    return Answer(
        state=state,
        scopes=among,
        scope=scope,
        period=period,
        inner=inner,
        window_s=window_s,
        latency=Measures(even, None, None, period.begin_ns, period.end_ns).latency(window_s, exact=exact),
        histogram=_histogram(even, inner),
        completeness=Measures(glance, None, None, shown.begin_ns, shown.end_ns, now=now).completeness("hour"),
        gaps=measures.gaps(),
        outages=measures.outages(),
        ages=measures.ages(),
        delay_s=max((archive.metas(one)[-1].delay_s for one in paced if archive.metas(one)), default=0.0),
        events=tuple(archive.book.events()),
        units=tuple(archive.book.units()),
        holes=tuple(held),
        filled=tuple(_filled(archive, streams, inner, wall_ns)),
        requests=tuple(waiting(archive.path)),
        wall_ns=wall_ns,
        took_s=time.monotonic() - began_s,
    )


def nothing(state: State, wall_ns: int) -> Answer:
    """An answer without data, to draw until there is one."""
    period = periods(state, None, wall_ns)[0]
    tables: dict[str, Any] = {
        schema.name: schema.empty() for schema in (LATENCY, COMPLETENESS, GAPS, OUTAGES, AGES)
    }
    return Answer(
        state=state,
        scopes=(),
        scope=None,
        period=period,
        inner=period,
        window_s=0.0,
        histogram=LATENCY_HISTOGRAM.empty(),
        delay_s=0.0,
        wall_ns=wall_ns,
        **tables,
    )


def periods(state: State, scope: Scope | None, wall_ns: int) -> tuple[Interval, Interval]:
    """What the axes show, and the marked interval, or the same again where none is marked here."""
    now_ns = scope.now_ns(wall_ns) if scope else wall_ns
    period = state.custom or Interval(now_ns - round(state.period_s * _NS), now_ns)
    marked = state.selection
    if marked is None or scope is None or not marked.stations & set(scope.group.split()):
        return period, period
    return period, Interval(marked.begin_ns, marked.end_ns)


def window_for(period: Interval, streams: Sequence[Stream]) -> tuple[float, bool]:
    """The length of the windows of latency, and whether to count samples instead of summaries' hours."""
    length_s = (period.end_ns - period.begin_ns) / _NS
    samples = sum(length_s / stream.cadence_s for stream in streams)
    if samples <= _EXACT_SAMPLES and length_s <= 2 * 86_400:
        return next(w for w in (10.0, 60.0, 300.0, 600.0, 1800.0) if length_s / w <= 160 or w == 1800.0), True
    hours = next((h for h in (1, 3, 6, 12, 24) if length_s / 3600 / h <= 400), 24)
    return 3600.0 * hours, False


def _histogram(glance: Glance, inner: Interval) -> xr.Dataset:
    """Of summaries' hours; of the samples themselves where hours are too coarse."""
    streams = glance.streams()
    samples = sum((inner.end_ns - inner.begin_ns) / _NS / stream.cadence_s for stream in streams)
    if samples > _EXACT_SAMPLES or (inner.begin_ns % _HOUR_NS == 0 and inner.end_ns % _HOUR_NS == 0):
        return Measures(glance, None, None, inner.begin_ns, inner.end_ns).distribution()
    counts = np.zeros(LOW_S.size, np.int64)
    for stream in streams:
        stored = glance.stored(stream, inner.begin_ns, inner.end_ns)
        arrival_ns, _, _ = on_station_clock(glance.metas(stream), stored.time_ns, stored.arrival_ns)
        counts += np.bincount(bin_of((arrival_ns - stored.time_ns) / _NS), minlength=LOW_S.size)
    used = np.flatnonzero(counts)
    shown = slice(used[0], used[-1] + 1) if used.size else slice(0, 0)
    return LATENCY_HISTOGRAM.build(low_s=LOW_S[shown], high_s=HIGH_S[shown], n=counts[shown])


def _whole_days(period: Interval) -> Interval:
    """The days that the period touches, for the calendar."""
    return Interval(period.begin_ns // NS_PER_DAY * NS_PER_DAY, -(-period.end_ns // NS_PER_DAY) * NS_PER_DAY)


def _filled(archive: Archive, streams: Sequence[Stream], inner: Interval, wall_ns: int) -> Sequence[Hole]:
    topics = {stream.topic for stream in streams if stream.samplerate != IRREGULAR}
    held = archive.book.holes(begin_ns=inner.begin_ns, end_ns=inner.end_ns, states=("filled",))
    return [
        hole
        for hole in held
        if hole.topic in topics and hole.filled and wall_ns - hole.changed_ns < _RECENT_NS
    ]
