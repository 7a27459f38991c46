"""K indices: for each three hours one figure from 0 to 9, by the FMI method; see ``quiet`` for its curve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ConfigError, SchemaError
from obslab.telemetry.activity.datasets import K_INDEX
from obslab.telemetry.activity.quiet import DAY_MINUTES, quiet_curves
from obslab.telemetry.filters import SHARE, cadence_of, one_minute
from obslab.telemetry.frames import frame_of, to_xyz, whose
from obslab.times import NS_PER_S, from_ns, to_ns

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NIEMEGK_NT = (5.0, 10.0, 20.0, 40.0, 70.0, 120.0, 200.0, 330.0, 500.0)
"""From which range on K is 1, 2 ... 9 at Niemegk; elsewhere in proportion to the limit of K = 9."""

_ROUNDS = 2  # of curve and K; the published method makes a preliminary K and two of these
_INTERVALS = 8
_INTERVAL_MINUTES = 180
_NEIGHBOUR_SHARE = 0.5
_KEPT = ("station", "instrument", "site", "publication_level", "baseline", "attribution")
_METHOD = "FMI method (Sucksdorff, Pirjola and Häkkinen 1991)"


def k_index(
    dataset: xr.Dataset,
    k9_limit_nt: float | None = None,
    longitude_deg: float | None = None,
    *,
    sq: bool = False,
    provisional: bool = False,
) -> xr.Dataset:
    """K indices of all UTC days that have a sample, as ``K_INDEX``; with ``sq`` the quiet curves too.

    Takes minutes, or seconds, which are filtered first, in any frame; a variometer's ``h`` and ``e`` are
    taken for x and y as they are, since K is made of ranges (attribute ``axes`` says so). The limit of K = 9
    and the longitude, which tells local midnight, are those of the dataset's attributes unless given.

    An interval with less than 90 % of its minutes has k = -1, and so has a day without half of the day
    before and half of the day after, whose minutes the method needs: ``provisional`` gives these all the
    same, as the present day has no morrow, and says so in ``note``.
    """
    limit_nt = _fact(dataset, "k9_limit_nt", k9_limit_nt, "the limit of K = 9 in nT, 500 for Niemegk")
    longitude = _fact(dataset, "longitude_deg", longitude_deg, "degrees east")
    if not limit_nt > 0:
        raise ConfigError(f"k9_limit_nt {limit_nt:g} is not a positive number of nT", value=limit_nt)
    minute_ns, xy, axes = _horizontal(dataset)
    attrs = {name: dataset.attrs[name] for name in _KEPT if name in dataset.attrs} | {
        "k9_limit_nt": limit_nt,
        "longitude_deg": longitude,
        "axes": axes,
        "method": _METHOD,
    }
    first, field = _days(minute_ns, xy)
    day = first + np.arange(field.shape[1] - 2)
    curve, ranges, k = _eliminated(field, limit_nt, longitude)
    complete, note, known = _judged(field, curve, provisional)
    k, ranges = np.where(known, k, -1), np.where(known, ranges, np.nan)
    minute = (day[:, None] * DAY_MINUTES + np.arange(DAY_MINUTES)).ravel()
    columns = {"sq_x": curve[0].ravel(), "sq_y": curve[1].ravel()}
    return K_INDEX.build(
        attrs,
        time=from_ns(minute[::_INTERVAL_MINUTES] * 60 * NS_PER_S),
        k=k.ravel().astype(np.int8),
        range_x=ranges[0].ravel(),
        range_y=ranges[1].ravel(),
        complete=complete.ravel(),
        note=note.ravel(),
        **({"sq_time": from_ns(minute * 60 * NS_PER_S), **columns} if sq else {}),
    )


def _fact(dataset: xr.Dataset, name: str, given: float | None, what: str) -> float:
    value = dataset.attrs.get(name) if given is None else given
    if value is None or not math.isfinite(float(value)):
        raise ConfigError(
            f"{whose(dataset)} does not say its {name}, which K indices need ({what}): pass {name}=... or "
            "put it into the station's metadata",
            name=name,
        )
    return float(value)


def _horizontal(dataset: xr.Dataset) -> tuple[Ints, Floats, str]:
    """Minutes since 1970, x and y (2, time), and in words what was taken for them."""
    frame = frame_of(dataset)
    cadence_s = cadence_of(dataset)
    minutes = one_minute(dataset) if cadence_s <= 1 else dataset
    if cadence_s > 1 and cadence_s != 60:
        raise SchemaError(
            f"{whose(dataset)} has a sample each {cadence_s:g} s, K indices want one each minute or second",
            cadence_s=cadence_s,
        )
    if frame == "hez":
        pair, axes = ("h", "e"), "h and e of the variometer taken for x and y, without baseline"
    else:
        minutes, pair = to_xyz(minutes), ("x", "y")
        axes = "x and y" if frame == "xyz" else f"x and y of {' '.join(frame)}"
    minute = to_ns(minutes.time.values) // (60 * NS_PER_S)
    return minute, np.stack([minutes[name].values.astype(np.float64) for name in pair]), axes


def _days(minute: Ints, xy: Floats) -> tuple[int, Floats]:
    """The first day since 1970 with a minute, and all as (2, days + 2, 1440), an empty day at each end."""
    if not minute.size:
        return 0, np.full((2, 2, DAY_MINUTES), np.nan)
    first, last = int(minute[0]) // DAY_MINUTES, int(minute[-1]) // DAY_MINUTES
    field = np.full((2, (last - first + 3) * DAY_MINUTES), np.nan)
    field[:, minute - (first - 1) * DAY_MINUTES] = xy
    return first, field.reshape(2, -1, DAY_MINUTES)


def _eliminated(field: Floats, limit_nt: float, longitude_deg: float) -> tuple[Floats, Floats, Ints]:
    """Quiet curves (2, day, 1440), ranges without them (2, day, 8) and K (day, 8)."""
    own = field[:, 1:-1]
    curve, ranges = np.full_like(own, np.nan), _ranges(own)
    k = _classes(ranges, limit_nt)
    for _ in range(_ROUNDS if own.size else 0):
        curve = quiet_curves(field, k, longitude_deg)
        ranges = _ranges(own - curve)
        k = _classes(ranges, limit_nt)
    return curve, ranges, k


def _ranges(field: Floats) -> Floats:
    intervals = field.reshape(*field.shape[:2], _INTERVALS, _INTERVAL_MINUTES)
    found: Floats = np.fmax.reduce(intervals, axis=-1) - np.fmin.reduce(intervals, axis=-1)
    return found


def _classes(ranges: Floats, limit_nt: float) -> Ints:
    """K of the larger of both ranges; where neither is known, 0."""
    larger = np.nan_to_num(np.fmax(ranges[0], ranges[1]))
    limits = np.array(NIEMEGK_NT) * (limit_nt / NIEMEGK_NT[-1])
    k: Ints = np.searchsorted(limits, larger, side="right")
    return k


def _judged(
    field: Floats, curve: Floats, provisional: bool
) -> tuple[Floats, NDArray[np.str_], NDArray[np.bool_]]:
    """Fraction that is there, a note, and whether K is known; each of shape (day, 8)."""
    there = np.isfinite(field[0]) & np.isfinite(field[1])
    complete = there[1:-1].reshape(-1, _INTERVALS, _INTERVAL_MINUTES).mean(axis=-1)
    shape = complete.shape
    share: Floats = there.mean(axis=-1)
    alone = share < _NEIGHBOUR_SHARE
    note, known = np.full(shape, "", dtype="U80"), np.ones(shape, bool)
    before, after = alone[:-2], alone[2:]
    for days, which in (
        (before & ~after, "the day before"),
        (after & ~before, "the day after"),
        (before & after, "the days before and after"),
    ):
        note[days] = f"provisional, without {which}" if provisional else f"not enough of {which}"
        known[days] = provisional
    lost = np.isnan(curve).any(axis=(0, 2))
    note[lost], known[lost] = "no quiet curve: hours of this day are missing", False
    few = np.flatnonzero(complete < SHARE)
    note.flat[few], known.flat[few] = "less than 90 % of the minutes are there", False
    return complete, note, known
