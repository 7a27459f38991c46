"""Parts of a loaded dataset: of some exposures, detectors, bands, nights or fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.catalogue.assembly import Loaded
from obslab.jointfit.projection import frames, from_plane, unit_vectors

MJD_OF_1970 = 40_587


class NothingLeftError(ObslabError, LookupError):
    """A choice of exposures, detectors, bands, nights or fields that no image is in."""


def subset(
    loaded: Loaded,
    *,
    exposures: Iterable[int] | None = None,
    detectors: Iterable[int] | None = None,
    bands: Iterable[str] | None = None,
    nights: Iterable[Any] | None = None,
    fields: Iterable[int] | None = None,
    longitude_deg: float = 0.0,
) -> Loaded:
    """The images that are in all the choices given; the reference is kept whole.

    Nights are dates as ``nights_of`` gives them, ``"2024-05-10"`` or datetime64; fields are numbers as
    ``fields_of`` gives them.
    What an image keeps does not change, its normalisation included.
    """
    measured, table = loaded.measured, loaded.exposures
    taken = np.ones(table.sizes["exposure"], bool)
    said = []
    choices: tuple[tuple[str, Iterable[Any] | None, Any], ...] = (
        ("exposures", exposures, lambda: table.exposure.values),
        ("bands", bands, lambda: table.band.values.astype(str)),
        ("nights", nights, lambda: nights_of(table, longitude_deg)),
        ("fields", fields, lambda: fields_of(measured, table)),
    )
    for name, wanted, found in choices:
        if wanted is not None:
            values = found()
            chosen = [wanted] if isinstance(wanted, str) else list(wanted)
            taken &= np.isin(values, np.array(chosen, values.dtype if values.dtype.kind == "M" else None))
            said.append(f"{name} {chosen} of {[str(value) for value in np.unique(values)]}")
    images = np.isin(measured.exposure.values, table.exposure.values[taken])
    if detectors is not None:
        chosen = list(detectors)
        images &= np.isin(measured.detector.values, chosen)
        said.append(f"detectors {chosen} of {np.unique(measured.detector.values).tolist()}")
    if not images.any():
        raise NothingLeftError(f"no image is in {' and '.join(said) or 'the dataset'}")
    number = np.cumsum(images, dtype=np.int32) - 1
    rows = np.flatnonzero(images[measured.image.values])
    part = measured.isel(measured=rows, image=np.flatnonzero(images))
    part["image"] = ("measured", number[measured.image.values[rows]], measured["image"].attrs)
    return Loaded(
        part, loaded.reference, table.isel(exposure=np.isin(table.exposure.values, part.exposure.values))
    )


def nights_of(exposures: xr.Dataset, longitude_deg: float = 0.0) -> NDArray[np.datetime64]:
    """The date on whose noon each exposure's night began, datetime64[D].

    The noon is that of Greenwich unless you give a longitude, east positive. In Europe, Africa and Chile that
    will do; in Hawaii or Australia it falls into the night.
    """
    day = np.floor(exposures.mjd.values + longitude_deg / 360 - 0.5).astype(np.int64)
    return np.asarray((day - MJD_OF_1970).astype("datetime64[D]"))


def fields_of(measured: xr.Dataset, exposures: xr.Dataset) -> NDArray[np.int64]:
    """The field of each exposure: exposures whose circles around all their detectors overlap share one.

    Fields are numbered from 0 in the order of their first exposures.
    """
    from scipy.sparse.csgraph import connected_components

    row = np.searchsorted(exposures.exposure.values, measured.exposure.values)
    crval, start = measured.crval.values, measured.start.values
    frame = frames(crval[:, 0], crval[:, 1])
    corners = [
        from_plane(frame, *(start[:, :, 0] + i * start[:, :, 1] + j * start[:, :, 2]).T)
        for i, j in ((-1, -1), (-1, 1), (1, -1), (1, 1))
    ]
    centre = unit_vectors(exposures.ra.values, exposures.dec.values)
    radius = np.zeros(len(centre))
    for corner in corners:
        away = 2 * np.arcsin(np.clip(np.linalg.norm(corner - centre[row], axis=1) / 2, 0, 1))
        np.maximum.at(radius, row, away)
    cosine = np.clip(centre @ centre.T, -1, 1)
    touching = np.arccos(cosine) < radius[:, None] + radius[None, :]
    _, label = connected_components(touching, directed=False)
    _, first = np.unique(label, return_index=True)
    return np.asarray(np.argsort(np.argsort(first))[label], np.int64)
