"""``source_of``: the source of a live view for whatever a user has: archive, broker, or Dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from obslab.config import broker_at
from obslab.errors import ConfigError
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.live.following import ArchiveSource
from obslab.telemetry.live.listening import BrokerSource
from obslab.telemetry.live.ring import Ring
from obslab.telemetry.live.source import Condition, Rings, Source
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Meta, Stream

if TYPE_CHECKING:
    import xarray as xr


def source_of(thing: object, *, history: object = None, topics: tuple[str, ...] = ("#",)) -> Source:
    """The source for an Archive (or its folder), a broker URL, a Dataset, or a list of Datasets.

    ``history`` is the archive from which a broker's live view is filled. Raises ConfigError.
    """
    import xarray as xr

    if isinstance(thing, xr.Dataset):
        return DatasetSource([thing])
    if isinstance(thing, list) and thing and all(isinstance(one, xr.Dataset) for one in thing):
        return DatasetSource(thing)
    if isinstance(thing, str) and "://" in thing:  # another scheme is refused there, and not repeated
        return BrokerSource(broker_at(thing), topics, _archive_of(history) if history is not None else None)
    return ArchiveSource(_archive_of(thing))


class DatasetSource:
    """Datasets as they are: nothing moves."""

    live = False
    clocked = False

    def __init__(self, datasets: list[xr.Dataset]) -> None:
        self._rings = Rings()
        for dataset in datasets:
            self._rings.add(_readings_of(dataset))

    def start(self, changed: Callable[[], None]) -> None:
        changed()

    def stop(self) -> None:
        return None

    def rings(self) -> list[Ring]:
        return self._rings.all()

    def meta(self, stream: Stream) -> Meta | None:
        return None

    def condition(self) -> Condition:
        return Condition("ok", "a dataset, not live")

    def reach(self, window_s: float) -> None:
        return None


def _archive_of(thing: object) -> Archive:
    if isinstance(thing, Archive):
        return thing
    if isinstance(thing, str | Path):
        return open_archive(thing)
    raise ConfigError(f"a {type(thing).__name__} is no source: give an archive, a broker URL or a Dataset")


def _readings_of(dataset: xr.Dataset) -> Readings:
    facts = ("station", "instrument", "samplerate")
    missing = [name for name in facts if name not in dataset.attrs]
    missing += [] if "time" in dataset.variables else ["time"]
    if missing:
        raise ConfigError(
            f"the Dataset has no {', '.join(missing)}; wanted one as `open_archive(...).dataset(...)` gives"
        )
    stream = Stream(*(str(dataset.attrs[name]) for name in facts))
    time_ns = dataset["time"].values.astype("datetime64[ns]").astype(np.int64)
    fields: Mapping[str, xr.DataArray] = {
        str(name): array
        for name, array in dataset.data_vars.items()
        if array.dims == ("time",) and array.dtype.kind == "f"
    }
    if not fields:
        raise ConfigError(f"the Dataset of {stream} has no variable of numbers along time")
    arrival = dataset["arrival"].values.astype(np.int64) if "arrival" in dataset else time_ns
    return Readings(
        stream,
        tuple(fields),
        tuple(str(array.attrs.get("units", "")) for array in fields.values()),
        time_ns,
        arrival,
        np.stack([array.values for array in fields.values()], axis=1),
        np.zeros(time_ns.size, dtype=np.uint8),
    )
