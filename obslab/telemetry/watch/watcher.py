"""The loop: look, judge, remember, tell. Whatever fails in a round, the next one comes."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from obslab.telemetry.watch.alarms import Alarm, advance
from obslab.telemetry.watch.conditions import Finding, judge
from obslab.telemetry.watch.memory import Memory, Remembered
from obslab.telemetry.watch.notice import Fact, Notice, together
from obslab.telemetry.watch.outbox import Outbox
from obslab.telemetry.watch.rules import OWN, Rule, Rules, kind_of
from obslab.telemetry.watch.snapshot import Reader, Snapshot
from obslab.times import now_ns

log = logging.getLogger(__name__)

_OWN_RULE = Rule(name=OWN, hold_s=60.0)  # a file that is locked for a moment is no reason to call
_HOPELESS = 3  # failures of an action in a row after which the others tell of it


class Watcher:
    """Watches one archive; ``on_notice`` gets each notice as it arises, to print it."""

    def __init__(
        self,
        archive: Path,
        rules: Rules,
        memory: Memory,
        on_notice: Callable[[Notice], None] = lambda _: None,
    ) -> None:
        self._reader = Reader(archive, rules.rules)
        self._rules, self._memory, self._on_notice = rules, memory, on_notice
        remembered = memory.load()
        names = {rule.name for rule in rules.rules} | {OWN}
        self._alarms = {name: found for name, found in remembered.alarms.items() if name in names}
        self._outbox = Outbox(rules.actions, remembered.queues)
        self._failing: dict[str, str] = {}
        self._trouble = ""

    @property
    def standing(self) -> list[Alarm]:
        """Alarms that were raised and not cleared, oldest first."""
        every = (alarm for found in self._alarms.values() for alarm in found.values())
        return sorted((one for one in every if one.raised_ns is not None), key=lambda one: one.since_ns)

    @property
    def waiting(self) -> int:
        """Notices that no action has taken yet."""
        return sum(len(queue.notices) for queue in self._outbox.queues.values())

    def run(self, ending: threading.Event) -> None:
        """Until ``ending`` is set."""
        while not ending.is_set():
            try:
                self.round(now_ns())
                self._trouble = ""
            except Exception as error:  # nobody is there to start us again
                if repr(error) != self._trouble:
                    log.exception("a round of the watch failed")
                self._trouble = repr(error)
            tell_systemd()
            ending.wait(self._rules.every_s)

    def round(self, at_ns: int) -> list[Notice]:
        """Look once at an instant of UTC; what arose of it, delivered or waiting."""
        snapshot = self._reader.read(at_ns)
        notices: list[Notice] = []
        for rule in self._rules.rules:
            notices += together(self._apply(rule, snapshot, at_ns))
        notices += self._advance(_OWN_RULE, OWN, self._own_findings(snapshot, at_ns), at_ns)
        for notice in notices:
            self._outbox.put(notice, self._called(notice))
        self._save()  # before anything is sent: a crash from here on forgets nothing
        try:
            for notice in notices:
                self._on_notice(notice)
        finally:  # whatever became of the terminal it was printed on
            self._outbox.deliver(at_ns, self._save)
        return notices

    def _apply(self, rule: Rule, snapshot: Snapshot, at_ns: int) -> list[Notice]:
        try:
            standing = {
                alarm.subject
                for alarm in self._alarms.get(rule.name, {}).values()
                if alarm.raised_ns is not None
            }
            findings = judge(rule, snapshot, standing)
            self._failing.pop(rule.name, None)
        except Exception as error:  # one rule that fails must not silence the others
            if repr(error) != self._failing.get(rule.name):
                log.exception("rule %r failed", rule.name)
            self._failing[rule.name] = repr(error)
            return []
        return [] if findings is None else self._advance(rule, kind_of(rule), findings, at_ns)

    def _advance(self, rule: Rule, kind: str, findings: list[Finding], at_ns: int) -> list[Notice]:
        before = self._alarms.get(rule.name, {})
        self._alarms[rule.name], notices = advance(before, rule, kind, findings, at_ns)
        return notices

    def _own_findings(self, snapshot: Snapshot, at_ns: int) -> list[Finding]:
        """What is wrong with the watch itself."""
        found = [
            Finding(f"reading {what}", True, f"the archive cannot be watched: {why}")
            for what, why in snapshot.problems.items()
        ]
        found += [
            Finding(f"rule {name}", True, f"rule {name!r} cannot be judged: {why}")
            for name, why in self._failing.items()
        ]
        for name, queue in self._outbox.queues.items():
            facts: dict[str, Fact] = {"failures": queue.failures, "waiting": len(queue.notices)}
            if queue.failures >= _HOPELESS:
                found.append(Finding(f"action {name}", True, f"{queue.why}; {queue.failures} tries", facts))
            elif queue.failures:  # not yet an alarm, and no all-clear either
                found.append(Finding(f"action {name}", None, queue.why))
        return found

    def _called(self, notice: Notice) -> tuple[str, ...]:
        """An action that fails is told of by the others."""
        names = self._rules.called_by(notice.rule)
        return tuple(name for name in names if (notice.rule, notice.subject) != (OWN, f"action {name}"))

    def _save(self) -> None:
        self._memory.save(Remembered(alarms=self._alarms, queues=self._outbox.queues))


def tell_systemd() -> None:
    """Alive, for ``WatchdogSec=``: a loop that hangs, on a dead network disk say, is started anew."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(b"WATCHDOG=1", path.replace("@", "\0", 1) if path[0] == "@" else path)
    except OSError as error:
        log.debug("systemd was not told: %s", error)
