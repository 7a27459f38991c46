"""Simulated exposures of one field, all in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from obslab.errors import ConfigError
from obslab.jointfit.datasets import EXPOSURES
from obslab.jointfit.projection import earth, sky
from obslab.jointfit.simulate.camera import camera
from obslab.jointfit.simulate.measuring import Faults, detections, measure
from obslab.jointfit.simulate.pointing import Pointings, pointings
from obslab.jointfit.simulate.stars import reference_catalogue, star_table
from obslab.jointfit.simulate.throughput import throughput
from obslab.jointfit.simulate.truth import Truth

_MARGIN_DEG = 0.02  # of stars beyond the field, for a rough mounting


@dataclass(frozen=True)
class Simulated:
    """What a fit is given, and the truth to hold it against: ``fit(*simulated.loaded)``."""

    measured: xr.Dataset
    reference: xr.Dataset
    exposures: xr.Dataset
    truth: Truth

    @property
    def loaded(self) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
        """In the order of ``jointfit.load``."""
        return self.measured, self.reference, self.exposures


def simulate(
    *,
    rng: np.random.Generator | int = 0,
    detectors: tuple[int, int] = (3, 3),
    exposures: int = 10,
    stars_per_detector: float = 300,
    center: tuple[float, float] = (150.0, 2.2),
    dither_deg: Any = None,
    bands: tuple[str, ...] = ("r",),
    instruments: int = 1,
    begin_yr: float = 2024.0,
    span_yr: float = 2.0,
    pixels: int = 2048,
    pixel_scale_arcsec: float = 0.263,
    edge_pixel: float = 0.0,
    ring_pixel: float = 0.0,
    wcs_error_arcsec: float = 1.0,
    wcs_rotation_deg: float = 0.001,
    magnitudes: tuple[float, float] = (16.0, 22.0),
    proper_motion: bool = False,
    parallax: bool | None = None,
    refraction_mas: float | Mapping[str, float] = 0.0,
    turbulence_mas: float = 0.0,
    outer_scale_arcmin: float = 10.0,
    wind_elongation: float = 1.5,
    outliers: float = 0.015,
    spurious: float = 0.03,
    missing: float = 0.03,
    floor_mas: float = 0.0,
    elongation: float = 1.0,
    measured_color: bool = False,
    reference_depth: float = 20.5,
    reference_error_mas: float | None = None,
    positions_only: bool = False,
    reference_epoch_yr: float = 2016.0,
    zero_point_mag: float = 0.05,
    detector_mag: float = 0.02,
    illumination_mag: float = 0.03,
    color_terms: Mapping[str, float] | None = None,
) -> Simulated:
    """Exposures of one field by a camera that distorts, and everything that is true of them.

    The camera: columns x rows of ``detectors``, common optics, a warp of a tenth of a pixel in each; with
    ``instruments`` it is taken apart that often, evenly in time. ``edge_pixel`` and ``ring_pixel`` are
    amplitudes of what ``camera.edge_table()`` and ``ring_table()`` say. The exposures: affine and quadratic
    terms of their own, offsets up to ``dither_deg`` (a detector's pitch; or (xi, eta) of each), ``bands`` in
    turn.

    The rough WCS is wrong by ``wcs_error_arcsec`` and ``wcs_rotation_deg``, one sigma. ``refraction_mas`` is
    k, the shift towards the zenith for a magnitude of color at tan z = 1, for all bands or each;
    ``turbulence_mas`` the RMS per axis. ``outliers`` are displaced, ``spurious`` are no star, ``missing`` are
    not there: fractions. ``floor_mas`` is scatter that sigma does not tell of, ``elongation`` the axis ratio
    of the error ellipses. ``reference_error_mas`` replaces Gaia's errors, ``positions_only`` is USNO's kind.
    Photometry: scatter of the zero points of exposures and of detectors, the light lost at the field's
    corner, and color terms by band.

    The same ``rng`` gives the same stars and camera whatever the effects that are asked for.
    """
    if exposures < 1 or min(detectors) < 1 or instruments < 1 or elongation < 1:
        raise ConfigError(
            f"exposures={exposures}, detectors={detectors}, instruments={instruments}, "
            f"elongation={elongation:g}: wanted 1 or more of each"
        )
    for_camera, for_sky, for_pointing, for_light, for_rows, for_noise, for_reference = np.random.default_rng(
        rng
    ).spawn(7)
    built = camera(
        for_camera,
        detectors,
        pixels,
        pixel_scale_arcsec / 3600,
        instruments=instruments,
        edge_pixel=edge_pixel,
        ring_pixel=ring_pixel,
    )
    pointed = pointings(
        for_pointing,
        exposures,
        center,
        built.pitch_deg if dither_deg is None else dither_deg,
        field_deg=built.field_deg,
        turbulence_mas=turbulence_mas,
        outer_scale_arcmin=outer_scale_arcmin,
        wind_elongation=wind_elongation,
    )
    instrument = np.arange(exposures) * instruments // exposures
    table = _exposures(for_pointing, pointed, instrument, bands, begin_yr, span_yr)
    dither = np.abs(dither_deg).max() if dither_deg is not None else built.pitch_deg
    stars = star_table(
        for_sky,
        center,
        built.field_deg / 2 + dither + _MARGIN_DEG,
        stars_per_detector / (pixels * built.scale_deg) ** 2,
        magnitudes,
        proper_motion=proper_motion,
        parallax=proper_motion if parallax is None else parallax,
        epoch=reference_epoch_yr,
    )
    light = throughput(
        for_light,
        table.band.values.tolist(),
        built.detectors,
        np.hypot(*detectors) / 2 * built.pitch_deg,
        zero_point_mag=zero_point_mag,
        detector_mag=detector_mag,
        illumination_mag=illumination_mag,
        color_terms=color_terms,
    )
    near = bool(stars.parallax.any())  # astropy is not needed otherwise
    truth = Truth(
        stars=stars,
        star=np.empty(0, np.int64),
        outlier=np.empty(0, bool),
        camera=built,
        pointings=pointed,
        throughput=light,
        exposures=table,
        instrument=instrument,
        refraction_mas=_by_band(refraction_mas, table.band.values.tolist()),
        earth_au=earth(table.mjd.values) if near else np.zeros((exposures, 3)),
        wcs_offset_arcsec=for_pointing.normal(0, wcs_error_arcsec / np.sqrt(2), (exposures, 2)),
        wcs_rotation_deg=for_pointing.normal(0, wcs_rotation_deg, exposures),
    )
    faults = Faults(outliers, spurious, missing, floor_mas / 1000 / pixel_scale_arcsec, elongation)
    rows = detections(truth, for_rows, missing)
    measured, star, outlier = measure(truth, rows, for_noise, faults, with_color=measured_color)
    reference = reference_catalogue(
        for_reference,
        stars,
        depth=reference_depth,
        error_mas=reference_error_mas,
        positions_only=positions_only,
    )
    return Simulated(measured, reference, table, replace(truth, star=star, outlier=outlier))


def write(simulated: Simulated, path: str | Path) -> Path:
    """Make a new dataset folder of it, as ``obslab jointfit run`` takes one; the truth is not in there."""
    from obslab.jointfit.catalogue import Loaded, save

    return save(Loaded(*simulated.loaded), path)


def _exposures(
    rng: np.random.Generator,
    pointed: Pointings,
    instrument: np.ndarray[Any, Any],
    bands: tuple[str, ...],
    begin_yr: float,
    span_yr: float,
) -> xr.Dataset:
    count = len(instrument)
    ra, dec = sky(pointed.frame[:, 2])
    epoch = begin_yr + span_yr * (np.arange(count) + rng.uniform(0, 0.5, count)) / count
    return EXPOSURES.build(
        exposure=np.arange(count),
        mjd=51544.5 + (epoch - 2000) * 365.25,
        epoch=epoch,
        ra=ra,
        dec=dec,
        airmass=rng.uniform(1.0, 1.7, count),
        parallactic_angle=rng.uniform(-180, 180, count),
        band=np.array([bands[n % len(bands)] for n in range(count)]),
        instrument=np.array([f"run{n + 1}" for n in instrument]),
    )


def _by_band(given: float | Mapping[str, float], bands: list[str]) -> Any:
    return np.array([given.get(b, 0.0) if isinstance(given, Mapping) else given for b in bands], np.float64)
