"""`obslab absolutes ...`: D, I and F out of measurements with a theodolite."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from obslab.cli.options import Json, say
from obslab.errors import ConfigError, NoStreamError, NoVariometerError

if TYPE_CHECKING:
    import xarray as xr

    from obslab.telemetry.absolutes import Measurement
    from obslab.telemetry.archive.store import Archive
    from obslab.telemetry.processing.merging import Kind

app = typer.Typer(no_args_is_help=True, help="Absolute measurements: DI-flux sheets and AUTODIF records.")

_MARGIN_NS = 600 * 1_000_000_000  # of samples about a measurement, to interpolate in
_CDF = (".cdf",)


@app.callback()
def _group() -> None:
    """Makes `reduce` a command of this group although it is the only one."""


@app.command("reduce")
def reduce_(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="DI sheets, AUTODIF files; with --archive none: those in the archive."),
    ] = None,
    variometer: Annotated[
        list[Path] | None, typer.Option(help="IAGA-2002 or ImagCDF file of the variometer; repeat.")
    ] = None,
    scalar: Annotated[
        str | None,
        typer.Option(
            help="File with F, or the instrument in the archive; else F of the variometer's file, or the "
            "only scalar in the archive."
        ),
    ] = None,
    archive: Annotated[Path | None, typer.Option(help="Archive with variometer and scalar.")] = None,
    station: Annotated[str | None, typer.Option(help="IAGA code in the archive; else the only one.")] = None,
    instrument: Annotated[
        str | None, typer.Option(help="Variometer in the archive; else the only vector.")
    ] = None,
    pier_difference: Annotated[
        float, typer.Option("--pier-difference", help="nT added to the scalar to have F on the pillar.")
    ] = 0.0,
    azimuth: Annotated[
        float | None, typer.Option(help="Of the mark, degrees east of north; else that in the file.")
    ] = None,
    declination_near: Annotated[
        float, typer.Option("--declination-near", help="Rough D in degrees, where it is beyond 90.")
    ] = 0.0,
    at: Annotated[str | None, typer.Option(help="Time D, I, F are for; else the first reading.")] = None,
    skip_incomplete: Annotated[
        bool, typer.Option("--skip-incomplete", help="Leave out what an AUTODIF did not complete.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Reduce absolute measurements: D, I, F with errors, collimation and offset of the theodolite.

    With one that cannot be used it exits with 1.
    """
    if variometer and archive is not None:
        raise ConfigError("give --variometer FILE or --archive DIR, not both")
    if archive is None and not files:
        raise ConfigError("give FILE, a DI sheet or an AUTODIF file, or --archive DIR")
    from obslab.telemetry.absolutes import read, reduce

    measurements: tuple[Measurement, ...] = tuple(
        one
        for file in files or []
        for one in read(
            file,
            azimuth_deg=azimuth,
            declination_near_deg=declination_near,
            skip_incomplete=skip_incomplete,
        )
    )
    if archive is not None:
        measurements, vector, total = _in_archive(measurements, archive, station, instrument, scalar)
    else:
        vector, total = _in_files(variometer or [], scalar)
    found = reduce(measurements, vector, total, pier_difference_nt=pier_difference, at=at)
    rows = [_row(found.isel(measurement=place)) for place in range(found.sizes["measurement"])]
    if as_json:
        say(json.dumps({"station": found.attrs.get("station", ""), "measurements": rows}))
    else:
        for line in _lines(rows):
            say(line)
    if not all(row["used"] for row in rows):
        raise typer.Exit(1)


def _in_files(variometer: list[Path], scalar: str | None) -> tuple[xr.Dataset | None, xr.Dataset | None]:
    """Variometer and scalar out of files. F of the variometer's own file serves when no other is given."""
    vector = _joined([_samples(path) for path in variometer]) if variometer else None
    total = vector if scalar is None else _samples(Path(scalar))
    if scalar is None and total is not None and not {"s", "f"} & set(map(str, total.data_vars)):
        total = None
    return vector, total


