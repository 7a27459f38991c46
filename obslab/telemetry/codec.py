"""The bytes of a sample: 16 for a vector, 8 for a scalar, as in Bracke et al. (2017), section 4.

The paper gives the sizes; the layout is ours (format ``obslab/1``). All integers are little-endian:

====== ======= =====================================================================
kind   bytes   field
====== ======= =====================================================================
vector 0-3     u32, whole Unix second of the (first) sample
vector 4-15    3 x i32, components in counts of ``scale`` (0.001 nT); -2^31 is missing
scalar 0-3     u32, whole Unix second of the (first) sample
scalar 4-7     u32: bits 31-8 field in counts of ``scale`` (0.01 nT), 0xFFFFFF is
               missing; bits 7-0 the instrument's own quality figure
====== ======= =====================================================================

An absolute measurement has 196 bytes: the second of its first reading and a body that ``autodif`` describes.

Above 1 Hz one message carries a second's worth: the second once, then bytes 4 onwards once for each
sample, evenly spaced. What follows the second is called the *body* of a sample here: the archive
keeps bodies as they came, and the metadata valid at the sample's time turns them into numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError
from obslab.telemetry import autodif
from obslab.telemetry.sample import Meta, Stream

BODY_SIZE = {"vector": 12, "scalar": 4, "absolute": autodif.BODY_BYTES}
VECTOR_MISSING = -(2**31)
SCALAR_MISSING = 0xFFFFFF
_NS = 1_000_000_000

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


def message_size(stream: Stream, meta: Meta) -> int:
    """How many bytes one message of the stream has."""
    return 4 + stream.block * BODY_SIZE[meta.kind]


def encode(stream: Stream, meta: Meta, time_ns: int, values: Any, quality: int | Sequence[int] = 0) -> bytes:
    """One message: ``values`` has shape (components,), or (block, components) above 1 Hz.

    Those of an absolute measurement are ``autodif.Records`` of that one. ``time_ns`` is the time of the first
    sample; NaN is sent as missing, other values are rounded to the nearest count. Raises CodecError for a
    value or time the layout cannot hold.
    """
    if meta.kind == "absolute":
        return _head(stream, meta, time_ns) + _measured(stream, values)
    given, want = np.asarray(values, dtype=np.float64), (stream.block, len(meta.components))
    if given.shape != want and not (stream.block == 1 and given.shape == want[1:]):
        raise CodecError(f"{stream}: values of shape {given.shape}, a message has {want}", shape=given.shape)
    counts = np.rint(given.reshape(want) / meta.scale)
    head = _head(stream, meta, time_ns)
    missing = np.isnan(counts)
    if meta.kind == "vector":
        _refuse(stream, meta, counts, ~missing & ((counts <= VECTOR_MISSING) | (counts >= 2**31)))
        body = np.where(missing, VECTOR_MISSING, counts).astype("<i4")
    else:
        _refuse(stream, meta, counts, ~missing & ((counts < 0) | (counts >= SCALAR_MISSING)))
        field = np.where(missing, SCALAR_MISSING, counts).astype("<u4")[:, 0]
        figures = np.asarray(quality)
        if figures.shape not in ((), field.shape) or np.any((figures < 0) | (figures > 255)):
            raise CodecError(f"{stream}: quality {quality} is not one byte for each sample", quality=quality)
        body = (field << np.uint32(8)) | figures.astype("<u4")
    return head + body.astype(body.dtype.newbyteorder("<")).tobytes()


def seconds(payloads: Sequence[bytes]) -> Times:
    """The whole Unix second of each payload, whatever its kind; each has at least 4 bytes."""
    return np.frombuffer(b"".join(payload[:4] for payload in payloads), dtype="<u4").astype(np.int64)


def split(stream: Stream, meta: Meta, payloads: Sequence[bytes]) -> tuple[Times, bytes]:
    """Sample times in ns, shape (n x block,), and as many bodies one after the other.

    Every payload must have ``message_size`` bytes; the caller has set the others aside.
    """
    size, block = message_size(stream, meta), stream.block
    table = np.frombuffer(b"".join(payloads), dtype=np.uint8).reshape(len(payloads), size)
    whole = np.ascontiguousarray(table[:, :4]).view("<u4")[:, 0].astype(np.int64)
    step_s = stream.cadence_s if block > 1 else 0.0  # an irregular stream has no cadence
    steps_ns = np.rint(np.arange(block) * (step_s * _NS)).astype(np.int64)
    first_ns = whole * _NS + round(meta.offset_s * _NS)
    return (first_ns[:, None] + steps_ns).reshape(-1), table[:, 4:].tobytes()


def unpack(meta: Meta, bodies: bytes) -> tuple[Floats, NDArray[np.uint8]]:
    """Values, shape (n, components), in ``meta.units`` with NaN for missing, and quality, shape (n,).

    A vector has no quality figure: zeros. An absolute measurement has D and I by the closed form, and the
    lowest figure of its readings; its readings themselves are what ``autodif.unpack`` gives.
    """
    if meta.kind == "absolute":
        records = autodif.unpack(bodies)
        angles = autodif.declination_inclination(records, meta.azimuth_deg)
        return np.stack(angles, axis=1), records.quality.min(axis=1)
    if meta.kind == "vector":
        counts = np.frombuffer(bodies, dtype="<i4").reshape(-1, 3)
        values = counts * meta.scale
        values[counts == VECTOR_MISSING] = np.nan
        return values, np.zeros(len(counts), dtype=np.uint8)
    words = np.frombuffer(bodies, dtype="<u4")
    field = words >> np.uint32(8)
    values = np.where(field == SCALAR_MISSING, np.nan, field * meta.scale)[:, None]
    return values, (words & np.uint32(0xFF)).astype(np.uint8)


def faults(meta: Meta, payloads: Sequence[bytes]) -> list[str]:
    """Why a message of the right length cannot be read all the same, for each; none where all can."""
    if meta.kind != "absolute":
        return []
    return autodif.faults(b"".join(payload[4:] for payload in payloads))


def completed(meta: Meta, time_ns: Times, bodies: bytes) -> Times:
    """When the instrument had each sample: at its time, or with the last reading of a measurement."""
    if meta.kind != "absolute":
        return time_ns
    lasting_ns: Times = np.rint(autodif.lasting_s(bodies) * _NS).astype(np.int64)
    return time_ns + lasting_ns


def _head(stream: Stream, meta: Meta, time_ns: int) -> bytes:
    second, rest = divmod(int(time_ns) - round(meta.offset_s * _NS), _NS)
    if rest or not 0 <= second < 2**32:
        raise CodecError(
            f"{stream}: time {time_ns} ns is not a whole second plus offset_s={meta.offset_s:g} "
            "between 1970 and 2106",
            time_ns=time_ns,
        )
    return second.to_bytes(4, "little")


def _measured(stream: Stream, values: Any) -> bytes:
    if not isinstance(values, autodif.Records) or len(values) != 1:
        raise CodecError(f"{stream}: an absolute measurement is sent as autodif.Records of one measurement")
    try:
        return autodif.pack(values)
    except CodecError as error:
        raise CodecError(f"{stream}: {error.message}") from error


def _refuse(stream: Stream, meta: Meta, counts: Floats, bad: NDArray[np.bool_]) -> None:
    if bad.any():
        met = float(counts[bad][0] * meta.scale)
        raise CodecError(f"{stream}: {met:g} {meta.units} does not fit the {meta.kind} layout", value=met)
