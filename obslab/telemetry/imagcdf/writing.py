"""A Dataset of samples as an ImagCDF file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import BadTimeError, RecordingError
from obslab.telemetry.grid import UNITS, Grid
from obslab.telemetry.imagcdf.attributes import FIELD, FILL, entries_of
from obslab.telemetry.imagcdf.tt2000 import to_tt2000
from obslab.telemetry.plain import plain
from obslab.times import iso, now_ns
from obslab.whole import unfinished

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

_WHAT = "ImagCDF"
_TIMES = "DataTimes"
_TEMPERATURE = re.compile(r"temperature([1-9]\d?)")
_NT = (-88_880.0, 88_880.0)
_LIMITS = {
    **dict.fromkeys("xyzeg", _NT),
    **dict.fromkeys("hfs", (0.0, 88_880.0)),
    "d": (-360.0, 360.0),
    "i": (-90.0, 90.0),
}
_COMPRESS = 1  # of gzip's 1 to 9: a day of seconds in 0.06 s; 6 takes three times that and saves nothing


def write(dataset: xr.Dataset, path: str | Path, *, now: Callable[[], int] = now_ns) -> Path:
    """Write x y z, h d z, h e z, d i f or a scalar alone, with f, s or g beside; times that lack are filled.

    A scalar alone is written as S, the letter of an independent instrument. ``temperature1`` and so on, in
    degC, are written too; other variables (arrival, quality) are left out. Of the attributes, ``station``
    must be there; others that ``read`` gives are written when they are. ``now`` gives the publication's date.
    The file is there whole or not at all. Raises FrameError for components and units that the format does not
    hold, RecordingError for times, values and attributes that it does not.
    """
    import cdflib

    grid = Grid.of(dataset, _WHAT)
    try:
        times = to_tt2000(grid.time_ns)
        published = int(to_tt2000(np.array([now()]))[0])
    except BadTimeError as error:
        raise RecordingError(f"{_WHAT}: {error.message}") from error
    letters = {letter: letter if grid.frame else "s" for letter in grid.frame + grid.scalar}
    elements = "".join(letters.values()).upper()
    attrs = {"orientation": grid.frame, **dataset.attrs} if grid.frame else dataset.attrs
    entries = entries_of(attrs, grid.station, elements, published)
    variables = [
        (FIELD + letter.upper(), *_element(grid, ours, letter)) for ours, letter in letters.items()
    ] + _temperatures(dataset, grid)
    with unfinished(Path(path), ".cdf") as file:
        cdf = cdflib.cdfwrite.CDF(file, cdf_spec={"Compressed": False})
        cdf.write_globalattrs(entries)
        cdf.write_var(_spec(_TIMES, cdf.CDF_TIME_TT2000), var_data=times)
        for name, about, values in variables:
            cdf.write_var(_spec(name, cdf.CDF_DOUBLE), var_attrs=about, var_data=values)
        cdf.close()
    return Path(path)


def _element(grid: Grid, ours: str, letter: str) -> tuple[dict[str, Any], Floats]:
    angle = UNITS[ours] == "arcmin"
    values = grid.values[ours] / 60.0 if angle else grid.values[ours]
    low, high = _NT if grid.frame == "hez" else _LIMITS[letter]  # a variometer's h may be less than none
    wrong = (values < low) | (values > high)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise RecordingError(
            f"{_WHAT}: {ours} at {iso(int(grid.time_ns[at]))} is {values[at]:g} {'deg' if angle else 'nT'}, "
            f"not within {low:g} to {high:g}",
            field=ours,
        )
    name = f"Geomagnetic Field Element {letter.upper()}"
    return _about(name, "Degrees of arc" if angle else "nT", (low, high), letter.upper()), _filled(values)


def _temperatures(dataset: xr.Dataset, grid: Grid) -> list[tuple[str, dict[str, Any], Floats]]:
    found = []
    for name in dataset.data_vars:
        told = _TEMPERATURE.fullmatch(str(name))
        if not told:
            continue
        unit = dataset[name].attrs.get("units")
        if unit != "degC" or dataset[name].dims != ("time",):
            raise RecordingError(
                f"{_WHAT}: {name} is in {unit!r} along {dataset[name].dims}, wanted degC, time"
            )
        where = plain(dataset[name].attrs.get("description") or name, str(name), _WHAT)
        about = _about(where, "Celsius", (-273.15, 1000.0), f"Temperature{told[1]}")
        found.append((f"Temperature{told[1]}", about, _filled(grid.spread(dataset[name].values))))
    return found


def _about(name: str, unit: str, limits: tuple[float, float], label: str) -> dict[str, Any]:
    return {
        "FIELDNAM": name,
        "UNITS": unit,
        "FILLVAL": [FILL, "CDF_DOUBLE"],
        "VALIDMIN": [limits[0], "CDF_DOUBLE"],
        "VALIDMAX": [limits[1], "CDF_DOUBLE"],
        "DEPEND_0": _TIMES,
        "DISPLAY_TYPE": "time_series",
        "LABLAXIS": label,
    }


def _filled(values: Floats) -> Floats:
    return np.where(np.isnan(values), FILL, values)


def _spec(name: str, kind: int) -> dict[str, Any]:
    return {
        "Variable": name,
        "Data_Type": kind,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": [],
        "Compress": _COMPRESS,
    }
