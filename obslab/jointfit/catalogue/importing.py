"""Catalogues of others to a dataset: SExtractor's FITS_LDAC with SCAMP's headers, plain tables with a WCS.

files -> parts (one an image) -> measurements -> numbers of exposure and detector -> Loaded
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import xarray as xr

from obslab.jointfit.catalogue.assembly import Image, Loaded, in_order, measured
from obslab.jointfit.catalogue.exposures import KEYS, from_headers
from obslab.jointfit.catalogue.fitstable import CatalogueError, read
from obslab.jointfit.catalogue.ldac import Part, is_ldac, parts
from obslab.jointfit.catalogue.measurements import measurements
from obslab.jointfit.catalogue.plain import part
from obslab.jointfit.catalogue.references import read_reference
from obslab.jointfit.catalogue.tablefile import is_fits
from obslab.jointfit.headers import number

_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def import_catalogues(
    paths: Iterable[Path | str],
    *,
    reference: Path | str | xr.Dataset | None = None,
    epoch: float | None = None,
    position_error_mas: float | None = None,
    reference_columns: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    keys: Mapping[str, str] | None = None,
    headers: Sequence[Path | str] | None = None,
    minimum_error_pixel: float = 0.0,
    first_pixel: int = 1,
) -> Loaded:
    """A dataset of catalogues: a file is an exposure (LDAC, with all its detectors) or an image (all others).

    ``reference``   a catalogue; ``epoch`` (Julian year) and ``position_error_mas`` say what it lacks,
                    ``reference_columns`` names its columns by hand: ``{"mag": "JMAG"}``
    ``columns``     the same for the catalogues, as ``measurements.TAKEN`` says: ``{"flux": "FLUX_PSF", ...}``
    ``keys``        header cards for "exposure", "detector", "band", "instrument" (the instrument epoch)
    ``headers``     files with the headers of plain tables, in their order; else those of the same names
    ``minimum_error_pixel``   smaller errors become this; catalogues without errors get it
    ``first_pixel`` what the centre of the first pixel is in the catalogues: 1, or 0 where NumPy counted

    Exposures are numbered by EXPNUM, else by the order of the files from 1; detectors by CCDNUM, else by the
    last number in EXTNAME, else by their order in the file from 1. A way counts if all images allow it.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise CatalogueError("no catalogues to import: the list of files is empty")
    if headers is not None and len(headers) != len(files):
        raise CatalogueError(f"{len(headers)} headers for {len(files)} catalogues, wanted one for each")
    keys = {**KEYS, **(keys or {})}
    found: list[tuple[int, Part]] = []
    for n, file in enumerate(files, 1):
        header = None if headers is None else Path(headers[n - 1])
        found += [(n, image) for image in _parts(file, header)]
    images = [
        Image(
            image.where,
            "",
            image.header,
            exposure,
            detector,
            measurements(
                image.columns,
                image.where,
                chosen=columns or {},
                minimum_error_pixel=minimum_error_pixel,
                first_pixel=first_pixel,
            ),
        )
        for (_, image), exposure, detector in zip(
            found, _exposures(found, keys["exposure"]), _detectors(found, keys["detector"]), strict=True
        )
    ]
    images = [
        replace(image, name=f"e{image.exposure:03d}_c{image.detector:02d}") for image in in_order(images)
    ]
    stars = measured(images)
    table = from_headers(images, stars, middle=False, keys=keys)
    if reference is not None and not isinstance(reference, xr.Dataset):
        reference = read_reference(
            reference, epoch=epoch, position_error_mas=position_error_mas, names=reference_columns
        )
    return Loaded(stars, reference, table)


def _parts(file: Path, header: Path | None) -> list[Part]:
    if is_fits(file):
        content = read(file)
        if is_ldac(content):
            return parts(content)
    return [part(file, header)]


def _exposures(found: Sequence[tuple[int, Part]], key: str) -> list[int]:
    if all(key in image.header for _, image in found):
        return [_whole(image, key) for _, image in found]
    return [n for n, _ in found]


def _detectors(found: Sequence[tuple[int, Part]], key: str) -> list[int]:
    if all(key in image.header for _, image in found):
        return [_whole(image, key) for _, image in found]
    named = [_LAST_NUMBER.search(str(image.header.get("EXTNAME", ""))) for _, image in found]
    numbers = [int(match[1]) for match in named if match]
    places = {(n, number) for (n, _), number in zip(found, numbers, strict=False)}
    if len(numbers) == len(found) == len(places):
        return numbers
    return [image.number for _, image in found]


def _whole(image: Part, key: str) -> int:
    value = number(image.header, key, image.where)
    if value != int(value) or not 0 <= value < 2**31:
        raise CatalogueError(f"{image.where}: {key} is {value}, wanted a whole number from 0", key=key)
    return int(value)
