"""The metrics of an archive, asked for by station, instrument and time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from obslab.errors import ConfigError, NoStreamError
from obslab.telemetry import protocol
from obslab.telemetry.derived import is_derived
from obslab.telemetry.metrics import clocks, completeness, gaps, latency, outages
from obslab.telemetry.metrics.causes import Event, Hole, Known
from obslab.telemetry.metrics.day import DaySummary, Ints
from obslab.telemetry.metrics.gaps import Days, Reach
from obslab.telemetry.metrics.summary import HOUR_NS
from obslab.telemetry.metrics.targets import judged
from obslab.telemetry.sample import Meta, Stream
from obslab.times import NS_PER_DAY, Instant, as_ns, now_ns

if TYPE_CHECKING:
    import xarray as xr

_EVER = (-(2**62), 2**62)
_UNIT_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_WINDOW = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|h|d)")


class Arrivals(Protocol):
    @property
    def time_ns(self) -> Ints: ...
    @property
    def arrival_ns(self) -> Ints: ...


class Book(Protocol):
    def events(self) -> Sequence[Event]: ...
    def holes(self) -> Sequence[Hole]: ...
    def clocks(self) -> Sequence[clocks.Reading]: ...
    def units(self) -> dict[str, tuple[str, bytes, int]]: ...


class Source(Protocol):
    """What of an archive is needed here."""

    @property
    def book(self) -> Book: ...
    def streams(self) -> list[Stream]: ...
    def metas(self, stream: Stream) -> tuple[Meta, ...]: ...
    def span(self, stream: Stream) -> tuple[int, int] | None: ...
    def days(self, stream: Stream, begin_ns: int, end_ns: int) -> list[DaySummary]: ...
    def stored(self, stream: Stream, begin_ns: int, end_ns: int) -> Arrivals: ...
    def rejected_count(self) -> int: ...
    def rejected(self) -> xr.Dataset: ...


class Measures:
    """Of the streams that fit ``station``, ``instrument`` and ``samplerate``: all when none is given.

    What was computed from other streams is asked for by its ``instrument``, as in ``lemi0001-adj``: nothing
    of it travelled. Its gaps are judged up to its last sample, since nobody says when it is to be there.
    Intervals are half-open, ``begin`` is else the first sample and ``end`` the present. What is younger than
    its grace is not judged (see ``targets.judged``).
    """

    def __init__(
        self,
        archive: Source,
        station: str | None = None,
        instrument: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        *,
        samplerate: str | None = None,
        now: Instant | None = None,
    ) -> None:
        self._archive = archive
        self._begin_ns = _EVER[0] if begin is None else as_ns(begin)
        self._end_ns = _EVER[1] if end is None else as_ns(end)
        self._now_ns = now_ns() if now is None else as_ns(now)
        self.streams = [
            stream
            for stream in archive.streams()
            if (station is None or stream.station == station.upper())
            and (stream.instrument == instrument or (instrument is None and not is_derived(stream)))
            and samplerate in (None, stream.samplerate)
        ]
        if not self.streams and any(name is not None for name in (station, instrument, samplerate)):
            asked = " ".join(name for name in (station, instrument, samplerate) if name)
            held = archive.streams()
            raise NoStreamError(
                f"archive has no stream {asked}; it has {', '.join(map(str, held)) or 'none yet'}", held=held
            )

    def latency(self, window: str | float | None = "1h", *, exact: bool = False) -> xr.Dataset:
        """See ``latency.latency``; windows below an hour, and all with ``exact``, are read from the samples.

        ``window`` is as in ``10min``, ``1h``, ``1d``, seconds, or ``all``.
        """
        window_s = window_seconds(window)
        begin_ns, end_ns = self._covered()
        if exact or (window_s is not None and window_s % 3600):
            pieces = _pieces(begin_ns, end_ns, window_s)
            return latency.latency_dataset(
                self._exact(stream, *piece, window_s) for stream in self.streams for piece in pieces
            )
        return latency.latency(self._days(begin_ns, end_ns), begin_ns, end_ns, window_s)

    def distribution(self) -> xr.Dataset:
        """See ``latency.distribution``."""
        begin_ns, end_ns = self._covered()
        return latency.distribution(self._days(begin_ns, end_ns), begin_ns, end_ns)

    def gaps(self) -> xr.Dataset:
        """See ``gaps.gaps``."""
        reach = self._reach()
        return gaps.gaps(self._days_of(reach), reach, self._known())

    def completeness(self, by: completeness.By = "hour") -> xr.Dataset:
        """See ``completeness.completeness``."""
        reach = self._reach()
        return completeness.completeness(self._days_of(reach), reach, by=by)

    def outages(self, *, at_least_s: float = 0.0) -> xr.Dataset:
        """See ``outages.outages``."""
        reach = self._reach()
        return outages.outages(self._days_of(reach), reach, self._known(), at_least_s=at_least_s)

    def losses(self, *, at_least_s: float = 0.0) -> xr.Dataset:
        """See ``outages.losses``."""
        return outages.losses(self.outages(at_least_s=at_least_s), self._reach())

    def clocks(self) -> xr.Dataset:
        """See ``clocks.clocks``; of the stations asked for, and times by the archive's clock."""
        stations = {stream.station for stream in self.streams}
        return clocks.clocks(
            [
                one
                for one in self._archive.book.clocks()
                if self._begin_ns <= one.at_ns < self._end_ns and one.unit.split(" ")[0] in stations
            ]
        )

    def ages(self) -> xr.Dataset:
        """See ``clocks.ages``."""
        spans = {stream: span for stream in self.streams if (span := self._archive.span(stream))}
        now = {stream: self._station_now_ns(stream) for stream in spans}
        return clocks.ages({stream: span[1] for stream, span in spans.items()}, now)

    def _station_now_ns(self, stream: Stream) -> int:
        metas = self._archive.metas(stream)
        return metas[-1].station_time(self._now_ns) if metas else self._now_ns

    def _covered(self) -> tuple[int, int]:
        """The interval asked for, cut to the samples there are."""
        spans = [span for stream in self.streams if (span := self._span(stream))]
        first_ns = min((span[0] for span in spans), default=0)
        last_ns = max((span[1] for span in spans), default=0)
        begin_ns = max(self._begin_ns, first_ns) if self._begin_ns == _EVER[0] else self._begin_ns
        end_ns = min(self._end_ns, last_ns + 1)
        return begin_ns, max(begin_ns, end_ns)

    def _span(self, stream: Stream) -> tuple[int, int] | None:
        """First and last time, of days too whose samples were deleted while their summaries stayed."""
        span = self._archive.span(stream)
        if span is not None and self._begin_ns >= span[0]:
            return span
        until_ns = self._end_ns if span is None else span[0]
        held = [day for day in self._archive.days(stream, self._begin_ns, until_ns) if day.n]
        if not held:
            return span
        return held[0].first_ns, span[1] if span else held[-1].last_ns

    def _days(self, begin_ns: int, end_ns: int) -> Days:
        low_ns, high_ns = begin_ns // HOUR_NS * HOUR_NS, -(-end_ns // HOUR_NS) * HOUR_NS
        return {stream: self._archive.days(stream, low_ns, high_ns) for stream in self.streams}

    def _days_of(self, reach: Reach) -> Days:
        """The days of each stream's reach, and those beside it: gaps and tolerances reach over midnight."""
        return {
            stream: self._archive.days(stream, begin_ns - NS_PER_DAY, end_ns + NS_PER_DAY)
            for stream, (begin_ns, end_ns) in reach.items()
        }

    def _reach(self) -> Reach:
        return {
            stream: judged(
                stream,
                self._archive.metas(stream),
                self._span(stream),
                self._begin_ns,
                self._end_ns,
                None if is_derived(stream) else self._now_ns,
            )
            for stream in self.streams
        }

    def _known(self) -> Known:
        book = self._archive.book
        rejected: dict[str, Ints] = {}
        if self._archive.rejected_count():
            messages = self._archive.rejected()
            came_ns = messages.arrival.values.astype(np.int64)
            rejected = {
                topic: came_ns[messages.topic.values == topic]
                for topic in set(messages.topic.values.tolist())
            }
        units = {
            name: protocol.decode(status, protocol.Status).streams
            for name, (_, status, _) in book.units().items()
        }
        return Known(book.events(), book.holes(), rejected, {name: of for name, of in units.items() if of})

    def _exact(self, stream: Stream, begin_ns: int, end_ns: int, window_s: float | None) -> dict[str, Any]:
        stored = self._archive.stored(stream, begin_ns, end_ns)
        metas = self._archive.metas(stream)
        return latency.exact_latency(
            stream, metas, stored.time_ns, stored.arrival_ns, begin_ns, end_ns, window_s
        )


def window_seconds(window: str | float | None) -> float | None:
    """Seconds of a window such as ``10min``, ``1h``, ``1d``; None for ``all``. Raises ConfigError."""
    if window is None or window == "all":
        return None
    if isinstance(window, str):
        found = _WINDOW.fullmatch(window.strip())
        seconds = float(found[1]) * _UNIT_S[found[2]] if found else 0.0
    else:
        seconds = float(window)
    if not 0.001 <= seconds <= 1e9:
        raise ConfigError(f"window {window!r} is none such as 30s, 10min, 1h, 1d or all")
    return seconds


def _pieces(begin_ns: int, end_ns: int, window_s: float | None) -> list[tuple[int, int]]:
    """The interval in days, if windows do not reach over midnight; so a year need not be in memory."""
    if window_s is None or 86_400 % window_s:
        return [(begin_ns, end_ns)]
    inner = range((begin_ns // NS_PER_DAY + 1) * NS_PER_DAY, end_ns, NS_PER_DAY)
    edges = [begin_ns, *inner, end_ns]
    return list(pairwise(edges))
