"""Clocks against each other: how far a station's is off, and how old its newest sample is by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from obslab.telemetry.metrics.targets import target_s
from obslab.telemetry.sample import Stream
from obslab.times import from_ns

if TYPE_CHECKING:
    import xarray as xr


class Reading(Protocol):
    """As the archive's book keeps them."""

    @property
    def unit(self) -> str: ...
    @property
    def at_ns(self) -> int: ...
    @property
    def offset_s(self) -> float: ...
    @property
    def round_trip_s(self) -> float: ...


def clocks(readings: Sequence[Reading]) -> xr.Dataset:
    """Comparisons of clocks, by unit and time, as ``CLOCKS``."""
    from obslab.telemetry.metrics.datasets import CLOCKS

    ordered = sorted(readings, key=lambda one: (one.unit, one.at_ns))
    return CLOCKS.build(
        time=from_ns(np.array([one.at_ns for one in ordered], np.int64)),
        unit=np.array([one.unit for one in ordered], str),
        offset_s=np.array([one.offset_s for one in ordered], float),
        round_trip_s=np.array([one.round_trip_s for one in ordered], float),
    )


def ages(newest_ns: Mapping[Stream, int], now_ns: Mapping[Stream, int]) -> xr.Dataset:
    """How old the newest sample of each stream is, as ``AGES``; ``now_ns`` is by each station's clock."""
    from obslab.telemetry.metrics.datasets import AGES

    streams = sorted(newest_ns)
    age_s = np.array([(now_ns[one] - newest_ns[one]) / 1e9 for one in streams], float)
    aim_s = np.array([target_s(one) for one in streams], float)
    return AGES.build(
        stream=np.array([str(one) for one in streams], str),
        newest=from_ns(np.array([newest_ns[one] for one in streams], np.int64)),
        age_s=age_s,
        target_s=np.where(np.isfinite(aim_s), aim_s, np.nan),
        ok=age_s <= aim_s,
    )
