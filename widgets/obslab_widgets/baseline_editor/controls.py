"""The controls around a baseline editor, two ways: what the user does becomes changes of the State, and a
State is shown in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ipywidgets  # type: ignore[import-untyped]

from obslab.errors import ObslabError
from obslab.times import iso
from obslab_widgets.baseline_editor.fields import (
    days,
    instant_ns,
    lines,
    period_text,
    validity,
    validity_text,
)
from obslab_widgets.baseline_editor.state import NEW, State
from obslab_widgets.latency_dashboard.instants import interval_of
from obslab_widgets.parts import plain

_BY_HAND = "by hand"
_AUTO = "auto"


class Doer(Protocol):
    """What the user can ask for."""

    def change(self, **changes: Any) -> None: ...
    def estimate_pier_difference(self) -> float: ...
    def exclude(self) -> None: ...
    def include(self) -> None: ...
    def pick(self, line: str) -> None: ...
    def point(self, time: int) -> None: ...
    def add_step(self) -> None: ...
    def add_knot(self) -> None: ...
    def remove(self) -> None: ...
    def adopt(self) -> Any: ...
    def undo(self) -> None: ...
    def redo(self) -> None: ...


class Controls:
    """``above`` and ``below`` are the widgets to show around the plots."""

    def __init__(self, doer: Doer, vectors: Sequence[str], scalars: Sequence[str]) -> None:
        self._doer = doer
        self._shower = 0  # the thread that is showing: what the user does meanwhile, on another, still counts
        self._lock = threading.Lock()
        self._shown: tuple[State, tuple[int, ...]] = (State(), ())
        self._make_fields(vectors, scalars)
        self._make_buttons(doer)
        self._watched = {
            self.instrument: "instrument", self.scalar: "scalar", self.pier: "pier_difference_nt",
            self.method: "method", self.degree: "degree", self.sigma: "reject_sigma", self.restart: "restart",
            self.residuals: "residuals", self.author: "author", self.reason: "reason",
        }  # fmt: skip
        typed = (self.validity, self.knots, self.smoothing, self.picked, self.at, self.period)
        for control in (*self._watched, *typed):
            control.observe(self._chosen, "value")
        piers = ipywidgets.HBox([self.pier, self.estimate])
        steps = ipywidgets.HBox([self.undo, self.redo])
        line = ipywidgets.HBox([self.picked, self.at])
        lines = ipywidgets.HBox([self.add_step, self.add_knot, self.remove])
        marks = ipywidgets.HBox([self.exclude, self.include])
        rows = (
            (self.instrument, self.scalar, piers, steps),
            (self.method, self.degree, self.knots, self.smoothing, self.sigma, self.restart),
            (line, lines, marks),
            (self.validity, self.residuals, self.period),
        )
        self.above = ipywidgets.VBox([_row(row) for row in rows])
        self.below = _row([self.author, self.reason, self.adopt, self.told])

    def _make_fields(self, vectors: Sequence[str], scalars: Sequence[str]) -> None:
        self.instrument = _choice("Variometer", [(name, name) for name in vectors] or [("none", "")], 200, 72)
        self.scalar = _choice("Scalar", [(name, name) for name in scalars] or [("none", "")], 170, 46)
        self.pier = _number("Pier difference (nT)", 215, 128, step=0.01)
        self.method = _choice("Curve", [("spline", "spline"), ("polynomial", "polynomial")], 155, 42)
        self.degree = _choice("Degree", [(str(number), number) for number in range(6)], 108, 54)
        self.knots = _choice("Knots", _knots(None), 138, 46)
        self.smoothing = _text(
            "Smoothing (days)", "auto", "period followed with half its amplitude", 195, 122
        )
        self.sigma = _number("Reject beyond (sigma)", 212, 148, step=0.5, low=0.5)
        self.restart = ipywidgets.Checkbox(
            description="New slope after steps", indent=False, layout=_wide(185)
        )
        self.picked = _choice("Line", [("new", NEW)], 240, 34)
        self.at = _text("at", "click, or type a time", "time of the line; click on a panel to point", 200, 18)
        self.validity = _text(
            "Valid", "days of the spots, or begin/end", "interval of validity, as begin/end in UTC", 290, 38
        )
        self.residuals = _choice("Residuals", [("all in nT", "all")], 180, 72)
        self.period = _text("ΔF of", "last day, or a day, or begin/end", "period shown, in UTC", 270, 44)
        self.author = _text("Author", "who adopts it", "who adopts the baseline", 230, 50)
        self.reason = _text("Reason", "why it is as it is", "why the baseline is as it is", 430, 54)
        self.told = ipywidgets.Label(layout=ipywidgets.Layout(flex="1 1 100%", min_width="200px"))

    def _make_buttons(self, doer: Doer) -> None:
        estimate = self._do(doer.estimate_pier_difference)
        self.estimate = _button("Estimate", "", "Make the median of delta-F zero", estimate, 80)
        self.undo = _button("", "undo", "Undo", doer.undo, 36)
        self.redo = _button("", "repeat", "Redo", doer.redo, 36)
        self.exclude = _button("Exclude", "times", "Leave the marked spots out", self._do(doer.exclude), 95)
        self.include = _button("Include", "check", "Use the marked spots again", self._do(doer.include), 95)
        self.add_step = _button("Add step", "", "A step at this time", self._do(doer.add_step), 80)
        self.add_knot = _button("Add knot", "", "A knot at this time", self._do(doer.add_knot), 80)
        self.remove = _button("Remove", "trash", "Remove this step or knot", self._do(doer.remove), 95)
        self.adopt = _button("Adopt", "save", "Write the baseline to the folder", self._adopt, 95)
        self.adopt.button_style = "primary"

    def show(self, state: State, knots: tuple[int, ...], components: Sequence[str] = ()) -> None:
        """Write a state into the controls, without taking it for the user's doing."""
        with self._lock:
            self._shower, self._shown = threading.get_ident(), (state, knots)
            try:
                self._write(state, knots, components)
            finally:
                self._shower = 0

    def tell(self, text: str) -> None:
        """One line below: what was written, or why not."""
        _set(self.told, "value", plain(text))

    def _write(self, state: State, knots: tuple[int, ...], components: Sequence[str]) -> None:
        for control, name in self._watched.items():
            value = getattr(state, name)
            if control in (self.instrument, self.scalar):
                value = value or control.options[0][1]
            if control is self.residuals and components:
                options = [("all in nT", "all"), *((f"{name.upper()}0", name) for name in components)]
                _set(control, "options", tuple(options))
                value = value if value in components else "all"
            if not hasattr(control, "options") or value in [option for _, option in control.options]:
                _set(control, "value", value)
        _set(self.validity, "value", validity_text(state.begin_ns, state.end_ns))
        _set(self.knots, "options", _knots(state.knots))
        _set(self.knots, "value", _word(state.knots))
        _set(self.smoothing, "value", "" if state.smoothing is None else f"{state.smoothing:g}")
        _set(self.smoothing, "disabled", state.method == "polynomial")
        offered = lines(state, knots)
        _set(self.picked, "options", offered)
        _set(self.picked, "value", state.picked if state.picked in [line for _, line in offered] else NEW)
        _set(self.at, "value", "" if state.at_ns is None else iso(state.at_ns, 0).removesuffix("Z"))
        _set(self.period, "value", period_text(state.period))
        _set(self.exclude, "disabled", not set(state.selected) - set(state.excluded))
        _set(self.include, "disabled", not set(state.selected) & set(state.excluded))
        _set(self.remove, "disabled", state.picked == NEW)
        for button in (self.add_step, self.add_knot):
            _set(button, "disabled", state.at_ns is None)
        _set(self.restart, "disabled", not state.steps)

    def _chosen(self, event: dict[str, Any]) -> None:
        if self._shower == threading.get_ident():
            return
        self._do(lambda: self._change(event["owner"], event["new"]))()

    def _change(self, owner: Any, value: Any) -> None:
        text = value.strip() if isinstance(value, str) else ""
        if owner in self._watched:
            self._doer.change(**{self._watched[owner]: value})
        elif owner is self.knots and value != _BY_HAND:
            self._doer.change(knots=None if value == _AUTO else int(value))
        elif owner is self.smoothing:
            self._doer.change(smoothing=days(text))
        elif owner is self.validity:
            begin_ns, end_ns = validity(text)
            self._doer.change(begin_ns=begin_ns, end_ns=end_ns)
        elif owner is self.picked:
            self._doer.pick(value)
        elif owner is self.at:
            self._doer.point(instant_ns(text)) if text else self._doer.change(at_ns=None, picked=NEW)
        elif owner is self.period:
            self._doer.change(period=interval_of(text) if text else None)

    def _adopt(self) -> None:
        try:
            self._doer.adopt()
        except (ObslabError, OSError) as error:
            self.tell(f"not adopted: {error}")

    def _do(self, action: Callable[[], object]) -> Callable[[], None]:
        """The action; what it cannot do is told below, and the controls show what is."""

        def act() -> None:
            try:
                action()
                self.tell("")
            except ObslabError as error:
                self.tell(error.message)
                self.show(*self._shown)

        return act


