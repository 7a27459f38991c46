"""Asks one unit for holes, one or two at a time, and follows its answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from obslab.errors import ObslabError
from obslab.telemetry.archive.book import Hole
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.collect.comparing import joined
from obslab.telemetry.protocol import Block, Want
from obslab.telemetry.sample import Stream

_PATIENCE_S = 30.0  # without a block; then the question is asked again, from where the answer stopped
_QUESTIONS = 2  # to one unit at a time, so that the link does not stand idle in between

GAP = "gap"  # why there is a hole: it shows in the archive itself
LOST = "lost at source"
REFUSED = "refused when it came, see the rejected messages"
Send = Callable[[Want], None]


@dataclass
class _Question:
    """A hole as it was asked for; ``hole.begin_ns`` moves on with the answer."""

    hole: Hole
    begin_ns: int
    heard_s: float


class Questions:
    """The questions that one unit has not answered to the end."""

    def __init__(self, archive: Archive, name: str, send: Send) -> None:
        self._archive, self._book, self._name, self._send = archive, archive.book, name, send
        self._slow: dict[int, tuple[int, float]] = {}  # hole -> how often in vain, when next
        self._open: dict[str, _Question] = {}
        self._count = 0

    def forget(self) -> None:
        """The link was lost: nobody knows which words arrived. The holes are asked for again."""
        self._open.clear()

    def give_up_slow(self, now_s: float) -> None:
        """Forget what brought nothing for so long; each time in vain the pause doubles, others go first."""
        for name, one in list(self._open.items()):
            if now_s - one.heard_s > _PATIENCE_S:
                del self._open[name]
                times = self._slow.get(one.hole.id, (0, 0.0))[0] + 1
                self._slow[one.hole.id] = times, now_s + _PATIENCE_S * (2 ** min(times, 6) - 2)

    def ask(self, topics: Iterable[str], journal: str) -> None:
        """Ask for the oldest holes of these streams, as many as may be under way."""
        busy = {question.hole.id for question in self._open.values()}
        if len(busy) >= _QUESTIONS:
            return
        for hole in self._book.holes(states=("open", "asked")):
            if hole.id in busy or hole.topic not in topics or self._is_slow(hole) or self._is_filled(hole):
                continue
            if hole.state == "open":
                hole = self._book.set_hole(hole, time.time_ns(), state="asked")
            self._count += 1
            want = Want(
                id=f"{self._archive.id[:6]}-{hole.id}-{self._count}",
                archive=self._name,
                journal=journal,
                topic=hole.topic,
                begin_ns=hole.begin_ns,
                end_ns=hole.end_ns,
            )
            self._open[want.id] = _Question(hole, hole.begin_ns, time.monotonic())
            self._send(want)
            busy.add(hole.id)
            if len(busy) >= _QUESTIONS:
                return

    def _is_slow(self, hole: Hole) -> bool:
        return time.monotonic() < self._slow.get(hole.id, (0, 0.0))[1]

    def _is_filled(self, hole: Hole) -> bool:
        """Whether a gap has closed by itself: with the answer to a wider question, or late samples."""
        try:
            if hole.why != GAP or self._archive.missing(Stream.parse(hole.topic), hole.begin_ns, hole.end_ns):
                return False
        except ObslabError:  # a damaged day, which is to be filled
            return False
        self._book.set_hole(hole, time.time_ns(), state="filled")
        return True

    def advance(self, block: Block) -> tuple[str, int, int] | None:
        """Note a block that is stored; topic, begin and end of the interval when its answer is complete.

        Only a block that joins on counts: one between may have been lost with its broker.
        """
        for other in self._open.values():
            other.heard_s = time.monotonic()  # the unit is at work; these wait their turn
        question = self._open.get(block.want)
        if question is None or block.begin_ns != question.hole.begin_ns:
            return None
        count = int.from_bytes(block.packed[3:7], "little") if block.packed else 0
        question.hole = self._book.set_hole(
            question.hole, time.time_ns(), begin_ns=block.end_ns, filled=question.hole.filled + count
        )
        if not block.last:
            return None
        del self._open[block.want]
        self._slow.pop(question.hole.id, None)
        self._close(question)
        return question.hole.topic, question.begin_ns, question.hole.end_ns

    def _close(self, question: _Question) -> None:
        hole, now_ns = question.hole, time.time_ns()
        self._book.set_hole(hole, now_ns, begin_ns=question.begin_ns, state="filled")
        try:
            stream = Stream.parse(hole.topic)
            left = joined(self._archive.missing(stream, question.begin_ns, hole.end_ns))
            have, _ = self._archive.checksum(stream, question.begin_ns, hole.end_ns)
            span = self._archive.span(stream)
        except ObslabError:
            return
        # What came and is not there was refused: the station has it, the archive kept it as rejected.
        why = REFUSED if hole.filled * stream.block > have else LOST
        for begin_ns, end_ns in left:
            # A time stamp from the future must not give up what is still to be measured.
            end_ns = min(end_ns, span[1] if span else begin_ns)
            if end_ns > begin_ns:
                lost = self._book.add_hole(hole.topic, begin_ns, end_ns, why, now_ns)
                if lost:
                    self._book.set_hole(lost, now_ns, state="lost")
