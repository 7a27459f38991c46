"""A small survey with known photometry, made with NumPy alone: what the tests of jointfit.photometry fit."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import xarray as xr

from obslab.jointfit.datasets import EXPOSURES, MEASURED, REFERENCE
from obslab.jointfit.projection import frames, from_plane, to_plane

PIXELS = 2048
PIXEL_DEG = 0.263 / 3600
PITCH_DEG = (PIXELS + 120) * PIXEL_DEG


@dataclass(frozen=True)
class Survey:
    """What a fit is given, and the truth; illumination is that many mag at the edge of the camera, squared."""

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
    illumination: float
    gradient: tuple[float, float]

    @property
    def tables(self):
        return self.measured, self.reference, self.exposures, self.association

    @property
    def exposure(self):
        """Row of exposures of each measurement."""
        return self.measured.exposure.values[self.measured.image.values]

    def flat(self, fx, fy):
        """True illumination (mag) at focal-plane positions in degrees."""
        x, y = fx / self.edge_deg, fy / self.edge_deg
        return self.illumination * (x**2 + y**2) + self.gradient[0] * x + self.gradient[1] * y

    def with_measured(self, **changed):
        new = {name: ("measured", values) for name, values in changed.items()}
        return replace(self, measured=self.measured.assign(new))


def make_survey(
    seed=1, exposures=8, grid=3, per_detector=60, dither=0.7, rotation_deg=0.3, illumination=-0.05, gradient=(0, 0),
    bands=None, band_color=0.5, color_term=0.0, reference_part=0.5, reference_error=0.01, signal_to_noise=(30, 300), extra_mag=0.0,
    zero_point_mag=0.3, centers=None,
):  # fmt: skip
    """Stars at random in a field, exposed ``exposures`` times with dithers of a part of a detector.

    Fluxes have Gaussian errors, which the catalogue states; signal to noise is spread evenly in its logarithm.
    In the n-th band stars are fainter by n times ``band_color`` times their color. ``color_term`` may be a number for
    each detector. ``extra_mag`` is scatter that no error states.
    """
    rng = np.random.default_rng(seed)
    edge = grid * PITCH_DEG / 2
    bands = np.array(bands if bands is not None else ["r"] * exposures)
    if centers is None:
        centers = rng.uniform(-1, 1, (exposures, 2)) * dither * PITCH_DEG
        centers[0] = 0
    centers = np.asarray(centers, float)
    half = edge + np.abs(centers).max() + 0.05
    count = rng.poisson(per_detector * (2 * half / PITCH_DEG) ** 2)
    sky_x, sky_y = rng.uniform(-half, half, (2, count))
    vectors = from_plane(frames(150.0, 2.0), sky_x, sky_y)
    noise = 10 ** rng.uniform(-np.log10(signal_to_noise[1]), -np.log10(signal_to_noise[0]), count)
    mag = 22 + 2.5 * np.log10(noise * signal_to_noise[0])  # the fainter, the noisier
    color = rng.normal(0.8, 0.4, count)
    zero_point = -28 + rng.normal(0, zero_point_mag, exposures)
    detector = rng.normal(0, 0.02, grid**2)
    detector -= detector.mean()
    tangent = from_plane(frames(150.0, 2.0), centers[:, 0], centers[:, 1])
    ra, dec = np.degrees(np.arctan2(tangent[:, 1], tangent[:, 0])), np.degrees(np.arcsin(tangent[:, 2]))
    turn = np.radians(rng.normal(0, 1, exposures) * rotation_deg) if np.ndim(rotation_deg) == 0 else np.radians(rotation_deg)
    chips = [(i - (grid - 1) / 2, j - (grid - 1) / 2) for j in range(grid) for i in range(grid)]
    size = PIXELS * PIXEL_DEG / 2
    columns, images, start, terms = [], [], [], np.broadcast_to(color_term, grid**2)
    survey = Survey(None, None, None, None, mag, color, zero_point, detector, (), edge, illumination, gradient)
    for e in range(exposures):
        xi, eta = to_plane(frames(ra[e], dec[e]), vectors)
        c, s = np.cos(turn[e]), np.sin(turn[e])
        fx, fy = c * xi + s * eta, -s * xi + c * eta
        for d, (i, j) in enumerate(chips):
            x = (fx - i * PITCH_DEG) / PIXEL_DEG + (PIXELS + 1) / 2
            y = (fy - j * PITCH_DEG) / PIXEL_DEG + (PIXELS + 1) / 2
            on = np.flatnonzero((x > 1) & (x < PIXELS) & (y > 1) & (y < PIXELS) & (rng.random(count) < 0.97))
            seen = mag[on] + zero_point[e] + detector[d] + survey.flat(fx[on], fy[on])
            seen += sorted(set(bands)).index(bands[e]) * band_color * color[on] + terms[d] * (color[on] - 0.8)
            seen += rng.normal(0, 1, len(on)) * extra_mag
            flux = 10 ** (-0.4 * seen)
            error = noise[on] * 10 ** (-0.4 * (mag[on] + zero_point[e]))
            columns.append(np.stack([on, np.full(len(on), len(images)), x[on], y[on], fx[on], fy[on],
                                     flux + rng.normal(0, 1, len(on)) * error, error]))  # fmt: skip
            images.append((e, d))
            cx, cy = i * PITCH_DEG, j * PITCH_DEG
            start.append([[c * cx - s * cy, c * size, -s * size], [s * cx + c * cy, s * size, c * size]])
    star, image, x, y, fx, fy, flux, error = np.concatenate(columns, 1)
    number, detector_of = np.array(images).T
    measured = MEASURED.build(
        id=np.arange(len(x)), image=image.astype(int), x=x, y=y, sigma=np.full(len(x), 0.02), flux=flux,
        flux_error=error, flags=np.zeros(len(x), int),
        name=np.array([f"e{e:03d}_c{d:02d}" for e, d in images]), exposure=number, detector=detector_of,
        mid=np.full((len(images), 2), (PIXELS + 1) / 2), half=np.full((len(images), 2), PIXELS / 2),
        crval=np.stack([ra, dec], 1)[number], start=np.array(start),
    )  # fmt: skip
    table = EXPOSURES.build(
        exposure=np.arange(exposures), mjd=60000.0 + np.arange(exposures), epoch=2024.0 + np.arange(exposures) / 365,
        ra=ra, dec=dec, airmass=np.ones(exposures), parallactic_angle=np.zeros(exposures), band=bands,
        instrument=np.full(exposures, "camera"),
    )  # fmt: skip
    known = np.flatnonzero(rng.random(count) < reference_part)
    blank = np.full(len(known), np.nan)
    theirs = np.degrees(np.arctan2(vectors[known, 1], vectors[known, 0]))
    reference = REFERENCE.build(
        ra=theirs, dec=np.degrees(np.arcsin(vectors[known, 2])), ra_error=blank * 0 + 1, dec_error=blank * 0 + 1,
        pm_ra=blank, pm_dec=blank, pm_ra_error=blank, pm_dec_error=blank, parallax=blank, parallax_error=blank,
        mag=mag[known] + rng.normal(0, 1, len(known)) * reference_error, color=color[known], epoch=blank * 0 + 2016,
    )  # fmt: skip
    matched = np.full(count, -1)
    matched[known] = np.arange(len(known))
    return associated(replace(survey, measured=measured, reference=reference, exposures=table, focal=(fx, fy)),
                      star.astype(int), matched)  # fmt: skip


def associated(survey, star, matched):
    """The survey with the association that the true star of each measurement makes."""
    seen = np.bincount(star, minlength=len(matched))
    fitted = (seen > 1) | ((seen == 1) & (matched >= 0))
    number = np.where(fitted, np.cumsum(fitted) - 1, -1)
    of_row = number[star].astype(np.int32)
    order = np.argsort(of_row, kind="stable")
    members = order[np.searchsorted(of_row[order], 0) :].astype(np.int32)
    first = np.concatenate([[0], np.cumsum(np.bincount(of_row[of_row >= 0], minlength=fitted.sum()))])
    return replace(
        survey, mag=survey.mag[fitted], color=survey.color[fitted],
        association=SimpleNamespace(star=of_row, reference=matched[fitted].astype(np.int32), first=first, members=members),
    )  # fmt: skip


def shuffled(survey, seed=5):
    """The same survey with the rows within each image, and so the stars, in another order; and where each row went."""
    rng = np.random.default_rng(seed)
    image = survey.measured.image.values
    order = np.lexsort((rng.random(len(image)), image))
    measured = survey.measured.isel(measured=order)
    renumber = rng.permutation(len(survey.mag))  # fitted star k becomes renumber[k]
    star = survey.association.star[order]
    back = np.argsort(renumber)
    new = replace(survey, measured=measured, mag=survey.mag[back], color=survey.color[back])
    of_row = np.where(star >= 0, renumber[np.maximum(star, 0)], star).astype(np.int32)
    members = np.argsort(of_row, kind="stable")
    members = members[np.searchsorted(of_row[members], 0) :].astype(np.int32)
    first = np.concatenate([[0], np.cumsum(np.bincount(of_row[of_row >= 0], minlength=len(back)))])
    association = SimpleNamespace(
        star=of_row, reference=survey.association.reference[back], first=first, members=members
    )
    return replace(new, association=association), order
