"""From seconds to minutes, hours and days, as INTERMAGNET prescribes.

A one-minute value is centred on its minute and made of the 91 one-second values from 45 s before to 45 s
after it with a Gaussian (INTERMAGNET Technical Reference Manual, the appendix of filter coefficients). Its
half-power period is two minutes, the shortest that minutes can show. A value is given when the samples that
are there have 90 % of the weight or more, and their weights are brought back to a sum of one; nothing outside
of its window, and no interpolation, goes into it. Means of hours and days want 90 % of their minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from obslab.errors import SchemaError
from obslab.telemetry.angles import continuous, within_turn
from obslab.telemetry.datasets import samples_schema
from obslab.telemetry.frames import whose
from obslab.times import NS_PER_S, from_ns, iso, to_ns

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARE = 0.9
"""What has to be there of the weight of a filtered value, and of the samples of a mean."""

_SIDE_S = 45
_HALF_POWER_S = 120.0
_JITTER_NS = NS_PER_S // 100  # INTERMAGNET's standard for one-second data: within 10 ms of the second
_ROUNDING = 1e-9
_MINUTE_NS = 60 * NS_PER_S
_BLOCK_MINUTES = 1440  # bounds what a stream with a hole of years needs in memory


def _coefficients() -> Floats:
    sigma_s = _HALF_POWER_S * np.sqrt(np.log(2)) / (2 * np.pi)
    weight = np.exp(-0.5 * (np.arange(-_SIDE_S, _SIDE_S + 1) / sigma_s) ** 2)
    printed: Floats = np.round(weight / weight.sum(), 8)
    return printed


COEFFICIENTS = _coefficients()
"""INTERMAGNET's 91 coefficients as printed, for -45 to +45 s about the minute; their sum is 0.99999998."""
COEFFICIENTS.flags.writeable = False

# A row of 60 seconds enters two values: that of the next minute with its last 45, its own with its first 46.
_WEIGHTS = np.zeros((60, 2))
_WEIGHTS[60 - _SIDE_S :, 0] = COEFFICIENTS[:_SIDE_S]
_WEIGHTS[: _SIDE_S + 1, 1] = COEFFICIENTS[_SIDE_S:]


class _Period(NamedTuple):
    """An interval over which means are taken, and how IAGA-2002 files name such values."""

    name: str
    length_s: int
    interval: str


_HOUR = _Period("hour", 3600, "1-hour (00-59)")
_DAY = _Period("day", 86_400, "1-day (00:00-23:59)")


def one_minute(dataset: xr.Dataset) -> xr.Dataset:
    """Minute values of a Dataset of one-second samples, from its first minute to its last without a hole.

    All components go through the same filter; ``arrival`` and ``quality`` are left out. NaN where less than
    90 % of the weight is there, as at the very first minute of a day that is read alone. SchemaError when
    the samples are not one-second values, or not within 0.01 s of the UTC second.
    """
    cadence_s = cadence_of(dataset)
    if cadence_s != 1:
        more = "average it to one-second values first" if cadence_s < 1 else "only 1 Hz can be filtered"
        raise SchemaError(
            f"{whose(dataset)} has a sample each {cadence_s:g} s, the one-minute filter wants one each "
            f"second: {more}",
            cadence_s=cadence_s,
        )
    names = components_of(dataset)
    values = _smooth(dataset, names)
    minute_ns, filtered = gaussian_minutes(to_ns(dataset.time.values), values)
    return _made(
        dataset, names, minute_ns, filtered, ("min", 60.0), "filtered 1-minute (00:15-01:45), Gaussian"
    )


def one_hour(dataset: xr.Dataset) -> xr.Dataset:
    """Hourly means of minute values, centred at HH:30; of one-second samples, which are filtered first.

    NaN where less than 90 % of the hour's 60 minutes are there.
    """
    return _means(dataset, _HOUR)


def one_day(dataset: xr.Dataset) -> xr.Dataset:
    """Daily means of minute values (or of hourly means), centred at 12:00; NaN below 1,296 of 1,440."""
    return _means(dataset, _DAY)


def gaussian_minutes(time_ns: Ints, values: ArrayLike) -> tuple[Ints, Floats]:
    """Minutes in ns since 1970, and their values (minutes, ...), of one-second samples (time, ...).

    ``time_ns`` ascends, within 0.01 s of whole seconds, which it is taken for. Every minute that has a
    sample in it and all between are given, NaN where less than 90 % of the weight is there.
    """
    time_ns, array = np.asarray(time_ns), np.asarray(values, np.float64)
    if not time_ns.size:
        return np.empty(0, np.int64), np.empty((0, *array.shape[1:]))
    second = _whole_seconds(time_ns)
    columns = np.ascontiguousarray(array.reshape(second.size, -1).T)
    first, last = int(second[0]) // 60, int(second[-1]) // 60
    minutes = np.arange(first, last + 1)
    filtered = np.full((columns.shape[0], minutes.size), np.nan)
    for begin in range(first, last + 1, _BLOCK_MINUTES):
        end = min(begin + _BLOCK_MINUTES, last + 1)
        low, high = np.searchsorted(second, [60 * (begin - 1), 60 * end])
        if low < high:
            place = second[low:high] - 60 * (begin - 1)
            filtered[:, begin - first : end - first] = _filtered(place, columns[:, low:high], end - begin)
    return minutes * _MINUTE_NS, filtered.T.reshape(minutes.size, *array.shape[1:])


def components_of(dataset: xr.Dataset) -> list[str]:
    """The components of a Dataset of samples: its floating-point variables along time."""
    return [
        str(name)
        for name, variable in dataset.data_vars.items()
        if variable.dims == ("time",) and variable.dtype.kind == "f"
    ]


