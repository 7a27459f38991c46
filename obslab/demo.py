"""A whole small observatory on this machine: broker, two stations, collector, archive.

One supervisor process for each user holds it together. Whoever calls ``start`` holds a *lease*, an open
connection to the supervisor; the system closes it when that process ends, however it ends, and with
the last lease the observatory stops. A second caller joins the one that runs.

    station WIC (replay of a storm, 30 times as fast) -+
                                                       +-> broker -> collector -> archive
    station PEA (simulated, over a satellite)         -+
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obslab import config
from obslab.errors import DemoError

_START_S = 60.0
_ASK_S = 5.0


@dataclass
class Demo:
    """A lease on the running demo observatory; ``with`` it, or ``stop()``, or just end the process."""

    broker: str
    archive: Path
    _lease: socket.socket | None

    def stop(self) -> None:
        """Give the lease back; the observatory stops when nobody else holds one."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def summary(self) -> str:
        return f"demo observatory: broker {self.broker}, archive {self.archive}"

    def __enter__(self) -> Demo:
        return self

    def __exit__(self, *what: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return "<Demo observatory: stations WIC (replay) and PEA (simulated)>"


def start(*, keep: bool = False, timeout_s: float = _START_S) -> Demo:
    """The demo observatory, started or joined; returns when samples of all instruments have arrived.

    With ``keep`` it needs no lease and runs until ``stop()``. Raises DemoError with the reason.
    """
    home = _home()
    home.mkdir(parents=True, exist_ok=True)
    supervisor: subprocess.Popen[bytes] | None = None
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        running = _running(home)
        if running is not None:
            lease = _connect(running)
            if lease is not None:
                lease.sendall(b"keep\n" if keep else b"lease\n")
                if lease.recv(16) == b"ok\n":
                    return Demo(running["broker"], Path(running["archive"]), lease)
        if supervisor is None:
            supervisor = _spawn(home)
        elif supervisor.poll():
            break
        time.sleep(0.05)
    raise DemoError(f"the demo observatory did not start: {_last_words(home)} (log: {home / 'log'})")


def stop() -> bool:
    """Stop the demo observatory, whoever holds leases; False when none is running."""
    running = _running(_home())
    control = _connect(running) if running else None
    if control is None or running is None:
        return False
    with control:
        control.sendall(b"stop\n")
        end = time.monotonic() + _ASK_S
        while time.monotonic() < end and _alive(running["pid"]):
            time.sleep(0.05)
    return True


def status() -> dict[str, Any]:
    """``running``, and when it does: broker, archive, pids of its processes, number of leases."""
    running = _running(_home())
    control = _connect(running) if running else None
    if control is None or running is None:
        return {"running": False}
    with control:
        control.sendall(b"status\n")
        return {"running": True, **json.loads(control.makefile().readline())}


def _home() -> Path:
    return config.load().state_dir / "demo"


def _spawn(home: Path) -> subprocess.Popen[bytes]:
    with (home / "log").open("wb") as log:
        return subprocess.Popen(
            # -P: a folder named obslab in the working directory must not take the package's place
            [sys.executable, "-P", "-m", "obslab.supervisor", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _running(home: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((home / "demo.json").read_text())
    except (OSError, json.JSONDecodeError):
        return None
    return found


def _connect(running: dict[str, Any]) -> socket.socket | None:
    control = socket.socket(socket.AF_UNIX)
    control.settimeout(_ASK_S)
    try:
        control.connect(running["socket"])
    except OSError:
        control.close()
        return None
    return control


def _alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _last_words(home: Path) -> str:
    with contextlib.suppress(OSError):
        lines = (home / "log").read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
    return "no word from its supervisor"
