"""Adjusted and definitive data of an archive, stored beside the raw ones at their publication level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from obslab.errors import NoBaselineError
from obslab.telemetry.adjusted import (
    FRAMES,
    Ints,
    Piece,
    adjusted_by,
    covered_by,
    pieces_of,
    refuse_outside,
)
from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.collect.inbox import Store
from obslab.telemetry.collect.news import settle_holes
from obslab.telemetry.derived import derived
from obslab.telemetry.flags import FlagBook
from obslab.telemetry.processing.merging import by_day, chosen, interval, nothing_in
from obslab.telemetry.processing.storing import news_of
from obslab.telemetry.protocol import interval_of
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Meta, Stream, as_datetime, valid_at
from obslab.times import Instant, now_ns

if TYPE_CHECKING:
    import xarray as xr

    from obslab.telemetry.adjusted import Adopted

    Flags = xr.Dataset | FlagBook | None

_SCALE = 0.001  # nT: INTERMAGNET's standard wants a resolution of 1 pT
_COPIED = (
    *("offset_s", "sensor", "site", "latitude_deg", "longitude_deg", "elevation_m", "attribution"),
    *("azimuth_deg", "k9_limit_nt", "clock"),
)


@dataclass
class Outcome:
    """What became of an interval: ``revised`` samples have a new value, ``outside`` no baseline."""

    source: Stream
    level: int = 2
    samples: int = 0
    new: int = 0
    revised: int = 0
    missing: int = 0
    outside: int = 0
    baselines: list[str] = field(default_factory=list)

    @property
    def stream(self) -> Stream:
        """Where adjusted samples go."""
        return derived(self.source, self.level)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        names = ("samples", "new", "revised", "missing", "outside", "baselines")
        streams = {"source": str(self.source), "stream": str(self.stream)}
        return streams | {name: getattr(self, name) for name in names}


def adjust_archive(
    archive: Archive,
    store: Store,
    station: str | None,
    instrument: str | None,
    baselines: Adopted,
    begin: Instant | None = None,
    end: Instant | None = None,
    *,
    level: int = 2,
    flags: Flags = None,
    samplerate: str | None = None,
    outside: Literal["raise", "missing"] = "raise",
    settle: bool = False,
    on_day: Callable[[int], object] = lambda _: None,
) -> Outcome:
    """Adjust the raw samples of ``[begin, end)`` into the derived stream of ``level``, day by day.

    Only what is new or comes out different goes to ``store``, so the same again changes nothing. Every raw
    sample has an adjusted one, which is missing where it is flagged. Where there is no baseline
    NoBaselineError is raised before anything is stored, or such samples are left out. With ``settle`` the
    book's holes that are whole now are noted as filled; leave it out when ``store`` does not store at once.
    """
    source = chosen(archive, station, instrument, samplerate, kinds=("vector",))
    outcome = Outcome(source, level)
    derived(source, level)  # refuses a level that is none, before anything is read
    reach = interval(archive, source, begin, end)
    if reach is None:
        raise nothing_in(archive, source)
    pieces = pieces_of(baselines, source, *reach)
    if outside == "raise" or not pieces:
        _refuse_days_outside(archive, source, reach, pieces)
    marks = confirmed(flags)
    for begin_ns, end_ns in by_day(*reach):
        within = [piece for piece in pieces if piece.begin_ns < end_ns and piece.end_ns > begin_ns]
        if not within:
            outcome.outside += len(archive.stored(source, begin_ns, end_ns))
            continue
        adjust_readings(
            archive, store, archive.readings(source, begin_ns, end_ns), within, outcome, marks, settle
        )
        on_day(begin_ns)
    outcome.baselines = list(dict.fromkeys(piece.baseline.id for piece in pieces))
    return outcome


def adjust_readings(
    archive: Archive,
    store: Store,
    readings: Readings,
    pieces: Sequence[Piece],
    outcome: Outcome,
    marks: xr.Dataset | None,
    settle: bool = False,
) -> None:
    """Adjust raw samples in order of time, store what the archive has not, and count it in ``outcome``."""
    from obslab.telemetry.datasets import samples_dataset

    versions = archive.metas(readings.stream)
    covered = covered_by(readings.time_ns, pieces)
    outcome.samples += readings.time_ns.size
    outcome.outside += int((~covered).sum())
    if not covered.any():
        return
    dataset = samples_dataset(readings, versions[-1] if versions else None)
    built = adjusted_by(dataset.isel(time=covered), pieces, flags=marks, level=outcome.level)
    values = np.stack([built[name].values for name in FRAMES["xyz"]], axis=1)
    outcome.missing += int(np.isnan(values).all(axis=1).sum())
    metas = _news_of_metas(archive, outcome, readings.time_ns[covered], pieces)
    meta = metas[-1] if metas else archive.metas(outcome.stream)[-1]
    news = news_of(archive, outcome.stream, meta, readings.time_ns[covered], values)
    outcome.new += news.new
    outcome.revised += news.revised
    batch = Batch(
        arrivals=[news.arrivals] if news.arrivals else [],
        metas={outcome.stream.meta_topic: metas} if metas else {},
    )
    if batch.arrivals or batch.metas:
        store(batch)
        if settle:
            settle_holes(archive, batch.arrivals, now_ns())


def confirmed(flags: Flags) -> xr.Dataset | None:
    """The confirmed flags of a book, or those given; None when there are none."""
    if flags is None:
        return None
    found = flags.flags(states=("confirmed",)) if isinstance(flags, FlagBook) else flags
    return found if found.sizes["flag"] else None


def _news_of_metas(
    archive: Archive, outcome: Outcome, time_ns: Ints, pieces: Sequence[Piece]
) -> tuple[Meta, ...]:
    """Metadata that say by which baseline samples were adjusted, where the archive does not say so yet."""
    sources = archive.metas(outcome.source)
    known = {meta.valid_from_ns: meta for meta in archive.metas(outcome.stream)}
    versions = dict(known)
    first_ns, end_ns = int(time_ns[0]), int(time_ns[-1]) + interval_of(outcome.stream)
    edges = {first_ns, *(piece.begin_ns for piece in pieces), *known, *(one.valid_from_ns for one in sources)}
    for edge_ns in sorted(edges):
        piece = next((one for one in pieces if one.begin_ns <= edge_ns < one.end_ns), None)
        if piece is None or not first_ns <= edge_ns < end_ns:
            continue
        origin = valid_at(sources, edge_ns) or sources[0]
        wanted = _meta(origin, piece, outcome.level, edge_ns)
        force = _in_force(versions, edge_ns)
        if force is None or msgspec.structs.replace(force, valid_from=wanted.valid_from) != wanted:
            versions[wanted.valid_from_ns] = wanted
    before, after = _in_force(known, end_ns), _in_force(versions, end_ns)
    span = archive.span(outcome.stream)
    if before and after and before.baseline != after.baseline and span and span[1] >= end_ns:
        # What comes behind was adjusted by another baseline, and stays so.
        closing = msgspec.structs.replace(before, valid_from=as_datetime(end_ns))
        versions.setdefault(end_ns, closing)
    changed = [meta for edge_ns, meta in versions.items() if known.get(edge_ns) != meta]
    return tuple(sorted(changed, key=lambda meta: meta.valid_from_ns))


def _meta(origin: Meta, piece: Piece, level: int, edge_ns: int) -> Meta:
    return Meta(
        format=origin.format,
        valid_from=as_datetime(edge_ns),
        kind="vector",
        components=FRAMES["xyz"],
        scale=_SCALE,
        orientation="XYZ",
        publication_level=level,
        baseline=piece.baseline.id,
        **{name: getattr(origin, name) for name in _COPIED},
    )


def _in_force(versions: dict[int, Meta], time_ns: int) -> Meta | None:
    edges = [edge_ns for edge_ns in versions if edge_ns <= time_ns]
    return versions[max(edges)] if edges else None


def _refuse_days_outside(
    archive: Archive, source: Stream, reach: tuple[int, int], pieces: Sequence[Piece]
) -> None:
    """Raise NoBaselineError if a sample has no baseline: before anything is stored."""
    edge_ns = reach[0]
    for begin_ns, end_ns in [*((piece.begin_ns, piece.end_ns) for piece in pieces), (reach[1], reach[1])]:
        if edge_ns < begin_ns:
            for low_ns, high_ns in by_day(edge_ns, begin_ns):
                refuse_outside(source, archive.stored(source, low_ns, high_ns).time_ns, pieces)
        edge_ns = max(edge_ns, end_ns)
    if not pieces:
        raise NoBaselineError(f"no adopted baseline of {source.station} {source.instrument} for the interval")
