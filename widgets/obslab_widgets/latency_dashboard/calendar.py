"""Completeness as a calendar: a row for each day, a column for each hour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.times import NS_PER_DAY
from obslab_widgets.latency_dashboard.answer import Answer
from obslab_widgets.latency_dashboard.state import Interval

Floats = NDArray[np.float64]

HOUR_NS = NS_PER_DAY // 24
DAY_MS = NS_PER_DAY // 1_000_000
NOTHING, LESS, ENOUGH, WHOLE = range(4)
LABELS = ("none", "< 90 %", "≥ 90 %", "complete")
FEW_DAYS = 62  # of more, an hour is too low to hit
_TICKS = 12


@dataclass(frozen=True, eq=False)
class Calendar:
    """Cells at ``(hour, day_ms)`` with a level of LABELS; of several streams the least complete counts.

    ``top_ms`` and ``bottom_ms`` end the axis of days; the newest day is at the bottom. ``marked`` has the
    hour and day of cells that the selection touches.
    """

    hour: Floats
    day_ms: Floats
    level: NDArray[np.uint8]
    present: Floats
    expected: Floats
    percent: Floats
    least: tuple[str, ...]
    top_ms: float
    bottom_ms: float
    ticks_ms: tuple[float, ...]
    marked: tuple[Floats, Floats]

    @property
    def days(self) -> int:
        return round((self.bottom_ms - self.top_ms) / DAY_MS)


def calendar(answer: Answer) -> Calendar:
    """The calendar of the days that the period touches; hours in which nothing is expected stay empty."""
    table = answer.completeness
    begin_ns = table.begin.values.astype(np.int64) // HOUR_NS * HOUR_NS
    due = table.expected.values > 0
    hours_ns, cell = np.unique(begin_ns[due], return_inverse=True)
    expected, present = (
        np.bincount(cell, table[name].values[due], minlength=hours_ns.size).astype(np.float64)
        for name in ("expected", "present")
    )
    fraction, names = table.fraction.values[due], table.stream.values[due]
    order = np.lexsort((fraction, cell))
    first = order[np.flatnonzero(np.diff(cell[order], prepend=-1))]
    least = fraction[first]
    fine = table.ok.values[due][first]
    level = np.where(least >= 1, WHOLE, np.where(fine, ENOUGH, np.where(least > 0, LESS, NOTHING)))
    several = answer.scope is not None and len(answer.scope.streams) > 1
    days_ms = _days_ms(answer.period)
    inner = answer.inner if answer.inner != answer.period else None
    chosen = np.flatnonzero(_touched(hours_ns, inner)) if inner else np.empty(0, np.int64)
    hour, day_ms = _place(hours_ns)
    return Calendar(
        hour,
        day_ms,
        level.astype(np.uint8),
        present,
        expected,
        100 * least,
        tuple(f"least: {name}" if several else "" for name in names[first]),
        float(days_ms[0] - DAY_MS / 2),
        float(days_ms[-1] + DAY_MS / 2),
        tuple(days_ms[:: -(-days_ms.size // _TICKS)].astype(float).tolist()),
        (hour[chosen], day_ms[chosen]),
    )


def hour_at(x: float, y: float) -> Interval | None:
    """The hour at a place on the axes; None beside them."""
    hour = int(np.floor(x))
    if not 0 <= hour < 24:
        return None
    begin_ns = round(y / DAY_MS) * NS_PER_DAY + hour * HOUR_NS
    return Interval(begin_ns, begin_ns + HOUR_NS)


def month_at(y: float) -> Interval:
    """The month of the day at a height on the axes."""
    month = np.datetime64(round(y / DAY_MS), "D").astype("datetime64[M]")
    begin_ns, end_ns = (int(at.astype("datetime64[ns]").astype(np.int64)) for at in (month, month + 1))
    return Interval(begin_ns, end_ns)


def _place(hours_ns: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Centres of cells. A day's is its midnight, where an axis of time has its ticks."""
    day_ms = hours_ns // NS_PER_DAY * DAY_MS
    hour = (hours_ns % NS_PER_DAY) // HOUR_NS
    return hour.astype(np.float64) + 0.5, day_ms.astype(np.float64)


def _days_ms(period: Interval) -> NDArray[np.int64]:
    first, last = period.begin_ns // NS_PER_DAY, (period.end_ns - 1) // NS_PER_DAY
    return np.arange(first, last + 1, dtype=np.int64) * DAY_MS


def _touched(hours_ns: NDArray[np.int64], inner: Interval) -> NDArray[np.bool_]:
    return (hours_ns + HOUR_NS > inner.begin_ns) & (hours_ns < inner.end_ns)
