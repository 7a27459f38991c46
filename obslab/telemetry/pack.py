"""Samples packed for a narrow link and for the disk: columns of integers, each as small as it gets.

A column is differenced (neighbouring samples of a field differ little), zigzag-coded, and cut into byte
planes, most of which are then zeros that zlib takes almost for nothing. One second of a vector
instrument with 10 pT of noise takes 2 to 3 bytes instead of 16.

    packed = u32 rows, u8 columns, columns x u8 order of difference, zlib(planes)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError

Ints = NDArray[np.int64]

_HEAD = struct.Struct("<IB")
_MOST_BYTES = 2**31  # of columns unpacked; a day of 100 Hz takes a third of it
_MOST_COLUMNS = 255
_MOST_MESSAGES, _MESSAGES_BYTES = 200_000, 2**26  # in one block, whatever its few bytes announce
_ORDERS = (0, 1, 2)
_RAW, _VECTOR, _SCALAR = 0, 1, 2


def pack_columns(columns: Sequence[NDArray[Any]], level: int = 6) -> bytes:
    """Columns of integers of one length as bytes; ``unpack_columns`` gives them back as int64."""
    table = [np.asarray(column, dtype=np.int64) for column in columns]
    orders, planes = [], []
    for column in table:
        order, coded = min(
            ((order, _zigzag(_differences(column, order))) for order in _ORDERS),
            key=lambda one: _size(one[1]),
        )
        orders.append(order)
        planes.append(coded.astype("<i8").view(np.uint8).reshape(-1, 8).T.tobytes())
    head = _HEAD.pack(table[0].size, len(table)) + bytes(orders)
    return head + zlib.compress(b"".join(planes), level)


def unpack_columns(packed: bytes, most_bytes: int = _MOST_BYTES) -> list[Ints]:
    """The columns that were packed. Raises CodecError for bytes that no ``pack_columns`` wrote."""
    try:
        rows, count = _HEAD.unpack_from(packed)
        orders = packed[_HEAD.size : _HEAD.size + count]
        if not count or len(orders) < count or not set(orders) <= set(_ORDERS):
            raise ValueError("its head is not one of ours")
        if rows * count * 8 > most_bytes:
            raise ValueError(f"{rows} rows of {count} columns are more than anybody packs")
        # A bound on what comes out: a few bytes from outside could else fill the memory.
        want = rows * count * 8
        inflate = zlib.decompressobj()
        planes = inflate.decompress(packed[_HEAD.size + count :], max(1, want))
        if len(planes) != want or (not inflate.eof and inflate.decompress(inflate.unconsumed_tail, 1)):
            raise ValueError(f"{len(planes)} bytes where {want} were announced")
    except (struct.error, zlib.error, ValueError) as error:
        raise CodecError(f"packed columns are damaged: {error}") from error
    table = np.frombuffer(planes, dtype=np.uint8).reshape(count, 8, rows)
    return [_integrate(_unzigzag(_joined(part)), order) for part, order in zip(table, orders, strict=True)]


def pack_payloads(payloads: Sequence[bytes], level: int = 9) -> bytes:
    """Messages of one stream, all of one length, in order; ``unpack_payloads`` gives them back."""
    size = len(payloads[0])
    if any(len(payload) != size for payload in payloads):
        raise CodecError("payloads of different lengths cannot be packed together")
    table = np.frombuffer(b"".join(payloads), dtype=np.uint8).reshape(len(payloads), size)
    candidates = {_RAW: zlib.compress(table.tobytes(), level)}
    words = (size - 4) // 4
    if size >= 16 and size % 12 == 4 and words < _MOST_COLUMNS:
        candidates[_VECTOR] = pack_columns(_vector_columns(table), level)
    elif size >= 8 and size % 4 == 0 and 2 * words < _MOST_COLUMNS:
        candidates[_SCALAR] = pack_columns(_scalar_columns(table), level)
    layout, packed = min(candidates.items(), key=lambda one: len(one[1]))
    return struct.pack("<BHI", layout, size, len(payloads)) + packed


def unpack_payloads(packed: bytes) -> list[bytes]:
    """The messages that were packed. Raises CodecError for bytes that no ``pack_payloads`` wrote."""
    try:
        layout, size, count = struct.unpack_from("<BHI", packed)
    except struct.error as error:
        raise CodecError(f"packed messages are damaged: {error}") from error
    rest = packed[7:]
    if count > _MOST_MESSAGES or size * count > _MESSAGES_BYTES:
        raise CodecError(f"packed messages are damaged: {count} of {size} bytes are more than anybody packs")
    if layout == _RAW:
        inflate = zlib.decompressobj()
        try:
            flat = inflate.decompress(rest, max(1, size * count))
        except zlib.error as error:
            raise CodecError(f"packed messages are damaged: {error}") from error
        if len(flat) != size * count:
            raise CodecError(f"packed messages are damaged: {len(flat)} bytes, wanted {size * count}")
        return [flat[place : place + size] for place in range(0, len(flat), size)] if size else [b""] * count
    second, *body = unpack_columns(rest, 2 * _MESSAGES_BYTES)
    if second.size != count or len(body) * 4 != size - 4 + (size - 4 if layout == _SCALAR else 0):
        raise CodecError("packed messages are damaged: their count or size differs from what is announced")
    pairs = zip(body[::2], body[1::2], strict=True) if layout == _SCALAR else ()
    words = [(field << 8) | quality for field, quality in pairs] or body
    table = np.stack([second, *words], axis=1).astype(np.int64)
    flat = (table & 0xFFFFFFFF).astype("<u4").tobytes()
    return [flat[place : place + size] for place in range(0, len(flat), size)]


def _vector_columns(table: NDArray[np.uint8]) -> list[Ints]:
    """The second, then each component as a signed number."""
    words = np.ascontiguousarray(table).view("<u4")
    return [words[:, 0].astype(np.int64), *np.ascontiguousarray(words[:, 1:].T).view("<i4").astype(np.int64)]


def _scalar_columns(table: NDArray[np.uint8]) -> list[Ints]:
    """The second, then field and quality of each sample apart: each changes in its own way."""
    words = np.ascontiguousarray(table).view("<u4").astype(np.int64)
    parts = [part for word in words[:, 1:].T for part in (word >> 8, word & 0xFF)]
    return [words[:, 0], *parts]


def _differences(column: Ints, order: int) -> Ints:
    for _ in range(order):
        column = np.diff(column, prepend=np.int64(0))
    return column


def _integrate(column: Ints, order: int) -> Ints:
    for _ in range(order):
        column = np.cumsum(column)
    return column


def _zigzag(column: Ints) -> Ints:
    coded: Ints = (column << 1) ^ (column >> 63)
    return coded


def _unzigzag(coded: Ints) -> Ints:
    column: Ints = ((coded >> 1) & np.int64(2**63 - 1)) ^ -(coded & 1)
    return column


def _joined(planes: NDArray[np.uint8]) -> Ints:
    """Eight byte planes as integers; the high ones are mostly zeros and cost nothing."""
    joined: Ints = planes[0].astype(np.int64)
    for place in range(1, 8):
        if planes[place].any():
            joined |= planes[place].astype(np.int64) << (8 * place)
    return joined


def _size(coded: Ints) -> float:
    """About how many bits the numbers carry."""
    return float(np.log2(coded.view(np.uint64).astype(np.float64) + 1.0).sum())
