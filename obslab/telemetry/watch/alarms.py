"""What stands: each alarm told once, reminded of now and then, and cleared once; pure functions of time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from obslab.telemetry.watch.conditions import Finding
from obslab.telemetry.watch.notice import Fact, Notice, What, span
from obslab.telemetry.watch.rules import Rule
from obslab.times import NS_PER_S


@dataclass(frozen=True)
class Alarm:
    """A rule that is broken for a subject since ``since_ns``.

    Before ``raised_ns`` it waits whether it lasts; from ``well_ns`` on it waits whether it is over.
    """

    rule: str
    kind: str
    subject: str
    text: str
    since_ns: int
    raised_ns: int | None = None
    well_ns: int | None = None
    told_ns: int = 0
    facts: dict[str, Fact] = field(default_factory=dict)

    def notice(self, what: What, now_ns: int, text: str = "") -> Notice:
        return Notice(
            what, self.rule, self.kind, self.subject, text or self.text, now_ns, self.since_ns, self.facts
        )


def advance(
    alarms: Mapping[str, Alarm], rule: Rule, kind: str, findings: Iterable[Finding], now_ns: int
) -> tuple[dict[str, Alarm], list[Notice]]:
    """The alarms of one rule by subject after new findings, and what is to be told.

    A subject of which nothing is found any more (a gap that was filled) is well.
    """
    after: dict[str, Alarm] = {}
    notices: list[Notice] = []
    found = {finding.subject: finding for finding in findings}
    gone = {subject: Finding(subject, False, "") for subject in sorted(alarms.keys() - found.keys())}
    for subject, finding in {**found, **gone}.items():
        before = alarms.get(subject)
        alarm = _not_of_the_future(before, now_ns) if before else None
        if finding.bad is None and alarm is not None:
            after[subject] = alarm
        elif finding.bad:
            alarm, told = _broken(alarm, rule, kind, finding, now_ns)
            after[subject], notices = alarm, notices + told
        elif alarm is not None:
            left, told = _kept(alarm, rule, finding, now_ns)
            notices += told
            if left is not None:
                after[subject] = left
    return after, notices


def _broken(
    alarm: Alarm | None, rule: Rule, kind: str, finding: Finding, now_ns: int
) -> tuple[Alarm, list[Notice]]:
    if alarm is None:
        alarm = Alarm(rule.name, kind, finding.subject, finding.text, now_ns)
    alarm = replace(alarm, text=finding.text, facts=finding.facts, well_ns=None)
    if alarm.raised_ns is None:
        if now_ns - alarm.since_ns < rule.hold_s * NS_PER_S:
            return alarm, []
        alarm = replace(alarm, raised_ns=now_ns, told_ns=now_ns)
        return alarm, [alarm.notice("alarm", now_ns)]
    if rule.remind_h and now_ns - alarm.told_ns >= rule.remind_h * 3600 * NS_PER_S:
        alarm = replace(alarm, told_ns=now_ns)
        return alarm, [alarm.notice("reminder", now_ns)]
    return alarm, []


def _kept(alarm: Alarm, rule: Rule, finding: Finding, now_ns: int) -> tuple[Alarm | None, list[Notice]]:
    if alarm.raised_ns is None:  # it did not last
        return None, []
    well_ns = now_ns if alarm.well_ns is None else alarm.well_ns
    if now_ns - well_ns < rule.clear_s * NS_PER_S:
        return replace(alarm, well_ns=well_ns), []
    lasted = span((well_ns - alarm.since_ns) / NS_PER_S)
    text = f"{finding.text or f'{alarm.subject}: over'} (it lasted {lasted})"
    if finding.facts:
        alarm = replace(alarm, facts=finding.facts)
    return None, [alarm.notice("all-clear", now_ns, text)]


def _not_of_the_future(alarm: Alarm, now_ns: int) -> Alarm:
    """Our clock was put back: what waits for a time would wait as much longer."""
    if max(alarm.since_ns, alarm.told_ns, alarm.raised_ns or 0, alarm.well_ns or 0) <= now_ns:
        return alarm
    return replace(
        alarm,
        since_ns=min(alarm.since_ns, now_ns),
        told_ns=min(alarm.told_ns, now_ns),
        raised_ns=None if alarm.raised_ns is None else min(alarm.raised_ns, now_ns),
        well_ns=None if alarm.well_ns is None else min(alarm.well_ns, now_ns),
    )
