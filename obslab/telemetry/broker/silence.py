"""Notices a link that is up and dead, sooner than the keep-alive does.

With a frozen broker and a keep-alive of 10 s, paho says so after 20 s. Here a broker that has been silent
for a while is asked something, and one that does not answer within the time is given up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SILENT_S = 8  # then the link is taken for dead
_ASK_S = 3.0
_LOOK_S = 0.5


class SilenceWatch:
    """Calls ``ask`` when nothing was heard for a while, and ``give_up`` when still nothing came."""

    def __init__(
        self, is_up: Callable[[], bool], ask: Callable[[], None], give_up: Callable[[], None]
    ) -> None:
        self._is_up, self._ask, self._give_up = is_up, ask, give_up
        self._heard_s = time.monotonic()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="obslab-silence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()

    def heard(self) -> None:
        """Something came from the broker, whatever it was."""
        self._heard_s = time.monotonic()

    def _run(self) -> None:
        asked_s = 0.0
        while not self._ending.wait(_LOOK_S):
            if not self._is_up():
                continue
            now_s = time.monotonic()
            silent_s = now_s - self._heard_s
            if silent_s > SILENT_S:
                self._give_up()
            elif silent_s > _ASK_S and now_s - asked_s > _ASK_S:
                asked_s = now_s
                self._ask()
