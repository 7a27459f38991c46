"""The true stars: where they are at a time, and what a reference catalogue says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from obslab.jointfit.datasets import REFERENCE
from obslab.jointfit.polynomial import Floats
from obslab.jointfit.projection import DEG, MAS, frames, from_plane, sky
from obslab.jointfit.simulate.atmosphere import COLOR_ZERO
from obslab.jointfit.simulate.camera import Ints
from obslab.schema import Schema, Var

STARS = Schema(
    "stars",
    {
        "ra": Var(("star",), "float64", "deg", "Right ascension at attrs['epoch']."),
        "dec": Var(("star",), "float64", "deg", "Declination at attrs['epoch']."),
        "pm_ra": Var(("star",), "float64", "mas/yr", "Proper motion, times cos(dec)."),
        "pm_dec": Var(("star",), "float64", "mas/yr", "Proper motion in declination."),
        "parallax": Var(("star",), "float64", "mas", "Parallax."),
        "mag": Var(("star",), "float64", "mag", "Magnitude in the reference band."),
        "color": Var(("star",), "float64", "mag", "Color."),
    },
)
"""All true stars, also those that no exposure saw."""

_PROPER_MOTION = 5.0  # mas/yr, the scale of a Student distribution with a few fast stars
_REFERENCE_FRACTION = 0.95


def star_table(
    rng: np.random.Generator,
    center: tuple[float, float],
    half_deg: float,
    per_deg2: float,
    magnitudes: tuple[float, float],
    *,
    proper_motion: bool,
    parallax: bool,
    epoch: float,
) -> xr.Dataset:
    """Stars at random in a square about the center, three times as many for every 1.6 mag fainter."""
    count = rng.poisson(per_deg2 * (2 * half_deg) ** 2)
    ra, dec = sky(from_plane(frames(*center), *rng.uniform(-half_deg, half_deg, (2, count))))
    bright, faint = 10 ** (0.3 * np.asarray(magnitudes))
    # All are drawn in any case: the same seed has the same stars with and without motion.
    mag = np.log10(rng.uniform(bright, faint, count)) / 0.3
    color = np.clip(rng.normal(COLOR_ZERO, 0.4, count), -0.3, 2.5)
    motion = rng.standard_t(4, (2, count)) * _PROPER_MOTION * proper_motion
    distance = np.clip(rng.gamma(1.5, 0.4, count), 0.02, 20) * parallax
    return STARS.build(
        {"epoch": epoch},
        ra=ra,
        dec=dec,
        pm_ra=motion[0],
        pm_dec=motion[1],
        parallax=distance,
        mag=mag,
        color=color,
    )


def directions(stars: xr.Dataset, star: Ints, years: Any, earth_au: Floats) -> Floats:
    """Vectors (n, 3) to stars so many years after the table's epoch, seen from the Earth at (n, 3) au.

    Straight motion in space with no radial velocity, which is what five parameters mean (ESA SP-1200,
    eq. 1.2.20), without series expansion.
    """
    axes = frames(stars.ra.values[star], stars.dec.values[star])
    moved = np.stack([stars.pm_ra.values[star], stars.pm_dec.values[star]], -1) * np.asarray(years)[..., None]
    mas = np.einsum("na,nai->ni", moved, axes[:, :2]) - stars.parallax.values[star, None] * earth_au
    return np.asarray(axes[:, 2] + mas * (MAS * DEG))


def reference_catalogue(
    rng: np.random.Generator,
    stars: xr.Dataset,
    *,
    depth: float,
    error_mas: float | None,
    positions_only: bool,
) -> xr.Dataset:
    """What a catalogue like Gaia's says of the brighter stars; ``error_mas`` instead of Gaia's errors.

    Stars that do not move have a proper motion of exactly zero there, with no error, so that positions
    hold for all times.
    """
    listed = rng.random(stars.sizes["star"]) < _REFERENCE_FRACTION
    some = stars.isel(star=np.flatnonzero(listed & (stars.mag.values < depth)))
    mag, count = some.mag.values, some.sizes["star"]
    error = np.clip(0.03 * 10 ** (0.27 * (mag - 16)), 0.03, 3.0)
    if error_mas is not None:
        error = np.full(count, float(error_mas))
    moving, near = bool(np.any(stars.pm_ra.values)), bool(np.any(stars.parallax.values))
    drawn = rng.normal(size=(5, count))
    motion_error, parallax_error = 1.05 * error * moving, 1.1 * error * near
    unknown = np.full(count, np.nan)
    motion = {
        "pm_ra": some.pm_ra.values + drawn[2] * motion_error,
        "pm_dec": some.pm_dec.values + drawn[3] * motion_error,
        "pm_ra_error": motion_error,
        "pm_dec_error": motion_error,
        "parallax": some.parallax.values + drawn[4] * parallax_error,
        "parallax_error": parallax_error,
    }
    return REFERENCE.build(
        ra=(some.ra.values + drawn[0] * error * MAS / np.cos(some.dec.values * DEG)) % 360,
        dec=some.dec.values + drawn[1] * error * MAS,
        ra_error=error,
        dec_error=error,
        mag=mag,
        color=some.color.values,
        epoch=np.full(count, stars.attrs["epoch"]),
        **(dict.fromkeys(motion, unknown) if positions_only else motion),
    )
