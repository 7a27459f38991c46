"""A day of one stream in a few kB: enough to answer for a year without reading its samples."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError
from obslab.telemetry.sample import Clock, Stream

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class Gaps:
    """Stretches without samples between two samples of a day, in order of time."""

    begin_ns: Ints
    """Time of the first sample missing."""
    end_ns: Ints
    """Time of the first sample that is there again,"""
    back_ns: Ints
    """and when it arrived, by the station's clock."""
    lost: Ints


@dataclass(frozen=True, eq=False)
class LateRuns:
    """Neighbouring samples whose transport took longer than ``LATE_S``, in order of time."""

    begin_ns: Ints
    last_ns: Ints
    """Times of the first and the last sample of the run."""
    n: Ints
    first_arrival_ns: Ints
    last_arrival_ns: Ints
    """The earliest and the latest arrival among them."""
    back_ns: Ints
    """When the next sample of the day arrived; 0 when the run has the day's last."""


@dataclass(frozen=True, eq=False)
class Hours:
    """Latency by hour of sample time, 24 of each; total latency, and bins of what transport took of it."""

    n: Ints
    within_target: Ints
    sum_s: Floats
    max_s: Floats
    delay_s: Floats
    """The instrument's known delay, mean over the samples of the hour."""
    hour: Ints
    bin: Ints
    count: Ints
    """The histograms: in ``hour``, ``count`` samples lie in ``bin``. In order of hour, then bin."""


@dataclass(frozen=True, eq=False)
class DaySummary:
    """Sample times of ``[day_ns, day_ns + 1 day)``. Arrivals are by the station's clock.

    ``minutes`` counts samples by minute, leaving out those that share their place in the cadence with an
    earlier one. Without samples the four times are 0. Of an irregular stream ``times_ns`` has every sample,
    and there are neither gaps nor late runs.
    """

    stream: Stream
    day_ns: int
    n: int
    first_ns: int
    last_ns: int
    first_arrival_ns: int
    last_sample_arrival_ns: int
    minutes: Ints
    hours: Hours
    gaps: Gaps
    late: LateRuns
    times_ns: Ints
    schedule: tuple[str, ...]
    schedule_tolerance_s: float
    clock: Clock | None

    def encode(self) -> bytes:
        """As bytes, about 3 kB for a day of 1 Hz samples."""
        hours, day = self.hours, self.day_ns
        stored = _Stored(
            (self.stream.station, self.stream.instrument, self.stream.samplerate),
            day,
            self.n,
            [self.first_ns, self.last_ns, self.first_arrival_ns, self.last_sample_arrival_ns],
            [
                _packed(self.minutes),
                _packed(hours.n),
                _packed(hours.within_target),
                _packed(np.bincount(hours.hour, minlength=24)),
                _packed(np.diff(hours.bin, prepend=0)),
                _packed(hours.count),
                *(_packed(column - day) for column in (self.gaps.begin_ns, self.gaps.end_ns)),
                _packed(self.gaps.back_ns - self.gaps.end_ns),
                _packed(self.gaps.lost),
                *(_packed(column - day) for column in (self.late.begin_ns, self.late.last_ns)),
                _packed(self.late.n),
                *(
                    _packed(column - day)
                    for column in (self.late.first_arrival_ns, self.late.last_arrival_ns, self.late.back_ns)
                ),
                _packed(self.times_ns - day),
            ],
            [column.astype("<f8").tobytes() for column in (hours.sum_s, hours.max_s, hours.delay_s)],
            self.schedule,
            self.schedule_tolerance_s,
            self.clock,
        )
        return bytes([_FORMAT]) + zlib.compress(msgspec.msgpack.encode(stored), 6)

    @classmethod
    def decode(cls, encoded: bytes) -> DaySummary:
        """The summary that was encoded. Raises CodecError for bytes that no ``encode`` wrote."""
        if encoded[:1] != bytes([_FORMAT]):
            raise CodecError(
                f"day summary has format {encoded[:1].hex() or 'none'}, wanted {_FORMAT:02x}; make it anew"
            )
        try:
            stored = _DECODER.decode(zlib.decompress(encoded[1:]))
            ints = [_unpacked(column) for column in stored.ints]
            sum_s, max_s, delay_s = (np.frombuffer(column, "<f8") for column in stored.floats)
            minutes, n, within, entries, steps, count, *stretches, times = ints
            day, (first, last, first_arrival, last_arrival) = stored.day_ns, stored.edges
            begin, end, after, lost, run_begin, run_last, run_n, came, came_last, back = stretches
        except (zlib.error, msgspec.DecodeError, ValueError) as error:
            raise CodecError(f"day summary is damaged: {error}; make it anew") from error
        return cls(
            Stream(*stored.stream),
            day,
            stored.n,
            first,
            last,
            first_arrival,
            last_arrival,
            minutes,
            Hours(
                n, within, sum_s, max_s, delay_s, np.repeat(np.arange(24), entries), np.cumsum(steps), count
            ),
            Gaps(begin + day, end + day, after + end + day, lost),
            LateRuns(run_begin + day, run_last + day, run_n, came + day, came_last + day, back + day),
            times + day,
            stored.schedule,
            stored.schedule_tolerance_s,
            stored.clock,
        )


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    stream: tuple[str, str, str]
    day_ns: int
    n: int
    edges: list[int]
    ints: list[bytes]
    floats: list[bytes]
    schedule: tuple[str, ...]
    schedule_tolerance_s: float
    clock: Clock | None


_DECODER = msgspec.msgpack.Decoder(_Stored)
_WIDTHS = "bhiq"


def _packed(column: Ints) -> bytes:
    """A letter for the width, then the integers in as few bytes as the largest needs."""
    largest = int(max(column.max(initial=0), -column.min(initial=0)))
    code = next(code for code in _WIDTHS if largest <= np.iinfo(code).max)
    return code.encode() + column.astype(f"<{code}").tobytes()


def _unpacked(packed: bytes) -> Ints:
    code = packed[:1].decode("ascii", "replace")
    if code not in _WIDTHS:
        raise ValueError(f"a column of width {code!r}")
    return np.frombuffer(packed, np.dtype(code).newbyteorder("<"), offset=1).astype(np.int64)
