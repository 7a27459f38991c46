"""Configurations of Mosquitto for a station, for a data centre, and for the bridge between them.

    publishers -> station's broker -> bridge over the satellite -> data centre's broker -> archives, viewers

Each text is a function of what is asked for, without a file or a secret; ``folders`` writes them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import PurePath

from obslab.errors import ConfigError
from obslab.telemetry.broker.access import SAMPLERATES, bridge_user, heard, said
from obslab.telemetry.broker.settings import Setting, durable, guarded, render

TLS_PORT = 8883
PORT = 1883
KEEP_ALIVE_S = 10

_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")


def listeners(folder: PurePath, bind: str, port: int, local_port: int) -> tuple[Setting, ...]:
    """TLS for others, and no TLS for processes on the broker's own machine."""
    certificates = folder / "certificates"
    return (
        Setting(
            "listener",
            f"{local_port} 127.0.0.1",
            "For processes on this machine: without TLS, which only 127.0.0.1 makes acceptable. They need a "
            "login too.",
        ),
        Setting(
            "listener",
            f"{port} {checked_host(bind, 'the address to listen on')}",
            "For everybody else: TLS 1.2 or newer, else passwords and $cmd cross the network in the open.",
        ),
        Setting("certfile", f"{certificates / 'server.crt'}"),
        Setting("keyfile", f"{certificates / 'server.key'}"),
        Setting("cafile", f"{certificates / 'ca.crt'}"),
    )


def broker(
    title: str,
    folder: PurePath,
    *,
    bind: str = "0.0.0.0",
    port: int = TLS_PORT,
    local_port: int = PORT,
    more: tuple[Setting, ...] = (),
) -> str:
    """A broker whose files are in ``folder`` on the machine that it runs on."""
    head = (
        f"{title}, written by obslab broker config.\n"
        f"Start it with: mosquitto -c {folder / 'mosquitto.conf'}\n"
        "Started by root it becomes the user mosquitto, who must be able to read this folder and write data/."
    )
    doors = listeners(folder, bind, port, local_port)
    return render(head, (*durable(folder / "data"), *guarded(folder), *doors, *more))


def station_broker(
    code: str, folder: PurePath, *, bind: str = "0.0.0.0", port: int = TLS_PORT, local_port: int = PORT
) -> str:
    """The broker at a station; its bridge is a file of its own, because that holds a password."""
    bridges = Setting(
        "include_dir", f"{folder / 'bridge.d'}", "The bridge, apart: its file holds a password."
    )
    title = f"The broker of station {code}"
    return broker(title, folder, bind=bind, port=port, local_port=local_port, more=(bridges,))


def centre_broker(
    folder: PurePath, *, bind: str = "0.0.0.0", port: int = TLS_PORT, local_port: int = PORT
) -> str:
    """The broker of a data centre, to which the bridges of stations connect."""
    expiry = Setting(
        "persistent_client_expiration",
        "2m",
        "Default: never. The queue of an archive that was given another name goes after two months; whoever "
        "was away for longer fills its gaps from the journals of the stations.",
    )
    title = "The broker of the data centre"
    return broker(title, folder, bind=bind, port=port, local_port=local_port, more=(expiry,))


def bridge(
    code: str,
    folder: PurePath,
    centre_host: str,
    password: str,
    *,
    port: int = TLS_PORT,
    samplerates: Iterable[str] = SAMPLERATES,
) -> str:
    """The bridge that the station's broker keeps to the data centre. The text holds the password."""
    user = bridge_user(code).name
    # Not pea/+/+: after a restart Mosquitto 2.0.11 sends the retained $confirm, which came in, out again.
    why_out = (
        "What the station says goes out, each word by itself, so that nothing which came in goes out again. "
        "QoS 1: the default of 0 is lost when the link is."
    )
    why_in = "What archives and operators say comes in."
    out = [Setting("topic", f"{topic} out 1") for topic in said(code, samplerates)]
    back = [Setting("topic", f"{topic} in 1") for topic in heard(code)]
    return render(
        f"The bridge of station {code}, written by obslab broker config. It holds a password: mode 0600.",
        (
            Setting("connection", user),
            Setting("address", f"{checked_host(centre_host, 'the host of the data centre')}:{port}"),
            Setting(
                "bridge_cafile",
                f"{folder / 'certificates' / 'ca.crt'}",
                "Who signed the certificate of the data centre: the bridge uses TLS and checks the name.",
            ),
            Setting(
                "remote_clientid",
                user,
                "Default: connection.hostname, another session after the computer is renamed.",
            ),
            Setting("remote_username", user),
            Setting("remote_password", password),
            Setting(
                "cleansession",
                "false",
                "The default, said so that it stays: with true an outage loses what was queued.",
            ),
            Setting(
                "keepalive_interval",
                f"{KEEP_ALIVE_S}",
                "Default: 60 s, with which a dead link goes unnoticed for up to two minutes.",
            ),
            Setting(
                "restart_timeout",
                "1 15",
                "Default: 5 to 30 s. A lost bridge is tried again after 1 s, later at least every 15 s.",
            ),
            Setting(
                "notifications",
                "true",
                "The default, said so that it stays: the state of the bridge is told, at both brokers, at "
                f"$SYS/broker/connection/{user}/state.",
            ),
            out[0]._replace(why=why_out),
            *out[1:],
            back[0]._replace(why=why_in),
            *back[1:],
        ),
    )


def checked_host(host: str, what: str) -> str:
    """The host if it is a name or an address, without port or scheme. Raises ConfigError."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _HOST.fullmatch(host) or len(host) > 253 or re.fullmatch(r"[0-9.]+", host):
            raise ConfigError(
                f"{what}, {host!r}, is no host name and no IP address; give it without mqtt:// and port",
                host=host,
            ) from None
    return host
