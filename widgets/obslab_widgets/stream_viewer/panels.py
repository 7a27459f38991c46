"""Axes and what stands in them: traces one above the other, or those of one unit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab_widgets.stream_viewer.state import State

_LOWEST_SPAN = {"deg": 0.002, "arcmin": 0.1}  # see ``_limits``
_LOWEST_NT = 0.1  # ten times the noise of a good fluxgate: less is no signal, only digits

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shade:
    """A flag behind a trace, in ms since 1970."""

    left: float
    right: float
    confirmed: bool
    words: str


@dataclass(frozen=True)
class Trace:
    """A line to draw: ``y`` is where, ``value`` what it is; NaN breaks the line at gaps.

    With ``words``, one for each, it is points and no line. ``beside`` names the trace whose panel it shares.
    """

    name: str
    unit: str
    colour: int
    time_ms: Floats
    y: Floats
    value: Floats
    shades: tuple[Shade, ...] = ()
    words: tuple[str, ...] = ()
    beside: str = ""


@dataclass(frozen=True)
class Axes:
    """One pair of axes; ``group`` names the clock, whose panels share the time axis."""

    name: str
    group: str
    label: str
    y0: float
    y1: float
    traces: tuple[Trace, ...]

    @property
    def shades(self) -> tuple[Shade, ...]:
        """Flags of its traces, each once."""
        return tuple(dict.fromkeys(shade for trace in self.traces for shade in trace.shades))


def stacked(group: str, traces: list[Trace], state: State) -> tuple[Axes, ...]:
    """One panel for each trace, and what is to be compared with it."""
    panels = []
    for trace in traces:
        if not trace.beside:
            inside = (trace, *(other for other in traces if other.beside == trace.name))
            label = f"{_symbol(trace.name.split()[-1])} ({trace.unit})"
            panels.append(Axes(trace.name, group, label, *_limits(inside, state), inside))
    return tuple(panels)


def common(group: str, traces: list[Trace], state: State) -> tuple[Axes, ...]:
    """Traces of one unit together, each from its own median: the components are far apart otherwise."""
    panels = []
    for unit in dict.fromkeys(trace.unit for trace in traces):
        moved = [
            Trace(
                trace.name,
                trace.unit,
                trace.colour,
                trace.time_ms,
                trace.value - _median(trace.value),
                trace.value,
                trace.shades,
                trace.words,
            )
            for trace in traces
            if trace.unit == unit and not trace.beside
        ]
        name = f"{group} {unit}"
        panels.append(Axes(name, group, f"from median ({unit})", *_limits(moved, state), tuple(moved)))
    return tuple(panels)


def _limits(traces: Sequence[Trace], state: State) -> tuple[float, float]:
    """Ends of the y axis: ``span`` about the median, or the extremes moved out to a round number.

    Round, so that the axis stands still while the extremes creep.
    """
    heights = np.concatenate([trace.y for trace in traces])
    heights = heights[np.isfinite(heights)]
    if not heights.size:
        return 0.0, state.span or 1.0
    if state.span is not None and traces[0].unit != "deg":  # it is meant for the field, in nT
        middle = float(np.round(np.median(heights) / state.span * 20) * state.span / 20)
        return middle - state.span / 2, middle + state.span / 2
    low, high = float(heights.min()), float(heights.max())
    least = _LOWEST_SPAN.get(traces[0].unit, _LOWEST_NT)
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    if any(trace.words for trace in traces):  # a point is wide: none may stand on an edge
        low, high = low - (high - low) / 8, high + (high - low) / 8
    step = 10 ** np.floor(np.log10(high - low) - 0.3) / 2
    return float(np.floor(low / step - 0.5) * step), float(np.ceil(high / step + 0.5) * step)


def _symbol(component: str) -> str:
    return "\N{GREEK CAPITAL LETTER DELTA}F" if component == "delta_f" else component.upper()


def _median(values: Floats) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
