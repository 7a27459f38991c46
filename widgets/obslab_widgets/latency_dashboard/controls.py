"""The controls around a latency dashboard, two ways: what the user does becomes changes of the State, and a
State is shown in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ipywidgets  # type: ignore[import-untyped]

from obslab.errors import BadTimeError
from obslab_widgets.latency_dashboard.instants import interval_of, text_of
from obslab_widgets.latency_dashboard.listing import Listing
from obslab_widgets.latency_dashboard.scopes import Scope, chosen
from obslab_widgets.latency_dashboard.state import PERIODS, Interval, State
from obslab_widgets.wording import duration

_CUSTOM = "custom period"


class Doer(Protocol):
    """What the user can ask for."""

    def change(self, **changes: Any) -> None: ...
    def mark(self, interval: Interval | None) -> None: ...
    def zoom(self) -> None: ...
    def backfill_all(self) -> int: ...
    def undo(self) -> None: ...
    def redo(self) -> None: ...


class Controls:
    """``above`` and ``below`` are the widgets to show around the plots."""

    def __init__(self, doer: Doer) -> None:
        self._doer = doer
        self._scopes: tuple[Scope, ...] = ()
        self._state = State()
        self._shower = 0  # the thread that is showing: what the user does meanwhile, on another, still counts
        self._lock = threading.Lock()
        self.scope = ipywidgets.Dropdown(options=[("no stream yet", "")], layout=_wide("195px"))
        self.scope.description, self.scope.style.description_width = "Show", "38px"
        self.period = ipywidgets.Dropdown(options=_options(None), layout=_wide("175px"))
        self.period.description, self.period.style.description_width = "Period", "46px"
        self.custom = _field("Shown", "2024-05-10 or begin/end", "period shown, as begin/end in UTC")
        self.marked = _field(
            "Marked", "2024-05-10T07 or begin/end", "marked time: a day, an hour, or begin/end"
        )
        self.zoom = _button("Zoom in", "search-plus", "Show the marked time only", doer.zoom, "95px")
        self.undo = _button("", "undo", "Undo", doer.undo, "36px")
        self.redo = _button("", "repeat", "Redo", doer.redo, "36px")
        self.word = ipywidgets.Label()
        self.order = ipywidgets.ToggleButtons(options=["newest", "longest"])
        self.order.tooltips = ["newest gaps first", "longest gaps first"]
        self.order.style.button_width = "70px"
        self.before = _button("", "chevron-left", "Earlier page of gaps", lambda: self._turn(-1), "36px")
        self.after = _button("", "chevron-right", "Next page of gaps", lambda: self._turn(1), "36px")
        self.page = ipywidgets.Label()
        self.fill = _button(
            "Backfill all", "download", "ask the stations for all of these gaps", self._fill, "120px"
        )
        self.told = ipywidgets.Label()
        for control in (self.scope, self.period, self.custom, self.marked, self.order):
            control.observe(self._chosen, "value")
        steps = ipywidgets.HBox([self.undo, self.redo])
        marked = ipywidgets.HBox([self.marked, self.zoom])
        top = (self.scope, self.period, steps, self.custom, marked)
        pages = ipywidgets.HBox([self.before, self.page, self.after])
        bottom = (self.word, self.order, pages, self.fill, self.told)
        self.above, self.below = _row(top), _row(bottom)

    def show(
        self, state: State, scopes: Sequence[Scope] | None = None, listing: Listing | None = None
    ) -> None:
        """Write a state into the controls, without taking it for the user's doing."""
        with self._lock:
            self._shower, self._state = threading.get_ident(), state
            self._scopes = self._scopes if scopes is None else tuple(scopes)
            try:
                self._write(state)
                if listing is not None:
                    self._write_list(listing)
            finally:
                self._shower = 0

    def _write(self, state: State) -> None:
        options = [(scope.label, scope.name) for scope in self._scopes] or [("no stream yet", "")]
        scope = chosen(state.scope, self._scopes)
        _set(self.scope, "options", tuple(options))
        _set(self.scope, "value", scope.name if scope else "")
        _set(self.period, "options", _options(state))
        _set(self.period, "value", _CUSTOM if state.custom else state.period_s)
        _set(self.custom, "value", text_of(state.custom) if state.custom else "")
        marked = state.selection
        _set(self.marked, "value", text_of(Interval(marked.begin_ns, marked.end_ns)) if marked else "")
        _set(self.zoom, "disabled", marked is None)
        _set(self.order, "value", state.order)

    def _write_list(self, listing: Listing) -> None:
        _set(self.word, "value", listing.word)
        _set(self.page, "value", f"page {listing.page + 1} of {listing.pages}")
        _set(self.before, "disabled", listing.page == 0)
        _set(self.after, "disabled", listing.page + 1 >= listing.pages)
        _set(self.fill, "disabled", not any(gap.can_ask for gap in listing.gaps) and listing.pages == 1)

    def _chosen(self, event: dict[str, Any]) -> None:
        if self._shower == threading.get_ident():
            return
        owner, value = event["owner"], event["new"]
        if owner is self.scope:
            self._doer.change(scope=value, page=0)
        elif owner is self.period and value != _CUSTOM:
            self._doer.change(period_s=value, custom=None, page=0)
        elif owner is self.order:
            self._doer.change(order=value, page=0)
        elif owner in (self.custom, self.marked):
            self._typed(owner, value)

    def _typed(self, owner: Any, text: str) -> None:
        try:
            interval = interval_of(text) if text.strip() else None
        except BadTimeError as error:
            _set(self.told, "value", error.message)
            self.show(self._state)
            return
        _set(self.told, "value", "")
        if owner is self.custom:
            self._doer.change(custom=interval, page=0)
        else:
            self._doer.mark(interval)

    def _turn(self, by: int) -> None:
        self._doer.change(page=max(0, self._state.page + by))

    def _fill(self) -> None:
        self._doer.backfill_all()


def _options(state: State | None) -> tuple[tuple[str, object], ...]:
    options: list[tuple[str, object]] = list(PERIODS)
    if state and state.period_s not in dict(PERIODS).values():
        options.append((f"last {duration(state.period_s)}", state.period_s))
    return (*options, (_CUSTOM, _CUSTOM)) if state and state.custom else tuple(options)


def _set(control: Any, name: str, value: Any) -> None:
    """Only what differs: each assignment is a message to the page."""
    if getattr(control, name) != value:
        setattr(control, name, value)


def _field(description: str, placeholder: str, tooltip: str) -> Any:
    field = ipywidgets.Text(placeholder=placeholder, continuous_update=False, layout=_wide("340px"))
    field.description, field.style.description_width, field.tooltip = description, "50px", tooltip
    return field


def _button(text: str, icon: str, tooltip: str, pressed: Callable[[], object], width: str) -> Any:
    button = ipywidgets.Button(description=text, icon=icon, tooltip=tooltip, layout=_wide(width))
    button.on_click(lambda _button: pressed())
    return button


def _row(parts: Sequence[Any]) -> Any:
    layout = ipywidgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="2px 6px")
    return ipywidgets.HBox(list(parts), layout=layout)


def _wide(width: str) -> Any:
    return ipywidgets.Layout(width=width)
