"""What `obslab baseline ...` says: plain values first, then the lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from obslab.telemetry.baseline import drift
from obslab.times import iso

if TYPE_CHECKING:
    import xarray as xr

    from obslab.telemetry.baseline import Baseline, Fit


def report(fit: Fit, jumps: xr.Dataset) -> dict[str, Any]:
    """Spots with residuals, what the fit found, jumps of the spots, and drift."""
    baseline = fit.baseline
    return {
        **named(baseline),
        "method": baseline.how.method,
        "degree": baseline.how.degree,
        "smoothing_days": {c.component: c.smoothing_days for c in baseline.curves},
        "units": dict(zip(baseline.components, baseline.units, strict=True)),
        "rms": fit.rms,
        "spots": list(_spots(fit)),
        "used": int(fit.spots.used.values.sum()),
        "rejected": int(fit.rejected.sizes["spot"]),
        "jumps": _rows(jumps),
        "steps": _rows(fit.steps),
        "drift": _rows(fit.drift),
    }


def named(baseline: Baseline) -> dict[str, Any]:
    """What it is of, from when to when, and who adopted it."""
    return {
        "id": baseline.id,
        "station": baseline.station,
        "instrument": baseline.instrument,
        "frame": baseline.frame,
        "begin": iso(baseline.begin),
        "end": iso(baseline.end),
        "author": baseline.author,
        "reason": baseline.reason,
        "adopted_at": None if baseline.adopted_at is None else iso(baseline.adopted_at),
    }


def listed(baseline: Baseline) -> dict[str, Any]:
    """``named``, with the number of spots and whether it drifts faster than INTERMAGNET allows."""
    over = bool(drift(baseline).over_limit.values.any())
    return {**named(baseline), "spots": sum(baseline.table.used), "over_limit": over}


def lines(told: dict[str, Any]) -> Iterator[str]:
    """The report for people."""
    units = told["units"]
    title = "  ".join(
        f"{f'{name} [{unit}]':>12} {'error':>8} {'residual':>9}" for name, unit in units.items()
    )
    yield f"{'spot':<20}  {title}"
    for spot in told["spots"]:
        cells = "  ".join(
            f"{_number(spot['base'][name], unit, 12)} {_number(spot['error'][name], unit, 8)} "
            f"{_number(spot['residual'][name], unit, 9)}"
            for name, unit in units.items()
        )
        why = f"  {'' if spot['used'] else 'not used: '}{spot['note']}"
        yield f"{spot['time'][:19]:<20}  {cells}{why}".rstrip()
    yield (
        f"{told['method']} of degree {told['degree']}: {told['used']} spots used, "
        f"{told['rejected']} rejected by the fit, {len(told['spots'])} in all"
    )
    smoothed = told["smoothing_days"]
    for name, unit in units.items():
        period = "" if smoothed[name] is None else f", smoothed over {smoothed[name]:.0f} days"
        yield f"  {name}: rms {_number(told['rms'][name], unit)} {unit}{period}"
    for step in told["steps"]:
        yield f"step at {step['time']}: {_jump(step)}"
    for jump in told["jumps"]:
        yield (
            f"jump between {jump['before']} and {jump['after']}: {_jump(jump)}, "
            f"{jump['significance']:.0f} sigma; is it a step? (--step TIME)"
        )
    for one in told["drift"]:
        in_nt = "" if one["per_year_nt"] is None else f" ({one['per_year_nt']:+.2f} nT)"
        limit = "  more than INTERMAGNET's 5 nT a year" if one["over_limit"] else ""
        yield (
            f"drift of {one['component']}: {one['per_year']:+.4g} +- {one['error']:.2g} {one['unit']} a year"
            f"{in_nt if one['unit'] == 'deg' else ''}{limit}"
        )


def list_line(told: dict[str, Any]) -> str:
    """One baseline of a folder."""
    return (
        f"{told['id'][:8]}  {told['station']} {told['instrument']}  {told['begin']} to {told['end']}  "
        f"{told['spots']} spots  {told['adopted_at'][:19]}Z {told['author']}: {told['reason']}"
        f"{'  (drifts more than 5 nT a year)' if told['over_limit'] else ''}"
    )


def _spots(fit: Fit) -> Iterator[dict[str, Any]]:
    spots, names = fit.spots, fit.baseline.components
    for place in range(spots.sizes["spot"]):
        columns = {"base": spots.base, "error": spots.error, "residual": fit.residuals.residual}
        yield {
            "time": iso(spots.time.values[place]),
            **{
                column: {name: _plain(value) for name, value in zip(names, table.values[place], strict=True)}
                for column, table in columns.items()
            },
            "used": bool(spots.used.values[place]),
            "note": str(spots.note.values[place]),
        }


def _rows(table: xr.Dataset) -> list[dict[str, Any]]:
    columns = {str(name): [_plain(value) for value in table[name].values] for name in table.variables}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return iso(value)
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _jump(jump: dict[str, Any]) -> str:
    size, error = _number(jump["size"], jump["unit"], sign="+"), _number(jump["error"], jump["unit"])
    return f"{jump['component']} {size} +- {error} {jump['unit']}"


def _number(value: float | None, unit: str, width: int = 0, sign: str = "") -> str:
    if value is None:
        return f"{'-':>{width}}" if width else "-"
    return f"{value:{sign}{width or ''}.{5 if unit == 'deg' else 2}f}"
