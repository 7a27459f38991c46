"""Where an instrument's bytes come from: a port that is read on a thread, and opened again when it is cut."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from typing import Protocol

log = logging.getLogger(__name__)

_READ_S = 0.2  # the longest that a read may take, so that a pause is prompt
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_MOST_WAITING = 4_000_000  # bytes, half a day of one instrument: then reading waits for the station
_REOPEN_S = 300.0  # a port that is silent for so long is opened anew: some adapters hang without an error

CUT = b""
"""Stands among the chunks where the connection was cut."""


class Port(Protocol):
    """``read`` waits a fraction of a second for bytes: OSError when the port is gone, EOFError at the end.

    ``waits`` says that what is not read now can be read later; a serial line goes on talking.
    """

    name: str
    waits: bool

    def open(self) -> None: ...

    def read(self) -> bytes: ...

    def close(self) -> None: ...


class StdinPort:
    """Standard input, or another file descriptor; it ends once and cannot be opened again."""

    waits = True

    def __init__(self, descriptor: int = 0) -> None:
        self.name = "standard input"
        self._descriptor = descriptor

    def open(self) -> None:
        pass

    def read(self) -> bytes:
        if not select.select([self._descriptor], [], [], _READ_S)[0]:
            return b""
        data = os.read(self._descriptor, 1 << 16)
        if not data:
            raise EOFError
        return data

    def close(self) -> None:
        pass


class Reader:
    """Reads a port on a thread of its own; ``take`` gives what came, with the time of arrival.

    A port that is gone is tried again, at first after half a second, then less and less often.
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        self.trouble = ""
        self.ended = False
        self.heard_ns: int | None = None  # when the last byte came, or the port was opened
        self._chunks: deque[tuple[bytes, int]] = deque()
        self._waiting = 0
        self._ending, self._paused, self._anew = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="obslab-port", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port; what came before can still be taken."""
        self._ending.set()
        if self._thread:
            self._thread.join()

    def pause(self) -> None:
        """Let the port go, for somebody else to use it."""
        self._paused.set()

    def unpause(self) -> None:
        self._paused.clear()

    def reopen(self) -> None:
        self._anew.set()

    @property
    def empty(self) -> bool:
        return not self._chunks

    def take(self) -> tuple[bytes, int] | None:
        """The next chunk and its time of arrival in ns, CUT among them; None when there is none yet."""
        if not self._chunks:
            return None
        chunk = self._chunks.popleft()
        self._waiting -= len(chunk[0])
        return chunk

    # ---- the thread

    def _run(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._ending.is_set():
            if self._paused.is_set():
                self._ending.wait(_READ_S / 4)
                continue
            self._anew.clear()
            before_ns = self.heard_ns
            try:
                self.port.open()
                self.heard_ns = time.time_ns()
                if self._read():
                    wait_s = _FIRST_WAIT_S
            except EOFError:
                self.ended = True
                return
            except Exception as error:  # pyserial has more kinds than OSError, termios' own among them
                self._tell(f"{self.port.name}: {str(error) or type(error).__name__}")
            finally:
                self._close()
            if self.heard_ns != before_ns:
                self._push(CUT)
            if self.trouble:
                self._ending.wait(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _read(self) -> bool:
        """Until something happens; whether any byte came."""
        heard, silent_since = False, time.monotonic()
        while not (self._ending.is_set() or self._paused.is_set() or self._anew.is_set()):
            if self._waiting > _MOST_WAITING:
                if not self.port.waits:
                    self._tell(f"{self.port.name}: {_MOST_WAITING:,} bytes wait, no more are read")
                self._ending.wait(_READ_S)
                continue
            data = self.port.read()
            if data:
                heard, silent_since = True, time.monotonic()
                self._push(data)
                self._tell("")
            elif time.monotonic() - silent_since > _REOPEN_S:
                return heard
        end = time.monotonic() + 2 * _READ_S  # what the system has taken for us is not left behind
        while time.monotonic() < end and (data := self.port.read()):
            self._push(data)
        return heard

    def _push(self, data: bytes) -> None:
        now_ns = time.time_ns()
        if data:
            self.heard_ns = now_ns
            self._waiting += len(data)
        self._chunks.append((data, now_ns))

    def _close(self) -> None:
        try:
            self.port.close()
        except Exception as error:  # it is gone anyway
            log.debug("closing %s: %s", self.port.name, error)

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.error("%s; trying again", trouble)
        elif self.trouble and not trouble:
            log.warning("%s gives data again", self.port.name)
        self.trouble = trouble
