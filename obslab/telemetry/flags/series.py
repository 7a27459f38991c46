"""The components of a Dataset as a detector wants them: known samples only, and where they are broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import FlagError

if TYPE_CHECKING:
    import xarray as xr

_NS = 1_000_000_000
_FACTS = ("station", "instrument", "samplerate")
_GAP = 1.5  # cadences: jitter of half a cadence is no gap

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True)
class Series:
    """One component without its missing samples, in order of time."""

    component: str
    unit: str
    time_ns: Times
    values: Floats
    cadence_ns: int

    @property
    def first(self) -> NDArray[np.intp]:
        """Places at which a stretch without gaps begins; none for no samples."""
        broken = np.diff(self.time_ns) > _GAP * self.cadence_ns
        return np.concatenate([[0], np.flatnonzero(broken) + 1]) if self.time_ns.size else np.empty(0, int)


@dataclass(frozen=True)
class Found:
    """Something in a component: its first sample, the first after it, how high it is, and why."""

    component: str
    begin_ns: int
    end_ns: int
    size: float
    reason: str


def stream_name(dataset: xr.Dataset) -> str:
    """As in ``WIC lemi036 sec``: what flags are kept by. Raises FlagError when it is not said."""
    missing = [name for name in _FACTS if name not in dataset.attrs]
    if missing:
        raise FlagError(
            f"the Dataset has no attribute {', '.join(missing)}, so its flags cannot be kept; "
            "wanted one as `open_archive(...).dataset(...)` gives"
        )
    return " ".join(str(dataset.attrs[name]) for name in _FACTS)


def components_of(dataset: xr.Dataset) -> list[str]:
    """Names of the variables that are components: numbers along ``time``."""
    return [
        str(name)
        for name, array in dataset.data_vars.items()
        if array.dims == ("time",) and array.dtype.kind == "f"
    ]


def series_of(dataset: xr.Dataset) -> Iterator[Series]:
    """Every component of a Dataset of samples."""
    time_ns = dataset["time"].values.astype("datetime64[ns]").astype(np.int64)
    order = np.argsort(time_ns, kind="stable") if (np.diff(time_ns) < 0).any() else slice(None)
    time_ns = time_ns[order]
    for name in components_of(dataset):
        values = np.asarray(dataset[name].values, dtype=np.float64)[order]
        known = np.isfinite(values)
        unit = str(dataset[name].attrs.get("units", ""))
        yield Series(name, unit, time_ns[known], values[known], _cadence_ns(dataset, time_ns))


def flags_of(stream: str, found: Sequence[Found], author: str) -> xr.Dataset:
    """Proposed flags as a table in order of time; their number is 0, since they are in no book yet."""
    from obslab.telemetry.datasets import FLAGS

    found = sorted(found, key=lambda one: (one.begin_ns, one.component))
    count = len(found)

    def text(values: Sequence[str]) -> NDArray[Any]:
        return np.array(values, dtype=str)

    return FLAGS.build(
        id=np.zeros(count, dtype=np.int64),
        stream=text([stream] * count),
        component=text([one.component for one in found]),
        begin=np.array([one.begin_ns for one in found], dtype=np.int64).astype("datetime64[ns]"),
        end=np.array([one.end_ns for one in found], dtype=np.int64).astype("datetime64[ns]"),
        kind=text([author.removeprefix("find_").removesuffix("s")] * count),
        size=np.array([one.size for one in found], dtype=np.float64),
        state=text(["proposed"] * count),
        author=text([author] * count),
        reason=text([one.reason for one in found]),
    )


def _cadence_ns(dataset: xr.Dataset, time_ns: Times) -> int:
    told = float(dataset.attrs.get("cadence_s", np.nan))
    if np.isfinite(told) and told > 0:
        return round(told * _NS)
    return int(np.median(np.diff(time_ns))) if time_ns.size > 1 else _NS
