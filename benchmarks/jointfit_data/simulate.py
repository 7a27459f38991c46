"""A dithered data set of several detectors with known truth: positions, fluxes, refraction, turbulence.

    simulate.py OUT [--size small|medium|large] [--pm] [--dcr] [--turb MAS] [--seed N] [--no-ldac]
                    [--grid N] [--nexp N] [--nstar N]      instead of the size's

Pixels are FITS pixels, the first is 1.0. Written to OUT:

    images/eEEE_cCC.fits   rough WCS in the primary header (TAN, about 1 arcsec off); table CAT: ID X Y SIGMA
                           FLUX FLUXERR FLAGS
    exposures.fits         EXP MJD EPOCH RA0 DEC0 AIRMASS PARANG (deg)
    refcat.fits            RA DEC (deg at EPOCH 2016.0) RA_ERR DEC_ERR (mas) PMRA PMDEC PMRA_ERR PMDEC_ERR
                           (mas/yr) PLX PLX_ERR MAG COLOR EPOCH
    measurements.npz       the measurements in one table: exp ccd x y sigma flux fluxerr id
    ldac/eEEE.cat ref.cat  the same for SCAMP
    truth/stars.fits       RA DEC (2016.0) PMRA PMDEC PLX MAG COLOR
    truth/meas.npz         star of each measurement (-1: spurious), outlier
    truth/model.json       parameters of truth.py
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from pathlib import Path
from typing import Any

import ldac
import numpy as np
from astropy.io import fits
from astropy.table import Table
from truth import (
    ARCSEC,
    MAS,
    PIXELS,
    REFERENCE_EPOCH,
    SCALE,
    focal_to_pixel,
    from_plane,
    make_model,
    parallax_factors,
    pixel_to_sky,
    plane_to_focal,
    refraction,
    to_plane,
)

PRESETS = {
    "small": {"grid": 3, "nexp": 10, "nstar": 500},
    "medium": {"grid": 6, "nexp": 10, "nstar": 800},
    "large": {"grid": 6, "nexp": 30, "nstar": 1000},
}
Arrays = dict[str, Any]
MEASURED = ("exp", "ccd", "x", "y", "sigma", "flux", "fluxerr", "id")


def main() -> None:
    options = _options()
    began = time.perf_counter()
    size = {k: v if vars(options)[k] is None else vars(options)[k] for k, v in PRESETS[options.size].items()}
    rng = np.random.default_rng(options.seed)
    model = make_model(rng, size["grid"], size["nexp"], options.turb)
    stars = make_stars(rng, model, size["nstar"], options.pm)
    zero_points = rng.normal(0, 0.02, len(model["ccds"]))
    out = Path(options.out)
    for folder in ("images", "truth", *([] if options.no_ldac else ["ldac"])):
        (out / folder).mkdir(parents=True, exist_ok=True)
    images: list[Arrays] = []
    for number, exposure in enumerate(model["exps"]):
        images += expose(rng, model, number, exposure, stars, zero_points, options, images)
    flat = {k: np.concatenate([image[k] for image in images]) for k in (*MEASURED, "star", "outlier")}
    np.savez(out / "measurements.npz", **{k: flat[k] for k in MEASURED})
    np.savez(out / "truth/meas.npz", star=flat["star"], outlier=flat["outlier"])
    Table(stars).write(out / "truth/stars.fits", overwrite=True)
    with (out / "truth/model.json").open("w") as file:
        json.dump(model | {"args": vars(options), "ccd_zp": zero_points.tolist()}, file)
    exposure_table(model["exps"]).write(out / "exposures.fits", overwrite=True)
    reference = make_reference(rng, stars, options.pm)
    Table(reference).write(out / "refcat.fits", overwrite=True)
    if not options.no_ldac:
        ldac.write(ldac.reference_tables(reference, motion=options.pm), out / "ldac/ref.cat")
    measurements, detectors = len(flat["x"]), len(model["ccds"])
    print(
        json.dumps(
            {
                "out": options.out,
                "n_meas": measurements,
                "n_stars_field": len(stars["RA"]),
                "n_stars_seen": len(np.unique(flat["star"])) - 1,
                "n_ref": len(reference["RA"]),
                "nccd": detectors,
                "nexp": size["nexp"],
                "per_ccd": measurements / detectors / size["nexp"],
                "outlier_frac": float(flat["outlier"].mean()),
                "gen_s": round(time.perf_counter() - began, 1),
            }
        )
    )


def make_stars(rng: np.random.Generator, model: Arrays, per_detector: int, moving: bool) -> Arrays:
    half = model["fov"] / 2 + 1.25 * model["pitch"]
    count = rng.poisson(per_detector / (PIXELS * SCALE) ** 2 * (2 * half) ** 2)
    xi, eta = rng.uniform(-half, half, (2, count))
    ra, dec = from_plane(xi, eta, *model["center"])
    lo, hi = 10 ** (0.3 * 16), 10 ** (0.3 * 22)  # N(< m) ~ 10^(0.3 m) from 16 to 22
    mag = np.log10(rng.uniform(lo, hi, count)) / 0.3
    color = np.clip(rng.normal(0.8, 0.4, count), -0.3, 2.5)
    pmra = pmdec = parallax = np.zeros(count)
    if moving:
        pmra, pmdec = rng.standard_t(4, (2, count)) * 5.0  # mas/yr
        parallax = np.clip(rng.gamma(1.5, 0.4, count), 0.02, 20)
    return {"RA": ra, "DEC": dec, "PMRA": pmra, "PMDEC": pmdec, "PLX": parallax, "MAG": mag, "COLOR": color}


def expose(
    rng: np.random.Generator,
    model: Arrays,
    number: int,
    exposure: Arrays,
    stars: Arrays,
    zero_points: Any,
    options: argparse.Namespace,
    before: list[Arrays],
) -> list[Arrays]:
    """The measurements of each detector; written as files too."""
    ra, dec = stars["RA"], stars["DEC"]
    years = exposure["epoch"] - REFERENCE_EPOCH
    pa, pd = parallax_factors(exposure["mjd"], ra, dec)
    r = ra + (stars["PMRA"] * years + stars["PLX"] * pa) * MAS / np.cos(np.deg2rad(dec))
    d = dec + (stars["PMDEC"] * years + stars["PLX"] * pd) * MAS
    xi, eta = to_plane(r, d, exposure["ra0"], exposure["dec0"])
    if options.dcr:
        east, north = refraction(exposure, stars["COLOR"])
        xi, eta = xi + east, eta + north
    reach = model["fov"] / 2 * 1.1
    near = np.flatnonzero((np.abs(xi) < reach) & (np.abs(eta) < reach))
    fx, fy = plane_to_focal(model, exposure, xi[near], eta[near])
    offset = rng.normal(0, options.wcsoff / np.sqrt(2), 2) * ARCSEC
    turn = rng.normal(0, 2e-5)
    images: list[Arrays] = []
    tables = []
    first = sum(len(image["x"]) for image in before)
    for detector, chip in enumerate(model["ccds"]):
        rows = detect(rng, model, exposure, chip, zero_points[detector], stars, (near, fx, fy), options)
        count = len(rows["x"])
        rows["exp"], rows["ccd"] = np.full(count, number, np.int16), np.full(count, detector, np.int16)
        rows["id"] = np.arange(first, first + count)
        first += count
        images.append(rows)
        header = rough_header(model, number, detector, exposure, offset, turn)
        write_image(Path(options.out) / f"images/e{number:03d}_c{detector:02d}.fits", header, rows)
        if not options.no_ldac:
            tables += ldac.image_tables(header, rows)
    if not options.no_ldac:
        ldac.write(tables, Path(options.out) / f"ldac/e{number:03d}.cat")
    return images


def detect(
    rng: np.random.Generator,
    model: Arrays,
    exposure: Arrays,
    chip: Arrays,
    zero_point: float,
    stars: Arrays,
    near: tuple[Any, Any, Any],
    options: argparse.Namespace,
) -> Arrays:
    """One detector's measurements: noise, outliers, spurious and missing ones, in any order."""
    index, fx, fy = near
    reach = model["pitch"] / 2
    m = (np.abs(fx - chip["cx"]) < reach) & (np.abs(fy - chip["cy"]) < reach)
    star = index[m]
    x, y = focal_to_pixel(chip, fx[m], fy[m])
    ok = (x > 1) & (x < PIXELS) & (y > 1) & (y < PIXELS) & (rng.random(len(x)) < 0.97)
    star, x, y = star[ok], x[ok], y[ok]
    mag = stars["MAG"][star]
    sigma = np.hypot(0.01, 0.048 * 10 ** (0.3 * (mag - 22)))
    light = 1 + 0.03 * ((fx[m][ok]) ** 2 + fy[m][ok] ** 2) / 0.25  # illumination
    seen = mag - 28 + exposure["zp"] + zero_point - 2.5 * np.log10(light)
    ratio = 3.5 / 2.355 / np.hypot(sigma, 1e-3) * 1.0
    flux = 10 ** (-0.4 * seen)
    flux_error = flux / ratio
    flux = flux + rng.normal(0, 1, len(x)) * flux_error
    xo, yo = x + rng.normal(0, sigma), y + rng.normal(0, sigma)
    out = rng.random(len(x)) < options.outlier
    amount = 10 ** rng.uniform(np.log10(0.2), np.log10(4.0), len(x))
    angle = rng.uniform(0, 2 * np.pi, len(x))
    xo[out] += (amount * np.cos(angle))[out]
    yo[out] += (amount * np.sin(angle))[out]
    extra = rng.poisson(options.spurious * len(x))
    xs, ys = rng.uniform(1, PIXELS, (2, extra))
    false_flux = 10 ** (-0.4 * (rng.uniform(20, 22, extra) - 28))
    rows = {
        "x": np.r_[xo, xs],
        "y": np.r_[yo, ys],
        "sigma": np.r_[sigma, np.full(extra, 0.05)],
        "flux": np.r_[flux, false_flux],
        "fluxerr": np.r_[flux_error, false_flux / 25],
        "star": np.r_[star, np.full(extra, -1)].astype(np.int32),
        "outlier": np.r_[out, np.ones(extra, bool)],
    }
    order = rng.permutation(len(rows["x"]))
    return {name: values[order] for name, values in rows.items()}


