"""Readings out of a port, by a driver that may stumble; also what nobody understood."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence

from obslab.telemetry.station.drivers.base import Bad, Driver, Reading
from obslab.telemetry.station.ports import CUT, Port, Reader
from obslab.times import iso

log = logging.getLogger(__name__)

_ROUND = 1000  # pieces in one call of ``due``: a flood of them must not keep the journal waiting
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_LONGEST = 4096  # bytes without the end of a line, which then are a piece as they are
_SILENT_NS = 30 * 1_000_000_000

Found = tuple[Reading | Bad, int]
"""A reading or a bad line, and when its bytes came."""


class Acquisition:
    """A driver that raises is made anew, after a while that grows; what it stumbled over comes out as bad.

    Meanwhile bytes wait: nothing that came is dropped.
    """

    def __init__(self, port: Port, kind: type[Driver]) -> None:
        self.reader = Reader(port)
        self._kind = kind
        self._driver: Driver | None = kind()
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._half = b""
        self._raised_what, self._retry_at, self._wait_s = "", 0.0, _FIRST_WAIT_S

    @property
    def ended(self) -> bool:
        """Nothing more will come, and nothing waits."""
        return self.reader.ended and self._empty()

    @property
    def trouble(self) -> str:
        """Of the port and of the driver; it says the same as long as it is the same."""
        heard_ns = self.reader.heard_ns
        silent = heard_ns is not None and time.time_ns() - heard_ns > _SILENT_NS and not self.reader.ended
        found = [
            self.reader.trouble,
            f"{self.reader.port.name}: no data since {iso(heard_ns or 0, 0)}" if silent else "",
            self._raised_what,
            self._driver.trouble if self._driver else "",
        ]
        return "; ".join(one for one in found if one)

    def due(self) -> list[Found]:
        """What has become complete since the last call."""
        found: list[Found] = []
        self._cut_up()
        for _ in range(_ROUND):
            if not self._pieces or not self._ready():
                break
            found += self._feed(*self._pieces.popleft())
        return found

    def restart(self) -> list[Found]:
        """A new driver on a newly opened port; what the old one still held."""
        found = self._leave()
        self._wait_s, self._raised_what, self._retry_at = _FIRST_WAIT_S, "", 0.0
        self.reader.reopen()
        return found

    def finish(self) -> list[Found]:
        """Close the port; all that had come until then."""
        self.reader.stop()
        found: list[Found] = []
        while not self._empty() or self._half:
            self._cut_up()
            if self.reader.empty:
                self._pieces.extend(self._begun(time.time_ns()))
            found += self.due()
            if self._driver is None:
                for piece, came_ns in self._pieces:
                    found += self._aside(piece, came_ns, "the station ended")
                self._pieces.clear()
        return found + self._leave()

    def _empty(self) -> bool:
        return self.reader.empty and not self._pieces

    def _cut_up(self) -> None:
        """Chunks into pieces, of a line each where the driver allows, so that a bad one stands alone."""
        while len(self._pieces) < _ROUND and (chunk := self.reader.take()) is not None:
            data, came_ns = chunk
            if data == CUT:
                self._pieces.extend([*self._begun(came_ns), chunk])
                continue
            pieces = (self._half + data).splitlines(keepends=True) if self._kind.lines else [data]
            whole = not self._kind.lines or pieces[-1].endswith((b"\n", b"\r")) or len(pieces[-1]) > _LONGEST
            self._half = b"" if whole else pieces.pop()
            self._pieces.extend((piece, came_ns) for piece in pieces)

    def _begun(self, came_ns: int) -> list[tuple[bytes, int]]:
        """A line that will not be completed any more."""
        half, self._half = self._half, b""
        return [(half, came_ns)] if half else []

    def _ready(self) -> bool:
        if self._driver is None and time.monotonic() >= self._retry_at:
            try:
                self._driver = self._kind()
            except Exception as error:  # of somebody else's class: the station goes on without it
                self._stumbled(error)
        return self._driver is not None

    def _feed(self, piece: bytes, came_ns: int) -> list[Found]:
        assert self._driver is not None
        try:
            given: Sequence[Reading | Bad] = (
                self._driver.cut() if piece == CUT else self._driver.feed(piece, came_ns)
            )
        except Exception as error:
            self._stumbled(error)
            return self._aside(piece, came_ns, self._raised_what)
        if any(isinstance(one, Reading) for one in given):
            self._wait_s, self._raised_what = _FIRST_WAIT_S, ""
        return [(one, came_ns) for one in given]

    def _leave(self) -> list[Found]:
        """What the driver still holds; it is not used after that."""
        driver, self._driver = self._driver, None
        try:
            return [(one, time.time_ns()) for one in driver.end()] if driver else []
        except Exception as error:
            self._stumbled(error)
            return []

    def _stumbled(self, error: Exception) -> None:
        what = f"driver {self._kind.name} raised {type(error).__name__}: {' '.join(str(error).split())}"
        if what != self._raised_what:
            log.error("%s; it is made anew", what, exc_info=error)
        self._driver, self._raised_what = None, what
        self._retry_at = time.monotonic() + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)

    def _aside(self, piece: bytes, came_ns: int, why: str) -> list[Found]:
        return [] if piece == CUT else [(Bad(piece.decode("ascii", "backslashreplace"), why), came_ns)]
