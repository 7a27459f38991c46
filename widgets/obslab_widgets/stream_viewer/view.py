"""The stream viewer in a notebook: a source, controls, and a bridge into which each Frame is written."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from bokeh.model import Model

from obslab.telemetry.sample import Clock
from obslab_widgets.panel import Panel
from obslab_widgets.stream_viewer.actions import FlagActions
from obslab_widgets.stream_viewer.controls import Controls
from obslab_widgets.stream_viewer.drawing import Drawing
from obslab_widgets.stream_viewer.flag_controls import FlagControls
from obslab_widgets.stream_viewer.flagging import flagging_of
from obslab_widgets.stream_viewer.marks import Mark, target_of_panel, targets
from obslab_widgets.stream_viewer.model import COLUMNS, frame
from obslab_widgets.stream_viewer.past import Past
from obslab_widgets.stream_viewer.state import Selection, State
from obslab_widgets.stream_viewer.supply import archive_of, supply
from obslab_widgets.stream_viewer.tracks import (
    Track,
    has_both_levels,
    in_window,
    look,
    trace_names,
    whole_length_s,
)


class StreamViewer(Panel[State], FlagActions):
    """Live traces of an archive, a broker, or a Dataset.

    ``source`` is an Archive or its folder, a broker URL (``topics`` are filters, ``history`` an archive
    that fills the beginning), a Dataset from ``open_archive(...).dataset(...)``, or a list of those.
    ``window_s`` is the length of time shown, in seconds of the stations' clocks.

    ``baselines`` (a folder of adopted ones, one, some, or True: those of the archive) give adjusted data and
    delta-F as samples come. ``flags`` (a FlagBook, its path, or True: beside the archive) lets ``author``,
    else the user, flag samples and confirm what detectors found. ``absolutes`` shows absolute measurements:
    those that come as a stream, or a table as ``absolutes.reduce`` gives.
    """

    State: ClassVar[type] = State

    def __init__(
        self,
        source: Any,
        *,
        topics: tuple[str, ...] = ("#",),
        history: Any = None,
        window_s: float | None = None,
        baselines: Any = None,
        flags: Any = None,
        absolutes: bool | xr.Dataset = True,
        author: str | None = None,
        label: str = "live traces",
    ) -> None:
        self._source = supply(
            source, history=history, topics=topics, baselines=baselines, absolutes=absolutes
        )
        self._flagging = flagging_of(flags, archive_of(self._source, history), author)
        self._own_book = self._flagging is not None and self._flagging.book is not flags
        initial = State(level="raw" if baselines is None else "adjusted")
        if window_s is not None or not self._source.live:
            initial = replace(initial, window_s=window_s or whole_length_s(self._source))
        self._older = Past(self._source)
        self._drawing: Drawing | None = None
        self._names: tuple[str, ...] = ()
        self._targets: tuple[str, ...] = ()
        self._marks: tuple[Mark, ...] = ()
        self._both = False
        self._width_px = 1000
        super().__init__(initial, label)
        self._controls = Controls(self.change, self.undo, self.redo)
        self.children = [self._controls.box, self.bridge]
        self._flag_controls: FlagControls | None = None
        if self._flagging is not None:
            self._flag_controls = FlagControls(self, self.flag_failed)
            self.children = [*self.children, self._flag_controls.box]
        self.bridge.on("range", self._ranged).on("select", self._selected).on("resize", self._resized)
        self.bridge.on("reset", lambda _event: self.follow())
        self._source.reach(initial.window_s)
        self.show_state()
        self._source.start(self.touch)
        self.touch()

    # ---- without a browser

    def follow(self) -> None:
        """Show the newest samples again, as they come."""
        self.change(until_ns=None)

    def pause(self) -> None:
        """Hold the window where it is; samples go on arriving."""
        self.change(until_ns=time.time_ns())

    @property
    def selection(self) -> tuple[np.datetime64, np.datetime64] | None:
        """The marked interval ``[begin, end)`` by the station's clock."""
        marked = self._state.selection
        return (np.datetime64(marked.begin_ns, "ns"), np.datetime64(marked.end_ns, "ns")) if marked else None

    @property
    def marked(self) -> Selection | None:
        """The marked interval, with the stations whose clock it is by."""
        return self._state.selection

    def select(self, selection: Selection | None) -> None:
        """Mark an interval, or none. When the window does not show it, it moves there and pauses."""
        track = next((one for one in self._tracks() if selection and one.station in selection.stations), None)
        if selection is None or track is None:
            self.change(selection=selection)
            return
        begin_ns, end_ns, length_ns = (
            selection.begin_ns,
            selection.end_ns,
            selection.end_ns - selection.begin_ns,
        )
        fellows = {one.station for one in self._tracks() if one.clock == track.clock}
        changes: dict[str, Any] = {"selection": Selection(" ".join(sorted(fellows)), begin_ns, end_ns)}
        window_ns = round(self._state.window_s * 1e9)
        if begin_ns >= track.end_ns or end_ns <= track.end_ns - window_ns:
            until_ns = end_ns + length_ns // 2
            changes |= {
                "until_ns": track.clock.wall_at(until_ns) if track.clock else until_ns,
                "window_s": 2 * length_ns / 1e9,
            }
        self.change(**changes)

    @property
    def dataset(self) -> xr.Dataset:
        """Samples of the marked interval, or of the window, side by side on one ``time``.

        One variable for each trace shown, as ``wic_lemi036_h``, NaN where an instrument has no sample, and
        one with the arrival times of each instrument. What confirmed flags take out of adjusted data is NaN.
        """
        tracks = look(self._source, self._state, time.time_ns(), marked=True, past=self._older)
        return in_window(self._flagged(tracks)[0], self._state)

    def summary(self) -> str:
        """What is shown, in words that stay the same while nothing is changed."""
        names, state = trace_names(self._tracks()), self._state
        shown = [name for name in names if name not in state.hidden]
        how = "not live" if not self._source.live else "following" if state.until_ns is None else "paused"
        scale = "autoscale" if state.span is None else f"span {state.span:g}"
        data = ", adjusted data" if state.level == "adjusted" else ""
        return (
            f"{len(shown)} of {len(names)} traces: {', '.join(shown) or 'none yet'}\n"
            f"{state.axes} axes, {scale}, window {state.window_s:g} s, {how}{data}{self._told_flags()}"
        )

    def code(self) -> str:
        """Python that brings a new ``viewer`` to what is shown here."""
        plain = State()
        chosen = {
            name: value
            for name, value in self.state().items()
            if getattr(self._state, name) != getattr(plain, name)
        }
        return f"viewer.restore({chosen!r})"

    def close(self) -> None:
        if "_watchers" in self.__dict__:  # ipywidgets closes what could not be made, too
            self._source.stop()
            super().close()
            if self._own_book and self._flagging is not None:
                self._flagging.book.close()

    def __repr__(self) -> str:
        return f"<StreamViewer {self.bridge.label!r}>"

    # ---- pump's thread

    def feed(self) -> list[tuple[Model, dict[str, Any]]]:
        now_ns = time.time_ns()
        tracks, marks = self._flagged(look(self._source, self._state, now_ns, past=self._older))
        drawn = frame(
            self._state,
            tracks,
            self._source.condition(),
            now_ns,
            width_px=self._width_px,
            marks=marks,
            word=self._flagging.word if self._flagging else "",
        )
        told = (tuple(trace_names(tracks)), tuple(targets(tracks)), marks, has_both_levels(self._source))
        if told != (self._names, self._targets, self._marks, self._both):
            self._names, self._targets, self._marks, self._both = told
            self.show_state()
        table = {"columns": list(COLUMNS), "rows": [list(row) for row in drawn.table]}
        self.bridge.tell(status={"level": drawn.level, "text": drawn.status}, table=table if tracks else None)
        if self._drawing is None or self._drawing.structure != drawn.structure:
            self._drawing = Drawing(drawn)
            self.bridge.show(self._drawing.root)
        return self._drawing.updates(drawn)

    def _set(self, changes: dict[str, Any], *, drag: bool) -> None:
        if changes.get("window_s", 0.0) > self._state.window_s:
            self._source.reach(changes["window_s"])
        super()._set(changes, drag=drag)

    def show_state(self) -> None:
        self._controls.show(self._state, self._names, both=self._both)
        if self._flag_controls is not None and self._flagging is not None:
            book = self._flagging.book
            steps = (book.can_undo, book.can_redo)
            word = self._flagging.word
            self._flag_controls.show(self._state, self._targets, self._marks, steps, word)

    def _tracks(self) -> tuple[Track, ...]:
        return look(self._source, self._state, time.time_ns())

    # ---- the browser's events, on the kernel's main loop

    def _ranged(self, event: dict[str, Any]) -> None:
        right_ns, clock = round(event["x1"] * 1e6), self._clock_of(event["on"])
        until_ns = clock.wall_at(right_ns) if clock else right_ns
        self.drag(until_ns=until_ns, window_s=(event["x1"] - event["x0"]) / 1e3)

    def _selected(self, event: dict[str, Any]) -> None:
        marked = event.get("geometry")
        group = self._drawing.group_of.get(event["on"]) if self._drawing else None
        if not marked or group is None:
            self.change(selection=None)
            return
        begin_ms, end_ms = sorted((marked["x0"], marked["x1"]))
        selection = Selection(group, round(begin_ms * 1e6), round(end_ms * 1e6))
        target = target_of_panel(event["on"], self._tracks())
        self.change(selection=selection, target=target or self._state.target)

    def _resized(self, event: dict[str, Any]) -> None:
        self._width_px = max(100, round(event["width"]))
        self.touch()

    def _clock_of(self, panel: str) -> Clock | None:
        """The clock that the stations of a panel keep; None for UTC."""
        stations = (self._drawing.group_of.get(panel, "") if self._drawing else "").split()
        streams = (ring.stream for ring in self._source.rings())
        meta = next((self._source.meta(stream) for stream in streams if stream.station in stations), None)
        return meta.clock if meta else None
