"""`obslab station ...`: instruments, journal, publisher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from obslab.cli.options import BrokerUrl, WithParent
from obslab.errors import BrokerError

app = typer.Typer(no_args_is_help=True, help="A station: instruments, journal, publisher.")


@app.command("run")
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
    from obslab.telemetry.station.journal import Journal
    from obslab.telemetry.station.publisher import Publisher
    from obslab.telemetry.station.run import Station, instruments_from
    from obslab.telemetry.station.simulate import Satellite, preset_named

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
