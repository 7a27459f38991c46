"""Files of an archive's samples for others, in INTERMAGNET's formats and netCDF."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from obslab.errors import ConfigError, NoStreamError
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.derived import RECORDED, SUFFIXES, derived, is_derived, recorded
from obslab.telemetry.processing.files import format_of
from obslab.telemetry.processing.merging import (
    chosen,
    interval,
    kind_of,
    nothing_in,
    scalar_beside,
    with_scalar,
)
from obslab.telemetry.processing.minutes import minutes_between
from obslab.telemetry.sample import Stream
from obslab.times import NS_PER_DAY, NS_PER_S, Instant, as_ns, from_ns, to_ns

if TYPE_CHECKING:
    import xarray as xr


def export(
    archive: Archive,
    format: str,
    out: str | Path,
    *,
    station: str | None = None,
    instrument: str | None = None,
    scalar: str | None = None,
    begin: Instant | None = None,
    end: Instant | None = None,
    samplerate: str = "sec",
    level: int | None = None,
    force: bool = False,
) -> list[Path]:
    """Write the samples of ``[begin, end)`` to files in folder ``out``; the files, in order of time.

    ``format`` is iaga2002, imagcdf or impf, a file for each UTC day that has samples, with the names their
    standards advise, or netcdf, one file, which ``out`` may name itself. ``level`` chooses data derived from
    the instrument, 2 to 4; ``samplerate`` ``min`` filters what is there at 1 s only. Without ``scalar`` the
    station's only scalar instrument goes along as S; ``""`` leaves it out. A file is there whole or not at
    all. When one is there already ConfigError is raised before any is written, unless ``force``.
    """
    form = format_of(format)
    if samplerate not in ("sec", "min"):
        raise ConfigError(f"--samplerate {samplerate!r} is neither sec nor min, for which these formats are")
    stream, source = _source(archive, station, instrument, samplerate, level)
    beside = None if scalar == "" else _scalar(archive, source, scalar)
    reach = _reach(archive, source, begin, end)
    of_level = level or _level(archive, source)
    folder, whole = Path(out), None
    if not form.daily and folder.suffix == ".nc":
        folder, whole = folder.parent, folder.name
    pieces = list(_days(archive, source, *reach)) if form.daily else [reach]
    if not pieces:
        raise nothing_in(archive, source)
    files = [folder / (whole or form.name(stream, of_level, *piece)) for piece in pieces]
    there = [file for file in files if file.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise ConfigError(f"{there[0]}{more} is there already; --force writes it anew, or give another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--out {folder} cannot be made: {error.strerror or error}; give another"
        ) from error
    for file, piece in zip(files, pieces, strict=True):
        dataset = _dataset(archive, stream, source, beside, *piece).assign_attrs(publication_level=of_level)
        form.write(dataset, file)
    return files


def _source(
    archive: Archive, station: str | None, instrument: str | None, samplerate: str, level: int | None
) -> tuple[Stream, Stream]:
    """What is exported, and what it is read from: the same, or 1 s data to be filtered."""
    found = chosen(archive, station, instrument)
    name = found.instrument
    if level is not None and level != _level(archive, found):
        raw = recorded(found)
        name = (derived(raw, level) if level != RECORDED else raw).instrument
    wanted, seconds = (Stream(found.station, name, rate) for rate in (samplerate, "sec"))
    held = archive.streams()
    if is_derived(wanted) and not {wanted, seconds} & set(held) and kind_of(archive, found) == "vector":
        made = (
            f"obslab archive adjust --level {level}" if level in SUFFIXES else "obslab archive minute --store"
        )
        raise NoStreamError(
            f"archive {archive.path} has no {wanted}; it has {', '.join(map(str, held))}: `{made}` makes it"
        )
    # Minutes of derived data that are stored may be of a baseline before.
    if wanted in held and not (seconds in held and is_derived(wanted)):
        return wanted, wanted
    return wanted, chosen(archive, found.station, name, "sec" if samplerate == "min" else samplerate)


def _scalar(archive: Archive, source: Stream, scalar: str | None) -> Stream | None:
    metas = archive.metas(source)
    if metas and metas[-1].kind == "scalar":
        return None
    return scalar_beside(archive, source, scalar)


def _level(archive: Archive, stream: Stream) -> int:
    metas = archive.metas(stream)
    return metas[-1].publication_level if metas else RECORDED


def _reach(archive: Archive, source: Stream, begin: Instant | None, end: Instant | None) -> tuple[int, int]:
    """The interval asked for; without one, all whole days that the stream has samples in."""
    span = archive.span(source) or (0, -1)
    begin_ns = span[0] // NS_PER_DAY * NS_PER_DAY if begin is None else as_ns(begin)
    end_ns = (span[1] // NS_PER_DAY + 1) * NS_PER_DAY if end is None else as_ns(end)
    if interval(archive, source, begin_ns, end_ns) is None:
        raise nothing_in(archive, source)
    return begin_ns, end_ns


def _days(archive: Archive, source: Stream, begin_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
    """The days, or parts of them at the ends, in which the stream has samples."""
    span = archive.span(source)
    for day in archive.days(source, max(begin_ns, span[0]) if span else end_ns, end_ns):
        low_ns, high_ns = max(day.day_ns, begin_ns), min(day.day_ns + NS_PER_DAY, end_ns)
        if day.n and low_ns <= day.last_ns and day.first_ns < high_ns:
            yield low_ns, high_ns


def _dataset(
    archive: Archive, stream: Stream, source: Stream, beside: Stream | None, begin_ns: int, end_ns: int
) -> xr.Dataset:
    """Vector and scalar on all times of the cadence in ``[begin, end)``, missing where there is no sample."""
    dataset = _samples(archive, stream, source, begin_ns, end_ns)
    if beside is not None:
        dataset = with_scalar(dataset, _samples(archive, stream, beside, begin_ns, end_ns))
    facts = {"instrument": stream.instrument, "samplerate": stream.samplerate, "cadence_s": stream.cadence_s}
    return dataset.assign_attrs(facts)


def _samples(archive: Archive, stream: Stream, source: Stream, begin_ns: int, end_ns: int) -> xr.Dataset:
    if stream.samplerate != source.samplerate:
        found = minutes_between(archive, source, begin_ns, end_ns)
    else:
        found = archive.dataset(
            source.station, source.instrument, begin_ns, end_ns, samplerate=source.samplerate
        ).drop_vars(["arrival", "quality"], errors="ignore")
    return _on_grid(found, round(stream.cadence_s * NS_PER_S), begin_ns, end_ns)


def _on_grid(dataset: xr.Dataset, step_ns: int, begin_ns: int, end_ns: int) -> xr.Dataset:
    """With a row for each time of the cadence; as it is when its times are not evenly spaced."""
    time_ns = to_ns(dataset.time.values)
    offset_ns = int(time_ns[0]) % step_ns if time_ns.size else 0
    if (time_ns % step_ns != offset_ns).any():
        return dataset
    first_ns = -(-(begin_ns - offset_ns) // step_ns) * step_ns + offset_ns
    return dataset.reindex(time=from_ns(np.arange(first_ns, end_ns, step_ns, dtype=np.int64)))
