"""An archive as the link of the paper would have filled it, made in seconds instead of months.

Bracke et al. (2017), https://doi.org/10.5194/gi-6-285-2017, evaluated a LEMI-25 at Princess Elisabeth
station over a satellite: 300 ms on the way, some ten short losses a month, one outage of two days.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime
from obslab.telemetry.station.link_model import LEMI_DELAY_S, PRESETS, arrivals
from obslab.times import NS_PER_DAY, NS_PER_S, Instant, as_ns

STREAM = Stream("PEA", "lemi0001")
_SECONDS = 86_400


def archive(
    folder: str | Path, *, days: int = 60, begin: Instant = "2016-05-01", seed: int = 2017
) -> Archive:
    """``days`` of 1 Hz vector data that came over the preset ``pea``, in a new archive, open for reading.

    The field is a constant with a daily variation and 10 pT of noise; the arrivals are what it is for.
    """
    begin_ns, rng = as_ns(begin), np.random.default_rng(seed)
    meta = Meta(
        format=FORMAT,
        valid_from=as_datetime(begin_ns),
        kind="vector",
        components=("x", "y", "z"),
        scale=0.001,
        delay_s=LEMI_DELAY_S,
        orientation="XYZ",
        sensor="LEMI-25 (simulated)",
        site="Princess Elisabeth, simulated",
    )
    time_ns = begin_ns + np.arange(days * _SECONDS, dtype=np.int64) * NS_PER_S
    arrival_ns = arrivals(time_ns, PRESETS["pea"], rng)
    phase = 2 * np.pi * np.arange(_SECONDS) / _SECONDS
    daily_pt = np.stack([18_000 * np.cos(phase), 14_000 * np.sin(phase), 9_000 * np.cos(2 * phase)], axis=1)
    quiet_pt = daily_pt + np.array([13_210_000, -3_105_000, -36_240_000])
    with open_archive(folder, write=True) as made:
        made.add(Batch(metas={STREAM.meta_topic: (meta,)}))
        for day in range(days):
            those = slice(day * _SECONDS, (day + 1) * _SECONDS)
            field = np.rint(quiet_pt + rng.normal(0.0, 10.0, quiet_pt.shape)).astype("<i4")
            made.import_day(STREAM, meta, time_ns[those], arrival_ns[those], field.tobytes())
    return open_archive(folder)


def span(days: int = 60, begin: Instant = "2016-05-01") -> tuple[np.datetime64, np.datetime64]:
    """The interval ``[begin, end)`` of such an archive."""
    begin_ns = as_ns(begin)
    return np.datetime64(begin_ns, "ns"), np.datetime64(begin_ns + days * NS_PER_DAY, "ns")
