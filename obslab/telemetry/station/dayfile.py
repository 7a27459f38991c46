"""The station's second record, apart from the journal: a file for each stream and day, kept for years.

INTERMAGNET asks for a recorder on site. It shares nothing with the journal but the messages, so that neither
fails with the other; put it on another disk if there is one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from obslab.errors import RecordingError
from obslab.telemetry import daylog
from obslab.telemetry.daylog import DayLog
from obslab.telemetry.sample import Meta, Stream
from obslab.times import as_ns

log = logging.getLogger(__name__)

_SYNC_S = 1.0
_OPEN = 16  # files kept open

Message = tuple[str, int, bytes]


@dataclass
class _File:
    descriptor: int
    path: Path
    size: int
    told: tuple[Meta, ...] = ()  # the metadata that it has had from us


class DayFiles:
    """A folder of day files, written by one station; anybody may read them meanwhile.

    Appended bytes go to the system at once, and to the disk at most a second later. With ``keep_days`` the
    newest so many files of each stream are kept: counted in files, not by a clock, since a clock that
    jumps must not delete anything.
    """

    def __init__(self, folder: Path, keep_days: int | None = None) -> None:
        self.folder, self.keep_days = Path(folder), keep_days
        self._files: dict[str, _File] = {}
        self._metas: dict[Stream, tuple[Meta, ...]] = {}
        self._synced_at = 0.0
        self._unsynced: set[str] = set()

    def append(self, messages: list[Message], metas: Sequence[tuple[Stream, Meta]] = ()) -> None:
        """Write ``(topic, time in ns, payload)``; what is written is taken out of ``messages``.

        Raises OSError when the disk takes no more: then the rest is still in ``messages``.
        """
        for stream, meta in metas:
            known = self._metas.get(stream, ())
            if meta not in known:
                others = [old for old in known if old.valid_from != meta.valid_from]
                self._metas[stream] = tuple(sorted((*others, meta), key=lambda version: version.valid_from))
        groups: dict[tuple[str, int], list[bytes]] = {}
        for topic, time_ns, payload in messages:
            groups.setdefault((topic, time_ns // daylog.DAY_NS), []).append(payload)
        for (topic, day), payloads in groups.items():
            self._write(Stream.parse(topic), day * daylog.DAY_NS, payloads)
            messages[:] = [one for one in messages if (one[0], one[1] // daylog.DAY_NS) != (topic, day)]
        if self._unsynced and time.monotonic() - self._synced_at >= _SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Return when all that was appended would survive a power cut. Raises OSError."""
        self._synced_at = time.monotonic()
        for name in list(self._unsynced):
            if name in self._files:
                os.fsync(self._files[name].descriptor)
            self._unsynced.discard(name)

    def close(self) -> None:
        try:
            self.sync()
        finally:
            while self._files:
                self._close(next(iter(self._files)))

    def read(self, stream: Stream, begin_ns: int, end_ns: int) -> Iterator[tuple[int, bytes]]:
        """Messages of ``[begin, end)`` in order of time, each once; damage is logged and passed over."""
        for path in self._paths(stream):
            named = daylog.parse_name(str(path))
            if named is None or not begin_ns - daylog.DAY_NS < as_ns(named[1]) < end_ns:
                continue
            try:
                day = self.read_file(path)
            except (RecordingError, OSError) as error:
                log.error("%s", error)
                continue
            if day.damaged:
                log.warning("%s: %d bytes are damaged and passed over", path, day.damaged)
            times = day.times_ns()
            places = np.flatnonzero((times >= begin_ns) & (times < end_ns)).tolist()
            yield from sorted({(int(times[place]), day.payloads[place]) for place in places})

    def read_file(self, file: str | Path | BinaryIO) -> DayLog:
        """One file of any folder. Raises RecordingError."""
        return daylog.read(file)

    def streams(self) -> list[Stream]:
        """All that have files."""
        found = (daylog.parse_name(str(path)) for path in self.folder.glob(f"*/*/*/*{daylog.SUFFIX}"))
        return sorted({one[0] for one in found if one})

    def prune(self, keep_days: int) -> list[Path]:
        """Delete all but the newest files of each stream; returns what went."""
        gone = [path for stream in self.streams() for path in self._paths(stream)[: -max(1, keep_days)]]
        for path in gone:
            log.info("%s is deleted: the newest %d days are kept", path, keep_days)
            path.unlink(missing_ok=True)
        return gone

    def _paths(self, stream: Stream) -> list[Path]:
        return sorted((self.folder / daylog.folder_of(stream)).glob(f"*{daylog.SUFFIX}"))

    def _write(self, stream: Stream, time_ns: int, payloads: list[bytes]) -> None:
        name = daylog.name_of(stream, time_ns)
        file = self._files.get(name) or self._open(name, stream)
        data = b""
        metas = self._metas.get(stream, ())
        if file.size == 0:
            data += daylog.header(stream)
        if new := [meta for meta in metas if meta not in file.told]:
            data += daylog.metas_record(new)
        data += b"".join(map(daylog.message_record, payloads))
        self._unsynced.add(name)
        try:
            _write_all(file.descriptor, data)
        except OSError:
            del self._files[name]
            self._unsynced.discard(name)
            with contextlib.suppress(OSError):  # half a batch would be there twice when it comes again whole
                os.ftruncate(file.descriptor, file.size)
            os.close(file.descriptor)
            raise
        file.size += len(data)
        file.told = metas

    def _open(self, name: str, stream: Stream) -> _File:
        path = self.folder / name
        new = not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        file = self._files[name] = _File(descriptor, path, os.fstat(descriptor).st_size)
        while len(self._files) > _OPEN:
            self._close(next(iter(self._files)))
        if new:
            _sync_folder(path.parent)
            if self.keep_days:
                self.prune(self.keep_days)
        return file

    def _close(self, name: str) -> None:
        file = self._files.pop(name)
        try:
            if name in self._unsynced:
                os.fsync(file.descriptor)
        finally:
            self._unsynced.discard(name)
            os.close(file.descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
