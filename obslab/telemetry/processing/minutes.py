"""One-minute data of an archive's streams, to look at or to keep beside what they were made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.collect.inbox import Store
from obslab.telemetry.derived import is_derived, minutes_of
from obslab.telemetry.processing.merging import (
    by_day,
    chosen,
    interval,
    nothing_in,
    scalar_beside,
    with_scalar,
)
from obslab.telemetry.processing.storing import news_of
from obslab.telemetry.sample import Meta, Stream
from obslab.times import NS_PER_S, Instant, from_ns, to_ns

if TYPE_CHECKING:
    import xarray as xr

_MINUTE_NS = 60 * NS_PER_S
_REACH_NS = 46 * NS_PER_S  # the filter takes 45 s to either side, and samples may be 10 ms off


def minute(
    archive: Archive,
    station: str | None = None,
    instrument: str | None = None,
    begin: Instant | None = None,
    end: Instant | None = None,
    *,
    scalar: str | None = None,
    samplerate: str | None = None,
    store: Store | None = None,
) -> xr.Dataset:
    """Minutes of ``[begin, end)``, filtered from the stream's 1 s samples, with the scalar's as ``s``.

    ``scalar`` names the instrument, ``""`` leaves it out; else it is the station's only one. With ``store``
    those of the vector are kept as derived stream (see ``derived.minutes_of``), each once: what comes out
    different later, as when a gap was filled, is a new version.
    """
    import xarray as xr

    stream = chosen(archive, station, instrument, samplerate or "sec")
    meta = archive.metas(stream)[-1]
    beside = scalar_beside(archive, stream, scalar) if meta.kind == "vector" and scalar != "" else None
    reach = interval(archive, stream, begin, end)
    if reach is None:
        raise nothing_in(archive, stream)
    parts = []
    for low_ns, high_ns in by_day(*_whole_minutes(*reach)):
        part = minutes_between(archive, stream, low_ns, high_ns)
        if beside is not None:
            part = with_scalar(part, minutes_between(archive, beside, low_ns, high_ns))
        if store is not None:
            batch = _batch(archive, stream, part)
            if batch.arrivals:
                store(batch)
        parts.append(part)
    return xr.concat(parts, "time", combine_attrs="override", data_vars="minimal", coords="minimal")


def minutes_between(archive: Archive, stream: Stream, begin_ns: int, end_ns: int) -> xr.Dataset:
    """The minutes of ``[begin, end)`` of one stream; the samples about the first and the last enter too."""
    from obslab.telemetry.filters import one_minute

    low, high = (begin_ns - _REACH_NS, end_ns + _REACH_NS)
    samples = archive.dataset(stream.station, stream.instrument, low, high, samplerate=stream.samplerate)
    minutes = one_minute(samples.drop_vars(["arrival", "quality"], errors="ignore"))
    time = minutes.time.values
    return minutes.isel(time=(time >= from_ns([begin_ns])[0]) & (time < from_ns([end_ns])[0]))


def _whole_minutes(begin_ns: int, end_ns: int) -> tuple[int, int]:
    """Minutes whose centre lies in the interval."""
    return -(-begin_ns // _MINUTE_NS) * _MINUTE_NS, -(-end_ns // _MINUTE_NS) * _MINUTE_NS


def _batch(archive: Archive, source: Stream, minutes: xr.Dataset) -> Batch:
    """Minutes that have a value, or had one, to be stored with the metadata of their source."""
    stream, wanted = minutes_of(source), list(_metas(source, archive.metas(source)))
    time_ns = to_ns(minutes.time.values)
    held = archive.stored(stream, int(time_ns[0]), int(time_ns[-1]) + 1) if time_ns.size else None
    known = {meta.valid_from_ns: meta for meta in archive.metas(stream)}
    news = tuple(meta for meta in wanted if known.get(meta.valid_from_ns) != meta)
    batch = Batch(metas={stream.meta_topic: news} if news else {})
    ends_ns = [meta.valid_from_ns for meta in wanted[1:]] + [2**63 - 1]
    for meta, end_ns in zip(wanted, ends_ns, strict=True):
        values = np.stack([minutes[name].values for name in meta.components], axis=1)
        there = ~np.isnan(values).all(axis=1) | np.isin(time_ns, held.time_ns if held else [])
        there &= (time_ns >= meta.valid_from_ns) & (time_ns < end_ns)
        if (found := news_of(archive, stream, meta, time_ns[there], values[there])).arrivals:
            batch.arrivals.append(found.arrivals)
    return batch


def _metas(source: Stream, versions: tuple[Meta, ...]) -> Iterator[Meta]:
    """Those of the source: of a derived one its own, since both streams have one ``$meta``."""
    for meta in versions:
        yield meta if is_derived(source) else msgspec.structs.replace(meta, offset_s=0.0, delay_s=0.0)
