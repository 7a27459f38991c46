"""What the journal still holds, as pages an archive can compare with what it stored."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from obslab.errors import ObslabError
from obslab.telemetry import codec
from obslab.telemetry.protocol import Ledger, Page, checksum
from obslab.telemetry.sample import Meta, Stream, valid_at
from obslab.telemetry.station.journal import Entry, Journal

_PAGE = 3600  # entries: an hour of one stream at 1 Hz
_LEAP_NS = 3600 * 1_000_000_000  # a page with a stray time stamp would else span years
_MOST = 24  # pages of one stream in one ledger; the archive's answer brings the next
UNREADABLE = -1  # as the number of samples: an archive cannot compare, and asks for the entries themselves


class LedgerKeeper:
    """Makes the ledger of a journal; full pages are computed once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._full: dict[tuple[str, int], Page] = {}

    def ledger(self, upto: int, sent_ns: int) -> Ledger:
        """All entries up to number ``upto``, the oldest pages of each stream first."""
        metas = self._journal.metas()
        done = self._journal.confirmed()
        pages = {
            topic: self._pages(topic, done.get(topic, 0), upto, metas) for topic in self._journal.topics()
        }
        held = {(topic, page.seq_to) for topic, some in pages.items() for page in some}
        self._full = {key: page for key, page in self._full.items() if (key[0], page.seq_to) in held}
        return Ledger(
            journal=self._journal.id,
            sent_ns=sent_ns,
            pages={topic: some for topic, some in pages.items() if some},
        )

    def _pages(self, topic: str, after: int, upto: int, metas: dict[str, tuple[Meta, ...]]) -> list[Page]:
        pages: list[Page] = []
        while len(pages) < _MOST:
            page = self._full.get((topic, after))
            if page is None or page.seq_to > upto:
                entries = self._journal.stretch(topic, after, upto, _PAGE)
                if not entries:
                    return pages
                page = _page(topic, _rising(entries), metas)
                if page.seq_to < entries[-1].seq or len(entries) == _PAGE:
                    self._full[topic, after] = page
            pages.append(page)
            after = page.seq_to
        return pages


def _rising(entries: list[Entry]) -> list[Entry]:
    """The first entries, as far as time goes on: behind a clock that was set, a page begins anew."""
    for place, (one, other) in enumerate(pairwise(entries), 1):
        if not one.time_ns < other.time_ns <= one.time_ns + _LEAP_NS:
            return entries[:place]
    return entries


def _page(topic: str, entries: list[Entry], metas: dict[str, tuple[Meta, ...]]) -> Page:
    begin_ns, last_ns, seq_to = entries[0].time_ns, entries[-1].time_ns, entries[-1].seq
    try:
        stream = Stream.parse(topic)
        versions = metas.get(stream.meta_topic, ())
        times, bodies = [], []
        for meta, group in _by_version(entries, versions):
            some_ns, some = codec.split(stream, meta, [entry.payload for entry in group])
            times.append(some_ns)
            bodies.append(some)
        time_ns = np.concatenate(times)
        return Page(
            seq_to,
            int(time_ns[0]),
            int(time_ns[-1]) + 1,
            time_ns.size,
            checksum(time_ns, b"".join(bodies)),
        )
    except (ObslabError, ValueError):  # a driver's error, which the archive is to see and to record
        return Page(seq_to, begin_ns, last_ns + 1, UNREADABLE, 0)


def _by_version(entries: list[Entry], versions: tuple[Meta, ...]) -> list[tuple[Meta, list[Entry]]]:
    """Entries that one version of the metadata explains, together; ValueError when none does."""
    if not versions:
        raise ValueError("no metadata")
    edges = [meta.valid_from_ns for meta in versions]
    if len(versions) == 1 or entries[0].time_ns >= edges[-1]:
        if entries[0].time_ns < edges[-1]:
            raise ValueError("before the first metadata")
        return [(versions[-1], entries)]
    groups: list[tuple[Meta, list[Entry]]] = []
    for entry in entries:
        meta = valid_at(versions, entry.time_ns)
        if meta is None:
            raise ValueError("before the first metadata")
        if not groups or groups[-1][0] != meta:
            groups.append((meta, []))
        groups[-1][1].append(entry)
    return groups
