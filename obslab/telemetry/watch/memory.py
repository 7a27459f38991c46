"""The watcher's memory: alarms and undelivered notices in one small file, so that a restart neither repeats
nor forgets.

A file that cannot be written (its disk may be the one that is full) stops nothing: it is told once.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from obslab.errors import ConfigError
from obslab.tables import hold
from obslab.telemetry.watch.alarms import Alarm
from obslab.telemetry.watch.outbox import Queue

log = logging.getLogger(__name__)

_FORMAT = 1


@dataclass
class Remembered:
    """Alarms by rule and subject, queues by action."""

    format: int = _FORMAT
    alarms: dict[str, dict[str, Alarm]] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)


class Memory:
    """One file, used by one watcher at a time. Raises TableError when another has it."""

    def __init__(self, file: Path) -> None:
        self.file = Path(file)
        self._held = hold(self.file.with_suffix(".lock"), f"watch state {self.file}")
        self._saved = b""
        self._trouble = ""

    def load(self) -> Remembered:
        """What was saved last; nothing when there is no file, or one that is damaged (kept aside)."""
        try:
            found = msgspec.json.decode(self.file.read_bytes(), type=Remembered)
        except FileNotFoundError:
            return Remembered()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            aside = self.file.with_suffix(".damaged")
            self.file.replace(aside)
            log.error("%s is damaged (%s), now %s: alarms that stand are told again", self.file, error, aside)
            return Remembered()
        if found.format != _FORMAT:
            raise ConfigError(
                f"{self.file} has format {found.format}, this obslab knows {_FORMAT}; upgrade obslab",
                file=self.file,
            )
        return found

    def save(self, remembered: Remembered) -> None:
        """Durably, all or nothing; trouble is logged, not raised."""
        content = msgspec.json.encode(remembered)
        if content == self._saved:  # a memory card wears out
            return
        draft = self.file.with_suffix(".new")
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.file)
        except OSError as error:
            if str(error) != self._trouble:
                log.error("%s cannot be written: %s; a restart would tell alarms again", self.file, error)
            self._trouble = str(error)
        else:
            self._saved, self._trouble = content, ""

    def close(self) -> None:
        self._held.close()
