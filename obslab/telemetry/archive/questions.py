"""What an archive answers about itself: latency, gaps, completeness and outages, from its summaries.

Each makes a ``Measures`` of the streams that fit ``station``, ``instrument`` and ``samplerate`` (all when
none is given) and of ``[begin, end)`` (from the first sample to the present when not given).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from obslab.telemetry.archive.holes import Holder, holes_dataset, wait_whole
from obslab.telemetry.metrics.measures import Measures, Source
from obslab.times import Instant

if TYPE_CHECKING:
    import xarray as xr

    from obslab.telemetry.metrics.completeness import By


class Questions:
    """The half of an Archive that answers with numbers about its samples instead of samples."""

    def measures(
        self,
        station: str | None = None,
        instrument: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        **more: Any,
    ) -> Measures:
        """What may be asked of these streams and this interval; ``more`` is ``samplerate`` and ``now``."""
        return Measures(cast(Source, self), station, instrument, begin, end, **more)

    def latency(
        self,
        station: str | None = None,
        instrument: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        *,
        window: str | float | None = "1h",
        exact: bool = False,
        **more: Any,
    ) -> xr.Dataset:
        """How late samples came, by window, as ``LATENCY``; ``exact`` reads every sample."""
        return self.measures(station, instrument, begin, end, **more).latency(window, exact=exact)

    def gaps(
        self,
        station: str | None = None,
        instrument: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        **more: Any,
    ) -> xr.Dataset:
        """What is missing, since when, how much and why, as ``GAPS``."""
        return self.measures(station, instrument, begin, end, **more).gaps()

    def completeness(
        self,
        station: str | None = None,
        instrument: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        *,
        by: By = "hour",
        **more: Any,
    ) -> xr.Dataset:
        """How much is there of what should be, by minute, hour, day or month, as ``COMPLETENESS``."""
        return self.measures(station, instrument, begin, end, **more).completeness(by)

    def outages(
        self,
        station: str | None = None,
        instrument: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        *,
        at_least_s: float = 0.0,
        **more: Any,
    ) -> xr.Dataset:
        """When delivery was interrupted, whether or not it was filled later, as ``OUTAGES``."""
        return self.measures(station, instrument, begin, end, **more).outages(at_least_s=at_least_s)

    def losses(
        self,
        station: str | None = None,
        instrument: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
        *,
        at_least_s: float = 0.0,
        **more: Any,
    ) -> xr.Dataset:
        """Losses of the connection by month, as ``LOSSES``."""
        return self.measures(station, instrument, begin, end, **more).losses(at_least_s=at_least_s)

    def clocks(
        self, station: str | None = None, begin: Instant | None = None, end: Instant | None = None
    ) -> xr.Dataset:
        """How far the units' clocks were off, as ``CLOCKS``."""
        return self.measures(station, None, begin, end).clocks()

    def ages(
        self, station: str | None = None, instrument: str | None = None, now: Instant | None = None
    ) -> xr.Dataset:
        """How old the newest sample of each stream is, against its target, as ``AGES``."""
        return self.measures(station, instrument, now=now).ages()

    def holes(self, station: str | None = None) -> xr.Dataset:
        """What the stations were asked for again, and what became of it, as ``HOLES``."""
        return holes_dataset(cast(Holder, self), station)

    def wait_whole(self, station: str, begin: Instant | None = None, timeout_s: float = 60.0) -> bool:
        """Wait until every sample of a station is there, up to the present; False when the time is up."""
        return wait_whole(cast(Holder, self), station, begin, timeout_s)
