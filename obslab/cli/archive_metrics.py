"""`obslab archive latency`, `gaps`, `completeness`, `outages`: how late samples came, and what is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from obslab.cli.options import Json, say

if TYPE_CHECKING:
    import xarray as xr

    from obslab.telemetry.metrics.measures import Measures

Day = Annotated[str | None, typer.Option("--day", help="This UTC day, as in 2024-05-10.")]
Begin = Annotated[str | None, typer.Option("--begin", help="From here on; else from the first sample.")]
End = Annotated[str | None, typer.Option("--end", help="Before this; else up to the present.")]
Station = Annotated[str | None, typer.Option("--station", help="IAGA code; else all.")]
Instrument = Annotated[str | None, typer.Option("--instrument", help="As in lemi0001; else all.")]


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
        _show(measures.latency(window, exact=exact), as_json)


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
        _show(measures.gaps(), as_json)


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
        _show(measures.completeness(by), as_json)  # type: ignore[arg-type]  # refused there if unknown


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
        _show(found, as_json)


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
    from obslab.errors import ConfigError
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.metrics.measures import Measures
    from obslab.times import NS_PER_DAY, as_ns

    first, last = (None if text is None else as_ns(text) for text in (begin, end))
    if day is not None:
        if begin or end:
            raise ConfigError(f"--day {day} is an interval already; leave out --begin and --end")
        first = as_ns(day) // NS_PER_DAY * NS_PER_DAY
        last = first + NS_PER_DAY
    if first is not None and last is not None and first >= last:
        raise ConfigError(f"--begin {begin} is not before --end {end}")
    with open_archive(archive) as opened:
        yield Measures(opened, station, instrument, first, last)


def _show(dataset: xr.Dataset, as_json: bool) -> None:
    names = [str(name) for name in dataset.variables]
    if "stream" in names:
        names.insert(0, names.pop(names.index("stream")))
    columns = [[_plain(value) for value in dataset[name].values] for name in names]
    table = list(zip(*columns, strict=True))
    if as_json:
        say(json.dumps([dict(zip(names, row, strict=True)) for row in table]))
        return
    if not table:
        say("none")
        return
    texts = [names, *([_text(value) for value in row] for row in table)]
    widths = [max(len(row[place]) for row in texts) for place in range(len(names))]
    right = [isinstance(value, int | float) for value in table[0]]
    for row in texts:
        cells = zip(row, widths, right, strict=True)
        say(
            "  ".join(
                cell.rjust(width) if flush else cell.ljust(width) for cell, width, flush in cells
            ).rstrip()
        )


def _plain(value: Any) -> Any:
    """As JSON has it: times as ISO text, what is not there as null."""
    import numpy as np

    from obslab.times import iso

    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else iso(value)
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
