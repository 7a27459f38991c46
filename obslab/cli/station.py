"""`obslab station ...`: instruments, journal, publisher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from obslab.cli.options import BrokerUrl, WithParent
from obslab.errors import BrokerError, ConfigError

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
    absolutes: Annotated[
        bool | None,
        typer.Option(
            "--absolutes/--no-absolutes",
            help="Five absolute measurements a day by a simulated AUTODIF. Default: only with --simulate.",
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="Link of the simulation: pea, demo or quiet.")] = "quiet",
    stdin: Annotated[bool, typer.Option("--stdin", help="An instrument's bytes on standard input.")] = False,
    serial: Annotated[
        str | None, typer.Option(help="An instrument on a serial port, as /dev/ttyUSB0.")
    ] = None,
    baud: Annotated[int, typer.Option(min=50, help="Speed of the serial port.")] = 9600,
    driver: Annotated[
        str | None, typer.Option(help="What understands it: gsm90, lemi25 or an installed one.")
    ] = None,
    fact: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of the instrument's metadata, as orientation=HEZ, site=..."),
    ] = None,
    days: Annotated[
        Path | None, typer.Option(help="Folder of day files, a record apart from the journal.")
    ] = None,
    keep_day_files: Annotated[
        int | None, typer.Option(min=1, help="Keep the newest so many day files of a stream; default: all.")
    ] = None,
    speed: Annotated[float, typer.Option(help="How fast the station's clock runs.")] = 1.0,
    time: Annotated[str, typer.Option(help="shifted (to now) or original.")] = "shifted",
    begin: Annotated[
        str | None, typer.Option(help="Recorded time to begin at in a first run, as 2024-05-10T17:00Z.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin anew at the recording's end.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 1,
    patience: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for delivery at the end of a replay.")
    ] = 30.0,
    unit: Annotated[
        str | None, typer.Option(help="Name of this board; default: its first instrument.")
    ] = None,
    confirmed_by: Annotated[
        str, typer.Option(help="Name of the archive whose word frees the journal.")
    ] = "main",
    trust_new_archive: Annotated[
        bool, typer.Option("--trust-new-archive", help="Another archive has taken over that name.")
    ] = False,
    keep_days: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Days of samples in the journal, at most; the oldest go first. Default: 30."
        ),
    ] = None,
    backfill_bits: Annotated[
        float | None,
        typer.Option(
            min=1000,
            help="Most bit/s for backfill; for a broker at the station whose bridge is the narrow link.",
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="binary, or impf: INTERMAGNET's JSON.")] = "binary",
    level: Annotated[
        int, typer.Option(min=1, max=4, help="Publication level for impf; 1 is data as recorded.")
    ] = 1,
    with_parent: WithParent = False,
) -> None:
    """Run a station until interrupted, or until its replay or standard input has been delivered."""
    from obslab import config
    from obslab.lifetime import until_told
    from obslab.telemetry.protocol import Unit
    from obslab.telemetry.station.dayfile import DayFiles
    from obslab.telemetry.station.equipment import instruments_from, streams_of
    from obslab.telemetry.station.journal import Journal
    from obslab.telemetry.station.liaison import Liaison
    from obslab.telemetry.station.publisher import Publisher
    from obslab.telemetry.station.rendering import ImpfRendering
    from obslab.telemetry.station.run import Station
    from obslab.telemetry.station.simulate import Satellite, preset_named

    if format not in ("binary", "impf"):
        raise ConfigError(f"--format {format!r} is neither binary nor impf")
    if stdin and with_parent:
        raise ConfigError(
            "--with-parent listens to standard input, too; with --stdin, its end ends the station"
        )
    ending = until_told(with_parent=with_parent)
    settings = config.load()
    address = config.broker_at(broker) if broker else settings.broker
    link = preset_named(preset)
    instruments = instruments_from(
        replay=replay, simulate=simulate, station=iaga, instruments=instrument or [], speed=speed, time=time,
        begin=begin, loop=loop, seed=seed, stdin=stdin, serial=serial, baud=baud, driver=driver,
        facts=fact or [], absolutes=simulate if absolutes is None else absolutes,
    )  # fmt: skip
    book = Journal(journal or settings.journal_dir)
    instruments.resume(book)
    first = streams_of(instruments)[0]
    if days and days.exists() and not days.is_dir():
        raise ConfigError(f"--days {days} is a file; give a folder for the day files")
    files = DayFiles(days, keep_day_files) if days else None
    liaison = Liaison(
        book,
        Unit(first.station, unit or first.instrument),
        confirmed_by=confirmed_by,
        trust_new_archive=trust_new_archive,
        keep_days=keep_days or settings.journal_keep_days,
        blocks_bits_per_s=backfill_bits,
        history=files.read if files else None,
        health=lambda: station.health(),
        on_command=lambda command: station.command(command),
    )
    publisher = Publisher(
        book,
        address,
        liaison,
        release=Satellite(instruments.clock, link, seed=seed) if preset != "quiet" else None,
        rendering=ImpfRendering(book, level) if format == "impf" else None,
    )
    station = Station(instruments, book, publisher, files)
    publisher.start()
    station.run(ending)
    if not ending.is_set() and not publisher.wait_delivered(patience, ending) and not ending.is_set():
        state, left = publisher.link, publisher.undelivered()
        publisher.stop()
        raise BrokerError(
            f"{left} messages are in {book.folder} but not delivered: {state.detail}; run this again"
        )
    publisher.stop()
    book.close()
