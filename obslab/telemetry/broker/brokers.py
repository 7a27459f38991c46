"""Brokers to start from Python: iotcore inside this environment, or Mosquitto from the system.

Both listen on 127.0.0.1 only, one trust domain: a laptop, a lab, a test. Neither is where
durability comes from (see ``journal`` and ``archive``); both lose acknowledged messages when killed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from obslab.errors import BrokerError, NoLabError
from obslab.telemetry.broker.access import password_file
from obslab.telemetry.broker.settings import Setting, durable, render

_START_S = 10.0
_MAX_PAYLOAD = 262_144


class Broker(Protocol):
    """What the demo, the tests and the command line need of a broker."""

    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    @property
    def running(self) -> bool: ...


class IotcoreBroker:
    """The embedded broker: a child process that ends with this one."""

    def __init__(self, port: int = 0) -> None:
        try:
            from iotcore import Broker as Iotcore
        except ImportError as error:
            raise NoLabError("the embedded broker needs iotcore; pip install 'obslab[demo]'") from error
        self.port = port or free_port()
        # By default iotcore listens on every interface. It has at most 100 messages unacknowledged,
        # whatever its max_inflight_count says.
        self._make: Callable[[], Any] = lambda: Iotcore(
            port=self.port, listen="127.0.0.1", max_payload_size=_MAX_PAYLOAD
        )
        self._broker = self._make()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return bool(self._broker.is_running)

    def start(self) -> None:
        """Start and wait until it listens. Raises BrokerError."""
        self._broker = self._make()
        try:
            self._broker.start(_START_S)
        except (OSError, RuntimeError) as error:
            raise BrokerError(f"broker on port {self.port} did not start: {error}", port=self.port) from error

    def stop(self) -> None:
        self._broker.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash would: for tests of what survives it."""
        process = self._broker._process
        if process is not None:
            process.kill()
            process.wait()


class MosquittoBroker:
    """A Mosquitto of the system with a configuration that loses nothing while it runs.

    ``users`` maps names to passwords; without it everybody on this machine may connect.
    """

    def __init__(self, port: int = 0, users: dict[str, str] | None = None) -> None:
        self.port = port or free_port()
        self._users = users
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until it listens. Raises BrokerError with the end of Mosquitto's own log."""
        program = mosquitto_program()
        _refuse_taken(self.port)  # else the other's port would be taken for ours
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="obslab-mosquitto-")
        folder = Path(self._folder.name)
        config = folder / "mosquitto.conf"
        config.write_text(self._config(folder))
        if os.geteuid() == 0:
            # Mosquitto started by root becomes the user mosquitto, who may not enter a 0700 folder.
            account = pwd.getpwnam("mosquitto")
            for path in (folder, *folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        with (folder / "stderr").open("wb") as errors:
            self._process = subprocess.Popen([program, "-c", str(config)], stdout=errors, stderr=errors)
        if not _listening(self.port, self._process):
            said = (folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
            self.stop()
            raise BrokerError(f"Mosquitto on port {self.port} did not start: {' '.join(said) or 'no word'}")

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash would: for tests of what survives it."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def _config(self, folder: Path) -> str:
        settings = [Setting("listener", f"{self.port} 127.0.0.1"), *durable(folder)]
        if self._users is None:
            return render("A broker for one machine", [*settings, Setting("allow_anonymous", "true")])
        passwords = folder / "passwords"
        passwords.write_text(password_file(self._users))
        passwords.chmod(0o600)
        settings += [Setting("allow_anonymous", "false"), Setting("password_file", str(passwords))]
        return render("A broker for one machine, with logins", settings)


def mosquitto_program() -> str:
    """Where Mosquitto is; Debian keeps it out of a user's PATH."""
    program = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if program is None:
        raise BrokerError("Mosquitto is not installed; apt-get install mosquitto")
    return program


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BrokerError(f"Mosquitto on port {port} did not start: {error.strerror}") from error


def _listening(port: int, process: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False
