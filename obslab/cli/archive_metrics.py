"""`obslab archive latency`, `gaps`, `completeness`, `outages`: how late samples came, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obslab.cli.options import Json
from obslab.cli.tables import Begin, Day, End, Instrument, Station, interval, show

if TYPE_CHECKING:
    from obslab.telemetry.metrics.measures import Measures


def latency(
    archive: Path,
    window: Annotated[str, typer.Option(help="As in 10min, 1h, 1d, or all.")] = "1d",
    exact: Annotated[bool, typer.Option("--exact", help="From every sample, not from summaries.")] = False,
    day: Day = None,
    begin: Begin = None,
    end: End = None,
    station: Station = None,
    instrument: Instrument = None,
    as_json: Json = False,
) -> None:
    """How late samples came: mean, quantiles and the part within INTERMAGNET's target, by window."""
    with _asked(archive, station, instrument, day, begin, end) as measures:
        show(measures.latency(window, exact=exact), as_json)


def gaps(
    archive: Path,
    day: Day = None,
    begin: Begin = None,
    end: End = None,
    station: Station = None,
    instrument: Instrument = None,
    as_json: Json = False,
) -> None:
    """What is missing: begin, end, lost samples, cause where known, and what is done about it."""
    with _asked(archive, station, instrument, day, begin, end) as measures:
        show(measures.gaps(), as_json)


def completeness(
    archive: Path,
    by: Annotated[str, typer.Option(help="minute, hour, day or month.")] = "day",
    day: Day = None,
    begin: Begin = None,
    end: End = None,
    station: Station = None,
    instrument: Instrument = None,
    as_json: Json = False,
) -> None:
    """How much is there of what should be, against INTERMAGNET's rule of 90 %."""
    with _asked(archive, station, instrument, day, begin, end) as measures:
        show(measures.completeness(by), as_json)  # type: ignore[arg-type]  # refused there if unknown


def outages(
    archive: Path,
    by_month: Annotated[bool, typer.Option("--by-month", help="Count connection losses by month.")] = False,
    at_least_s: Annotated[float, typer.Option("--at-least-s", help="Leave out shorter ones.")] = 0.0,
    day: Day = None,
    begin: Begin = None,
    end: End = None,
    station: Station = None,
    instrument: Instrument = None,
    as_json: Json = False,
) -> None:
    """When delivery was interrupted, whether or not the samples came later."""
    with _asked(archive, station, instrument, day, begin, end) as measures:
        found = (
            measures.losses(at_least_s=at_least_s) if by_month else measures.outages(at_least_s=at_least_s)
        )
        show(found, as_json)


def add_to(app: typer.Typer) -> None:
    """Make these commands of an app."""
    for command in (latency, gaps, completeness, outages):
        app.command(command.__name__)(command)


@contextmanager
def _asked(
    archive: Path,
    station: str | None,
    instrument: str | None,
    day: str | None,
    begin: str | None,
    end: str | None,
) -> Iterator[Measures]:
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.metrics.measures import Measures

    first, last = interval(day, begin, end)
    with open_archive(archive) as opened:
        yield Measures(opened, station, instrument, first, last)
