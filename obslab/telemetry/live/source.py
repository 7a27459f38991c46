"""What a live view reads: rings of samples, their metadata, and one line about how the source is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from obslab.telemetry.archive.store import Archive
from obslab.telemetry.live.ring import CAPACITY, Ring
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Meta, Stream

Level = Literal["ok", "busy", "off"]


@dataclass(frozen=True)
class Condition:
    """How a source is, for a status line: ``lost`` counts messages that had to be thrown away unseen."""

    level: Level
    text: str
    lost: int = 0
    rejected: int = 0


class Source(Protocol):
    """What a live view reads; ``rings`` may grow at any time.

    ``clocked`` says whether a view that follows ends at the present, else with the newest sample.
    """

    live: bool

    @property
    def clocked(self) -> bool: ...

    def start(self, changed: Callable[[], None]) -> None: ...
    def stop(self) -> None: ...
    def rings(self) -> list[Ring]: ...
    def meta(self, stream: Stream) -> Meta | None: ...
    def condition(self) -> Condition: ...
    def reach(self, window_s: float) -> None:
        """Fill the rings with history for a window of this length, where there is some."""
        ...


class Rings:
    """The rings of a source by stream, in order; several threads may add to them and look at them."""

    def __init__(self, rings: Iterable[Ring] = ()) -> None:
        self._rings: dict[Stream, Ring] = {ring.stream: ring for ring in rings}
        self._lock = threading.Lock()

    def all(self) -> list[Ring]:
        rings = dict(self._rings)
        return [rings[stream] for stream in sorted(rings)]

    def has(self, stream: Stream) -> bool:
        return stream in self._rings

    def add(self, readings: Readings) -> None:
        """Into the stream's ring, which is made anew when a component comes that it does not know."""
        with self._lock:
            ring = self._rings.get(readings.stream)
            if ring is None or not set(readings.components) <= set(ring.components):
                ring = _ring_for(readings, ring)
                self._rings = {**self._rings, readings.stream: ring}
            ring.append(readings)

    def fill(self, archive: Archive, stream: Stream, window_s: float) -> None:
        """History: the newest ``window_s`` seconds that an archive has of a stream."""
        span = archive.span(stream)
        if span is not None:
            self.add(archive.readings(stream, span[1] - round(window_s * 1e9), span[1] + 1))


def _ring_for(readings: Readings, old: Ring | None) -> Ring:
    """A ring with the components of both, that holds what the old one held."""
    units = dict(zip(old.components, old.units, strict=True)) if old else {}
    units |= dict(zip(readings.components, readings.units, strict=True))
    capacity = max(CAPACITY, readings.time_ns.size)
    ring = Ring(readings.stream, tuple(units), tuple(units.values()), capacity)
    if old is not None:
        ring.append(old.between(-(2**63), 2**63 - 1))
    return ring
