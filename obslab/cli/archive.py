"""`obslab archive ...`: what an archive holds, how late it came, what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from obslab.cli.options import Json, say

app = typer.Typer(no_args_is_help=True, help="The archive of samples.")


@app.command("info")
def archive_info(archive: Path, as_json: Json = False) -> None:
    """What an archive holds: streams, samples, first and last time, and what was counted."""
    from obslab.telemetry.archive.store import open_archive

    with open_archive(archive) as opened:
        info = opened.info()
    if as_json:
        say(json.dumps(info))
        return
    for stream in info["streams"]:
        counted = ", ".join(f"{n} {name}" for name, n in stream["counted"].items())
        say(f"{stream['stream']}: {stream['begin']} to {stream['end']}; {counted}")
    say(f"messages kept but not understood: {info['rejected']}, waiting for metadata: {info['waiting']}")
