"""`obslab archive minute`, `adjust`, `k`, `export`: what is made of an archive's samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from obslab.cli.options import Json, WithParent, say
from obslab.cli.tables import Begin, Day, End, interval, show

if TYPE_CHECKING:
    from obslab.telemetry.baseline import Baselines
    from obslab.telemetry.flags import FlagBook
    from obslab.telemetry.processing.following import Follower

Station = Annotated[str | None, typer.Option("--station", help="IAGA code; else the only one.")]
Instrument = Annotated[
    str | None, typer.Option("--instrument", help="As in lemi0001, or lemi0001-adj; else the only vector.")
]
Scalar = Annotated[
    str | None, typer.Option("--scalar", help="Scalar instrument; else the only one; '' for none.")
]
Level = Annotated[
    int, typer.Option("--level", min=2, max=4, help="2 adjusted, 3 quasi-definitive, 4 definitive.")
]
BASELINES = "baselines"


def minute(
    archive: Path,
    store: Annotated[bool, typer.Option("--store", help="Keep them in the archive too, once each.")] = False,
    scalar: Scalar = None,
    day: Day = None,
    begin: Begin = None,
    end: End = None,
    station: Station = None,
    instrument: Instrument = None,
    as_json: Json = False,
) -> None:
    """One-minute values of 1 s samples, by INTERMAGNET's filter; --store keeps them as a stream."""
    from obslab.telemetry.collect.inbox import opened_or_inbox
    from obslab.telemetry.processing.minutes import minute as minutes_of

    first, last = interval(day, begin, end)
    if not store:
        from obslab.telemetry.archive.store import open_archive

        with open_archive(archive) as opened:
            show(minutes_of(opened, station, instrument, first, last, scalar=scalar), as_json)
        return
    with opened_or_inbox(archive, source="minute") as (opened, keep, direct):
        found = minutes_of(opened, station, instrument, first, last, scalar=scalar, store=keep)
    facts = {
        "stream": f"{found.attrs['station']} {found.attrs['instrument']}",
        "minutes": found.sizes["time"],
    }
    if as_json:
        say(json.dumps(facts | {"in_inbox": not direct}))
    else:
        say(f"{facts['stream']}: {facts['minutes']} minutes {_where(direct)}")


def adjust(
    archive: Path,
    baselines: Annotated[
        Path | None, typer.Option("--baselines", help="Folder of adopted ones; default: ARCHIVE/baselines.")
    ] = None,
    level: Level = 2,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Go on with what comes, until interrupted; all that there is, too."),
    ] = False,
    day: Day = None,
    begin: Begin = None,
    end: End = None,
    station: Station = None,
    instrument: Instrument = None,
    as_json: Json = False,
    with_parent: WithParent = False,
) -> None:
    """Adjusted or definitive data out of raw samples, adopted baselines and confirmed flags.

    They are stored beside the raw ones: lemi0001 becomes lemi0001-adj, -qd or -def. Without an interval it is
    all for which there is a baseline; in one, a sample without a baseline is refused.
    """
    from obslab.errors import ConfigError
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.baseline import Baselines
    from obslab.telemetry.collect.inbox import opened_or_inbox
    from obslab.telemetry.flags import FlagBook
    from obslab.telemetry.processing.adjusting import adjust_archive

    first, last = interval(day, begin, end)
    if follow and (day or begin or end):
        raise ConfigError("--follow goes on for ever; leave out --day, --begin and --end")
    open_archive(archive).close()  # there must be one, before a book of flags is made beside it
    if baselines and not baselines.is_dir():
        raise ConfigError(f"--baselines {baselines} is no folder; `obslab baseline adopt --folder` makes one")
    adopted = Baselines(baselines or archive / BASELINES)
    with FlagBook(archive, readonly=True) as flags:
        if follow:
            _follow(archive, station, instrument, adopted, flags, level, with_parent)
            return
        with opened_or_inbox(archive, source="adjust") as (opened, store, direct):
            done = adjust_archive(
                opened,
                store,
                station,
                instrument,
                adopted,
                first,
                last,
                level=level,
                flags=flags,
                outside="raise" if day or begin or end else "missing",
                settle=direct,
            )
    if as_json:
        say(json.dumps(done.plain() | {"in_inbox": not direct}))
        return
    counts = {"new": done.new, "revised": done.revised, "missing": done.missing}
    told = ", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "new")
    without = f"; {done.outside} samples have no baseline" if done.outside else ""
    say(f"{done.source} to {done.stream}: {done.samples} samples, {told} {_where(direct)}{without}")


def k(
    archive: Path,
    k9: Annotated[
        float | None, typer.Option("--k9", min=1.0, help="Lower limit of K = 9 in nT; else the metadata's.")
    ] = None,
    provisional: Annotated[
        bool, typer.Option("--provisional", help="Of a day too whose morrow, or eve, is not there.")
    ] = False,
    day: Day = None,
    begin: Begin = None,
    end: End = None,
    station: Station = None,
    instrument: Instrument = None,
    as_json: Json = False,
) -> None:
    """The K index of each three hours, by the FMI method."""
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.processing.indices import k as k_of

    first, last = interval(day, begin, end)
    with open_archive(archive) as opened:
        found = k_of(opened, station, instrument, first, last, k9_limit_nt=k9, provisional=provisional)
    show(found, as_json)


def export(
    archive: Path,
    format: Annotated[str, typer.Option("--format", help="iaga2002, imagcdf, impf or netcdf.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the files; of netcdf also FILE.nc.")] = Path(
        "."
    ),
    level: Annotated[
        int | None,
        typer.Option(min=1, max=4, help="1 raw, 2 adjusted, 3 quasi-definitive, 4 definitive."),
    ] = None,
    samplerate: Annotated[
        str, typer.Option(help="sec, or min: filtered when only seconds are there.")
    ] = "sec",
    force: Annotated[bool, typer.Option("--force", help="Write files anew that are there already.")] = False,
    scalar: Scalar = None,
    day: Day = None,
    begin: Begin = None,
    end: End = None,
    station: Station = None,
    instrument: Instrument = None,
    as_json: Json = False,
) -> None:
    """Files for others: a file a day in INTERMAGNET's formats, or one of netCDF."""
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.processing.export import export as export_to

    first, last = interval(day, begin, end)
    with open_archive(archive) as opened:
        files = export_to(
            opened,
            format,
            out,
            station=station,
            instrument=instrument,
            scalar=scalar,
            begin=first,
            end=last,
            samplerate=samplerate,
            level=level,
            force=force,
        )
    if as_json:
        say(json.dumps({"files": [str(file) for file in files]}))
    else:
        for file in files:
            say(file)


def add_to(app: typer.Typer) -> None:
    """Make these commands of an app."""
    for command in (minute, adjust, k, export):
        app.command(command.__name__)(command)


def _follow(
    archive: Path,
    station: str | None,
    instrument: str | None,
    adopted: Baselines,
    flags: FlagBook,
    level: int,
    with_parent: bool,
) -> None:
    from obslab.lifetime import until_told
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.processing.following import follow

    def told(follower: Follower) -> None:
        say(f"following {follower.source}, into {follower.stream}")

    ending = until_told(with_parent=with_parent)
    with open_archive(archive) as opened:
        follow(opened, station, instrument, adopted, ending, level=level, flags=flags, on_start=told)


def _where(direct: bool) -> str:
    return "into the archive" if direct else "into the inbox of the collector that has the archive open"
