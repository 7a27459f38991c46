"""Which exposures are fitted together: bands, instruments, and the setups that have terms of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.photometry.settings import PhotometryError, Settings

Ints = NDArray[np.int64]


class MixedBandsError(PhotometryError):
    """Exposures of several bands in one fit, without it being said what is to become of them."""


@dataclass(frozen=True)
class Bands:
    """For each exposure its band, instrument and setup: what shares detector terms and flat correction."""

    names: tuple[str, ...]
    """The bands that are fitted; a star has a magnitude in each."""
    of_exposure: Ints
    """Position in names; -1: not fitted."""
    instrument: Ints
    setup: Ints
    setup_names: tuple[str, ...]
    setup_band: tuple[int, ...]
    """Band of each setup; -1: all of them."""
    with_reference: int
    """The band whose magnitudes the reference holds; -1: none."""


def find_bands(exposures: xr.Dataset, seen: Ints, settings: Settings, reference: bool) -> Bands:
    """The bands of the exposures ``seen`` (rows that have images), as the settings want them."""
    band = exposures.band.values.astype(str)
    present = sorted(set(band[seen].tolist()))
    names = _wanted(present, settings)
    of_exposure = np.array([names.index(b) if b in names else -1 for b in band.tolist()], np.int64)
    of_exposure[~np.isin(np.arange(len(band)), seen)] = -1
    instruments, instrument = np.unique(exposures.instrument.values.astype(str), return_inverse=True)
    own = of_exposure if settings.terms_per_band else np.minimum(of_exposure, 0)
    pairs = np.stack([instrument.reshape(-1), own], 1)
    used, setup = np.unique(pairs[of_exposure >= 0], axis=0, return_inverse=True)
    of_setup = np.full(len(band), -1)
    of_setup[of_exposure >= 0] = setup.reshape(-1)
    by_band = settings.terms_per_band or len(names) == 1
    labels = tuple(
        " ".join(
            filter(
                None, [instruments[i] if len(instruments) > 1 else "", names[b] if by_band else "all bands"]
            )
        )
        for i, b in used
    )
    return Bands(
        tuple(names), of_exposure, instrument.reshape(-1), of_setup, labels,
        tuple(int(b) if by_band else -1 for _, b in used), _reference_band(names, settings, reference),
    )  # fmt: skip


def _wanted(present: list[str], settings: Settings) -> list[str]:
    asked = settings.bands
    if asked is None:
        if len(present) > 1:
            raise MixedBandsError(
                f"the exposures are of bands {_list(present)}, and no star is equally bright in all: fit one "
                f'with bands=["{present[0]}"], or give each star a magnitude in each with bands="all"',
                bands=tuple(present),
            )
        return present
    names = present if asked == "all" else list(dict.fromkeys([asked] if isinstance(asked, str) else asked))
    unknown = [name for name in names if name not in present]
    if unknown or not names:
        raise PhotometryError(
            f"bands has {_list(unknown) or 'nothing'}, but the exposures are of {_list(present)}",
            bands=tuple(present),
        )
    return names


def _reference_band(names: list[str], settings: Settings, reference: bool) -> int:
    if not (reference and settings.reference_use):
        return -1
    asked = settings.reference_band
    if asked is None:
        if len(names) > 1:
            raise MixedBandsError(
                f"the reference has magnitudes of one band only, and {_list(names)} are fitted: name it with "
                f'reference_band="{names[0]}", or give reference_use=False',
                bands=tuple(names),
            )
        return 0
    if asked not in names:
        raise PhotometryError(
            f"reference_band is {asked!r}, but bands {_list(names)} are fitted", reference_band=asked
        )
    return names.index(asked)


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
