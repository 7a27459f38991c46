"""The one thread of a process that draws, so that neither the network nor the kernel ever waits for it."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from typing import ClassVar, Protocol

log = logging.getLogger(__name__)


class Drawable(Protocol):
    """What the pump serves: `obslab_widgets.bridge.Bridge`."""

    def draw(self) -> None: ...

    def fail(self, where: str, message: str) -> None: ...


class Pump:
    """Sleeps until something is touched, draws all that was, then rests one period.

    Ten draws a second are as much as a page can paint in software; more touches in that time
    are one draw. Between draws it holds no reference to what it drew.
    """

    _shared: ClassVar[Pump | None] = None
    _making: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, period_s: float = 0.1) -> None:
        self._period_s = period_s
        self._touched: set[Drawable] = set()
        self._lock = threading.Lock()
        self._news = threading.Event()
        threading.Thread(target=self._run, name="obslab-pump", daemon=True).start()

    @classmethod
    def shared(cls) -> Pump:
        with cls._making:
            if cls._shared is None:
                cls._shared = cls()
            return cls._shared

    def touch(self, drawable: Drawable) -> None:
        """Draw it at the next opportunity. Any thread."""
        with self._lock:
            self._touched.add(drawable)
        self._news.set()

    def forget(self, drawable: Drawable) -> None:
        with self._lock:
            self._touched.discard(drawable)

    def _run(self) -> None:
        while True:
            self._news.wait()
            began_s = time.monotonic()
            self._draw_touched()
            time.sleep(max(0.0, self._period_s - (time.monotonic() - began_s)))

    def _draw_touched(self) -> None:
        self._news.clear()
        with self._lock:
            touched, self._touched = self._touched, set()
        for drawable in touched:
            _draw(drawable)


def _draw(drawable: Drawable) -> None:
    # One widget's fault must not stop the others, so nothing may escape, not even from `fail`.
    try:
        drawable.draw()
    except Exception:
        try:
            drawable.fail("drawing", traceback.format_exc(limit=-3).strip())
        except Exception:
            log.exception("could not draw %r", drawable)
