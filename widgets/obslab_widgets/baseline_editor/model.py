"""The picture of a baseline editor: from a State and its Work to a Frame of plain arrays and strings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from obslab.times import to_ns
from obslab_widgets.baseline_editor.axes import (
    Curve,
    Dots,
    Floats,
    clipped,
    curves,
    dots,
    limits,
    residual_factor,
    within,
)
from obslab_widgets.baseline_editor.desk import Work
from obslab_widgets.baseline_editor.state import State
from obslab_widgets.baseline_editor.telling import Cell, delta_title, residual_title, rows, status, title
from obslab_widgets.envelope import envelope

_DAY_MS = 86_400_000.0
_EDGE = 0.03  # of the time shown, before the first spot and after the last
_OUTER = 0.5  # per cent of delta-F that may lie beyond its axes, on either side


@dataclass(frozen=True)
class Axes:
    """Spots of a component, or residuals of each, with a curve."""

    name: str
    label: str
    title: str
    unit: str
    y0: float
    y1: float
    dots: tuple[Dots, ...]
    curve: Curve


@dataclass(frozen=True)
class Line:
    """Delta-F with one baseline; NaN breaks it at gaps."""

    time_ms: Floats
    y: Floats


@dataclass(frozen=True)
class DeltaF:
    """Delta-F of the period chosen."""

    title: str
    begin_ms: float
    end_ms: float
    y0: float
    y1: float
    before: Line
    after: Line


@dataclass(frozen=True)
class Frame:
    """All that is drawn; steps, knots and the place pointed at are times in ms."""

    begin_ms: float
    end_ms: float
    bases: tuple[Axes, ...]
    residuals: Axes
    delta: DeltaF
    steps: tuple[float, ...]
    knots: tuple[float, ...]
    picked: str
    at_ms: float | None
    table: tuple[tuple[Cell, ...], ...]
    level: Literal["ok", "busy", "off"]
    status: str

    @property
    def structure(self) -> tuple[object, ...]:
        """Changes when axes, steps or knots come or go."""
        return tuple((axes.name, axes.label) for axes in self.bases), len(self.steps), len(self.knots)


def frame(state: State, work: Work | None, knots: tuple[int, ...], *, width_px: int = 1000) -> Frame:
    """The picture; ``work`` may be of an earlier State, lines are where this one has them."""
    known = work or Work(state)
    begin_ms, end_ms = _shown_ms(known)
    bases = _bases(state, known)
    level, told = status(state, work)
    return Frame(
        begin_ms,
        end_ms,
        bases,
        _residuals(state, known, bases),
        _delta(known, width_px),
        tuple(step / 1e6 for step in state.steps),
        tuple(knot / 1e6 for knot in knots),
        state.picked,
        None if state.at_ns is None else state.at_ns / 1e6,
        rows(known),
        level,
        told,
    )


def boxed(shown: Frame, work: Work, panel: str, box: Mapping[str, float]) -> tuple[int, ...]:
    """Times in ns of the spots of a panel in a box, in ms and the panel's unit."""
    axes = next((one for one in (*shown.bases, shown.residuals) if one.name == panel), None)
    if axes is None or work.spots is None:
        return ()
    (begin_ms, end_ms), (low, high) = (sorted((box[f"{side}0"], box[f"{side}1"])) for side in "xy")
    places = np.unique(np.concatenate([within(dots, begin_ms, end_ms, low, high) for dots in axes.dots]))
    return tuple(to_ns(work.spots["time"].values)[places].tolist())


def _bases(state: State, work: Work) -> tuple[Axes, ...]:
    if work.spots is None:
        first = (("h", "nT"), ("d", "deg"), ("z", "nT"))  # of most observatories: they need no new axes then
        return tuple(
            Axes(
                name,
                f"{name.upper()}0 ({unit})",
                "" if place else title(work),
                unit,
                0.0,
                1.0,
                (Dots(),),
                Curve(),
            )
            for place, (name, unit) in enumerate(first)
        )
    spots, made = work.spots, []
    lines = curves(work) or (Curve(),) * spots.sizes["component"]
    for place, (name, unit) in enumerate(zip(spots["component"].values, spots["unit"].values, strict=True)):
        shown = dots(work, spots["base"].values[:, place], spots["error"].values[:, place], state.selected)
        ends = limits((shown,), lines[place])
        heading = title(work) if not place else ""
        axes = Axes(
            str(name),
            f"{name.upper()}0 ({unit})",
            heading,
            str(unit),
            *ends,
            (clipped(shown, *ends),),
            lines[place],
        )
        made.append(axes)
    return tuple(made)


def _residuals(state: State, work: Work, bases: tuple[Axes, ...]) -> Axes:
    """Of one component in nT or arcmin, or of all in nT."""
    names = [axes.name for axes in bases]
    shown = [state.residuals] if state.residuals in names else names
    unit = "arcmin" if len(shown) == 1 and bases[names.index(shown[0])].unit == "deg" else "nT"
    found = []
    for place, axes in enumerate(bases):
        if work.spots is None or work.fit is None or axes.name not in shown:
            found.append(Dots())
            continue
        factor = residual_factor(axes.name, axes.unit, unit, work.spots)
        left = work.fit.residuals["residual"].values[:, place] * factor
        found.append(dots(work, left, work.spots["error"].values[:, place] * factor, state.selected))
    far = max(abs(end) for end in limits(tuple(found), Curve()))
    drawn = tuple(clipped(one, -far, far) for one in found)
    return Axes(
        "residuals", f"residual ({unit})", residual_title(work, shown), unit, -far, far, drawn, Curve()
    )


def _shown_ms(work: Work) -> tuple[float, float]:
    """The time shown: all spots, and the interval of validity where one was chosen."""
    times = [at for at in (work.state.begin_ns, work.state.end_ns) if at is not None]
    if work.spots is not None and work.spots.sizes["spot"]:
        time_ns = to_ns(work.spots["time"].values)
        times += [int(time_ns.min()), int(time_ns.max())]
    if not times:
        return 0.0, _DAY_MS
    begin_ms, end_ms = min(times) / 1e6, max(times) / 1e6
    edge_ms = _EDGE * (end_ms - begin_ms) or _DAY_MS / 24
    return begin_ms - edge_ms, end_ms + edge_ms


def _delta(work: Work, width_px: int) -> DeltaF:
    period, effect = work.period, work.effect
    if period is None or effect is None:
        nothing = Line(np.zeros(0), np.zeros(0))
        ends = (period.begin_ns / 1e6, period.end_ns / 1e6) if period else _shown_ms(work)
        return DeltaF(delta_title(work), *ends, -1.0, 1.0, nothing, nothing)
    time_ns = to_ns(effect["time"].values)
    steps = np.diff(time_ns)
    cadence_s = float(np.median(steps)) / 1e9 if steps.size else 60.0
    lines = []
    for name in ("before", "after"):
        drawn = envelope(time_ns, effect[name].values, cadence_s, period.begin_ns, period.end_ns, width_px)
        lines.append(Line(drawn[0] / 1e6, drawn[1]))
    heights = np.concatenate([line.y for line in lines])
    heights = heights[np.isfinite(heights)]
    low, high = np.percentile(heights, [_OUTER, 100 - _OUTER]) if heights.size else (-1.0, 1.0)
    margin = 0.15 * float(high - low) or 0.5
    return DeltaF(
        delta_title(work),
        period.begin_ns / 1e6,
        period.end_ns / 1e6,
        float(low) - 2 * margin,  # room for the names of the lines
        float(high) + margin,
        *lines,
    )
