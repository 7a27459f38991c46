"""Sends what the journal holds, in order, at QoS 1, over a link that may come and go."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from obslab.config import Broker
from obslab.telemetry.broker.link import Link, LinkState
from obslab.telemetry.sample import encode_meta
from obslab.telemetry.station.journal import Entry, Journal

log = logging.getLogger(__name__)

_WINDOW = 500  # messages handed to paho and not yet acknowledged; the rest waits on disk
_REWIND = 1200  # sent again when the broker lost its state: ten minutes of two instruments at 1 Hz
_MARK_S = 1.0  # how often the watermark is written, and the longest sleep
_HELD_S = 0.02  # how soon a message held back is looked at again

Release = Callable[[Entry], bool]


class Publisher:
    """One thread between a journal and a broker.

    ``release`` says whether an entry may go yet: a simulated satellite holds it back. Nothing is
    freed here, and a message may be sent twice; the archive takes it once.
    """

    def __init__(
        self, journal: Journal, address: Broker, client_id: str, *, release: Release | None = None
    ) -> None:
        self._journal, self._release = journal, release
        self._link = Link(
            address, client_id, on_up=self._up, on_published=self._acknowledged, clean_session=False
        )
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._ending = False
        self._handed = journal.acknowledged()
        self._early: set[int] = set()  # message ids acknowledged before publish() had returned them
        self._outstanding: dict[int, int] = {}  # message id -> seq
        self._metas_due = True
        self._rewind_due = False
        self._thread = threading.Thread(target=self._run, name="obslab-publisher", daemon=True)

    def start(self) -> None:
        self._link.start()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what has not been sent stays in the journal for the next start."""
        self._ending = True
        self._news.set()
        self._thread.join()
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

    def wait_sent(self, timeout_s: float, ending: threading.Event) -> bool:
        """Whether everything was acknowledged by the broker within the time, or until ``ending``."""
        end = time.monotonic() + timeout_s
        while self.unsent() and time.monotonic() < end and not ending.is_set():
            ending.wait(0.05)
        return not self.unsent()

    # ---- paho's thread

    def _up(self, session_present: bool) -> None:
        self._metas_due = True  # brokers lose retained messages
        # The broker forgot us, so it may have forgotten what it acknowledged but not passed on; that was
        # perhaps while we were not running.
        self._rewind_due = not session_present
        self._news.set()

    def _acknowledged(self, mid: int) -> None:
        with self._lock:
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
                held = self._link.state.connected and self._send()
                mark = self._watermark()
                if mark != marked and time.monotonic() > marked_at + _MARK_S:  # each costs a sync of the disk
                    self._journal.acknowledge(mark)
                    marked, marked_at = mark, time.monotonic()
                trouble = ""
            except Exception as error:  # a full disk, say: tried again at the next round, told once
                if str(error) != trouble:
                    log.exception("publishing from %s failed; trying again", self._journal.folder)
                trouble = str(error)

    def _send(self) -> bool:
        """Hand over all that may go; True when something is held back."""
        if self._metas_due:
            self._metas_due = False
            for topic, versions in self._journal.metas().items():
                self._hand(topic, encode_meta(versions), None, retain=True)
        if self._rewind_due:
            self._rewind()
        while (room := _WINDOW - len(self._outstanding)) > 0:
            entries = self._journal.after(self._handed, room)
            if not entries:
                return False
            for entry in entries:
                if self._ending or self._rewind_due or (self._release and not self._release(entry)):
                    return True
                self._hand(entry.topic, entry.payload, entry.seq, retain=False)
        return False

    def _rewind(self) -> None:
        self._rewind_due = False
        with self._lock:
            mark = self._watermark_locked()
            self._handed = max(0, mark - _REWIND)
        if mark:
            log.warning(
                "the broker does not know us (any more); sending its last %d again", mark - self._handed
            )

    def _hand(self, topic: str, payload: bytes, seq: int | None, *, retain: bool) -> None:
        mid = self._link.publish(topic, payload, retain=retain)
        with self._lock:
            if seq is not None:
                self._handed = seq
            if mid in self._early:
                self._early.discard(mid)
            else:
                self._outstanding[mid] = seq if seq is not None else self._handed + 1

    def _watermark(self) -> int:
        with self._lock:
            return self._watermark_locked()

    def _watermark_locked(self) -> int:
        return min(self._outstanding.values(), default=self._handed + 1) - 1
