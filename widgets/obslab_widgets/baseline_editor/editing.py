"""What a person, or a program without a browser, does with a baseline: look, change, adopt."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ConfigError
from obslab.telemetry.baseline import Baseline
from obslab.times import Instant, as_ns, as_utc, from_ns, now_ns, to_ns
from obslab_widgets.baseline_editor import edits
from obslab_widgets.baseline_editor.adopting import adopt
from obslab_widgets.baseline_editor.axes import kinds
from obslab_widgets.baseline_editor.desk import Desk, estimated_pier_nt
from obslab_widgets.baseline_editor.state import NEW, State
from obslab_widgets.baseline_editor.telling import summary
from obslab_widgets.latency_dashboard.state import Interval
from obslab_widgets.panel import Panel
from obslab_widgets.selection import Selection

_State = State  # the class has a variable of that name


class Editing(Panel[State]):
    """The part of a BaselineEditor that needs no browser."""

    State: ClassVar[type] = State

    def __init__(self, desk: Desk, initial: _State, label: str) -> None:
        self._desk = desk
        super().__init__(initial, label)

    # ---- what there is

    @property
    def spots(self) -> xr.Dataset:
        """SPOTS, with ``used`` and ``note`` as they are after exclusion by hand and rejection by the fit."""
        return self._desk.fit(self._state).spots

    @property
    def baseline(self) -> Baseline:
        """The curve as it is now; nobody has adopted it. Raises BaselineError."""
        return self._desk.fit(self._state).baseline

    @property
    def residuals(self) -> xr.Dataset:
        """RESIDUALS: spot minus curve, of all spots."""
        return self._desk.fit(self._state).residuals

    @property
    def effect(self) -> xr.Dataset:
        """Delta-F in nT with the baseline adopted before and with this one: ``before``, ``after``."""
        return self._desk.effect(self._state)

    @property
    def dataset(self) -> xr.Dataset:
        """The spots with ``residual`` and ``fitted``, and ``kind``: used, rejected, excluded or unusable."""
        work = self._desk.work(self._state.question)
        if work.fit is None:
            return self._desk.spots(self._state)
        extra = work.fit.residuals[["residual", "fitted", "sigmas"]]
        return work.fit.spots.assign(extra.data_vars).assign(kind=("spot", np.array(kinds(work), str)))

    @property
    def selection(self) -> NDArray[np.datetime64]:
        """Times of the marked spots."""
        return from_ns(np.array(self._state.selected, dtype=np.int64))

    @property
    def marked(self) -> Selection | None:
        """The period that delta-F is shown of, when one is chosen; for ``link``."""
        period = self._state.period
        return Selection(self._desk.supply.station, period.begin_ns, period.end_ns) if period else None

    def select(self, selection: Selection | None) -> None:
        """Show delta-F of a marked interval of this station, or of the last day."""
        if selection is not None and self._desk.supply.station not in selection.stations:
            return
        self.change(period=Interval(selection.begin_ns, selection.end_ns) if selection else None)

    # ---- what can be done

    def mark(self, *which: Any) -> None:
        """Mark spots: indices in order of time, or ``begin, end``; nothing marks none."""
        self.change(selected=self._times(which) if which else ())

    def exclude(self, *which: Any) -> None:
        """Leave spots out: indices in order of time, or ``begin, end``; nothing means the marked ones."""
        self.change(**edits.excluded(self._state, self._times(which)))

    def include(self, *which: Any) -> None:
        """Use spots again that were excluded by hand, given as for ``exclude``."""
        self.change(**edits.included(self._state, self._times(which)))

    def point(self, time: Instant) -> None:
        """Point at a time, or put the picked step or knot there."""
        if self._state.picked != NEW:
            self.change(**edits.moved(self._state, self._knots(), self._state.picked, as_ns(time)))
        else:
            self.change(at_ns=as_ns(time))

    def pick(self, line: str) -> None:
        """Pick ``step 0``, ``knot 2`` or, for none, ``new``."""
        self.change(**edits.picked(self._state, self._knots(), line))

    def add_step(self, time: Instant | None = None) -> None:
        """A step, at the time pointed at unless given."""
        self.change(**edits.with_step(self._state, self._at(time)))

    def move_step(self, number: int, time: Instant) -> None:
        """Steps are numbered from 0 in order of time."""
        self.change(**edits.moved(self._state, self._knots(), f"step {number}", as_ns(time)))

    def add_knot(self, time: Instant | None = None) -> None:
        """A knot besides those there are, which are then where they are by hand."""
        self.change(**edits.with_knot(self._state, self._knots(), self._at(time)))

    def move_knot(self, number: int, time: Instant) -> None:
        """Knots are numbered from 0 in order of time."""
        self.change(**edits.moved(self._state, self._knots(), f"knot {number}", as_ns(time)))

    def remove(self, line: str | None = None) -> None:
        """Remove ``step 0`` or ``knot 2``; the picked one unless given."""
        self.change(**edits.removed(self._state, self._knots(), line or self._state.picked))

    def estimate_pier_difference(self) -> float:
        """Set the pier difference that makes the median of delta-F zero. Raises BaselineError."""
        found = round(estimated_pier_nt(self._desk, self._state), 2)
        self.change(pier_difference_nt=found)
        return found

    def adopt(self, author: str | None = None, reason: str | None = None) -> Path:
        """Write the baseline to the folder; the file. Raises BaselineError without author or reason."""
        author = self._state.author if author is None else author
        reason = self._state.reason if reason is None else reason
        return adopt(self.baseline, self._desk.adopted, author, reason, as_utc(now_ns()))

    def summary(self) -> str:
        """What is shown, in words that stay the same while nothing is changed."""
        return summary(self._desk.work(self._state.question))

    def code(self) -> str:
        """Python that brings a new ``editor`` to what is shown here."""
        plain = State()
        chosen = {
            name: value
            for name, value in self.state().items()
            if getattr(self._state, name) != getattr(plain, name)
        }
        return f"editor.restore({chosen!r})"

    def _set(self, changes: dict[str, Any], *, drag: bool) -> None:
        kind, _, _ = self._state.picked.partition(" ")
        if f"{kind}s" in changes and "picked" not in changes:  # its number may be another's now
            changes = {**changes, "picked": NEW}
        super()._set(changes, drag=drag)

    def _knots(self) -> tuple[int, ...]:
        return self._desk.knots(self._state)

    def _at(self, time: Instant | None) -> int:
        if time is not None:
            return as_ns(time)
        if self._state.at_ns is None:
            raise ConfigError("say where: click on a panel, or enter a time")
        return self._state.at_ns

    def _times(self, which: tuple[Any, ...]) -> tuple[int, ...]:
        """Times in ns of the spots meant."""
        if not which:
            return self._state.selected
        time_ns = to_ns(self._desk.spots(self._state)["time"].values)
        if len(which) == 2 and not all(isinstance(one, int | np.integer) for one in which):
            begin_ns, end_ns = (as_ns(one) for one in which)
            return tuple(time_ns[(time_ns >= begin_ns) & (time_ns < end_ns)].tolist())
        places = np.atleast_1d(np.asarray(which[0] if len(which) == 1 else which)).astype(np.int64)
        if ((places < -time_ns.size) | (places >= time_ns.size)).any():
            raise ConfigError(
                f"there are {time_ns.size} spots, from 0 to {time_ns.size - 1}; not {places.tolist()}"
            )
        return tuple(sorted(time_ns[places].tolist()))
