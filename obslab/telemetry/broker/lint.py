"""What in a configuration of Mosquitto loses data, stalls, or lets people in, and what to write instead.

    read (conffile) -> queues and persistence (here) -> doors (lint_access) -> bridges (lint_bridges)

Numbers in the explanations were measured with Mosquitto 2.0.11, publishing with QoS 1.
"""

from __future__ import annotations

import re
from pathlib import Path

from obslab.telemetry.broker import conffile, lint_access, lint_bridges
from obslab.telemetry.broker.conffile import Config, Finding
from obslab.telemetry.broker.settings import UNLIMITED
from obslab.telemetry.protocol import BLOCK_BYTES

_ORDER = {"loses data": 0, "stalls": 1, "lets people in": 2, "note": 3}
_DAY = 2 * 86_400  # messages of a vector and a scalar magnetometer at 1 Hz
_DAYS_OF = {"h": 1 / 24, "d": 1.0, "w": 7.0, "m": 30.0, "y": 365.0}
# A payload, its topic and MQTT's own bytes.
_PACKET_BYTES = BLOCK_BYTES + 128


def lint(path: Path) -> list[Finding]:
    """Findings in this file and what it includes, the worst first. Raises ConfigError."""
    config = conffile.read(path)
    _queues(config)
    _sizes(config)
    _persistence(config)
    lint_access.check(config)
    lint_bridges.check(config)
    return sorted(
        dict.fromkeys(config.findings), key=lambda found: (_ORDER[found.severity], found.file, found.line)
    )


def serious(findings: list[Finding]) -> bool:
    return any(found.severity != "note" for found in findings)


def _queues(config: Config) -> None:
    broker = config.broker
    queued = broker.number("max_queued_messages", 1000)
    if 0 < queued < _DAY:
        default = "" if broker.get("max_queued_messages") else ", the default"
        config.found(
            "loses data",
            broker.at("max_queued_messages"),
            f"at most {queued} messages wait for a client who is away{default}",
            f"the rest is dropped in silence, after {queued / 2:.0f} s of two instruments at 1 Hz: of 3,600 "
            "messages queued for a bridge with the default of 1000, 1,636 arrived",
            f"max_queued_messages {UNLIMITED}",
        )
    if queued == 0 and broker.get("acl_file"):
        config.found(
            "stalls",
            broker.at("max_queued_messages"),
            "no limit, by 0, together with an acl_file",
            "with 0 Mosquitto 2.0.11 ends the connection of a publisher whose message the access list "
            "refuses, who then comes back with the same message, for ever",
            f"max_queued_messages {UNLIMITED}, which is more than fits in memory",
        )
    if (limit := broker.number("max_queued_bytes", 0)) > 0:
        config.found(
            "loses data",
            broker.at("max_queued_bytes"),
            f"at most {limit} bytes wait for a client who is away",
            "the limit that is reached first counts, and what comes after it is dropped in silence",
            "max_queued_bytes 0",
        )
    window = broker.number("max_inflight_messages", 20)
    if 0 < window < 1000:
        default = "" if broker.get("max_inflight_messages") else ", the default"
        config.found(
            "stalls",
            broker.at("max_inflight_messages"),
            f"at most {window} messages may be unacknowledged{default}",
            "an archive acknowledges after its commit and so gets that many in each; over a satellite with "
            f"600 ms it is {window / 0.6:.0f} messages a second, and a backlog takes accordingly long",
            "max_inflight_messages 0",
        )
    if (limit := broker.number("max_inflight_bytes", 0)) > 0:
        config.found(
            "stalls",
            broker.at("max_inflight_bytes"),
            f"at most {limit} bytes may be unacknowledged",
            "an archive acknowledges after its commit and gets no more than that in each",
            "max_inflight_bytes 0",
        )
    if not broker.on("queue_qos0_messages", False):
        config.found(
            "note",
            broker.at("queue_qos0_messages"),
            "messages with QoS 0 are not queued for a client who is away",
            "obslab publishes with QoS 1; others, MARTAS among them, with QoS 0 by default",
            "queue_qos0_messages true",
        )
    if broker.get("memory_limit"):
        config.found(
            "loses data",
            broker.at("memory_limit"),
            "memory is limited",
            "messages that do not fit are dropped and their senders or readers disconnected; a queued sample "
            "takes about 400 bytes",
            "take it away, and watch the memory of the machine",
        )
    expiry = broker.get("persistent_client_expiration")
    if expiry and (days := _days(expiry.word)) is not None and days < 7:
        config.found(
            "loses data",
            expiry,
            f"the queue of a client who is away for {expiry.word} is thrown away",
            "outages of a station's link last days",
            "persistent_client_expiration 2m",
        )


