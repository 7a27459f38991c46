"""What a Work amounts to, in words and numbers: titles, the table, the status, the summary."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np

from obslab.times import from_ns, iso
from obslab_widgets.baseline_editor.axes import KINDS, kinds
from obslab_widgets.baseline_editor.desk import Work
from obslab_widgets.baseline_editor.effect import median_of
from obslab_widgets.baseline_editor.state import State
from obslab_widgets.latency_dashboard.instants import text_of
from obslab_widgets.wording import count

Cell = str | float

COLUMNS = ("Base", "Spots used", "RMS", "Drift per year", "In nT per year", "Smoothed over", "Steps")
_SIGNS = dict(zip(KINDS, "\u25cf\u2715\u22a0\u25c7", strict=True))  # as they are drawn
_STANDS_OUT = 5.0  # standard errors of a jump that is told without being asked


def title(work: Work) -> str:
    """What is edited, above all."""
    if work.spots is None:
        return "Spot baselines"
    facts = work.spots.attrs
    which = Counter(kinds(work))
    told = ", ".join(f"{which[kind]} {kind} {_SIGNS[kind]}" for kind in KINDS if which[kind]) or "none"
    name = f"{facts.get('station', '')} {facts.get('instrument', '')}".strip()
    return f"{name}: {told} of {work.spots.sizes['spot']} spots"


def residual_title(work: Work, components: list[str]) -> str:
    """How well the curve fits."""
    if work.fit is None:
        return "Residuals"
    names = work.fit.baseline.components
    parts = [
        f"{name.upper()}0 {_amount(work.fit.rms[name], work.fit.baseline.units[names.index(name)])}"
        for name in components
        if name in names
    ]
    return f"Residuals: rms {', '.join(parts)}"


def delta_title(work: Work) -> str:
    """Delta-F before and after, its median and standard deviation."""
    name = f"ΔF {text_of(work.period)}" if work.period else "ΔF"
    if work.effect is None:
        return name
    parts = []
    for label, word in (("before", work.effect.attrs["adopted"]), ("after", "this baseline")):
        if not word:
            parts.append("before: nothing adopted")
            continue
        median, deviation = median_of(work.effect[label].values)
        adopted = f"before (adopted {word})" if label == "before" else word
        parts.append(
            f"{adopted}: median {median:.2f} nT, SD {deviation:.2f} nT"
            if np.isfinite(median)
            else f"{adopted}: not valid"
        )
    return f"{name} · {' · '.join(parts)}"


def rows(work: Work) -> tuple[tuple[Cell, ...], ...]:
    """The table: one row for each component; COLUMNS."""
    if work.spots is None:
        return ()
    if work.fit is None:
        none = ("",) * (len(COLUMNS) - 1)
        return tuple((f"{name.upper()}0", *none) for name in work.spots["component"].values)
    found, used = work.fit, kinds(work).count("used")
    table = []
    for place, (name, unit) in enumerate(zip(found.baseline.components, found.baseline.units, strict=True)):
        drift = found.drift.isel(component=place)
        per_year_nt = float(drift["per_year_nt"])
        over = ", over the limit" if bool(drift["over_limit"]) else ""
        smoothed = found.baseline.curves[place].smoothing_days
        jumps = found.steps.isel(jump=found.steps["component"].values == name)
        table.append(
            (
                f"{name.upper()}0",
                used,
                _amount(found.rms[name], unit),
                f"{_amount(drift['per_year'], unit, sign=True)} ± {_amount(drift['error'], unit)}",
                f"{per_year_nt:+.1f} ± {float(drift['error_nt']):.1f}{over}"
                if np.isfinite(per_year_nt)
                else "",
                "" if smoothed is None else f"{smoothed:.0f} d" if smoothed >= 10 else f"{smoothed:.1f} d",
                ", ".join(
                    f"{_amount(size, unit, sign=True)} at {_minute(time)}"
                    for size, time in zip(jumps["size"].values, jumps["time"].values, strict=True)
                ),
            )
        )
    return tuple(table)


def status(state: State, work: Work | None) -> tuple[Literal["ok", "busy", "off"], str]:
    """How it is: what cannot be worked out, else what should be looked at."""
    if work is None:
        return "busy", "computing: absolutes and variometer data are read"
    if work.troubles:
        return "off", " · ".join(work.troubles)
    warned = warnings(work)
    if work.state != state.question or work.jumps is None:
        return "busy", " · ".join(["computing", *warned])
    if warned:
        return "busy", " · ".join(warned)
    return "ok", "no drift over 5 nT a year, no jump that stands out"


def warnings(work: Work) -> tuple[str, ...]:
    """Drift over INTERMAGNET's limit, and jumps of the spots where the curve has no step."""
    told = []
    if work.fit is not None:
        drift = work.fit.drift
        for place in np.flatnonzero(drift["over_limit"].values):
            name, rate, error = (drift[one].values[place] for one in ("component", "per_year_nt", "error_nt"))
            verb = "drifts" if abs(rate) > 2 * error else "may drift"
            limit = drift.attrs["limit_nt_per_year"]
            told.append(f"{name.upper()}0 {verb} {rate:+.1f} ± {error:.1f} nT a year (limit {limit:g})")
    if work.jumps is not None:
        for jump in range(work.jumps.sizes["jump"]):
            one = work.jumps.isel(jump=jump)
            between = (one["before"].values, one["after"].values)
            steps = from_ns(np.array(work.state.steps, dtype=np.int64))
            if float(one["significance"]) < _STANDS_OUT or np.any(
                (steps > between[0]) & (steps <= between[1])
            ):
                continue
            size = _amount(float(one["size"]), str(one["unit"].values), sign=True)
            name = str(one["component"].values).upper()
            told.append(f"{name}0 jumps {size} at {_minute(one['time'].values)}: a step?")
    return tuple(told)


def summary(work: Work) -> str:
    """The same as lines of text, without times of computing."""
    lines = [title(work)]
    if work.fit is not None:
        baseline, state = work.fit.baseline, work.state
        knots = (
            "no" if not state.knots else len(state.knots) if isinstance(state.knots, tuple) else state.knots
        )
        if state.knots is None and state.method == "spline":
            knots = "automatic"
        lines.append(
            f"{state.method} of degree {state.degree}, {knots} knots, {count(len(state.steps), 'step')}, "
            f"valid {iso(baseline.begin)} to {iso(baseline.end)}, "
            f"pier difference {baseline.pier_difference_nt:g} nT"
        )
        lines += [
            f"{row[0]}: rms {row[2]}, drift {row[3]} a year" + (f", steps {row[6]}" if row[6] else "")
            for row in rows(work)
        ]
    lines += [delta_title(work)] if work.effect is not None else []
    lines += [*warnings(work), *work.troubles]
    return "\n".join(lines)


def _amount(value: Any, unit: str, *, sign: bool = False) -> str:
    """A length in nT, an angle in arcmin: what bases differ by."""
    number, name = (float(value) * 60.0, "'") if unit == "deg" else (float(value), " nT")
    places = 3 if unit == "deg" else 2
    return f"{number:{'+' if sign else ''}.{places}f}{name}"


def _minute(time: Any) -> str:
    return str(np.datetime_as_string(time, "m")).replace("T", " ")
