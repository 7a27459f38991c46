"""A dataset to a DATASET folder that ``load`` reads as it was."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from obslab.jointfit.catalogue.assembly import NORMALISATION, Loaded
from obslab.jointfit.catalogue.fitstable import CatalogueError
from obslab.jointfit.catalogue.fitswriting import Card, write
from obslab.jointfit.catalogue.layout import EXPOSURE_COLUMNS, MEASURED_COLUMNS, REFERENCE_COLUMNS
from obslab.jointfit.datasets import EXPOSURES, REFERENCE
from obslab.jointfit.headers import wcs_cards
from obslab.jointfit.pool import run, threads
from obslab.schema import Schema


def save(loaded: Loaded, path: Path | str) -> Path:
    """Write a dataset to a folder that does not exist yet, or is empty; complete or not at all."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CatalogueError(f"{folder} exists and is not empty; remove it or choose another", path=folder)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "images").mkdir(parents=True)
    _save_images(loaded, part / "images")
    table = loaded.exposures
    write(part / "exposures.fits", "EXPOSURES", *_columns(table, EXPOSURE_COLUMNS, EXPOSURES))
    if loaded.reference is not None:
        write(part / "refcat.fits", "REFCAT", *_columns(loaded.reference, REFERENCE_COLUMNS, REFERENCE))
    if folder.exists():
        folder.rmdir()
    part.rename(folder)
    return folder


def _save_images(loaded: Loaded, folder: Path) -> None:
    stars, table = loaded.measured, loaded.exposures
    if np.any(np.diff(stars["image"].values) < 0):
        stars = stars.isel(measured=np.argsort(stars["image"].values, kind="stable"))
    ends = np.searchsorted(stars.image.values, np.arange(stars.sizes["image"] + 1))
    columns = {name: stars[name].values for name in MEASURED_COLUMNS if name in stars}
    pixels = ("x", "y", "sigma", "sigma_x", "sigma_y")
    units = {MEASURED_COLUMNS[name]: "pixel" for name in pixels if name in columns}
    arrays = {name: stars[name].values for name in ("crval", "start", "mid", "half")}
    exposure, detector = stars.exposure.values.tolist(), stars.detector.values.tolist()
    names = [str(name) for name in stars.name.values]
    facts = {int(number): _facts(table, n) for n, number in enumerate(table.exposure.values)}
    parts = 4 * threads()

    def write_some(part: int) -> None:
        for n in range(part, len(names), parts):
            cards: dict[str, Card] = {**wcs_cards(**{name: values[n] for name, values in arrays.items()})}
            normalisation = [*arrays["mid"][n].tolist(), *arrays["half"][n].tolist()]
            cards |= dict(zip(NORMALISATION, normalisation, strict=True))
            cards |= {"EXPNUM": exposure[n], "CCDNUM": detector[n], **facts[exposure[n]]}
            rows = {MEASURED_COLUMNS[name]: values[ends[n] : ends[n + 1]] for name, values in columns.items()}
            write(folder / f"{names[n]}.fits", "CAT", rows, units, cards)

    run(write_some, parts)


def _facts(table: xr.Dataset, n: int) -> dict[str, Card]:
    """What the headers of an exposure's images say of it."""
    keys = {"mjd": "MJD-OBS", "band": "FILTER", "airmass": "AIRMASS", "parallactic_angle": "PARANG"}
    keys |= {"request": "REQNUM", "observation": "OBSID"}
    facts = {key: table[name].values[n].item() for name, key in keys.items() if name in table}
    return {key: value for key, value in facts.items() if value not in ("", -1)}


def _columns(
    table: xr.Dataset, names: Mapping[str, str], schema: Schema
) -> tuple[dict[str, Any], dict[str, str]]:
    columns = {theirs: table[ours].values for ours, theirs in names.items() if ours in table}
    units = {theirs: schema.variables[ours].units for ours, theirs in names.items()}
    return columns, {name: unit for name, unit in units.items() if name in columns and unit not in ("", "1")}
