"""`obslab broker ...`: MQTT brokers."""

from __future__ import annotations

from typing import Annotated

import typer

from obslab.cli.options import WithParent, say
from obslab.errors import BrokerError

app = typer.Typer(no_args_is_help=True, help="MQTT brokers.")


@app.command("run")
def broker_run(
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port on 127.0.0.1.")] = 1883,
    with_parent: WithParent = False,
) -> None:
    """Run the embedded broker on 127.0.0.1, until interrupted."""
    from obslab.lifetime import until_told
    from obslab.telemetry.broker.brokers import IotcoreBroker

    ending = until_told(with_parent=with_parent)
    broker = IotcoreBroker(port)
    broker.start()
    say(f"broker at {broker.url}")
    while broker.running and not ending.wait(0.5):
        pass
    if not ending.is_set():
        raise BrokerError(f"the broker at {broker.url} ended by itself")
    broker.stop()