def rough_header(
    model: Arrays, number: int, detector: int, exposure: Arrays, offset: Any, turn: float
) -> fits.Header:
    """The best straight TAN of the detector, moved and turned with the whole exposure."""
    nodes = np.linspace(1, PIXELS, 5)
    gx, gy = (z.ravel() for z in np.meshgrid(nodes, nodes))
    ra, dec = pixel_to_sky(model, number, detector, gx, gy)
    ox, oy = to_plane(ra, dec, exposure["ra0"], exposure["dec0"])
    ox, oy = ox + offset[0] - turn * oy, oy + offset[1] + turn * ox
    middle = PIXELS / 2 + 0.5
    design = np.c_[np.ones(25), gx - middle, gy - middle]
    cx = np.linalg.lstsq(design, ox, rcond=None)[0]
    cy = np.linalg.lstsq(design, oy, rcond=None)[0]
    cd = np.array([[cx[1], cx[2]], [cy[1], cy[2]]])
    crpix = np.array([middle, middle]) - np.linalg.solve(cd, [cx[0], cy[0]])
    cards = {
        "SIMPLE": True,
        "BITPIX": 16,
        "NAXIS": 2,
        "NAXIS1": PIXELS,
        "NAXIS2": PIXELS,
        "EQUINOX": 2000.0,
        "RADESYS": "ICRS",
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRVAL1": exposure["ra0"],
        "CRVAL2": exposure["dec0"],
        "CRPIX1": crpix[0],
        "CRPIX2": crpix[1],
        "CD1_1": cd[0, 0],
        "CD1_2": cd[0, 1],
        "CD2_1": cd[1, 0],
        "CD2_2": cd[1, 1],
        "EXPTIME": 30.0,
        "GAIN": 1.0,
        "SATURATE": 1e9,
        "FILTER": "r",
        "QRUNID": "run1",
        "AIRMASS": exposure["airmass"],
        "PARANG": np.rad2deg(exposure["parang"]),
        "EXPNUM": number,
        "CCDNUM": detector,
        "OBJECT": "SIM",
        "DATE": "2025-01-01",
        "MJD-OBS": exposure["mjd"],
        "DATE-OBS": (datetime.datetime(1858, 11, 17) + datetime.timedelta(days=exposure["mjd"])).isoformat()[
            :23
        ],
    }
    header = fits.Header()
    for key, value in cards.items():
        header[key] = value
    return header


