"""Takes what arrives at a broker into an archive; acknowledges only what is on disk.

paho's thread puts messages into an inbox; one writer thread takes all there is, decodes it stream by
stream, commits, and only then acknowledges. Killed at any moment, it gets again what it had not
acknowledged, and the archive takes each sample once.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path

import paho.mqtt.client as paho

from obslab.config import Broker
from obslab.errors import TableError
from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.broker.link import Link, LinkState
from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.sample import META

log = logging.getLogger(__name__)

_REPORT = "collector.json"
_REPORT_S = 1.0
_RETRY_S = 2.0
_LULL_S = 0.002  # a burst has ended when nothing came for so long, or after _BURST_S
_BURST_S = 0.02
_ENOUGH = 50  # half of what iotcore (rumqttd 0.20) sends before it waits for an acknowledgement
_MOST = 5000  # messages in one commit: bounds memory, and the time until a reader sees them


@dataclass(frozen=True)
class Report:
    """What a running collector says of itself once a second, in ``collector.json`` in the archive."""

    broker: str
    connected: bool
    detail: str
    at_s: float
    since_s: float
    losses: int
    stored: int = 0
    trouble: str = ""
    pid: int = field(default_factory=os.getpid)


class Collector:
    """One connection, one writer thread, one archive opened for writing.

    A full disk stops nothing but the writing: messages stay unacknowledged at the broker, and the
    writer tries again until there is space.
    """

    def __init__(self, archive: Archive, address: Broker, topics: tuple[str, ...] = ("#",)) -> None:
        self._archive = archive
        self._intake = Intake(archive.all_metas())
        self._inbox: deque[tuple[int, int, Message]] = deque()
        self._news, self._enough = threading.Event(), threading.Event()
        self._ending = False
        self._trouble = self._report_trouble = ""
        self.counted: Counter[str] = Counter()
        # The session at the broker keeps what comes while we are away; it belongs to the archive.
        self._link = Link(
            address,
            f"obslab-collector-{archive.id}",
            topics=topics,
            on_message=self._arrived,
            clean_session=False,
            manual_ack=True,
        )
        # iotcore gives retained messages once in a session: killed before it had stored them, a collector
        # would read no sample until the station comes again. A session of their own always gets them.
        self._metas = Link(
            address,
            f"obslab-metadata-{archive.id}",
            topics=(f"+/+/{META}",),
            on_message=self._metadata_arrived,
            quiet=True,
        )
        self._writer = threading.Thread(target=self._run, name="obslab-collector", daemon=True)
        self._reporter = threading.Thread(target=self._report_on, name="obslab-report", daemon=True)

    def start(self) -> None:
        self._writer.start()
        self._reporter.start()
        self._link.start()
        self._metas.start()

    def stop(self) -> None:
        """Store what has arrived, acknowledge it, and end."""
        self._ending = True
        self._news.set()
        self._writer.join()
        self._metas.stop()
        self._link.stop()
        self._write_report()

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
        )

    def _arrived(self, message: paho.MQTTMessage, arrival_ns: int) -> None:
        item = Message(message.topic, bytes(message.payload), arrival_ns)
        self._inbox.append((self._link.generation, message.mid if message.qos else 0, item))
        if not self._news.is_set():
            self._news.set()
        if len(self._inbox) == _ENOUGH:
            self._enough.set()

    def _metadata_arrived(self, message: paho.MQTTMessage, arrival_ns: int) -> None:
        if message.retain:  # what is published now comes over the other link
            self._inbox.append((0, 0, Message(message.topic, bytes(message.payload), arrival_ns)))
            self._news.set()

    def _run(self) -> None:
        while not (self._ending and not self._inbox):
            self._news.wait(_REPORT_S)
            self._news.clear()
            while self._inbox:
                self._gather()
                taken = [self._inbox.popleft() for _ in range(min(len(self._inbox), _MOST))]
                if not self._store([item for _, _, item in taken]):
                    return
                self._link.ack([(generation, mid) for generation, mid, _ in taken if mid])

    def _gather(self) -> None:
        """Let a burst come together: a commit costs the same for one message as for hundreds."""
        self._enough.clear()
        until, seen = time.monotonic() + _BURST_S, 0
        while seen < len(self._inbox) < _ENOUGH and time.monotonic() < until and not self._ending:
            seen = len(self._inbox)
            self._enough.wait(_LULL_S)

    def _store(self, messages: list[Message]) -> bool:
        """Commit, trying again while the disk is full; False when stopped before it succeeded."""
        batch = self._intake.sort(messages)
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

    def _report_on(self) -> None:
        while not self._ending:
            self._write_report()
            time.sleep(_REPORT_S)

    def _write_report(self) -> None:
        file = self._archive.path / _REPORT
        draft = file.with_suffix(".new")
        try:
            draft.write_text(json.dumps(asdict(self.report())))
            draft.replace(file)  # a reader sees the old one or the new one, never half
            self._report_trouble = ""
        except OSError as error:
            if str(error) != self._report_trouble:  # once, not every second
                log.warning("%s cannot be written: %s", file, error)
            self._report_trouble = str(error)


def read_report(archive: Path) -> Report | None:
    """What the archive's collector last said; None when there never was one."""
    try:
        return Report(**json.loads((archive / _REPORT).read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None
