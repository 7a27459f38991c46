"""Messages on their way to a disk: what it does not take waits in memory, the newest so many."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from obslab.telemetry.station.replay import Outgoing

log = logging.getLogger(__name__)

_RETRY_S = 2.0
_HELD = 100_000  # messages held in memory while the disk is full: a day of one instrument


@dataclass
class Holding:
    """``write`` takes out of the list what it has written, and raises OSError when the disk takes no more.

    What falls out of memory meanwhile is counted in ``lost`` and logged.
    """

    where: str
    write: Callable[[list[Outgoing]], None]
    held: list[Outgoing] = field(default_factory=list)
    lost: int = 0
    trouble: str = ""
    _retry_at: float = 0.0

    def save(self, messages: list[Outgoing], *, last: bool = False) -> None:
        """Write these after all that waits; the ``last`` time, even if the disk was full just now."""
        self.held += messages
        if time.monotonic() < self._retry_at and not last:
            return
        try:
            self.write(self.held)
        except OSError as error:  # ours of a full database are such, too
            self._hold(str(error))
            return
        if self.trouble:
            log.warning("%s takes data again; %d messages were lost", self.where, self.lost)
        self.trouble = ""

    def give_up(self) -> None:
        """The process ends: what still waits is lost."""
        if self.held:
            self.lost += len(self.held)
            log.error("%d messages are lost: %s never took them", self.lost, self.where)

    def _hold(self, trouble: str) -> None:
        self._retry_at = time.monotonic() + _RETRY_S
        if trouble != self.trouble:  # once, not at each try: the log may be on the same disk
            log.error("%s; messages wait in memory", trouble)
        self.trouble = trouble
        dropped = max(0, len(self.held) - _HELD)
        if dropped and not self.lost:
            log.error("%d messages wait in memory, which is all it takes: the oldest are lost", _HELD)
        self.lost += dropped
        del self.held[:dropped]
