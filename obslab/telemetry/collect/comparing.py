"""Compares the pages of a unit's ledger with what the archive stored."""

from __future__ import annotations

from dataclasses import dataclass, field

from obslab.errors import ObslabError
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.protocol import Ledger, Page
from obslab.telemetry.sample import Stream

_NS = 1_000_000_000
GRACE_S = 3.0  # a sample may still be on its way when the ledger that lists it is here
_STRETCHES = 8  # more small gaps in a page than this are asked for as one

Interval = tuple[str, int, int]


@dataclass
class Comparison:
    """What is known of the pages of one journal; ``good`` ones need no second look."""

    good: set[tuple[str, Page]] = field(default_factory=set)
    _lacking_since_s: dict[tuple[str, int], float] = field(default_factory=dict)

    def overdue(self, now_s: float) -> bool:
        """Whether something has been lacking for longer than it could be on its way."""
        return any(now_s - since > GRACE_S for since in self._lacking_since_s.values())

    def look(
        self, archive: Archive, ledger: Ledger, marks: dict[str, int], now_s: float
    ) -> tuple[dict[str, int], list[Interval]]:
        """Marks that move on, and the intervals that are to be asked for."""
        moved: dict[str, int] = {}
        wanted: list[Interval] = []
        lacking_since_s: dict[tuple[str, int], float] = {}
        for topic, pages in ledger.pages.items():
            before = mark = marks.get(topic, 0)
            overdue: list[Page] = []
            whole = True
            for page in pages:
                if page.seq_to <= before:
                    continue
                if self._has(archive, topic, page):
                    mark = page.seq_to if whole else mark
                    continue
                whole = False
                since_s = self._lacking_since_s.get((topic, page.begin_ns), now_s)
                lacking_since_s[topic, page.begin_ns] = since_s
                if now_s - since_s > GRACE_S:
                    overdue.append(page)
            if mark > before:
                moved[topic] = mark
            wanted += [(topic, *stretch) for stretch in _stretches(archive, topic, overdue)]
        self._lacking_since_s = lacking_since_s
        self.good &= {(topic, page) for topic, pages in ledger.pages.items() for page in pages}
        return moved, wanted

    def settle(self, ledger: Ledger, topic: str, begin_ns: int, end_ns: int) -> None:
        """All that the journal has of an interval was sent and stored, as samples or as rejected."""
        self.good |= {
            (topic, page)
            for page in ledger.pages.get(topic, [])
            if page.begin_ns >= begin_ns and page.end_ns <= end_ns
        }

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


def _stretches(archive: Archive, topic: str, pages: list[Page]) -> list[tuple[int, int]]:
    """What lacks of some pages, neighbours together; a whole page where only a sample differs."""
    wanted: list[tuple[int, int]] = []
    for page in pages:
        lacking: list[tuple[int, int]] = []
        try:
            if page.n > 0:
                lacking = archive.missing(Stream.parse(topic), page.begin_ns, page.end_ns)
        except ObslabError:
            lacking = []
        if not lacking:
            lacking = [(page.begin_ns, page.end_ns)]
        for begin_ns, end_ns in joined(lacking):
            if wanted and wanted[-1][0] <= begin_ns <= wanted[-1][1] + 2 * _NS:
                wanted[-1] = (wanted[-1][0], max(end_ns, wanted[-1][1]))
            else:
                wanted.append((begin_ns, end_ns))
    return wanted


def joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Many small gaps as one question: the answer is packed, a question costs a round trip."""
    return [(stretches[0][0], stretches[-1][1])] if len(stretches) > _STRETCHES else stretches
