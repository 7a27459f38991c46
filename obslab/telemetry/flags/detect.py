"""Spikes and steps of an instrument in its samples, as flags to be looked at by a person.

What tells them from the field: the field, sampled through the filter of an instrument, is smooth from one
sample to the next, in a storm too. So a sample is compared with a cubic through its neighbours, and what the
cubic leaves over with what it leaves over in the minute around. In the storm of May 2024 at Conrad
Observatory (WIC), whose H changes by 5 nT a second, that is 0.003 nT on a quiet day and 0.5 nT at worst.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.errors import FlagError
from obslab.telemetry.flags.jumps import jumps
from obslab.telemetry.flags.series import Found, Series, flags_of, series_of, stream_name
from obslab.telemetry.flags.spikes import spikes

if TYPE_CHECKING:
    import xarray as xr

_LEAST = {"nT": 0.1, "arcmin": 0.02, "deg": 0.0003}


def find_spikes(
    dataset: xr.Dataset, *, threshold: float = 7.0, window: int = 7, least: float | None = None
) -> xr.Dataset:
    """FLAGS of samples that stand apart from those around them, each component by itself.

    A spike lasts at most ``window // 2`` samples and is higher than ``threshold`` standard deviations of what
    a cubic through its neighbours leaves over (1.4826 times the median, in 61 samples or more around), and
    than ``least`` in the component's unit: by default 0.1 nT, which is 0.02 arcmin of D where H is 20,000 nT.
    The first and last samples next to a gap are judged against the median of five instead. ``size`` is
    signed. Raises FlagError for a window that is even or shorter than 3.
    """
    if window < 3 or window % 2 == 0:
        raise FlagError(f"window {window} is not an odd number of samples from 3 on")
    _positive("threshold", threshold)
    found = []
    for series in series_of(dataset):
        lowest = _LEAST.get(series.unit, 0.0) if least is None else least
        run, length, size, sigma = spikes(series, threshold, window // 2, lowest)
        for place, count, height, times in zip(run, length, size, sigma, strict=True):
            words = f"{height:+.3g} {series.unit} from its neighbours, {times:.0f} sigma"
            found.append(_found(series, int(place), int(count), float(height), words))
    return flags_of(stream_name(dataset), found, "find_spikes")


def find_steps(
    dataset: xr.Dataset, *, threshold: float = 8.0, window: int = 60, least: float | None = None
) -> xr.Dataset:
    """FLAGS of jumps that stay for ``window`` samples: one sample each, the first at the new level.

    Meant for delta-F, or the difference of two instruments, where 0.1 nT can be seen; in the field itself
    only jumps count that nothing around resembles, see ``jumps``. ``threshold`` and ``least`` as for
    ``find_spikes``. Raises FlagError for a window shorter than 12.
    """
    if window < 12:
        raise FlagError(f"window {window} is too short to tell a step; give 12 samples or more")
    _positive("threshold", threshold)
    found = []
    for series in series_of(dataset):
        lowest = _LEAST.get(series.unit, 0.0) if least is None else least
        places, size, sigma = jumps(series, threshold, window, lowest)
        for place, height, times in zip(places, size, sigma, strict=True):
            words = f"level changes by {height:+.3g} {series.unit}, {times:.0f} sigma"
            found.append(_found(series, int(place), 1, float(height), words))
    return flags_of(stream_name(dataset), found, "find_steps")


def _found(series: Series, place: int, count: int, size: float, reason: str) -> Found:
    time_ns: NDArray[np.int64] = series.time_ns
    end_ns = int(time_ns[place + count - 1]) + series.cadence_ns
    return Found(series.component, int(time_ns[place]), end_ns, size, reason)


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise FlagError(f"{name} {value!r} is not a positive number")
