"""`obslab demo start|stop|status`: the demo observatory on this machine."""

from __future__ import annotations

import json

import typer

from obslab.cli.options import Json, say

app = typer.Typer(no_args_is_help=True, help="The demo observatory on this machine.")


@app.command("start")
def demo_start() -> None:
    """Start the demo observatory; it runs until `obslab demo stop`."""
    from obslab import demo

    say(demo.start(keep=True).summary())


@app.command("stop")
def demo_stop() -> None:
    """Stop the demo observatory."""
    from obslab import demo

    say("stopped" if demo.stop() else "no demo observatory is running")


@app.command("status")
def demo_status(as_json: Json = False) -> None:
    """Whether the demo observatory runs, and where; exit code 1 when it does not."""
    from obslab import demo

    status = demo.status()
    if as_json:
        say(json.dumps(status))
    else:
        say("\n".join(f"{key}: {value}" for key, value in status.items()))
    if not status["running"]:
        raise typer.Exit(1)


@app.command("cut")
def demo_cut(station: str) -> None:
    """Cut the link of station WIC or PEA: it goes on recording, and nothing arrives."""
    from obslab import demo

    demo.cut(station)
    say(f"the link of {station.upper()} is cut; `obslab demo restore {station.upper()}` mends it")


@app.command("restore")
def demo_restore(station: str) -> None:
    """Mend the link of a station again."""
    from obslab import demo

    demo.restore(station)
    say(f"the link of {station.upper()} is mended")
