"""The table of exposures: when and where each was taken, from the headers of its images.

    headers -> facts of each image -> one row for each exposure, in which its images must agree

In a DATASET, MJD-OBS is mid-exposure. In the headers of others it is the beginning, as FITS has it, and half
the exposure time is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import BadTimeError
from obslab.jointfit.catalogue.assembly import Image
from obslab.jointfit.catalogue.fitstable import CatalogueError
from obslab.jointfit.catalogue.pointing import airmass, parallactic_angle
from obslab.jointfit.datasets import EXPOSURES
from obslab.jointfit.headers import number
from obslab.jointfit.projection import frames, from_plane, sky
from obslab.times import as_utc, mjd

Header = Mapping[str, Any]
DAY_S = 86_400
AGREE_D = 0.05
"""Times of one exposure may differ by so much: an hour holds any exposure, and no other night."""
CLOCKS = ("TIME-OBS", "UTC-OBS", "UTSTART", "UT")
MJD_OF_2000 = 51_544.5

KEYS = {"exposure": "EXPNUM", "detector": "CCDNUM", "band": "FILTER", "instrument": ""}
"""Which card says what; ``instrument``, the instrument epoch, is said by none unless you name one."""


def epoch_of(days: Any) -> Any:
    """Julian years of Modified Julian Dates."""
    return 2000 + (np.asarray(days) - MJD_OF_2000) / 365.25


def from_headers(
    images: Sequence[Image], measured: xr.Dataset, *, middle: bool, keys: Mapping[str, str] = KEYS
) -> xr.Dataset:
    """EXPOSURES of images in order; ``middle``: their MJD-OBS is mid-exposure, as in a DATASET."""
    facts = [_facts(image, middle, {**KEYS, **keys}) for image in images]
    numbers, first, row = np.unique(measured.exposure.values, return_index=True, return_inverse=True)
    for n, image in enumerate(images):
        one = first[row[n]]
        for name in ("band", "instrument", "request", "observation"):
            if facts[n][name] != facts[one][name]:
                raise CatalogueError(
                    f"exposure {image.exposure} has {name} {facts[one][name]!r} in {images[one].file} and "
                    f"{facts[n][name]!r} in {image.file}; an exposure has one",
                    exposure=image.exposure,
                )
        if abs(facts[n]["mjd"] - facts[one]["mjd"]) > AGREE_D:
            raise CatalogueError(
                f"exposure {image.exposure} is of MJD {facts[one]['mjd']:.4f} in {images[one].file} and of "
                f"{facts[n]['mjd']:.4f} in {image.file}; is that image of another exposure?",
                exposure=image.exposure,
            )
    ra, dec = tangent_points(measured, row, len(numbers))
    columns = {name: [facts[n][name] for n in first] for name in facts[0]}
    if all(request < 0 for request in columns["request"]):
        del columns["request"]
    if not any(columns["observation"]):
        del columns["observation"]
    arrays = {name: np.array(values) for name, values in columns.items()}
    return EXPOSURES.build(
        exposure=numbers.astype(np.int32), epoch=epoch_of(arrays["mjd"]), ra=ra, dec=dec, **arrays
    )


def tangent_points(
    measured: xr.Dataset, row: NDArray[np.int64], exposures: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ra, dec (deg) of each exposure: the CRVAL of all its images, else the middle of their middles."""
    crval = measured.crval.values
    middles = from_plane(frames(crval[:, 0], crval[:, 1]), *measured.start.values[:, :, 0].T)
    total = np.zeros((exposures, 3))
    np.add.at(total, row, middles)
    ra, dec = sky(total)
    for n in range(exposures):
        of_this = crval[row == n]
        if np.ptp(of_this, axis=0).max() < 1e-9:
            ra[n], dec[n] = of_this[0]
    return ra, dec


def _facts(image: Image, middle: bool, keys: Mapping[str, str]) -> dict[str, Any]:
    header = image.header
    request = number(header, "REQNUM", image.file, -1)
    return {
        "mjd": number(header, "MJD-OBS", image.file, np.nan) if middle else mid_exposure(header, image.file),
        "airmass": airmass(header, image.file),
        "parallactic_angle": parallactic_angle(header, image.file),
        "band": str(header.get(keys["band"], "")).strip(),
        "instrument": str(header.get(keys["instrument"], "1")).strip(),
        "request": int(request),
        "observation": str(header.get("OBSID", "")).strip(),
    }


def mid_exposure(header: Header, name: str) -> float:
    """MJD (UTC) of the middle of the exposure; an error where the header has no time of day."""
    for key in ("MJD-MID", "MJD-AVG"):
        if key in header:
            return number(header, key, name)
    if "DATE-AVG" in header:
        return _mjd_of_text(str(header["DATE-AVG"]), "DATE-AVG", name)
    lasted = [key for key in ("EXPTIME", "XPOSURE", "EXPOSURE") if key in header]
    half_d = number(header, lasted[0], name) / 2 / DAY_S if lasted else 0.0
    for key in ("MJD-OBS", "MJD-BEG"):
        if key in header:
            return number(header, key, name) + half_d
    for key in ("DATE-OBS", "DATE-BEG"):
        if key in header:
            text = str(header[key])
            clock = next((str(header[key]) for key in CLOCKS if key in header), "")
            if "T" not in text and ":" in clock:
                text = f"{text.strip()}T{clock.strip()}"
            return _mjd_of_text(text, key, name) + half_d
    raise CatalogueError(
        f"{name}: its header has no MJD-OBS and no DATE-OBS; add one in an .ahead file beside the catalogue",
        name=name,
    )


def _mjd_of_text(text: str, key: str, name: str) -> float:
    wrong = f"{name}: {key} is {text!r}, wanted date and time such as 2024-05-10T17:05:00; or give MJD-OBS"
    if "T" not in text:
        raise CatalogueError(wrong, name=name, key=key)
    try:
        return float(mjd(as_utc(text.strip().removesuffix("Z") + "Z")))
    except BadTimeError as error:
        raise CatalogueError(wrong, name=name, key=key) from error
