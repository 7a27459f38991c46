"""Compares the pages of a unit's ledger with what the archive stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from obslab.errors import ObslabError
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.protocol import Ledger, Page
from obslab.telemetry.sample import Stream

_NS = 1_000_000_000
GRACE_S = 3.0  # a sample may still be on its way when the ledger that lists it is here
AGAIN_S = (10.0, 600.0)  # before the same page is asked for again: the first pause, doubled up to the last
_STRETCHES = 8  # more small gaps in a page than this are asked for as one

Interval = tuple[str, int, int]


@dataclass
class _Lack:
    """A page that the archive does not have as the journal does.

    First the stretches without samples are asked for. What still differs then was perhaps refused, or
    contradicts: so the ``whole`` page is, and with its answer all its entries are stored or recorded.
    """

    since_s: float
    again_s: float = 0.0
    tries: int = 0
    whole: Page | None = None
    settled: bool = False


@dataclass
class Comparison:
    """What is known of the pages of one journal; ``good`` ones need no second look."""

    good: set[tuple[str, Page]] = field(default_factory=set)
    _lacks: dict[tuple[str, int], _Lack] = field(default_factory=dict)

    def overdue(self, now_s: float) -> bool:
        """Whether something has been lacking for longer than it could be on its way."""
        return any(now_s - lack.since_s > GRACE_S and now_s >= lack.again_s for lack in self._lacks.values())

    def look(
        self,
        archive: Archive,
        ledger: Ledger,
        marks: dict[str, int],
        now_s: float,
        busy: Callable[[str, int, int], bool] = lambda *_: False,
    ) -> tuple[dict[str, int], list[Interval]]:
        """Marks that move on, and the intervals that are to be asked for.

        ``busy`` says whether something of an interval is being asked for already.
        """
        moved: dict[str, int] = {}
        wanted: list[Interval] = []
        lacks: dict[tuple[str, int], _Lack] = {}
        for topic, pages in ledger.pages.items():
            before = mark = marks.get(topic, 0)
            asked: list[tuple[int, int]] = []
            whole = True
            reached = before
            for page in pages:
                # Where a page begins in the journal names it: two may begin at one time, with a dead clock.
                key, reached = (topic, reached), max(before, page.seq_to)
                if page.seq_to <= before:
                    continue
                if self._has(archive, topic, page):
                    mark = page.seq_to if whole else mark
                    continue
                lack = lacks[key] = self._lacks.get(key) or _Lack(now_s)
                if whole and lack.settled and lack.whole and lack.whole.begin_ns == page.begin_ns:
                    mark = lack.whole.seq_to  # the page may have grown since
                whole = False
                due = now_s - lack.since_s > GRACE_S and now_s >= lack.again_s
                if due and not lack.settled and not busy(topic, page.begin_ns, page.end_ns):
                    asked += _ask(archive, topic, page, lack, now_s)
            if mark > before:
                moved[topic] = mark
            wanted += [(topic, *interval) for interval in _merged(asked)]
        self._lacks = lacks
        self.good &= {(topic, page) for topic, pages in ledger.pages.items() for page in pages}
        return moved, wanted

    def settle(self, topic: str, begin_ns: int, end_ns: int) -> None:
        """All that the journal has of an interval was sent and stored, as samples or as rejected."""
        for (name, _), lack in self._lacks.items():
            page = lack.whole
            if name == topic and page and page.begin_ns >= begin_ns and page.end_ns <= end_ns:
                lack.settled = True

    def _has(self, archive: Archive, topic: str, page: Page) -> bool:
        if (topic, page) in self.good:
            return True
        try:
            stored = archive.checksum(Stream.parse(topic), page.begin_ns, page.end_ns)
        except ObslabError:  # no such stream yet, or a topic that is none: the answer will be recorded
            return False
        if stored != (page.n, page.checksum):
            return False
        self.good.add((topic, page))
        return True


def _ask(archive: Archive, topic: str, page: Page, lack: _Lack, now_s: float) -> list[tuple[int, int]]:
    """What to ask for of a page now."""
    first_s, most_s = AGAIN_S
    lack.again_s = now_s + min(most_s, first_s * 2**lack.tries)
    lack.tries += 1
    lacking: list[tuple[int, int]] = []
    if lack.tries == 1 and page.n > 0:
        try:
            lacking = joined(archive.missing(Stream.parse(topic), page.begin_ns, page.end_ns))
        except ObslabError:
            lacking = []
    if not lacking or lacking == [(page.begin_ns, page.end_ns)]:
        lack.whole = page
        return [(page.begin_ns, page.end_ns)]
    return lacking


def _merged(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbours as one question: an answer is packed, a question costs a round trip."""
    merged: list[tuple[int, int]] = []
    for begin_ns, end_ns in intervals:
        if merged and merged[-1][0] <= begin_ns <= merged[-1][1] + 2 * _NS:
            merged[-1] = (merged[-1][0], max(end_ns, merged[-1][1]))
        else:
            merged.append((begin_ns, end_ns))
    return merged


def joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Many small gaps as one question."""
    return [(stretches[0][0], stretches[-1][1])] if len(stretches) > _STRETCHES else stretches
