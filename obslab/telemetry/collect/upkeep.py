"""What a collector does for its archive between commits, step by step; one that fails stops no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from obslab.telemetry.archive.requests import taken
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.collect.inbox import ingest
from obslab.telemetry.collect.keeper import Keeper

log = logging.getLogger(__name__)

_DAY_S = 86_400.0


class Upkeep:
    """``run`` about once a second, on the thread that writes the archive.

    ``trouble`` is one line about what failed, empty when all is well; ``holes`` are not filled yet.
    """

    def __init__(
        self, archive: Archive, keeper: Keeper, *, keep_days: float | None, seal_after_days: float
    ) -> None:
        self._archive, self._keeper = archive, keeper
        self._keep_days, self._seal_after_days = keep_days, seal_after_days
        self._retain_at_s = 0.0
        self._failed: dict[str, str] = {}
        self.holes = 0

    @property
    def trouble(self) -> str:
        return next(iter(self._failed.values()), "")

    def run(self) -> None:
        for step in (self._keeper.tick, self._seal, self._retain, self._take_requests):
            self.attempt(step)

    def take_in(self) -> None:
        """A file of the inbox, if one waits; several times a second."""
        self.attempt(self._take_in)

    def attempt(self, step: Callable[[], object]) -> None:
        """One step; whatever it fails of is told once, and samples go on being stored."""
        name = step.__name__
        try:
            step()
        except Exception as error:
            if self._failed.get(name) != str(error):
                log.exception("keeping the archive %s failed; trying again", self._archive.path)
            self._failed[name] = str(error)
        else:
            self._failed.pop(name, None)

    def _seal(self) -> None:
        """Seal days that are over, one at a time."""
        self._archive.tidy(time.time_ns(), self._seal_after_days)

    def _retain(self) -> None:
        """Once a day, delete days that are older than wanted."""
        if self._keep_days is None or time.monotonic() < self._retain_at_s:
            return
        self._retain_at_s = time.monotonic() + _DAY_S
        gone = self._archive.retain(self._keep_days, time.time_ns())
        if gone:
            log.warning("older than %g days, deleted: %s", self._keep_days, dict(gone))

    def _take_in(self) -> None:
        for _file, tally in ingest(self._archive):
            # What is computed on and on, as adjusted data are, is no news.
            log.log(logging.DEBUG if tally.routine else logging.WARNING, "taken in from the inbox: %s", tally)

    def _take_requests(self) -> None:
        for asked in taken(self._archive.path):
            self._keeper.ask_again(asked.topic, asked.begin_ns, asked.end_ns)
        self.holes = self._keeper.holes_left()
