"""An archive as it is looked at once: what several questions need is read only for the first."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING

from obslab.telemetry.archive.book import Book
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.metrics.day import DaySummary
from obslab.telemetry.metrics.measures import Arrivals
from obslab.telemetry.sample import Meta, Stream
from obslab.times import NS_PER_DAY
from obslab_widgets.latency_dashboard.state import Interval

if TYPE_CHECKING:
    import xarray as xr


class Glance:
    """The archive, with these streams only, whose days of an interval are kept; for ``Measures``."""

    def __init__(self, archive: Archive, streams: Sequence[Stream], interval: Interval) -> None:
        self._archive, self._streams = archive, list(streams)
        # Gaps reach over midnight: Measures asks for the days beside, too.
        self._begin_ns, self._end_ns = interval.begin_ns - NS_PER_DAY, interval.end_ns + NS_PER_DAY
        self._days: dict[Stream, list[DaySummary]] = {}
        self._spans: dict[Stream, tuple[int, int] | None] = {}

    def of(self, streams: Sequence[Stream]) -> Glance:
        """The same with some of its streams; what one reads the other has."""
        some = copy(self)
        some._streams = list(streams)
        return some

    @property
    def book(self) -> Book:
        return self._archive.book

    def streams(self) -> list[Stream]:
        return self._streams

    def metas(self, stream: Stream) -> tuple[Meta, ...]:
        return self._archive.metas(stream)

    def span(self, stream: Stream) -> tuple[int, int] | None:
        if stream not in self._spans:
            self._spans[stream] = self._archive.span(stream)
        return self._spans[stream]

    def days(self, stream: Stream, begin_ns: int, end_ns: int) -> list[DaySummary]:
        if begin_ns < self._begin_ns or end_ns > self._end_ns:
            return self._archive.days(stream, begin_ns, end_ns)
        if stream not in self._days:
            self._days[stream] = self._archive.days(stream, self._begin_ns, self._end_ns)
        held = self._days[stream]
        return [day for day in held if day.day_ns < end_ns and day.day_ns + NS_PER_DAY > begin_ns]

    def stored(self, stream: Stream, begin_ns: int, end_ns: int) -> Arrivals:
        return self._archive.stored(stream, begin_ns, end_ns)

    def rejected_count(self) -> int:
        return self._archive.rejected_count()

    def rejected(self) -> xr.Dataset:
        return self._archive.rejected()
