"""The process behind ``obslab.demo``: starts the parts, restarts what dies, ends with the last lease."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from obslab.demo import BUSY
from obslab.errors import DemoError, ObslabError, TableError
from obslab.lifetime import until_told
from obslab.tables import hold
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker
from obslab.telemetry.broker.relay import Relay
from obslab.telemetry.collect.report import read_report

log = logging.getLogger(__name__)

STREAMS = 6  # a vector, a scalar and absolute measurements of each station
_FIRST_LEASE_S = 60.0
_GRACE_S = 2.0  # a notebook whose kernel restarts joins again
_RESTART_S = 2.0
_READY_S = 40.0

_STORM = ["--replay", "storm", "--begin", "2024-05-10T17:03:00Z", "--speed", "30", "--loop", "--absolutes"]
_SATELLITE = ["--simulate", "--preset", "demo"]


_ADJUSTED = ["--station", "WIC", "--instrument", "lemi036", "--follow"]
_BASELINES = Path(__file__).parent / "data" / "baselines"


class Observatory:
    """The child processes; each ends by itself when this process does, since it holds their input."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = folder / "archive"
        self.broker = IotcoreBroker()
        # Each station has a link of its own, so that one can be cut; PEA's is as narrow as the paper's.
        self.links = {
            "WIC": Relay("127.0.0.1", self.broker.port),
            "PEA": Relay("127.0.0.1", self.broker.port, bits_per_s=56_000),
        }
        self._commands: dict[str, list[str]] = {}
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self._died: dict[str, float] = {}

    def start(self) -> None:
        """The collector first: what is published before its session exists, the broker keeps for nobody."""
        self.broker.start()
        for link in self.links.values():
            link.start()
        self._commands = {
            "collector": ["collect", "--broker", self.broker.url, "--archive", str(self.archive)],
            "wic": self._station("WIC", *_STORM),
            "pea": self._station("PEA", *_SATELLITE),
            "adjuster": ["archive", "adjust", str(self.archive), *_ADJUSTED],
        }
        self._run("collector")
        self._wait(lambda: bool((report := read_report(self.archive)) and report.connected), "the collector")
        self._run("wic")
        self._run("pea")
        with open_archive(self.archive) as archive:
            self._wait(lambda: len(archive.streams()) >= STREAMS, "samples of all instruments")
            shutil.copytree(_BASELINES, self.archive / "baselines", dirs_exist_ok=True)
            self._run("adjuster")
            self._wait(lambda: len(archive.streams()) > STREAMS, "adjusted data")

    def keep(self) -> None:
        """Restart what died, after a pause: an error that repeats must not spin."""
        if not self.broker.running:
            self._again("broker", self.broker.start)
        for name, child in list(self.children.items()):
            if child.poll() is not None:
                self._again(name, partial(self._run, name))

    def stop(self) -> None:
        for child in self.children.values():
            child.terminate()
        for child in self.children.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
            child.kill()
        for link in self.links.values():
            link.stop()
        self.broker.stop()

    def cut(self, station: str) -> None:
        """Break a station's link; it goes on recording. An unknown one is a KeyError."""
        self.links[station].cut()

    def restore(self, station: str) -> None:
        self.links[station].restore()

    def _station(self, code: str, *options: str) -> list[str]:
        folder = self.folder / code.lower()
        where = ["--broker", self.links[code].url, "--journal", str(folder), "--days", str(folder / "days")]
        return ["station", "run", *where, *options]

    def _run(self, name: str) -> None:
        command = [sys.executable, "-P", "-m", "obslab", *self._commands[name], "--with-parent"]
        self.children[name] = subprocess.Popen(command, stdin=subprocess.PIPE)

    def _again(self, name: str, start: Callable[[], None]) -> None:
        now = time.monotonic()
        if now - self._died.setdefault(name, now) >= _RESTART_S:
            log.warning("%s ended; starting it again", name)
            del self._died[name]
            try:
                start()
            except ObslabError as error:  # tried again after the next pause
                log.error("%s", error.message)

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _READY_S
        while not ready():
            dead = [name for name, child in self.children.items() if child.poll() is not None]
            if dead or time.monotonic() > end:
                raise DemoError(
                    f"{what} did not come ({', '.join(dead) + ' ended' if dead else 'time is up'})"
                )
            time.sleep(0.05)


