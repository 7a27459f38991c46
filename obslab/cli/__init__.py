"""The command line ``obslab``: each command is a few lines around the package.

Exit codes: 0 done, 1 it failed and said why in one line, 2 the command was not understood.
"""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from obslab.cli import absolutes, archive, baseline, broker, demo, jointfit, station
from obslab.cli.collect import collect
from obslab.cli.init import check, init
from obslab.cli.watch import watch
from obslab.errors import ObslabError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
for name, part in {
    "broker": broker,
    "station": station,
    "archive": archive,
    "absolutes": absolutes,
    "baseline": baseline,
    "jointfit": jointfit,
    "demo": demo,
}.items():
    app.add_typer(part.app, name=name)
for command in (collect, watch, init, check):
    app.command()(command)


def main() -> None:
    """Entry point: every ObslabError becomes one line and exit code 1."""
    try:
        app()
    except ObslabError as error:
        print(f"obslab: {error.message}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except OSError as error:  # a folder that may not be written, a file where a folder should be
        print(f"obslab: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


@app.callback()
def _options(verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


@app.command()
def lab(
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of JupyterLab; default: the first free from 8888."),
    ] = None,
) -> None:
    """JupyterLab on the notebooks, with the demo observatory running."""
    from obslab.lab import run

    sys.exit(run(browser=browser, port=port))
