"""Batches on their way into an archive that a collector has open: files in its folder ``inbox``.

Only the process that holds the archive writes to it; whoever else has samples for it drops them here,
whole or not at all, and the collector takes them in between two commits. The file is one line of JSON that
says what it is, MessagePack around packed columns of times and bodies, and a CRC-32 of it all.
"""

from __future__ import annotations

import logging
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError, MetadataError, NewerVersionError, RecordingError, TableError
from obslab.telemetry.archive.batch import Arrivals, Batch
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.collect.news import Tally, news_of, settle_holes
from obslab.telemetry.collect.report import read_report
from obslab.telemetry.pack import pack_columns, unpack_columns
from obslab.telemetry.sample import Stream, decode_meta, encode_meta
from obslab.times import NS_PER_S, now_ns

Store = Callable[[Batch], object]

log = logging.getLogger(__name__)

FOLDER = "inbox"
SUFFIX = ".batch"
_BAD = ".bad"
_SILENT_S = 10.0  # a collector reports every second
_HEAD = b'{"format":"obslab-batch/1"}\n'


class _Part(msgspec.Struct, array_like=True):
    """The last three came later: ``punctual`` has a bit for each sample that was not late, eight a byte."""

    topic: str
    width: int
    packed: bytes
    revises: bool = False
    whole: bool = False
    punctual: bytes = b""


class _Content(msgspec.Struct, array_like=True):
    source: str
    metas: dict[str, bytes]
    parts: list[_Part]


def drop(archive: Path, batch: Batch, source: str = "") -> Path:
    """Leave a batch for the collector of an archive; returns the file, which it removes when done."""
    folder = Path(archive) / FOLDER
    folder.mkdir(exist_ok=True)
    parts = [_part(arrivals) for arrivals in batch.arrivals]
    metas = {topic: encode_meta(versions) for topic, versions in batch.metas.items()}
    content = _HEAD + msgspec.msgpack.encode(_Content(source, metas, parts))
    content += zlib.crc32(content).to_bytes(4, "little")
    file = folder / f"{now_ns():020}-{os.getpid()}{SUFFIX}"
    draft = file.with_suffix(".new")
    with draft.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(file)  # seen whole or not at all
    return file


@contextmanager
def opened_or_inbox(archive: Path, source: str = "") -> Iterator[tuple[Archive, Store, bool]]:
    """An archive, how to store a batch in it, and whether that is at once.

    At once when it can be opened for writing; while a collector has it open, by way of the inbox.
    """
    with suppress(TableError), open_archive(archive):
        pass  # there must be one: opened for writing, a mistyped path would make it
    try:
        opened, direct = open_archive(archive, write=True), True
    except NewerVersionError:
        raise
    except TableError:  # in use, most likely; if it is anything else, reading fails with the reason
        opened, direct = open_archive(archive), False
    with opened:
        yield opened, opened.add if direct else lambda batch: drop(archive, batch, source), direct


class Outlet:
    """Stores batches for who follows an archive for long, and must not keep a collector from opening it.

    By the inbox while a collector has it open; while nobody has, by opening it for a moment.
    """

    def __init__(self, archive: Path, source: str = "") -> None:
        self._archive, self._source = Path(archive), source
        self._last: Path | None = None

    def ready(self) -> bool:
        """Whether what was given last is stored; who gives more before makes the queue longer, not faster."""
        if self._last is not None and self._last.exists() and not self._is_collected():
            self._take_in()  # the collector ended before it took it
        return self._last is None or not self._last.exists()

    def __call__(self, batch: Batch) -> None:
        self._last = drop(self._archive, batch, self._source)  # on the disk, whatever comes next
        if not self._is_collected():
            self._take_in()

    def _take_in(self) -> None:
        try:
            with open_archive(self._archive, write=True) as opened:
                ingest(opened, most=sys.maxsize)  # all: what waited is older
        except NewerVersionError:
            raise
        except TableError as error:  # opened by somebody just now
            log.debug("left in the inbox: %s", error)

    def _is_collected(self) -> bool:
        """Whether a collector said so within a few seconds; one that starts must not meet our lock."""
        report = read_report(self._archive)
        return report is not None and now_ns() / NS_PER_S - report.at_s < _SILENT_S


def waiting(archive: Path) -> list[Path]:
    """The files that wait, the oldest first."""
    return sorted((Path(archive) / FOLDER).glob(f"*{SUFFIX}"))


def ingest(archive: Archive, add: Store | None = None, *, most: int = 1) -> list[tuple[Path, Tally]]:
    """Take in at most so many files; for the process that holds the archive, between its commits.

    ``add`` stores a batch, ``archive.add`` unless given. Killed half-way it takes a file in again, which
    changes nothing. A file that is not understood is kept under another name.
    """
    done = []
    for file in waiting(archive.path)[:most]:
        try:
            batch = _read(file)
        except RecordingError as error:
            log.error("%s; kept as %s", error.message, file.name + _BAD)
            file.replace(file.with_name(file.name + _BAD))
            continue
        news, tally = news_of(archive, batch)
        (add or archive.add)(news)
        settle_holes(archive, news.arrivals, now_ns())
        file.unlink()
        done.append((file, tally))
    return done


def _read(file: Path) -> Batch:
    data = file.read_bytes()
    if not data.startswith(_HEAD) or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise RecordingError(f"{file} is not a batch of obslab, or is damaged")
    try:
        content = msgspec.msgpack.decode(data[len(_HEAD) : -4], type=_Content)
        metas = {topic: decode_meta(versions) for topic, versions in content.metas.items()}
        return Batch(arrivals=[_arrivals(part) for part in content.parts], metas=metas)
    except (msgspec.DecodeError, CodecError, MetadataError, ValueError) as error:
        raise RecordingError(f"{file} is not a batch of this obslab: {error}") from error


def _part(arrivals: Arrivals) -> _Part:
    words = np.frombuffer(arrivals.bodies, dtype="<i4").reshape(-1, arrivals.width // 4)
    columns: list[NDArray[Any]] = [arrivals.time_ns, *words.T]
    return _Part(
        arrivals.stream.topic,
        arrivals.width,
        pack_columns(columns),
        arrivals.revises,
        arrivals.whole,
        b"" if arrivals.late.all() else np.packbits(~arrivals.late).tobytes(),
    )


def _arrivals(part: _Part) -> Arrivals:
    time_ns, *words = unpack_columns(part.packed)
    if len(words) * 4 != part.width:
        raise CodecError(f"{part.topic}: {len(words)} columns for bodies of {part.width} bytes")
    bodies = np.stack(words, axis=1).astype("<i4").tobytes()
    came_ns = np.full(time_ns.size, now_ns(), dtype=np.int64)
    late = np.ones(time_ns.size, dtype=bool)
    if part.punctual:
        late = np.unpackbits(np.frombuffer(part.punctual, np.uint8), count=time_ns.size) == 0
    return Arrivals(
        Stream.parse(part.topic), time_ns, came_ns, part.width, bodies, late, part.revises, part.whole
    )