def _sizes(config: Config) -> None:
    for key, least, why in (
        (
            "message_size_limit",
            BLOCK_BYTES,
            "a longer message is acknowledged and not passed on, and what fills gaps comes in blocks",
        ),
        (
            "max_packet_size",
            _PACKET_BYTES,
            "a client that sends a longer one, a block for a gap, is disconnected, and sends it again",
        ),
    ):
        if 0 < (limit := config.broker.number(key, 0)) < least:
            config.found(
                "loses data" if key == "message_size_limit" else "stalls",
                config.broker.at(key),
                f"messages may have {limit} bytes",
                f"{why} ({BLOCK_BYTES} bytes)",
                f"take it away, or {key} 262144",
            )
    if not config.broker.on("retain_available", True):
        config.found(
            "loses data",
            config.broker.at("retain_available"),
            "retained messages are refused",
            "samples cannot be read without the retained $meta, and who sends one is disconnected",
            "retain_available true",
        )
    keepalive = config.broker.number("max_keepalive", 65_535)
    if keepalive < 10:
        config.found(
            "stalls",
            config.broker.at("max_keepalive"),
            f"clients must say something every {keepalive} s",
            "Mosquitto does not start with less than 10 s",
            "max_keepalive 60, or no such line",
        )


def _persistence(config: Config) -> None:
    broker = config.broker
    if not broker.on("persistence", False):
        default = "" if broker.get("persistence") else ", the default"
        config.found(
            "loses data",
            broker.at("persistence"),
            f"nothing is kept on disk{default}",
            "a restart loses all queues, sessions and retained metadata",
            "persistence true, and persistence_location FOLDER/",
        )
        return
    if not broker.get("persistence_location"):
        config.found(
            "note",
            broker.at("persistence_location"),
            "the file is written to whatever folder Mosquitto is started from",
            "started from another one it begins with nothing",
            "persistence_location /var/lib/mosquitto/",
        )
    elif not config.beside(broker.at("persistence_location").value).is_dir():
        where = broker.at("persistence_location")
        config.found(
            "loses data",
            where,
            f"folder {where.value} is not here",
            "Mosquitto starts without it, and what it should have written to disk is lost at its end",
            "make the folder, owned by the user mosquitto",
        )
    interval, counted = broker.number("autosave_interval", 1800), broker.on("autosave_on_changes", False)
    if counted and interval < 1000:
        config.found(
            "stalls",
            broker.at("autosave_on_changes"),
            f"everything is written to disk after each {interval} changes",
            "the whole file is written anew each time, while every client waits",
            "autosave_on_changes false",
        )
    elif not counted and not 0 < interval <= 600:
        default = "" if broker.get("autosave_interval") else ", the default"
        saved = f"every {interval} s" if interval else "only at an orderly end"
        config.found(
            "loses data",
            broker.at("autosave_interval"),
            f"queues are written to disk {saved}{default}",
            "a crash or power cut loses what came since, acknowledged or not: of 1,000 messages acknowledged "
            "just before a kill, none was there afterwards, even with 5 s",
            "autosave_interval 300; what must not be lost belongs into the journal of the station",
        )


def _days(duration: str) -> float | None:
    found = re.fullmatch(r"([0-9]+)([hdwmy])", duration)
    return int(found[1]) * _DAYS_OF[found[2]] if found else None
