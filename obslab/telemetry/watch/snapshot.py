"""What an archive says at one instant: all that rules are judged by, and nothing else.

A part that cannot be read is None, with the reason in ``problems``: alarms that hang on it stay as they are.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from obslab.errors import FrameError, NoStreamError, ObslabError
from obslab.telemetry.archive.book import ClockReading, Event, Hole, Kind
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.collect.report import Report, read_report
from obslab.telemetry.protocol import Status, decode
from obslab.telemetry.sample import Stream, valid_at
from obslab.telemetry.watch.rules import DeltaF, Rule
from obslab.times import NS_PER_S

_CLOCK_READINGS_S = 3600.0
_OVERLAP_S = 3600.0  # an event may be noted after others with a later time

T = TypeVar("T")


@dataclass(frozen=True)
class Newest:
    """The newest sample of a stream; ``station_ns`` is what the station's clock shows now.

    ``values`` has value and unit by component, NaN when missing; the schedule is that of an irregular
    stream, see ``Meta``.
    """

    stream: Stream
    time_ns: int
    station_ns: int
    values: dict[str, tuple[float, str]] = field(default_factory=dict)
    schedule: tuple[str, ...] = ()
    tolerance_s: float = 0.0

    @property
    def age_s(self) -> float:
        return (self.station_ns - self.time_ns) / NS_PER_S


@dataclass(frozen=True)
class UnitNow:
    """The last status of a unit, as in ``PEA lemi0001``, and when it came."""

    name: str
    status: Status
    came_ns: int

    @property
    def topic(self) -> str:
        return self.name.lower().replace(" ", "/")


@dataclass(frozen=True)
class Difference:
    """Delta-F for one rule, medians in nT: of the last minutes, and of as many before; NaN where unknown.

    ``why`` is told when it cannot be computed at all.
    """

    now_nt: float = math.nan
    before_nt: float = math.nan
    why: str = ""


@dataclass(frozen=True)
class Snapshot:
    """``links`` has the last event of each unit's link and each bridge, ``differences`` delta-F by rule."""

    now_ns: int
    streams: tuple[Newest, ...] | None = ()
    holes: tuple[Hole, ...] | None = ()
    units: tuple[UnitNow, ...] | None = ()
    links: tuple[Event, ...] | None = ()
    clocks: tuple[ClockReading, ...] | None = ()
    disk_free_bytes: int | None = None
    report: Report | None = None
    problems: dict[str, str] = field(default_factory=dict)
    differences: dict[str, Difference] | None = field(default_factory=dict)


class Reader:
    """Takes snapshots of the archive in a folder, which may come and go.

    Only delta-F is read for the ``rules`` that want it: it takes many samples.
    """

    def __init__(self, folder: Path, rules: Sequence[Rule] = ()) -> None:
        self._folder = Path(folder)
        self._delta_f = [rule for rule in rules if isinstance(rule, DeltaF)]
        self._links: set[tuple[Kind, str]] = set()
        self._events_from_ns = -(2**63)

    def read(self, now_ns: int) -> Snapshot:
        """Everything, as far as it can be read; raises nothing."""
        problems: dict[str, str] = {}

        def attempt(what: str, call: Callable[[], T]) -> T | None:
            try:
                return call()
            except Exception as error:  # whatever it is, the rest must be read
                known = isinstance(error, ObslabError | OSError)
                problems[what] = str(error) if known else f"reading {what} failed: {error!r}"
                return None

        free = attempt("disk", lambda: shutil.disk_usage(self._folder).free)
        report = attempt("report", lambda: read_report(self._folder))
        # Opened anew each time: one that was put in its place would else never be seen.
        archive = attempt("archive", lambda: open_archive(self._folder))
        if archive is None:
            problems = {"archive": problems["archive"]}  # the others come of it
            return Snapshot(now_ns, None, None, None, None, None, free, report, problems, None)
        with archive:
            return Snapshot(
                now_ns,
                streams=attempt("streams", lambda: _streams(archive, now_ns)),
                holes=attempt("gaps", lambda: tuple(archive.book.holes(states=("open", "asked", "lost")))),
                units=attempt("units", lambda: _units(archive)),
                links=attempt("links", lambda: self._last_events(archive, now_ns)),
                clocks=attempt("clocks", lambda: _clocks(archive, now_ns)),
                disk_free_bytes=free,
                report=report,
                problems=problems,
                differences=attempt("delta-F", lambda: _differences(archive, self._delta_f, now_ns)),
            )

    def _last_events(self, archive: Archive, now_ns: int) -> tuple[Event, ...]:
        """After the first time only what is new is read: a link may have failed ten thousand times."""
        book = archive.book
        self._links |= {
            (one.kind, one.name)
            for one in book.events(self._events_from_ns)
            if one.kind in ("link", "bridge")
        }
        self._events_from_ns = now_ns - round(_OVERLAP_S * NS_PER_S)
        last = [book.state_of(kind, name) for kind, name in sorted(self._links)]
        return tuple(one for one in last if one is not None)


