"""A live view of a broker: subscribes itself; an archive, when given, only fills the beginning."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable

import paho.mqtt.client as paho

from obslab.config import Broker
from obslab.telemetry import codec
from obslab.telemetry.archive.batch import Arrivals
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.broker.link import Link
from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.collect.words import apart
from obslab.telemetry.derived import is_derived
from obslab.telemetry.live.ring import Ring
from obslab.telemetry.live.source import Condition, Rings
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import META, Meta, Stream, valid_at

log = logging.getLogger(__name__)

_POLL_S = 0.1
_TICK_S = 1.0  # ages grow even when nothing comes
_INBOX = 20_000
_FILLS_S = (1.0, 5.0, 20.0)


class BrokerSource:
    """Subscribes to a broker itself; the archive, when given, only fills the beginning."""

    live = True
    clocked = True

    def __init__(self, address: Broker, topics: tuple[str, ...], archive: Archive | None) -> None:
        self._archive = archive
        self._rings = Rings()
        self._intake = Intake(archive.all_metas() if archive else {})
        self._lock = threading.Lock()
        self._inbox: deque[Message] = deque()
        self._news, self._ending = threading.Event(), threading.Event()
        self._lost = self._rejected = 0
        self._trouble = ""
        self._waiting: dict[Message, None] = {}
        self._link = Link(
            address,
            f"obslab-view-{uuid.uuid4().hex[:12]}",
            topics=_with_metadata(topics),
            on_message=self._arrived,
            on_up=self._up,
        )
        self._filters = topics
        self._window_s = 0.0
        self._fills_at: deque[float] = deque()
        self._derived_at = 0.0

    def start(self, changed: Callable[[], None]) -> None:
        self._link.start()
        threading.Thread(target=self._run, args=(changed,), name="obslab-listen", daemon=True).start()

    def stop(self) -> None:
        self._ending.set()
        self._news.set()
        self._link.stop()

    def rings(self) -> list[Ring]:
        return self._rings.all()

    def meta(self, stream: Stream) -> Meta | None:
        return self._intake.metas.get(stream.meta_topic, (None,))[-1]

    def condition(self) -> Condition:
        if self._trouble:
            return Condition("off", self._trouble, self._lost, self._rejected)
        state = self._link.state
        text = state.detail if state.connected else f"disconnected: {state.detail}"
        if self._waiting:
            text += f"; {len(self._waiting)} messages wait for their metadata"
        return Condition("ok" if state.connected else "off", text, self._lost, self._rejected)

    def reach(self, window_s: float) -> None:
        self._window_s = max(self._window_s, window_s)
        if self._archive is None:
            return
        for stream in self._wanted(self._archive):
            self._rings.fill(self._archive, stream, window_s)

    def _up(self, _session_present: bool) -> None:
        """What was sent between two connections, or while we subscribed, only the archive has: ask it
        when it has had time to store it. A collector that was cut off too needs longer."""
        self._fills_at = deque(time.monotonic() + wait_s for wait_s in _FILLS_S)

    def _arrived(self, message: paho.MQTTMessage, arrival_ns: int) -> None:
        with self._lock:
            if len(self._inbox) >= _INBOX:
                self._inbox.popleft()
                self._lost += 1
            self._inbox.append(Message(message.topic, bytes(message.payload), arrival_ns))
        self._news.set()

    def _run(self, changed: Callable[[], None]) -> None:
        while not self._ending.is_set():
            self._news.wait(_TICK_S)
            self._news.clear()
            try:
                if self._fills_at and time.monotonic() > self._fills_at[0]:
                    self._fills_at.popleft()
                    self.reach(self._window_s)
                self._take_derived()
                with self._lock:
                    taken, self._inbox = list(self._inbox), deque()
                self._take(taken)
                self._trouble = ""
            except Exception as error:  # shown in the view; the thread goes on
                if not self._trouble:
                    log.exception("messages from %s are not shown", self._link.address.url)
                self._trouble = f"messages are not shown: {error}"
            changed()
            self._ending.wait(_POLL_S)  # a burst is taken together

    def _take(self, taken: list[Message]) -> None:
        if any(message.topic.endswith(META) for message in taken) and self._waiting:
            taken, self._waiting = [*self._waiting, *taken], {}
        samples, _words, damaged = apart(taken)  # samples that are filled in later come in blocks
        batch = self._intake.sort(samples)
        batch.refusals += damaged
        for refusal in batch.refusals:
            if refusal.waiting and len(self._waiting) < _INBOX:
                self._waiting[Message(refusal.topic, refusal.payload, refusal.arrival_ns)] = None
            else:
                self._rejected += 1
        for arrivals in batch.arrivals:
            readings = self._decoded(arrivals)
            if readings is not None:
                self._rings.add(readings)

    def _take_derived(self) -> None:
        """What is computed from the samples nobody publishes: the archive has it, a second later."""
        if self._archive is None or time.monotonic() < self._derived_at:
            return
        self._derived_at = time.monotonic() + _TICK_S
        latest = {ring.stream: ring.latest_ns() for ring in self._rings.all()}
        for stream in filter(is_derived, self._wanted(self._archive)):
            if (latest_ns := latest.get(stream)) is None:
                self._rings.fill(self._archive, stream, self._window_s)
            else:
                self._rings.add(self._archive.readings(stream, latest_ns + 1, 2**63 - 1))

    def _wanted(self, archive: Archive) -> list[Stream]:
        """The archive's streams that a filter asks for."""
        return [
            stream
            for stream in archive.streams()
            if any(paho.topic_matches_sub(topic, stream.topic) for topic in self._filters)
        ]

    def _decoded(self, arrivals: Arrivals) -> Readings | None:
        meta = valid_at(self._intake.metas[arrivals.stream.meta_topic], int(arrivals.time_ns[0]))
        if meta is None:
            return None
        values, quality = codec.unpack(meta, arrivals.bodies)
        return Readings(
            arrivals.stream,
            meta.components,
            meta.component_units,
            arrivals.time_ns,
            arrivals.arrival_ns,
            values,
            quality,
        )


def _with_metadata(topics: tuple[str, ...]) -> tuple[str, ...]:
    """Without metadata no sample can be read; ``#`` and ``+`` at the end of a filter bring it anyway."""
    narrow = [topic.rsplit("/", 1)[0] for topic in topics if topic[-1] not in "#+"]
    return tuple(dict.fromkeys([*topics, *(f"{instrument}/{META}" for instrument in narrow)]))
