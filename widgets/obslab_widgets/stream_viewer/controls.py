"""The controls above a stream viewer, two ways: what the user does becomes changes of the State, and a
State is shown in them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets  # type: ignore[import-untyped]

from obslab_widgets.stream_viewer.state import State
from obslab_widgets.wording import duration

_WINDOWS = (
    ("1 min", 60.0),
    ("10 min", 600.0),
    ("1 hour", 3600.0),
    ("6 hours", 21_600.0),
    ("1 day", 86_400.0),
)


class Controls:
    """``change(**fields)`` is called with what the user chose; ``box`` is the widget to show."""

    def __init__(
        self, change: Callable[..., None], undo: Callable[[], None], redo: Callable[[], None]
    ) -> None:
        self._change = change
        self._names: tuple[str, ...] = ()
        self._shower = 0  # the thread that is showing: what the user does meanwhile, on another, still counts
        self._lock = threading.Lock()
        self.window = ipywidgets.Dropdown(
            options=_WINDOWS, value=600.0, description="Window", layout=_wide("160px")
        )
        self.window.style.description_width = "58px"
        self.pause = ipywidgets.ToggleButton(description="Pause", icon="pause", layout=_wide("85px"))
        self.axes = ipywidgets.ToggleButtons(options=["stacked", "common"], tooltips=[
            "each trace in a panel of its own", "traces of one unit together, from their medians"
        ])  # fmt: skip
        self.axes.style.button_width = "80px"
        self.level = ipywidgets.ToggleButtons(options=[("raw", "raw"), ("adjusted", "adjusted")], tooltips=[
            "what the instruments recorded", "X, Y, Z by the adopted baselines, without what flags take out"
        ])  # fmt: skip
        self.level.style.button_width = "80px"
        self.level.layout.display = "none"
        self.fixed = ipywidgets.Checkbox(description="Fixed span", indent=False, layout=_wide("92px"))
        self.span = ipywidgets.BoundedFloatText(
            value=100.0, min=0.01, max=1e6, step=10.0, layout=_wide("68px")
        )
        self.span.tooltip = "height of each panel, in the unit of its trace"
        self.choose = ipywidgets.ToggleButton(description="Traces", icon="list", layout=_wide("85px"))
        self.traces = ipywidgets.SelectMultiple(
            rows=6, layout=ipywidgets.Layout(width="340px", display="none")
        )
        self.traces.tooltip = "traces shown; hold Ctrl to choose several"
        self.undo = ipywidgets.Button(icon="undo", tooltip="Undo", layout=_wide("36px"))
        self.redo = ipywidgets.Button(icon="repeat", tooltip="Redo", layout=_wide("36px"))
        self.undo.on_click(lambda _button: undo())
        self.redo.on_click(lambda _button: redo())
        for control in (self.window, self.pause, self.level, self.axes, self.fixed, self.span, self.traces):
            control.observe(self._chosen, "value")
        self.choose.observe(self._unfold, "value")
        row = [self.window, self.pause, self.level, self.axes, self.fixed, self.span, self.choose]
        row.append(ipywidgets.HBox([self.undo, self.redo]))  # they wrap together
        layout = ipywidgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="2px 6px")
        self.box = ipywidgets.VBox([ipywidgets.HBox(row, layout=layout), self.traces])

    def show(self, state: State, names: Sequence[str], *, both: bool = False) -> None:
        """Write a state into the controls, without taking it for the user's doing.

        With ``both`` there are raw and adjusted data to choose from.
        """
        with self._lock:  # the pump's thread shows new traces, the main thread what the user did
            self._shower, self._names = threading.get_ident(), tuple(names)
            try:
                self._write(state)
                self.level.layout.display = "flex" if both else "none"
            finally:
                self._shower = 0

    def _write(self, state: State) -> None:
        if state.window_s in dict(_WINDOWS).values():
            self.window.options = _WINDOWS
        else:
            self.window.options = (*_WINDOWS, (duration(state.window_s), state.window_s))
        self.window.value = state.window_s
        self.pause.value = state.until_ns is not None
        self.pause.description = "Paused" if state.until_ns is not None else "Pause"
        self.axes.value = state.axes
        self.level.value = state.level
        self.fixed.value = state.span is not None
        self.span.disabled = state.span is None
        if state.span is not None:
            self.span.value = state.span
        self.traces.options = self._names
        self.traces.value = tuple(name for name in self._names if name not in state.hidden)

    def _chosen(self, event: dict[str, Any]) -> None:
        if self._shower == threading.get_ident():
            return
        if event["owner"] is self.window:
            self._change(window_s=event["new"])
        elif event["owner"] is self.pause:
            self._change(until_ns=time.time_ns() if event["new"] else None)
        elif event["owner"] in (self.axes, self.level):
            self._change(**{"axes" if event["owner"] is self.axes else "level": event["new"]})
        elif event["owner"] in (self.fixed, self.span):
            self._change(span=self.span.value if self.fixed.value else None)
        elif event["owner"] is self.traces:
            self._change(hidden=tuple(name for name in self._names if name not in event["new"]))

    def _unfold(self, event: dict[str, Any]) -> None:
        self.traces.layout.display = "flex" if event["new"] else "none"


def _wide(width: str) -> ipywidgets.Layout:
    return ipywidgets.Layout(width=width)
