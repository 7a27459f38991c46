"""Spots and curves as they stand on axes: where, with what error bars, and what lies beyond."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.times import to_ns
from obslab_widgets.baseline_editor.desk import BY_HAND, Work

KINDS = ("used", "rejected", "excluded", "unusable")
"""Of a spot: the fit uses it; the fit found it out of line; the user took it out; it cannot be used."""

_CURVE_POINTS = 600
_ROBUST = 8.0  # robust standard deviations from their neighbours that axes show, at most
_NEIGHBOURS = 5  # a step leaves the median of so many spots on one of its sides
_INNER = 0.03  # of the height: where at the edge stands what lies beyond

Floats = NDArray[np.float64]


def _no_values() -> Floats:
    return np.zeros(0)


def _no_places() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Dots:
    """Spots on one pair of axes: ``y`` is where, which is the edge when ``value`` lies beyond.

    ``spot`` holds their places in the table of spots.
    """

    spot: NDArray[np.int64] = field(default_factory=_no_places)
    time_ms: Floats = field(default_factory=_no_values)
    y: Floats = field(default_factory=_no_values)
    low: Floats = field(default_factory=_no_values)
    high: Floats = field(default_factory=_no_values)
    value: Floats = field(default_factory=_no_values)
    error: Floats = field(default_factory=_no_values)
    kind: tuple[str, ...] = ()
    chosen: tuple[bool, ...] = ()
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Curve:
    """A line with its band; NaN breaks it at steps."""

    time_ms: Floats = field(default_factory=_no_values)
    y: Floats = field(default_factory=_no_values)
    low: Floats = field(default_factory=_no_values)
    high: Floats = field(default_factory=_no_values)


def kinds(work: Work) -> tuple[str, ...]:
    """One of KINDS for each spot."""
    if work.spots is None:
        return ()
    usable = work.spots["used"].values
    fitted = work.fit.residuals["used"].values if work.fit else usable
    return tuple(
        "used" if fits and may else "rejected" if may else "excluded" if note == BY_HAND else "unusable"
        for fits, may, note in zip(fitted, usable, work.spots["note"].values, strict=True)
    )


def dots(work: Work, value: Floats, error: Floats, selected: tuple[int, ...]) -> Dots:
    """The spots of a Work with these values and standard errors; those not known are left out."""
    if work.spots is None:
        return Dots()
    known = np.flatnonzero(np.isfinite(value))
    notes = work.fit.residuals["note"].values if work.fit else work.spots["note"].values
    time_ns = to_ns(work.spots["time"].values)
    which, chosen = kinds(work), np.isin(time_ns, selected)
    told = [
        " · ".join(str(part) for part in (observer, note) if str(part))
        for observer, note in zip(work.spots["observer"].values, notes, strict=True)
    ]
    bar = np.nan_to_num(error)
    return Dots(
        known.astype(np.int64),
        time_ns[known] / 1e6,
        value[known],
        (value - bar)[known],
        (value + bar)[known],
        value[known],
        error[known],
        tuple(which[place] for place in known),
        tuple(bool(chosen[place]) for place in known),
        tuple(told[place] for place in known),
    )


def within(shown: Dots, begin_ms: float, end_ms: float, low: float, high: float) -> NDArray[np.int64]:
    """Places of the spots that stand in a box."""
    inside = (shown.time_ms >= begin_ms) & (shown.time_ms <= end_ms) & (shown.y >= low) & (shown.y <= high)
    return shown.spot[inside]


def limits(shown: tuple[Dots, ...], curve: Curve) -> tuple[float, float]:
    """Axes that hold what the fit may use and the curve, without what is far out of line."""
    values, bars, considered = (
        np.concatenate(parts)
        for parts in zip(
            *((one.value, one.high - one.value, [kind in KINDS[:2] for kind in one.kind]) for one in shown),
            strict=True,
        )
    )
    if not considered.any():
        considered = np.ones(values.size, dtype=bool)
    if not values.size:
        return 0.0, 1.0
    y, bar = values[considered.astype(bool)], bars[considered.astype(bool)]
    apart = np.abs(y - _running_median(y))
    near = apart <= max(_ROBUST * (1.4826 * float(np.median(apart)) + float(np.median(bar))), 1e-9)
    low, high = float((y - bar)[near].min()), float((y + bar)[near].max())
    if curve.y.size:
        # A curve may run away where it has no spots: it is not let to push them together.
        room = 0.5 * (high - low)
        low = min(low, max(float(np.nanmin(curve.y)), low - room))
        high = max(high, min(float(np.nanmax(curve.y)), high + room))
    margin = 0.08 * (high - low) or 0.5
    return low - margin, high + margin


def _running_median(y: Floats) -> Floats:
    half = min(_NEIGHBOURS, y.size) // 2
    padded = np.pad(y, half, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1))


def clipped(shown: Dots, y0: float, y1: float) -> Dots:
    """What lies beyond the axes stands at their edge: it is there, and can be selected."""
    inner = _INNER * (y1 - y0)
    beyond = (shown.value < y0) | (shown.value > y1)
    y = np.where(beyond, np.clip(shown.value, y0 + inner, y1 - inner), shown.value)
    low, high = (np.where(beyond, y, side) for side in (shown.low, shown.high))
    return replace(shown, y=y, low=low, high=high)


def curves(work: Work) -> tuple[Curve, ...]:
    """The fitted curve of each component, with one standard error on either side."""
    if work.fit is None:
        return ()
    baseline = work.fit.baseline
    begin_ns, end_ns = to_ns(np.array([baseline.begin, baseline.end])).tolist()
    steps = np.array([one for one in work.state.steps if begin_ns < one < end_ns], dtype=np.int64)
    even = np.append(np.arange(begin_ns, end_ns, (end_ns - begin_ns) // _CURVE_POINTS + 1), end_ns - 1)
    time_ns = np.unique(np.concatenate([even, steps, steps - 1]))
    values, band = baseline.values(time_ns), baseline.band(time_ns)
    cuts = np.searchsorted(time_ns, steps)
    time_ms = np.insert(time_ns / 1e6, cuts, steps / 1e6)
    lines = (np.insert(lines, cuts, np.nan, axis=0).T for lines in (values, values - band, values + band))
    return tuple(Curve(time_ms, *columns) for columns in zip(*lines, strict=True))


def residual_factor(component: str, unit: str, wanted: str, spots: xr.Dataset) -> float:
    """From the unit of a base to arcmin, or to nT: an angle moves the field's end by its length."""
    if unit != "deg":
        return 1.0
    if wanted == "arcmin":
        return 60.0
    length = spots.attrs.get("mean_h_nt" if component == "d" else "mean_f_nt")
    return float(np.radians(1.0) * length) if length is not None else float("nan")
