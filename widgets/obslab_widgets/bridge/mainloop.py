"""The kernel's main loop: where callbacks run, and whether it is free to hear a page answer."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable


class MainLoop:
    """The asyncio loop of the kernel's main thread, looked for again until it is found.

    A bridge may be made in a thread or a plain script, where no loop runs yet.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def find(self) -> asyncio.AbstractEventLoop | None:
        if self._loop is None or self._loop.is_closed():
            self._loop = _kernel_loop() or _running_loop()
        return self._loop

    def post(self, call: Callable[[], object]) -> bool:
        """Run `call` soon on the loop; False when there is none."""
        loop = self.find()
        if loop is None:
            return False
        try:
            loop.call_soon_threadsafe(call)
        except RuntimeError:  # closed in between
            return False
        return True


class Audience:
    """Whether a page still listens.

    The Jupyter server buffers every frame for a lost page without bound, so sending must stop when
    nobody acknowledges. But a cell that blocks the main loop also blocks acknowledgements, and plots
    must stay live then: only silence while the loop is free counts.
    """

    AHEAD = 60  # frames a page may owe: two acknowledgement periods at 10 Hz

    def __init__(self, loop: MainLoop) -> None:
        self._loop = loop
        self._heard = 0
        self._probe: threading.Event | None = None

    def hear(self, seq: int) -> None:
        self._heard = seq
        self._probe = None

    def is_gone(self, seq: int) -> bool:
        if seq - self._heard < self.AHEAD:
            return False
        if self._probe is None:
            probe = threading.Event()
            if self._loop.post(probe.set):
                self._probe = probe
            return False
        return self._probe.is_set()


def _kernel_loop() -> asyncio.AbstractEventLoop | None:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    io_loop = getattr(getattr(shell, "kernel", None), "io_loop", None)
    loop = getattr(io_loop, "asyncio_loop", None)
    return loop if isinstance(loop, asyncio.AbstractEventLoop) else None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    if threading.current_thread() is not threading.main_thread():
        return None  # a subshell runs a loop of its own
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
