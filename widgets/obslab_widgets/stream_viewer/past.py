"""What a window shows that has left the rings: read from the archive again."""

from __future__ import annotations

import time

from obslab.telemetry.archive.store import Archive
from obslab.telemetry.live.ring import Ring
from obslab.telemetry.live.source import Source
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Stream

_KEEP_S = 2.0  # then it is read again: a backfill may have closed a gap in it
_MOST = 500_000  # samples of a stream that are read for one window
_WINDOWS = 32


class Past:
    """Remembers the windows it was asked for last, since a window that stands still is drawn many times."""

    def __init__(self, source: Source) -> None:
        archive: Archive | None = getattr(source, "archive", None)
        # A source that computes streams also computes what of them the archive does not store.
        self._look_up = getattr(source, "older", archive.readings) if archive is not None else None
        self._read: dict[tuple[Stream, int, int], tuple[float, Readings]] = {}

    def before(self, ring: Ring, begin_ns: int, end_ns: int) -> Readings | None:
        """Samples of ``[begin, end)`` from before those in the ring; None when it holds all there are."""
        earliest_ns = ring.earliest_ns()
        last_ns = end_ns if earliest_ns is None else min(end_ns, earliest_ns)
        if self._look_up is None or begin_ns >= last_ns:
            return None
        if (last_ns - begin_ns) / 1e9 / ring.stream.cadence_s > _MOST:
            begin_ns = last_ns - round(_MOST * ring.stream.cadence_s * 1e9)
        key = (ring.stream, begin_ns, last_ns)
        read_s, readings = self._read.get(key, (0.0, None))
        if readings is None or time.monotonic() - read_s > _KEEP_S:
            readings = self._look_up(ring.stream, begin_ns, last_ns)
            if readings is None:
                return None
            self._read[key] = (time.monotonic(), readings)
            for old in [*self._read][:-_WINDOWS]:
                del self._read[old]
        return readings if readings.time_ns.size else None
