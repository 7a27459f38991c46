"""Notices on their way: kept until their action has taken them, tried again with growing pauses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from obslab.errors import ActionError, ObslabError
from obslab.telemetry.watch.actions import Action
from obslab.telemetry.watch.notice import Notice
from obslab.times import NS_PER_S

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 3600.0
_MOST = 500  # notices that wait for one action
_AT_ONCE = 20  # so many of one action in a round, then the rules are looked at again


@dataclass
class Queue:
    """What waits for one action, in order, and how its last tries went."""

    notices: list[Notice] = field(default_factory=list)
    failures: int = 0
    next_ns: int = 0
    failing_since_ns: int = 0
    why: str = ""
    dropped: int = 0


class Outbox:
    """One queue for each action; ``changed`` is called after each delivery, so that none is repeated.

    A process killed between a delivery and that call repeats this one notice.
    """

    def __init__(
        self,
        actions: Mapping[str, Action],
        queues: Mapping[str, Queue] | None = None,
        *,
        grace_s: float = 5.0,
    ) -> None:
        self._actions, self._grace_s = actions, grace_s
        kept = dict(queues or {})
        for name in kept.keys() - actions.keys():
            if kept[name].notices:
                log.warning("%d notices waited for action %r, which is gone", len(kept[name].notices), name)
        self.queues = {name: kept.get(name) or Queue() for name in actions}
        self._busy: dict[str, threading.Thread] = {}

    def put(self, notice: Notice, names: tuple[str, ...]) -> None:
        for name in names:
            queue = self.queues[name]
            if notice.what == "reminder":  # a newer one says all that an older one does
                queue.notices = [one for one in queue.notices if not _same_reminder(one, notice)]
            queue.notices.append(notice)
            while len(queue.notices) > _MOST:
                queue.notices.pop(0)
                queue.dropped += 1
                if queue.dropped == 1:
                    log.error("action %r: more than %d notices wait; the oldest are dropped", name, _MOST)

    def deliver(self, now_ns: int, changed: Callable[[], None]) -> int:
        """Send what is due; the number that were taken."""
        return sum(self._deliver(name, queue, now_ns, changed) for name, queue in self.queues.items())

    def _deliver(self, name: str, queue: Queue, now_ns: int, changed: Callable[[], None]) -> int:
        wait_ns = queue.next_ns - now_ns
        if 0 < wait_ns <= LONGEST_PAUSE_S * NS_PER_S:  # a longer one means that our clock was put back
            return 0
        taken = 0
        while queue.notices and taken < _AT_ONCE:
            try:
                self._send(name, queue.notices[0])
            except Exception as error:  # an action that fails in a new way must not end the watch
                self._failed(name, queue, error, now_ns)
                changed()
                break
            if queue.failures:
                log.warning("action %r works again after %d failures", name, queue.failures)
            queue.notices.pop(0)
            queue.failures, queue.next_ns, queue.why = 0, 0, ""
            taken += 1
            changed()
        return taken

    def _failed(self, name: str, queue: Queue, error: Exception, now_ns: int) -> None:
        why = str(error) if isinstance(error, ObslabError) else f"action {name!r} failed: {error!r}"
        if why != queue.why:  # once, not at each try
            unknown = not isinstance(error, ObslabError)
            log.error("%s; %d notices wait", why, len(queue.notices), exc_info=unknown)
        queue.failing_since_ns = queue.failing_since_ns if queue.failures else now_ns
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(queue.failures, 10))
        queue.failures, queue.why = queue.failures + 1, why
        queue.next_ns = now_ns + round(pause_s * NS_PER_S)

    def _send(self, name: str, notice: Notice) -> None:
        """In a thread of its own: name services and servers that trickle have no time-out."""
        action, outcome = self._actions[name], _Outcome()
        if name in self._busy and self._busy[name].is_alive():
            raise ActionError(f"action {name!r}: an earlier try has not ended yet")
        thread = threading.Thread(
            target=outcome.run, args=(action, notice), name=f"obslab-action-{name}", daemon=True
        )
        self._busy[name] = thread
        thread.start()
        limit_s = 2 * action.timeout_s + self._grace_s
        thread.join(limit_s)
        if thread.is_alive():
            raise ActionError(f"action {name!r}: it did not end in {limit_s:g} s")
        if outcome.error is not None:
            raise outcome.error


def send_now(action: Action, notice: Notice) -> str:
    """Why a notice was not taken; empty when it was."""
    try:
        Outbox({action.name: action})._send(action.name, notice)
    except Exception as error:  # told in one line, whatever it is
        return str(error) if isinstance(error, ObslabError) else f"action {action.name!r} failed: {error!r}"
    return ""


class _Outcome:
    error: Exception | None = None

    def run(self, action: Action, notice: Notice) -> None:
        try:
            action.send(notice)
        except Exception as error:
            self.error = error


def _same_reminder(one: Notice, other: Notice) -> bool:
    keys = ("what", "rule", "subject", "since_ns")
    return all(getattr(one, key) == getattr(other, key) for key in keys)
