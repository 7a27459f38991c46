"""Vector and scalar of a station as one Dataset, and which of its streams these are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from obslab.errors import ConfigError, NoStreamError
from obslab.telemetry.adjusted import UNITS
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.derived import is_derived
from obslab.telemetry.sample import IRREGULAR, Stream
from obslab.times import NS_PER_DAY, Instant, as_ns, iso, to_ns

if TYPE_CHECKING:
    import xarray as xr

Kind = Literal["vector", "scalar"]
_ANY: tuple[Kind, ...] = ("vector", "scalar")


def merged(
    archive: Archive,
    station: str,
    vector: str,
    scalar: str | None = None,
    begin: Instant | None = None,
    end: Instant | None = None,
    *,
    samplerate: str | None = None,
) -> xr.Dataset:
    """The vector's samples of ``[begin, end)`` with the scalar instrument's as ``s`` at the same times.

    ``s`` is NaN where only the vector has a sample. Without ``scalar`` it is the station's only scalar
    instrument at that cadence; if there is none, ``s`` is left out.
    """
    one = chosen(archive, station, vector, samplerate, kinds=("vector",))
    other = scalar_beside(archive, one, scalar)
    dataset = archive.dataset(one.station, one.instrument, begin, end, samplerate=one.samplerate)
    if other is None:
        return dataset
    beside = archive.dataset(other.station, other.instrument, begin, end, samplerate=other.samplerate)
    return with_scalar(dataset, beside)


def with_scalar(vector: xr.Dataset, scalar: xr.Dataset) -> xr.Dataset:
    """``vector`` with the ``s``, or else the ``f``, of ``scalar`` as ``s``; attribute ``scalar`` names it."""
    import xarray as xr

    name = "s" if "s" in scalar.data_vars else "f"
    values = np.full(vector.sizes["time"], np.nan)
    _, here, there = np.intersect1d(
        to_ns(vector.time.values), to_ns(scalar.time.values), assume_unique=True, return_indices=True
    )
    values[here] = scalar[name].values[there]
    units = scalar[name].attrs.get("units", "nT")
    column = xr.Variable(("time",), values, {"units": units, "description": "Component s; NaN is missing."})
    return vector.assign(s=column).assign_attrs(scalar=scalar.attrs.get("instrument", ""))


def chosen(
    archive: Archive,
    station: str | None,
    instrument: str | None,
    samplerate: str | None = None,
    *,
    kinds: Sequence[Kind] = _ANY,
) -> Stream:
    """The one stream that is meant: without names the only one there is, recorded before derived, and a
    vector before the scalars beside it.

    Of several cadences the fastest. Raises NoStreamError, or ConfigError where a choice is left.
    """
    held = [stream for stream in archive.streams() if stream.samplerate != IRREGULAR]
    fits = [
        stream
        for stream in held
        if (station is None or stream.station == station.upper())
        and instrument in (None, stream.instrument)
        and samplerate in (None, stream.samplerate)
        and kind_of(archive, stream) in kinds
        and is_field(archive, stream)
    ]
    if instrument is None and any(not is_derived(stream) for stream in fits):
        fits = [stream for stream in fits if not is_derived(stream)]
    if instrument is None:
        fits = [stream for stream in fits if kind_of(archive, stream) == "vector"] or fits
    if not fits:
        what = " ".join(part for part in (station, instrument, samplerate) if part)
        kind = f"{kinds[0]} stream" if len(kinds) == 1 else "stream"
        raise NoStreamError(
            f"archive {archive.path} has no {kind} {what}".rstrip()
            + f"; it has {', '.join(map(str, archive.streams())) or 'none yet'}",
            held=held,
        )
    if len({(stream.station, stream.instrument) for stream in fits}) > 1:
        raise ConfigError(
            f"archive {archive.path} has {', '.join(map(str, fits))}: choose with --station and --instrument"
        )
    return min(fits, key=lambda stream: stream.cadence_s)


def scalar_beside(archive: Archive, vector: Stream, scalar: str | None = None) -> Stream | None:
    """The stream of the scalar instrument named, or of the only one, at the vector's station and cadence."""
    if scalar is not None:
        return chosen(archive, vector.station, scalar, vector.samplerate, kinds=("scalar",))
    fits = [
        stream
        for stream in archive.streams()
        if (stream.station, stream.samplerate) == (vector.station, vector.samplerate)
        and kind_of(archive, stream) == "scalar"
        and is_field(archive, stream)
    ]
    fits = [stream for stream in fits if not is_derived(stream)] or fits
    if len(fits) > 1:
        names = ", ".join(stream.instrument for stream in fits)
        raise ConfigError(f"{vector.station} has several scalar instruments, {names}: choose with --scalar")
    return fits[0] if fits else None


def kind_of(archive: Archive, stream: Stream) -> Kind | None:
    """What its newest metadata say; None while there are none, or for absolute measurements."""
    metas = archive.metas(stream)
    kind = metas[-1].kind if metas else None
    return None if kind == "absolute" else kind


def is_field(archive: Archive, stream: Stream) -> bool:
    """Whether its components are of the magnetic field, and not temperatures."""
    metas = archive.metas(stream)
    return bool(metas) and set(metas[-1].components) <= UNITS.keys()


def interval(
    archive: Archive, stream: Stream, begin: Instant | None, end: Instant | None
) -> tuple[int, int] | None:
    """What was asked for, cut to the samples there are, in ns; None when there are none in it."""
    span = archive.span(stream)
    if span is None:
        return None
    begin_ns = span[0] if begin is None else max(as_ns(begin), span[0])
    end_ns = span[1] + 1 if end is None else min(as_ns(end), span[1] + 1)
    return (begin_ns, end_ns) if begin_ns < end_ns else None


def nothing_in(archive: Archive, stream: Stream) -> NoStreamError:
    """The error that an interval has no samples, and where there are some."""
    span = archive.span(stream)
    held = f"it has {iso(span[0], 0)} to {iso(span[1], 0)}" if span else "it has none at all"
    return NoStreamError(f"{stream} has no samples in the interval; {held}", stream=stream)


def by_day(begin_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """The interval, cut at midnight: a year need not be in memory."""
    while begin_ns < end_ns:
        next_ns = min((begin_ns // NS_PER_DAY + 1) * NS_PER_DAY, end_ns)
        yield begin_ns, next_ns
        begin_ns = next_ns
