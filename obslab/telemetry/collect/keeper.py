"""Finds what the archive lacks, asks for it, and confirms to the stations what is stored.

A unit's ledger says what its journal holds; a page that the archive has, by number and checksum, is
confirmed and freed over there. What it lacks becomes a *hole*, as does a gap found in the archive itself;
holes are asked for one after the other, and end as filled or as lost at source.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from obslab.errors import MetadataError, ObslabError, TopicError
from obslab.telemetry import protocol
from obslab.telemetry.archive.book import ClockReading, Event
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.collect.asking import GAP, Questions
from obslab.telemetry.collect.comparing import Comparison, joined
from obslab.telemetry.collect.intake import FUTURE_S, Message
from obslab.telemetry.collect.words import SYSTEM
from obslab.telemetry.protocol import Block, Confirm, Ledger, Status, Unit
from obslab.telemetry.sample import Stream

log = logging.getLogger(__name__)

_NS = 1_000_000_000
_SCAN_S = 60.0
_SCAN_STEP_NS = 86_400 * _NS
_LOOK_BACK_NS = 30 * _SCAN_STEP_NS
_NOTICE_S = 300.0
_CLOCK_NS = 300 * _NS  # one reading of a unit's clock in five minutes: 10 MB in a year
_MARGIN_NS = 60 * _NS  # of a stream's newest samples, which the ledger looks after

Publish = Callable[[str, bytes, bool], None]


@dataclass
class _Peer:
    """A unit as the keeper knows it."""

    unit: Unit
    questions: Questions
    journal: str = ""
    online: bool = False
    streams: set[str] = field(default_factory=set)
    ledger: Ledger | None = None
    ledger_came_ns: int = 0
    clock_again_ns: int = 0
    earlier: set[str] = field(default_factory=set)
    comparison: Comparison = field(default_factory=Comparison)

    def own(self, topics: Iterable[str]) -> set[str]:
        """Those of its station: nobody speaks for another."""
        return {topic for topic in topics if protocol.same_station(self.unit.topic(""), topic)}


class Keeper:
    """Works on the collector's writer thread, after each commit: ``heed`` what came, then ``tick``.

    ``confirms`` is false for an archive that follows: it fills its own gaps, but frees nobody's journal.
    """

    def __init__(self, archive: Archive, name: str, publish: Publish, *, confirms: bool = True) -> None:
        self._archive, self._book = archive, archive.book
        self._name, self._publish, self._confirms = name, publish, confirms
        self._peers: dict[Unit, _Peer] = {}
        self._scanned_ns: dict[Stream, int] = {}
        self._scan_at_s = 0.0
        self.notices: dict[Unit, tuple[str, float]] = {}
        for unit_name, (journal, _, _) in self._book.units().items():
            peer = self._peer(Unit(*unit_name.split(" ", 1)))
            peer.journal, peer.streams = journal, set(self._book.marks(journal))

    def heed(self, words: Iterable[Message]) -> None:
        """Act on words whose samples are stored."""
        for message in words:
            try:
                if message.topic.startswith(SYSTEM):
                    self._note_bridge(message)
                    continue
                unit, word = Unit.parse(message.topic)
                if word == protocol.STATUS:
                    self._note_status(self._peer(unit), protocol.decode(message.payload, Status), message)
                elif word == protocol.LEDGER:
                    ledger = protocol.decode(message.payload, Ledger)
                    self._take_ledger(self._peer(unit), ledger, message.arrival_ns)
                elif word == protocol.BLOCK:
                    self._take_block(self._peer(unit), protocol.decode(message.payload, Block))
            except (MetadataError, TopicError) as error:
                log.warning("passed over, from %s: %s", message.topic, error.message)

    def tick(self) -> None:
        """What is due now and then: look again, ask, find gaps."""
        now_s = time.monotonic()
        for peer in self._peers.values():
            if peer.comparison.overdue(now_s):
                self._examine(peer)
            peer.questions.give_up_slow(now_s)
            if peer.online:
                peer.questions.ask(peer.streams, peer.journal)
        if now_s >= self._scan_at_s:
            self._scan_at_s = now_s + (_SCAN_S if self._scan() else 0.0)

    def link_changed(self, up: bool, detail: str) -> None:
        """The collector's own link to its broker: a new one needs the confirmations again."""
        self._book.note(Event(time.time_ns(), "broker", self._name, up, detail))
        for peer in self._peers.values():
            peer.questions.forget()
            if up and peer.journal:
                self._confirm(peer)

    @property
    def trouble(self) -> str:
        """One line for people, empty when all is well, or has been for some minutes."""
        now_s = time.monotonic()
        return "; ".join(text for text, at_s in self.notices.values() if now_s - at_s < _NOTICE_S)

    def ask_again(self, topic: str, begin_ns: int, end_ns: int) -> None:
        """Somebody wants this interval asked for, even if it was given up as lost."""
        self._book.add_hole(topic, begin_ns, end_ns, "asked by hand", time.time_ns(), again=True)

    def holes_left(self) -> int:
        """How many holes are not filled, nor given up as lost."""
        return len(self._book.holes(states=("open", "asked")))

    def _peer(self, unit: Unit) -> _Peer:
        peer = self._peers.get(unit)
        if peer is None:
            topic = unit.topic(protocol.WANT)
            questions = Questions(
                self._archive, self._name, lambda want: self._publish(topic, protocol.encode(want), False)
            )
            peer = self._peers[unit] = _Peer(unit, questions)
        return peer

    # ---- what is said

    def _note_bridge(self, message: Message) -> None:
        name = message.topic.removeprefix(SYSTEM).removeprefix("broker/connection/").rpartition("/")[0]
        up = message.payload.strip() == b"1"
        self._book.note(Event(message.arrival_ns, "bridge", name, up))

    def _note_status(self, peer: _Peer, status: Status, message: Message) -> None:
        self._check_journal(peer, status.journal)
        peer.streams |= peer.own(status.streams)
        if status.online and not peer.online:
            peer.questions.forget()
        peer.online = status.online
        name, payload = str(peer.unit), message.payload
        known = self._book.units().get(name)
        if not status.online and known:  # the will says nothing else: keep what was said in life
            last = msgspec.structs.replace(protocol.decode(known[1], Status), online=False)
            payload = protocol.encode(last)
        self._book.keep_unit(name, status.journal, payload, message.arrival_ns)
        self._book.note(Event(message.arrival_ns, "link", name, status.online))
        if not status.online:
            return
        self._book.note(Event(message.arrival_ns, "driver", name, not status.trouble, status.trouble))
        if status.clock_offset_s is not None and message.arrival_ns >= peer.clock_again_ns:
            peer.clock_again_ns = message.arrival_ns + _CLOCK_NS
            reading = ClockReading(
                name, message.arrival_ns, status.clock_offset_s, status.round_trip_s or 0.0
            )
            self._book.add_clock(reading)

    def _check_journal(self, peer: _Peer, journal: str) -> None:
        """One unit has one journal; two that take turns are two stations with one name."""
        if journal == peer.journal:
            return
        if journal in peer.earlier:
            if peer.unit not in self.notices:
                log.error("two stations publish as %s: journals %s and %s", peer.unit, peer.journal, journal)
            self.notices[peer.unit] = (
                f"two stations publish as {peer.unit} (journals {peer.journal} and {journal}); "
                "stop one, or give it another --unit",
                time.monotonic(),
            )
        if peer.journal:
            peer.earlier.add(peer.journal)
        peer.journal, peer.ledger, peer.comparison = journal, None, Comparison()
        peer.questions.forget()

    def _take_ledger(self, peer: _Peer, ledger: Ledger, came_ns: int) -> None:
        self._check_journal(peer, ledger.journal)
        peer.online = True
        if strange := set(ledger.pages) - peer.own(ledger.pages):
            raise TopicError(f"{peer.unit} lists streams of another station: {', '.join(sorted(strange))}")
        peer.streams |= set(ledger.pages)
        peer.ledger, peer.ledger_came_ns = ledger, came_ns
        self._examine(peer)
        self._confirm(peer)

    def _take_block(self, peer: _Peer, block: Block) -> None:
        if block.journal != peer.journal:
            return  # of another station with this name; its samples are stored, it answers nothing
        complete = peer.questions.advance(block)
        if complete is None:
            return
        if peer.ledger is not None:
            if not self._clocks_differ(peer):
                peer.comparison.settle(*complete)
            self._examine(peer)
            self._confirm(peer)
        peer.questions.ask(peer.streams, peer.journal)

    # ---- comparing and confirming

    def _examine(self, peer: _Peer) -> None:
        if peer.ledger is None:
            return
        marks = self._book.marks(peer.journal)
        moved, wanted = peer.comparison.look(
            self._archive, peer.ledger, marks, time.monotonic(), self._is_asked
        )
        for topic, begin_ns, end_ns in wanted:
            self._book.add_hole(topic, begin_ns, end_ns, "not received", time.time_ns(), again=True)
        if moved:
            self._book.set_marks(peer.journal, moved)

    def _is_asked(self, topic: str, begin_ns: int, end_ns: int) -> bool:
        under_way = self._book.holes(topic, begin_ns, end_ns, ("open", "asked"))
        return any(hole.why != GAP for hole in under_way)

    def _clocks_differ(self, peer: _Peer) -> bool:
        """Whether all that a unit sends would be refused as from the future: then nothing is given up for it.

        Either clock may be the wrong one; the journal keeps the samples until they agree again.
        """
        if peer.ledger is None:
            return False
        ahead_s = (peer.ledger.sent_ns - peer.ledger_came_ns) / _NS
        if ahead_s > FUTURE_S / 2:
            self.notices[peer.unit] = (
                f"the clock of {peer.unit} is {ahead_s:.0f} s ahead of ours: its samples are refused and "
                "stay in its journal; set the clock that is wrong",
                time.monotonic(),
            )
        return ahead_s > FUTURE_S / 2

    def _confirm(self, peer: _Peer) -> None:
        if not self._confirms:
            return
        ledger = peer.ledger
        word = Confirm(
            archive=self._name,
            id=self._archive.id,
            journal=peer.journal,
            marks=self._book.marks(peer.journal),
            ledger_sent_ns=ledger.sent_ns if ledger else 0,
            ledger_came_ns=peer.ledger_came_ns,
            sent_ns=time.time_ns(),
        )
        self._publish(peer.unit.topic(protocol.CONFIRM), protocol.encode(word), True)

    # ---- gaps of the archive itself

    def _scan(self) -> bool:
        """Look for gaps, a day of each stream at a time; whether all has been looked at for now."""
        served = {topic for peer in self._peers.values() if peer.online for topic in peer.streams}
        listed_ns = {
            topic: pages[0].begin_ns
            for peer in self._peers.values()
            if peer.ledger
            for topic, pages in peer.ledger.pages.items()
        }
        done = True
        for stream in self._archive.streams():
            if stream.topic not in served:
                continue
            try:
                done = self._scan_stream(stream, listed_ns) and done
            except ObslabError as error:  # a damaged day: it will be set aside, and be a hole
                log.warning("gaps of %s are not looked for now: %s", stream, error.message)
        return done

    def _scan_stream(self, stream: Stream, listed_ns: dict[str, int]) -> bool:
        span = self._archive.span(stream)
        if span is None:
            return True
        newest_ns = min(span[1] - _MARGIN_NS, listed_ns.get(stream.topic, span[1]))
        begin_ns = self._scanned_ns.get(stream, max(span[0], newest_ns - _LOOK_BACK_NS))
        end_ns = min(newest_ns, begin_ns + _SCAN_STEP_NS)
        if end_ns <= begin_ns:
            return True
        for gap_begin_ns, gap_end_ns in joined(self._archive.missing(stream, begin_ns, end_ns)):
            self._book.add_hole(stream.topic, gap_begin_ns, gap_end_ns, GAP, time.time_ns())
        self._scanned_ns[stream] = end_ns
        return end_ns == newest_ns
