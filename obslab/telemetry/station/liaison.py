"""What a unit and the archive tell each other: status, ledger and confirmation, wants and blocks.

Nothing here touches the network: the publisher hands over what came and sends what is due.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import obslab
from obslab.errors import MetadataError
from obslab.telemetry import protocol
from obslab.telemetry.protocol import Block, Command, Confirm, Status, Unit, Want
from obslab.telemetry.sample import Stream
from obslab.telemetry.station.answering import History, blocks
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.ledger import LedgerKeeper

log = logging.getLogger(__name__)

_NS = 1_000_000_000
_LEDGER_S, _HURRY_S = 10.0, 1.0
_STATUS_S, _LOOK_S = 60.0, 1.0
_EXPIRE_S = 3600.0
_UNHEARD_S = 120.0
_DAY_S = 86_400.0
_ABS_PER_DAY = 24  # measurements of an irregular stream in a day, at most, for the journal's bound
_WANTS = 16  # questions that wait; an archive asks again for what it did not get

Health = Callable[[], dict[str, Any]]
"""The fields of ``Status`` that the station knows: driver, trouble, paused, disk_free_bytes."""


class Liaison:
    """``confirmed_by`` names the archive whose word frees the journal; it is known by its id after the first.

    ``keep_days`` bounds the journal in days of samples, not in days of a clock, since a clock that jumps
    must not delete anything. ``blocks_bits_per_s`` bounds the blocks where the acknowledgements of the broker
    do not: behind one at the station, whose bridge is the narrow link.
    """

    def __init__(
        self,
        journal: Journal,
        unit: Unit,
        *,
        confirmed_by: str = "main",
        trust_new_archive: bool = False,
        keep_days: float = 30.0,
        blocks_bits_per_s: float | None = None,
        history: History | None = None,
        health: Health = dict,
        on_command: Callable[[Command], None] | None = None,
    ) -> None:
        self.unit, self._journal = unit, journal
        self._confirmed_by, self._keep_days = confirmed_by, keep_days
        self._history, self._health, self._on_command = history, health, on_command
        self._archive_id = None if trust_new_archive else journal.fact("archive")
        self._ledgers = LedgerKeeper(journal)
        self._blocks_bits_per_s, self._block_at_s = blocks_bits_per_s, 0.0
        self._heard: deque[tuple[str, bytes, int]] = deque()
        self._wants: deque[Want] = deque()
        self._answer: Iterator[Block] | None = None
        self._answering: Want | None = None
        self._ledger_at = self._status_at = self._look_at = self._expire_at = 0.0
        self._told: dict[str, Any] | None = None
        self._trouble = ""
        self._heard_s = math.inf  # of the archive
        self._clock: tuple[float, float] | None = None
        self._started_s = time.time()

    @property
    def topics(self) -> tuple[str, ...]:
        """What the unit listens to."""
        return tuple(self.unit.topic(word) for word in (protocol.CONFIRM, protocol.WANT, protocol.COMMAND))

    @property
    def will(self) -> tuple[str, bytes]:
        """What the broker says of the unit when it loses it."""
        return self.unit.topic(protocol.STATUS), protocol.encode(
            Status(journal=self._journal.id, online=False)
        )

    @property
    def archive_known(self) -> bool:
        """Whether an archive has ever confirmed: then it will ask for what it lacks."""
        return self._archive_id is not None

    def connected(self) -> None:
        """A new connection: the archive is to hear how we are, at once."""
        self._heard_s = time.monotonic()
        self._ledger_at = self._status_at = self._look_at = 0.0

    def hear(self, topic: str, payload: bytes, came_ns: int) -> None:
        """From the network's thread: keep it until ``attend``."""
        self._heard.append((topic, payload, came_ns))

    def attend(self) -> None:
        """Obey what came since the last call."""
        while self._heard:
            topic, payload, came_ns = self._heard.popleft()
            try:
                self._obey(Unit.parse(topic)[1], payload, came_ns)
            except MetadataError as error:
                log.warning("passed over, from %s: %s", topic, error.message)

    def due(self, upto: int, link_losses: int, *, hurry: bool = False) -> list[tuple[str, bytes, bool]]:
        """Messages ``(topic, payload, retained)`` that are to be sent now; ``upto`` has had its PUBACK."""
        now_s, messages = time.monotonic(), []
        if now_s >= self._look_at:  # not at each sample: it counts what the journal holds
            self._look_at = now_s + _LOOK_S
            news = self._news()
            if news != self._told or now_s >= self._status_at:
                self._told, self._status_at = news, now_s + _STATUS_S
                status = self._status(news, link_losses)
                messages.append((self.unit.topic(protocol.STATUS), protocol.encode(status), True))
        if now_s - self._heard_s > _UNHEARD_S and self._journal.topics():
            self._heard_s = math.inf  # once for each connection
            log.warning(
                "no archive named %r has answered %s for %d s: is `obslab collect --name %s` running, may "
                "this user write to %s/# (brokers swallow what their access rules forbid)?",
                self._confirmed_by, self.unit, _UNHEARD_S, self._confirmed_by, self.unit.station.lower(),
            )  # fmt: skip
        if now_s >= self._ledger_at:
            self._ledger_at = now_s + (_HURRY_S if hurry else _LEDGER_S)
            ledger = self._ledgers.ledger(upto, time.time_ns())
            messages.append((self.unit.topic(protocol.LEDGER), protocol.encode(ledger), False))
        return messages

    def hurry(self) -> None:
        """Somebody waits for the archive's word: do not let the ledger wait its turn."""
        self._ledger_at = min(self._ledger_at, time.monotonic() + _HURRY_S)

    def next_block(self) -> bytes | None:
        """The next piece of an answer, or None when nobody waits for one, or it is too early."""
        now_s = time.monotonic()
        while now_s >= self._block_at_s:
            if self._answer is None:
                if not self._wants:
                    return None
                self._answering = self._wants.popleft()
                self._answer = blocks(self._answering, self._journal, self._history)
            try:
                block = next(self._answer, None)
            except Exception:  # a damaged day file, say: the others wait for their answers
                log.exception("%s cannot be answered", self._answering)
                block = None
            if block is not None:
                payload = protocol.encode(block)
                if self._blocks_bits_per_s:
                    self._block_at_s = now_s + len(payload) * 8 / self._blocks_bits_per_s
                return payload
            self._answer = None
        return None

    def _obey(self, word: str, payload: bytes, came_ns: int) -> None:
        if word == protocol.CONFIRM:
            self._confirmed(protocol.decode(payload, Confirm), came_ns)
        elif word == protocol.WANT:
            self._take_want(protocol.decode(payload, Want))
        elif word == protocol.COMMAND and self._on_command:
            command = protocol.decode(payload, Command)
            log.warning("%s: asked by %s to %s", self.unit, command.by or "an operator", command.do)
            self._on_command(command)

    def _take_want(self, want: Want) -> None:
        """A newer question replaces an older one for the same hole, which brought nothing in time."""
        if want.journal != self._journal.id:
            return  # asked of a station that has our name
        if self._answering and _same(want, self._answering):
            self._answer = None
        waiting = [other for other in self._wants if not _same(want, other)]
        self._wants = deque([*waiting[: _WANTS - 1], want])

    def _confirmed(self, confirm: Confirm, came_ns: int) -> None:
        if confirm.archive != self._confirmed_by or confirm.journal != self._journal.id:
            return  # of another archive, or of a journal that was here before this one
        if self._archive_id not in (None, confirm.id):
            self._trouble = (
                f"archive {confirm.archive!r} is not the one that confirmed before; nothing is freed for it "
                "(start once with --trust-new-archive if it replaces that one)"
            )
            return
        if self._archive_id is None:
            self._journal.set_fact("archive", confirm.id)
        self._archive_id, self._trouble, self._heard_s = confirm.id, "", time.monotonic()
        if confirm.ledger_sent_ns:
            there_ns = confirm.sent_ns - confirm.ledger_came_ns
            round_trip_s = (came_ns - confirm.ledger_sent_ns - there_ns) / _NS
            ahead_ns = (confirm.ledger_sent_ns - confirm.ledger_came_ns) + (came_ns - confirm.sent_ns)
            if 0 <= round_trip_s < _LEDGER_S:  # else the clock was set in between, or it is a retained one
                self._clock = ahead_ns / 2 / _NS, round_trip_s
        freed = self._journal.confirm(confirm.marks)
        if freed and self._journal.topics():
            self.hurry()  # more pages may follow those that are done now

    def bound(self) -> None:
        """Hold the journal to its days, whether there is a link or not; call it often, it acts hourly."""
        if time.monotonic() < self._expire_at:
            return
        self._expire_at = time.monotonic() + _EXPIRE_S
        for topic in self._journal.topics():
            try:
                stream = Stream.parse(topic)
                per_day = _DAY_S / (stream.cadence_s * stream.block) or _ABS_PER_DAY
            except ValueError:
                per_day = _DAY_S
            gone = self._journal.expire(topic, max(1, round(self._keep_days * per_day)))
            if gone:
                log.error(
                    "journal %s holds its %g days: %d messages of %s went unconfirmed",
                    self._journal.folder, self._keep_days, gone.n, topic,
                )  # fmt: skip

    def _news(self) -> dict[str, Any]:
        """What an archive or an operator is to hear of at once, not within a minute."""
        known = self._health()
        return {
            "trouble": known.get("trouble") or self._trouble,
            "paused": known.get("paused", False),
            "driver": known.get("driver", ""),
            "streams": tuple(sorted({*self._journal.topics(), *self._journal.confirmed()})),
        }

    def _status(self, news: dict[str, Any], link_losses: int) -> Status:
        entries, size, oldest_ns = self._journal.extent()
        offset_s, round_trip_s = self._clock or (None, None)
        return Status(
            journal=self._journal.id,
            at_s=time.time(),
            started_s=self._started_s,
            journal_entries=entries,
            journal_bytes=size,
            journal_oldest_s=oldest_ns / _NS if oldest_ns is not None else None,
            expired=self._journal.expired(),
            disk_free_bytes=self._health().get("disk_free_bytes"),
            clock_offset_s=offset_s,
            round_trip_s=round_trip_s,
            link_losses=link_losses,
            version=obslab.__version__,
            **news,
        )


def _same(want: Want, other: Want) -> bool:
    """Whether two are questions for one hole; an answer moves its beginning, not its end."""
    return (want.archive, want.topic, want.end_ns) == (other.archive, other.topic, other.end_ns)
