"""The picture of a stream viewer: from a State and tracks to a Frame of plain arrays and strings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.live.source import Condition
from obslab.times import as_ns, iso
from obslab_widgets.envelope import envelope
from obslab_widgets.stream_viewer.state import State
from obslab_widgets.stream_viewer.tracks import Track, trace_names
from obslab_widgets.wording import duration

_NS = 1_000_000_000
_LOWEST_SPAN = 0.1  # ten times the noise of a good fluxgate: less is no signal, only digits
COLUMNS = ("Station", "Instrument", "Samples/s", "Age", "Lag", "Newest sample (UTC)", "Clock")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """A line to draw: ``y`` is where, ``value`` what it is; NaN breaks the line at gaps."""

    name: str
    unit: str
    colour: int
    time_ms: Floats
    y: Floats
    value: Floats


@dataclass(frozen=True)
class Axes:
    """One pair of axes; ``group`` names the clock, whose panels share the time axis."""

    name: str
    group: str
    label: str
    y0: float
    y1: float
    traces: tuple[Trace, ...]


@dataclass(frozen=True)
class Group:
    """Stations that keep one clock: title and time axis of their panels."""

    name: str
    title: str
    begin_ns: int
    end_ns: int
    panels: tuple[Axes, ...]
    marked: tuple[float, float] | None


@dataclass(frozen=True)
class Frame:
    """All that is drawn; ``structure`` changes when panels or traces come or go."""

    groups: tuple[Group, ...]
    table: tuple[tuple[str | float, ...], ...]
    level: Literal["ok", "busy", "off"]
    status: str

    @property
    def structure(self) -> tuple[object, ...]:
        return tuple(
            (panel.name, panel.label, tuple((trace.name, trace.colour) for trace in panel.traces))
            for group in self.groups
            for panel in group.panels
        )


def frame(
    state: State, tracks: Iterable[Track], condition: Condition, now_ns: int, *, width_px: int = 1000
) -> Frame:
    """The picture of a state; lines have at most two points for each pixel, and keep their extremes."""
    tracks = tuple(tracks)
    groups: dict[str, list[Track]] = {}
    for track in tracks:
        groups.setdefault(_group_of(track, tracks), []).append(track)
    colours = {name: number for number, name in enumerate(trace_names(tracks))}
    drawn = tuple(_group(name, members, state, width_px, colours) for name, members in groups.items())
    table = tuple(_row(track, now_ns) for track in tracks)
    lags = [track.lag_s for track in tracks if np.isfinite(track.lag_s)]
    told = [condition.text]
    if not tracks:
        told.append("no samples yet")
    if lags:
        told.append(f"lag {max(lags):.1f} s")
    told += [f"{condition.lost} dropped", f"{condition.rejected} rejected"]
    if state.until_ns is not None:
        told.append("paused")
    return Frame(tuple(group for group in drawn if group.panels), table, condition.level, " · ".join(told))


def _group(name: str, tracks: list[Track], state: State, width_px: int, colours: dict[str, int]) -> Group:
    end_ns = max(track.end_ns for track in tracks)
    begin_ns = end_ns - round(state.window_s * _NS)
    traces = []
    for track in tracks:
        for number, (component, unit) in enumerate(
            zip(track.readings.components, track.readings.units, strict=True)
        ):
            full = f"{track.readings.stream.station} {track.readings.stream.instrument} {component}"
            if full in state.hidden:
                continue
            time_ns, value = envelope(
                track.readings.time_ns,
                track.readings.values[:, number],
                track.readings.stream.cadence_s,
                begin_ns,
                end_ns,
                width_px,
            )
            traces.append(Trace(full, unit, colours[full], time_ns / 1e6, value, value))
    marked = state.selection if state.selection and state.selection.group == name else None
    return Group(
        name,
        _title(name, tracks, end_ns),
        begin_ns,
        end_ns,
        _stacked(name, traces, state) if state.axes == "stacked" else _common(name, traces, state),
        (marked.begin_ns / 1e6, marked.end_ns / 1e6) if marked else None,
    )


def _stacked(group: str, traces: list[Trace], state: State) -> tuple[Axes, ...]:
    return tuple(
        Axes(
            trace.name,
            group,
            f"{trace.name.split()[-1].upper()} ({trace.unit})",
            *_limits([trace], state),
            (trace,),
        )
        for trace in traces
    )


def _common(group: str, traces: list[Trace], state: State) -> tuple[Axes, ...]:
    """Traces of one unit together, each from its own median: the components are far apart otherwise."""
    panels = []
    for unit in dict.fromkeys(trace.unit for trace in traces):
        moved = [
            Trace(
                trace.name,
                trace.unit,
                trace.colour,
                trace.time_ms,
                trace.value - _median(trace.value),
                trace.value,
            )
            for trace in traces
            if trace.unit == unit
        ]
        name = f"{group} {unit}"
        panels.append(Axes(name, group, f"from median ({unit})", *_limits(moved, state), tuple(moved)))
    return tuple(panels)


def _limits(traces: list[Trace], state: State) -> tuple[float, float]:
    """Ends of the y axis: ``span`` about the median, or the extremes moved out to a round number.

    Round, so that the axis stands still while the extremes creep.
    """
    heights = np.concatenate([trace.y for trace in traces])
    heights = heights[np.isfinite(heights)]
    if not heights.size:
        return 0.0, state.span or 1.0
    if state.span is not None:
        middle = float(np.round(np.median(heights) / state.span * 20) * state.span / 20)
        return middle - state.span / 2, middle + state.span / 2
    low, high = float(heights.min()), float(heights.max())
    if high - low < _LOWEST_SPAN:
        low, high = (low + high - _LOWEST_SPAN) / 2, (low + high + _LOWEST_SPAN) / 2
    step = 10 ** np.floor(np.log10(high - low) - 0.3) / 2
    return float(np.floor(low / step - 0.5) * step), float(np.ceil(high / step + 0.5) * step)


def _row(track: Track, now_ns: int) -> tuple[str | float, ...]:
    stream, clock = track.readings.stream, track.clock
    if track.latest_ns is None:
        age, newest = "no sample", ""
    else:
        age = duration((track.station_ns(now_ns) - track.latest_ns) / _NS)
        newest = iso(track.latest_ns, 3 if stream.cadence_s < 1 else 0)
    lag = f"{track.lag_s:.2f} s" if np.isfinite(track.lag_s) else "-"
    told = f"{clock.speed:g} x real time" if clock and clock.speed != 1 else "real time" if clock else "UTC"
    return (stream.station, stream.instrument, f"{track.rate_hz:.1f}", age, lag, newest, told)


def _title(name: str, tracks: list[Track], end_ns: int) -> str:
    about = ", ".join(dict.fromkeys(track.about for track in tracks if track.about))
    title = f"{name}: {about}" if about else name
    clock = tracks[0].clock
    if clock and clock.recorded:
        recorded_ns = end_ns - as_ns(clock.station) + as_ns(clock.recorded)
        title += f" · replay at {clock.speed:g} x, recorded {iso(recorded_ns, 0)[:16].replace('T', ' ')} UTC"
    return title


def _group_of(track: Track, tracks: Iterable[Track]) -> str:
    """Stations whose clocks agree are one group, named for them."""
    fellows = [other.readings.stream.station for other in tracks if other.clock == track.clock]
    return " ".join(sorted(set(fellows)))


def _median(values: Floats) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
