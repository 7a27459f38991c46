"""When samples arrive over a satellite link like the paper's: months of it at once, without waiting.

The figures of ``pea`` are those of Bracke et al. (2017) for Princess Elisabeth station: 300 ms on the way,
some ten short losses a month, one outage of two days, 56 kbit/s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LEMI_DELAY_S = 0.3  # LEMI-25 manual, Lviv, October 2014, quoted by Bracke et al. (2017), section 1
MESSAGE_BYTES = 69  # a vector sample with MQTT, TCP/IP and its share of acknowledgements
PACKED_BYTES = 3  # the same sample in a packed block
BLOCK_BYTES = 4096
LIVE_FIRST = 300  # messages: a longer backlog goes as blocks, behind what is live

_DAY_S = 86_400.0


@dataclass(frozen=True)
class Preset:
    """A link, in station time: mean latency and its spread, short outages at a rate, and one long outage.

    A short outage takes ``outage_s`` in the mean and ``outage_least_s`` at least. The long one begins
    ``long_outage_at_s`` after the beginning.
    """

    latency_s: float
    jitter_s: float
    outages_per_day: float
    outage_s: float
    outage_least_s: float = 0.0
    long_outage_at_s: float = math.inf
    long_outage_s: float = 0.0
    bits_per_s: float = math.inf


PRESETS = {
    "pea": Preset(
        0.3,
        0.05,
        10 / 30,
        4.0,
        outage_least_s=2.0,
        long_outage_at_s=20.4 * _DAY_S,
        long_outage_s=2 * _DAY_S,
        bits_per_s=56_000.0,
    ),
    "demo": Preset(0.3, 0.05, 480.0, 8.0),  # an outage every three minutes, so that one sees it
    "quiet": Preset(0.0, 0.0, 0.0, 0.0),
}


def arrivals(
    time_ns: Ints, preset: Preset, rng: np.random.Generator, *, delay_s: float = LEMI_DELAY_S
) -> Ints:
    """When samples of these times reach the archive; all do: the station keeps them while the link is out.

    An instrument hands each out after ``delay_s``; messages go in order, each as long as it takes at the
    link's rate. After an outage of more than ``LIVE_FIRST`` messages what is live goes first, and the backlog
    in blocks beside it; a live message then waits for the block that is just being sent. The outages are
    those that ``outages`` gives for the same span and a generator in the same state.
    """
    if not time_ns.size:
        return time_ns.astype(np.int64)
    begin_ns = int(time_ns[0])
    out_s = (outages(preset, begin_ns, int(time_ns[-1]) + 1, rng) - begin_ns) / 1e9
    ready_s = (time_ns - begin_ns) / 1e9 + delay_s
    way_s = _way_s(preset, time_ns.size, rng)
    sent_s = np.empty(time_ns.size)
    backlog = np.zeros(time_ns.size, bool)
    first, after = np.searchsorted(ready_s, out_s[:, 0]), np.searchsorted(ready_s, out_s[:, 1])
    cadence_s = float(np.median(np.diff(time_ns))) / 1e9 if time_ns.size > 1 else math.inf
    for begin, end, until_s in zip(first, after, out_s[:, 1], strict=True):
        if end - begin <= LIVE_FIRST:
            continue
        backlog[begin:end] = True
        spare = 1.0 - min(0.9, MESSAGE_BYTES * 8 / preset.bits_per_s / cadence_s)
        block = np.arange(end - begin) * PACKED_BYTES // BLOCK_BYTES + 1
        block_s = BLOCK_BYTES * 8 / preset.bits_per_s
        sent_s[begin:end] = (
            _up_s(out_s, np.array([until_s]))
            + np.minimum(block * block_s, (end - begin) * PACKED_BYTES * 8 / preset.bits_per_s) / spare
        )
        done_s = until_s + (end - begin) * PACKED_BYTES * 8 / preset.bits_per_s / spare
        meanwhile = slice(end, int(np.searchsorted(ready_s, done_s)))
        way_s[meanwhile] += rng.uniform(0.0, block_s, way_s[meanwhile].size)
    live = ~backlog
    sent_s[live] = _in_turn(_up_s(out_s, ready_s[live]), MESSAGE_BYTES * 8 / preset.bits_per_s)
    came_s = _back_s(out_s, sent_s) + way_s
    for those in (live, backlog):  # TCP keeps the order of what one connection carries
        came_s[those] = np.maximum.accumulate(came_s[those])
    return begin_ns + np.rint(came_s * 1e9).astype(np.int64)


def outages(preset: Preset, begin_ns: int, end_ns: int, rng: np.random.Generator) -> Ints:
    """When the link is out between two times: rows of begin and end in ns, in order, none touching another.

    One short outage lies somewhere in each mean interval, as with ``simulate.Satellite``.
    """
    span_s = (end_ns - begin_ns) / 1e9
    rows: list[tuple[float, float]] = []
    if preset.outages_per_day > 0:
        every_s = _DAY_S / preset.outages_per_day
        for number in range(math.ceil(span_s / every_s)):
            length_s = outage_s(preset, every_s, rng)
            at_s = number * every_s + float(rng.uniform(0.0, every_s - length_s))
            rows.append((at_s, at_s + length_s))
    if preset.long_outage_s > 0:
        rows.append((preset.long_outage_at_s, preset.long_outage_at_s + preset.long_outage_s))
    joined: list[list[float]] = []
    for first_s, last_s in sorted(row for row in rows if row[0] < span_s):
        if joined and first_s <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], last_s)
        else:
            joined.append([first_s, last_s])
    return begin_ns + np.rint(np.array(joined).reshape(-1, 2) * 1e9).astype(np.int64)


def outage_s(preset: Preset, every_s: float, rng: np.random.Generator) -> float:
    """How long a short outage takes: at most half of the interval it lies in."""
    more_s = float(rng.exponential(preset.outage_s - preset.outage_least_s))
    return min(preset.outage_least_s + more_s, every_s / 2)


def _way_s(preset: Preset, n: int, rng: np.random.Generator) -> Floats:
    """Time on the way without the sending itself: a floor of half the mean, and a gamma tail for the rest."""
    mean_s = preset.latency_s / 2
    if preset.jitter_s <= 0:
        way_s = np.full(n, preset.latency_s)
    else:
        scale = preset.jitter_s**2 / mean_s
        way_s = mean_s + rng.gamma(mean_s / scale, scale, n)
    return np.maximum(0.0, way_s - MESSAGE_BYTES * 8 / preset.bits_per_s)


def _in_turn(ready_s: Floats, each_s: float) -> Floats:
    """When each message has been sent, one after the other."""
    turn = np.arange(ready_s.size) * each_s
    done_s: Floats = np.maximum.accumulate(ready_s - turn) + turn + each_s
    return done_s


def _up_s(out_s: Floats, at_s: Floats) -> Floats:
    """How long the link has been up before each time: on this axis there are no outages."""
    begins, ends = out_s[:, 0], out_s[:, 1]
    before = np.concatenate([[0.0], np.cumsum(ends - begins)])
    place = np.searchsorted(begins, at_s, side="right")
    still = np.where(place > 0, np.maximum(0.0, np.append(ends, 0.0)[place - 1] - at_s), 0.0)
    up_s: Floats = at_s - before[place] + still
    return up_s


def _back_s(out_s: Floats, up_s: Floats) -> Floats:
    """The time at which the link has been up for so long."""
    begins, ends = out_s[:, 0], out_s[:, 1]
    before = np.concatenate([[0.0], np.cumsum(ends - begins)])
    # What waited for the end of an outage is at its place on the other axis, to within rounding.
    at_s: Floats = up_s + before[np.searchsorted(begins - before[:-1] - 1e-6, up_s, side="right")]
    return at_s
