"""Whether a rule is broken: pure functions of a rule and a snapshot.

A finding's ``bad`` is True, False, or None when nobody can tell; then its alarm stays as it is. With
``standing``, the subjects that have an alarm, a limit is passed back only with some way to spare.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from obslab.telemetry.archive.book import Hole
from obslab.telemetry.derived import is_derived
from obslab.telemetry.metrics.targets import target_s
from obslab.telemetry.sample import Stream
from obslab.telemetry.watch.notice import Fact, span
from obslab.telemetry.watch.rules import (
    EVERYTHING,
    Clock,
    Collector,
    DeltaF,
    Disk,
    Gap,
    Link,
    Rule,
    Stale,
    Temperature,
    Trouble,
    Value,
    fits,
)
from obslab.telemetry.watch.snapshot import Difference, Newest, Snapshot, UnitNow
from obslab.times import NS_PER_DAY, NS_PER_S, iso

_BACK = 1.1  # a disk, journal or clock is well again when 10 % on the right side of its limit
_GB = 1e9
_CELSIUS = {"degc", "°c", "c", "celsius", "deg c", "deg_c"}


@dataclass(frozen=True)
class Finding:
    """What a rule says of one subject, such as a stream."""

    subject: str
    bad: bool | None
    text: str
    facts: dict[str, Fact] = field(default_factory=dict)


def judge(rule: Rule, now: Snapshot, standing: Set[str] = frozenset()) -> list[Finding] | None:
    """A finding for each subject of the rule; None when what it hangs on could not be read."""
    match rule:
        case Stale():
            return None if now.streams is None else list(_stale(rule, now.streams))
        case Value():
            return None if now.streams is None else list(_value(rule, now.streams, standing))
        case Gap():
            return None if now.holes is None else list(_gap(rule, now.holes, now.now_ns))
        case Disk():
            return _with_unknown(_disk(rule, now, standing), standing)
        case Clock():
            return _with_unknown(_clock(rule, now, standing), standing)
        case Link():
            return None if now.units is None or now.links is None else list(_link(rule, now))
        case Collector():
            return None if {"report", "archive"} & now.problems.keys() else [_collector(rule, now)]
        case Trouble():
            return None if now.units is None else list(_trouble(rule, now.units))
        case DeltaF():
            found = None if now.differences is None else now.differences.get(rule.name)
            return None if found is None else list(_delta_f(rule, found, standing))
    raise NotImplementedError(f"rule {rule.name!r} has a kind that nobody judges")


def _with_unknown(findings: Iterator[Finding], standing: Set[str]) -> list[Finding]:
    """What has an alarm and says nothing now, as a unit that is gone, is not well for that."""
    found = list(findings)
    silent = standing - {finding.subject for finding in found}
    return found + [Finding(subject, None, f"{subject}: nothing is known") for subject in sorted(silent)]


def _stale(rule: Stale, streams: tuple[Newest, ...]) -> Iterator[Finding]:
    seen = {one.stream.topic for one in streams}
    for topic in rule.streams:
        if not {"#", "+"} & set(topic) and topic not in seen:
            yield Finding(topic, True, f"{topic}: no sample has ever come")
    for one in streams:
        if not fits(one.stream.topic, rule.streams) or not _is_meant(one.stream, rule.streams):
            continue
        facts: dict[str, Fact] = {"age_s": round(one.age_s, 3), "newest": iso(one.time_ns, 3)}
        if one.schedule:
            wanted = _due_ns(one, rule.after_s or 0.0)
            bad = one.time_ns < wanted - round(one.tolerance_s * NS_PER_S)
            facts["due"] = iso(wanted, 0)
            text = f"{one.stream}: nothing came of what was due at {iso(wanted, 0)}"
        else:
            limit_s = rule.after_s or _limit_s(one.stream)
            if math.isinf(limit_s):  # irregular and without a schedule: nobody can say what is due
                continue
            bad = one.age_s > limit_s
            facts["limit_s"] = limit_s
            text = f"{one.stream}: no sample for {span(one.age_s)}, the limit is {span(limit_s)}"
        yield Finding(one.stream.topic, bad, text if bad else f"{one.stream}: samples come again", facts)


def _is_meant(stream: Stream, filters: tuple[str, ...]) -> bool:
    """A stream that is computed from others is looked at when its instrument is named: it may have an end."""
    return not is_derived(stream) or any(stream.instrument in one.split("/")[1:2] for one in filters)


def _limit_s(stream: Stream) -> float:
    target = target_s(stream)
    return stream.cadence_s + (target if math.isfinite(target) else stream.cadence_s)


def _due_ns(one: Newest, grace_s: float) -> int:
    """The last time of the schedule that is over, with its tolerance."""
    over_ns = one.station_ns - round((one.tolerance_s + grace_s) * NS_PER_S)
    midnight_ns = over_ns // NS_PER_DAY * NS_PER_DAY
    times = [midnight_ns + (int(at[:2]) * 60 + int(at[3:])) * 60 * NS_PER_S for at in one.schedule]
    return max(at if at <= over_ns else at - NS_PER_DAY for at in times)


def _gap(rule: Gap, holes: tuple[Hole, ...], now_ns: int) -> Iterator[Finding]:
    by_topic: dict[str, list[Hole]] = {}
    for hole in holes:
        recent = hole.state != "lost" or now_ns - hole.changed_ns < rule.lost_for_h * 3600 * NS_PER_S
        if _length_s(hole) >= rule.longer_than_s and recent and fits(hole.topic, rule.streams):
            by_topic.setdefault(hole.topic, []).append(hole)
    for topic, found in sorted(by_topic.items()):
        longest, lost = max(found, key=_length_s), sum(hole.state == "lost" for hole in found)
        count = "a gap" if len(found) == 1 else f"{len(found)} gaps, the longest"
        text = f"{topic}: {count} of {span(_length_s(longest))} from {iso(longest.begin_ns, 0)}"
        text += f"; {lost} of {len(found)} lost at source" if lost else ""
        facts: dict[str, Fact] = {
            "gaps": len(found),
            "lost": lost,
            "longest_s": _length_s(longest),
            "begin": iso(longest.begin_ns),
            "end": iso(longest.end_ns),
            "state": longest.state,
            "why": longest.why,
        }
        yield Finding(topic, True, text, facts)


def _length_s(hole: Hole) -> float:
    return (hole.end_ns - hole.begin_ns) / NS_PER_S


def _disk(rule: Disk, now: Snapshot, standing: Set[str]) -> Iterator[Finding]:
    if rule.archive_below_gb is not None:
        yield _free("archive disk", now.disk_free_bytes, rule.archive_below_gb, standing)
    for unit in _chosen(now.units, rule.units):
        status = unit.status
        if rule.unit_below_gb is not None:
            yield _free(f"{unit.name} disk", status.disk_free_bytes, rule.unit_below_gb, standing)
        if rule.journal_above is not None:
            subject, n = f"{unit.name} journal", status.journal_entries
            limit = rule.journal_above / (_BACK if subject in standing else 1)
            # The last will of a unit that is gone does not say how long its journal is.
            bad = n > limit if status.online else None
            text = f"{subject}: {n} entries wait for the archive, the limit is {rule.journal_above}"
            yield Finding(subject, bad, text, {"entries": n, "limit": rule.journal_above})


def _free(subject: str, free_bytes: int | None, below_gb: float, standing: Set[str]) -> Finding:
    if free_bytes is None:
        return Finding(subject, None, f"{subject}: free space is not known")
    limit = below_gb * (_BACK if subject in standing else 1)
    text = f"{subject}: {free_bytes / _GB:.2f} GB free, the limit is {below_gb:g} GB"
    return Finding(subject, free_bytes / _GB < limit, text, {"free_bytes": free_bytes, "limit_gb": below_gb})


def _clock(rule: Clock, now: Snapshot, standing: Set[str]) -> Iterator[Finding]:
    for one in now.clocks or ():
        if not fits(one.unit.lower().replace(" ", "/"), rule.units):
            continue
        limit_s = rule.above_s / (_BACK if one.unit in standing else 1)
        off_s, open_s = abs(one.offset_s), one.round_trip_s / 2
        # An offset is good to half the round trip: between the two nobody can tell.
        bad = True if off_s - open_s > limit_s else None if off_s > limit_s else False
        side = "ahead of" if one.offset_s > 0 else "behind"
        text = f"{one.unit}: its clock is {off_s:.3g} s {side} the archive's, give or take {open_s:.2g} s"
        facts: dict[str, Fact] = {"offset_s": one.offset_s, "round_trip_s": one.round_trip_s}
        yield Finding(one.unit, bad, text, facts | {"limit_s": rule.above_s})


def _value(rule: Value, streams: tuple[Newest, ...], standing: Set[str]) -> Iterator[Finding]:
    for one in streams:
        if not fits(one.stream.topic, rule.streams):
            continue
        for name, (value, unit) in one.values.items():
            if name != rule.component and (rule.component or not isinstance(rule, Temperature)):
                continue
            if isinstance(rule, Temperature) and not rule.component and unit.lower() not in _CELSIUS:
                continue
            subject = f"{one.stream.topic}/{name}"
            inner = rule.margin if subject in standing else 0.0
            low, high = (
                (rule.min is not None and value < rule.min + inner),
                (rule.max is not None and value > rule.max - inner),
            )
            old = math.isnan(value) or one.age_s > rule.max_age_s
            side = f"below {rule.min:g}" if low else f"above {rule.max:g}" if high else "inside its limits"
            text = f"{one.stream}: {name} is {value:g} {unit}, {side}"
            facts: dict[str, Fact] = {"value": None if math.isnan(value) else value, "unit": unit}
            facts |= {"component": name, "min": rule.min, "max": rule.max}
            yield Finding(subject, None if old else low or high, text, facts)


def _delta_f(rule: DeltaF, found: Difference, standing: Set[str]) -> Iterator[Finding]:
    whose = f"{rule.scalar} less {rule.vector}"
    if found.why:  # as by a topic that is misspelt: it would never be told else
        yield Finding(f"{rule.vector} delta-F", True, f"delta-F of {whose}: {found.why}")
        return
    for what, limit_nt, value in (
        ("delta-F", rule.above_nt, found.now_nt),
        ("change of delta-F", rule.change_nt, found.now_nt - found.before_nt),
    ):
        if limit_nt is None:
            continue
        subject = f"{rule.vector} {what}"
        inner_nt = limit_nt / (_BACK if subject in standing else 1)
        bad = None if math.isnan(value) else abs(value) > inner_nt
        told = f"{value:.2f} nT, median of {rule.minutes:g} min, the limit is {limit_nt:g} nT"
        told = "not known" if bad is None else told
        facts: dict[str, Fact] = {"value_nt": None if bad is None else round(value, 3), "limit_nt": limit_nt}
        yield Finding(subject, bad, f"{what} of {whose}: {told}", facts)


def _link(rule: Link, now: Snapshot) -> Iterator[Finding]:
    since = {(event.kind, event.name): event.at_ns for event in now.links or () if not event.up}
    for unit in _chosen(now.units, rule.units):
        down_ns = since.get(("link", unit.name), unit.came_ns)
        yield _offline(rule, unit.name, not unit.status.online, down_ns, now.now_ns)
    for event in now.links or ():
        if event.kind == "bridge" and rule.bridges:
            yield _offline(rule, f"bridge {event.name}", not event.up, event.at_ns, now.now_ns)


def _offline(rule: Link, subject: str, down: bool, since_ns: int, now_ns: int) -> Finding:
    for_s = (now_ns - since_ns) / NS_PER_S
    if not down:
        return Finding(subject, False, f"{subject}: online")
    text = f"{subject}: offline for {span(for_s)}, since {iso(since_ns, 0)}"
    return Finding(
        subject, for_s > rule.after_s, text, {"offline_s": for_s, "offline_since": iso(since_ns, 0)}
    )


def _collector(rule: Collector, now: Snapshot) -> Finding:
    report, subject = now.report, "collector"
    if report is None:
        return Finding(subject, True, "collector: it has never reported; is `obslab collect` running?")
    silent_s = now.now_ns / NS_PER_S - report.at_s
    down_s = now.now_ns / NS_PER_S - report.since_s
    facts: dict[str, Fact] = {"silent_s": round(silent_s, 3), "broker": report.broker, "pid": report.pid}
    if silent_s > rule.after_s:
        text = f"collector: no report for {span(silent_s)}; is `obslab collect` running?"
        return Finding(subject, True, text, facts)
    trouble = report.trouble or report.notice
    if trouble:
        return Finding(subject, True, f"collector: {trouble}", facts | {"trouble": trouble})
    if not report.connected:
        return Finding(subject, down_s > rule.after_s, f"collector: {report.detail}", facts)
    return Finding(subject, False, f"collector: connected to {report.broker}", facts)


def _trouble(rule: Trouble, units: tuple[UnitNow, ...]) -> Iterator[Finding]:
    for unit in _chosen(units, rule.units):
        status = unit.status
        text = f"{unit.name}: {status.trouble or 'no trouble'}"
        # Gone with its last will, it says nothing of trouble.
        bad = bool(status.trouble) if status.online else None
        yield Finding(unit.name, bad, text, {"trouble": status.trouble, "driver": status.driver})


def _chosen(units: tuple[UnitNow, ...] | None, filters: tuple[str, ...]) -> Iterator[UnitNow]:
    return (unit for unit in units or () if filters == EVERYTHING or fits(unit.topic, filters))
