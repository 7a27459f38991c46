"""`obslab archive ...`: what an archive holds, how late it came, what is missing, what is made of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from obslab.cli import archive_metrics, archive_products
from obslab.cli.options import BrokerUrl, Json, say
from obslab.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="The archive of samples.")
archive_metrics.add_to(app)
archive_products.add_to(app)


@app.command("info")
def archive_info(
    archive: Path,
    verify: Annotated[bool, typer.Option("--verify", help="Read every sealed day and check it.")] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Verify, set damaged days aside to be filled again, clear up a crash."),
    ] = False,
    as_json: Json = False,
) -> None:
    """What an archive holds: streams, samples, first and last time, what was counted, and its disk.

    With damaged days it exits with 1, unless they were repaired.
    """
    from obslab.cli.archive_info import inspected, lines

    info = inspected(archive, verify=verify or repair, repair=repair)
    if as_json:
        say(json.dumps(info))
    else:
        for line in lines(info):
            say(line)
    if info.get("damaged") and not repair:
        raise typer.Exit(1)


@app.command("retain")
def archive_retain(
    archive: Path,
    keep_days: Annotated[float, typer.Option(min=1.0, help="Days to keep.")],
    as_json: Json = False,
) -> None:
    """Delete sealed days that ended so long ago; summaries stay, so latency and gaps can be asked for."""
    from obslab.telemetry.archive.store import open_archive
    from obslab.times import now_ns

    with open_archive(archive, write=True) as opened:
        gone = opened.retain(keep_days, now_ns())
    if as_json:
        say(json.dumps({name: gone[name] for name in ("chunks", "samples", "bytes")}))
    else:
        say(f"deleted {gone['chunks']} days of a stream: {gone['samples']} samples, {gone['bytes']} bytes")


@app.command("backfill")
def archive_backfill(
    archive: Path,
    source: Annotated[
        str | None, typer.Option("--from", help="Folder, file or URL (http, sftp, s3, zip ...) of samples.")
    ] = None,
    broker: BrokerUrl = None,
    patience: Annotated[float, typer.Option(help="Seconds to wait for the stations' answers.")] = 120.0,
    everything: Annotated[
        bool, typer.Option("--all", help="Read every file, not only those of days with gaps.")
    ] = False,
    instruments: Annotated[
        list[str] | None, typer.Option("--instrument", help="Fill only this one; may be repeated.")
    ] = None,
    any_level: Annotated[
        bool,
        typer.Option("--any-level", help="IAGA-2002 data too that differ from what the archive has."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Fill gaps from the stations (--broker), or from day logs and IAGA-2002 files (--from).

    While a collector has the archive open, it does the asking, and takes what is new from its inbox.
    """
    if (source is None) == (broker is None):
        raise ConfigError("choose one of --broker URL and --from URL")
    if broker is not None:
        _from_stations(archive, broker, patience, as_json)
        return
    assert source is not None  # one of both is there
    from obslab.telemetry.collect.backfill import Wishes, backfill
    from obslab.telemetry.collect.inbox import opened_or_inbox
    from obslab.telemetry.collect.remote import place_at

    place = place_at(source)
    wishes = Wishes(everything, any_level, tuple(instruments or ()))
    with opened_or_inbox(archive, source=place.shown) as (opened, store, direct):
        reports = backfill(
            opened,
            place,
            wishes,
            store,
            settle=direct,
            on_file=lambda report: None if as_json else say(report),
        )
    failed = [report for report in reports if report.state == "failed"]
    new = sum(report.new for report in reports)
    if as_json:
        files = [asdict(report) for report in reports]
        say(json.dumps({"archive": str(archive), "new": new, "in_inbox": not direct, "files": files}))
    else:
        read = sum(report.state == "read" for report in reports)
        where = "into the archive" if direct else "into the inbox of the collector that has the archive open"
        say(f"{len(reports)} files, {read} read, {len(failed)} failed: {new} new samples {where}")
    if failed:
        raise typer.Exit(1)


def _from_stations(archive: Path, broker: str, patience_s: float, as_json: bool) -> None:
    from obslab.config import broker_at
    from obslab.telemetry.collect.stations import fill

    found = fill(archive, broker_at(broker), patience_s=patience_s)
    if as_json:
        say(json.dumps({"archive": str(archive), **asdict(found)}))
    else:
        say(
            f"{found.gaps} gaps: {found.closed} closed, {found.lost} lost at source, "
            f"{found.waiting} still waited for"
        )
    if found.waiting:
        raise typer.Exit(1)
