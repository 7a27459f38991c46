"""The terms that are fitted: which columns each image's points have, their names, and what fixes them.

Columns are zero points, detector terms, flat corrections (illumination) and color terms, in this order. A
term is what it adds to a star's magnitude: instrumental = star + zero point + detector + illumination +
color.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import polynomial
from obslab.jointfit.photometry.bands import Bands
from obslab.jointfit.photometry.focal import FocalPlane
from obslab.jointfit.photometry.gathering import connect
from obslab.jointfit.photometry.points import Points
from obslab.jointfit.photometry.settings import PhotometryError, Settings

Ints = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """For each image its columns, -1 none; and a name for each column."""

    zero: Ints
    detector: Ints
    illumination: Ints
    """The first of the illumination's columns; the others follow."""
    color: Ints
    powers: tuple[tuple[int, int], ...]
    """Of the focal-plane position, of each illumination term."""
    names: tuple[str, ...]
    zero_image: Ints
    """One image for each zero point."""
    detector_image: Ints
    illumination_image: Ints
    """One image for each flat correction."""
    color_image: Ints
    color_band: Ints
    """Of each color term."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def first_illumination(self) -> int:
        return len(self.zero_image) + len(self.detector_image)

    @property
    def first_color(self) -> int:
        return self.first_illumination + len(self.illumination_image) * len(self.powers)


def make_columns(
    measured: xr.Dataset,
    exposure: Ints,
    bands: Bands,
    plane: FocalPlane,
    good: NDArray[np.bool_],
    settings: Settings,
) -> Columns:
    """Columns for the images that are ``good``, that is have points to fit."""
    number, chip = measured.exposure.values, measured.detector.values
    band, setup = bands.of_exposure[exposure], bands.setup[exposure]
    images = np.arange(len(good))
    by_image = settings.zero_point == "image"
    zero, zero_image = _numbered(images if by_image else exposure, good)
    on = good & settings.detectors & (not by_image)
    detector, detector_image = _numbered(np.stack([setup, plane.of_image], 1), on)
    powers = polynomial.terms(settings.illumination_degree)[1:]
    illumination, illumination_image = _numbered(setup, good & bool(powers))
    per_detector = settings.color_terms == "detector"
    key = np.stack([band, plane.of_image if per_detector else band], 1)
    color, color_image = _numbered(key, good & (settings.color_terms is not None))

    def label(i: int) -> str:
        return f" {bands.setup_names[setup[i]]}" if len(bands.setup_names) > 1 else ""

    names = [f"zero point of exposure {number[i]}" + f" detector {chip[i]}" * by_image for i in zero_image]
    names += [f"detector {chip[i]}{label(i)}" for i in detector_image]
    names += [f"illumination{label(i)} x{p}y{q}" for i in illumination_image for p, q in powers]
    names += [
        f"color term {bands.names[band[i]]}" + f" detector {chip[i]}" * per_detector for i in color_image
    ]
    start = len(zero_image)
    detector[detector >= 0] += start
    start += len(detector_image)
    illumination[illumination >= 0] = start + illumination[illumination >= 0] * len(powers)
    start += len(illumination_image) * len(powers)
    color[color >= 0] += start
    return Columns(
        zero, detector, illumination, color, powers, tuple(names), zero_image, detector_image,
        illumination_image, color_image, band[color_image],
    )  # fmt: skip


def _numbered(key: Ints, on: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Numbers from 0 for the different keys of images that are ``on``, else -1; and an image for each."""
    number = np.full(len(key), -1, np.int32)
    where = np.flatnonzero(on)
    if not len(where):
        return number, where
    _, first, inverse = np.unique(key[where], axis=0, return_index=True, return_inverse=True)
    number[where] = inverse.reshape(-1)
    return number, where[first]


@dataclass(frozen=True)
class Gauge:
    """What the measurements leave open by construction, and the equations c . terms = 0 that settle it."""

    equations: Floats
    """Shape (equations, columns)."""
    sets: tuple[Ints, ...]
    """Columns of the zero points that common stars tie together."""
    anchored: tuple[bool, ...]
    """Whether reference magnitudes fix each set; if not its mean zero point is 0."""


def find_gauge(columns: Columns, points: Points) -> Gauge:
    """Sets of zero points without a reference have mean 0, and so have detectors that share exposures."""
    zeros = len(columns.zero_image)
    set_of = np.arange(zeros)
    anchored = np.zeros(zeros, bool)
    connect(
        points.first,
        points.image,
        points.state,
        points.reference_state,
        points.held,
        columns.zero,
        set_of,
        anchored,
    )
    sets = tuple(np.flatnonzero(set_of == s) for s in np.unique(set_of))
    fixed = tuple(bool(anchored[set_of[s[0]]]) for s in sets)
    free = [s for s, by_reference in zip(sets, fixed, strict=True) if not by_reference]
    groups = free + _detector_sets(columns)
    groups += _color_sets(columns, anchored[set_of[columns.zero[columns.color_image]]])
    equations = np.zeros((len(groups), len(columns)))
    for equation, group in zip(equations, groups, strict=True):
        equation[group] = 1 / len(group)
    return Gauge(equations, sets, fixed)


def _detector_sets(columns: Columns) -> list[Ints]:
    """Detector terms that common exposures tie together: all of a setup, as a rule."""
    parent = np.arange(columns.first_illumination)

    def root(node: int) -> int:
        while parent[node] != node:
            node = parent[node]
        return node

    on = columns.detector >= 0
    for z, d in np.unique(np.stack([columns.zero[on], columns.detector[on]], 1), axis=0):
        one, other = sorted((root(z), root(d)))
        parent[other] = one
    detectors = range(len(columns.zero_image), columns.first_illumination)
    roots = np.array([root(d) for d in detectors], np.int64)
    return [np.flatnonzero(roots == r) + len(columns.zero_image) for r in np.unique(roots)]


def _color_sets(columns: Columns, anchored: NDArray[np.bool_]) -> list[Ints]:
    """Color terms that can only be compared: without a reference, a common one is part of every star."""
    sets = []
    for band in np.unique(columns.color_band):
        mine = np.flatnonzero(columns.color_band == band)
        if anchored[mine].any():
            continue
        if len(mine) == 1:
            name = columns.names[columns.first_color + mine[0]]
            raise PhotometryError(
                f"the {name} cannot be told from the stars' own magnitudes: it needs reference magnitudes of "
                'that band; between detectors it can be compared, with color_terms="detector"',
                term=name,
            )
        sets.append(mine + columns.first_color)
    return sets
