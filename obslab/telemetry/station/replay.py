"""Plays a recording as if its instruments stood here: same values, on the recorded or the present time."""

from __future__ import annotations

import time
from typing import Protocol

import msgspec
import numpy as np

from obslab.errors import CodecError, ConfigError
from obslab.telemetry import codec
from obslab.telemetry.sample import Clock, Meta, Stream, as_datetime, valid_at
from obslab.telemetry.station.autodif import Autodif, of_recording, stream_of
from obslab.telemetry.station.journal import Journal, Unsendable
from obslab.telemetry.station.recording import Recording, Track
from obslab.times import as_ns, iso

_NS = 1_000_000_000

Outgoing = tuple[str, int, bytes]


class Instruments(Protocol):
    """What a station runs: something that hands out messages when they are due, and then ends or not."""

    clock: Clock
    unsendable: list[Unsendable]
    """Readings the wire format cannot carry, since somebody last emptied this."""

    def metas(self) -> list[tuple[Stream, Meta]]:
        """The metadata in force now; asked again whenever ``due`` has returned something."""
        ...

    def due(self, now_ns: int) -> list[Outgoing]:
        """Messages ``(topic, time in ns, payload)`` that the station's clock has reached, in order."""
        ...

    def next_ns(self) -> int | None:
        """Station time of the next message; None when there is no more."""
        ...


