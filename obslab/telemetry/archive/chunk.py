"""One day of one stream as a file: its samples in columns of integers, packed, with a checksum.

    file   = "OBC1", u32 crc32 of all that follows, u32 length of head, head (JSON), blocks
    blocks = for each part of at most a million samples: times, then bodies of each width

Times are exact. Arrivals are kept to 1 ms, as milliseconds after the sample's time: that takes a byte or
two, where nanoseconds would take five that nobody can use. Bodies come back byte for byte: of 12 bytes as
three signed components, of 4 bytes as field and quality, of any other width as they are.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError, StorageFullError, TableError
from obslab.telemetry.pack import pack_columns, unpack_columns
from obslab.telemetry.readings import Stored, united
from obslab.telemetry.sample import Stream

SUFFIX = ".obc"
ARRIVAL_NS = 1_000_000

_MAGIC = b"OBC1"
_FRONT = struct.Struct("<4sII")
_PART_ROWS = 1_000_000
_LEVEL = 6


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a chunk says of itself; ``parts`` has the (width, bytes) of each block, width 0 for the times."""

    format: int = 1
    topic: str
    day_ns: int
    generation: int
    n: int
    parts: list[list[tuple[int, int]]]


def encode(stream: Stream, day_ns: int, generation: int, stored: Stored) -> bytes:
    """The content of the file for samples in order of time, without two of the same time."""
    parts, blocks = [], []
    for start in range(0, len(stored), _PART_ROWS):
        whole = len(stored) <= _PART_ROWS
        rows = np.arange(start, min(start + _PART_ROWS, len(stored)))
        part = _packed(stored if whole else stored.take(rows))
        parts.append([(width, len(block)) for width, block in part])
        blocks += [block for _, block in part]
    head = msgspec.json.encode(
        Head(topic=stream.topic, day_ns=day_ns, generation=generation, n=len(stored), parts=parts)
    )
    rest = b"".join([head, *blocks])
    length = struct.pack("<I", len(head))
    return _MAGIC + struct.pack("<I", zlib.crc32(rest, zlib.crc32(length))) + length + rest


def check(content: bytes) -> tuple[Head, int]:
    """The head and the checksum of a chunk that is as it was written. Raises CodecError."""
    try:
        magic, crc, length = _FRONT.unpack_from(content)
    except struct.error:
        raise CodecError(f"it is cut off after {len(content)} bytes") from None
    if magic != _MAGIC:
        raise CodecError("it does not begin as a chunk")
    if zlib.crc32(memoryview(content)[8:]) != crc:
        raise CodecError("its checksum differs from its content")
    try:
        head = msgspec.json.decode(content[_FRONT.size : _FRONT.size + length], type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"its head is not understood: {error}") from error
    if head.format != 1:
        raise CodecError(f"it has format {head.format}, this obslab knows 1; upgrade obslab")
    return head, crc


def decode(content: bytes) -> Stored:
    """The samples in a chunk. Raises CodecError when it is not as it was written."""
    head, _ = check(content)
    place = _FRONT.size + _FRONT.unpack_from(content)[2]
    parts = []
    for blocks in head.parts:
        packed = []
        for width, length in blocks:
            packed.append((width, content[place : place + length]))
            place += length
        parts.append(_unpacked(packed))
    stored = united(parts)
    if len(stored) != head.n:
        raise CodecError(f"it has {len(stored)} samples where {head.n} are announced")
    return stored


def write(file: Path, content: bytes) -> None:
    """Put it on the disk so that it is there whole, or not at all, whatever stops us."""
    making = [parent for parent in [file.parent, *file.parent.parents] if not parent.exists()]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".tmp")
        with unfinished.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        unfinished.rename(file)
        for folder in [file.parent, *(made.parent for made in making)]:
            _sync(folder)
    except OSError as error:
        told = StorageFullError if error.errno in (28, 122) else TableError  # no space, quota
        raise told(
            f"{file} cannot be written: {error.strerror}; free some space or check the disk", path=file
        ) from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def rounded(arrival_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Arrivals as a chunk keeps them: to the nearest millisecond."""
    return (arrival_ns + ARRIVAL_NS // 2) // ARRIVAL_NS * ARRIVAL_NS


def _packed(part: Stored) -> list[tuple[int, bytes]]:
    after_ms = (part.arrival_ns + ARRIVAL_NS // 2) // ARRIVAL_NS - part.time_ns // ARRIVAL_NS
    columns = [part.time_ns, after_ms]
    widths = [int(width) for width in np.unique(part.size)]
    if len(widths) > 1:
        columns.append(part.size.astype(np.int64))
    found = [(0, pack_columns(columns, _LEVEL))]
    for width in widths:
        bodies = part.of_width(width, np.flatnonzero(part.size == width))
        found.append((width, _pack_bodies(width, bodies)))
    return found


def _unpacked(blocks: list[tuple[int, bytes]]) -> Stored:
    time_ns, after_ms, *sizes = unpack_columns(blocks[0][1])
    arrival_ns = (after_ms + time_ns // ARRIVAL_NS) * ARRIVAL_NS
    bodies = {width: _unpack_bodies(width, block) for width, block in blocks[1:]}
    if not sizes:
        ((width, flat),) = bodies.items()
        return Stored(time_ns, arrival_ns, np.full(time_ns.size, width, np.uint16), flat)
    size = sizes[0].astype(np.uint16)
    start = np.cumsum(size, dtype=np.int64) - size
    table = np.empty(int(size.sum()), dtype=np.uint8)
    for width, flat in bodies.items():
        rows = start[size == width]
        table[rows[:, None] + np.arange(width)] = np.frombuffer(flat, np.uint8).reshape(-1, width)
    return Stored(time_ns, arrival_ns, size, table.tobytes())


def _pack_bodies(width: int, bodies: bytes) -> bytes:
    if width == 12:
        return pack_columns(list(np.frombuffer(bodies, "<i4").reshape(-1, 3).T), _LEVEL)
    if width == 4:
        words = np.frombuffer(bodies, "<u4").astype(np.int64)
        return pack_columns([words >> 8, words & 0xFF], _LEVEL)
    return zlib.compress(bodies, _LEVEL)


def _unpack_bodies(width: int, block: bytes) -> bytes:
    if width == 12:
        return np.stack(unpack_columns(block), axis=1).astype("<i4").tobytes()
    if width == 4:
        field, quality = unpack_columns(block)
        return ((field << 8) | quality).astype("<u4").tobytes()
    return zlib.decompress(block)
