"""Options and printed tables that the commands about an archive share."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from obslab.cli.options import say

if TYPE_CHECKING:
    import xarray as xr

Day = Annotated[str | None, typer.Option("--day", help="This UTC day, as in 2024-05-10.")]
Begin = Annotated[str | None, typer.Option("--begin", help="From here on; else from the first sample.")]
End = Annotated[str | None, typer.Option("--end", help="Before this; else up to the present.")]
Station = Annotated[str | None, typer.Option("--station", help="IAGA code; else all.")]
Instrument = Annotated[str | None, typer.Option("--instrument", help="As in lemi0001; else all.")]


def interval(day: str | None, begin: str | None, end: str | None) -> tuple[int | None, int | None]:
    """What --day, or --begin and --end, say, in ns; None where nothing is said. Raises ConfigError."""
    from obslab.errors import ConfigError
    from obslab.times import NS_PER_DAY, as_ns

    first, last = (None if text is None else as_ns(text) for text in (begin, end))
    if day is not None:
        if begin or end:
            raise ConfigError(f"--day {day} is an interval already; leave out --begin and --end")
        first = as_ns(day) // NS_PER_DAY * NS_PER_DAY
        last = first + NS_PER_DAY
    if first is not None and last is not None and first >= last:
        raise ConfigError(f"--begin {begin} is not before --end {end}")
    return first, last


def show(dataset: xr.Dataset, as_json: bool) -> None:
    """Print a table, a row for each place along its dimension."""
    names = [str(name) for name in dataset.variables]
    for first in ("time", "stream"):
        if first in names:
            names.insert(0, names.pop(names.index(first)))
    columns = [[_plain(value) for value in dataset[name].values] for name in names]
    table = list(zip(*columns, strict=True))
    if as_json:
        say(json.dumps([dict(zip(names, row, strict=True)) for row in table]))
        return
    if not table:
        say("none")
        return
    fine = [dataset[name].attrs.get("units") in ("nT", "arcmin") for name in names]
    texts = [names, *([_text(*cell) for cell in zip(row, fine, strict=True)] for row in table)]
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


def _text(value: Any, fine: bool) -> str:
    """A cell; of ``fine`` numbers two decimals count however large they are."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if fine:
            return f"{value:.2f}"
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
