"""The baseline editor in a notebook: a desk, a thread that works, controls, and a bridge that draws."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from bokeh.model import Model

from obslab.times import to_ns
from obslab_widgets.baseline_editor import edits
from obslab_widgets.baseline_editor.controls import Controls
from obslab_widgets.baseline_editor.drawing import DELTA_F, Drawing
from obslab_widgets.baseline_editor.editing import Editing
from obslab_widgets.baseline_editor.fitted import knots_of
from obslab_widgets.baseline_editor.given import desk_of
from obslab_widgets.baseline_editor.model import boxed, frame
from obslab_widgets.baseline_editor.state import State
from obslab_widgets.baseline_editor.telling import COLUMNS
from obslab_widgets.baseline_editor.worker import Worker


class BaselineEditor(Editing):
    """Spot baselines, the curve through them, and what it makes of delta-F, until somebody adopts it.

    ``archive`` is an Archive or its folder, a variometer Dataset, or Datasets (vector, scalar). ``absolutes``
    is an ABSOLUTES Dataset, or measurements or paths of sheets, which are reduced; None takes the archive's.
    Adopted baselines are written to ``folder``, by default ``baselines`` in the archive's.
    """

    def __init__(
        self,
        archive: Any,
        absolutes: Any = None,
        *,
        station: str | None = None,
        instrument: str = "",
        scalar: str = "",
        folder: str | Path | None = None,
        pier_difference_nt: float = 0.0,
        label: str = "baselines",
    ) -> None:
        desk = desk_of(archive, absolutes, station, folder)
        self._drawing: Drawing | None = None
        self._width_px, self._shown_ms = 1000, 1.0
        initial = State(instrument=instrument, scalar=scalar, pier_difference_nt=pier_difference_nt)
        super().__init__(desk, initial, label)
        self._worker = Worker((partial(desk.work, jumps=False), desk.work), self.touch)
        self._controls = Controls(self, desk.supply.vectors, desk.supply.scalars)
        self.children = [self._controls.above, self.bridge, self._controls.below]
        self.bridge.on("select", self._selected).on("drag", self._dragged).on("resize", self._resized)
        self.bridge.on("range", self._ranged).on("reset", lambda _event: self._reset())
        self._shown()

    def adopt(self, author: str | None = None, reason: str | None = None) -> Path:
        """Write the baseline to the folder; the file. Raises BaselineError without author or reason."""
        path = super().adopt(author, reason)
        self._controls.tell(f"adopted: {path}")
        self._worker.want(self._state.question)  # from now on it is the one before
        return path

    def close(self) -> None:
        if "_worker" in self.__dict__:  # ipywidgets closes what could not be made, too
            self._worker.stop()
            super().close()
            self._desk.supply.close()

    def __repr__(self) -> str:
        return f"<BaselineEditor {self.bridge.label!r}>"

    # ---- pump's thread

    def feed(self) -> list[tuple[Model, dict[str, Any]]]:
        state, work = self._state, self._worker.work
        knots = self._knots_shown()
        drawn = frame(state, work, knots, width_px=self._width_px)
        self._controls.show(state, knots, tuple(axes.name for axes in drawn.bases))
        table = {"columns": list(COLUMNS), "rows": [list(row) for row in drawn.table]}
        self.bridge.tell(
            status={"level": drawn.level, "text": drawn.status}, table=table if drawn.table else None
        )
        if work is not None and work.spots is None:
            self.bridge.fail("no baseline", drawn.status)
        else:
            self.bridge.heal("no baseline")
        if self._drawing is None or self._drawing.structure != drawn.structure:
            self._drawing = Drawing(drawn)
            self.bridge.show(self._drawing.root)
        return list(self._drawing.updates(drawn))

    def show_state(self) -> None:
        self._controls.show(self._state, self._knots_shown())
        self._worker.want(self._state.question)

    def _knots_shown(self) -> tuple[int, ...]:
        """Those of the last work, when it is of as many: nobody waits here."""
        work = self._worker.work
        fits = work is not None and work.state.knots == self._state.knots
        return knots_of(self._state, work.fit if work and fits else None)

    # ---- the browser's events, on the kernel's main loop

    def _selected(self, event: dict[str, Any]) -> None:
        geometry, work, knots = event.get("geometry"), self._worker.work, self._knots_shown()
        if not geometry:
            self.change(selected=())
        elif event["on"] == DELTA_F:
            self.change(period=edits.rounded(*(round(geometry[side] * 1e6) for side in ("x0", "x1"))))
        elif geometry["type"] == "point":
            at_ns = edits.minute(geometry["x"] * 1e6)
            self.change(**edits.pointed(self._state, knots, at_ns, self._shown_ms * 1e6))
        elif work is not None:
            self.change(selected=boxed(frame(self._state, work, knots), work, event["on"], geometry))

    def _dragged(self, event: dict[str, Any]) -> None:
        work = self._worker.work
        if self._drawing is not None:
            self._drawing.forget_lines()
        if work is not None and work.spots is not None:
            time_ns = to_ns(work.spots["time"].values)
            ends = int(time_ns.min()), int(time_ns.max())
            at_ns = edits.minute(event["at"] * 1e6)
            self.drag(**edits.dragged(self._state, self._knots_shown(), event["on"], at_ns, ends))
        self.touch()

    def _ranged(self, event: dict[str, Any]) -> None:
        if event["on"] != DELTA_F:
            self._shown_ms = event["x1"] - event["x0"]

    def _resized(self, event: dict[str, Any]) -> None:
        self._ranged(event)
        self._width_px = max(100, round(event["width"]))
        self.touch()

    def _reset(self) -> None:
        """Show all spots again."""
        if self._drawing is not None:
            self._drawing.forget()
        self.touch()
