"""Problem: the arrays one joint fit works on. State: what it finds. Both in dimensionless plane units.

A plane unit is ``unit`` degrees (pixels, for an image-to-image fit), about the radius of the field, so that the
arguments of all polynomials lie in [-1, 1].

The mapping of image i is outer[i](inner[i](u, v)): with the constrained model the inner polynomial belongs to
the detector and the outer one to the exposure; with the simple model the inner one belongs to the image and
the outer one is the identity. A star's five parameters are its place in the common plane at ``epoch``, its
motion there per year and its parallax.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.polynomial import Basis

Floats = NDArray[np.float64]
PARTS = 8
"""Sums are made in so many parts, whatever the number of threads, so that results do not depend on that."""

POSITION, MOTION, PARALLAX = 1, 2, 4
"""Bits of ``star_free``: which parameters of a star may move."""


@dataclass
class Problem:
    """What is given. N measurements ordered by image, B images, E exposures, K stars of 2 or 5 parameters."""

    inner_basis: Basis
    outer_basis: Basis
    inner: NDArray[np.int32]  # (B,)
    outer: NDArray[np.int32]  # (B,)
    exposure: NDArray[np.int32]  # (B,)
    first: NDArray[np.int64]  # (B+1,): measurements of image i are first[i]:first[i+1]
    u: Floats
    v: Floats
    weight: NDArray[np.float32]  # (1, N), or (3, N): xi xi, xi eta, eta eta; 0: not to be used
    star: NDArray[np.uint32]  # (N,)
    star_first: NDArray[np.int64]  # (K+1,)
    members: NDArray[np.int32]  # measurements, by star
    homography: Floats  # (E, 3, 3): common plane to exposure plane
    prior: Floats  # (K, 3 or 15): upper triangle of the reference's information about a star
    prior_at: Floats  # (K, 2 or 5)
    star_free: NDArray[np.uint8]  # (K,)
    inner_free: NDArray[np.bool_]  # (inner, terms)
    outer_free: NDArray[np.bool_]  # (outer, terms)
    delta_yr: Floats  # (E,): since the fit's epoch
    earth: Floats  # (E, 3): au, along the axes of the common plane
    radian: float  # of a plane unit; 0 for identity projectors
    unit: float  # degrees or pixels of a plane unit
    reference_on: NDArray[np.uint8]  # (K,): whether the prior counts
    measured_prior: NDArray[np.bool_]  # (K,): whether the prior is a reference star, not a guess
    gauge: Floats | None = None  # information that holds each mapping coefficient at its start
    terms: tuple[Any, ...] = ()
    part_first: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        count = self.first[-1]
        cuts = np.searchsorted(self.first, np.arange(PARTS + 1) * count // PARTS)
        cuts[0], cuts[-1] = 0, len(self.first) - 1
        self.part_first = cuts.astype(np.int64)

    @property
    def star_parameters(self) -> int:
        return int(self.prior_at.shape[1])

    @property
    def anisotropic(self) -> bool:
        return self.weight.shape[0] == 3

    @property
    def image_of(self) -> NDArray[np.int32]:
        """Image of each measurement."""
        return np.repeat(np.arange(len(self.inner), dtype=np.int32), np.diff(self.first))


@dataclass
class State:
    """What is fitted: coefficients (mappings, 2, terms), stars (K, 2 or 5), parameters of the terms."""

    inner: Floats
    outer: Floats
    stars: Floats
    extra: Floats

    def copy(self) -> State:
        return State(self.inner.copy(), self.outer.copy(), self.stars.copy(), self.extra.copy())

    def moved(self, step: Floats, stars: Floats, size: float = 1.0) -> State:
        """This state and ``size`` times a step in mappings and terms, and in stars."""
        a, b = self.inner.size, self.inner.size + self.outer.size
        return State(
            self.inner + size * step[:a].reshape(self.inner.shape),
            self.outer + size * step[a:b].reshape(self.outer.shape),
            self.stars + size * stars,
            self.extra + size * step[b:],
        )
