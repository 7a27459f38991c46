"""The quiet daily variation under a disturbed day, by the FMI method of linear elimination.

C. Sucksdorff, R. Pirjola, L. Häkkinen, "Computer production of K-indices based on linear elimination",
Geophys. Trans. 36 (1991) 333-345. Each hour of a day gets a mean over its minutes, HH:00 to HH:60, and over
n + m minutes more to either side: n is 90, 60 or 0 by local time, as the quiet variation is slow at night,
and m is K to the power of 3.3, as it takes longer to average a disturbance away. The line through the first
and the last of these 24 means is taken off, harmonics of 24 h to 24/5 h are fitted to the rest, and line and
harmonics together are the quiet curve. The lengths are those of the Finnish Meteorological Institute's
program, which computes in steps of 0.1 nT, so that its curves are up to 0.4 nT apart from these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAY_MINUTES = 1440

_HARMONICS = 5
_POWER = 3.3
_NIGHT_TO_NIGHT = np.repeat([90, 60, 0, 60, 90], [3, 3, 12, 3, 3])
_SHARE = 0.5  # of a window's minutes, below which its mean is not taken
_BRIDGE_HOURS = 3  # the shortest harmonic, of 4.8 h, is still held by the means around so short a hole

_HOUR: Floats = np.arange(24, dtype=np.float64) + 0.5
_MINUTE: Floats = np.arange(DAY_MINUTES, dtype=np.float64) / 60


def _basis(hour: Floats) -> Floats:
    angle = 2 * np.pi / 24 * hour[:, None] * np.arange(1, _HARMONICS + 1)
    return np.hstack([np.ones((hour.size, 1)), np.cos(angle), np.sin(angle)])


# Least squares and evaluation in one: 24 hourly means in, 1440 minutes out.
_CURVE = _basis(_MINUTE) @ np.linalg.pinv(_basis(_HOUR))


def quiet_curves(field: Floats, k: Ints, longitude_deg: float) -> Floats:
    """The quiet curve (component, day, 1440) of each day but the first and the last of ``field``.

    ``field`` has the same shape with two days more, NaN where a minute is missing; ``k`` (day, 8) is what is
    known of the K indices so far. NaN for a day whose hourly means cannot be had.
    """
    means = np.stack([_bridged(one) for one in _hourly_means(field, k, longitude_deg)])
    slope = (means[..., -1:] - means[..., :1]) / (_HOUR[-1] - _HOUR[0])
    # No matrix product: on a busy machine its threads wait for each other ten times as long as this takes.
    wave = np.einsum("cdh,mh->cdm", means - slope * _HOUR, _CURVE)
    curve: Floats = wave + slope * _MINUTE
    return curve


def _hourly_means(field: Floats, k: Ints, longitude_deg: float) -> Floats:
    """Means (component, day, 24) over windows that stay within the day, the one before and the one after."""
    local = (np.arange(24) + round(longitude_deg / 15)) % 24
    more = _NIGHT_TO_NIGHT[local] + np.rint(np.repeat(k, 3, axis=1) ** _POWER).astype(np.int64)
    day = DAY_MINUTES * np.arange(1, field.shape[1] - 1)[:, None]
    hour = day + 60 * np.arange(24)
    begin = np.maximum(hour - more, day - DAY_MINUTES)
    end = np.minimum(hour + 61 + more, day + 2 * DAY_MINUTES)
    minutes = field.reshape(field.shape[0], -1)
    there = np.isfinite(minutes)
    level = np.nan_to_num(np.fmin.reduce(minutes, axis=1))[:, None]  # sums of small numbers round less
    total = _running(np.where(there, minutes - level, 0.0))
    count = _running(there.astype(np.float64))
    total, count = total[:, end] - total[:, begin], count[:, end] - count[:, begin]
    means = level[..., None] + total / np.maximum(count, 1)
    return np.where(count >= _SHARE * (end - begin), means, np.nan)


def _running(values: Floats) -> Floats:
    return np.concatenate([np.zeros((values.shape[0], 1)), np.cumsum(values, axis=1)], axis=1)


def _bridged(means: Floats) -> Floats:
    """Hourly means (day, 24) with short holes filled by straight lines; days with longer ones all NaN."""
    filled = means.copy()
    for n in np.flatnonzero(np.isnan(means).any(axis=1)):
        missing = np.isnan(means[n])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
        if (edges[1::2] - edges[::2]).max() > _BRIDGE_HOURS:
            filled[n] = np.nan
        else:
            filled[n, missing] = np.interp(_HOUR[missing], _HOUR[~missing], means[n, ~missing])
    return filled
