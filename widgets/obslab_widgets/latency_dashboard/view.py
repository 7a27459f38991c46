"""The latency dashboard in a notebook: a thread that asks the archive, controls, and a bridge that draws."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from bokeh.model import Model

from obslab.errors import ConfigError
from obslab.telemetry.archive import requests
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.sample import Stream
from obslab.times import NS_PER_DAY, as_ns
from obslab_widgets.latency_dashboard import answer as answers
from obslab_widgets.latency_dashboard.answer import Answer
from obslab_widgets.latency_dashboard.asking import Asker
from obslab_widgets.latency_dashboard.calendar import FEW_DAYS, calendar, hour_at, month_at
from obslab_widgets.latency_dashboard.controls import Controls
from obslab_widgets.latency_dashboard.drawing import LATENCY, OUTAGES, Drawing
from obslab_widgets.latency_dashboard.listing import all_gaps
from obslab_widgets.latency_dashboard.model import frame, status, summary
from obslab_widgets.latency_dashboard.scopes import Scope, chosen, scopes
from obslab_widgets.latency_dashboard.squares import CALENDAR
from obslab_widgets.latency_dashboard.state import Interval, State
from obslab_widgets.panel import Panel
from obslab_widgets.selection import Selection

_State = State  # the class has a variable of that name
TABLES = ("latency", "histogram", "completeness", "gaps", "outages", "ages")


class LatencyDashboard(Panel[State]):
    """How late an archive's samples came, what is missing and why, and how to get it back.

    ``archive`` is an Archive or its folder. It is only read: what the user wants filled is asked of whoever
    collects into it. ``period_s`` is the length of time before now that is shown.
    """

    State: ClassVar[type] = State

    def __init__(
        self, archive: Archive | str | Path, *, period_s: float = 86_400.0, label: str = "latency and gaps"
    ) -> None:
        self._own = not isinstance(archive, Archive)
        self._archive = archive if isinstance(archive, Archive) else open_archive(archive)
        self._asking = threading.Lock()
        self._drawing: Drawing | None = None
        self._drawn: Answer | None = None
        self._asker = Asker(self._ask, self.touch)
        super().__init__(State(period_s=period_s), label)
        self._controls = Controls(self)
        self.children = [self._controls.above, self.bridge, self._controls.below]
        self.bridge.on("range", self._ranged).on("select", self._selected).on("press", self._pressed)
        self.bridge.on("reset", lambda _event: self._reset())
        self._shown()

    # ---- without a browser

    def follow(self, period_s: float | None = None) -> None:
        """Show what is before now again, as time goes by."""
        self.change(custom=None, period_s=period_s or self._state.period_s, page=0)

    def show_period(self, begin: Any, end: Any) -> None:
        """Show ``[begin, end)``, by the stations' clock."""
        self.change(custom=_interval(as_ns(begin), as_ns(end)), page=0)

    def select(self, selection: Selection | None) -> None:
        """Mark an interval, or none. When the time axes do not show it, they move to its days."""
        changes: dict[str, Any] = {"selection": selection, "page": 0}
        scope = self._scope()
        if selection and scope and selection.stations & set(scope.group.split()):
            period, _ = answers.periods(self._state, scope, time.time_ns())
            if selection.end_ns <= period.begin_ns or selection.begin_ns >= period.end_ns:
                days_ns = (selection.begin_ns // NS_PER_DAY, -(-selection.end_ns // NS_PER_DAY))
                changes["custom"] = Interval(*(day * NS_PER_DAY for day in days_ns))
        self.change(**changes)

    def mark(self, interval: Interval | None) -> None:
        """Mark an interval by the clock of what is shown."""
        scope = self._scope()
        if interval is None or scope is None:
            self.select(None)
            return
        self.select(Selection(scope.group, interval.begin_ns, interval.end_ns))

    def zoom(self) -> None:
        """Show the marked interval only."""
        marked = self._state.selection
        if marked:
            self.change(custom=Interval(marked.begin_ns, marked.end_ns))

    def backfill(self, topic: str, begin: Any, end: Any) -> None:
        """Have samples of ``[begin, end)`` asked for again; the archive's collector does it."""
        requests.ask(self._archive.path, topic, as_ns(begin), as_ns(end))
        self._asker.hurry()

    def backfill_all(self) -> int:
        """Ask for all gaps of the marked interval, or of the period; says how many were asked for."""
        asked = [gap for gap in all_gaps(self._answer()) if gap.can_ask]
        for gap in asked:
            requests.ask(self._archive.path, gap.stream.topic, gap.begin_ns, gap.end_ns)
        self._asker.hurry()
        return len(asked)

    @property
    def selection(self) -> tuple[np.datetime64, np.datetime64] | None:
        """The marked interval ``[begin, end)`` by the stations' clock."""
        marked = self._state.selection
        return (np.datetime64(marked.begin_ns, "ns"), np.datetime64(marked.end_ns, "ns")) if marked else None

    @property
    def marked(self) -> Selection | None:
        """The marked interval, with the stations whose clock it is by."""
        return self._state.selection

    @property
    def dataset(self) -> xr.Dataset:
        """Latency in windows of the period shown, asked anew; ``table`` gives the others."""
        return self.table("latency")

    def table(self, name: str) -> xr.Dataset:
        """One of TABLES: what is drawn, asked anew. Gaps are of the whole period."""
        if name not in TABLES:
            raise ConfigError(f"no table {name!r}; one of {', '.join(TABLES)}")
        found: xr.Dataset = getattr(self._answer(), name)
        return found

    def export(self, path: str | Path, table: str = "latency") -> Path:
        """Write one of TABLES as netCDF (``.nc``) or CSV (``.csv``)."""
        path, dataset = Path(path), self.table(table)
        if path.suffix == ".nc":
            dataset.to_netcdf(path)
        elif path.suffix == ".csv":
            dataset.to_dataframe().to_csv(path, index=False)
        else:
            raise ConfigError(f"cannot export to {path.name!r}; name it .nc or .csv")
        return path

    def summary(self) -> str:
        """What is shown, in words that stay the same while nothing changes."""
        return summary(self._answer())

    def code(self) -> str:
        """Python that brings a new ``dashboard`` to what is shown here."""
        plain = State()
        chosen_ = {
            name: value
            for name, value in self.state().items()
            if getattr(self._state, name) != getattr(plain, name)
        }
        return f"dashboard.restore({chosen_!r})"

    def close(self) -> None:
        if "_asker" in self.__dict__:  # ipywidgets closes what could not be made, too
            self._asker.stop()
            super().close()
            if self._own:
                self._archive.close()

    def __repr__(self) -> str:
        return f"<LatencyDashboard {self.bridge.label!r}>"

    # ---- pump's thread

    def feed(self) -> list[tuple[Model, dict[str, Any]]]:
        self._asker.seen()
        answer, state, trouble = self._asker.answer, self._state, self._asker.trouble
        level, text = (
            status(answer, time.time_ns()) if answer else ("busy", "computing: the archive is asked")
        )
        if trouble:
            level, text = "off", trouble
        elif answer and answer.state != state.question:
            level, text = "busy", f"computing; shown is what was chosen before · {text}"
        known = answer or answers.nothing(state.question, time.time_ns())
        drawn = frame(replace(known, state=state), computing=answer is None)
        self._controls.show(state, known.scopes, drawn.listing)
        self.bridge.tell(status={"level": level, "text": text}, table=drawn.table)
        if self._drawing is None or self._drawing.structure != drawn.structure:
            self._drawing = Drawing(drawn)
            self.bridge.show(self._drawing.root)
        self._drawn = answer
        return list(self._drawing.updates(drawn))

    def show_state(self) -> None:
        self._controls.show(self._state)
        self._asker.want(self._state.question)

    def _ask(self, state: _State) -> Answer:
        with self._asking:  # a year for the page and a year for a cell at once would take twice as long
            return answers.ask(self._archive, state, time.time_ns())

    def _answer(self) -> Answer:
        return self._ask(self._state)

    def _scope(self) -> Scope | None:
        return chosen(self._state.scope, scopes(self._archive))

    # ---- the browser's events, on the kernel's main loop

    def _ranged(self, event: dict[str, Any]) -> None:
        drawn = self._drawn
        if event["on"] not in (LATENCY, OUTAGES) or drawn is None or not event["x1"] > event["x0"]:
            return
        begin_ns, end_ns = round(event["x0"] * 1e6), round(event["x1"] * 1e6)
        moved_ns = abs(begin_ns - drawn.period.begin_ns) + abs(end_ns - drawn.period.end_ns)
        if moved_ns > (drawn.period.end_ns - drawn.period.begin_ns) / 1e6:  # else only latency's axis moved
            self.drag(custom=_round(begin_ns, end_ns))

    def _selected(self, event: dict[str, Any]) -> None:
        marked = event.get("geometry")
        if not marked:
            self.select(None)
        elif event["on"] == CALENDAR:
            self._clicked(marked["x"], marked["y"])
        else:
            begin_ms, end_ms = sorted((marked["x0"], marked["x1"]))
            if end_ms > begin_ms:
                self.mark(_round(begin_ms * 1e6, end_ms * 1e6))

    def _clicked(self, x: float, y: float) -> None:
        """On the calendar: an hour is marked; of many days the month is shown."""
        if self._drawn is not None and calendar(self._drawn).days > FEW_DAYS:
            self.change(custom=month_at(y), page=0)
        elif (hour := hour_at(x, y)) is not None:
            self.mark(hour)

    def _pressed(self, event: dict[str, Any]) -> None:
        word, topic, begin, end = event["on"].split(" ")
        if word == "fill":
            Stream.parse(topic)
            self.backfill(topic, int(begin), int(end))

    def _reset(self) -> None:
        if self._drawing is not None:
            self._drawing.forget()
        self.follow()
        self.touch()


def _round(begin_ns: float, end_ns: float) -> Interval:
    """To what a mouse can mean: a thousandth of the length, but no finer than 1 ms."""
    length_ns = end_ns - begin_ns
    step_ns = next((s for s in (60_000_000_000, 1_000_000_000) if length_ns > 1000 * s), 1_000_000)
    begin, end = (round(at_ns / step_ns) * step_ns for at_ns in (begin_ns, end_ns))
    return Interval(begin, max(end, begin + step_ns))


def _interval(begin_ns: int, end_ns: int) -> Interval:
    if end_ns <= begin_ns:
        raise ConfigError("the period does not end after it begins")
    return Interval(begin_ns, end_ns)