def cadence_of(dataset: xr.Dataset) -> float:
    """Seconds from one sample to the next: the attribute ``cadence_s``, or else the usual step."""
    known = dataset.attrs.get("cadence_s")
    if known is not None:
        return float(known)
    steps = np.diff(to_ns(dataset.time.values))
    if not steps.size:
        raise SchemaError(
            f"{whose(dataset)} has {dataset.sizes['time']} sample(s) and no attribute cadence_s, so that its "
            "cadence is not known; set it"
        )
    return round(float(np.median(steps)) / NS_PER_S, 3)


def _filtered(place: Ints, columns: Floats, minutes: int) -> Floats:
    """The values of these minutes, (columns, minutes); ``place`` counts seconds from the minute before."""
    grid = np.full((columns.shape[0], 60 * (minutes + 1)), np.nan)
    grid[:, place] = columns
    missing = np.isnan(grid)
    if not missing.any():
        return _two_rows(grid) / float(COEFFICIENTS.sum())
    grid[missing] = 0.0
    weight = _two_rows((~missing).astype(np.float64))
    enough = weight >= SHARE * COEFFICIENTS.sum() - _ROUNDING
    values: Floats = np.where(enough, _two_rows(grid) / np.where(enough, weight, 1.0), np.nan)
    return values


def _two_rows(grid: Floats) -> Floats:
    """Weighted sums over the windows of 91 seconds, each of which lies in two rows of 60."""
    sums = grid.reshape(grid.shape[0], -1, 60) @ _WEIGHTS
    total: Floats = sums[:, :-1, 0] + sums[:, 1:, 1]
    return total


def _whole_seconds(time_ns: Ints) -> Ints:
    second: Ints = (time_ns + NS_PER_S // 2) // NS_PER_S
    off_ns = np.abs(time_ns - second * NS_PER_S)
    if (bad := np.flatnonzero(off_ns > _JITTER_NS)).size:
        raise SchemaError(
            f"sample at {iso(int(time_ns[bad[0]]))} is {off_ns[bad[0]] / NS_PER_S:.3f} s off the UTC second, "
            "the one-minute filter wants 0.01 s at most: give values centred on the second",
            time_ns=int(time_ns[bad[0]]),
        )
    if (bad := np.flatnonzero(np.diff(second) <= 0) + 1).size:
        raise SchemaError(
            f"sample at {iso(int(time_ns[bad[0]]))} is not a second later than the one before it; wanted one "
            "for each second, in order of time",
            time_ns=int(time_ns[bad[0]]),
        )
    return second


def _means(dataset: xr.Dataset, period: _Period) -> xr.Dataset:
    cadence_s = cadence_of(dataset)
    if cadence_s <= 1:  # what is too fast is refused there
        dataset, cadence_s = one_minute(dataset), 60.0
    if cadence_s not in (60, 3600) or cadence_s >= period.length_s:
        raise SchemaError(
            f"{whose(dataset)} has a sample each {cadence_s:g} s, a mean of the {period.name} wants one "
            f"each minute{' or hour' if period.length_s > 3600 else ''}, or each second",
            cadence_s=cadence_s,
        )
    names = components_of(dataset)
    values = _smooth(dataset, names)
    length_ns = period.length_s * NS_PER_S
    bucket = to_ns(dataset.time.values) // length_ns
    buckets = np.arange(bucket[0], bucket[-1] + 1) if bucket.size else bucket
    wanted = int(np.ceil(SHARE * period.length_s / cadence_s - _ROUNDING))
    means = np.full((buckets.size, len(names)), np.nan)
    for n in range(len(names)):
        means[:, n] = _bucket_means(values[:, n], bucket - buckets[:1], buckets.size, wanted)
    what = f"{period.interval}, mean of 1-{'minute' if cadence_s == 60 else 'hour'}"
    centre_ns = buckets * length_ns + length_ns // 2
    return _made(dataset, names, centre_ns, means, (period.name, float(period.length_s)), what)


def _bucket_means(values: Floats, bucket: Ints, size: int, wanted: int) -> Floats:
    there = np.isfinite(values)
    if not there.any():
        return np.full(size, np.nan)
    count = np.bincount(bucket[there], minlength=size)
    level = values[there][0]  # sums of small numbers round less
    total = np.bincount(bucket[there], values[there] - level, minlength=size)
    return np.where(count >= wanted, level + total / np.maximum(count, 1), np.nan)


def _smooth(dataset: xr.Dataset, names: list[str]) -> Floats:
    """The components as (time, component), angles without the jump at half a turn."""
    columns = [np.asarray(dataset[name].values, np.float64) for name in names]
    columns = [
        continuous(column) if _is_angle(dataset, name) else column
        for name, column in zip(names, columns, strict=True)
    ]
    return np.stack(columns, axis=-1) if columns else np.empty((dataset.sizes["time"], 0))


def _made(
    dataset: xr.Dataset, names: list[str], time_ns: Ints, values: Floats, rate: tuple[str, float], how: str
) -> xr.Dataset:
    units = {name: str(dataset[name].attrs.get("units", "nT")) for name in names}
    columns = {name: values[:, n] for n, name in enumerate(names)}
    for name in names:
        if _is_angle(dataset, name):
            columns[name] = within_turn(columns[name], dataset[name].values)
    attrs = {**dataset.attrs, "samplerate": rate[0], "cadence_s": rate[1], "data_interval": how}
    return samples_schema(units).build(attrs, time=from_ns(time_ns), **columns)


def _is_angle(dataset: xr.Dataset, name: str) -> bool:
    return dataset[name].attrs.get("units") == "arcmin"
