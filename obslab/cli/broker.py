"""`obslab broker ...`: MQTT brokers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from obslab.cli.options import Json, WithParent, say
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


@app.command("config")
def broker_config(
    out: Annotated[Path, typer.Option(help="Folder to write; one folder for each broker in it.")],
    station: Annotated[list[str], typer.Option(help="IAGA code; repeat it for several.")],
    centre_host: Annotated[str, typer.Option(help="Host of the data centre, as stations reach it.")],
    kind: Annotated[str, typer.Option(help="station, centre, or all.")] = "all",
    station_host: Annotated[
        str, typer.Option(help="Host of the station, for its certificate.")
    ] = "localhost",
    bind: Annotated[str, typer.Option(help="Address to listen on with TLS.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TLS port of a station.")] = 8883,
    local_port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1, no TLS.")] = 1883,
    centre_port: Annotated[int, typer.Option(min=1, max=65535, help="TLS port of the centre.")] = 8883,
    user: Annotated[
        list[str] | None, typer.Option(help="One more login, NAME=ROLE: archive, operator or viewer.")
    ] = None,
    samplerate: Annotated[
        list[str] | None, typer.Option(help="One more rate that stations publish, such as 30hz.")
    ] = None,
    at: Annotated[
        Path | None, typer.Option(help="Where OUT will be on the brokers' machines; default: OUT.")
    ] = None,
    make_certificates: Annotated[
        bool, typer.Option("--make-certificates", help="Make a CA and certificates with openssl.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite; passwords and the CA stay.")] = False,
) -> None:
    """Write Mosquitto configurations: for stations, for a data centre, and the bridges between them.

    A password is OBSLAB_PASSWORD_<USER> from the environment, else the one made before, else a new one; it is
    in OUT/logins/<broker>/<user>.env, for that user only.
    """
    from obslab.telemetry.broker.access import SAMPLERATES
    from obslab.telemetry.broker.folders import Plan, parse_user, write

    plan = Plan(
        stations=tuple(dict.fromkeys(code.upper() for code in station)),
        centre_host=centre_host,
        kind=kind,  # type: ignore[arg-type]  # Plan refuses what is none
        station_host=station_host,
        bind=bind,
        port=port,
        local_port=local_port,
        centre_port=centre_port,
        users=tuple(parse_user(text) for text in user or ()),
        samplerates=tuple(dict.fromkeys([*SAMPLERATES, *(samplerate or ())])),
        at=at.absolute() if at else None,
        make_certificates=make_certificates,
    )
    for path in write(plan, out, force=force):
        say(path)
    if not make_certificates:
        say("put ca.crt, server.crt and server.key into each certificates folder before you start Mosquitto")
    for name in plan.brokers():
        say(f"start it with: mosquitto -c {(at or out).absolute() / name / 'mosquitto.conf'}")


@app.command("lint")
def broker_lint(
    file: Annotated[Path, typer.Argument(help="A mosquitto.conf; what it includes is read too.")],
    as_json: Json = False,
) -> None:
    """Explain what in a configuration of Mosquitto loses data, stalls or lets people in.

    Exit code 1 when there is anything but notes.
    """
    from obslab.telemetry.broker.lint import lint, serious

    findings = lint(file)
    if as_json:
        say(json.dumps([asdict(finding) for finding in findings], indent=1))
    elif not findings:
        say(f"{file}: nothing found")
    else:
        for finding in findings:
            place = f"{finding.file}:{finding.line}" if finding.line else f"{finding.file}: not there"
            say(f"{finding.severity}: {place}: {finding.setting}: {finding.what}")
            if finding.why:
                say(f"    {finding.why}")
            say(f"    instead: {finding.instead}")
    if serious(findings):
        raise typer.Exit(1)
