"""Problem: the arrays one joint fit works on. State: what it finds. Both in dimensionless plane units.

A plane unit is ``unit`` degrees (pixels, for an image-to-image fit), about the radius of the field, so that
the arguments of all polynomials lie in [-1, 1].

The mapping of image i is outer[i](inner[i](u, v)): with the constrained model the inner polynomial belongs to
the detector and the outer one to the exposure; with the simple model the inner one belongs to the image and
the outer one is the identity. A star's five parameters are its place in the common plane at ``epoch``, its
motion there per year and its parallax.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.polynomial import Basis

Floats = NDArray[np.float64]
PARTS = 8
"""Sums are made in so many parts, whatever the number of threads, so that results do not depend on that."""

POSITION, MOTION, PARALLAX = 1, 2, 4
"""Bits of ``star_free``: which parameters of a star may move."""


class NotANumberError(ObslabError, ValueError):
    """Positions or weights that the sums over all measurements cannot take."""


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
        # One bad value would make a sum over all measurements NaN, and the kernels must not be asked about
        # NaN.
        for name in ("u", "v", "weight", "prior", "prior_at", "delta_yr", "earth", "homography"):
            values = getattr(self, name)
            if not np.isfinite(values.sum(dtype=np.float64)):
                bad = np.argwhere(~np.isfinite(values))
                where = f"first at {tuple(bad[0].tolist())}" if len(bad) else "by their sum"
                raise NotANumberError(
                    f"{len(bad):,} values of {name} are not finite, {where}; positions must be numbers and "
                    "their errors positive: leave such measurements out",
                    name=name, rows=bad,
                )  # fmt: skip

    @property
    def star_parameters(self) -> int:
        return int(self.prior_at.shape[1])

    @property
    def anisotropic(self) -> bool:
        return bool(self.weight.shape[0] == 3)

    @property
    def work_basis(self) -> Basis:
        """Basis in which a change of an image's whole mapping is put down: of the higher of the two
        degrees."""
        return self.inner_basis if self.inner_basis.degree >= self.outer_basis.degree else self.outer_basis

    @cached_property
    def axes(self) -> NDArray[np.int64]:
        """(2, half): where the coefficients of xi, and of eta, stand in a vector over all of them."""
        inners, terms = self.inner_free.shape
        outers, outer_terms = self.outer_free.shape
        inner = np.arange(inners)[:, None] * 2 * terms + np.arange(terms)
        outer = inners * 2 * terms + np.arange(outers)[:, None] * 2 * outer_terms + np.arange(outer_terms)
        first = np.concatenate([inner.ravel(), outer.ravel()])
        step = np.concatenate([np.full(inner.size, terms), np.full(outer.size, outer_terms)])
        return np.stack([first, first + step])

    @property
    def half_free(self) -> NDArray[np.bool_]:
        """Which coefficients of one axis may move, in the order of ``axes``."""
        return np.concatenate([self.inner_free.ravel(), self.outer_free.ravel()])

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
