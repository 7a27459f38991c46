"""What a running collector says of itself once a second, in ``collector.json`` in the archive."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

_FILE = "collector.json"
_EVERY_S = 1.0


@dataclass(frozen=True)
class Report:
    """``trouble`` stops the storing, ``notice`` is for people; ``holes`` are not filled yet."""

    broker: str
    connected: bool
    detail: str
    at_s: float
    since_s: float
    losses: int
    stored: int = 0
    trouble: str = ""
    name: str = "main"
    notice: str = ""
    holes: int = 0
    pid: int = field(default_factory=os.getpid)


def read_report(archive: Path) -> Report | None:
    """What the archive's collector last said; None when there never was one."""
    try:
        return Report(**json.loads((archive / _FILE).read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


class Reporter:
    """Writes what ``report`` gives, in a thread of its own."""

    def __init__(self, archive: Path, report: Callable[[], Report]) -> None:
        self._file, self._report = archive / _FILE, report
        self._trouble = ""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="obslab-report", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write the last one."""
        self._ending.set()
        self._thread.join()
        self._write()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._write()
            self._ending.wait(_EVERY_S)

    def _write(self) -> None:
        draft = self._file.with_suffix(".new")
        try:
            draft.write_text(json.dumps(asdict(self._report())))
            draft.replace(self._file)  # a reader sees the old one or the new one, never half
            self._trouble = ""
        except OSError as error:
            if str(error) != self._trouble:  # once, not every second
                log.warning("%s cannot be written: %s", self._file, error)
            self._trouble = str(error)
