"""How much is there of what should be: by minute, hour, day or month, against INTERMAGNET's 90 %."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from obslab.errors import ConfigError
from obslab.telemetry.metrics.day import DaySummary, Ints
from obslab.telemetry.metrics.gaps import Days, Reach, stretches
from obslab.telemetry.metrics.schedule import scheduled
from obslab.telemetry.metrics.summary import MINUTE_NS
from obslab.telemetry.metrics.targets import COMPLETE
from obslab.telemetry.sample import IRREGULAR, Stream
from obslab.times import from_ns

if TYPE_CHECKING:
    import xarray as xr

By = Literal["minute", "hour", "day", "month"]

_UNITS = {"minute": "m", "hour": "h", "day": "D", "month": "M"}
_SNAP = 0.05


def completeness(days: Days, reach: Reach, *, by: By = "hour") -> xr.Dataset:
    """Samples expected and present within each stream's reach (see ``targets.judged``), as ``COMPLETENESS``.

    The first and last interval are cut to the reach, and only what lies inside is expected of them. Samples
    closer than half a cadence count once.
    """
    from obslab.telemetry.metrics.datasets import COMPLETENESS

    if by not in _UNITS:
        raise ConfigError(f"by={by!r} is none of {', '.join(_UNITS)}")
    names = [str(stream) for stream in sorted(reach)]
    edges = [_edges(*reach[stream], _UNITS[by]) for stream in sorted(reach)]
    counts = [
        np.diff(_counts(stream, days.get(stream, ()), at_ns), axis=1)
        for stream, at_ns in zip(sorted(reach), edges, strict=True)
    ]
    expected, present = np.concatenate([np.empty((2, 0), np.int64), *counts], axis=1)
    present = np.minimum(present, expected)
    fraction = np.divide(present, expected, out=np.full(expected.size, np.nan), where=expected > 0)
    none = np.empty(0, np.int64)
    return COMPLETENESS.build(
        {"by": by},
        begin=from_ns(np.concatenate([none, *(at_ns[:-1] for at_ns in edges)])),
        end=from_ns(np.concatenate([none, *(at_ns[1:] for at_ns in edges)])),
        stream=np.repeat(np.array([*names, ""]), [*(at_ns.size - 1 for at_ns in edges), 0]),
        expected=expected,
        present=present,
        fraction=fraction,
        ok=(expected == 0) | (present >= COMPLETE * expected - 1e-9),
    )


def _edges(begin_ns: int, end_ns: int, unit: str) -> Ints:
    """Edges of the intervals that touch ``[begin, end)``, the outermost cut to it."""
    if begin_ns >= end_ns:
        return np.array([begin_ns], np.int64)
    first, last = (np.datetime64(at_ns, "ns").astype(f"datetime64[{unit}]") for at_ns in (begin_ns, end_ns))
    inner_ns = np.arange(first, last + 1).astype("datetime64[ns]").astype(np.int64)
    return np.concatenate([[begin_ns], inner_ns[(inner_ns > begin_ns) & (inner_ns < end_ns)], [end_ns]])


def _counts(stream: Stream, days: Sequence[DaySummary], at_ns: Ints) -> Ints:
    """Rows expected, present: counts up to each edge, from the first one on or any time before it."""
    if stream.samplerate == IRREGULAR:
        due_ns, met = scheduled(days, int(at_ns[0]), int(at_ns[-1]))
        return np.array([np.searchsorted(times, at_ns) for times in (due_ns, due_ns[met])])
    held = [day for day in days if day.n]
    if not held:
        return np.array([_due_before(stream, 0, at_ns), np.zeros(at_ns.size, np.int64)])
    minutes = np.concatenate([day.minutes for day in held])
    start_ns = np.concatenate([day.day_ns + np.arange(1440) * MINUTE_NS for day in held])
    upto = np.concatenate([[0], np.cumsum(minutes)])
    present = upto[np.searchsorted(start_ns, at_ns // MINUTE_NS * MINUTE_NS)]
    # Only the outermost edges may lie inside a minute: there the gaps tell what is present.
    for place in np.flatnonzero(at_ns % MINUTE_NS):
        present[place] += _present(stream, held, at_ns[place] // MINUTE_NS * MINUTE_NS, int(at_ns[place]))
    phase_ns = _phase_ns(stream, held[0])
    return np.array([_due_before(stream, phase_ns, at_ns), present])


def _present(stream: Stream, held: Sequence[DaySummary], begin_ns: int, end_ns: int) -> int:
    """Samples of an interval within a minute, from the cadence and the gaps in it."""
    day = next((day for day in held if 0 <= begin_ns - day.day_ns < 1440 * MINUTE_NS), None)
    if day is None:
        return 0
    first_ns, last_ns = max(begin_ns, day.first_ns), min(end_ns, day.last_ns + 1)
    if first_ns >= last_ns:
        return 0
    due = np.diff(_due_before(stream, _phase_ns(stream, day), np.array([first_ns, last_ns])))[0]
    return int(max(0, due - stretches(stream, [day], first_ns, last_ns).lost.sum()))


def _due_before(stream: Stream, phase_ns: int, at_ns: Ints) -> Ints:
    """How many samples are due before each time, counted from 1970; exact above 1 Hz too."""
    frame_ns = round(max(stream.cadence_s, 1.0) * 1e9)
    frames, rest_ns = np.divmod(at_ns - phase_ns, frame_ns)
    due: Ints = frames * stream.block + -(-rest_ns * stream.block // frame_ns)
    return due


def _phase_ns(stream: Stream, day: DaySummary) -> int:
    """Where in the cadence the samples lie; a hair from the full second is taken as jitter."""
    cadence_ns = stream.cadence_s * 1e9
    phase = day.first_ns % cadence_ns
    return 0 if min(phase, cadence_ns - phase) < _SNAP * cadence_ns else round(phase)