class Replay:
    """The tracks of a recording, from recorded time ``begin_ns``, at ``clock.speed``.

    With ``shifted`` the first sample gets the present time, else it keeps its own. With ``loop`` the
    recording begins anew at its end, from its first sample, without a gap in time. ``resume`` on the
    journal of an earlier run goes on with that run's clock, after the last sample journalled. With
    ``absolutes`` a simulated AUTODIF measures beside the recorded vector, by the recording's time of day.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float = 1.0,
        shifted: bool = True,
        begin_ns: int | None = None,
        loop: bool = False,
        wall_ns: int | None = None,
        absolutes: bool = False,
        seed: int = 1,
    ) -> None:
        begin = (recording.begin_ns if begin_ns is None else begin_ns) // _NS * _NS
        wall = (time.time_ns() if wall_ns is None else wall_ns) // _NS * _NS
        station = wall if shifted else begin
        self.unsendable: list[Unsendable] = []
        self._recording, self._loop = recording, loop
        self.clock = Clock(as_datetime(station), as_datetime(wall), speed, as_datetime(begin))
        self._shift_ns, self._shifted = station - begin, shifted
        self._places = [int(np.searchsorted(track.time_ns, begin)) for track in recording.tracks]
        self._autodif: Autodif | None = None
        if absolutes:
            self._autodif = self._beside(seed)
            self._autodif.begin(station, recording.begin_ns + self._shift_ns)

    def resume(self, journal: Journal) -> None:
        """Go on where the journal ends, if this same replay wrote it; else begin, but never in its past.

        Raises ConfigError when the journal has later samples than the first of this replay.
        """
        tracks = self._recording.tracks
        known = journal.metas()
        # All tracks have the same clocks; a crash may have cut off one of them before its newest.
        versions = max((known.get(track.stream.meta_topic, ()) for track in tracks), key=len)
        newest = [journal.newest_ns(track.stream.topic) for track in tracks]
        if not self._wrote(versions, newest):
            for track in tracks:
                refuse_going_back(journal, track.stream, as_ns(self.clock.station))
            self._measure_on(journal, as_ns(self.clock.station))
            return
        self.clock = versions[-1].clock or self.clock
        self._shift_ns = _shift_ns(self.clock)
        for number, (track, last) in enumerate(zip(tracks, newest, strict=True)):
            after = as_ns(self.clock.station) - 1 if last is None else last
            self._places[number] = int(np.searchsorted(track.time_ns + self._shift_ns, after, side="right"))
        if self._autodif:
            self._autodif.shift_ns = self._shift_ns
            self._measure_on(journal, max(last for last in newest if last is not None))

    def _wrote(self, versions: tuple[Meta, ...], newest: list[int | None]) -> bool:
        """Whether the newest samples of a journal are of this recording, at this speed and kind of time."""
        first = versions[0].clock if versions else None
        if first is None or (first.station == first.recorded) == self._shifted:
            return False
        for track, last in zip(self._recording.tracks, newest, strict=True):
            meta = valid_at(versions, last) if last is not None else versions[-1]
            clock = meta.clock if meta else None
            if clock is None or clock.recorded is None or clock.speed != self.clock.speed:
                return False
            if last is not None and last - _shift_ns(clock) not in track.time_ns:
                return False
        return any(last is not None for last in newest)

    def metas(self) -> list[tuple[Stream, Meta]]:
        begin_ns = as_ns(self.clock.station)
        recorded = [
            (
                track.stream,
                msgspec.structs.replace(track.meta, valid_from=as_datetime(begin_ns), clock=self.clock),
            )
            for track in self._recording.tracks
        ]
        return recorded + ([(self._autodif.stream, self._autodif.meta(self.clock))] if self._autodif else [])

    def due(self, now_ns: int) -> list[Outgoing]:
        messages: list[Outgoing] = []
        for number, track in enumerate(self._recording.tracks):
            reached = now_ns - self._shift_ns - round(track.meta.delay_s * _NS)
            begin, end = self._places[number], int(np.searchsorted(track.time_ns, reached, side="right"))
            self._places[number] = max(begin, end)
            for place in range(begin, end):
                messages += self._message(track, place)
        if self._loop and all(
            place >= track.time_ns.size
            for place, track in zip(self._places, self._recording.tracks, strict=True)
        ):
            self._begin_anew()
        if self._autodif:
            messages += self._autodif.due(now_ns)
        return sorted(messages, key=lambda message: message[1])

    def next_ns(self) -> int | None:
        ahead = [
            int(track.time_ns[place]) + self._shift_ns + round(track.meta.delay_s * _NS)
            for place, track in zip(self._places, self._recording.tracks, strict=True)
            if place < track.time_ns.size
        ]
        measured_ns = self._autodif.next_ns() if self._autodif else None
        return min([*ahead, *([] if measured_ns is None else [measured_ns])], default=None)

    def _message(self, track: Track, place: int) -> list[Outgoing]:
        topic, time_ns = track.stream.topic, int(track.time_ns[place]) + self._shift_ns
        try:
            return [(topic, time_ns, codec.encode(track.stream, track.meta, time_ns, track.values[place]))]
        except CodecError as error:
            self.unsendable.append(
                Unsendable(time_ns, topic, str(track.values[place].tolist()), error.message)
            )
            return []

    def _begin_anew(self) -> None:
        """The clock runs on; only the recorded time that belongs to it jumps back."""
        self._shift_ns += self._recording.end_ns - self._recording.begin_ns
        station_ns = self._recording.begin_ns + self._shift_ns
        self.clock = Clock(
            as_datetime(station_ns),
            as_datetime(self.clock.wall_at(station_ns)),
            self.clock.speed,
            as_datetime(self._recording.begin_ns),
        )
        self._places = [0] * len(self._places)
        if self._autodif:
            self._autodif.shift_ns = self._shift_ns

    def _beside(self, seed: int) -> Autodif:
        """Raises ConfigError where there is no vector to be beside of."""
        recording = self._recording
        track = next((track for track in recording.tracks if track.meta.kind == "vector"), None)
        if track is None:
            raise ConfigError("the recording has no vector to simulate absolute measurements on")
        period_ns = recording.end_ns - recording.begin_ns
        return Autodif(
            stream_of(track.stream.station),
            of_recording(track.meta.components, track.time_ns, track.values, period_ns),
            track.meta,
            seed=seed,
            shift_ns=self._shift_ns,
            until_ns=None if self._loop else recording.end_ns,
        )

    def _measure_on(self, journal: Journal, at_ns: int) -> None:
        """Absolute measurements that follow those of the journal."""
        if self._autodif:
            earliest_ns = self._recording.begin_ns + self._shift_ns
            newest_ns = journal.newest_ns(self._autodif.stream.topic)
            self._autodif.resume(newest_ns, at_ns, as_ns(self.clock.station), earliest_ns)


def refuse_going_back(journal: Journal, stream: Stream, begin_ns: int) -> None:
    """Raise ConfigError when a run that begins at ``begin_ns`` would contradict the journal."""
    newest = journal.newest_ns(stream.topic)
    if newest is not None and newest >= begin_ns:
        raise ConfigError(
            f"journal {journal.folder} has samples of {stream} up to {iso(newest)}, and this run begins at "
            f"{iso(begin_ns)}; repeat the options of its last run to go on, or choose another --journal"
        )


def _shift_ns(clock: Clock) -> int:
    """Station time minus recorded time."""
    return as_ns(clock.station) - as_ns(clock.recorded or clock.station)
