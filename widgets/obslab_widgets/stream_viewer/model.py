"""The picture of a stream viewer: from a State and tracks to a Frame of plain arrays and strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from obslab.telemetry.live.source import Condition
from obslab.times import as_ns, iso
from obslab_widgets.envelope import envelope
from obslab_widgets.stream_viewer.marks import Mark, of_trace
from obslab_widgets.stream_viewer.panels import Axes, Shade, Trace, common, stacked
from obslab_widgets.stream_viewer.state import State
from obslab_widgets.stream_viewer.tracks import Track, trace_names
from obslab_widgets.wording import duration

_NS = 1_000_000_000
COLUMNS = ("Station", "Instrument", "Samples/s", "Age", "Lag", "Newest sample (UTC)", "Clock")


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
            (
                panel.name,
                panel.label,
                tuple((trace.name, trace.colour, bool(trace.words)) for trace in panel.traces),
            )
            for group in self.groups
            for panel in group.panels
        )


def frame(
    state: State,
    tracks: Iterable[Track],
    condition: Condition,
    now_ns: int,
    *,
    width_px: int = 1000,
    marks: Sequence[Mark] = (),
    word: str = "",
) -> Frame:
    """The picture of a state; lines have at most two points for each pixel, and keep their extremes.

    ``marks`` are the flags to shade, ``word`` is what was last done with them.
    """
    tracks = tuple(tracks)
    groups: dict[str, list[Track]] = {}
    for track in tracks:
        groups.setdefault(_group_of(track, tracks), []).append(track)
    colours = {name: number for number, name in enumerate(trace_names(tracks))}
    drawn = tuple(_group(name, members, state, width_px, colours, marks) for name, members in groups.items())
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
    told += [word] if word else []
    return Frame(tuple(group for group in drawn if group.panels), table, condition.level, " · ".join(told))


def _group(
    name: str,
    tracks: list[Track],
    state: State,
    width_px: int,
    colours: dict[str, int],
    marks: Sequence[Mark],
) -> Group:
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
            shades = tuple(
                Shade(mark.begin_ns / 1e6, mark.end_ns / 1e6, mark.state == "confirmed", mark.words)
                for mark in of_trace(marks, track, component)
            )
            if track.irregular:
                points = _points(track, full, number, unit, colours[full], shades, begin_ns)
                traces += points
                vector = next((one for one in tracks if points and _is_adjusted(one, track.station)), None)
                if vector is not None and state.axes == "stacked":
                    line = _angle(vector, component, full, colours, begin_ns, end_ns, width_px)
                    taken = line.name in (trace.name for trace in traces)  # by another theodolite
                    traces.append(replace(line, name=f"{line.name} ({full})") if taken else line)
                continue
            time_ns, value = envelope(
                track.readings.time_ns,
                track.readings.values[:, number],
                track.readings.stream.cadence_s,
                begin_ns,
                end_ns,
                width_px,
            )
            traces.append(Trace(full, unit, colours[full], time_ns / 1e6, value, value, shades))
    marked = state.selection if state.selection and state.selection.group == name else None
    return Group(
        name,
        _title(name, tracks, end_ns),
        begin_ns,
        end_ns,
        stacked(name, traces, state) if state.axes == "stacked" else common(name, traces, state),
        (marked.begin_ns / 1e6, marked.end_ns / 1e6) if marked else None,
    )


def _points(
    track: Track,
    name: str,
    number: int,
    unit: str,
    colour: int,
    shades: tuple[Shade, ...],
    begin_ns: int,
) -> list[Trace]:
    """Measurements of the window, each with all its components in words; no trace when there are none."""
    readings = track.readings
    inside = (
        (readings.time_ns >= begin_ns)
        & (readings.time_ns < track.end_ns)
        & np.isfinite(readings.values[:, number])
    )
    if not inside.any():
        return []
    words = tuple(
        ", ".join(
            f"{component.upper()} {value:.4f} {one}"
            for component, value, one in zip(readings.components, row, readings.units, strict=True)
        )
        for row in readings.values[inside]
    )
    time_ms, value = readings.time_ns[inside] / 1e6, readings.values[inside, number]
    return [Trace(name, unit, colour, time_ms, value, value, shades, words)]


def _is_adjusted(track: Track, station: str) -> bool:
    return track.station == station and track.readings.components == ("x", "y", "z")


def _angle(
    track: Track,
    component: str,
    beside: str,
    colours: dict[str, int],
    begin_ns: int,
    end_ns: int,
    width_px: int,
) -> Trace:
    """D or I of a vector in degrees, to stand behind what was measured absolutely."""
    x, y, z = track.readings.values.T
    angle = np.degrees(np.arctan2(y, x) if component == "d" else np.arctan2(z, np.hypot(x, y)))
    stream = track.readings.stream
    name = f"{stream.station} {stream.instrument} {component}"
    time_ns, value = envelope(track.readings.time_ns, angle, stream.cadence_s, begin_ns, end_ns, width_px)
    colour = colours.get(f"{stream.station} {stream.instrument} x", 0)
    return Trace(name, "deg", colour, time_ns / 1e6, value, value, beside=beside)


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
