"""Adjusted data in near real time: follows what is stored, whatever its time, what is adopted, and flagged.

A mark on the disk says up to which row of the archive all is done, by which baselines and flags, and what is
still to do. It moves on when samples are stored, so that a follower which was killed goes on from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from obslab.errors import NoBaselineError, NoStreamError, ObslabError
from obslab.tables import hold
from obslab.telemetry.adjusted import Piece, pieces_of
from obslab.telemetry.archive.chunk import write
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.collect.inbox import Outlet
from obslab.telemetry.derived import derived
from obslab.telemetry.processing.adjusting import (
    Outcome,
    adjust_archive,
    adjust_readings,
    confirmed,
)
from obslab.telemetry.processing.merging import chosen
from obslab.telemetry.readings import Readings
from obslab.times import NS_PER_DAY, iso, to_ns

if TYPE_CHECKING:
    from obslab.telemetry.adjusted import Adopted
    from obslab.telemetry.processing.adjusting import Flags

log = logging.getLogger(__name__)

_POLL_S = 0.25
_LOOK_S = 1.0  # how often it looks for new baselines and flags
_FAILED_S = 5.0
_EVER = (-(2**62), 2**62)

Span = tuple[int, int]


class Mark(msgspec.Struct, kw_only=True):
    """How far a follower has come: ``pieces`` and ``flags`` are those by which all was adjusted.

    ``todo`` has intervals that are to be adjusted again.
    """

    row: int
    pieces: list[tuple[int, int, str]] = []
    flags: list[tuple[str, int, int]] = []
    todo: list[Span] = []


class Follower:
    """Keeps the derived stream of one vector up to date; call ``step`` again and again."""

    def __init__(
        self,
        archive: Archive,
        station: str | None,
        instrument: str | None,
        baselines: Adopted,
        *,
        level: int = 2,
        flags: Flags = None,
        samplerate: str | None = None,
        store: Outlet | None = None,
        mark: Path | None = None,
    ) -> None:
        self._archive, self._baselines, self._flags = archive, baselines, flags
        self.source = chosen(archive, station, instrument, samplerate, kinds=("vector",))
        self.stream = derived(self.source, level)
        self._level = level
        self._store = store or Outlet(archive.path, source=f"adjust {self.stream}")
        self._file = mark or archive.path / f"follow-{self.stream.topic.replace('/', '-')}.json"
        self._look_at_s = 0.0
        self._uncovered = False
        self._tried: set[int] = set()
        self._pieces: tuple[Piece, ...] = ()
        self._marks = confirmed(flags)
        self._held = hold(self._file.with_suffix(".lock"), f"the following of {self.source}")
        self._mark, self._saved = self._load()

    def close(self) -> None:
        """Let another follow."""
        self._held.close()

    def step(self) -> int:
        """Adjust what came since, else a day of what is still to do; how many samples were looked at."""
        if not self._store.ready():
            return 0
        if time.monotonic() >= self._look_at_s:
            self._look()
            self._look_at_s = time.monotonic() + _LOOK_S
        done = self._live() or self._one_day()
        self._save()
        return done

    def _look(self) -> None:
        """What was adopted, flagged or lost since: those intervals are to do again."""
        self._pieces = pieces_of(self._baselines, self.source, *_EVER)
        self._marks = confirmed(self._flags)
        pieces = [(one.begin_ns, one.end_ns, one.baseline.id) for one in self._pieces]
        flags = self._flagged()
        again = [*_changed(self._mark.pieces, pieces)]
        again += [(begin, end) for _, begin, end in set(self._mark.flags) ^ set(flags)]
        # A damaged day that was set aside: no station has it, but it can be computed again.
        for hole in self._archive.book.holes(self.stream.topic, states=("open", "asked")):
            if hole.id not in self._tried:
                self._tried.add(hole.id)
                again.append((hole.begin_ns, hole.end_ns))
        self._mark.pieces, self._mark.flags = pieces, flags
        self._mark.todo = _joined([*self._mark.todo, *again])

    def _flagged(self) -> list[tuple[str, int, int]]:
        """Flags of the raw and of the derived stream, by component, begin and end."""
        if self._marks is None:
            return []
        names = [str(self.source), str(self.stream)]
        ours = self._marks.isel(flag=np.isin(self._marks.stream.values, names))
        begin, end = (to_ns(ours[name].values).tolist() for name in ("begin", "end"))
        whose = zip(ours.stream.values, ours.component.values, strict=True)
        return sorted(zip([" ".join(one) for one in whose], begin, end, strict=True))

    def _live(self) -> int:
        """What was stored since the row of the mark, late samples too."""
        pages = list(self._archive.follow(self._mark.row))
        found = [readings for _, readings in pages if readings.stream == self.source]
        for readings in found:
            self._adjust(_in_order(readings))
        if pages:
            self._mark.row = pages[-1][0]
        return sum(readings.time_ns.size for readings in found)

    def _adjust(self, readings: Readings) -> None:
        outcome = Outcome(self.source, self._level)
        adjust_readings(self._archive, self._store, readings, self._pieces, outcome, self._marks)
        if outcome.outside and not self._uncovered:
            newest = iso(int(readings.time_ns[-1]), 0)
            log.warning("no adopted baseline of %s holds at %s: adopt one that does", self.source, newest)
        elif self._uncovered and not outcome.outside:
            log.warning("%s has a baseline again: adjusted into %s", self.source, self.stream)
        self._uncovered = bool(outcome.outside)

    def _one_day(self) -> int:
        """The newest day of what is to do: people look at the present first."""
        span = self._archive.span(self.source)
        while self._mark.todo:
            begin_ns, end_ns = self._mark.todo[-1]
            begin_ns, end_ns = (max(begin_ns, span[0]), min(end_ns, span[1] + 1)) if span else (0, 0)
            done, left = 0, begin_ns
            if begin_ns < end_ns:
                left = max(begin_ns, (end_ns - 1) // NS_PER_DAY * NS_PER_DAY)
                done = self._again(left, end_ns)
            self._mark.todo[-1:] = [(begin_ns, left)] if begin_ns < left else []
            if done:
                return done
        return 0

    def _again(self, begin_ns: int, end_ns: int) -> int:
        """Adjust a day of the archive, or part of it; how many samples it has, 0 without a baseline."""
        try:
            return adjust_archive(
                self._archive,
                self._store,
                self.source.station,
                self.source.instrument,
                self._baselines,
                begin_ns,
                end_ns,
                level=self._level,
                flags=self._marks,
                samplerate=self.source.samplerate,
                outside="missing",
            ).samples
        except (NoBaselineError, NoStreamError):
            return 0

    def _load(self) -> tuple[Mark, bytes]:
        """The mark of the last time; else all that the archive has is to do."""
        try:
            content = self._file.read_bytes()
            mark = msgspec.json.decode(content, type=Mark)
            mark.todo = _joined([*mark.todo, *self._unlike()])
            return mark, content
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s is not understood (%s): all of %s is compared", self._file, error, self.source)
        return Mark(row=self._archive.last_row(), todo=[_EVER]), b""

    def _unlike(self) -> list[Span]:
        """Days that have not as many adjusted samples as raw ones: rows that were sealed are not followed."""
        raw, ours = (
            {day.day_ns: day.n for day in self._archive.days(stream, *_EVER)}
            for stream in (self.source, self.stream)
        )
        return [(day_ns, day_ns + NS_PER_DAY) for day_ns, n in raw.items() if n != ours.get(day_ns, 0)]

    def _save(self) -> None:
        content = msgspec.json.encode(self._mark)
        if content != self._saved:
            write(self._file, content)
            self._saved = content


def follow(
    archive: Archive,
    station: str | None,
    instrument: str | None,
    baselines: Adopted,
    ending: threading.Event,
    *,
    level: int = 2,
    flags: Flags = None,
    samplerate: str | None = None,
    on_start: Callable[[Follower], object] = lambda _: None,
) -> None:
    """Keep the derived stream up to date until ``ending`` is set; what fails is told once and tried again."""
    follower = Follower(
        archive, station, instrument, baselines, level=level, flags=flags, samplerate=samplerate
    )
    on_start(follower)
    trouble = ""
    while not ending.is_set():
        try:
            busy, trouble = follower.step(), ""
        except Exception as error:  # nobody is there to start us again
            if str(error) != trouble:
                known = isinstance(error, ObslabError)
                log.error("following %s failed, trying again: %s", follower.source, error, exc_info=not known)
            busy, trouble = 0, str(error)
            ending.wait(_FAILED_S)
        ending.wait(0 if busy else _POLL_S)
    follower.close()


def _changed(old: Sequence[tuple[int, int, str]], new: Sequence[tuple[int, int, str]]) -> list[Span]:
    """Where another baseline holds than did."""
    found = []
    for begin_ns, end_ns, name in new:
        edges = {begin_ns, end_ns, *(edge for one in old for edge in one[:2] if begin_ns < edge < end_ns)}
        for low_ns, high_ns in pairwise(sorted(edges)):
            was = next((one[2] for one in old if one[0] <= low_ns and high_ns <= one[1]), None)
            if was != name:
                found.append((low_ns, high_ns))
    return found


def _joined(spans: Sequence[Span]) -> list[Span]:
    """The same in order of time, those that touch as one."""
    joined: list[Span] = []
    for begin_ns, end_ns in sorted(spans):
        if joined and begin_ns <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end_ns))
        else:
            joined.append((begin_ns, end_ns))
    return joined


def _in_order(readings: Readings) -> Readings:
    """Samples in order of time; of two with the same time the one stored last."""
    rows = np.argsort(readings.time_ns, kind="stable")
    rows = rows[np.diff(readings.time_ns[rows], append=np.iinfo(np.int64).max) > 0]
    return replace(
        readings,
        time_ns=readings.time_ns[rows],
        arrival_ns=readings.arrival_ns[rows],
        values=readings.values[rows],
        quality=readings.quality[rows],
    )
