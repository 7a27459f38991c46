"""How far a fit is from the truth, as JSON.

    evaluate.py DATASET --heads DIR

DIR holds one text header file for each exposure, eEEE.head (SCAMP's kind, a block for each detector), or one
FITS file for each image, eEEE_cCC.fits, whose primary header holds the fitted WCS.

    rms_mas_truth       per-axis RMS of fitted minus true sky position on 8 x 8 places of every image
    rms_mas_relative    the same after taking out one shift, rotation and scale of all
    rms_mas_internal    per-axis scatter of repeated measurements of bright stars (sigma below 0.02 pixels, no
                        outliers) about their star's mean, with the fitted WCS, times sqrt(n / (n - 1))
    noise_mas_internal  the same with the true mapping: the floor
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from truth import (
    MAS,
    PIXELS,
    REFERENCE_EPOCH,
    from_plane,
    parallax_factors,
    pixel_to_sky,
    refraction,
    to_plane,
)

POINTS = 8
_BRIGHT_PIXEL = 0.02
Mapper = Callable[..., tuple[Any, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--heads", type=Path, required=True)
    options = parser.parse_args()
    print(json.dumps(evaluate(options.data, heads_mapper(options.data, options.heads))))


def heads_mapper(data: Path, heads: Path) -> Mapper:
    model = load_model(data)
    found = load_heads(heads, model["nexp"], len(model["ccds"]))
    return lambda e, c, x, y: found[e, c].all_pix2world(x, y, 1)


def evaluate(data: Path, mapper: Mapper, *, colors: bool = False) -> dict[str, float]:
    """The figures for ``mapper(exposure, detector, x, y) -> ra, dec`` in degrees.

    With ``colors`` the mapper takes a fifth argument, the stars' true colors, and says where stars are
    without refraction; the floor is then that without refraction, too.
    """
    model = load_model(data)
    figures = _against_truth(model, mapper, colors) | _scatter(data, model, mapper, colors)
    return {name: round(value, 4) for name, value in figures.items()}


def load_model(data: Path) -> dict[str, Any]:
    return dict(json.loads((data / "truth/model.json").read_text()))


def load_heads(folder: Path, exposures: int, detectors: int) -> dict[tuple[int, int], WCS]:
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SCAMP's headers are not all to astropy's taste
        for e in range(exposures):
            text = folder / f"e{e:03d}.head"
            blocks = text.read_text(encoding="latin1").split("\nEND") if text.exists() else []
            for c in range(detectors):
                header = _header(blocks[c]) if blocks else fits.getheader(folder / f"e{e:03d}_c{c:02d}.fits")
                found[e, c] = WCS(header)
    return found


def _header(block: str) -> fits.Header:
    header = fits.Header()
    for line in block.splitlines():
        if "=" in line[:9] and not line.startswith(("HISTORY", "COMMENT")):
            card = fits.Card.fromstring(line)
            header[card.keyword] = card.value
    header["NAXIS"] = 2
    header["NAXIS1"] = header["NAXIS2"] = PIXELS
    return header


def _against_truth(model: dict[str, Any], mapper: Mapper, colors: bool) -> dict[str, float]:
    nodes = np.linspace(64, PIXELS - 64, POINTS)
    gx, gy = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
    true, fitted = [], []
    for e in range(model["nexp"]):
        for c in range(len(model["ccds"])):
            # 0.8 is where the refraction is zero; where no colour is fitted it is not looked at
            color = (np.full(len(gx), 0.8),) if colors else ()
            true.append(to_plane(*pixel_to_sky(model, e, c, gx, gy), *model["center"]))
            fitted.append(to_plane(*mapper(e, c, gx, gy, *color), *model["center"]))
    place = np.moveaxis(np.array(true), 1, 0)
    off = (np.moveaxis(np.array(fitted), 1, 0) - place) / MAS
    x, y = place.reshape(2, -1)
    one, zero = np.ones_like(x), np.zeros_like(x)
    frame = np.r_[np.c_[one, zero, x, -y], np.c_[zero, one, y, x]]
    left = off.ravel() - frame @ np.linalg.lstsq(frame, off.ravel(), rcond=None)[0]
    distance = np.hypot(*off)
    return {
        "rms_mas_truth": float(np.sqrt(np.mean(off**2))),
        "p95_mas_truth": float(np.percentile(distance, 95)),
        "max_mas_truth": float(distance.max()),
        "rms_mas_relative": float(np.sqrt(np.mean(left**2))),
    }


def _scatter(data: Path, model: dict[str, Any], mapper: Mapper, colors: bool) -> dict[str, float]:
    with np.load(data / "measurements.npz") as m, np.load(data / "truth/meas.npz") as t:
        use = (t["star"] >= 0) & ~t["outlier"] & (m["sigma"] < _BRIGHT_PIXEL)
        exposure, detector, x, y = (m[name][use] for name in ("exp", "ccd", "x", "y"))
        star = t["star"][use]
    stars = Table.read(data / "truth/stars.fits")
    image = exposure.astype(int) * len(model["ccds"]) + detector
    order = np.argsort(image, kind="stable")
    exposure, detector, x, y, star, image = (v[order] for v in (exposure, detector, x, y, star, image))
    edges = [0, *(np.flatnonzero(np.diff(image)) + 1).tolist(), len(image)]
    color = np.asarray(stars["COLOR"])[star]
    fitted, true = np.empty((2, len(x))), np.empty((2, len(x)))
    for begin, end in pairwise(edges):
        rows = slice(begin, end)
        e, c = int(exposure[begin]), int(detector[begin])
        extra = (color[rows],) if colors else ()
        fitted[:, rows] = mapper(e, c, x[rows], y[rows], *extra)
        true[:, rows] = pixel_to_sky(model, e, c, x[rows], y[rows])
        if colors and model["args"]["dcr"]:
            true[:, rows] = _without_refraction(model["exps"][e], color[rows], *true[:, rows])
    years = np.array([q["epoch"] for q in model["exps"]])[exposure] - REFERENCE_EPOCH
    days = np.array([q["mjd"] for q in model["exps"]])[exposure]
    pa, pd = parallax_factors(days, *true)
    moved = np.stack(
        [
            np.asarray(stars["PMRA"])[star] * years + np.asarray(stars["PLX"])[star] * pa,
            np.asarray(stars["PMDEC"])[star] * years + np.asarray(stars["PLX"])[star] * pd,
        ]
    )

    def scatter(place: Any) -> float:
        at_rest = np.stack(to_plane(*place, *model["center"])) / MAS - moved
        count = np.bincount(star, minlength=len(stars))
        total = 0.0
        for axis in at_rest:
            mean = np.bincount(star, axis, minlength=len(stars)) / np.maximum(count, 1)
            total += float(((axis - mean[star])[count[star] > 1] ** 2).sum())
        return float(np.sqrt(total / 2 / (count[count > 1] - 1).sum()))

    return {"rms_mas_internal": scatter(fitted), "noise_mas_internal": scatter(true)}


def _without_refraction(exposure: dict[str, Any], color: Any, ra: Any, dec: Any) -> tuple[Any, Any]:
    pole = exposure["ra0"], exposure["dec0"]
    xi, eta = to_plane(ra, dec, *pole)
    east, north = refraction(exposure, color)
    return from_plane(xi - east, eta - north, *pole)


if __name__ == "__main__":
    main()
