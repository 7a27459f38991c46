"""Simulations of a small camera, fits of them made once, and how fits are held against the truth."""

from functools import lru_cache

import numpy as np

from obslab.jointfit import fit
from obslab.jointfit.projection import MAS, frames, to_plane, unit_vectors
from obslab.jointfit.simulate import simulate
from obslab.jointfit.simulate.stars import directions

SMALL = {"rng": 1, "detectors": (2, 2), "exposures": 6, "stars_per_detector": 150, "dither_deg": 0.06}
CLEAN = {"outliers": 0.0, "spurious": 0.0}


@lru_cache
def small(**options):
    return simulate(
        **{**SMALL, **{k: dict(v) if isinstance(v, frozenset) else v for k, v in options.items()}}
    )


@lru_cache
def base():
    """The simulation without effects, and its fit with all defaults."""
    simulated = small()
    return simulated, fit(*simulated.loaded)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def true_stars(simulated, result):
    """Row of the true stars that each fitted star is; -1: its first measurements are of none."""
    star = result.association.star
    out = np.full(len(result.association.reference), -1)
    rows = np.flatnonzero((star >= 0) & ~simulated.truth.outlier)[::-1]
    out[star[rows]] = simulated.truth.star[rows]
    return out


def star_pulls(simulated, result):
    """(2, n): fitted minus true places in their errors, and which stars these are."""
    true, table = true_stars(simulated, result), result.fitted
    mine = np.flatnonzero((true >= 0) & (table.used.values >= 2) & ~fooled(simulated, result))
    years = np.full(len(mine), table.attrs["epoch"] - simulated.truth.stars.attrs["epoch"])
    there = directions(simulated.truth.stars, true[mine], years, np.zeros((len(mine), 3)))
    frame = frames(table.ra.values[mine], table.dec.values[mine])
    east, north = to_plane(frame, there)
    errors = table.ra_error.values[mine], table.dec_error.values[mine]
    return np.array([-east / MAS / errors[0], -north / MAS / errors[1]]), mine


def fooled(simulated, result):
    """Fitted stars with an outlier that the fit took for a good measurement: nobody could tell."""
    used = result.residuals.state.values == 0
    out = np.zeros(len(result.association.reference), bool)
    out[result.association.star[used & simulated.truth.outlier]] = True
    return out


def apart_mas(ra, dec, other_ra, other_dec):
    """(2, n): difference of two lists of places, east and north."""
    return np.array(to_plane(frames(other_ra, other_dec), unit_vectors(ra, dec))) / MAS


def grid(simulated, n=6, margin=64):
    nodes = np.linspace(margin, simulated.truth.camera.pixels - margin, n)
    return tuple(axis.ravel() for axis in np.meshgrid(nodes, nodes))


def images(simulated):
    return zip(
        simulated.measured.exposure.values.tolist(), simulated.measured.detector.values.tolist(), strict=True
    )


def largest_difference_mas(simulated, one, other, which=None):
    """Of two fits' skies over all images, or those of exposures ``which``."""
    x, y = grid(simulated)
    return max(
        np.abs(apart_mas(*one.sky(e, d, x, y), *other.sky(e, d, x, y))).max()
        for e, d in images(simulated)
        if which is None or e in which
    )
