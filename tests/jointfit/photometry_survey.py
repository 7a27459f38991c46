"""A small survey with known photometry, made with NumPy alone: what the tests of jointfit.photometry fit."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import xarray as xr

from obslab.jointfit.datasets import EXPOSURES, MEASURED, REFERENCE
from obslab.jointfit.projection import frames, from_plane, sky, to_plane

PIXELS = 2048
PIXEL_DEG = 0.263 / 3600
PITCH_DEG = (PIXELS + 120) * PIXEL_DEG


@dataclass(frozen=True)
class Survey:
    """What a fit is given, and the truth."""

    measured: xr.Dataset
    reference: xr.Dataset
    exposures: xr.Dataset
    association: SimpleNamespace
    mag: np.ndarray  # of each fitted star, in the first band
    color: np.ndarray
    zero_point: np.ndarray
    detector: np.ndarray
    focal: tuple[np.ndarray, np.ndarray]  # of each measurement, deg
    edge_deg: float
    illumination: float  # mag at the edge of the camera, where it is a square
    gradient: tuple[float, float]

    @property
    def tables(self):
        return self.measured, self.reference, self.exposures, self.association

    @property
    def exposure(self):
        """Exposure of each measurement."""
        return self.measured.exposure.values[self.measured.image.values]

    @property
    def chip(self):
        """Detector of each measurement."""
        return self.measured.detector.values[self.measured.image.values]

    def flat(self, fx, fy):
        """True illumination (mag) at focal-plane positions in degrees."""
        x, y = fx / self.edge_deg, fy / self.edge_deg
        return self.illumination * (x**2 + y**2) + self.gradient[0] * x + self.gradient[1] * y

    def with_measured(self, **changed):
        new = {name: ("measured", values) for name, values in changed.items()}
        return replace(self, measured=self.measured.assign(new))


def make_survey(
    seed=1, exposures=8, grid=3, per_detector=60, dither=0.7, rotation_deg=0.3, illumination=-0.05,
    gradient=(0, 0), bands=None, band_color=0.5, color_term=0.0, reference_part=0.5, reference_error=0.01,
    signal_to_noise=(30, 300), extra_mag=0.0, zero_point_mag=0.3, centers=None,
):  # fmt: skip
    """Stars at random in a field, exposed ``exposures`` times with dithers of a part of a detector.

    Fluxes have Gaussian errors, which the catalogue states; signal to noise is spread evenly in its
    logarithm. In the n-th band stars are fainter by n times ``band_color`` times their color. ``color_term``
    may be a number for each detector. ``extra_mag`` is scatter that no error states.
    """
    rng = np.random.default_rng(seed)
    edge = grid * PITCH_DEG / 2
    band = np.array(bands if bands is not None else ["r"] * exposures)
    redder = np.unique(band, return_inverse=True)[1] * band_color
    if centers is None:
        centers = rng.uniform(-1, 1, (exposures, 2)) * dither * PITCH_DEG
    centers = np.asarray(centers, float)
    half = edge + np.abs(centers).max() + 0.05
    count = rng.poisson(per_detector * (2 * half / PITCH_DEG) ** 2)
    vectors = from_plane(frames(150.0, 2.0), *rng.uniform(-half, half, (2, count)))
    noise = 10 ** -rng.uniform(*np.log10(signal_to_noise), count)
    mag = 22 + 2.5 * np.log10(noise * signal_to_noise[0])  # the fainter, the noisier
    color = rng.normal(0.8, 0.4, count)
    zero_point = -28 + rng.normal(0, zero_point_mag, exposures)
    detector = rng.normal(0, 0.02, grid**2)
    detector -= detector.mean()
    survey = Survey(
        None, None, None, None, mag, color, zero_point, detector, (), edge, illumination, gradient
    )

    ra, dec = sky(from_plane(frames(150.0, 2.0), centers[:, 0], centers[:, 1]))
    turn = np.radians(
        rng.normal(0, 1, exposures) * rotation_deg if np.ndim(rotation_deg) == 0 else rotation_deg
    )
    chips = [
        ((i - (grid - 1) / 2) * PITCH_DEG, (j - (grid - 1) / 2) * PITCH_DEG)
        for j in range(grid)
        for i in range(grid)
    ]
    color_terms = np.broadcast_to(color_term, grid**2)
    columns, images, start = [], [], []
    for e in range(exposures):
        xi, eta = to_plane(frames(ra[e], dec[e]), vectors)
        c, s = np.cos(turn[e]), np.sin(turn[e])
        fx, fy = c * xi + s * eta, -s * xi + c * eta
        for d, (cx, cy) in enumerate(chips):
            x, y = (fx - cx) / PIXEL_DEG + (PIXELS + 1) / 2, (fy - cy) / PIXEL_DEG + (PIXELS + 1) / 2
            seen = (x > 1) & (x < PIXELS) & (y > 1) & (y < PIXELS) & (rng.random(count) < 0.97)
            on = np.flatnonzero(seen)
            faint = mag[on] + zero_point[e] + detector[d] + survey.flat(fx[on], fy[on])
            faint += redder[e] * color[on] + color_terms[d] * (color[on] - 0.8)
            faint += rng.normal(0, 1, len(on)) * extra_mag
            error = noise[on] * 10 ** (-0.4 * (mag[on] + zero_point[e]))
            flux = 10 ** (-0.4 * faint) + rng.normal(0, 1, len(on)) * error
            image = np.full(len(on), len(images))
            columns.append(np.stack([on, image, x[on], y[on], fx[on], fy[on], flux, error]))
            images.append((e, d))
            size = PIXELS * PIXEL_DEG / 2
            start.append([[c * cx - s * cy, c * size, -s * size], [s * cx + c * cy, s * size, c * size]])
    star, image, x, y, fx, fy, flux, error = np.concatenate(columns, 1)
    number, chip = np.array(images).T
    measured = MEASURED.build(
        id=np.arange(len(x)), image=image.astype(int), x=x, y=y, sigma=np.full(len(x), 0.02), flux=flux,
        flux_error=error, flags=np.zeros(len(x), int),
        name=np.array([f"e{e:03d}_c{d:02d}" for e, d in images]), exposure=number,
        detector=chip, mid=np.full((len(images), 2), (PIXELS + 1) / 2),
        half=np.full((len(images), 2), PIXELS / 2), crval=np.stack([ra, dec], 1)[number],
        start=np.array(start),
    )  # fmt: skip
    table = EXPOSURES.build(
        exposure=np.arange(exposures), mjd=60000.0 + np.arange(exposures),
        epoch=2024.0 + np.arange(exposures) / 365, ra=ra, dec=dec, airmass=np.ones(exposures),
        parallactic_angle=np.zeros(exposures), band=band, instrument=np.full(exposures, "camera"),
    )  # fmt: skip
    known = np.flatnonzero(rng.random(count) < reference_part)
    matched = np.full(count, -1)
    matched[known] = np.arange(len(known))
    theirs = mag[known] + rng.normal(0, 1, len(known)) * reference_error
    fitted = np.bincount(star.astype(int), minlength=count) + (matched >= 0) > 1
    star = np.where(fitted, np.cumsum(fitted) - 1, -1)[star.astype(int)]
    return replace(
        survey, measured=measured, reference=_reference(*sky(vectors[known]), theirs, color[known]),
        exposures=table, association=_association(star, matched[fitted]), mag=mag[fitted],
        color=color[fitted], focal=(fx, fy),
    )  # fmt: skip


def shuffled(survey, seed=5):
    """The survey with stars, and rows within each image, in another order; and where each row was before."""
    rng = np.random.default_rng(seed)
    image = survey.measured.image.values
    order = np.lexsort((rng.random(len(image)), image))
    number = rng.permutation(len(survey.mag))  # fitted star k becomes number[k]
    star, old = survey.association.star[order], np.argsort(number)
    association = _association(np.where(star >= 0, number[star], star), survey.association.reference[old])
    return replace(
        survey, measured=survey.measured.isel(measured=order), association=association, mag=survey.mag[old],
        color=survey.color[old], focal=tuple(f[order] for f in survey.focal),
    ), order  # fmt: skip


def _association(star, reference):
    members = np.argsort(star, kind="stable")
    members = members[np.searchsorted(star[members], 0) :].astype(np.int32)
    first = np.concatenate([[0], np.cumsum(np.bincount(star[star >= 0], minlength=len(reference)))])
    return SimpleNamespace(
        star=star.astype(np.int32), reference=reference.astype(np.int32), first=first, members=members
    )


def _reference(ra, dec, mag, color):
    unknown, one = np.full(len(ra), np.nan), np.ones(len(ra))
    return REFERENCE.build(
        ra=ra, dec=dec, ra_error=one, dec_error=one, pm_ra=unknown, pm_dec=unknown, pm_ra_error=unknown,
        pm_dec_error=unknown, parallax=unknown, parallax_error=unknown, mag=mag, color=color,
        epoch=2016 * one,
    )  # fmt: skip
