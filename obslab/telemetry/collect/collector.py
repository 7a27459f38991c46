"""Takes what arrives at a broker into an archive; acknowledges only what is on disk.

paho's thread puts messages into an inbox; one writer thread takes all there is, decodes it stream by
stream, commits, and only then acknowledges. Killed at any moment, it gets again what it had not
acknowledged, and the archive takes each sample once.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
import uuid
from collections import Counter, deque

import paho.mqtt.client as paho

from obslab.config import Broker
from obslab.errors import ConfigError, TableError
from obslab.telemetry.archive.batch import Batch, Refusal
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.broker.link import Link, LinkState
from obslab.telemetry.collect.exchange import Exchange
from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.collect.keeper import Keeper
from obslab.telemetry.collect.report import Report, Reporter
from obslab.telemetry.collect.upkeep import Upkeep
from obslab.telemetry.collect.words import apart
from obslab.telemetry.impf import is_impf
from obslab.telemetry.protocol import BLOCK, LEDGER, STATUS
from obslab.telemetry.sample import META

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOOK_S = 0.25  # into the folder where others leave samples: adjusted data are waited for
_RETRY_S = 2.0
_TICK_S = 1.0
_GIVE_UP_S = 20.0
BRIDGES = "$SYS/broker/connection/+/state"
_SHARED_WORDS = (f"+/+/{LEDGER}", f"+/+/{BLOCK}")
_LULL_S = 0.002  # a burst has ended when nothing came for so long, or after _BURST_S
_BURST_S = 0.02
_ENOUGH = 50  # half of what iotcore (rumqttd 0.20) sends before it waits for an acknowledgement
_MOST = 5000  # messages in one commit: bounds memory, and the time until a reader sees them


class Collector:
    """One connection, one writer thread, one archive opened for writing.

    A full disk stops nothing but the writing: messages stay unacknowledged at the broker, and the
    writer tries again until there is space.
    """

    def __init__(
        self,
        archive: Archive,
        address: Broker,
        topics: tuple[str, ...] = ("#",),
        *,
        name: str = "main",
        confirms: bool = True,
        share: str = "",
        keep_days: float | None = None,
        seal_after_days: float = 2.0,
    ) -> None:
        for option, given in (("--name", name), ("--share", share or "none")):
            if not _NAME.fullmatch(given):
                raise ConfigError(f"{option} {given!r} is not a name of letters, digits, '.', '-' and '_'")
        self._archive, self._name, self._share = archive, name, share
        self._intake = Intake(archive.all_metas())
        self._exchange = Exchange(self._intake.metas)
        self._inbox: deque[tuple[int, int, Message]] = deque()
        self._news, self._enough = threading.Event(), threading.Event()
        self._ending = False
        self._trouble = ""
        self.counted: Counter[str] = Counter()
        # The session at the broker keeps what comes while we are away; it belongs to the archive.
        self._link = Link(
            address,
            f"obslab-collector-{archive.id}" + (f"-{uuid.uuid4().hex[:8]}" if share else ""),
            topics=topics,
            on_message=self._arrived,
            clean_session=bool(share),  # what one of several leaves, the broker gives to another
            manual_ack=True,
            share=share,
        )
        # iotcore gives retained messages once in a session: killed before it had stored them, a collector
        # would read no sample until the station comes again. A session of their own always gets them.
        self._metas = Link(
            address,
            f"obslab-metadata-{self._link.client_id.removeprefix('obslab-collector-')}",
            topics=(f"+/+/{META}", f"+/+/{STATUS}", *(_SHARED_WORDS if share else ())),
            on_message=self._retained_arrived,
            quiet=True,
        )
        # A link of its own: iotcore ends one that asks for $SYS, and then this one is given up.
        self._bridges = Link(
            address,
            f"obslab-bridges-{self._link.client_id.removeprefix('obslab-collector-')}",
            topics=(BRIDGES,),
            on_message=self._bridge_arrived,
            quiet=True,
        )
        self._keeper = Keeper(archive, name, self._say, confirms=confirms)
        self._upkeep = Upkeep(archive, self._keeper, keep_days=keep_days, seal_after_days=seal_after_days)
        self._was_up: bool | None = None
        self._tick_at, self._look_at, self._give_up_at = 0.0, 0.0, math.inf
        self._writer = threading.Thread(target=self._run, name="obslab-collector", daemon=True)
        self._reporter = Reporter(archive.path, self.report)

    def start(self) -> None:
        self._give_up_at = time.monotonic() + _GIVE_UP_S
        self._writer.start()
        self._reporter.start()
        self._link.start()
        self._metas.start()
        self._bridges.start()

    def stop(self) -> None:
        """Store what has arrived, acknowledge it, and end."""
        self._ending = True
        self._news.set()
        self._writer.join()
        self._metas.stop()
        self._bridges.stop()
        self._link.stop()
        self._reporter.stop()

    @property
    def link(self) -> LinkState:
        return self._link.state

    def wait_link(self, timeout_s: float) -> LinkState:
        return self._link.wait(timeout_s)

    def report(self) -> Report:
        state = self._link.state
        return Report(
            broker=self._link.address.url,
            connected=state.connected,
            detail=self._trouble or state.detail,
            at_s=time.time(),
            since_s=state.since_s,
            losses=state.losses,
            stored=self.counted["unique"],
            trouble=self._trouble,
            name=self._name,
            notice="; ".join(text for text in (self._keeper.trouble, self._upkeep.trouble) if text),
            holes=self._upkeep.holes,
        )

    def _arrived(self, message: paho.MQTTMessage, arrival_ns: int) -> None:
        item = Message(message.topic, bytes(message.payload), arrival_ns)
        self._inbox.append((self._link.generation, message.mid if message.qos else 0, item))
        if not self._news.is_set():
            self._news.set()
        if len(self._inbox) == _ENOUGH:
            self._enough.set()

    def _retained_arrived(self, message: paho.MQTTMessage, arrival_ns: int) -> None:
        if message.retain or self._share:  # what is published now comes over the other link, unless shared
            self._inbox.append((0, 0, Message(message.topic, bytes(message.payload), arrival_ns)))
            self._news.set()

    def _bridge_arrived(self, message: paho.MQTTMessage, arrival_ns: int) -> None:
        self._inbox.append((0, 0, Message(message.topic, bytes(message.payload), arrival_ns)))
        self._news.set()

    def _run(self) -> None:
        while not (self._ending and not self._inbox):
            self._news.wait(_LOOK_S)
            self._news.clear()
            while self._inbox:
                self._gather()
                taken = [self._inbox.popleft() for _ in range(min(len(self._inbox), _MOST))]
                try:
                    samples, words, damaged = apart([item for _, _, item in taken])
                    if not self._store(samples, damaged):
                        return
                except Exception as error:  # a bug of ours; unacknowledged, they come again
                    self._complain(error, len(taken))
                    time.sleep(_RETRY_S)
                    continue
                self._link.ack([(generation, mid) for generation, mid, _ in taken if mid])
                self._keep(words)
            self._keep([])

    def _gather(self) -> None:
        """Let a burst come together: a commit costs the same for one message as for hundreds."""
        self._enough.clear()
        until, seen = time.monotonic() + _BURST_S, 0
        while seen < len(self._inbox) < _ENOUGH and time.monotonic() < until and not self._ending:
            seen = len(self._inbox)
            self._enough.wait(_LULL_S)

    def _keep(self, words: list[Message]) -> None:
        """Compare, ask and confirm, on what is stored now."""
        if time.monotonic() >= self._look_at and self._archive.is_keeper:
            self._look_at = time.monotonic() + _LOOK_S
            self._upkeep.take_in()
        due = time.monotonic() >= self._tick_at
        if not (words or due) or not self._archive.is_keeper:
            return

        def heed() -> None:
            state = self._link.state
            if state.connected != self._was_up:
                self._was_up = state.connected
                self._keeper.link_changed(state.connected, state.detail)
            self._keeper.heed(words)

        self._upkeep.attempt(heed)
        if due:
            self._tick_at = time.monotonic() + _TICK_S
            self._upkeep.run()
            self._give_up_bridges()

    def _give_up_bridges(self) -> None:
        tried = self._link.state.connected and time.monotonic() > self._give_up_at
        if tried and not self._bridges.was_up:
            self._bridges.stop()
            self._give_up_at = math.inf

    def _say(self, topic: str, payload: bytes, retain: bool) -> None:
        if self._link.state.connected:
            self._link.publish(topic, payload, retain=retain)

    def _store(self, messages: list[Message], damaged: list[Refusal]) -> bool:
        """Commit, trying again while the disk is full; False when stopped before it succeeded."""
        batch = self._sort(messages)
        batch.refusals += damaged
        while True:
            try:
                self._read_again(batch)
                self.counted.update(self._archive.add(batch))
            except Exception as error:  # whatever it is, this thread must live: nothing else stores
                self._complain(error, len(messages))
                if self._ending:
                    return False
                time.sleep(_RETRY_S)
                continue
            if self._trouble:
                log.warning("the archive %s takes data again", self._archive.path)
            self._trouble = ""
            return True

    def _sort(self, messages: list[Message]) -> Batch:
        foreign = [message for message in messages if is_impf(message.topic)]
        if not foreign:
            return self._intake.sort(messages)
        batch = self._intake.sort([message for message in messages if not is_impf(message.topic)])
        other = self._exchange.sort(foreign)
        batch.arrivals += other.arrivals
        batch.refusals += other.refusals
        batch.metas |= other.metas
        return batch

    def _complain(self, error: Exception, count: int) -> None:
        known = isinstance(error, TableError)
        trouble = str(error) if known else f"the archive {self._archive.path} failed: {error!r}"
        if self._trouble != trouble:
            log.error("%s; %d messages wait unacknowledged", trouble, count, exc_info=not known)
        self._trouble = trouble

    def _read_again(self, batch: Batch) -> None:
        """Messages that waited for metadata which this batch brings."""
        if not batch.metas or batch.read_again:  # a commit that failed is being tried again
            return
        waited = [row for topic in batch.metas for row in self._archive.waiting(topic)]
        again = self._intake.sort([Message(one.topic, one.payload, one.arrival_ns) for _, one in waited])
        batch.arrivals += again.arrivals
        batch.refusals += again.refusals
        batch.read_again += [row_id for row_id, _ in waited]
