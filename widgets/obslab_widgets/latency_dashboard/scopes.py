"""What a dashboard can show at a time: one stream, or all streams of stations that keep one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from obslab.telemetry.archive.store import Archive
from obslab.telemetry.derived import is_derived
from obslab.telemetry.sample import IRREGULAR, Clock, Stream


@dataclass(frozen=True)
class Scope:
    """``group`` names the stations that keep the clock, which is None for UTC."""

    name: str
    group: str
    streams: tuple[Stream, ...]
    clock: Clock | None

    @property
    def label(self) -> str:
        """For a list to choose from."""
        return self.name if self.name == str(self.streams[0]) else f"{self.name}: all streams"

    @property
    def paced(self) -> tuple[Stream, ...]:
        """Streams with a cadence; all when there is none. A measurement of minutes is late by its nature."""
        return tuple(one for one in self.streams if one.samplerate != IRREGULAR) or self.streams

    def now_ns(self, wall_ns: int) -> int:
        """What the stations' clock shows at an instant of UTC."""
        return self.clock.at(wall_ns) if self.clock else wall_ns


def scopes(archive: Archive) -> tuple[Scope, ...]:
    """All there are: of each clock first its streams together, then each alone."""
    clocks = {stream: _clock(archive, stream) for stream in archive.streams()}
    found: list[Scope] = []
    for clock in dict.fromkeys(clocks.values()):
        streams = tuple(stream for stream in clocks if clocks[stream] == clock)
        group = " ".join(sorted({stream.station for stream in streams}))
        recorded = tuple(stream for stream in streams if not is_derived(stream))  # these travelled
        if len(recorded) > 1:
            found.append(Scope(group, group, recorded, clock))
        found += [Scope(str(stream), group, (stream,), clock) for stream in streams]
    return tuple(found)


def chosen(name: str, among: Sequence[Scope]) -> Scope | None:
    """The scope of that name; the first for an empty or unknown name, None when there is none."""
    return next((scope for scope in among if scope.name == name), among[0] if among else None)


def _clock(archive: Archive, stream: Stream) -> Clock | None:
    metas = archive.metas(stream)
    return metas[-1].clock if metas else None
