"""Flags as a viewer shows them: which there are in a window, and what they take out of adjusted data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr

from obslab.telemetry.sample import IRREGULAR, Stream
from obslab.times import iso
from obslab_widgets.stream_viewer.state import State
from obslab_widgets.stream_viewer.tracks import Track

_NS = 1_000_000_000
MOST = 300  # flags that are listed and shaded; more could be neither read nor told apart


@dataclass(frozen=True)
class Mark:
    """One flag; ``size`` is NaN when it has none."""

    id: int
    stream: str
    component: str
    begin_ns: int
    end_ns: int
    kind: str
    size: float
    state: str
    author: str
    reason: str

    @cached_property
    def words(self) -> str:
        """One line for a list: ``12 proposed spike, lemi036 h, 2024-05-10 17:05:34: why (who)``."""
        _, instrument, _ = self.stream.split()
        where = f"{instrument} {self.component}".strip()
        return f"{self.id} {self.state} {self.kind}, {where}, {self.when}: {self.reason} ({self.author})"

    @property
    def when(self) -> str:
        """When it begins, and when it ends if that is more than two seconds later."""
        begin = iso(self.begin_ns, 0)[:19].replace("T", " ")
        end = iso(self.end_ns, 0)[:19].replace("T", " ")
        if self.end_ns - self.begin_ns <= 2 * _NS:
            return begin
        return f"{begin} to {end[11:] if begin[:10] == end[:10] else end}"


def marks_of(flags: xr.Dataset) -> tuple[Mark, ...]:
    """Rows of FLAGS."""
    columns = [flags[name].values for name in ("id", "stream", "component")]
    columns += [flags[name].values.astype("datetime64[ns]").astype(np.int64) for name in ("begin", "end")]
    columns += [flags[name].values for name in ("kind", "size", "state", "author", "reason")]
    return tuple(Mark(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def in_sight(marks: Iterable[Mark], tracks: Sequence[Track], state: State) -> tuple[Mark, ...]:
    """Those of streams that are shown, or that these come from, in their window: the newest ``MOST``."""
    windows = {
        str(stream): (track.end_ns - round(state.window_s * _NS), track.end_ns)
        for track in tracks
        for stream in (*track.origins, track.readings.stream)
    }
    found = [
        mark
        for mark in marks
        if mark.stream in windows
        and mark.begin_ns < windows[mark.stream][1]
        and mark.end_ns > windows[mark.stream][0]
    ]
    return tuple(found[-MOST:])


def of_trace(marks: Iterable[Mark], track: Track, component: str) -> tuple[Mark, ...]:
    """Those of a trace; one that is computed has those of all components that it comes from."""
    own, origins = str(track.readings.stream), {str(stream) for stream in track.origins}
    return tuple(
        mark
        for mark in marks
        if (mark.stream == own and mark.component in ("", component))
        or (mark.stream != own and mark.stream in origins)
    )


def without_flagged(track: Track, marks: Iterable[Mark]) -> Track:
    """Computed samples without those that confirmed flags take out; what was recorded stays in sight."""
    if track.origins in ((), (track.readings.stream,)):
        return track
    time_ns, components = track.readings.time_ns, track.readings.components
    values = track.readings.values
    confirmed = [mark for mark in marks if mark.state == "confirmed"]
    for column, component in enumerate(components):
        for mark in of_trace(confirmed, track, component):
            first, last = np.searchsorted(time_ns, [mark.begin_ns, mark.end_ns])
            if first < last:
                values = values.copy() if values is track.readings.values else values
                values[first:last, column] = np.nan
    if values is track.readings.values:
        return track
    return replace(track, readings=replace(track.readings, values=values))


def targets(tracks: Sequence[Track]) -> dict[str, tuple[Stream, str]]:
    """What a flag can be put on, by the names users see: a stream or one of its components, vectors first.

    Of computed streams it is what they come from; delta-F may be flagged itself, when nobody knows which of
    its two instruments is to blame.
    """
    found: dict[str, tuple[Stream, str]] = {}
    for track in tracks:
        stream = track.readings.stream
        recorded = track.origins in ((), (stream,))
        for origin in track.origins or (stream,):
            found.setdefault(str(origin), (origin, ""))
        if recorded and len(track.readings.components) > 1:
            found |= {f"{stream} {name}": (stream, name) for name in track.readings.components}
        if len(track.origins) > 1:
            found.setdefault(str(stream), (stream, ""))
    return dict(sorted(found.items(), key=lambda one: (_rank(one[1][0], tracks), one[0])))


def _rank(stream: Stream, tracks: Sequence[Track]) -> int:
    """Vectors come first, measurements made now and then last."""
    of_it = [track for track in tracks if stream in (track.readings.stream, *track.origins[:1])]
    if stream.samplerate == IRREGULAR:
        return 2
    return 0 if any(len(track.readings.components) > 1 for track in of_it) else 1


def target_of_panel(panel: str, tracks: Sequence[Track]) -> str:
    """The target for what was marked on the panel of a trace; empty for a panel of several."""
    for track in tracks:
        stream = track.readings.stream
        for component in track.readings.components:
            if panel != f"{stream.station} {stream.instrument} {component}":
                continue
            if track.origins not in ((), (stream,)):
                return str(track.origins[0])
            return f"{stream} {component}" if len(track.readings.components) > 1 else str(stream)
    return ""
