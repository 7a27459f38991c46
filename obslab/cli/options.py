"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

BrokerUrl = Annotated[str | None, typer.Option("--broker", help="mqtt://host:port or mqtts://host:port")]
WithParent = Annotated[bool, typer.Option("--with-parent", help="End when standard input ends.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say(text: Any) -> None:
    typer.echo(text)
