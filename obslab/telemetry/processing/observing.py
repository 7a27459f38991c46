"""Observing: absolute measurements and spot baselines, with the samples that an archive has around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from obslab.errors import BaselineError, NoStreamError
from obslab.telemetry.absolutes import Measurement, reduce
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.baseline import spots
from obslab.telemetry.derived import is_derived
from obslab.times import NS_PER_S

if TYPE_CHECKING:
    import xarray as xr

_MARGIN_NS = 120 * NS_PER_S  # a minute value on each side of a measurement, to interpolate between


def observed(
    archive: Archive,
    measurements: Sequence[Measurement],
    station: str,
    instrument: str,
    scalar: str | None = None,
    *,
    pier_difference_nt: float = 0.0,
) -> tuple[xr.Dataset, xr.Dataset]:
    """ABSOLUTES and SPOTS of measurements, for one variometer of an archive.

    Only the samples during the measurements are read, whatever the archive holds. ``scalar`` is the
    instrument that F is taken from where it was not measured with the angles; None: the station's, when it
    has one. Raises NoStreamError, NoVariometerError, SheetError.
    """
    if not measurements:
        raise BaselineError(f"there is no absolute measurement of {station} to make a baseline of")
    around = [(one.begin_ns - _MARGIN_NS, one.end_ns + _MARGIN_NS) for one in measurements]
    variometer = _samples(archive, station, instrument, around)
    name = scalar or _only_scalar(archive, station)
    total = _samples(archive, station, name, around) if name else None
    absolutes = reduce(tuple(measurements), variometer, total, pier_difference_nt=pier_difference_nt)
    return absolutes, spots(absolutes, variometer, total, pier_difference_nt=pier_difference_nt)


def _samples(archive: Archive, station: str, instrument: str, around: list[tuple[int, int]]) -> xr.Dataset:
    """Samples in any of these stretches, each once, in order of time."""
    import xarray as xr

    merged: list[tuple[int, int]] = []
    for begin, end in sorted(around):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    parts = [archive.dataset(station, instrument, begin, end) for begin, end in merged]
    whole = [part for part in parts if part.sizes["time"]] or parts[:1]
    return whole[0] if len(whole) == 1 else xr.concat(whole, "time", combine_attrs="override")


def _only_scalar(archive: Archive, station: str) -> str | None:
    named = {
        stream.instrument
        for stream in archive.streams()
        if stream.station == station
        and np.isfinite(stream.cadence_s)
        and not is_derived(stream)
        and any(meta.kind == "scalar" for meta in archive.metas(stream))
    }
    if len(named) > 1:
        raise NoStreamError(
            f"{station} has several scalar instruments ({', '.join(sorted(named))}); say which to take F from"
        )
    return named.pop() if named else None
