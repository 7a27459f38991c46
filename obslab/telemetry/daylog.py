"""A day of one stream in one file, as bytes that a cut or a flipped bit cannot make unreadable.

``<IAGA>/<instrument>/<samplerate>/2024-05-10.obs`` begins with one line of JSON that names format and
stream. Records follow, in order of writing:

====== ==================================================================================
bytes  field
====== ==================================================================================
0-3    u32, little-endian: bits 31-24 what it is, bits 23-0 length n of the content
4-     n bytes of content: 1 a message as it is published; 2 metadata, as at ``$meta``
4+n-   u32, CRC-32 of all bytes of the record before it
====== ==================================================================================

A record is only ever appended. What a power cut left half is passed over: the reader searches for the
next record whose checksum is right, and tells how many bytes it could not read.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import MetadataError, RecordingError, TopicError
from obslab.telemetry import codec
from obslab.telemetry.sample import Meta, Stream, decode_meta, encode_meta
from obslab.times import iso

FORMAT = "obslab-day/1"
SUFFIX = ".obs"
DAY_NS = 86_400_000_000_000

_NS = 1_000_000_000
_MESSAGE, _METAS = 1, 2
_WORD = struct.Struct("<I")
_LONGEST = 1 << 18  # no record is longer: a flipped bit in a length must not swallow the rest of the file
_HEADER = 4096  # no header line is longer
_NAME = re.compile(r"([A-Z][A-Z0-9]{2})/([^/]+)/([^/]+)/(\d{4}-\d\d-\d\d)" + re.escape(SUFFIX))


class _About(msgspec.Struct):
    format: str
    stream: Stream


@dataclass(frozen=True)
class DayLog:
    """What a file holds: ``payloads`` in order of writing, ``damaged`` bytes that were passed over."""

    stream: Stream
    metas: tuple[Meta, ...]
    payloads: list[bytes]
    damaged: int = 0

    def times_ns(self) -> NDArray[np.int64]:
        """The time of each message, which is that of its first sample."""
        return times_of(self.payloads, self.metas)


def name_of(stream: Stream, time_ns: int) -> str:
    """Where the file of a stream for the day of a sample is, below the folder of all day files."""
    return f"{folder_of(stream)}/{iso(time_ns // DAY_NS * DAY_NS)[:10]}{SUFFIX}"


def folder_of(stream: Stream) -> str:
    return f"{stream.station}/{stream.instrument}/{stream.samplerate}"


def parse_name(path: str) -> tuple[Stream, str] | None:
    """Stream and day (``2024-05-10``) of a path that ends as ``name_of`` makes it; None of another."""
    found = _NAME.fullmatch("/".join(path.replace("\\", "/").split("/")[-4:]))
    try:
        return (Stream(found[1], found[2], found[3]), found[4]) if found else None
    except TopicError:
        return None


def header(stream: Stream) -> bytes:
    """What a file begins with."""
    return msgspec.json.encode(_About(FORMAT, stream)) + b"\n"


def message_record(payload: bytes) -> bytes:
    """One message, as it is published."""
    return _record(_MESSAGE, payload)


def metas_record(versions: Sequence[Meta]) -> bytes:
    """Versions of the metadata; one that begins at the same time as an earlier one replaces it."""
    return _record(_METAS, encode_meta(versions))


def read(file: str | Path | BinaryIO | bytes) -> DayLog:
    """The day in a file, an open binary file, or bytes. Raises RecordingError when nothing of it is ours."""
    if isinstance(file, bytes):
        return decode(file)
    if isinstance(file, str | Path):
        return decode(Path(file).read_bytes(), str(file))
    return decode(file.read(), str(getattr(file, "name", "day file")))


def decode(data: bytes, name: str = "day file") -> DayLog:
    """``read``, for bytes that came from ``name``."""
    line, newline, _ = data[:_HEADER].partition(b"\n")
    try:
        about = msgspec.json.decode(line, type=_About)
    except (msgspec.DecodeError, UnicodeDecodeError, TopicError) as error:
        raise RecordingError(f"{name} does not begin as a day file of obslab does: {error}") from error
    if about.format != FORMAT or not newline:
        raise RecordingError(f"{name} has format {about.format!r}, wanted {FORMAT!r}; upgrade obslab")
    versions: dict[object, Meta] = {}
    payloads: list[bytes] = []
    place = read_upto = len(line) + 1
    for begin, end, kind, content in _records(data, place):
        place, read_upto = end, read_upto + end - begin
        if kind == _MESSAGE and len(content) >= 4:
            payloads.append(content)
        elif kind == _METAS:
            try:
                versions |= {meta.valid_from: meta for meta in decode_meta(content)}
            except MetadataError:  # written by a newer obslab: its messages are of no use to us either
                read_upto -= end - begin
    metas = tuple(versions[key] for key in sorted(versions))  # type: ignore[type-var]
    return DayLog(about.stream, metas, payloads, len(data) - read_upto)


def times_of(payloads: Sequence[bytes], metas: Sequence[Meta]) -> NDArray[np.int64]:
    """The time of each message; without metadata, or before the first, its whole second."""
    if not payloads:
        return np.zeros(0, dtype=np.int64)
    whole_ns = codec.seconds(payloads) * _NS
    if not metas:
        return whole_ns
    offset_ns = np.array([0, *(round(meta.offset_s * _NS) for meta in metas)])
    edges = np.array([meta.valid_from_ns for meta in metas]) - offset_ns[1:]
    times: NDArray[np.int64] = whole_ns + offset_ns[np.searchsorted(edges, whole_ns, side="right")]
    return times


def _record(kind: int, content: bytes) -> bytes:
    head = _WORD.pack(kind << 24 | len(content)) + content
    return head + _WORD.pack(zlib.crc32(head))


def _records(data: bytes, place: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Begin, end, kind and content of every whole record from ``place`` on."""
    size, unpack = len(data), _WORD.unpack_from
    while place + 8 <= size:
        word = unpack(data, place)[0]
        kind, end = word >> 24, place + 4 + (word & 0xFFFFFF)
        if (
            kind in (_MESSAGE, _METAS)
            and end + 4 <= size
            and end - place <= _LONGEST
            and zlib.crc32(data[place:end]) == unpack(data, end)[0]
        ):
            yield place, end + 4, kind, data[place + 4 : end]
            place = end + 4
        else:
            place += 1