def _in_archive(
    measurements: tuple[Measurement, ...],
    archive: Path,
    station: str | None,
    instrument: str | None,
    scalar: str | None,
) -> tuple[tuple[Measurement, ...], xr.Dataset | None, xr.Dataset | None]:
    from obslab.telemetry.absolutes import measurements as stored
    from obslab.telemetry.archive.store import open_archive

    with open_archive(archive) as opened:
        taken = measurements or stored(opened, station)
        if not taken:
            raise ConfigError(f"archive {archive} has no absolute measurements; give FILE")
        begin = min(one.begin_ns for one in taken) - _MARGIN_NS
        end = max(one.end_ns for one in taken) + _MARGIN_NS
        vector = _in_stream(opened, station, instrument, "vector", begin, end)
        total = _in_stream(opened, station, scalar, "scalar", begin, end)
    return taken, vector, total


def _in_stream(
    opened: Archive, station: str | None, name: str | None, kind: Kind, begin: int, end: int
) -> xr.Dataset | None:
    """Samples of the instrument named, else of the only one; None when there is none.

    Raises NoVariometerError when it has no samples then.
    """
    from obslab.telemetry.processing.merging import chosen, nothing_in
    from obslab.times import iso

    try:
        stream = chosen(opened, station, name, kinds=(kind,))
    except NoStreamError:
        if name:
            raise
        return None
    found = opened.dataset(stream.station, stream.instrument, begin, end, samplerate=stream.samplerate)
    if not found.sizes["time"]:
        raise NoVariometerError(
            f"{nothing_in(opened, stream).message}; the absolute readings begin at {iso(begin + _MARGIN_NS)}"
        )
    return found.load()


def _samples(path: Path) -> xr.Dataset:
    if path.suffix.lower() in _CDF:
        from obslab.telemetry import imagcdf

        return imagcdf.read(path)
    from obslab.telemetry import iaga2002

    return iaga2002.read(path)


def _joined(parts: list[xr.Dataset]) -> xr.Dataset:
    import xarray as xr

    if len(parts) == 1:
        return parts[0]
    return xr.concat(parts, "time", join="outer", combine_attrs="drop_conflicts").sortby("time")


def _row(one: xr.Dataset) -> dict[str, Any]:
    """A measurement as JSON has it: errors of angles in arcsec, the rest in the units of ABSOLUTES."""
    from obslab.times import iso

    row: dict[str, Any] = {}
    for name in map(str, one.variables):
        value = one[name].values
        row[name] = iso(int(value.astype(int))) if value.dtype.kind == "M" else value.item()
    for name in ("d", "i"):
        row[f"{name}_dms"] = _dms(row[name])
        row[f"{name}_error_arcsec"] = 3600 * row.pop(f"{name}_error")
    return {name: _plain(value) for name, value in row.items()}


_COLUMNS = {
    "time": ("time", ""),
    "d": ("D deg", ".5f"),
    "d_dms": ("D d m s", ""),
    "d_error_arcsec": ('+- "', ".1f"),
    "i": ("I deg", ".5f"),
    "i_dms": ("I d m s", ""),
    "i_error_arcsec": ('+- "', ".1f"),
    "f": ("F nT", ".2f"),
    "f_error": ("+- nT", ".2f"),
    "offset_d": ("S0(D) nT", ".2f"),
    "offset_i": ("S0(I) nT", ".2f"),
    "delta": ("delta '", ".3f"),
    "epsilon_d": ("eps(D) '", ".3f"),
    "epsilon_i": ("eps(I) '", ".3f"),
    "scale": ("scale", ".4f"),
    "rms": ("rms nT", ".2f"),
    "method": ("method", ""),
    "note": ("note", ""),
}


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    shown = [[title for title, _ in _COLUMNS.values()]]
    shown += [
        ["-" if row[name] is None else format(row[name], form) for name, (_, form) in _COLUMNS.items()]
        for row in rows
    ]
    widths = [max(len(line[place]) for line in shown) for place in range(len(_COLUMNS))]
    right = [bool(form) for _, form in _COLUMNS.values()]
    return [
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in shown
    ]


def _dms(degrees: float) -> str:
    """An angle in degrees, minutes and tenths of seconds; empty for none."""
    if not math.isfinite(degrees):
        return ""
    tenths = round(abs(degrees) * 36_000)
    minutes, rest = divmod(tenths, 600)
    return f"{'-' if degrees < 0 else ''}{minutes // 60} {minutes % 60:02} {rest / 10:04.1f}"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
