"""Mean, extremes, scatter and completeness of each hour or day, and when the field was most disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ConfigError, SchemaError
from obslab.telemetry.activity.datasets import STATISTICS
from obslab.telemetry.angles import continuous, within_turn
from obslab.telemetry.filters import cadence_of, components_of
from obslab.telemetry.frames import whose
from obslab.times import NS_PER_S, from_ns, to_ns

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LENGTH_S = {"hour": 3600, "day": 86_400}


def statistics(dataset: xr.Dataset, by: str = "hour") -> xr.Dataset:
    """Figures of each component in each UTC hour or day, as ``STATISTICS``, of what is there however little.

    Samples of any regular cadence; the figures are of the samples as they are, not of filtered ones. Judge a
    mean by ``complete``: INTERMAGNET wants 0.9, and ``filters.one_hour`` and ``one_day`` keep to it.
    """
    if by not in _LENGTH_S:
        raise ConfigError(f"by={by!r} is neither 'hour' nor 'day'", value=by)
    length_s, cadence_s = _LENGTH_S[by], cadence_of(dataset)
    if not 0 < cadence_s <= length_s:
        raise SchemaError(
            f"{whose(dataset)} has a sample each {cadence_s:g} s, too few for figures of each {by}; wanted a "
            f"cadence up to {length_s} s",
            cadence_s=cadence_s,
        )
    names = components_of(dataset)
    length_ns = length_s * NS_PER_S
    bucket = to_ns(dataset.time.values) // length_ns
    buckets = np.arange(bucket[0], bucket[-1] + 1) if bucket.size else bucket
    begins = from_ns(buckets * length_ns)
    figures = {name: np.full((buckets.size, len(names)), np.nan) for name in ("mean", "min", "max", "std")}
    count = np.zeros((buckets.size, len(names)), np.int64)
    ranges = np.full((buckets.size, len(names)), np.nan)
    units = [str(dataset[name].attrs.get("units", "nT")) for name in names]
    for n, name in enumerate(names):
        values = np.asarray(dataset[name].values, np.float64)
        angle = units[n] == "arcmin"
        own = _figures(continuous(values) if angle else values, bucket)
        rows = np.unique(bucket) - buckets[:1]
        count[rows, n], ranges[rows, n] = own.pop("n"), own["max"] - own["min"]
        for figure, column in own.items():
            figures[figure][rows, n] = within_turn(column, values) if angle and figure != "std" else column
    largest, when = _largest(ranges, begins)
    return STATISTICS.build(
        {**dataset.attrs, "by": by},
        time=begins,
        component=np.array(names, dtype=str),
        unit=np.array(units, dtype=str),
        range=ranges,
        n=count,
        complete=count * (cadence_s / length_s),
        largest_range=largest,
        largest_range_at=when,
        **figures,
    )


def _figures(values: Floats, bucket: Ints) -> dict[str, Floats]:
    """Figures of each hour or day that has samples; ``values`` and ``bucket`` are in order of time."""
    starts = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))
    sizes = np.diff(starts, append=bucket.size)
    there = np.isfinite(values)
    if not starts.size:
        return dict.fromkeys(("n", "mean", "min", "max", "std"), np.empty(0))
    n = np.add.reduceat(there.astype(np.int64), starts)
    low, high = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    divisor = np.where(n > 0, n, np.nan)
    off = np.where(there, values - np.repeat(low, sizes), 0.0)
    mean = low + np.add.reduceat(off, starts) / divisor
    square = np.where(there, values - np.repeat(mean, sizes), 0.0) ** 2
    std = np.sqrt(np.add.reduceat(square, starts) / divisor)
    return {"n": n, "mean": mean, "min": low, "max": high, "std": std}


def _largest(ranges: Floats, begins: NDArray[np.datetime64]) -> tuple[Floats, NDArray[np.datetime64]]:
    """The largest range of each component and when it began; NaN and NaT without any."""
    largest = np.fmax.reduce(ranges, axis=0, initial=-np.inf)
    when = np.full(ranges.shape[1], np.datetime64("NaT"), "datetime64[ns]")
    for n in np.flatnonzero(np.isfinite(largest)):
        when[n] = begins[np.nanargmax(ranges[:, n])]
    return np.where(np.isfinite(largest), largest, np.nan), when
