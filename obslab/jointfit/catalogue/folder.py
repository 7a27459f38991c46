"""A DATASET folder: images/eEEE_cCC.fits, exposures.fits and, where there is one, refcat.fits.

What the files leave out (filters, requests, the size of the images) is taken from the headers of the images
or from their measurements. What two of them say differently is an error.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from obslab.errors import ObslabError
from obslab.jointfit.catalogue.assembly import Image, Loaded, in_order, measured
from obslab.jointfit.catalogue.exposures import AGREE_D, KEYS, epoch_of, from_headers
from obslab.jointfit.catalogue.fitstable import CatalogueError, FitsFile, read, read_all
from obslab.jointfit.catalogue.layout import EXPOSURE_COLUMNS, MEASURED_COLUMNS
from obslab.jointfit.catalogue.references import reference
from obslab.jointfit.catalogue.subsets import subset
from obslab.jointfit.datasets import EXPOSURES
from obslab.jointfit.headers import number

log = logging.getLogger(__name__)

_NAME = re.compile(r"e(\d+)_c(\d+)")


class NoDatasetError(ObslabError, FileNotFoundError):
    """A folder that is not a DATASET of a joint fit."""


def load(
    path: Path | str,
    *,
    exposures: Iterable[int] | None = None,
    detectors: Iterable[int] | None = None,
    bands: Iterable[str] | None = None,
    nights: Iterable[Any] | None = None,
    fields: Iterable[int] | None = None,
    instrument_key: str = "",
) -> Loaded:
    """The dataset in a folder, or the part of it that ``subset`` would leave.

    ``instrument_key`` is the card whose value is the instrument epoch, such as QRUNID; else the column
    INSTRUMENT of exposures.fits says it, else there is one epoch, "1".
    """
    folder = Path(path)
    inside = folder / "images"
    names = sorted(os.listdir(inside)) if inside.is_dir() else []
    paths = [inside / name for name in names if name.endswith(".fits")]
    if not paths:
        raise NoDatasetError(
            f"{folder} is no dataset: it has no images/*.fits; `obslab jointfit import` makes one",
            path=folder,
        )
    wanted = None if exposures is None else {int(number) for number in exposures}
    only = None if detectors is None else {int(number) for number in detectors}
    images = in_order(
        [
            image
            for image in map(_image, read_all(paths))
            if (wanted is None or image.exposure in wanted) and (only is None or image.detector in only)
        ]
    )
    if not images:
        raise NoDatasetError(
            f"{folder} has no image of exposures {exposures or 'all'} and detectors {detectors or 'all'}",
            path=folder,
        )
    stars = measured(images)
    table = _exposures(folder, images, stars, instrument_key)
    loaded = Loaded(stars, _reference(folder), table)
    if bands is None and nights is None and fields is None:
        return loaded
    return subset(loaded, bands=bands, nights=nights, fields=fields)


def _image(file: FitsFile) -> Image:
    rows = file.table("CAT").rows
    names = rows.dtype.names or ()
    where = str(file.path)
    columns = {ours: rows[theirs] for ours, theirs in MEASURED_COLUMNS.items() if theirs in names}
    if "sigma" not in columns and "sigma_x" in columns and "sigma_y" in columns:
        columns["sigma"] = np.sqrt((columns["sigma_x"] ** 2 + columns["sigma_y"] ** 2) / 2)
    columns.setdefault("flags", np.zeros(len(rows), np.int32))
    columns.setdefault("id", np.arange(1, len(rows) + 1))
    for name in ("x", "y", "sigma", "flux", "flux_error"):
        if name not in columns:
            raise CatalogueError(
                f"{where}: its table has no column {MEASURED_COLUMNS[name]}; it has {', '.join(names)}",
                path=file.path,
            )
    named = _NAME.match(file.path.stem)
    defaults = map(int, named.groups()) if named else (None, None)
    exposure, detector = (
        int(number(file.header, KEYS[name], where, default))
        for name, default in zip(("exposure", "detector"), defaults, strict=True)
    )
    return Image(where, file.path.stem, file.header, exposure, detector, columns)


def _exposures(folder: Path, images: list[Image], stars: xr.Dataset, instrument_key: str) -> xr.Dataset:
    """exposures.fits, completed by the headers, which must not contradict it; or the headers alone."""
    by_headers = from_headers(images, stars, middle=True, keys={"instrument": instrument_key})
    path = folder / "exposures.fits"
    if not path.exists():
        if by_headers.mjd.isnull().any():
            nameless = int(by_headers.exposure.values[by_headers.mjd.isnull().values][0])
            raise CatalogueError(
                f"{folder} has no exposures.fits, and exposure {nameless} no MJD-OBS", path=folder
            )
        return by_headers
    rows = read(path).table("EXPOSURES").rows
    names = rows.dtype.names or ()
    for column in ("EXP", "MJD", "RA0", "DEC0"):
        if column not in names:
            raise CatalogueError(
                f"{path}: its table has no column {column}; it has {', '.join(names)}", path=path
            )
    numbers = by_headers.exposure.values
    at = {int(number): n for n, number in enumerate(rows["EXP"])}
    if len(at) < len(rows):
        raise CatalogueError(f"{path} lists an exposure twice", path=path)
    missing = sorted(set(numbers.tolist()) - set(at))
    if missing:
        raise CatalogueError(
            f"{path} has no exposure {missing[0]}, which {folder / 'images'} has; add its row, or remove the "
            "file to take times and pointings from the headers",
            path=path,
        )
    without = sorted(set(at) - set(numbers.tolist()))
    if without:
        log.info("%s: exposures %s have no image here and are left out", path, without)
    chosen = rows[[at[number] for number in numbers.tolist()]]
    columns: dict[str, Any] = {str(name): by_headers[name].values for name in by_headers.variables}
    for ours, theirs in EXPOSURE_COLUMNS.items():
        if theirs in names and not (ours == "instrument" and instrument_key):
            values = chosen[theirs]
            columns[ours] = _text(values) if EXPOSURES.variables[ours].dtype == "str" else _native(values)
    if "EPOCH" not in names:
        columns["epoch"] = epoch_of(columns["mjd"])
    _check_times(path, by_headers, columns)
    return EXPOSURES.build(**columns)


def _check_times(path: Path, by_headers: xr.Dataset, columns: Mapping[str, Any]) -> None:
    apart = np.flatnonzero(np.abs(by_headers.mjd.values - columns["mjd"]) > AGREE_D)
    if apart.size:
        n = apart[0]
        raise CatalogueError(
            f"{path}: exposure {columns['exposure'][n]} is of MJD {columns['mjd'][n]:.4f}, by MJD-OBS of its "
            f"images of {by_headers.mjd.values[n]:.4f}; correct one",
            path=path,
        )
    apart = np.flatnonzero(~(np.abs(epoch_of(columns["mjd"]) - columns["epoch"]) < 0.01))
    if apart.size:
        n = apart[0]
        raise CatalogueError(
            f"{path}: exposure {columns['exposure'][n]} has EPOCH {columns['epoch'][n]:.4f} but MJD "
            f"{columns['mjd'][n]:.4f}, which is {epoch_of(columns['mjd'][n]):.4f}",
            path=path,
        )


def _reference(folder: Path) -> xr.Dataset | None:
    path = folder / "refcat.fits"
    if not path.exists():
        return None
    table = read(path).table("REFCAT")
    return reference({name: table.rows[name] for name in table.rows.dtype.names or ()}, table.units, path)


def _native(values: Any) -> Any:
    return values.astype(values.dtype.newbyteorder("="))


def _text(values: Any) -> Any:
    if values.dtype.kind == "S":
        return np.char.rstrip(np.char.decode(values, "latin-1"))
    return np.array([str(value) for value in values.tolist()], np.str_)