def _streams(archive: Archive, now_ns: int) -> tuple[Newest, ...]:
    found = []
    for stream in archive.streams():
        span, metas = archive.span(stream), archive.metas(stream)
        if span is None:
            continue
        meta = valid_at(metas, span[1]) or (metas[-1] if metas else None)
        readings = archive.readings(stream, span[1], span[1] + 1) if metas else None
        values = {}
        if readings is not None and readings.time_ns.size:
            newest = np.asarray(readings.values)[-1]
            pairs = zip(readings.components, readings.units, strict=True)
            values = {name: (float(newest[i]), unit) for i, (name, unit) in enumerate(pairs)}
        found.append(
            Newest(
                stream,
                span[1],
                meta.station_time(now_ns) if meta else now_ns,
                values,
                meta.schedule if meta else (),
                meta.schedule_tolerance_s if meta else 0.0,
            )
        )
    return tuple(found)


def _differences(archive: Archive, rules: Sequence[DeltaF], now_ns: int) -> dict[str, Difference]:
    return {rule.name: _difference(archive, rule, now_ns) for rule in rules}


def _difference(archive: Archive, rule: DeltaF, now_ns: int) -> Difference:
    vector = Stream.parse(rule.vector)
    metas = archive.metas(vector)
    end_ns = (metas[-1].station_time(now_ns) if metas else now_ns) + 1
    before_ns = end_ns - round(rule.before_h * 3600 * NS_PER_S)
    try:
        now_nt = _median_nt(archive, rule, end_ns)
        before_nt = math.nan if rule.change_nt is None else _median_nt(archive, rule, before_ns)
    except (NoStreamError, FrameError) as error:
        return Difference(why=error.message)
    return Difference(now_nt, before_nt)


def _median_nt(archive: Archive, rule: DeltaF, end_ns: int) -> float:
    """NaN with fewer than half of the samples that both streams should have."""
    from obslab.telemetry.adjusted import delta_f  # xarray comes with it: only who wants it waits

    window_ns = round(rule.minutes * 60 * NS_PER_S)
    streams = [Stream.parse(rule.vector), Stream.parse(rule.scalar)]
    vector, scalar = (
        archive.dataset(one.station, one.instrument, end_ns - window_ns, end_ns, samplerate=one.samplerate)
        for one in streams
    )
    found = delta_f(vector, scalar, pier_difference_nt=rule.pier_difference_nt).delta_f.values
    found = found[np.isfinite(found)]
    wanted = rule.minutes * 60 / max(one.cadence_s for one in streams)
    return float(np.median(found)) if found.size and found.size >= wanted / 2 else math.nan


def _units(archive: Archive) -> tuple[UnitNow, ...]:
    return tuple(
        UnitNow(name, decode(status, Status), came_ns)
        for name, (_, status, came_ns) in sorted(archive.book.units().items())
    )


def _clocks(archive: Archive, now_ns: int) -> tuple[ClockReading, ...]:
    """The latest of each unit, of the last hour."""
    recent = archive.book.clocks(now_ns - round(_CLOCK_READINGS_S * NS_PER_S))
    return tuple({one.unit: one for one in sorted(recent, key=lambda one: one.at_ns)}.values())
