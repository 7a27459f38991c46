"""A thread that asks the archive, so that neither the kernel nor the pump waits for a year of data."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from obslab_widgets.latency_dashboard.answer import Answer
from obslab_widgets.latency_dashboard.state import State

log = logging.getLogger(__name__)

_TICK_S = 2.0  # ages grow even when nothing is asked
_REST = 4.0  # times as long as the last answer took: a fifth of one core at most
_AGAIN_S = (2.0, 60.0)
_STEPS = 2000.0  # a period moves on by so much of its length before it is asked again
_TROUBLE_S = 5.0


class Ask(Protocol):
    """How to get an answer; runs on the asker's thread."""

    def __call__(self, state: State) -> Answer: ...


class Asker:
    """Answers the newest State, and again now and then while it is looked at. ``news()`` after each.

    ``answer`` is the newest there is, which may be of an earlier State; ``trouble`` says why there is none.
    """

    def __init__(self, ask: Ask, news: Callable[[], None]) -> None:
        self._ask, self._news = ask, news
        self._wanted: State | None = None
        self._seen = self._ending = self._hurried = False
        self._change = threading.Condition()
        self._due_s = 0.0
        self.answer: Answer | None = None
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name="obslab-asker", daemon=True)

    def want(self, state: State) -> None:
        """Answer this next; what was not begun yet is dropped. Any thread."""
        with self._change:
            if self._wanted is None:
                self._wanted = state
                self._thread.start()
            self._wanted = state
            self._change.notify_all()

    def hurry(self) -> None:
        """Something happened: ask again, soon."""
        with self._change:
            self._hurried = True
            self._change.notify_all()

    def seen(self) -> None:
        """Somebody looks: it is worth to go on asking."""
        self._seen = True

    def stop(self) -> None:
        with self._change:
            self._ending = True
            self._change.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(10.0)

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(self._is_due, _TICK_S)
                if self._ending:
                    return
                due, state, self._hurried = self._is_due(), self._wanted, False
            if due and state is not None:
                self._seen = False
                self._answer(state)
            self._news()

    def _is_due(self) -> bool:
        if self._ending or self._hurried or (self.answer is None and not self.trouble):
            return True
        if self.answer is not None and self.answer.state != self._wanted and not self.trouble:
            return True
        return self._seen and time.monotonic() >= self._due_s

    def _answer(self, state: State) -> None:
        try:
            answer = self._ask(state)
        except Exception as error:  # shown in the widget; the archive may come back
            if not self.trouble:
                log.exception("the archive could not be asked")
            self.trouble = f"the archive cannot be read: {error}"
            self._due_s = time.monotonic() + _TROUBLE_S
            return
        self.answer, self.trouble = answer, ""
        least_s, most_s = _AGAIN_S
        length_s = (answer.period.end_ns - answer.period.begin_ns) / 1e9
        pause_s = min(most_s, max(least_s, length_s / _STEPS))
        self._due_s = time.monotonic() + max(pause_s, _REST * answer.took_s)
