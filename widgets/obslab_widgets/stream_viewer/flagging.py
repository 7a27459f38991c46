"""What a user of a stream viewer does with flags, without a toolkit: a book, an author, and what is shown."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from obslab.errors import ConfigError, FlagError, ObslabError
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.flags import FlagBook, find_spikes, find_steps
from obslab.telemetry.live.recipes import DELTA_F
from obslab.times import Instant
from obslab_widgets.stream_viewer.marks import Mark, in_sight, marks_of, targets, without_flagged
from obslab_widgets.stream_viewer.state import State
from obslab_widgets.stream_viewer.tracks import Track, dataset_of
from obslab_widgets.wording import count

_LOOK_S = 1.0  # how often another process's flags are looked for


class Flagging:
    """Flags of what a viewer shows. ``word`` is what was done last, or could not be."""

    def __init__(self, book: FlagBook, author: str) -> None:
        self.book, self.author = book, author
        self.word = ""
        self._known: tuple[Mark, ...] = ()
        self._edges = np.empty((2, 0), dtype=np.int64)
        self._version: tuple[int, ...] | None = None
        self._looked_s = 0.0

    def look(self, tracks: Sequence[Track], state: State) -> tuple[tuple[Track, ...], tuple[Mark, ...]]:
        """The tracks without what confirmed flags take out of them, and the flags in the window."""
        marks = self._near(tracks)
        return tuple(without_flagged(track, marks) for track in tracks), in_sight(marks, tracks, state)

    def set(
        self,
        tracks: Sequence[Track],
        state: State,
        *,
        reason: str,
        kind: str,
        component: str | None,
        stream: str | None,
        begin: Instant | None,
        end: Instant | None,
    ) -> int:
        """Flag the marked interval, or another; see ``StreamViewer.flag``."""
        known = targets(tracks)
        name = stream or state.target or self._first(tracks, state)
        chosen = known.get(name)
        if chosen is None:
            raise FlagError(f"nothing to flag is called {name!r}; there is {', '.join(known) or 'nothing'}")
        marked = state.selection
        if marked is None and (begin is None or end is None):
            raise FlagError("no interval is marked; drag a box over a trace, or give begin and end")
        if marked is not None and begin is None and chosen[0].station not in marked.stations:
            raise FlagError(f"the marked interval is of {marked.group}, not of {name}; mark one there")
        begin = marked.begin_ns if begin is None and marked else begin
        end = marked.end_ns if end is None and marked else end
        assert begin is not None and end is not None
        flag = self.book.set(
            chosen[0],
            begin,
            end,
            component=chosen[1] if component is None else component,
            kind=kind,
            author=self.author,
            reason=reason,
        )
        self._told(f"flag {flag} is set on {name}")
        return flag

    def propose(self, tracks: Sequence[Track], state: State) -> list[int]:
        """Run the detectors on raw ``tracks`` and delta-F: spikes in all, steps in delta-F."""
        made: list[int] = []
        found = 0
        for track in tracks:
            if track.irregular or (len(track.origins) == 1 and track.origins[0] != track.readings.stream):
                continue  # what is computed of one instrument has its spikes from there
            dataset = dataset_of(track, state)
            steps = track.readings.stream.instrument.startswith(DELTA_F)
            flags = find_steps(dataset) if steps else find_spikes(dataset)
            found += flags.sizes["flag"]
            made += self.book.propose(flags)
        self._told(f"{count(found, 'spike or step')} found, {count(len(made), 'new flag')} proposed")
        return made

    def confirm(self, flags: int | Sequence[int], reason: str = "") -> None:
        self.book.confirm(flags, self.author, reason)
        self._told(f"{_flags(flags)} confirmed")

    def withdraw(self, flags: int | Sequence[int], reason: str = "") -> None:
        self.book.withdraw(flags, self.author, reason)
        self._told(f"{_flags(flags)} withdrawn")

    def undo(self) -> None:
        self._told(f"undone: {self.book.undo(self.author)}")

    def redo(self) -> None:
        self._told(f"done again: {self.book.redo(self.author)}")

    def failed(self, error: ObslabError) -> None:
        """What the user asked for with a button could not be done."""
        self.word = error.message

    def _told(self, word: str) -> None:
        self.word = word
        self._looked_s = 0.0

    def _first(self, tracks: Sequence[Track], state: State) -> str:
        stations = state.selection.stations if state.selection else {track.station for track in tracks}
        return next((name for name, (stream, _) in targets(tracks).items() if stream.station in stations), "")

    def _near(self, tracks: Sequence[Track]) -> tuple[Mark, ...]:
        """Flags within the samples that were looked at, which may reach beyond the window."""
        marks = self._marks()
        held = [track.readings.time_ns for track in tracks if track.readings.time_ns.size]
        first_ns = min((int(times[0]) for times in held), default=0)
        last_ns = max((int(times[-1]) for times in held), default=0)
        begin_ns, end_ns = self._edges
        return tuple(marks[place] for place in np.flatnonzero((begin_ns <= last_ns) & (end_ns > first_ns)))

    def _marks(self) -> tuple[Mark, ...]:
        if time.monotonic() - self._looked_s < _LOOK_S:
            return self._known
        try:
            version = self.book.version()
            if version != self._version:
                self._known, self._version = marks_of(self.book.flags()), version
                edges = [(mark.begin_ns, mark.end_ns) for mark in self._known]
                self._edges = np.array(edges, dtype=np.int64).reshape(-1, 2).T
        except ObslabError as error:  # shown in the view; what was known is shown on
            self.word = error.message
        self._looked_s = time.monotonic()
        return self._known


def flagging_of(flags: object, archive: Archive | None, author: str | None) -> Flagging | None:
    """For what a user gives as ``flags``: None, True (beside the archive), a path, or a FlagBook."""
    if flags is None or flags is False:
        return None
    if flags is True:
        if archive is None:
            raise ConfigError(
                "flags=True keeps flags in the archive's folder, and there is no archive; "
                "give flags=FlagBook('flags.db')"
            )
        flags = FlagBook(archive.path)
    if isinstance(flags, str | Path):
        flags = FlagBook(flags)
    if not isinstance(flags, FlagBook):
        raise ConfigError(f"a {type(flags).__name__} is no flag book; give True, a path, or a FlagBook")
    return Flagging(flags, author or _login())


def _flags(flags: int | Sequence[int]) -> str:
    numbers = [flags] if isinstance(flags, int) else [*flags]
    return f"flag {numbers[0]}" if len(numbers) == 1 else count(len(numbers), "flag")


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container a user may have a number and no name
        return "unknown"
