"""A whole small observatory on this machine: broker, two stations, collector, archive.

One supervisor process for each user holds it together. Whoever calls ``start`` holds a *lease*, an open
connection to the supervisor; the system closes it when that process ends, however it ends, and with
the last lease the observatory stops. A second caller joins the one that runs.

    station WIC (replay of a storm, 30 times as fast) -> relay -+
                                                                +-> broker -> collector -> archive <- adjuster
    station PEA (simulated, over a satellite)         -> relay -+

Both stations have an AUTODIF too. The adjuster writes WIC's adjusted data beside the raw, by an adopted
baseline.

A relay is a link that can be cut: ``start().cut("WIC")``, ``.restore("WIC")``.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obslab import config
from obslab.errors import DemoError, TableError
from obslab.tables import hold

STATIONS = ("WIC", "PEA")
BUSY = 75  # exit code of a supervisor that finds another: "try again later" in sysexits.h
_START_S = 60.0
_STOP_S = 30.0
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

    def cut(self, station: str) -> None:
        """Break the link of station ``WIC`` or ``PEA``; it goes on recording."""
        cut(station)

    def restore(self, station: str) -> None:
        """Mend the link again."""
        restore(station)

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
        if (asked := _ask(home, "keep" if keep else "lease")) is not None:
            facts, lease = asked
            return Demo(facts["broker"], Path(facts["archive"]), lease)
        code = supervisor.poll() if supervisor else None
        if code not in (None, 0, BUSY):
            break
        # Another may be starting or ending: who holds the lock is waited for.
        if (supervisor is None or code is not None) and not _locked(home):
            supervisor = _spawn(home)
        time.sleep(0.05)
    raise DemoError(f"the demo observatory did not start: {_last_words(home)} (log: {home / 'log'})")


def stop() -> bool:
    """Stop the demo observatory, whoever holds leases; False when none is running."""
    if (asked := _ask(_home(), "stop")) is None:
        return False
    control = asked[1]
    control.settimeout(_STOP_S)
    with control, contextlib.suppress(OSError):
        while control.recv(64):  # the system closes it when the supervisor is gone
            pass
    return True


def status() -> dict[str, Any]:
    """``running``, and when it does: broker, archive, pids of its processes, number of leases."""
    if (asked := _ask(_home(), "status")) is None:
        return {"running": False}
    facts, control = asked
    control.close()
    return {"running": True, **facts}


def cut(station: str) -> None:
    """Break the link of a station of the running demo. Raises DemoError."""
    _tell(f"cut {_known(station)}")


def restore(station: str) -> None:
    """Mend it again. Raises DemoError."""
    _tell(f"restore {_known(station)}")


def _known(station: str) -> str:
    if station.upper() not in STATIONS:
        raise DemoError(f"the demo has no station {station!r}; it has {' and '.join(STATIONS)}")
    return station.upper()


def _tell(word: str) -> None:
    asked = _ask(_home(), word)
    if asked is None:
        raise DemoError("no demo observatory is running; start one with demo.start()")
    asked[1].close()


def _home() -> Path:
    return config.load().state_dir / "demo"


def _spawn(home: Path) -> subprocess.Popen[bytes]:
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            # -P: a folder named obslab in the working directory must not take the package's place
            [sys.executable, "-P", "-m", "obslab.supervisor", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _locked(home: Path) -> bool:
    try:
        hold(home / "lock", "the demo observatory").close()
    except TableError:
        return True
    return False


def _ask(home: Path, word: str) -> tuple[dict[str, Any], socket.socket] | None:
    """What the supervisor answers, and the connection, still open; None when nobody answers."""
    control = socket.socket(socket.AF_UNIX)
    control.settimeout(_ASK_S)
    # The file may be left over from a supervisor that was killed, and a supervisor may be ending.
    with contextlib.suppress(OSError, ValueError):
        control.connect(json.loads((home / "demo.json").read_text())["socket"])
        control.sendall(f"{word}\n".encode())
        with control.makefile() as answer:
            return json.loads(answer.readline()), control
    control.close()
    return None


def _last_words(home: Path) -> str:
    with contextlib.suppress(OSError):
        lines = (home / "log").read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
    return "no word from its supervisor"
