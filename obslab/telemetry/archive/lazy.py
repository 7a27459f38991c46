"""Datasets and summaries by the day, with Dask: nothing is read until it is computed, then in parallel.

``time`` of a lazy Dataset is a coordinate without an index, since an index would read every day. Choose the
interval when opening it, by ``isel``, or with ``.where``; ``dataset.set_xindex("time")`` reads the times and
then allows ``sel``. On a cluster the workers must see the archive's folder under the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from obslab.errors import NoLabError
from obslab.telemetry.archive.union import Day
from obslab.telemetry.datasets import samples_facts, samples_schema
from obslab.telemetry.readings import Stored, component_units, decode
from obslab.telemetry.sample import Meta, Stream
from obslab.times import NS_PER_DAY, from_ns

if TYPE_CHECKING:
    import xarray as xr


def lazy_dataset(
    stream: Stream, metas: tuple[Meta, ...], days: Sequence[Day], begin_ns: int, end_ns: int
) -> xr.Dataset:
    """The Dataset of ``samples_dataset`` with one Dask chunk for each day; ``days`` in order.

    A day that the interval cuts is read at once: nobody knows else how long it is.
    """
    import xarray as xr

    dask, array = _dask()
    units = component_units(_in_force(metas, days))
    meta = metas[-1] if metas else None
    schema = samples_schema(units)
    names = [name for name in schema.variables if name != "quality" or (meta and meta.kind == "scalar")]
    pieces: dict[str, list[Any]] = {name: [] for name in names}
    for day in days:
        whole = begin_ns <= day.day_ns and day.day_ns + NS_PER_DAY <= end_ns
        if day.chunk is None or len(day.hot) or not whole:
            columns = _columns(day.stream, metas, day.load().between(begin_ns, end_ns), units)
            for name in names:
                pieces[name].append(array.from_array(columns[name], chunks=-1))
            continue
        # One task reads the day, and each variable takes its part: computed together it is read once.
        read = dask.delayed(_read, pure=True)(day, metas, units)
        for name in names:
            dtype = schema.variables[name].dtype
            pieces[name].append(array.from_delayed(read[name], (day.chunk.n,), dtype))
    variables = {}
    for name in names:
        var = schema.variables[name]
        data = array.concatenate(pieces[name]) if pieces[name] else np.empty(0, var.dtype)
        variables[name] = xr.Variable(("time",), data, var.attrs)
    time = xr.Coordinates({"time": variables.pop("time")}, indexes={})
    return xr.Dataset(variables, coords=time, attrs=samples_facts(stream, meta))


def for_each(function: Callable[..., Any], days: Sequence[Day], *rest: Any) -> list[Any]:
    """``function(day, *rest)`` of each day: on the Dask cluster it is a client of, or in threads."""
    dask, _ = _dask()
    task = dask.delayed(function, pure=False, traverse=False)
    return list(dask.compute(*(task(day, *rest) for day in days)))


def _read(day: Day, metas: tuple[Meta, ...], units: dict[str, str]) -> dict[str, Any]:
    return _columns(day.stream, metas, day.load(), units)


def _columns(
    stream: Stream, metas: tuple[Meta, ...], stored: Stored, units: dict[str, str]
) -> dict[str, Any]:
    readings = decode(stream, metas, stored, units)
    return {
        "time": from_ns(readings.time_ns),
        "arrival": from_ns(readings.arrival_ns),
        "quality": readings.quality,
        **{name: np.ascontiguousarray(readings.values[:, i]) for i, name in enumerate(units)},
    }


def _in_force(metas: tuple[Meta, ...], days: Sequence[Day]) -> Sequence[Meta]:
    """The versions that may be in force on any of these days."""
    if not days:
        return metas[-1:]
    first_ns, end_ns = days[0].day_ns, days[-1].day_ns + NS_PER_DAY
    ends = [meta.valid_from_ns for meta in metas[1:]] + [end_ns]
    return [
        meta
        for meta, until_ns in zip(metas, ends, strict=True)
        if meta.valid_from_ns < end_ns and until_ns > first_ns
    ] or metas[-1:]


def _dask() -> tuple[Any, Any]:
    try:
        import dask
        import dask.array
    except ImportError:
        raise NoLabError(
            "reading lazily needs Dask, which is not installed: pip install 'obslab[archive]'"
        ) from None
    return dask, dask.array
