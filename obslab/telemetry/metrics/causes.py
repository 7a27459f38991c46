"""Why samples are missing or late, as far as what went down at the time tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.metrics.day import Floats, Ints
from obslab.telemetry.sample import Clock, Stream

Texts = NDArray[np.str_]

LOST, REJECTED, UNKNOWN = "lost at source", "rejected", "unknown"
# In this order when two were down as long: a dead instrument explains more than the link behind it.
_CAUSES = {"driver": "station", "broker": "broker", "bridge": "bridge", "link": "link"}
_ENOUGH = 0.5
# A last will comes after one and a half keep-alives (10 s), so a link is down before it is known.
_NOTICED_NS = 30_000_000_000
_FOR_EVER_NS = 2**62


class Event(Protocol):
    """As the archive's book keeps them: something went up or down, in UTC."""

    @property
    def at_ns(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def up(self) -> bool: ...


class Hole(Protocol):
    """As the archive's book keeps them: an interval asked for, by the station's clock."""

    @property
    def topic(self) -> str: ...
    @property
    def begin_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def state(self) -> str: ...


@dataclass(frozen=True)
class Known:
    """What is known beside samples. ``rejected`` has the arrivals (UTC, ns) of messages by their topic.

    ``units`` has the topics of each unit's streams, by its name as in ``PEA lemi0001``; an event of a unit
    that is not among them concerns all streams of its station.
    """

    events: Sequence[Event] = ()
    holes: Sequence[Hole] = ()
    rejected: Mapping[str, Ints] = field(default_factory=dict)
    units: Mapping[str, Sequence[str]] = field(default_factory=dict)


def causes(
    known: Known, stream: Stream, clock: Clock | None, begin_ns: Ints, end_ns: Ints, lost: Ints
) -> tuple[Texts, Texts]:
    """Cause and state of stretches of a stream; a cause must have lasted for at least half of a stretch."""
    shares = {
        cause: _share(_down(known, kind, stream, clock), begin_ns, end_ns) for kind, cause in _CAUSES.items()
    }
    shares["station"] = np.where(lost > 0, shares["station"], 0.0)  # what came late, the instrument did make
    most = np.array(list(shares.values()))
    found = np.where(most.max(axis=0) >= _ENOUGH, np.array(list(shares))[most.argmax(axis=0)], UNKNOWN)
    refused = _refused(known, stream, clock, begin_ns, end_ns)
    found = np.where((lost > 0) & (refused * stream.block * 2 >= lost) & (refused > 0), REJECTED, found)
    holes = {
        state: _share(
            [(h.begin_ns, h.end_ns) for h in known.holes if h.topic == stream.topic and h.state == state],
            begin_ns,
            end_ns,
        )
        for state in ("asked", "lost")
    }
    gone = (lost > 0) & (holes["lost"] >= _ENOUGH)
    # Lost at source while its driver was down: the instrument never made them.
    found = np.where(gone & (shares["station"] < _ENOUGH), LOST, found)
    found = np.where(gone & (shares["station"] >= _ENOUGH), "station", found)
    state = np.where(gone, LOST, np.where(holes["asked"] > 0, "asked", "open"))
    return found.astype(str), state.astype(str)


def _down(known: Known, kind: str, stream: Stream, clock: Clock | None) -> list[tuple[int, int]]:
    """When things of a kind that this stream depends on were down, by the station's clock."""
    since: dict[str, int] = {}
    down: list[tuple[int, int]] = []
    for event in sorted(known.events, key=lambda one: one.at_ns):
        if event.kind != kind or not _concerns(known, event, stream):
            continue
        at_ns = clock.at(event.at_ns) if clock else event.at_ns
        if event.up and event.name in since:
            down.append((since.pop(event.name), at_ns))
        elif not event.up:
            since.setdefault(event.name, at_ns - _NOTICED_NS)
    return down + [(begin_ns, _FOR_EVER_NS) for begin_ns in since.values()]


def _concerns(known: Known, event: Event, stream: Stream) -> bool:
    if event.kind == "broker":
        return True
    if event.name in known.units:
        return stream.topic in known.units[event.name]
    words = [word for word in re.split(r"[^a-z0-9_]+", event.name.lower()) if word]
    if event.kind == "bridge":  # brokers name their bridges freely; one that names no station carries all
        stations = {topic[:3] for topics in known.units.values() for topic in topics}
        named = stations.intersection(words)
        return not named or stream.station.lower() in named
    if words[:1] != [stream.station.lower()]:
        return False
    return event.kind == "link" or stream.instrument in event.name.lower().replace("/", " ").split()


def _share(intervals: Iterable[tuple[int, int]], begin_ns: Ints, end_ns: Ints) -> Floats:
    """Which fraction of each stretch is covered by the union of the intervals."""
    edges: list[list[int]] = []
    for begin, end in sorted(intervals):
        if edges and begin <= edges[-1][1]:
            edges[-1][1] = max(edges[-1][1], end)
        else:
            edges.append([begin, end])
    if not edges:
        return np.zeros(begin_ns.size)
    starts, ends = np.array(edges, np.int64).T
    before = np.concatenate([[0], np.cumsum((ends - starts).astype(np.float64))])

    def covered(at_ns: Ints) -> Floats:
        place = np.searchsorted(starts, at_ns, side="right")
        open_ns = np.maximum(0, np.minimum(at_ns, ends[place - 1]) - starts[place - 1])
        return np.where(place > 0, before[place - 1] + open_ns, 0.0)

    last_ns = np.maximum(end_ns, begin_ns + 1)
    share: Floats = (covered(last_ns) - covered(begin_ns)) / (last_ns - begin_ns)
    return share


def _refused(known: Known, stream: Stream, clock: Clock | None, begin_ns: Ints, end_ns: Ints) -> Ints:
    """Messages of the stream's topic that came while the stretch lasted, and were not understood."""
    came_ns = np.sort(np.asarray(known.rejected.get(stream.topic, ()), np.int64))
    if clock is not None:
        came_ns = clock.times_at(came_ns)
    until = np.searchsorted(came_ns, end_ns + _NOTICED_NS, side="left")
    return until - np.searchsorted(came_ns, begin_ns, side="left")
