"""What keeps an archive in order over years: sealing, repairing, forgetting; by its one keeper."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError, TableError
from obslab.tables import hold
from obslab.telemetry.archive import repair
from obslab.telemetry.archive.book import Book
from obslab.telemetry.archive.entries import keep_metas, stream_id
from obslab.telemetry.archive.hot import HotStore
from obslab.telemetry.archive.seal import AFTER_DAYS, SETTLE_S, due_days, seal_day
from obslab.telemetry.archive.sealed import Chunk, day_of
from obslab.telemetry.readings import Stored
from obslab.telemetry.sample import Meta, Stream
from obslab.times import NS_PER_DAY, NS_PER_S, iso, now_ns

_IDLE_NS = 30 * NS_PER_S


class Upkeep:
    """The half of an Archive that changes what is stored without adding to it."""

    path: Path
    book: Book
    _hot: HotStore

    def __init__(self, *, write: bool, shared: bool) -> None:
        self._may_keep, self._shared = write, shared
        self._keeper: IO[str] | None = None
        self._idle_ns: int | None = None
        self._cleared = False

    @property
    def is_keeper(self) -> bool:
        """Whether this process tidies the archive: of several that share it, the first that asks."""
        if self._may_keep and self._keeper is None and self._shared:
            try:
                self._keeper = hold(self.path / "keeper.lock", f"the tidying of archive {self.path}")
            except TableError:
                return False
        return self._may_keep

    def tidy(self, now_ns: int, after_days: float = AFTER_DAYS) -> Counter[str]:
        """A bounded piece of upkeep, when this process is the keeper: see ``repair.tidy``.

        Call it as often as you like: when there was nothing to do, it looks again after half a minute.
        """
        idle = self._idle_ns is not None and abs(now_ns - self._idle_ns) < _IDLE_NS
        if idle or not self.is_keeper:
            return Counter()
        if not self._cleared:
            self._cleared = True
            repair.clear(self._hot)
        done = repair.tidy(self._hot, self.book, now_ns, after_days)
        self._idle_ns = None if done else now_ns
        return done

    def seal(self, now_ns: int, after_days: float = AFTER_DAYS, settle_s: float = SETTLE_S) -> int:
        """Seal every day that is due; how many. After filling an archive from files, for one."""
        self._must_keep("sealing")
        due = list(due_days(self._hot, now_ns, after_days, settle_s))
        return sum(seal_day(self._hot, stream, day_ns, now_ns) is not None for stream, day_ns in due)

    def retain(self, keep_days: float, now_ns: int) -> Counter[str]:
        """Delete sealed days that ended ``keep_days`` ago, but for their summaries: see ``repair.retain``."""
        self._must_keep("deleting old days")
        return repair.retain(self._hot, keep_days, now_ns)

    def verify(self) -> list[repair.Damage]:
        """The chunks that are damaged or missing; every one is read."""
        return repair.verify(self._hot)

    def ask_repair(self) -> int:
        """Have the keeper, which is another process, check damaged chunks next; how many there are."""
        return repair.ask(self.verify(), self._hot.file)

    def repair(self, now_ns: int) -> Counter[str]:
        """Quarantine what is damaged, to be filled again, and remove what a crash left; counts of both."""
        self._must_keep("repairing")
        return repair.repair(self._hot, self.book, now_ns)

    def import_day(
        self,
        stream: Stream,
        meta: Meta | None,
        time_ns: NDArray[np.int64],
        arrival_ns: NDArray[np.int64],
        bodies: bytes,
    ) -> Chunk | None:
        """Seal a day of samples that never were hot: for filling an archive fast.

        In order of time, of one UTC day, all bodies of one size. What is stored already of the day stays as
        it is; followers do not see it. Returns None when all of it was there.
        """
        self._must_keep("importing")
        width, rest = divmod(len(bodies), max(1, time_ns.size))
        day_ns = day_of(int(time_ns[0])) if time_ns.size else 0
        if not time_ns.size or rest or not width or arrival_ns.shape != time_ns.shape:
            raise CodecError(
                f"{stream}: {time_ns.size} times and {len(bodies)} bytes are not a day to import"
            )
        if (np.diff(time_ns) <= 0).any() or time_ns[-1] >= day_ns + NS_PER_DAY:
            raise CodecError(
                f"{stream}: the samples of {iso(day_ns)[:10]} are not one UTC day in order of time"
            )
        with self._hot.writing() as write:
            stream_id(write, stream)
            if meta is not None:
                keep_metas(write, {stream.meta_topic: (meta,)})
        day = Stored(
            time_ns.astype(np.int64),
            arrival_ns.astype(np.int64),
            np.full(time_ns.size, width, np.uint16),
            bodies,
        )
        return seal_day(self._hot, stream, day_ns, now_ns(), day)

    def _must_keep(self, what: str) -> None:
        if not self.is_keeper:
            raise TableError(
                f"archive {self.path}: {what} is for the one process that keeps it; open it with write=True",
                path=self.path,
            )
