"""Many samples of one stream at once, as bodies: what the archive keeps of each, without the second."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError
from obslab.telemetry.codec import BODY_SIZE, SCALAR_MISSING, VECTOR_MISSING
from obslab.telemetry.sample import Meta

_NS = 1_000_000_000


def of_values(meta: Meta, values: NDArray[np.float64]) -> bytes:
    """Bodies of values of shape (n, components) in ``meta.units``; NaN is missing, scalars get quality 0.

    The same bytes as ``codec.encode`` gives one by one. Raises CodecError for a value that the layout
    cannot hold.
    """
    if meta.kind == "absolute":
        raise CodecError("an absolute measurement is more than its values; codec.encode takes its readings")
    counts = np.rint(np.asarray(values, dtype=np.float64) / meta.scale)
    missing = np.isnan(counts)
    vector = meta.kind == "vector"
    low, high = (VECTOR_MISSING + 1, 2**31 - 1) if vector else (0, SCALAR_MISSING - 1)
    outside = ~missing & ((counts < low) | (counts > high))
    if outside.any():
        row, column = (int(place[0]) for place in np.nonzero(outside))
        met = counts[row, column] * meta.scale
        raise CodecError(
            f"{meta.components[column]} {met:g} {meta.component_units[column]} in row {row} does not fit the "
            f"{meta.kind} layout, {low * meta.scale:g} to {high * meta.scale:g}",
            row=row,
            value=met,
        )
    if vector:
        return np.where(missing, VECTOR_MISSING, counts).astype("<i4").tobytes()
    return (np.where(missing, SCALAR_MISSING, counts).astype("<u4") << np.uint32(8)).astype("<u4").tobytes()


def messages(meta: Meta, time_ns: NDArray[np.int64], bodies: bytes) -> list[bytes]:
    """The messages that carry these samples, one each: for streams of 1 Hz and slower.

    Every time must be a whole second after ``meta.offset_s``.
    """
    second, rest = np.divmod(time_ns - round(meta.offset_s * _NS), _NS)
    if rest.any() or (second < 0).any() or (second >= 2**32).any():
        raise CodecError(
            f"times are not all whole seconds plus offset_s={meta.offset_s:g} between 1970 and 2106"
        )
    width = BODY_SIZE[meta.kind]
    heads = second.astype("<u4").view(np.uint8).reshape(-1, 4)
    table = np.concatenate([heads, np.frombuffer(bodies, dtype=np.uint8).reshape(-1, width)], axis=1)
    flat, size = table.tobytes(), 4 + width
    return [flat[place : place + size] for place in range(0, len(flat), size)]


def revised(old: bytes, new: bytes) -> bytes:
    """``new``, with what ``old`` has wherever ``new`` is missing: nulls never overwrite.

    Component by component, so that elements which come in messages of their own end in one sample. An
    absolute measurement is replaced whole: its readings belong together.
    """
    if len(old) != len(new) or len(new) not in (BODY_SIZE["vector"], BODY_SIZE["scalar"]):
        return new  # another layout: the metadata changed, there is nothing to merge
    was, now = (np.frombuffer(body, dtype="<u4") for body in (old, new))
    missing: Any = now == 2**31 if len(new) == BODY_SIZE["vector"] else now >> np.uint32(8) == SCALAR_MISSING
    return np.where(missing, was, now).astype("<u4").tobytes()
