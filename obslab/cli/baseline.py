"""`obslab baseline ...`: what is added to a variometer, adopted by a person for a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obslab.cli.options import Json, say
from obslab.errors import ConfigError

if TYPE_CHECKING:
    from obslab.telemetry.absolutes import Measurement
    from obslab.telemetry.archive.store import Archive

app = typer.Typer(no_args_is_help=True, help="Baselines: fitted to absolute measurements, and adopted.")

_FOLDER = "baselines"


@app.command("adopt")
def adopt(
    archive: Path,
    station: Annotated[str | None, typer.Option("--station", help="IAGA code; else the only one.")] = None,
    instrument: Annotated[
        str | None, typer.Option("--instrument", help="The variometer, as in lemi036; else the only one.")
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--absolutes", help="DI sheet or AUTODIF file; repeat. Else those in the archive."),
    ] = None,
    scalar: Annotated[str | None, typer.Option(help="Where F is from, if not measured with D and I.")] = None,
    begin: Annotated[str | None, typer.Option(help="Valid from; else the day of the first spot.")] = None,
    end: Annotated[str | None, typer.Option(help="Valid until before; else the day after the last.")] = None,
    margin_days: Annotated[
        float, typer.Option(min=0.0, help="Spots of so many days before and after take part too.")
    ] = 31.0,
    method: Annotated[str, typer.Option(help="spline (smoothing) or polynomial (pieces).")] = "spline",
    degree: Annotated[int, typer.Option(min=0, max=5, help="Degree of the pieces.")] = 3,
    knots: Annotated[int | None, typer.Option(min=0, help="How many knots; else by the spots.")] = None,
    at_knots: Annotated[list[str] | None, typer.Option("--knot", help="Time of a knot; repeat.")] = None,
    smoothing: Annotated[
        float | None, typer.Option(help="Days of a wave that keeps half; else cross validation.")
    ] = None,
    steps: Annotated[list[str] | None, typer.Option("--step", help="Time of a jump; repeat.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="A new curve after each step.")] = False,
    reject_sigma: Annotated[float, typer.Option(help="Spots so far off are left out; inf: none.")] = 4.0,
    extrapolation: Annotated[str, typer.Option(help="Beyond the spots: linear or constant.")] = "linear",
    pier_difference: Annotated[
        float, typer.Option("--pier-difference", help="nT added to the scalar to have F on the pillar.")
    ] = 0.0,
    folder: Annotated[Path | None, typer.Option(help="Where it goes; else ARCHIVE/baselines.")] = None,
    author: Annotated[str, typer.Option(help="Who adopts it.")] = "",
    reason: Annotated[str, typer.Option(help="Why, in words.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Fit and tell, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Fit a baseline to absolute measurements, tell what is odd, and adopt it: JSON and IBFV2.00 files."""
    if not dry_run and not (author.strip() and reason.strip()):
        raise ConfigError(
            "a baseline is adopted by somebody for a reason: give --author and --reason, or --dry-run"
        )
    if at_knots and knots is not None:
        raise ConfigError("give --knots, how many, or --knot, their times; not both")
    from obslab.cli.baseline_report import lines, report
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.baseline import Baselines, find_jumps, fit
    from obslab.telemetry.processing.merging import chosen
    from obslab.telemetry.processing.observing import observed
    from obslab.times import now_ns

    with open_archive(archive) as opened:
        raw = chosen(opened, station, instrument, kinds=("vector",))
        taken = _measurements(opened, raw.station, files or [], begin, end, margin_days)
        _, spots = observed(
            opened, taken, raw.station, raw.instrument, scalar, pier_difference_nt=pier_difference
        )
    found = fit(
        spots,
        method=method,  # type: ignore[arg-type]  # refused there if unknown
        degree=degree,
        knots=at_knots or knots,
        smoothing=smoothing,
        steps=steps or (),
        restart=restart,
        begin=begin,
        end=end,
        reject_sigma=reject_sigma,
        extrapolation=extrapolation,  # type: ignore[arg-type]
    )
    told = report(found, find_jumps(found.spots))
    path = None
    if not dry_run:
        adopted = found.baseline.adopted(author, reason, now_ns())
        path = Baselines(folder or archive / _FOLDER).adopt(adopted)
        told |= {"id": adopted.id, "author": author, "reason": reason}
    told["file"] = None if path is None else str(path)
    if as_json:
        say(json.dumps(told))
        return
    for line in lines(told):
        say(line)
    say("nothing was written (--dry-run)" if path is None else f"adopted: {path}")


@app.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="A folder of baselines, or an archive.")],
    as_json: Json = False,
) -> None:
    """Baselines that were adopted, oldest first. With one that cannot be read it exits with 1."""
    from obslab.cli.baseline_report import list_line, listed
    from obslab.telemetry.baseline import Baselines

    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: give one with baselines, or an archive")
    baselines = Baselines(folder / _FOLDER if (folder / "hot.db").exists() else folder)
    told, damaged = [listed(one) for one in baselines.all()], baselines.damaged()
    if as_json:
        say(json.dumps({"baselines": told, "damaged": [error.message for error in damaged]}))
    else:
        for line in map(list_line, told):
            say(line)
        if not told:
            say(f"no baseline was adopted in {baselines.folder}")
        for error in damaged:
            say(f"damaged: {error.message}")
    if damaged:
        raise typer.Exit(1)


def _measurements(
    archive: Archive, station: str, files: list[Path], begin: str | None, end: str | None, margin_days: float
) -> tuple[Measurement, ...]:
    """Those in the files, or else in the archive, from the interval and the margin about it."""
    from obslab.errors import BaselineError
    from obslab.telemetry.absolutes import measurements, read
    from obslab.times import NS_PER_DAY, as_ns

    margin_ns = round(margin_days * NS_PER_DAY)
    first = None if begin is None else as_ns(begin) - margin_ns
    last = None if end is None else as_ns(end) + margin_ns
    if not files:
        return measurements(archive, station, None, first, last)
    taken = [one for file in files for one in read(file)]
    strangers = sorted({one.station for one in taken} - {station, ""})
    if strangers:
        raise BaselineError(f"a measurement in the files is of {strangers[0]}, not of {station}")
    return tuple(
        one
        for one in taken
        if (first is None or one.begin_ns >= first) and (last is None or one.begin_ns < last)
    )
