"""Settings of Mosquitto, each with the reason why it is not left at its default.

None of them makes the broker the place where data is safe: those are the station's journal and the archive.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import PurePath
from typing import NamedTuple

UNLIMITED = 100_000_000


class Setting(NamedTuple):
    """One line of a configuration; ``why`` is the comment above it, empty where the key says it all."""

    key: str
    value: str
    why: str = ""


def render(title: str, settings: Iterable[Setting]) -> str:
    """The text of a configuration file. A comment has lines of its own: Mosquitto knows no other kind."""
    lines = [f"# {line}" for line in title.splitlines()]
    for setting in settings:
        lines += ["", *(f"# {line}" for line in textwrap.wrap(setting.why, 108))] if setting.why else []
        lines.append(f"{setting.key} {setting.value}")
    return "\n".join([*lines, ""])


def durable(data: PurePath) -> tuple[Setting, ...]:
    """What makes a broker keep everything while it runs, and most of it over a restart."""
    return (
        Setting(
            "persistence",
            "true",
            "Default: false. Sessions, their queues and retained metadata live through a restart.",
        ),
        Setting("persistence_location", f"{data}/"),
        Setting(
            "autosave_interval",
            "300",
            "Default: 1800 s. A power cut takes what came since the last save, for which the station has its "
            "journal; shorter would rewrite the whole file too often for a memory card.",
        ),
        Setting(
            "max_queued_messages",
            f"{UNLIMITED}",
            "Default: 1000, after which messages are dropped in silence: of an hour at 1 Hz, 3,600 messages "
            "queued for a bridge, 1,636 arrived. This is more than fits in memory, and so no limit. Not 0, "
            "which should be that: with it Mosquitto 2.0.11 ends the connection of a publisher whose message "
            "the access list refuses, who then comes back with the same message, for ever.",
        ),
        Setting(
            "max_queued_bytes",
            "0",
            "The default, no limit, said so that it stays: the first limit that is reached counts. A queued "
            "sample takes about 400 bytes of memory, two streams of 1 Hz so 70 MB a day.",
        ),
        Setting(
            "max_inflight_messages",
            "0",
            "Default: 20 unacknowledged messages for each client. An archive acknowledges after its commit, "
            "and a satellite answers after 600 ms: both would stand still after 20 messages. 0 is no limit.",
        ),
        Setting(
            "queue_qos0_messages",
            "true",
            "Default: false. What others publish with QoS 0 is queued for a reader who is away, too.",
        ),
        Setting(
            "set_tcp_nodelay",
            "true",
            "Default: false. Messages of 16 bytes are sent at once instead of waiting for the next one.",
        ),
    )


def guarded(folder: PurePath) -> tuple[Setting, ...]:
    """What lets only those in who have a login, and to their topics only."""
    return (
        Setting(
            "allow_anonymous",
            "false",
            "The default since Mosquitto 2, said for 1.x, where everybody may come in.",
        ),
        Setting(
            "password_file", f"{folder / 'passwords'}", "Hashes only; make it with obslab broker config."
        ),
        Setting(
            "acl_file",
            f"{folder / 'acl'}",
            "Without it every login may read and write every topic, $cmd too.",
        ),
        Setting(
            "allow_zero_length_clientid",
            "false",
            "Default: true. A client without a name leaves a queue to which nobody can ever come back.",
        ),
        Setting("log_timestamp_format", "%Y-%m-%dT%H:%M:%S", "Default: seconds since 1970."),
    )