def _knots(knots: Any) -> tuple[str, ...]:
    """What may be chosen, with what is; a Dropdown cannot have None for a value."""
    usual = (_AUTO, *(str(number) for number in range(13)))
    return usual if _word(knots) in usual else (*usual, _word(knots))


def _word(knots: Any) -> str:
    return _AUTO if knots is None else _BY_HAND if isinstance(knots, tuple) else str(knots)


def _choice(description: str, options: Sequence[Any], width_px: int, word_px: int) -> Any:
    control = ipywidgets.Dropdown(options=tuple(options), description=description, layout=_wide(width_px))
    control.style.description_width = f"{word_px}px"
    return control


def _number(description: str, width_px: int, word_px: int, *, step: float, low: float = -1e5) -> Any:
    control = ipywidgets.BoundedFloatText(min=low, max=1e5, step=step, layout=_wide(width_px))
    control.description, control.style.description_width = description, f"{word_px}px"
    return control


def _text(description: str, placeholder: str, tooltip: str, width_px: int, word_px: int) -> Any:
    control = ipywidgets.Text(placeholder=placeholder, continuous_update=False, layout=_wide(width_px))
    control.description, control.tooltip = description, tooltip
    control.style.description_width = f"{word_px}px"
    return control


def _button(text: str, icon: str, tooltip: str, pressed: Callable[[], object], width_px: int) -> Any:
    button = ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, layout=_wide(width_px))
    button.on_click(lambda _button: pressed())
    return button


def _set(control: Any, name: str, value: Any) -> None:
    """Only what differs: each assignment is a message to the page."""
    if getattr(control, name) != value:
        setattr(control, name, value)


def _row(parts: Sequence[Any]) -> Any:
    layout = ipywidgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="2px 6px")
    return ipywidgets.HBox(list(parts), layout=layout)


def _wide(width_px: int) -> Any:
    return ipywidgets.Layout(width=f"{width_px}px")
