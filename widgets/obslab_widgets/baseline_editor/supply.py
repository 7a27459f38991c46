"""Where variometer and scalar samples come from: an archive, or Datasets at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ConfigError
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.derived import is_derived
from obslab.telemetry.sample import Stream

_VECTOR = frozenset("xyzhedi")
_SCALAR = ("s", "f")

Windows = NDArray[np.int64]
"""Rows of begin and end in ns, in order and apart from each other."""


class Supply(Protocol):
    """Samples of one station, by instrument."""

    station: str
    vectors: tuple[str, ...]
    scalars: tuple[str, ...]

    def samples(self, instrument: str, windows: Windows) -> xr.Dataset:
        """Samples within the windows, in order of time; raises NoStreamError or ConfigError."""

    def end_ns(self, instrument: str) -> int | None:
        """Just after the last sample; None when there is none."""

    def close(self) -> None: ...


def supply_of(thing: Any, station: str | None) -> Supply:
    """For an Archive or its folder, a variometer Dataset, or Datasets of variometer and scalar.

    Raises ConfigError, or NoArchiveError for a folder that is none.
    """
    if isinstance(thing, Archive):
        return ArchiveSupply(thing, station, own=False)
    if isinstance(thing, str | Path):
        return ArchiveSupply(open_archive(thing), station, own=True)
    datasets = [thing] if isinstance(thing, xr.Dataset) else thing
    if isinstance(datasets, Sequence) and datasets and all(isinstance(one, xr.Dataset) for one in datasets):
        return DatasetSupply(datasets, station)
    raise ConfigError(
        f"a {type(thing).__name__} holds no variometer data: give an archive, a Dataset, or (vector, scalar)"
    )


class ArchiveSupply:
    """Raw streams of an archive; adjusted and definitive ones are left out."""

    def __init__(self, archive: Archive, station: str | None, *, own: bool) -> None:
        self.archive, self._own = archive, own
        held = [stream for stream in archive.streams() if station in (None, stream.station)]
        self.station = station or (held[0].station if held else "")
        self._kinds: dict[str, str] = {}
        for stream in held:
            if stream.station == self.station and (kind := _kind(archive, stream)):
                self._kinds[stream.instrument] = kind
        self.vectors = tuple(name for name, kind in self._kinds.items() if kind == "vector")
        self.scalars = tuple(name for name, kind in self._kinds.items() if kind == "scalar")

    def samples(self, instrument: str, windows: Windows) -> xr.Dataset:
        parts = [
            self.archive.dataset(self.station, instrument, int(begin), int(end)) for begin, end in windows
        ]
        parts = [part for part in parts if part.sizes["time"]] or parts[:1]
        if not parts:
            return self.archive.dataset(self.station, instrument, 0, 0)
        return xr.concat(parts, "time", combine_attrs="override") if len(parts) > 1 else parts[0]

    def end_ns(self, instrument: str) -> int | None:
        spans = [
            span
            for stream in self.archive.streams()
            if (stream.station, stream.instrument) == (self.station, instrument)
            and (span := self.archive.span(stream))
        ]
        return max(last for _, last in spans) + 1 if spans else None

    def close(self) -> None:
        if self._own:
            self.archive.close()


class DatasetSupply:
    """Datasets as they are; each is of one instrument, or of a vector merged with its scalar."""

    def __init__(self, datasets: Sequence[xr.Dataset], station: str | None) -> None:
        self._datasets: dict[str, xr.Dataset] = {}
        vectors, scalars = [], []
        for number, dataset in enumerate(datasets):
            if "time" not in dataset.variables:
                raise ConfigError(
                    "the Dataset has no time; wanted one as `open_archive(...).dataset(...)` gives"
                )
            name = str(dataset.attrs.get("instrument", f"instrument{number}"))
            components = [str(one) for one in dataset.data_vars]
            is_vector = len(_VECTOR.intersection(components)) >= 2
            # Of a variometer f is a scalar's reading, too, unless it is one of its own components.
            known = _SCALAR[:1] if {"d", "i", "f"} <= set(components) else _SCALAR
            vectors += [name] if is_vector else []
            scalars += [name] if any(one in components for one in known) else []
            self._datasets[name] = dataset.sortby("time")
        self.station = station or str(datasets[0].attrs.get("station", ""))
        self.vectors, self.scalars = tuple(vectors), tuple(scalars)

    def samples(self, instrument: str, windows: Windows) -> xr.Dataset:
        dataset = self._dataset(instrument)
        time_ns = dataset["time"].values.astype("datetime64[ns]").astype(np.int64)
        ends = np.searchsorted(time_ns, windows.ravel()).reshape(-1, 2)
        inside = [np.arange(low, high) for low, high in ends]
        return dataset.isel(time=np.concatenate(inside) if inside else slice(0, 0))

    def end_ns(self, instrument: str) -> int | None:
        time = self._dataset(instrument)["time"].values
        return int(time[-1].astype("datetime64[ns]").astype(np.int64)) + 1 if time.size else None

    def close(self) -> None:
        return None

    def _dataset(self, instrument: str) -> xr.Dataset:
        if instrument not in self._datasets:
            raise ConfigError(f"no instrument {instrument!r}; there is {', '.join(self._datasets)}")
        return self._datasets[instrument]


def windows_around(time_ns: NDArray[np.int64], end_ns: NDArray[np.int64], margin_ns: int) -> Windows:
    """Windows that hold all of ``[time - margin, end + margin]``; those that touch become one."""
    order = np.argsort(time_ns, kind="stable")
    begin, end = time_ns[order] - margin_ns, np.maximum.accumulate(end_ns[order] + margin_ns + 1)
    first = np.flatnonzero(np.append(True, begin[1:] > end[:-1])) if begin.size else np.zeros(0, np.int64)
    last = np.append(first[1:], begin.size) - 1 if begin.size else first
    return np.stack([begin[first], end[last]], axis=1).astype(np.int64)


def _kind(archive: Archive, stream: Stream) -> str:
    """vector or scalar; empty for what is neither, or is no raw series of field samples."""
    metas = archive.metas(stream)
    if not metas or is_derived(stream) or not np.isfinite(stream.cadence_s):
        return ""
    known = _VECTOR | set(_SCALAR)
    return metas[-1].kind if known.issuperset(metas[-1].components) else ""
