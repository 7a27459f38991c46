"""The desk: absolutes and samples at hand, and what a State makes of them, step by step.

measurements -> absolutes -> spots -> fit -> effect; each step is kept until what it depends on changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import BaselineError, ObslabError, SheetError
from obslab.telemetry.absolutes import Measurement, reduce
from obslab.telemetry.baseline import Baselines, Fit, fit, spots
from obslab.times import to_ns
from obslab_widgets.baseline_editor import effect as effects
from obslab_widgets.baseline_editor.fitted import jumps_left, knots_of
from obslab_widgets.baseline_editor.state import State
from obslab_widgets.baseline_editor.supply import Supply, windows_around
from obslab_widgets.latency_dashboard.state import Interval

T = TypeVar("T")
Absolutes = xr.Dataset | tuple[Measurement, ...] | Callable[[], tuple[Measurement, ...]]

BY_HAND = "excluded by hand"
_MARGIN_NS = 120_000_000_000  # samples around a measurement: interpolation needs one on either side
_LEAST_RISE = 0.2  # of delta-F with the pier difference: 1 when F was measured on the pillar, 0 when not
_KEPT = 4  # answers of each step: undo goes back to the last few


@dataclass(frozen=True)
class Work:
    """All that follows from a State; ``troubles`` say what cannot be worked out, the gravest first.

    ``jumps`` are those of the spots that the curve has no steps for; None until they were looked for.
    """

    state: State
    spots: xr.Dataset | None = None
    fit: Fit | None = None
    jumps: xr.Dataset | None = None
    period: Interval | None = None
    effect: xr.Dataset | None = None
    troubles: tuple[str, ...] = ()


class Desk:
    """``absolutes`` is an ABSOLUTES Dataset, or measurements that are reduced with the chosen instruments.

    Any thread may ask; one works at a time.
    """

    def __init__(
        self,
        supply: Supply,
        absolutes: Absolutes,
        adopted: Baselines | None,
    ) -> None:
        self.supply, self.adopted = supply, adopted
        self._given = absolutes
        self._kept: dict[str, dict[Any, Any]] = {}
        self._lock = threading.RLock()

    # ---- each step; raises an ObslabError

    def instrument(self, state: State) -> str:
        """The variometer meant: the first, unless one is chosen."""
        name = state.instrument or next(iter(self.supply.vectors), "")
        if not name:
            raise BaselineError(
                f"there is no variometer data of {self.supply.station or 'any station'}; "
                "collect some, or give a Dataset"
            )
        return name

    def scalar(self, state: State) -> str:
        """The scalar meant; empty for none."""
        return state.scalar or next(iter(self.supply.scalars), "")

    def spots(self, state: State) -> xr.Dataset:
        """Spot baselines; those excluded by hand are not ``used`` and say so."""
        made = self._spots(state)
        out = np.isin(to_ns(made["time"].values), state.excluded)
        note = np.where(out & made["used"].values, BY_HAND, made["note"].values.astype(str))
        return made.assign(used=made["used"] & ~out, note=made["note"].copy(data=note))

    def fit(self, state: State) -> Fit:
        """The curve through the spots, with the State's options."""
        options = (
            state.method, state.degree, state.knots, state.smoothing, state.reject_sigma, state.steps,
            state.restart, state.begin_ns, state.end_ns, state.excluded,
        )  # fmt: skip
        return self._keep("fit", (self._source(state), options), lambda: self._fit(state))

    def knots(self, state: State) -> tuple[int, ...]:
        """Times in ns of the inner knots that the State asks for; none where it leaves them to the method."""
        return knots_of(state, self.fit(state) if isinstance(state.knots, int) else None)

    def period(self, state: State) -> Interval | None:
        """What delta-F is shown of: the last day with data that the baseline is valid on, unless chosen."""
        if state.period is not None:
            return state.period
        end_ns = self.supply.end_ns(self.instrument(state))
        if end_ns is None:
            return None
        valid = self.fit(state).baseline
        first_ns, last_ns = to_ns(np.array([valid.begin, valid.end]))
        return effects.last_day(min(end_ns, last_ns)) if end_ns > first_ns else None

    def effect(self, state: State) -> xr.Dataset:
        """``effects.EFFECT``: delta-F of the period before and after."""
        baseline, period, scalar = self.fit(state).baseline, self.period(state), self.scalar(state)
        if not scalar:
            raise BaselineError("there is no scalar, so no delta-F: give one to see the effect")
        if period is None:
            raise BaselineError("there is no sample since the baseline begins, so no delta-F")
        instrument = self.instrument(state)
        pair = self._keep(
            "pair",
            (instrument, scalar, period),
            lambda: effects.pair(self.supply, instrument, scalar, period),
        )
        found = effects.effect(pair, baseline, self.adopted, state.pier_difference_nt)
        if not found.sizes["time"]:
            raise BaselineError(f"{instrument} and {scalar} have no samples in common in this period")
        return found

    # ---- all of it

    def work(self, state: State, *, jumps: bool = True) -> Work:
        """What can be worked out; each failure is told and does not hold up the rest.

        Without ``jumps`` it is fast enough for a line that is being pulled.
        """
        troubles: list[str] = []

        def attempt(step: Callable[[], T]) -> T | None:
            try:
                return step()
            except ObslabError as error:
                troubles.append(error.message)
                return None

        with self._lock:
            found = attempt(lambda: self.spots(state))
            curve = attempt(lambda: self.fit(state)) if found is not None else None
            if curve is None:
                return Work(state, found, troubles=tuple(troubles))
            return Work(
                state,
                found,
                curve,
                attempt(lambda: self._jumps(state)) if jumps else None,
                attempt(lambda: self.period(state)),
                attempt(lambda: self.effect(state)),
                tuple(troubles),
            )

    def _fit(self, state: State) -> Fit:
        return fit(
            self.spots(state),
            method=state.method,
            degree=state.degree,
            knots=state.knots,
            smoothing=state.smoothing,
            steps=state.steps,
            restart=state.restart,
            begin=state.begin_ns,
            end=state.end_ns,
            reject_sigma=state.reject_sigma,
        )

    def _jumps(self, state: State) -> xr.Dataset:
        curve = self.fit(state)
        return self._keep("jumps", curve, lambda: jumps_left(self.spots(state), curve))

    def _source(self, state: State) -> tuple[str, str, float]:
        return self.instrument(state), self.scalar(state), state.pier_difference_nt

    def _spots(self, state: State) -> xr.Dataset:
        return self._keep("spots", self._source(state), lambda: self._make_spots(state))

    def _make_spots(self, state: State) -> xr.Dataset:
        instrument, scalar, pier_nt = self._source(state)
        given = self._given
        if not isinstance(given, xr.Dataset):
            given = self._keep("measurements", (), self._measurements)
            first = np.array([measurement.begin_ns for measurement in given], np.int64)
            last = np.array([measurement.end_ns for measurement in given], np.int64)
        else:
            first, last = to_ns(given["time"].values), to_ns(given["end"].values)
        if not first.size:
            raise SheetError(
                f"there are no absolute measurements of {self.supply.station or 'this station'}: "
                "give an ABSOLUTES Dataset, or sheets"
            )
        around = windows_around(first, last, _MARGIN_NS)
        vector = self._samples(instrument, around)
        f = self._samples(scalar, around) if scalar else None
        if not isinstance(given, xr.Dataset):
            given = reduce(given, vector, f, pier_difference_nt=pier_nt)
        return spots(given, vector, f, pier_difference_nt=pier_nt).sortby("time")

    def _measurements(self) -> tuple[Measurement, ...]:
        given = self._given
        if isinstance(given, xr.Dataset):
            raise TypeError("a table of absolutes holds no readings")
        return given() if callable(given) else given

    def _samples(self, instrument: str, windows: NDArray[np.int64]) -> xr.Dataset:
        return self._keep(f"samples {instrument}", (), lambda: self.supply.samples(instrument, windows))

    def _keep(self, step: str, key: Any, make: Callable[[], T]) -> T:
        """What the step gave for this key, or gives now."""
        with self._lock:
            kept = self._kept.setdefault(step, {})
            if key not in kept:
                kept[key] = make()
                for old in list(kept)[:-_KEPT]:
                    del kept[old]
            return kept[key]  # type: ignore[no-any-return]


def estimated_pier_nt(desk: Desk, state: State) -> float:
    """The pier difference that makes the median of delta-F zero. Raises BaselineError when none does."""
    medians = []
    for pier_nt in (state.pier_difference_nt, state.pier_difference_nt + 1.0):
        found = desk.effect(replace(state, pier_difference_nt=pier_nt))
        medians.append(effects.median_of(found["after"].values)[0])
    rise = medians[1] - medians[0]
    if not abs(rise) > _LEAST_RISE:  # NaN, too
        raise BaselineError(
            "delta-F does not tell the pier difference: F of these absolutes is the scalar's own, "
            "so it follows; measure F on the pillar, or enter the difference"
        )
    return state.pier_difference_nt - medians[0] / rise
