"""A thread that works out the newest State, so that neither the kernel nor the pump waits for samples."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from obslab_widgets.baseline_editor.desk import Work
from obslab_widgets.baseline_editor.state import State

log = logging.getLogger(__name__)


class Worker:
    """``want`` a State; ``work`` is the newest there is, maybe of an earlier one. ``news()`` after each.

    Of each makers' work the next is made when nothing newer is wanted: the fast before the thorough.
    """

    def __init__(self, makers: Sequence[Callable[[State], Work]], news: Callable[[], None]) -> None:
        self._makers, self._news = makers, news
        self._wanted: State | None = None
        self._ending = False
        self._change = threading.Condition()
        self.work: Work | None = None
        self._thread = threading.Thread(target=self._run, name="obslab-baseline-editor", daemon=True)
        self._thread.start()

    def want(self, state: State) -> None:
        """Work this out next; what was not begun yet is dropped. Any thread."""
        with self._change:
            self._wanted = state
            self._change.notify_all()

    def stop(self) -> None:
        with self._change:
            self._ending = True
            self._change.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(10.0)

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._ending or self._wanted is not None)
                if self._ending:
                    return
                state, self._wanted = self._wanted, None
            for make in self._makers:
                if state is not None and self._wanted is None and not self._ending:
                    self.work = _worked(make, state)
                    self._news()


def _worked(make: Callable[[State], Work], state: State) -> Work:
    try:
        return make(state)
    except Exception as error:  # shown in the widget, which goes on
        log.exception("a baseline could not be worked out")
        return Work(state, troubles=(" ".join(f"{type(error).__name__}: {error}".split()),))
