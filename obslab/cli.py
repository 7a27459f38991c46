"""The command line ``obslab``: each command is a few lines around the package.

Exit codes: 0 done, 1 it failed and said why in one line, 2 the command was not understood.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from obslab.errors import BrokerError, ObslabError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
broker_app = typer.Typer(no_args_is_help=True, help="MQTT brokers.")
station_app = typer.Typer(no_args_is_help=True, help="A station: instruments, journal, publisher.")
archive_app = typer.Typer(no_args_is_help=True, help="The archive of samples.")
demo_app = typer.Typer(no_args_is_help=True, help="The demo observatory on this machine.")
for name, sub in {
    "broker": broker_app,
    "station": station_app,
    "archive": archive_app,
    "demo": demo_app,
}.items():
    app.add_typer(sub, name=name)

BrokerUrl = Annotated[str | None, typer.Option("--broker", help="mqtt://host:port or mqtts://host:port")]
WithParent = Annotated[bool, typer.Option("--with-parent", help="End when standard input ends.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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


@demo_app.command("start")
def demo_start() -> None:
    """Start the demo observatory; it runs until `obslab demo stop`."""
    from obslab import demo

    _say(demo.start(keep=True).summary())


@demo_app.command("stop")
def demo_stop() -> None:
    """Stop the demo observatory."""
    from obslab import demo

    _say("stopped" if demo.stop() else "no demo observatory is running")


@demo_app.command("status")
def demo_status(as_json: Json = False) -> None:
    """Whether the demo observatory runs, and where; exit code 1 when it does not."""
    from obslab import demo

    status = demo.status()
    if as_json:
        _say(json.dumps(status))
    else:
        _say("\n".join(f"{key}: {value}" for key, value in status.items()))
    if not status["running"]:
        raise typer.Exit(1)


@broker_app.command("run")
def broker_run(
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port on 127.0.0.1.")] = 1883,
    with_parent: WithParent = False,
) -> None:
    """Run the embedded broker on 127.0.0.1, until interrupted."""
    from obslab.lifetime import until_told
    from obslab.telemetry.broker import IotcoreBroker

    ending = until_told(with_parent=with_parent)
    broker = IotcoreBroker(port)
    broker.start()
    _say(f"broker at {broker.url}")
    while broker.running and not ending.wait(0.5):
        pass
    if not ending.is_set():
        raise BrokerError(f"the broker at {broker.url} ended by itself")
    broker.stop()


@station_app.command("run")
def station_run(
    broker: BrokerUrl = None,
    journal: Annotated[Path | None, typer.Option(help="Folder of the journal.")] = None,
    iaga: Annotated[str | None, typer.Option(help="IAGA code; default: the recording's, or PEA.")] = None,
    instrument: Annotated[
        list[str] | None, typer.Option(help="Name of the vector, then of the scalar.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Recording (.npz) or IAGA-2002 file; `storm` for the shipped one.")
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="A LEMI-25 and a GSM-90.")] = False,
    preset: Annotated[str, typer.Option(help="Link of the simulation: pea, demo or quiet.")] = "quiet",
    speed: Annotated[float, typer.Option(help="How fast the station's clock runs.")] = 1.0,
    time: Annotated[str, typer.Option(help="shifted (to now) or original.")] = "shifted",
    begin: Annotated[
        str | None, typer.Option(help="Recorded time to begin at in a first run, as 2024-05-10T17:00Z.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin anew at the recording's end.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 1,
    patience: Annotated[
        float, typer.Option(help="Seconds to wait for delivery at the end of a replay.")
    ] = 30.0,
    with_parent: WithParent = False,
) -> None:
    """Run a station until interrupted, or until its replay has been delivered."""
    from obslab import config
    from obslab.lifetime import until_told
    from obslab.telemetry.journal import Journal
    from obslab.telemetry.publisher import Publisher
    from obslab.telemetry.simulate import Satellite, preset_named
    from obslab.telemetry.station import Station, instruments_from

    ending = until_told(with_parent=with_parent)
    settings = config.load()
    address = config.broker_at(broker) if broker else settings.broker
    link = preset_named(preset)
    instruments = instruments_from(
        replay=replay, simulate=simulate, station=iaga, instruments=instrument or [], speed=speed, time=time,
        begin=begin, loop=loop, seed=seed,
    )  # fmt: skip
    book = Journal(journal or settings.journal_dir)
    instruments.resume(book)
    publisher = Publisher(
        book,
        address,
        f"obslab-station-{instruments.metas()[0][0].topic.replace('/', '-')}",
        release=Satellite(instruments.clock, link, seed=seed) if preset != "quiet" else None,
    )
    publisher.start()
    Station(instruments, book, publisher).run(ending)
    if not ending.is_set() and not publisher.wait_sent(patience, ending) and not ending.is_set():
        state, left = publisher.link, publisher.unsent()
        publisher.stop()
        raise BrokerError(
            f"{left} messages are in {book.folder} but not delivered: {state.detail}; run this again"
        )
    publisher.stop()
    book.close()


@app.command()
def collect(
    broker: BrokerUrl = None,
    archive: Annotated[
        Path | None, typer.Option(help="Folder of the archive; made when it is not there.")
    ] = None,
    topics: Annotated[list[str] | None, typer.Option(help="Topic filters; default: everything.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the broker at the start.")] = 10.0,
    with_parent: WithParent = False,
) -> None:
    """Collect what arrives at a broker into an archive, until interrupted."""
    from time import monotonic

    from obslab import config
    from obslab.lifetime import until_told
    from obslab.telemetry.archive import open_archive
    from obslab.telemetry.collector import Collector

    ending = until_told(with_parent=with_parent)
    settings = config.load()
    address = config.broker_at(broker) if broker else settings.broker
    with open_archive(archive or settings.archive_dir, write=True) as opened:
        collector = Collector(opened, address, tuple(topics or settings.topics))
        collector.start()
        try:
            until, state = monotonic() + wait, collector.link
            while not (state.connected or state.refused or ending.is_set()) and monotonic() < until:
                state = collector.wait_link(0.2)
            if not state.connected and not ending.is_set():
                raise BrokerError(state.detail)
            ending.wait()
        finally:
            collector.stop()


@archive_app.command("info")
def archive_info(archive: Path, as_json: Json = False) -> None:
    """What an archive holds: streams, samples, first and last time, and what was counted."""
    from obslab.telemetry.archive import open_archive

    with open_archive(archive) as opened:
        info = opened.info()
    if as_json:
        _say(json.dumps(info))
        return
    for stream in info["streams"]:
        counted = ", ".join(f"{n} {name}" for name, n in stream["counted"].items())
        _say(f"{stream['stream']}: {stream['begin']} to {stream['end']}; {counted}")
    _say(f"messages kept but not understood: {info['rejected']}, waiting for metadata: {info['waiting']}")


def _say(text: Any) -> None:
    typer.echo(text)
