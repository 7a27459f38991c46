"""`obslab init` and `obslab check`: from nothing to a machine that is ready."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from obslab.cli.options import Json, say
from obslab.errors import ConfigError


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The working folder.")] = Path(),
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Also services for station, collector and watch.")
    ] = False,
    user: Annotated[
        str | None, typer.Option(help="Who runs the services; default: you, or for root: obslab.")
    ] = None,
) -> None:
    """Write a commented configuration and rules; what is there already stays as it is."""
    from obslab.setup.folder import prepare

    done = prepare(folder, systemd=systemd, user=user)
    for path in done.written:
        say(f"wrote {path}")
    for path in done.kept:
        say(f"kept  {path}, which is there already; move it away to get a new one")
    say("\nnext:")
    for number, step in enumerate(done.next_steps, 1):
        say(f"{number}. {step}")


def check(
    wait: Annotated[float, typer.Option(help="Seconds to wait for the broker.")] = 10.0,
    as_json: Json = False,
) -> None:
    """Test every connection and folder of the configuration; exit code 1 when one fails."""
    from obslab import config
    from obslab.setup.checks import Check, check_all
    from obslab.setup.folder import RULES_NAME

    try:
        settings = config.load()
    except ConfigError as error:
        checks = [Check("configuration", "failed", error.message)]
    else:
        found = f"{settings.file}" if settings.file else "the defaults; `obslab init` writes a file to edit"
        rules = (settings.file.parent if settings.file else Path()) / RULES_NAME
        checks = [Check("configuration", "ok", found), *check_all(settings, wait_s=wait, rules=rules)]
    if as_json:
        say(json.dumps([asdict(one) for one in checks]))
    else:
        for one in checks:
            say(f"{one.state:<7} {one.what}: {one.told}")
    if any(one.state == "failed" for one in checks):
        raise typer.Exit(1)