def serve(home: Path) -> None:
    """Run the observatory in ``home`` until told, or until nobody holds a lease."""
    for old in home.glob("data-*"):
        shutil.rmtree(old, ignore_errors=True)
    # A new one each time: the children of a supervisor that was killed may still write to theirs.
    data = Path(tempfile.mkdtemp(prefix="data-", dir=home))
    ending = until_told()
    observatory = Observatory(data)
    leases: Leases | None = None  # callers hear us end when the system closes it, after everything else
    # Socket paths have at most 107 characters, state folders may have more.
    with tempfile.TemporaryDirectory(prefix="obslab-demo-") as folder, socket.socket(socket.AF_UNIX) as door:
        try:
            observatory.start()
            door.bind(f"{folder}/socket")
            door.listen()
            draft = home / "demo.json.new"
            draft.write_text(json.dumps({"socket": f"{folder}/socket"}))
            draft.replace(home / "demo.json")
            leases = Leases(door, observatory)
            leases.serve(ending)
        finally:
            (home / "demo.json").unlink(missing_ok=True)
            observatory.stop()


class Leases:
    """Answers at the door: ``lease``, ``keep``, ``status``, ``stop``, ``cut WIC``, ``restore WIC``.

    Each gets the status, one line.
    """

    def __init__(self, door: socket.socket, observatory: Observatory) -> None:
        self._observatory = observatory
        self._door = selectors.DefaultSelector()
        self._door.register(door, selectors.EVENT_READ)
        self._listening = door
        self._held: set[socket.socket] = set()
        self._kept = False
        self._free_since = time.monotonic() + _FIRST_LEASE_S - _GRACE_S
        self._stopped = False

    def serve(self, ending: threading.Event) -> None:
        while not ending.is_set() and not self._stopped:
            for key, _ in self._door.select(0.25):
                assert isinstance(key.fileobj, socket.socket)  # we register nothing else
                if key.fileobj is self._listening:
                    self._door.register(self._listening.accept()[0], selectors.EVENT_READ)
                else:
                    self._answer(key.fileobj)
            self._observatory.keep()
            if self._held or self._kept:
                self._free_since = time.monotonic()
            elif time.monotonic() - self._free_since > _GRACE_S:
                return

    def _answer(self, caller: socket.socket) -> None:
        try:
            word = caller.recv(64).strip().decode(errors="replace")
            match word:
                case "lease":
                    self._held.add(caller)
                case "keep":
                    self._kept = True
                case "stop":
                    self._stopped = True
                case "cut WIC" | "cut PEA":
                    self._observatory.cut(word[-3:])
                case "restore WIC" | "restore PEA":
                    self._observatory.restore(word[-3:])
            if word:
                caller.sendall(json.dumps(self._status()).encode() + b"\n")
                return
        except OSError:  # the caller was killed
            pass
        self._door.unregister(caller)
        self._held.discard(caller)
        caller.close()

    def _status(self) -> dict[str, object]:
        children = self._observatory.children.items()
        return {
            "broker": self._observatory.broker.url,
            "archive": str(self._observatory.archive),
            "pid": os.getpid(),
            "leases": len(self._held),
            "kept": self._kept,
            "pids": {name: child.pid for name, child in children},
        }


def main(home: Path) -> int:
    """Exit code: 0 at the end, 1 with a line in the log when it failed, BUSY when another one runs."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        held = hold(home / "lock", "the demo observatory")
    except TableError:
        return BUSY
    with held:
        os.truncate(home / "log", 0)  # only now: before, it may be the log of one that runs
        try:
            serve(home)
        except ObslabError as error:
            print(f"obslab: {error.message}", file=sys.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
