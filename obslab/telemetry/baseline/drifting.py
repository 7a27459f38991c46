"""Drift: how fast a baseline moves, against what INTERMAGNET allows, and where its curve jumps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from obslab.telemetry.baseline.baseline import Baseline
from obslab.telemetry.baseline.datasets import DRIFT, JUMPS
from obslab.times import NS_PER_DAY, as_ns, from_ns, to_ns

if TYPE_CHECKING:
    import xarray as xr

LIMIT_NT_PER_YEAR = 5.0
"""INTERMAGNET's limit for the long-term stability of a vector magnetometer (Technical Reference Manual)."""

_DAYS_PER_YEAR = 365.25
_SAMPLES = 2_000
_SURE = 2.0  # standard errors: a few days of spots have a slope of tens of nT a year by chance alone


def drift(baseline: Baseline, *, h_nt: float | None = None, f_nt: float | None = None) -> xr.Dataset:
    """DRIFT: mean slope a year of each component over the interval of validity, in its unit and in nT.

    A degree of d is H nT, one of i is F nT, times pi/180: ``h_nt`` and ``f_nt`` are the mean fields,
    unless given those of the spots. Jumps are left out of the slope, they are in ``range_nt``. A slope is
    ``over_limit`` when it is by two standard errors.
    """
    begin_ns, end_ns = as_ns(baseline.begin), as_ns(baseline.end)
    slopes = np.array([curve.slope(begin_ns, end_ns) for curve in baseline.curves]) * _DAYS_PER_YEAR
    fields = {"d": h_nt or baseline.mean_h_nt, "i": f_nt or baseline.mean_f_nt}
    nt = np.array(
        [1.0 if unit == "nT" else np.radians(fields[name] or np.nan)
         for name, unit in zip(baseline.components, baseline.units, strict=True)]
    )  # fmt: skip
    grid = np.linspace(begin_ns, end_ns - 1, _SAMPLES).astype(np.int64)
    values = baseline.values(np.clip(grid, begin_ns, end_ns - 1))
    return DRIFT.build(
        {"limit_nt_per_year": LIMIT_NT_PER_YEAR, "days": (end_ns - begin_ns) / NS_PER_DAY},
        component=np.array(baseline.components),
        unit=np.array(baseline.units),
        per_year=slopes[:, 0],
        error=slopes[:, 1],
        per_year_nt=slopes[:, 0] * nt,
        error_nt=slopes[:, 1] * nt,
        range_nt=np.ptp(values, axis=0) * nt,
        over_limit=np.abs(slopes[:, 0] * nt) - _SURE * np.abs(slopes[:, 1] * nt) > LIMIT_NT_PER_YEAR,
    )


def steps_of(baseline: Baseline) -> xr.Dataset:
    """JUMPS: the steps in the curves, with the sizes that were fitted, in order of time."""
    spots = baseline.spots
    used_ns = to_ns(spots.time.values[spots.used.values])
    breaks = [curve.breaks() for curve in baseline.curves]
    time_ns = breaks[0][0]
    after = np.searchsorted(used_ns, time_ns)
    width = len(breaks)
    size = np.stack([found[1] for found in breaks], axis=1).ravel()
    error = np.stack([found[2] for found in breaks], axis=1).ravel()
    return JUMPS.build(
        component=np.tile(np.array(baseline.components), len(time_ns)),
        unit=np.tile(np.array(baseline.units), len(time_ns)),
        time=from_ns(np.repeat(time_ns, width)),
        before=from_ns(np.repeat(used_ns[after - 1], width)),
        after=from_ns(np.repeat(used_ns[after], width)),
        size=size,
        error=error,
        significance=np.abs(size) / np.maximum(error, np.finfo(float).tiny),
    )