def write_image(path: Path, header: fits.Header, rows: Arrays) -> None:
    primary = fits.PrimaryHDU(header=None)
    for key in header:
        if key not in ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2"):
            primary.header[key] = header[key]
    columns = [
        fits.Column("ID", "J", array=rows["id"]),
        fits.Column("X", "D", array=rows["x"]),
        fits.Column("Y", "D", array=rows["y"]),
        fits.Column("SIGMA", "E", unit="pix", array=rows["sigma"]),
        fits.Column("FLUX", "E", array=rows["flux"]),
        fits.Column("FLUXERR", "E", array=rows["fluxerr"]),
        fits.Column("FLAGS", "I", array=np.zeros(len(rows["x"]), int)),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="CAT")
    fits.HDUList([primary, table]).writeto(path, overwrite=True)


def exposure_table(exposures: list[Arrays]) -> Table:
    return Table(
        {
            "EXP": np.arange(len(exposures)),
            "MJD": [e["mjd"] for e in exposures],
            "EPOCH": [e["epoch"] for e in exposures],
            "RA0": [e["ra0"] for e in exposures],
            "DEC0": [e["dec0"] for e in exposures],
            "AIRMASS": [e["airmass"] for e in exposures],
            "PARANG": [np.rad2deg(e["parang"]) for e in exposures],
        }
    )


