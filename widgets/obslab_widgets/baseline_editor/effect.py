"""The effect of a baseline: delta-F, scalar minus vector, with it and with the one adopted before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.schema import Schema, Var
from obslab.telemetry.adjusted import adjust, delta_f
from obslab.telemetry.baseline import Baseline, Baselines
from obslab.telemetry.filters import one_minute
from obslab.times import NS_PER_DAY, as_ns, iso
from obslab_widgets.baseline_editor.supply import Supply
from obslab_widgets.latency_dashboard.state import Interval

EFFECT = Schema(
    "effect of a baseline",
    {
        "time": Var(("time",), "datetime64[ns]", "", "Time of the sample or minute."),
        "before": Var(("time",), "float64", "nT", "Delta-F with the baseline adopted before; NaN: none."),
        "after": Var(("time",), "float64", "nT", "Delta-F with this baseline; NaN where it is not valid."),
    },
)
"""Scalar and pier difference minus the adjusted total field; attribute ``adopted``, the baseline before."""

_MARGIN_NS = 60_000_000_000  # what the filter needs beyond the first and last minute

Floats = NDArray[np.float64]
Stretch = tuple[np.datetime64, np.datetime64, Baseline]


@dataclass(frozen=True)
class Pair:
    """Vector and scalar of a period, minutes where they came by the second."""

    vector: xr.Dataset
    scalar: xr.Dataset


def last_day(end_ns: int) -> Interval:
    """The UTC day of the last sample."""
    begin_ns = (end_ns - 1) // NS_PER_DAY * NS_PER_DAY
    return Interval(begin_ns, begin_ns + NS_PER_DAY)


def pair(supply: Supply, instrument: str, scalar: str, period: Interval) -> Pair:
    """The samples of a period. Raises NoStreamError or ConfigError."""
    windows = np.array([[period.begin_ns - _MARGIN_NS, period.end_ns + _MARGIN_NS]])
    return Pair(*(_minutes(supply.samples(name, windows), period) for name in (instrument, scalar)))


def effect(
    pair: Pair, baseline: Baseline, adopted: Baselines | None, pier_difference_nt: float
) -> xr.Dataset:
    """EFFECT of a baseline on a period; ``adopted`` holds what was adopted before."""
    after = delta_of(pair, baseline, pier_difference_nt)
    before = np.full(after.sizes["time"], np.nan)
    name = ""
    if adopted is not None and (pieces := _covering(adopted, baseline, pair)):
        told = delta_of(pair, adopted, 0.0)["delta_f"].reindex(time=after["time"])
        before = told.values.copy()
        for begin, end, piece in pieces:  # each was adopted with a pier difference of its own
            before[(told["time"] >= begin) & (told["time"] < end)] += piece.pier_difference_nt
        newest = max((piece for _, _, piece in pieces), key=lambda piece: as_ns(piece.adopted_at or 0))
        name = f"{iso(newest.adopted_at or 0)[:10]} by {newest.author}"
    return EFFECT.build({"adopted": name}, time=after["time"], before=before, after=after["delta_f"])


def delta_of(pair: Pair, baseline: Baseline | Baselines, pier_difference_nt: float) -> xr.Dataset:
    """Delta-F of a period with a baseline, NaN where it is not valid."""
    vector = adjust(pair.vector, baseline, outside="missing")
    return delta_f(vector, pair.scalar, pier_difference_nt=pier_difference_nt)


def median_of(values: Floats) -> tuple[float, float]:
    """Median and standard deviation of what is known; NaN for nothing."""
    known = values[np.isfinite(values)]
    return (float(np.median(known)), float(np.std(known))) if known.size else (np.nan, np.nan)


def _covering(adopted: Baselines, baseline: Baseline, pair: Pair) -> list[Stretch]:
    time = pair.vector["time"].values
    if not time.size:
        return []
    return adopted.covering(
        baseline.station, baseline.instrument, time[0], time[-1] + np.timedelta64(1, "ns")
    )


def _minutes(samples: xr.Dataset, period: Interval) -> xr.Dataset:
    if samples.attrs.get("cadence_s") == 1.0 and samples.sizes["time"]:
        samples = one_minute(samples)
    ends = np.array([period.begin_ns, period.end_ns]).astype("datetime64[ns]")
    first, last = np.searchsorted(samples["time"].values, ends)
    return samples.isel(time=slice(first, last))
