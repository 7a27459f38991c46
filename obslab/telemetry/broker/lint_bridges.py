"""What in the bridges of a configuration loses data, stalls, or lets people in."""

from __future__ import annotations

import ipaddress
import stat

from obslab.telemetry.broker.conffile import Config, Section, Severity
from obslab.telemetry.protocol import BLOCK_BYTES

# What a switch of a bridge must be: its default, the wrong value, and what that does.
_SWITCHES: tuple[tuple[str, bool, bool, Severity, str], ...] = (
    (
        *("cleansession", False, True, "loses data"),
        "an outage of the link then throws away what waits for the bridge, at both ends",
    ),
    (
        *("local_cleansession", False, True, "loses data"),
        "an outage of the link then throws away what waits for the bridge",
    ),
    (
        *("bridge_outgoing_retain", True, False, "loses data"),
        "the retained $meta is not retained at the other side, and without it samples cannot be read",
    ),
    (
        *("bridge_insecure", False, True, "lets people in"),
        "any certificate of that CA is accepted, so somebody else can stand in between and read the password",
    ),
    (
        *("try_private", True, False, "note"),
        "the other broker takes it for a common client: what is retained comes in without being so, and what "
        "came in may be sent back",
    ),
    (
        *("notifications", True, False, "note"),
        "nobody sees that the bridge is down: units stay online, at their own broker",
    ),
    (
        *("notifications_local_only", False, True, "note"),
        "the data centre does not see that the bridge is down: units stay online, at their own broker",
    ),
)


def check(config: Config) -> None:
    """Add what is found to the configuration's findings."""
    for bridge in config.bridges:
        for key, default, wrong, severity, why in _SWITCHES:
            if bridge.on(key, default) == wrong:
                word = "true" if wrong else "false"
                better = "false" if wrong else "true"
                config.found(severity, bridge.at(key), f"{key} {word}", why, f"{key} {better}")
        _topics(config, bridge)
        _link(config, bridge)
        _doors(config, bridge)


def _topics(config: Config, bridge: Section) -> None:
    directions: dict[str, set[str]] = {"in": set(), "out": set()}
    for line in bridge.all("topic"):
        words = line.value.split()
        direction = words[1] if len(words) > 1 else "out"
        qos = words[2] if len(words) > 2 else ""
        if direction not in ("in", "out", "both"):
            config.found(
                "stalls",
                line,
                f"direction {direction!r} is none of in, out, both",
                "Mosquitto does not start with it",
                f"topic {words[0]} out 1",
            )
            continue
        if qos not in ("1", "2"):
            default = "" if qos else ", the default"
            config.found(
                "loses data",
                line,
                f"{words[0]} crosses the bridge with QoS {qos or 0}{default}",
                "such messages are not queued while the link is down, and may be lost while it is up",
                " ".join(["topic", words[0], direction, "1", *words[3:]]),
            )
        for one in directions if direction == "both" else (direction,):
            directions[one].add(words[0])
        if direction == "both":
            config.found(
                "note",
                line,
                f"{words[0]} crosses the bridge both ways",
                "after a restart Mosquitto 2.0.11 sends what is retained and came in out again, which can go "
                "round for ever",
                f"topic {words[0]} out 1, and only what must come in with in 1",
            )
        elif echo := [
            topic for topic in directions["in" if direction == "out" else "out"] if _overlap(topic, words[0])
        ]:
            config.found(
                "note",
                line,
                f"{words[0]} goes {direction}, and {sorted(echo)[0]} the other way",
                "after a restart Mosquitto 2.0.11 sends what is retained and came in out again",
                "topics that do not overlap, each word by itself",
            )
    if not bridge.get("topic"):
        config.found(
            "loses data",
            bridge.at("topic"),
            "nothing crosses the bridge",
            "a bridge without topics is of no use",
            "topic pea/+/sec out 1, and so on",
        )


