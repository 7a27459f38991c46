"""How long a process of obslab lives: until a signal, or until the process that started it is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading


def until_told(*, with_parent: bool = False) -> threading.Event:
    """An event set by SIGINT or SIGTERM, and with ``with_parent`` when standard input ends.

    Whoever starts us with a pipe as standard input holds its other end; the system closes that when
    it dies, even by SIGKILL, so that no process is left behind.
    """
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    if with_parent:
        threading.Thread(target=_watch_input, args=(ending,), name="obslab-parent", daemon=True).start()
    return ending


def _watch_input(ending: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    ending.set()
