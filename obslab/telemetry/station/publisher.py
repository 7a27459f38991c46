"""Sends what the journal holds, in order, at QoS 1, over a link that may come and go.

Live samples go first. A backlog that would hold them up is left to the archive, which finds in the
ledger what it lacks and gets it in packed blocks, a few at a time.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Protocol

import paho.mqtt.client as paho

from obslab.config import Broker
from obslab.telemetry.broker.link import Link, LinkState
from obslab.telemetry.protocol import BLOCK
from obslab.telemetry.sample import encode_meta
from obslab.telemetry.station.journal import Entry, Journal
from obslab.telemetry.station.liaison import Liaison

log = logging.getLogger(__name__)

_WINDOW = 500  # messages handed to paho and not yet acknowledged; the rest waits on disk
_REWIND = 1200  # sent again when the broker lost its state: ten minutes of two instruments at 1 Hz
_BACKLOG = 300  # what a link of 56 kbit/s takes in three seconds; more goes in blocks, in a tenth of the time
_RECENT = 60  # of such a backlog, what goes as single messages all the same
_BLOCKS = 2  # in flight: enough to fill a satellite link, and a live sample waits behind no more
_MARK_S = 1.0  # how often the watermark is written, and the longest sleep
_MEET_S = 3.0
_LAST_S = 1.0
_HELD_S = 0.02  # how soon a message held back is looked at again

Release = Callable[[Entry], bool]


class Rendering(Protocol):
    """Makes topic and payload of an entry, or None when there is nothing to send."""

    def __call__(self, entry: Entry) -> tuple[str, bytes] | None: ...
    def refresh(self) -> None:
        """The metadata changed."""
        ...


class AsRecorded:
    """Entries go as they are, in the binary format that the archive confirms."""

    def __call__(self, entry: Entry) -> tuple[str, bytes]:
        return entry.topic, entry.payload

    def refresh(self) -> None:
        return None


class Publisher:
    """One thread between a journal and a broker.

    ``release`` says whether an entry may go yet: a simulated satellite holds it back. ``rendering`` makes
    another format of the entries. A message may be sent twice; the archive takes it once.
    """

    def __init__(
        self,
        journal: Journal,
        address: Broker,
        liaison: Liaison,
        *,
        release: Release | None = None,
        rendering: Rendering | None = None,
    ) -> None:
        self._journal, self._liaison, self._release = journal, liaison, release
        self._rendering: Rendering = rendering or AsRecorded()
        # Who takes another format is not one of our archives: it neither confirms nor asks.
        self._talks = rendering is None
        unit = liaison.unit
        self._link = Link(
            address,
            f"obslab-station-{unit.station.lower()}-{unit.name}-{journal.id}",
            topics=liaison.topics if self._talks else (),
            on_message=self._heard,
            on_up=self._up,
            on_published=self._acknowledged,
            clean_session=False,
            will=liaison.will if self._talks else None,
        )
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._ending = self._finishing = False
        self._handed = journal.acknowledged()
        self._early: set[int] = set()  # message ids acknowledged before publish() had returned them
        self._outstanding: dict[int, int] = {}  # message id -> seq
        self._blocks: set[int] = set()  # those of them that are blocks
        self._metas_due = True
        self._rewind_due = self._up_due = False
        self._thread = threading.Thread(target=self._run, name="obslab-publisher", daemon=True)

    def start(self) -> None:
        self._link.start()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what cannot be sent at once stays in the journal for the next start."""
        until_s = time.monotonic() + _LAST_S
        while self._link.state.connected and self.unsent() and time.monotonic() < until_s:
            time.sleep(_HELD_S)
        self._ending = True
        self._news.set()
        self._thread.join()
        if self._talks and self._link.state.connected:  # else the broker says it for us
            self._link.publish(*self._liaison.will, retain=True)
        self._link.stop()
        self._journal.acknowledge(self._watermark())

    def wake(self) -> None:
        """The journal has news."""
        self._news.set()

    def wake_metas(self) -> None:
        """The metadata changed: publish it before what follows."""
        self._metas_due = True
        self._news.set()

    @property
    def link(self) -> LinkState:
        return self._link.state

    def wait_link(self, timeout_s: float) -> LinkState:
        return self._link.wait(timeout_s)

    def unsent(self) -> int:
        """Entries that no broker has acknowledged yet."""
        return self._journal.last_seq() - self._watermark()

    def undelivered(self) -> int:
        """Entries that the archive has not confirmed or, before one ever has, no broker acknowledged."""
        confirmed = self._talks and self._liaison.archive_known
        return self._journal.extent()[0] if confirmed else self.unsent()

    def wait_delivered(self, timeout_s: float, ending: threading.Event) -> bool:
        """Whether everything was delivered within the time, or until ``ending``.

        Where no archive has ever confirmed, one gets a moment to do so after the broker has everything.
        """
        end = time.monotonic() + timeout_s
        met_by = math.inf
        self._finishing = True
        while time.monotonic() < end and not ending.is_set():
            self._liaison.hurry()
            known = self._liaison.archive_known or not self._talks
            if not self.undelivered():
                met_by = min(met_by, time.monotonic() + _MEET_S)
                if known or time.monotonic() >= met_by:
                    return True
            ending.wait(0.05)
        return not self.undelivered()

    # ---- paho's thread

    def _up(self, session_present: bool) -> None:
        self._metas_due = self._up_due = True  # brokers lose retained messages
        # The broker forgot us, so it may have forgotten what it acknowledged but not passed on; that was
        # perhaps while we were not running.
        self._rewind_due = not session_present
        self._news.set()

    def _heard(self, message: paho.MQTTMessage, came_ns: int) -> None:
        self._liaison.hear(message.topic, bytes(message.payload), came_ns)
        self._news.set()

    def _acknowledged(self, mid: int) -> None:
        with self._lock:
            self._blocks.discard(mid)
            if self._outstanding.pop(mid, None) is None:
                self._early.add(mid)
        self._news.set()

    # ---- the publisher's thread

    def _run(self) -> None:
        marked, marked_at, held, trouble = self._journal.acknowledged(), 0.0, False, ""
        while not self._ending:
            self._news.wait(_HELD_S if held else _MARK_S)
            self._news.clear()
            try:
                self._liaison.attend()
                self._liaison.bound()
                held = self._link.state.connected and self._send()
                mark = self._watermark()
                if mark != marked and time.monotonic() > marked_at + _MARK_S:  # each costs a sync of the disk
                    self._journal.acknowledge(mark)
                    if not self._talks:  # nobody else's word will come
                        self._journal.confirm(dict.fromkeys(self._journal.topics(), mark))
                    marked, marked_at = mark, time.monotonic()
                trouble = ""
            except Exception as error:  # a full disk, say: tried again at the next round, told once
                if str(error) != trouble:
                    log.exception("publishing from %s failed; trying again", self._journal.folder)
                trouble = str(error)

    def _send(self) -> bool:
        """Hand over all that may go, live samples first; True when something is held back."""
        if self._up_due:
            self._up_due = False
            self._liaison.connected()
            self._leave_backlog()
        if self._rewind_due:
            self._rewind()
        held = self._send_entries()
        if self._talks and not getattr(self._release, "closed", False):
            self._send_words()
        return held

    def _send_entries(self) -> bool:
        while (room := _WINDOW - len(self._outstanding)) > 0:
            entries = self._journal.after(self._handed, room)
            if self._metas_due:  # asked after the entries were read: their metadata are never newer
                self._send_metas()
            if not entries:
                return False
            for entry in entries:
                if self._ending or self._rewind_due or (self._release and not self._release(entry)):
                    return True
                rendered = self._rendering(entry)
                if rendered:
                    self._hand(*rendered, entry.seq, retain=False)
                else:
                    with self._lock:
                        self._handed = entry.seq
        return False

    def _send_metas(self) -> None:
        self._metas_due = False
        self._rendering.refresh()
        if not self._talks:
            return
        for topic, versions in self._journal.metas().items():
            self._hand(topic, encode_meta(versions), None, retain=True)

    def _send_words(self) -> None:
        due = self._liaison.due(self._watermark(), self._link.state.losses, hurry=self._finishing)
        for topic, payload, retain in due:
            self._hand(topic, payload, None, retain=retain)
        while len(self._blocks) < _BLOCKS and (block := self._liaison.next_block()):
            self._hand(self._liaison.unit.topic(BLOCK), block, None, retain=False, is_block=True)

    def _leave_backlog(self) -> None:
        last = self._journal.last_seq()
        left = last - _RECENT - self._handed
        if self._liaison.archive_known and left > _BACKLOG - _RECENT:
            log.warning("%d messages wait; they go in blocks, behind the live samples", left)
            with self._lock:
                self._handed = last - _RECENT

    def _rewind(self) -> None:
        self._rewind_due = False
        if self._liaison.archive_known:  # it sees in the ledger what it lacks
            return
        with self._lock:
            mark = self._watermark_locked()
            self._handed = max(0, mark - _REWIND)
        if mark:
            log.warning(
                "the broker does not know us (any more); sending its last %d again", mark - self._handed
            )

    def _hand(
        self, topic: str, payload: bytes, seq: int | None, *, retain: bool, is_block: bool = False
    ) -> None:
        mid = self._link.publish(topic, payload, retain=retain)
        with self._lock:
            if seq is not None:
                self._handed = seq
            if mid in self._early:
                self._early.discard(mid)
            else:
                self._outstanding[mid] = seq if seq is not None else self._handed + 1
                if is_block:
                    self._blocks.add(mid)

    def _watermark(self) -> int:
        with self._lock:
            return self._watermark_locked()

    def _watermark_locked(self) -> int:
        return min(self._outstanding.values(), default=self._handed + 1) - 1
