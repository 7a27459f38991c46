"""A link to a broker: paho's client on its own thread, with its traps closed.

Every callback is guarded, since an exception in one ends paho's thread while ``is_connected()``
stays true. A first connection that fails is tried again like a lost one.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from obslab.config import Broker, check_filter
from obslab.errors import BrokerError
from obslab.telemetry.broker.login import log_in, why_not
from obslab.telemetry.broker.silence import SILENT_S, SilenceWatch

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 10  # as in the paper: a dead link is unnoticed for no longer than this, twice at worst
_NOBODY = "obslab/nobody"
_FOR_EVER = 2**32 - 1  # a session that does not expire, in MQTT 5
_GOODBYE_S = 3.0
_RETRY_S = (1, 15)
_INFLIGHT = 1000  # paho's 20 would stall a publisher at 20 messages for each round trip over a satellite

_PUBACK = b"\x40\x02"

Arrived = Callable[[paho.MQTTMessage, int], None]


@dataclass(frozen=True)
class LinkState:
    """How a link is: ``detail`` is one line for people, ``since_s`` is Unix time of the last change.

    ``refused`` means that waiting is of no use: somebody must change a setting.
    """

    connected: bool
    detail: str
    since_s: float
    refused: bool = False
    losses: int = 0


class Link:
    """One connection, kept: ``start`` returns at once, the state tells what became of it.

    ``on_message(message, arrival_ns)`` and ``on_up(session_present)`` run on paho's thread and must
    be quick. With ``manual_ack`` a message counts as delivered only when ``ack`` was called.
    """

    def __init__(
        self,
        address: Broker,
        client_id: str,
        *,
        topics: tuple[str, ...] = (),
        on_message: Arrived | None = None,
        on_up: Callable[[bool], None] | None = None,
        on_published: Callable[[int], None] | None = None,
        clean_session: bool = True,
        manual_ack: bool = False,
        will: tuple[str, bytes] | None = None,
        share: str = "",
        quiet: bool = False,
    ) -> None:
        self.address, self.client_id = address, client_id
        self._topics, self._on_message, self._on_up, self._on_published = (
            topics,
            on_message,
            on_up,
            on_published,
        )
        for topic in topics:
            check_filter(topic, f"topic of {address.url}")
        self._silence = SilenceWatch(lambda: self._state.connected, self._ask, self._cut)
        self._stale = False
        self._question: int | None = None
        self._state = LinkState(False, f"connecting to {address.url}", time.time())
        self._changed = threading.Condition()
        self._generation = 0
        self._ending = self._session_present = False
        self._level = logging.DEBUG if quiet else logging.WARNING
        self._share, self._clean = share, clean_session
        version = paho.MQTTv5 if share else paho.MQTTv311
        self.client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if share else clean_session,
            protocol=version,
            manual_ack=manual_ack,
        )
        if will:
            client.will_set(*will, qos=1, retain=True)
        client.on_connect, client.on_disconnect = self._connected, self._lost
        client.on_connect_fail = self._failed
        client.on_subscribe = self._subscribed
        client.on_message, client.on_publish = self._arrived, self._published
        client.max_inflight_messages_set(_INFLIGHT)
        client.reconnect_delay_set(*_RETRY_S)
        log_in(client, address)

    def start(self) -> None:
        """Begin to connect, in the background; lost links are taken up again with a growing pause."""
        version5: dict[str, Any] = {}
        if self._share:
            lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            lasting.SessionExpiryInterval = 0 if self._clean else _FOR_EVER
            version5 = {"clean_start": self._clean, "properties": lasting}
        self.client.connect_async(self.address.host, self.address.port, KEEP_ALIVE_S, **version5)
        self.client.loop_start()
        self._silence.start()

    def stop(self) -> None:
        """Say goodbye and end the thread."""
        self._ending = True
        self._silence.stop()
        self.client.disconnect()
        # paho's thread ends when its goodbye is sent, which a frozen link with full buffers does not take.
        impatience = threading.Timer(_GOODBYE_S, self._cut)
        impatience.daemon = True
        impatience.start()
        self.client.loop_stop()
        impatience.cancel()
        self._change(LinkState(False, f"stopped; was on {self.address.url}", time.time()))

    @property
    def state(self) -> LinkState:
        return self._state

    @property
    def generation(self) -> int:
        """Counts lost connections: message ids of an earlier one mean nothing now."""
        return self._generation

    @property
    def was_up(self) -> bool:
        """Whether it ever was connected."""
        return self._state.connected or self._state.losses > 0

    def wait(self, timeout_s: float) -> LinkState:
        """The state as soon as it is connected or refused, or after the time-out."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.connected or self._state.refused, timeout_s)
            return self._state

    def require(self, timeout_s: float) -> None:
        """Raise BrokerError unless the link comes up in time."""
        state = self.wait(timeout_s)
        if not state.connected:
            raise BrokerError(state.detail, address=self.address.url)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Hand over a QoS 1 message; returns its id, which ``on_published`` gets at the PUBACK."""
        return self.client.publish(topic, payload, qos=1, retain=retain).mid

    def ack(self, messages: list[tuple[int, int]]) -> None:
        """Acknowledge ``(generation, message id)``; ids of an earlier connection are passed over.

        The broker gives those messages again, under ids of its own choosing: to acknowledge an old id
        on a new connection could lose a message that has not been stored.
        """
        with self._changed:  # a connection cannot be lost in between
            now = [mid for generation, mid in messages if generation == self._generation]
            if now:
                # In one piece: paho's own ack() would wake its thread and write to the socket for each. The
                # method is not public, hence the bound on paho's version; a test takes all messages back.
                packets = b"".join(_PUBACK + mid.to_bytes(2, "big") for mid in now)
                self.client._packet_queue(paho.PUBACK, packets, now[-1], 1)

    # ---- paho's thread

    def _connected(self, _c: Any, _u: Any, flags: paho.ConnectFlags, reason: Any, _p: Any) -> None:
        if reason.is_failure:
            who = f"user {self.address.user!r}" if self.address.user else "an anonymous client"
            hint = "check OBSLAB_MQTT_USER and OBSLAB_MQTT_PASSWORD"
            detail = f"broker {self.address.url} refused {who}: {reason}; {hint}"
            self._refused(detail)
            return
        self._session_present = flags.session_present
        self._stale = False
        self._silence.heard()
        if self._topics:
            shared = f"$share/{self._share}/" if self._share else ""
            # A shared subscription gives no retained messages and takes none of our own words from others.
            self.client.subscribe(  # up when it is granted
                [(shared + topic if "$SYS" not in topic else topic, 1) for topic in self._topics]
            )
        else:
            self._is_up()

    def _subscribed(self, _c: Any, _u: Any, mid: int, reasons: list[Any], _p: Any) -> None:
        self._silence.heard()
        if mid == self._question:
            return
        if any(reason.is_failure for reason in reasons):
            topics = ", ".join(self._topics)
            self._refused(
                f"broker {self.address.url} refused to let us read {topics}; check its access rules"
            )
            return
        self._is_up()

    def _is_up(self) -> None:
        log.info("connected to %s", self.address.url)
        self._change(
            LinkState(True, f"connected to {self.address.url}", time.time(), losses=self._state.losses)
        )
        if self._on_up:
            self._guard(self._on_up, self._session_present)

    def _lost(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        with self._changed:
            self._generation += 1
        if self._ending or self._state.refused:
            return
        if self._state.connected:
            why = f"it was silent for {SILENT_S} s" if self._stale else reason
            detail = f"lost broker {self.address.url} ({why}); trying again"
            self._tell(detail)
            self._change(LinkState(False, detail, time.time(), losses=self._state.losses + 1))
        else:
            hint = "is it an MQTT broker, and is it one " + (
                "with TLS?" if self.address.tls else "without TLS?"
            )
            self._down(f"{self.address.url} ended the connection at once ({reason}); {hint} trying again")

    def _failed(self, _c: Any, _u: Any) -> None:
        detail, settled = why_not(self.address, sys.exception())  # paho calls this while it handles one
        if settled:
            self._refused(detail)
        else:
            self._down(detail)

    def _down(self, detail: str) -> None:
        if detail != self._state.detail:
            self._tell(detail)
            self._change(LinkState(False, detail, self._state.since_s, losses=self._state.losses))

    def _refused(self, detail: str) -> None:
        if detail != self._state.detail:
            self._tell(detail, worse=True)
            self._change(LinkState(False, detail, time.time(), refused=True, losses=self._state.losses))

    def _tell(self, detail: str, *, worse: bool = False) -> None:
        log.log(self._level + 10 * worse, "%s", detail)

    def _arrived(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        self._silence.heard()
        if self._on_message:
            self._guard(self._on_message, message, time.time_ns())

    def _published(self, _c: Any, _u: Any, mid: int, _r: Any, _p: Any) -> None:
        self._silence.heard()
        if self._on_published:
            self._guard(self._on_published, mid)

    # ---- the watch's thread

    def _ask(self) -> None:
        # Every broker answers this, and it changes nothing: nobody speaks on that topic. (iotcore does not
        # answer when asked to end a subscription that there is not.)
        self._question = self.client.subscribe(_NOBODY, 0)[1]

    def _cut(self) -> None:
        self._stale = True
        connection = self.client.socket()
        if connection is not None:
            with contextlib.suppress(OSError):
                # paho's thread sees the end, reports the loss and connects anew. TLS is not ended properly,
                # which would wait for the other side.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # type: ignore[arg-type]

    def _guard(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception:  # anything: the network thread must live, and the log has the traceback
            log.exception("a callback of the link to %s failed", self.address.url)

    def _change(self, state: LinkState) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()
