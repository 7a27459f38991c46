"""The source of a stream viewer: what a user gives, with what follows from it, and with absolutes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from obslab.errors import ConfigError
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.live.derived import DerivedSource
from obslab.telemetry.live.ring import Ring
from obslab.telemetry.live.source import Source
from obslab.telemetry.live.sources import source_of
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import IRREGULAR, Stream


def supply(
    source: Any,
    *,
    history: Any,
    topics: tuple[str, ...],
    baselines: Any,
    absolutes: bool | xr.Dataset,
) -> Source:
    """A source with adjusted components and delta-F; ``absolutes`` are those of its streams, or a table."""
    given = source_of(source, history=history, topics=topics)
    if baselines is True:
        archive = archive_of(given, history)
        if archive is None:
            raise ConfigError("baselines=True means those in the archive's folder; there is no archive here")
        baselines = archive.path / "baselines"
    derived = DerivedSource(given, baselines)
    return derived if absolutes is True else WithAbsolutes(derived, absolutes)


def archive_of(source: Source, history: Any) -> Archive | None:
    """The archive behind a source, beside which its flags are kept."""
    found = getattr(source, "archive", None) or history
    if isinstance(found, str | Path):
        return open_archive(found)
    return found if isinstance(found, Archive) else None


class WithAbsolutes:
    """A source without its absolute measurements, or with those of a table ``ABSOLUTES`` instead."""

    def __init__(self, source: DerivedSource, absolutes: bool | xr.Dataset) -> None:
        self._source = source
        self._points = [] if isinstance(absolutes, bool) else _rings(absolutes)

    def rings(self) -> list[Ring]:
        measured = [ring for ring in self._source.rings() if ring.stream.samplerate != IRREGULAR]
        return sorted([*measured, *self._points], key=lambda ring: ring.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


def _rings(absolutes: xr.Dataset) -> list[Ring]:
    """One for each theodolite, with D and I."""
    station = str(absolutes.attrs.get("station", ""))
    if not {"d", "i", "time", "instrument"} <= set(map(str, absolutes.variables)) or not station:
        raise ConfigError("absolutes is True, False, or a table as obslab.telemetry.absolutes.reduce gives")
    names = absolutes["instrument"].values.astype(str)
    rings = []
    for name in dict.fromkeys(names.tolist()):
        rows = absolutes.isel(measurement=names == name)
        stream = Stream(station, re.sub(r"[^a-z0-9_-]", "-", name.lower())[:32].strip("-") or "di", IRREGULAR)
        time_ns = rows["time"].values.astype("datetime64[ns]").astype(np.int64)
        values = np.stack([rows["d"].values, rows["i"].values], axis=1)
        ring = Ring(stream, ("d", "i"), ("deg", "deg"), max(1, time_ns.size))
        ring.append(
            Readings(
                stream, ("d", "i"), ("deg", "deg"), time_ns, time_ns, values, np.zeros(time_ns.size, np.uint8)
            )
        )
        rings.append(ring)
    return rings
