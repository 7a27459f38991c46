"""What stands at the station, as the options of ``obslab station run`` say it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from obslab.errors import ConfigError
from obslab.telemetry.sample import Stream
from obslab.telemetry.station.autodif import INSTRUMENT
from obslab.telemetry.station.drivers.registry import driver_named, drivers
from obslab.telemetry.station.instrument import Instrument
from obslab.telemetry.station.ports import Port, StdinPort
from obslab.telemetry.station.recording import STORM, Recording
from obslab.telemetry.station.replay import Instruments, Replay
from obslab.telemetry.station.serial import SerialPort
from obslab.telemetry.station.simulate import Simulator
from obslab.times import as_ns, iso


def instruments_from(
    *,
    replay: Path | None,
    simulate: bool,
    station: str | None,
    instruments: list[str],
    speed: float,
    time: str,
    begin: str | None,
    loop: bool,
    seed: int,
    stdin: bool = False,
    serial: str | None = None,
    baud: int = 9600,
    driver: str | None = None,
    facts: Sequence[str] = (),
    absolutes: bool = False,
) -> Replay | Simulator | Instrument:
    """The instruments that the options ask for. Raises ConfigError."""
    if [replay is not None, simulate, stdin, serial is not None].count(True) != 1:
        raise ConfigError("choose one of --replay FILE, --simulate, --stdin and --serial DEVICE")
    if time not in ("shifted", "original"):
        raise ConfigError(f"--time {time!r} is neither shifted nor original")
    if not speed > 0:
        raise ConfigError(f"--speed {speed:g} is not a positive number")
    if len(instruments) > 2 or len(set(instruments)) < len(instruments):
        raise ConfigError(
            f"--instrument {' '.join(instruments)}: wanted one name for the vector, another for the scalar"
        )
    if absolutes and (stdin or serial is not None):
        raise ConfigError("--absolutes is for --replay and --simulate; a real AUTODIF is not simulated")
    if absolutes and INSTRUMENT in instruments:
        raise ConfigError(f"--instrument {INSTRUMENT} is the AUTODIF's; choose another or --no-absolutes")
    code = station.upper() if station else None
    if stdin or serial is not None:
        if speed != 1.0:
            raise ConfigError(
                f"--speed {speed:g} is for --replay and --simulate; a real instrument has its own"
            )
        return _real(SerialPort(serial, baud) if serial else StdinPort(), driver, code, instruments, facts)
    if driver or facts:
        raise ConfigError("--driver and --fact are for --stdin and --serial DEVICE")
    if replay is None:
        names = (*instruments, *("lemi0001", "gsm90001")[len(instruments) :])
        return Simulator(code or "PEA", (names[0], names[1]), seed=seed, speed=speed, absolutes=absolutes)
    recording = Recording.read(STORM if str(replay) == "storm" else replay).renamed(code, instruments)
    begin_ns = as_ns(begin) if begin else None
    if begin_ns is not None and not recording.begin_ns <= begin_ns < recording.end_ns:
        raise ConfigError(
            f"--begin {begin} is not between {iso(recording.begin_ns)} and {iso(recording.end_ns)}"
        )
    return Replay(
        recording,
        speed=speed,
        shifted=time == "shifted",
        begin_ns=begin_ns,
        loop=loop,
        absolutes=absolutes,
        seed=seed,
    )


def streams_of(instruments: Instruments) -> list[Stream]:
    """All streams that they may give, the main one first: the unit is named after it."""
    if isinstance(instruments, Instrument):
        return instruments.streams()
    return [stream for stream, _ in instruments.metas()]


def _real(
    port: Port, driver: str | None, station: str | None, names: list[str], facts: Sequence[str]
) -> Instrument:
    if driver is None:
        raise ConfigError(f"--driver NAME is wanted, which tells what comes: {', '.join(sorted(drivers()))}")
    if station is None:
        raise ConfigError("--iaga CODE is wanted with a real instrument: the station where it stands")
    known: dict[str, Any] = {}
    for fact in facts:
        name, given, value = fact.partition("=")
        if not given:
            raise ConfigError(f"--fact {fact!r} is not NAME=VALUE, as in orientation=HEZ")
        known[name] = value.split(",") if name == "components" else value
    return Instrument(port, driver_named(driver), station, names, known)
