"""The controls for flags below a stream viewer: what is flagged, why, and the list of those in the window."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ipywidgets  # type: ignore[import-untyped]

from obslab.errors import ObslabError
from obslab.telemetry.flags.entry import KINDS
from obslab_widgets.stream_viewer.marks import Mark
from obslab_widgets.stream_viewer.state import State


class Doer(Protocol):
    """What the user can ask for."""

    def change(self, **changes: Any) -> None: ...
    def flag(self, reason: str, *, kind: str = "mark") -> int: ...
    def propose(self) -> list[int]: ...
    def confirm(self, flag: Sequence[int], reason: str = "") -> None: ...
    def withdraw(self, flag: Sequence[int], reason: str = "") -> None: ...
    def undo_flag(self) -> None: ...
    def redo_flag(self) -> None: ...


class FlagControls:
    """``box`` is the widget to show; ``failed`` is called with an error of what a button asked for."""

    def __init__(self, doer: Doer, failed: Callable[[ObslabError], None]) -> None:
        self._doer, self._failed = doer, failed
        self._shower = 0  # the thread that is showing: what the user does meanwhile, on another, still counts
        self._lock = threading.Lock()
        self.target = ipywidgets.Dropdown(options=[("", "")], layout=_wide("235px"))
        self.target.description, self.target.style.description_width = "Flag", "32px"
        self.target.tooltip = "the stream, or the component, that the flag is put on"
        self.kind = ipywidgets.Dropdown(options=KINDS, value="mark", layout=_wide("78px"))
        self.kind.tooltip = "kind of flag"
        self.reason = ipywidgets.Text(placeholder="why?", layout=_wide("210px"))
        self.reason.tooltip = "reason, kept with the flag"
        self.set = self._button("Flag", "flag", "flag the marked interval (Box Select)", self._set, "72px")
        self.detect = self._button("Detect", "search", "look for spikes and steps here", doer.propose, "82px")
        self.list = ipywidgets.SelectMultiple(options=[], rows=4, layout=_wide("100%"))
        self.list.layout.flex = "1 1 420px"
        self.list.tooltip = "flags in the window; hold Ctrl to choose several"
        self.confirm = self._button("Confirm", "check", "take these samples out", self._confirm, "100px")
        self.withdraw = self._button("Withdraw", "times", "let these samples count", self._withdraw, "100px")
        self.undo = self._button("Undo flag", "undo", "take the last change back", doer.undo_flag, "100px")
        self.redo = self._button("Redo flag", "repeat", "do it again", doer.redo_flag, "100px")
        self.told = ipywidgets.Label()
        self.target.observe(self._aimed, "value")
        self.list.observe(self._picked, "value")
        top = _row([self.target, self.kind, self.reason, self.set, self.detect, self.told])
        steps = ipywidgets.VBox([_row([self.confirm, self.withdraw]), _row([self.undo, self.redo])])
        steps.layout.flex = "0 0 auto"
        bottom = ipywidgets.HBox([self.list, steps], layout=ipywidgets.Layout(width="100%", grid_gap="6px"))
        self.box = ipywidgets.VBox([top, bottom])

    def show(
        self,
        state: State,
        targets: Sequence[str],
        marks: Sequence[Mark],
        steps: tuple[bool, bool],
        word: str,
    ) -> None:
        """Write what there is into the controls; ``steps``: is there something to undo, to redo?"""
        with self._lock:
            self._shower = threading.get_ident()
            try:
                first, *others = targets or ("nothing yet",)
                known = [*others, *({state.target} - {"", *others})]
                _set(self.target, "options", ((first, ""), *((name, name) for name in known)))
                _set(self.target, "value", state.target)
                options = tuple((mark.words, mark.id) for mark in reversed(marks))
                if options != self.list.options:
                    chosen = set(self.list.value)
                    self.list.options = options
                    self.list.value = tuple(number for _, number in options if number in chosen)
                _set(self.told, "value", word)
                _set(self.undo, "disabled", not steps[0])
                _set(self.redo, "disabled", not steps[1])
                self._show_picked()
            finally:
                self._shower = 0

    def _aimed(self, event: dict[str, Any]) -> None:
        if self._shower != threading.get_ident():
            self._doer.change(target=event["new"])

    def _picked(self, _event: dict[str, Any]) -> None:
        if self._shower != threading.get_ident():
            self._show_picked()

    def _show_picked(self) -> None:
        for button in (self.confirm, self.withdraw):
            _set(button, "disabled", not self.list.value)

    def _set(self) -> None:
        self._doer.flag(self.reason.value, kind=self.kind.value)
        self.reason.value = ""

    def _confirm(self) -> None:
        self._doer.confirm(self.list.value, self.reason.value)

    def _withdraw(self) -> None:
        self._doer.withdraw(self.list.value, self.reason.value)

    def _button(self, text: str, icon: str, tooltip: str, pressed: Callable[[], object], width: str) -> Any:
        button = ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, layout=_wide(width))

        def press(_button: object) -> None:
            try:
                pressed()
            except ObslabError as error:
                self._failed(error)

        button.on_click(press)
        return button


def _set(control: Any, name: str, value: Any) -> None:
    """Only what differs: each assignment is a message to the page."""
    if getattr(control, name) != value:
        setattr(control, name, value)


def _row(parts: Sequence[Any]) -> Any:
    layout = ipywidgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="2px 6px")
    return ipywidgets.HBox(list(parts), layout=layout)


def _wide(width: str) -> Any:
    return ipywidgets.Layout(width=width)