def _overlap(one: str, other: str) -> bool:
    """Whether some topic matches both filters."""
    ones, others = one.split("/"), other.split("/")
    for left, right in zip(ones, others, strict=False):
        if "#" in (left, right):
            return True
        if left != right and "+" not in (left, right):
            return False
    return len(ones) == len(others)


def _link(config: Config, bridge: Section) -> None:
    alive = bridge.number("keepalive_interval", 60)
    if alive > 20:
        default = "" if bridge.get("keepalive_interval") else ", the default"
        config.found(
            "stalls",
            bridge.at("keepalive_interval"),
            f"the link is tried every {alive} s{default}",
            f"a dead one goes unnoticed for up to {2 * alive} s (with 10 s, 20 s were measured)",
            "keepalive_interval 10",
        )
    kind = bridge.get("start_type")
    if kind and kind.value in ("lazy", "once", "manual"):
        config.found(
            "stalls",
            kind,
            f"start_type {kind.value}",
            "the bridge waits until some messages are there"
            if kind.value == "lazy"
            else "a lost bridge is not taken up again",
            "start_type automatic, or no such line",
        )
    restart = bridge.get("restart_timeout")
    if restart and any(word.isdecimal() and int(word) > 60 for word in restart.value.split()[:2]):
        config.found(
            "stalls",
            restart,
            f"a lost bridge is tried again after up to {restart.value} s",
            "samples are late by that much after the shortest outage",
            "restart_timeout 1 15",
        )
    if 0 < (limit := bridge.number("bridge_max_packet_size", 0)) < BLOCK_BYTES + 128:
        config.found(
            "loses data",
            bridge.at("bridge_max_packet_size"),
            f"messages longer than {limit} bytes do not cross the bridge",
            f"what fills gaps comes in blocks of {BLOCK_BYTES} bytes",
            "take it away",
        )
    version = bridge.get("bridge_protocol_version")
    if version and version.value == "mqttv50":
        config.found(
            "note",
            version,
            "the bridge speaks MQTT 5",
            "Mosquitto 2.0 passes over the receive maximum of the other broker, which may therefore end the "
            "connection when a queue is sent (issue 3002 of Mosquitto)",
            "bridge_protocol_version mqttv311, or no such line",
        )
    if topic := bridge.get("notification_topic"):
        config.found(
            "note",
            topic,
            f"the state of the bridge is told at {topic.value}",
            "obslab looks at $SYS/broker/connection/NAME/state",
            "take it away",
        )
    if not (bridge.get("remote_clientid") or bridge.get("clientid")):
        config.found(
            "note",
            bridge.at("remote_clientid"),
            "the client id has the name of this computer in it",
            "under another name it begins another session, and the queue of the old one is never read",
            f"remote_clientid {bridge.head.value}",
        )


def _doors(config: Config, bridge: Section) -> None:
    address = bridge.get("address") or bridge.get("addresses")
    if address is None:
        config.found(
            "stalls",
            bridge.at("address"),
            "there is no address",
            "Mosquitto does not start with such a bridge",
            "address HOST:8883",
        )
        return
    tls = any(bridge.get(key) for key in ("bridge_cafile", "bridge_capath", "bridge_psk"))
    if not tls and any(_elsewhere(one) for one in address.value.split()):
        config.found(
            "lets people in",
            address,
            "a bridge without TLS",
            "its password, samples and $cmd cross the network in the open, to be read and altered",
            "bridge_cafile FILE, and the TLS port of the other broker",
        )
    for key in ("remote_password", "password", "bridge_psk"):
        line = bridge.get(key)
        if line and line.file.stat().st_mode & stat.S_IROTH:
            config.found(
                "lets people in",
                line,
                f"{line.file} can be read by everybody on this machine",
                "it holds the password of the bridge, which writes as the station",
                f"chmod 600 {line.file}, owned by the user mosquitto",
            )


def _elsewhere(address: str) -> bool:
    host = address.rpartition(":")[0] or address
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host != "localhost"