def make_reference(rng: np.random.Generator, stars: Arrays, moving: bool) -> Arrays:
    """Like Gaia: most stars brighter than 20.5, errors from 0.03 mas at 16 to about 0.5 mas."""
    kept = np.flatnonzero((stars["MAG"] < 20.5) & (rng.random(len(stars["MAG"])) < 0.95))
    some = {name: values[kept] for name, values in stars.items()}
    count = len(kept)
    error = np.clip(0.03 * 10 ** (0.2 * (some["MAG"] - 16) * 1.35), 0.03, 3.0)
    motion_error = error * 1.05 if moving else np.zeros(count)
    return {
        "RA": some["RA"] + rng.normal(0, error) * MAS / np.cos(np.deg2rad(some["DEC"])),
        "DEC": some["DEC"] + rng.normal(0, error) * MAS,
        "RA_ERR": error,
        "DEC_ERR": error,
        "PMRA": some["PMRA"] + rng.normal(0, 1, count) * motion_error,
        "PMDEC": some["PMDEC"] + rng.normal(0, 1, count) * motion_error,
        "PMRA_ERR": motion_error,
        "PMDEC_ERR": motion_error,
        "PLX": some["PLX"] + (rng.normal(0, error * 1.1) if moving else 0),
        "PLX_ERR": error * 1.1 if moving else error * 0,
        "MAG": some["MAG"],
        "COLOR": some["COLOR"],
        "EPOCH": np.full(count, REFERENCE_EPOCH),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--size", default="small", choices=PRESETS)
    parser.add_argument("--pm", action="store_true", help="stars move")
    parser.add_argument("--dcr", action="store_true", help="refraction by color")
    parser.add_argument("--turb", type=float, default=0.0, help="turbulence, mas per axis")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-ldac", action="store_true", help="nothing for SCAMP")
    parser.add_argument("--grid", type=int)
    parser.add_argument("--nexp", type=int)
    parser.add_argument("--nstar", type=int)
    parser.add_argument("--outlier", type=float, default=0.015)
    parser.add_argument("--spurious", type=float, default=0.03)
    parser.add_argument("--wcsoff", type=float, default=1.0, help="of the rough WCS, arcsec")
    return parser.parse_args()


if __name__ == "__main__":
    main()
