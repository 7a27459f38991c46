"""A small field whose every measurement is known to belong to a star, by formulas of its own.

2 x 2 detectors of 1000 pixels of 1 arcsec, so that a turn of 0.01 deg moves the corners by a quarter arcsec.
"""

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from astropy.wcs import WCS

from obslab.jointfit.datasets import EXPOSURES, MEASURED, REFERENCE

ARCSEC = 1 / 3600
PIXELS, GRID = 1000, 2
CENTER = (150.0, 30.0)
NOISE_PIXEL = 0.02


@dataclass
class Field:
    measured: xr.Dataset
    reference: xr.Dataset
    exposures: xr.Dataset
    truth: np.ndarray  # star of each measurement, -1 for a spurious one
    ra: np.ndarray  # of the stars, at 2016
    dec: np.ndarray
    reference_star: np.ndarray  # star of each reference star

    @property
    def loaded(self):
        return self.measured, self.reference, self.exposures

    def found(self, star, with_reference=True):
        """Share of the measurements in a star, of those that can be: measured twice, or with a reference."""
        real = self.truth >= 0
        often = np.bincount(self.truth[real], minlength=len(self.ra))
        often[self.reference_star] += with_reference
        return (star[real][often[self.truth[real]] > 1] >= 0).mean()

    def with_rows(self, rows):
        return replace(self, measured=self.measured.isel(measured=rows), truth=self.truth[rows])


def project(ra, dec, ra0, dec0):
    """Gnomonic projection in degrees, as in a textbook."""
    a, d, d0 = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    depth = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
    xi = np.cos(d) * np.sin(a) / depth
    eta = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a)) / depth
    return np.degrees(xi), np.degrees(eta)


