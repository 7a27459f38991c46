"""What a source extractor would make of the exposures: noisy positions and fluxes, and a rough WCS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from obslab.jointfit.datasets import MEASURED
from obslab.jointfit.polynomial import Floats, basis
from obslab.jointfit.simulate.camera import Ints
from obslab.jointfit.simulate.truth import Truth

_WIDTH_PIXEL = 1.5  # standard deviation of a star's image
_FAINT, _FAINT_RATIO = 22.0, 30.0  # a star of this magnitude is measured at this signal to noise
_SIGMA_FLOOR_PIXEL, _FLUX_FLOOR = 0.01, 0.003
_OUTLIER_LOG_PIXEL = (float(np.log(0.2)), float(np.log(4.0)))


@dataclass(frozen=True)
class Faults:
    """How measurements go wrong: fractions of them, and errors that they do not tell of."""

    outliers: float
    spurious: float
    missing: float
    floor_pixel: float
    elongation: float


@dataclass(frozen=True)
class Rows:
    """True detections, one for each measurement of a star, in order of image."""

    exposure: Ints
    detector: Ints
    star: Ints
    pixel: Floats  # (2, n)


def detections(truth: Truth, rng: np.random.Generator, missing: float) -> Rows:
    """All stars on detectors but for a fraction; within an image in any order."""
    stars, places = zip(*(truth.seen(e) for e in range(len(truth.instrument))), strict=True)
    exposure = np.repeat(np.arange(len(stars)), [len(s) for s in stars])
    focal = truth.pointings.focal(exposure, np.concatenate(places, 1))
    detector, pixel = truth.camera.pixel(truth.instrument[exposure], focal)
    kept = np.flatnonzero((detector >= 0) & (rng.random(len(detector)) >= missing))
    kept = kept[np.lexsort((rng.random(len(kept)), detector[kept], exposure[kept]))]
    return Rows(exposure[kept], detector[kept], np.concatenate(stars)[kept], pixel[:, kept])


def measure(
    truth: Truth, rows: Rows, rng: np.random.Generator, faults: Faults, *, with_color: bool
) -> tuple[xr.Dataset, Ints, np.ndarray[Any, np.dtype[np.bool_]]]:
    """MEASURED, and for each of its rows the star and whether it is an outlier."""
    count, table = len(rows.star), truth.stars
    mag, color = table.mag.values[rows.star], table.color.values[rows.star]
    ratio = _FAINT_RATIO * 10 ** (0.3 * (_FAINT - mag))
    sigma = np.hypot(_SIGMA_FLOOR_PIXEL, _WIDTH_PIXEL / ratio)
    pixel, errors = _scattered(rows.pixel, sigma, rng, faults)
    flux = truth.throughput.flux(
        mag, color, rows.exposure, rows.detector, truth.focal(rows.exposure, rows.detector, *rows.pixel)
    )
    flux_error = flux * np.hypot(_FLUX_FLOOR, 1 / ratio)
    flux = flux + flux_error * rng.normal(size=count)
    # An outlier is a blend: off by a few tenths of a pixel to some pixels, and too bright.
    outlier = rng.random(count) < faults.outliers
    amount = np.exp(rng.uniform(*_OUTLIER_LOG_PIXEL, count)) * outlier
    angle = rng.uniform(0, 2 * np.pi, count)
    pixel = pixel + amount * np.stack([np.cos(angle), np.sin(angle)])
    flux = flux * 10 ** (0.4 * rng.uniform(0, 1, count) * outlier)

    camera, images = truth.camera, len(truth.instrument) * truth.camera.detectors
    image = rows.exposure * camera.detectors + rows.detector
    false = rng.poisson(faults.spurious * np.bincount(image, minlength=images))
    extra = int(false.sum())
    false_flux = 10 ** (-0.4 * (rng.uniform(20, 22, extra) - truth.throughput.exposure.mean()))
    image = np.concatenate([image, np.repeat(np.arange(images), false)])
    order = np.lexsort((rng.random(len(image)), image))
    columns = {
        "x": (pixel[0], rng.uniform(1, camera.pixels, extra)),
        "y": (pixel[1], rng.uniform(1, camera.pixels, extra)),
        "flux": (flux, false_flux),
        "flux_error": (flux_error, false_flux / 25),
        **{name: (error, np.full(extra, 0.05 * (name != "covariance_xy"))) for name, error in errors.items()},
    }
    if with_color:
        columns["color"] = (color, np.full(extra, np.nan))
    measured = MEASURED.build(
        id=np.arange(len(image)),
        image=image[order],
        flags=np.zeros(len(image), np.int32),
        **{name: np.concatenate(parts)[order] for name, parts in columns.items()},
        **_images(truth),
    )
    star = np.concatenate([rows.star, np.full(extra, -1)])[order]
    return measured, star, np.concatenate([outlier, np.ones(extra, bool)])[order]


def _scattered(
    pixel: Floats, sigma: Floats, rng: np.random.Generator, faults: Faults
) -> tuple[Floats, dict[str, Floats]]:
    """Positions with errors, and what the catalogue tells of these errors."""
    count = len(sigma)
    major, minor = sigma * np.sqrt(faults.elongation), sigma / np.sqrt(faults.elongation)
    angle = rng.uniform(0, np.pi, count)
    cos, sin = np.cos(angle), np.sin(angle)
    along, across = rng.normal(size=(2, count)) * [major, minor]
    scatter = np.stack([cos * along - sin * across, sin * along + cos * across])
    scatter += faults.floor_pixel * rng.normal(size=(2, count))
    if faults.elongation == 1:
        return pixel + scatter, {"sigma": sigma}
    sigma_x, sigma_y = np.hypot(cos * major, sin * minor), np.hypot(sin * major, cos * minor)
    told = {"sigma": (sigma_x + sigma_y) / 2, "sigma_x": sigma_x, "sigma_y": sigma_y}
    return pixel + scatter, {**told, "covariance_xy": cos * sin * (major**2 - minor**2)}


def _images(truth: Truth) -> dict[str, Any]:
    """The image-level variables; the rough WCS is the best straight line, then moved and turned."""
    camera, exposures = truth.camera, len(truth.instrument)
    exposure = np.repeat(np.arange(exposures), camera.detectors)
    detector = np.tile(np.arange(camera.detectors), exposures)
    u, v = (grid.ravel() for grid in np.meshgrid(*[np.linspace(-1, 1, 5)] * 2))
    half, mid = camera.pixels / 2, (camera.pixels + 1) / 2
    xi, eta = truth.plane(exposure[:, None], detector[:, None], u * half + mid, v * half + mid)
    turn = np.radians(truth.wcs_rotation_deg)[exposure, None]
    east, north = truth.wcs_offset_arcsec[exposure].T[..., None] / 3600
    wrong = np.stack([xi + east - turn * eta, eta + north + turn * xi], 1)  # (image, axis, point)
    start = wrong @ np.linalg.pinv(basis(1)(u, v)).T
    return {
        "name": np.array([f"e{e:03}_c{d:02}" for e, d in zip(exposure, detector, strict=True)]),
        "exposure": exposure,
        "detector": detector,
        "mid": np.full((len(exposure), 2), mid),
        "half": np.full((len(exposure), 2), half),
        "crval": np.stack([truth.exposures.ra.values, truth.exposures.dec.values], -1)[exposure],
        "start": start,
    }
