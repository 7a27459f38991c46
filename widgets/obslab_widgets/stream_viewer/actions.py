"""What a stream viewer can do with flags; each works without a browser."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import xarray as xr

from obslab.errors import FlagError, ObslabError
from obslab.telemetry.live.source import Source
from obslab.times import Instant
from obslab_widgets.stream_viewer.flagging import Flagging
from obslab_widgets.stream_viewer.marks import Mark
from obslab_widgets.stream_viewer.past import Past
from obslab_widgets.stream_viewer.state import State
from obslab_widgets.stream_viewer.tracks import Track, look
from obslab_widgets.wording import count


class FlagActions:
    """For StreamViewer, which has the rest. All raise FlagError for a viewer made without ``flags``."""

    _flagging: Flagging | None
    _source: Source
    _state: State
    _older: Past

    def flag(
        self,
        reason: str,
        *,
        kind: str = "mark",
        component: str | None = None,
        stream: str | None = None,
        begin: Instant | None = None,
        end: Instant | None = None,
    ) -> int:
        """Flag the samples of the marked interval, or of ``[begin, end)``; the flag's number.

        ``kind`` is mark, spike or step. ``stream``, as in ``WIC lemi036 sec``, is by default the one whose
        trace was marked; ``component`` of it is flagged, or all with ``""``. It is confirmed by that.
        """
        known = self._book().set(
            self._raw(),
            self._state,
            reason=reason,
            kind=kind,
            component=component,
            stream=stream,
            begin=begin,
            end=end,
        )
        self._news()
        return known

    def propose(self) -> list[int]:
        """Look for spikes, and for steps in delta-F, in what the window shows; numbers of the new flags."""
        made = self._book().propose(self._raw(), self._state)
        self._news()
        return made

    def confirm(self, flag: int | Sequence[int], reason: str = "") -> None:
        """Let flags take samples out of adjusted data."""
        self._book().confirm(flag, reason)
        self._news()

    def withdraw(self, flag: int | Sequence[int], reason: str = "") -> None:
        """Let the samples of flags count again."""
        self._book().withdraw(flag, reason)
        self._news()

    def undo_flag(self) -> None:
        """Take back the last change of a flag made here; what else was changed, ``undo`` takes back."""
        self._book().undo()
        self._news()

    def redo_flag(self) -> None:
        """Do again what ``undo_flag`` took back."""
        self._book().redo()
        self._news()

    @property
    def flags(self) -> xr.Dataset:
        """FLAGS of the book, proposed and confirmed, of all times."""
        return self._book().book.flags()

    def flag_failed(self, error: ObslabError) -> None:
        """Tell in the status line why what a button asked for was not done."""
        self._book().failed(error)
        self._news()

    def touch(self) -> None:
        raise NotImplementedError

    def _book(self) -> Flagging:
        if self._flagging is None:
            raise FlagError("this viewer keeps no flags; make it with StreamViewer(source, flags=True)")
        return self._flagging

    def _raw(self) -> tuple[Track, ...]:
        """What the window shows, as the instruments recorded it."""
        state = replace(self._state, level="raw")
        return look(self._source, state, time.time_ns(), past=self._older)

    def _flagged(self, tracks: tuple[Track, ...]) -> tuple[tuple[Track, ...], tuple[Mark, ...]]:
        return self._flagging.look(tracks, self._state) if self._flagging else (tracks, ())

    def _told_flags(self) -> str:
        if self._flagging is None:
            return ""
        _, marks = self._flagged(look(self._source, self._state, time.time_ns(), past=self._older))
        confirmed = sum(mark.state == "confirmed" for mark in marks)
        return f", {count(len(marks), 'flag')} ({confirmed} confirmed)"

    def _news(self) -> None:
        self.show_state()
        self.touch()

    def show_state(self) -> None:
        raise NotImplementedError
