"""What a window shows of each stream, copied out of a source's rings.

The window ends at an instant of UTC, the same for all stations; each station's clock says which of its
times that is, so that a replay at 30 times the speed and a real instrument can stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from obslab.telemetry.datasets import samples_schema
from obslab.telemetry.derived import derived, is_derived, recorded
from obslab.telemetry.live.recipes import DELTA_F
from obslab.telemetry.live.ring import Ring
from obslab.telemetry.live.source import Source
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import IRREGULAR, Clock, Stream
from obslab.times import from_ns
from obslab_widgets.stream_viewer.past import Past
from obslab_widgets.stream_viewer.state import State

_NS = 1_000_000_000
_RECENT_S = 10.0


@dataclass(frozen=True)
class Track:
    """One stream as it was looked at: its samples in the window, and how it is doing.

    ``origins`` are the streams of the instruments that it comes from.
    """

    readings: Readings
    clock: Clock | None
    about: str
    end_ns: int
    latest_ns: int | None
    rate_hz: float
    lag_s: float
    origins: tuple[Stream, ...] = ()

    @property
    def irregular(self) -> bool:
        """Measurements made now and then, drawn as points."""
        return self.readings.stream.samplerate == IRREGULAR

    @property
    def station(self) -> str:
        return self.readings.stream.station

    def station_ns(self, wall_ns: int) -> int:
        return self.clock.at(wall_ns) if self.clock else wall_ns


def look(
    source: Source, state: State, now_ns: int, *, marked: bool = False, past: Past | None = None
) -> tuple[Track, ...]:
    """Copies of what the window shows, one track for each stream, in order; raw or adjusted ones.

    With ``marked`` the samples reach as far as the marked interval, which may have left the window. What of a
    window that stands still has left the rings comes from ``past``.
    """
    rings = _at_level(source.rings(), state)
    origins_of = getattr(source, "origins", lambda stream: (recorded(stream),))
    wall_ns = now_ns if state.until_ns is None else state.until_ns
    held = [ring.latest_ns() or 0 for ring in source.rings()]
    if state.until_ns is None and held and not source.clocked:
        wall_ns = max(held) + 1
    tracks = []
    for ring in sorted(rings, key=_place):
        meta = source.meta(ring.stream)
        clock = meta.clock if meta else None
        end_ns = clock.at(wall_ns) if clock else wall_ns
        begin_ns = end_ns - round(state.window_s * _NS)
        irregular = ring.stream.samplerate == IRREGULAR
        # So that lines reach the edges; points have no line.
        margin = 0 if irregular else round(ring.stream.cadence_s * _NS * 2)
        sampled, came = ring.arrived_since(now_ns - round(_RECENT_S * _NS))
        shown = clock.times_at(came) if clock else came
        lag_s = float(np.median(shown - sampled)) / _NS if came.size else np.nan
        if irregular and meta:
            lag_s -= meta.delay_s  # the minutes that a measurement takes are no lag
        first_ns, last_ns = begin_ns - margin, end_ns + margin
        if marked and state.selection:
            first_ns, last_ns = min(first_ns, state.selection.begin_ns), max(last_ns, state.selection.end_ns)
        readings = ring.between(first_ns, last_ns)
        if past and (marked or state.until_ns is not None):
            readings = _joined(past.before(ring, first_ns, last_ns), readings)
        about, rate_hz = meta.site if meta else "", came.size / _RECENT_S
        origins = tuple(origins_of(ring.stream))
        tracks.append(Track(readings, clock, about, end_ns, ring.latest_ns(), rate_hz, lag_s, origins))
    return tuple(tracks)


def _place(ring: Ring) -> tuple[str, bool, bool, Stream]:
    """In order of streams, but what is computed of several behind those of its station, absolutes last."""
    stream = ring.stream
    return stream.station, stream.samplerate == IRREGULAR, stream.instrument.startswith(DELTA_F), stream


def _at_level(rings: list[Ring], state: State) -> list[Ring]:
    """Without the raw, or the adjusted, stream of an instrument that has both."""
    streams = {ring.stream for ring in rings}
    both = {stream for stream in streams if not is_derived(stream) and _adjusted(stream) in streams}
    left_out = both if state.level == "adjusted" else {_adjusted(stream) for stream in both}
    return [ring for ring in rings if ring.stream not in left_out]


def has_both_levels(source: Source) -> bool:
    """Whether an instrument has raw and adjusted samples."""
    streams = {ring.stream for ring in source.rings()}
    return any(not is_derived(stream) and _adjusted(stream) in streams for stream in streams)


def _adjusted(stream: Stream) -> Stream:
    return derived(stream, 2)


def _joined(older: Readings | None, newer: Readings) -> Readings:
    """Both, with the components of the newer."""
    if older is None:
        return newer
    values = np.full((older.time_ns.size, len(newer.components)), np.nan)
    for place, name in enumerate(newer.components):
        if name in older.components:
            values[:, place] = older.values[:, older.components.index(name)]
    return Readings(
        newer.stream,
        newer.components,
        newer.units,
        np.concatenate([older.time_ns, newer.time_ns]),
        np.concatenate([older.arrival_ns, newer.arrival_ns]),
        np.concatenate([values, newer.values]),
        np.zeros(older.time_ns.size + newer.time_ns.size, dtype=np.uint8),
    )


def trace_names(tracks: Iterable[Track]) -> list[str]:
    """Names of all traces, hidden ones too: ``WIC lemi036 h``."""
    return [
        f"{track.readings.stream.station} {track.readings.stream.instrument} {component}"
        for track in tracks
        for component in track.readings.components
    ]


def whole_length_s(source: Source) -> float:
    """A window that holds all samples of a source, the first and the last included."""
    held = [ring for ring in source.rings() if len(ring)]
    if not held:
        return 600.0
    begin_ns = min(ring.earliest_ns() or 0 for ring in held)
    end_ns = max(ring.latest_ns() or 0 for ring in held)
    cadences_s = [ring.stream.cadence_s for ring in held if ring.stream.samplerate != IRREGULAR]
    return (end_ns - begin_ns) / _NS + max(cadences_s, default=1.0)


def dataset_of(track: Track, state: State) -> xr.Dataset:
    """The samples of one stream in the window, as an archive gives them."""
    readings, stream = track.readings, track.readings.stream
    inside = (readings.time_ns >= track.end_ns - round(state.window_s * _NS)) & (
        readings.time_ns < track.end_ns
    )
    facts = {"station": stream.station, "instrument": stream.instrument, "samplerate": stream.samplerate}
    return samples_schema(dict(zip(readings.components, readings.units, strict=True))).build(
        {**facts, "cadence_s": stream.cadence_s},
        time=from_ns(readings.time_ns[inside]),
        **dict(zip(readings.components, readings.values[inside].T, strict=True)),
    )


def in_window(tracks: Iterable[Track], state: State) -> xr.Dataset:
    """Samples of the marked interval, or of the window, of all traces shown, on one ``time``."""
    parts = []
    for track in tracks:
        readings, marked = track.readings, state.selection
        begin_ns, end_ns = track.end_ns - round(state.window_s * _NS), track.end_ns
        if marked is not None:
            if readings.stream.station not in marked.group.split():
                continue
            begin_ns, end_ns = marked.begin_ns, marked.end_ns
        inside = (readings.time_ns >= begin_ns) & (readings.time_ns < end_ns)
        stem = f"{readings.stream.station.lower()}_{readings.stream.instrument}"
        shown = [name not in state.hidden for name in trace_names([track])]
        columns = {
            f"{stem}_{component}": (unit, readings.values[inside, number])
            for number, (component, unit) in enumerate(zip(readings.components, readings.units, strict=True))
            if shown[number]
        }
        if columns:
            schema = samples_schema({name: unit for name, (unit, _) in columns.items()})
            built = schema.build(
                time=from_ns(readings.time_ns[inside]),
                arrival=from_ns(readings.arrival_ns[inside]),
                **{name: values for name, (_, values) in columns.items()},
            )
            parts.append(built.rename(arrival=f"{stem}_arrival"))
    return xr.merge(parts, join="outer") if parts else xr.Dataset()