def star_field(
    exposures=4,
    stars=1500,
    *,
    rng=1,
    offset_arcsec=None,
    turn_deg=None,
    spurious=20,
    reference_every=2,
    motion_mas=(0.0, 0.0),
    fast=None,
    pointings_arcsec=None,
    own_crval=False,
):
    """Exposures at ``pointings_arcsec`` east and north of the centre, or dithered by two arcminutes.

    ``offset_arcsec`` and ``turn_deg`` map exposures to the error of their WCS, which puts stars there.
    ``motion_mas`` is the proper motion of all stars, ``fast`` maps some to one of their own; ``own_crval``
    gives each image a tangent point in its middle.
    """
    rng = np.random.default_rng(rng)
    if pointings_arcsec is None:
        pointings_arcsec = rng.uniform(-120, 120, (exposures, 2))
    pointings = np.array(pointings_arcsec) * ARCSEC
    margin = GRID * PIXELS / 2 * ARCSEC
    xi, eta = rng.uniform(pointings.min(0) - margin, pointings.max(0) + margin, (stars, 2)).T
    ra, dec = CENTER[0] + xi / np.cos(np.radians(CENTER[1])), CENTER[1] + eta
    pm_ra, pm_dec = np.full(stars, float(motion_mas[0])), np.full(stars, float(motion_mas[1]))
    for star, (a, d) in (fast or {}).items():
        pm_ra[star], pm_dec[star] = a, d
    sigma = rng.uniform(0.5, 1.5, stars) * NOISE_PIXEL
    epoch = 2024.0 + 2.0 * np.arange(exposures) / max(exposures - 1, 1)
    ra0, dec0 = CENTER[0] + pointings[:, 0] / np.cos(np.radians(CENTER[1])), CENTER[1] + pointings[:, 1]

    parts, start, crval, truth = [], [], [], []
    for e in range(exposures):
        years = epoch[e] - 2016.0
        now_dec = dec + pm_dec * years * ARCSEC / 1000
        now_ra = ra + pm_ra * years * ARCSEC / 1000 / np.cos(np.radians(dec))
        xi, eta = project(now_ra, now_dec, ra0[e], dec0[e])
        turn = np.radians((turn_deg or {}).get(e, 0.0))
        shift = np.array((offset_arcsec or {}).get(e, (0.0, 0.0))) * ARCSEC
        wrong = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        for detector in range(GRID**2):
            # East is left: xi = -(X - corner) pixels, and the rough WCS is the right one turned and shifted.
            corner = np.array([detector % GRID - GRID / 2, detector // GRID - GRID / 2]) * PIXELS
            x = -xi / ARCSEC - corner[0] + 0.5
            y = eta / ARCSEC - corner[1] + 0.5
            seen = np.flatnonzero((x > 1) & (x < PIXELS) & (y > 1) & (y < PIXELS))
            extra = rng.uniform(1, PIXELS, (2, spurious))
            noise = rng.normal(0, 1, (2, len(seen))) * sigma[seen]
            parts.append(
                (
                    np.r_[x[seen] + noise[0], extra[0]],
                    np.r_[y[seen] + noise[1], extra[1]],
                    np.r_[sigma[seen], np.full(spurious, 2 * NOISE_PIXEL)],
                )
            )
            truth.append(np.r_[seen, np.full(spurious, -1)])
            middle = (corner + PIXELS / 2) * ARCSEC * [-1, 1]
            right = np.column_stack([middle, np.diag([-1, 1]) * PIXELS / 2 * ARCSEC])
            rough = wrong @ right
            rough[:, 0] += shift
            start.append(rough)
            crval.append((ra0[e], dec0[e]))
    images = len(parts)
    x, y, sigmas = (np.concatenate(column) for column in zip(*parts, strict=True))
    count = len(x)
    start, crval = np.array(start), np.array(crval)
    if own_crval:
        start, crval = _about_own_middle(start, crval)
    measured = MEASURED.build(
        id=np.arange(count),
        image=np.repeat(np.arange(images, dtype=np.int32), [len(part[0]) for part in parts]),
        x=x,
        y=y,
        sigma=sigmas.astype(np.float32),
        flux=np.ones(count, np.float32),
        flux_error=np.ones(count, np.float32),
        flags=np.zeros(count, np.int32),
        name=np.array([f"e{n // GRID**2:03}_c{n % GRID**2:02}" for n in range(images)]),
        exposure=np.arange(images, dtype=np.int32) // GRID**2,
        detector=np.arange(images, dtype=np.int32) % GRID**2,
        mid=np.full((images, 2), (PIXELS + 1) / 2),
        half=np.full((images, 2), PIXELS / 2),
        crval=crval,
        start=start,
    )
    known = np.arange(0, stars, reference_every)
    unknown = np.full(len(known), np.nan)
    reference = REFERENCE.build(
        ra=ra[known],
        dec=dec[known],
        ra_error=np.ones(len(known)),
        dec_error=np.ones(len(known)),
        pm_ra=pm_ra[known],
        pm_dec=pm_dec[known],
        epoch=np.full(len(known), 2016.0),
        **dict.fromkeys(
            ("pm_ra_error", "pm_dec_error", "parallax", "parallax_error", "mag", "color"), unknown
        ),
    )
    table = EXPOSURES.build(
        exposure=np.arange(exposures, dtype=np.int32),
        mjd=51544.5 + (epoch - 2000) * 365.25,
        epoch=epoch,
        ra=ra0,
        dec=dec0,
        airmass=np.ones(exposures),
        parallactic_angle=np.zeros(exposures),
        band=np.full(exposures, "r"),
        instrument=np.full(exposures, "1"),
    )
    return Field(measured, reference, table, np.concatenate(truth), ra, dec, known)


def _about_own_middle(start, crval):
    """The same rough WCSs about the middle of each image, as polynomials of degree 3."""
    u, v = (z.ravel() for z in np.meshgrid(*[np.linspace(-1, 1, 7)] * 2))
    powers = [(d - j, j) for d in range(4) for j in range(d + 1)]
    design = np.stack([u**i * v**j for i, j in powers], -1)
    new_start, new_crval = [], []
    for linear, point in zip(start, crval, strict=True):
        ra, dec = sky_of(linear @ np.stack([np.ones_like(u), u, v]), point)
        middle = ra[len(u) // 2], dec[len(u) // 2]
        plane = np.stack(project(ra, dec, *middle), -1)
        new_start.append(np.linalg.lstsq(design, plane, rcond=None)[0].T)
        new_crval.append(middle)
    return np.array(new_start), np.array(new_crval)


def sky_of(plane, crval):
    """ra, dec of positions (xi, eta) in deg about a tangent point, by astropy: a pixel is a degree there."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cd = crval, [0, 0], np.eye(2)
    return wcs.wcs_pix2world(*plane, 1)
