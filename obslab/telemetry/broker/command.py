"""Sends an operator's command to a unit, and says when the broker refuses it."""

from __future__ import annotations

import contextlib
import threading
import uuid
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from obslab.config import Broker
from obslab.errors import BrokerError
from obslab.telemetry.broker.login import log_in
from obslab.telemetry.protocol import COMMAND, Command, Unit, encode

Do = Literal["pause", "resume", "restart"]

_KEEP_ALIVE_S = 10


def send_command(address: Broker, unit: Unit, do: Do, *, by: str = "", timeout_s: float = 10.0) -> None:
    """Publish a ``Command`` and wait for the broker's word. Raises BrokerError when it is refused.

    It goes over MQTT 5, in which a broker says that it refuses a message; in 3.1.1 Mosquitto acknowledges a
    forbidden one and throws it away. A broker that speaks only 3.1.1, such as the embedded one, gets it in
    that. Whether the unit obeys is told by its status.
    """
    try:
        _Errand(address, paho.MQTTv5).run(unit, do, by, timeout_s)
    except _TooNew:
        _Errand(address, paho.MQTTv311).run(unit, do, by, timeout_s)


class _TooNew(Exception):
    """The broker does not speak MQTT 5."""


class _Errand:
    """One connection for one message."""

    def __init__(self, address: Broker, version: MQTTProtocolVersion) -> None:
        self._address, self._version = address, version
        self._done = threading.Event()
        self._refusal = ""
        self._accepted = self._connected = False
        client_id = f"obslab-command-{uuid.uuid4().hex[:8]}"
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=version)
        client.on_connect, client.on_publish, client.on_disconnect = self._up, self._published, self._lost
        log_in(client, address)

    def run(self, unit: Unit, do: Do, by: str, timeout_s: float) -> None:
        url, what = self._address.url, f"{do} of {unit}"
        self._message = unit.topic(COMMAND), encode(Command(do=do, by=by))
        self._client.connect_timeout = timeout_s
        try:
            self._client.connect(self._address.host, self._address.port, _KEEP_ALIVE_S)
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"{what} was not sent: no broker answers at {url} ({error})", address=url
            ) from error
        self._client.loop_start()
        try:
            self._done.wait(timeout_s)
        finally:
            with contextlib.suppress(Exception):
                self._client.disconnect()
            self._client.loop_stop()
        if self._refusal:
            raise BrokerError(f"broker {url} refused {what} {self._refusal}", address=url, refused=True)
        if not self._accepted and not self._connected and self._version == paho.MQTTv5:
            raise _TooNew
        if not self._accepted:
            raise BrokerError(
                f"{what}: broker {url} did not acknowledge it within {timeout_s:g} s; see the unit's status",
                address=url,
            )

    # ---- paho's thread

    def _up(self, client: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        if reason.is_failure:
            too_new = self._version == paho.MQTTv5 and "protocol version" in str(reason).lower()
            self._refusal = "" if too_new else (
                f"to {self._who()}: {reason}; check OBSLAB_MQTT_USER and OBSLAB_MQTT_PASSWORD"
            )  # fmt: skip
            self._done.set()
            return
        self._connected = True
        client.publish(*self._message, qos=1)

    def _published(self, _c: Any, _u: Any, _mid: Any, reason: Any, _p: Any) -> None:
        if reason is not None and reason.is_failure:
            topic = self._message[0]
            self._refusal = (
                f"to {self._who()}: {reason}; the access list must let it write {topic} (role operator)"
            )
        else:
            self._accepted = True
        self._done.set()

    def _lost(self, *_: Any) -> None:
        self._done.set()

    def _who(self) -> str:
        return f"user {self._address.user!r}" if self._address.user else "an anonymous client"
