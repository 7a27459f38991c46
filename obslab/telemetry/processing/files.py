"""The exchange formats: how a file of each is named, and who writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from obslab.errors import ConfigError
from obslab.telemetry import impf
from obslab.telemetry.adjusted import UNITS
from obslab.telemetry.derived import RECORDED
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime
from obslab.times import NS_PER_DAY, NS_PER_S, iso, to_ns
from obslab.whole import unfinished, write_whole

if TYPE_CHECKING:
    import xarray as xr

_TYPES = {1: "v", 2: "p", 3: "q", 4: "d"}  # variation, provisional, quasi-definitive, definitive
_CADENCES = {"sec": "pt1s", "min": "pt1m"}
_RESOLUTION = {"nT": 1e-3, "arcmin": 1e-4}  # of the integers in netCDF: 1 pT, and 2 pT at 60,000 nT
_MISSING = -(2**31)


@dataclass(frozen=True)
class Format:
    """One of the formats: a file ``daily``, or one for all; ``name`` of the file by its begin and end."""

    daily: bool
    name: Callable[[Stream, int, int, int], str]
    write: Callable[[xr.Dataset, Path], object]


def format_of(name: str) -> Format:
    """Raises ConfigError for a format that is not known."""
    if name not in FORMATS:
        raise ConfigError(f"--format {name!r} is none of {', '.join(FORMATS)}")
    return FORMATS[name]


def _iaga_name(stream: Stream, level: int, begin_ns: int, _: int) -> str:
    """As the IAGA advises: ``wic20240510vsec.sec``."""
    return f"{stream.station.lower()}{_day(begin_ns)}{_TYPES[level]}{stream.samplerate}.{stream.samplerate}"


def _imagcdf_name(stream: Stream, level: int, begin_ns: int, end_ns: int) -> str:
    """As the manual has it for ImagCDF 1.30: ``wic_20240510_pt1s_1.cdf``, and of a part of a day
    ``wic_20240510_100000_pt1s_1.cdf``."""
    clock = "" if end_ns - begin_ns == NS_PER_DAY else "_" + iso(begin_ns)[11:19].replace(":", "")
    return f"{stream.station.lower()}_{_day(begin_ns)}{clock}_{_cadence(stream)}_{level}.cdf"


def _impf_name(stream: Stream, level: int, begin_ns: int, _: int) -> str:
    return f"{stream.station.lower()}_{_day(begin_ns)}_{_cadence(stream)}_{level}_impf.jsonl"


def _netcdf_name(stream: Stream, level: int, begin_ns: int, _: int) -> str:
    return f"{stream.station.lower()}_{stream.instrument}_{stream.samplerate}_{_day(begin_ns)}.nc"


def _write_iaga(dataset: xr.Dataset, path: Path) -> None:
    from obslab.telemetry import iaga2002

    iaga2002.write(dataset, path)


def _write_imagcdf(dataset: xr.Dataset, path: Path) -> None:
    from obslab.telemetry import imagcdf

    imagcdf.write(dataset, path)


def _write_impf(dataset: xr.Dataset, path: Path) -> None:
    """A line for each message: ``{"topic": ..., "payload": {...}}``, of the vector and of the scalar."""
    stream = Stream(dataset.attrs["station"], dataset.attrs["instrument"], dataset.attrs["samplerate"])
    vector = tuple(name for name in map(str, dataset.data_vars) if name in "xyzhedif")
    beside, lines = "XYZ", []
    for names in [vector, *[(name,) for name in ("s",) if name in dataset.data_vars]]:
        table = np.stack([dataset[name].values for name in names], axis=1)
        there = ~np.isnan(table).all(axis=1)
        if not names or not there.any():
            continue
        meta = _meta(dataset, names)
        topic = impf.topic_of(stream, meta, dataset.attrs.get("publication_level", RECORDED), beside)
        beside = topic.rsplit("/", 1)[-1].removesuffix("s") if len(names) == 3 else beside
        time_ns = to_ns(dataset.time.values)
        payload = impf.encode(stream, meta, time_ns, table, impf.facts_of(meta))
        lines.append(f'{{"topic":{json.dumps(topic)},"payload":{payload.decode()}}}\n')
    write_whole(path, "".join(lines).encode())


def _meta(dataset: xr.Dataset, names: tuple[str, ...]) -> Meta:
    known = ("site", "latitude_deg", "longitude_deg", "elevation_m", "attribution")
    facts: dict[str, Any] = {name: dataset.attrs[name] for name in known if name in dataset.attrs}
    return Meta(
        format=FORMAT,
        valid_from=as_datetime(0),
        kind="vector" if len(names) == 3 else "scalar",
        components=names,
        units=tuple(dataset[name].attrs.get("units", UNITS[name]) for name in names),
        scale=_RESOLUTION["nT"],
        orientation=dataset.attrs.get("orientation", "") if len(names) == 3 else "",
        **facts,
    )


def _write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """CF: integers with scale_factor and _FillValue, times as whole seconds since 1970 if they all are."""
    whole = not (to_ns(dataset.time.values) % NS_PER_S).any()
    unit = "seconds" if whole else "nanoseconds"
    since = f"{unit} since 1970-01-01T00:00:00"
    encoding: dict[Any, dict[str, Any]] = {"time": {"units": since, "dtype": "int64", "calendar": "standard"}}
    for name in dataset.data_vars:
        encoding[name] = {
            "dtype": "int32",
            "scale_factor": _RESOLUTION[dataset[name].attrs.get("units", "nT")],
            "_FillValue": np.int32(_MISSING),
            "zlib": True,
            "shuffle": True,
        }
    facts = {"Conventions": "CF-1.11", **dataset.attrs}
    with unfinished(path) as draft:
        dataset.assign_attrs(facts).to_netcdf(draft, engine="netcdf4", encoding=encoding)


def _day(time_ns: int) -> str:
    return iso(time_ns)[:10].replace("-", "")


def _cadence(stream: Stream) -> str:
    return _CADENCES[stream.samplerate]


FORMATS = {
    "iaga2002": Format(True, _iaga_name, _write_iaga),
    "imagcdf": Format(True, _imagcdf_name, _write_imagcdf),
    "impf": Format(True, _impf_name, _write_impf),
    "netcdf": Format(False, _netcdf_name, _write_netcdf),
}
