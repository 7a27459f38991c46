"""What an archive says about the samples it had to ask the stations for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from obslab.errors import TopicError
from obslab.telemetry.archive.book import Book
from obslab.telemetry.derived import is_derived
from obslab.telemetry.sample import IRREGULAR, Meta, Stream
from obslab.times import NS_PER_S, Instant, as_ns, from_ns, now_ns

if TYPE_CHECKING:
    import xarray as xr

_LOOK_S = 0.2
_FRESH_S = 3.0  # how old the newest sample may be for a link that works


class Holder(Protocol):
    book: Book

    def streams(self) -> list[Stream]: ...
    def span(self, stream: Stream) -> tuple[int, int] | None: ...
    def metas(self, stream: Stream) -> tuple[Meta, ...]: ...
    def missing(self, stream: Stream, begin_ns: int, end_ns: int) -> list[tuple[int, int]]: ...


def holes_dataset(holder: Holder, station: str | None) -> xr.Dataset:
    """All holes of a station, or of all, as ``HOLES``."""
    from obslab.telemetry.datasets import HOLES

    prefix = f"{station.lower()}/" if station else ""
    found = [hole for hole in holder.book.holes() if hole.topic.startswith(prefix)]
    columns: dict[str, Any] = {
        "stream": [_named(hole.topic) for hole in found],
        "state": [hole.state for hole in found],
        "why": [hole.why for hole in found],
    }
    return HOLES.build(
        begin=from_ns(np.array([hole.begin_ns for hole in found], dtype=np.int64)),
        end=from_ns(np.array([hole.end_ns for hole in found], dtype=np.int64)),
        filled=np.array([hole.filled for hole in found], dtype=np.int64),
        **{name: np.array(values, dtype=str) for name, values in columns.items()},
    )


def wait_whole(holder: Holder, station: str, begin: Instant | None, timeout_s: float) -> bool:
    """Whether a station came to have every sample from ``begin`` to the present, within the time."""
    of_station = [stream for stream in holder.streams() if stream.station == station.upper()]
    streams = [stream for stream in of_station if not is_derived(stream)]
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if streams and all(_is_whole(holder, stream, begin) for stream in streams):
            return True
        time.sleep(_LOOK_S)
    return False


def _is_whole(holder: Holder, stream: Stream, begin: Instant | None) -> bool:
    span, metas = holder.span(stream), holder.metas(stream)
    if span is None:
        return False
    clock = metas[-1].clock if metas else None
    present_ns, speed = (clock.at(now_ns()), clock.speed) if clock else (now_ns(), 1.0)
    if present_ns - span[1] > (_FRESH_S * speed + stream.cadence_s) * NS_PER_S:
        return False
    begin_ns = as_ns(begin) if begin is not None else span[0]
    asked = holder.book.holes(stream.topic, begin_ns, span[1], ("open", "asked"))
    if asked or stream.samplerate == IRREGULAR:  # without a cadence, what lacks is what somebody asked for
        return not asked
    return not holder.missing(stream, begin_ns, span[1])


def _named(topic: str) -> str:
    try:
        return str(Stream.parse(topic))
    except TopicError:
        return topic
