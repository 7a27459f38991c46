"""The picture of a latency dashboard: from an Answer to a Frame of plain arrays and strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from obslab.times import iso
from obslab_widgets.latency_dashboard.answer import Answer
from obslab_widgets.latency_dashboard.calendar import Calendar, calendar
from obslab_widgets.latency_dashboard.curves import Bars, Curve, Level, bars, curves, levels, limits
from obslab_widgets.latency_dashboard.listing import COLUMNS, Listing, listing, overdue, rows
from obslab_widgets.latency_dashboard.state import PERIODS, Interval
from obslab_widgets.latency_dashboard.timeline import Timeline, timeline
from obslab_widgets.wording import count, duration, latency

StatusLevel = Literal["ok", "busy", "off"]


@dataclass(frozen=True, eq=False)
class Frame:
    """All that is drawn; ``structure`` changes when lines or rows come or go."""

    begin_ns: int
    end_ns: int
    low_s: float
    high_s: float
    curves: tuple[Curve, ...]
    levels: tuple[Level, ...]
    bars: Bars
    calendar: Calendar
    timeline: Timeline
    listing: Listing
    marked: Interval | None
    titles: tuple[str, str, str, str]
    table: dict[str, list[object]] | None

    @property
    def structure(self) -> tuple[object, ...]:
        lines = tuple((curve.name, curve.colour, curve.dash) for curve in self.curves)
        return lines, self.levels, self.timeline.rows, self.timeline.causes, self.calendar.days


def frame(answer: Answer, *, computing: bool = False) -> Frame:
    """The picture of an answer; ``computing`` says that it is of nothing yet."""
    streams = answer.scope.paced if answer.scope else ()
    drawn, compared, counted = curves(answer), levels(streams, answer.delay_s), bars(answer.histogram)
    low_s, high_s = limits(drawn, compared, counted)
    out, listed = timeline(answer), listing(answer)
    return Frame(
        answer.period.begin_ns,
        answer.period.end_ns,
        low_s,
        high_s,
        drawn,
        compared,
        counted,
        calendar(answer),
        out,
        listed,
        answer.inner if answer.inner != answer.period else None,
        _titles(answer, out, computing),
        {"columns": list(COLUMNS), "rows": list(rows(listed.gaps))} if listed.gaps else None,
    )


def status(answer: Answer, wall_ns: int) -> tuple[StatusLevel, str]:
    """One line: ages against targets, and what is being asked for."""
    if answer.scope is None:
        return "off", "the archive is empty: no stream has come yet; is `obslab collect` running for it?"
    table = answer.ages
    ages_s = table.age_s.values + (wall_ns - answer.wall_ns) / 1e9 * _speed(answer)
    judged = np.isfinite(table.target_s.values)
    behind = np.flatnonzero(judged & (ages_s > table.target_s.values))
    parts = []
    if behind.size:
        worst = behind[np.argmax(ages_s[behind])]
        named, aim = table.stream.values[worst], duration(float(table.target_s.values[worst]))
        parts.append(f"newest of {named} is {duration(float(ages_s[worst]))} old (target {aim})")
        if judged.sum() > 1:
            parts.append(f"{judged.sum() - behind.size} of {judged.sum()} streams within their target")
    elif judged.any():
        oldest = np.flatnonzero(judged)[np.argmax(ages_s[judged])]
        parts = ["all streams within their target"] if judged.sum() > 1 else []
        parts.append(f"newest of {table.stream.values[oldest]} is {duration(float(ages_s[oldest]))} old")
    parts.append(f"{count(len(answer.holes), 'hole')} open" if answer.holes else "no holes open")
    if overdue(answer):
        parts.append(f"nobody takes {count(overdue(answer), 'request')}: is `obslab collect` running?")
    level: StatusLevel = "off" if behind.size or overdue(answer) else "ok"
    return level, " · ".join(parts)


def summary(answer: Answer) -> str:
    """What is shown, in words that stay the same while neither state nor archive changes."""
    if answer.scope is None:
        return "no streams yet"
    state, inner = answer.state, answer.inner
    names = {length_s: name for name, length_s in PERIODS}
    shown = names.get(state.period_s, f"last {duration(state.period_s)}")
    shown = _span(answer.period) if state.custom else shown
    marked = f", marked {_span(inner)}" if inner != answer.period else ""
    n = answer.histogram.n.values
    lines = [f"{answer.scope.label}, {shown}{marked}"]
    if n.sum():
        lines.append(f"{count(int(n.sum()), 'sample')}, half within {latency(_median_s(answer))}")
    lines.append(listing(answer).word)
    lines.append(
        f"{count(answer.outages.sizes['outage'], 'outage')}, {count(len(answer.holes), 'hole')} open"
    )
    return "\n".join(lines)


def _titles(answer: Answer, out: Timeline, computing: bool) -> tuple[str, str, str, str]:
    """Of latency, outages, completeness and distribution."""
    if answer.scope is None:
        why = "computing ..." if computing else "no stream has come yet"
        return tuple(f"{what}: {why}" for what in ("Latency", "Outages", "Completeness", "Distribution"))  # type: ignore[return-value]
    many = len(answer.scope.streams) > 1
    window = duration(answer.window_s).replace(" 00 min", "").replace(" 0 h", "").replace(".0 s", " s")
    which = ", 99 % of samples" if len(answer.scope.paced) > 1 else ": half, 90 %, 99 % of samples"
    more = f", {count(out.left_out, 'more row')} not shown" if out.left_out else ""
    inner = "marked time" if answer.inner != answer.period else "period shown"
    return (
        f"Latency by {window}{which}",
        f"Outages: {count(len(out.bars), 'interval')}{more}" if out.bars else f"Outages: none{more}",
        "Completeness by hour" + (", least stream" if many else ""),
        f"Latencies in the {inner}",
    )


def _median_s(answer: Answer) -> float:
    n = np.cumsum(answer.histogram.n.values)
    place = int(np.searchsorted(n, n[-1] / 2))
    return float(answer.histogram.high_s.values[place])


def _span(interval: Interval) -> str:
    return f"{iso(interval.begin_ns, 0)} to {iso(interval.end_ns, 0)}"


def _speed(answer: Answer) -> float:
    return answer.scope.clock.speed if answer.scope and answer.scope.clock else 1.0
