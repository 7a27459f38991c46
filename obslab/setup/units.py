"""systemd units for station, collector and watch, with the paths of this installation filled in.

They come up at boot and after every end, without giving up; they may write to their own folders only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from obslab.errors import ConfigError

SECRETS_NAME = "obslab.env"

_UNIT = """\
# {title}, written by `obslab init --systemd`; systemd.exec(5) explains each line.
[Unit]
Description={title}
Wants=network-online.target
After=network-online.target time-sync.target{after}
# Never give up: nobody is there to start it again.
StartLimitIntervalSec=0

[Service]
Type=simple
User={user}
WorkingDirectory={folder}
Environment={configuration}
# Secrets, such as OBSLAB_MQTT_PASSWORD; systemd reads it before it changes to the user.
EnvironmentFile=-{secrets}
{start}
Restart=always
RestartSec=10
TimeoutStopSec=60
{own}
# What it may not do.
UMask=0027
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome=read-only
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""

_STATION = """\
# Change this to your station: its IAGA code, the name of the instrument, its port and its driver.
ExecStart={python} -m obslab station run --iaga PEA --instrument lemi0001 \\
    --serial /dev/ttyUSB0 --driver lemi25"""

_SERIAL = """\
# Serial ports, and no other devices.
SupplementaryGroups=dialout
DevicePolicy=closed
DeviceAllow=char-ttyS rw
DeviceAllow=char-ttyUSB rw
DeviceAllow=char-ttyACM rw
DeviceAllow=char-ttyAMA rw
"""

_WATCHDOG = """\
# It says that it is alive after each round; silent for so long, it is started anew.
WatchdogSec=600
NotifyAccess=main
PrivateDevices=yes
# A command of yours that needs more, such as sudo or a mail program with a group of its own: loosen
# NoNewPrivileges and what else it needs below.
"""


@dataclass(frozen=True)
class Place:
    """Where obslab is installed and runs; ``writable`` are folders outside ``folder`` that it writes to."""

    python: Path
    folder: Path
    user: str
    writable: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for path in (self.python, self.folder, *self.writable):
            if not path.is_absolute() or re.search(r"[\x00-\x1f\x7f\"\\]", str(path)):
                raise ConfigError(f"{str(path)!r} cannot be in a systemd unit; use a path without quotes")
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", self.user):
            raise ConfigError(f"user {self.user!r} is not a name that systemd takes, as in obslab")


def units(place: Place) -> dict[str, str]:
    """The text of each unit by file name."""
    python = _word(place.python, command=True)
    watch = f"ExecStart={python} -m obslab watch --rules watch.toml"
    return {
        "obslab-station.service": _unit(place, "obslab station", _STATION.format(python=python), own=_SERIAL),
        "obslab-collector.service": _unit(
            place, "obslab collector", f"ExecStart={python} -m obslab collect", own="PrivateDevices=yes\n"
        ),
        "obslab-watch.service": _unit(
            place, "obslab watch", watch, after=" obslab-collector.service", own=_WATCHDOG
        ),
    }


def _unit(place: Place, title: str, start: str, *, own: str, after: str = "") -> str:
    folders = [place.folder, *place.writable]
    # With "-" a folder that is not there is passed over instead of keeping the service from starting.
    writable = " ".join(_word(f"-{path}" if path != place.folder else path) for path in folders)
    return _UNIT.format(
        title=title,
        after=after,
        user=place.user,
        folder=_text(place.folder),
        configuration=_word(f"OBSLAB_CONFIG={place.folder / 'obslab.toml'}"),
        secrets=_text(place.folder / SECRETS_NAME),
        start=start,
        own=own,
        writable=writable,
    )


def _text(path: object) -> str:
    """Where a line holds one path: ``%`` would begin a specifier."""
    return str(path).replace("%", "%%")


def _word(path: object, *, command: bool = False) -> str:
    """Where a line holds words: quoted when there is a space."""
    text = _text(path).replace("$", "$$") if command else _text(path)
    return f'"{text}"' if re.search(r"[\s';]", text) else text
