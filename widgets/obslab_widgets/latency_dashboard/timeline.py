"""What was out when: a row for each stream, and for each link, bridge, broker and driver that was down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from obslab.telemetry.archive.book import Event
from obslab_widgets.latency_dashboard.answer import Answer
from obslab_widgets.latency_dashboard.state import Interval
from obslab_widgets.wording import count, duration

CAUSES = ("link", "bridge", "broker", "station", "rejected", "lost at source", "unknown")
_KINDS = {"link": "link", "bridge": "bridge", "broker": "broker", "driver": "station"}
_TITLES = {"link": "link", "bridge": "bridge", "broker": "collector", "driver": "driver"}
_FINEST = 1500  # parts of the period: what is closer is drawn as one bar
_MOST_ROWS = 40


@dataclass(frozen=True)
class Bar:
    """Out from ``begin_ms`` to ``end_ms`` in row ``row``, for one of CAUSES."""

    row: str
    begin_ms: float
    end_ms: float
    cause: str
    told: str


@dataclass(frozen=True)
class Timeline:
    """Rows from top to bottom, and bars in them."""

    rows: tuple[str, ...]
    bars: tuple[Bar, ...]
    left_out: int = 0

    @property
    def causes(self) -> tuple[str, ...]:
        """Those that occur, in the order of CAUSES."""
        return tuple(cause for cause in CAUSES if any(bar.cause == cause for bar in self.bars))


def timeline(answer: Answer) -> Timeline:
    """The outages of the period, whether or not their samples came later."""
    if answer.scope is None:
        return Timeline((), ())
    period = answer.period
    bars = _of_streams(answer) + _of_events(answer)
    streams = [str(stream) for stream in answer.scope.streams]
    rows = streams + [row for row in _things(answer) if row not in streams]
    kept = tuple(rows[:_MOST_ROWS])
    drawn = _joined((bar for bar in bars if bar.row in kept), period)
    return Timeline(kept, tuple(drawn), len(rows) - len(kept))


def _of_streams(answer: Answer) -> list[Bar]:
    table, period = answer.outages, answer.period
    begin_ns = table.begin.values.astype(np.int64)
    lasts = np.isnat(table.end.values)
    end_ns = np.where(lasts, period.end_ns, table.end.values.astype(np.int64))
    columns = [table[name].values for name in ("stream", "late", "lost", "cause")]
    bars = []
    for begin, end, last, stream, late, lost, cause in zip(begin_ns, end_ns, lasts, *columns, strict=True):
        length = f"{duration((end - begin) / 1e9)}" + (" and still out" if last else "")
        told = f"{length}, {count(int(late), 'sample')} came later, {int(lost):,} missing"
        bars.append(Bar(str(stream), begin / 1e6, end / 1e6, str(cause), told))
    return bars


def _of_events(answer: Answer) -> list[Bar]:
    """From each event that says down to the next that says up."""
    since: dict[str, Event] = {}
    bars = []
    for event in sorted(answer.events, key=lambda one: one.at_ns):
        row = _row(event)
        if not event.up:
            since.setdefault(row, event)
        elif row in since:
            bars.append(_down(answer, since.pop(row), event.at_ns))
    bars += [_down(answer, event, None) for event in since.values()]
    period = answer.period
    return [bar for bar in bars if bar.end_ms * 1e6 > period.begin_ns and bar.begin_ms * 1e6 < period.end_ns]


def _down(answer: Answer, event: Event, up_ns: int | None) -> Bar:
    clock = answer.scope.clock if answer.scope else None
    begin_ns = clock.at(event.at_ns) if clock else event.at_ns
    end_ns = answer.period.end_ns if up_ns is None else clock.at(up_ns) if clock else up_ns
    told = duration((end_ns - begin_ns) / 1e9) + (" and still down" if up_ns is None else "")
    told += f": {event.detail}" if event.detail else ""
    return Bar(_row(event), begin_ns / 1e6, end_ns / 1e6, _KINDS[event.kind], told)


def _things(answer: Answer) -> list[str]:
    """Rows of what can be down, in the order link, bridge, broker, driver; drivers only when one was."""
    stations = {stream.station for stream in answer.scope.streams} if answer.scope else set()
    found = {f"link {name}" for name in answer.units if name.split()[0] in stations}
    for event in answer.events:
        mine = event.kind in ("bridge", "broker") or event.name.split()[0].upper() in stations
        if mine and (event.kind != "driver" or not event.up):
            found.add(_row(event))
    order = list(_TITLES.values())
    return sorted(found, key=lambda row: (order.index(row.split()[0]), row))


def _row(event: Event) -> str:
    return f"{_TITLES[event.kind]} {event.name}"


def _joined(bars: Iterable[Bar], period: Interval) -> list[Bar]:
    """Bars of one row and cause that no screen could show apart are one."""
    step_ms = (period.end_ns - period.begin_ns) / 1e6 / _FINEST
    kept: dict[tuple[str, str], list[tuple[Bar, int]]] = {}
    for bar in sorted(bars, key=lambda one: one.begin_ms):
        before = kept.setdefault((bar.row, bar.cause), [])
        last, n = before[-1] if before else (None, 0)
        if last is None or bar.begin_ms - last.end_ms > step_ms:
            before.append((bar, 1))
        else:
            end_ms = max(last.end_ms, bar.end_ms)
            before[-1] = (
                Bar(bar.row, last.begin_ms, end_ms, bar.cause, f"{n + 1} outages close together"),
                n + 1,
            )
    return [bar for row in kept.values() for bar, _ in row]
