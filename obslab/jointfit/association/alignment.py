"""Bring every exposure onto the reference, or the exposures onto each other, or say why that fails.

Rough WCSs are off by several arcsec and turned a little: by the same for all images of an exposure. What is
found is an affine for each exposure, from its bright measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import datasets, pool, projection
from obslab.jointfit.association.friends import friends
from obslab.jointfit.association.planes import Planes, Rows
from obslab.jointfit.association.prealign import Pose, align
from obslab.jointfit.association.refusal import Refusal, refused_exposure, refused_images
from obslab.jointfit.projection import Floats

ARCSEC = 1 / 3600
_MOST_BRIGHT = 2000
_ALL_OF_FEW = 200
_HINT = 6
"""Times the search radius that is looked through for the sake of the message, once an exposure failed."""


@dataclass(frozen=True)
class Alignment:
    """How the exposures were moved, and what could not be."""

    affine: Floats
    table: xr.Dataset
    refusals: tuple[Refusal, ...]

    @property
    def any_left(self) -> bool:
        return bool(np.isfinite(self.table["rms"].values).any())

    @property
    def rms_arcsec(self) -> float:
        """Of the worst exposure; 0 if none was aligned."""
        return float(np.fmax.reduce(self.table["rms"].values, initial=0.0))


@dataclass(frozen=True)
class Bright:
    """The bright measurements of each exposure, in its plane: those that alignment looks at."""

    numbers: NDArray[np.int32]
    names: Sequence[str]
    """Of all images."""
    planes: Planes
    starts: NDArray[np.int64]
    """Exposure e has the bright measurements starts[e]:starts[e + 1]."""
    xi: Floats
    eta: Floats
    image: NDArray[np.int32]

    @classmethod
    def of(
        cls, measured: xr.Dataset, exposures: xr.Dataset, rows: Rows, planes: Planes, xi: Floats, eta: Floats
    ) -> Bright:
        """``xi`` and ``eta`` of all measurements, NaN for those not offered."""
        some, starts = _brightest(measured["sigma"].values, xi, rows.exposure_starts)
        numbers, names = exposures["exposure"].values, measured["name"].values.tolist()
        return cls(numbers, names, planes, starts, xi[some], eta[some], measured["image"].values[some])

    @property
    def present(self) -> NDArray[np.int64]:
        """Exposures that have any."""
        return np.flatnonzero(np.diff(self.starts))

    def rows(self, exposure: int) -> slice:
        return slice(*self.starts[exposure : exposure + 2])


def align_on_reference(bright: Bright, known: Floats, search: float, match_cut: float) -> Alignment:
    """Each exposure apart; ``known`` are the reference stars in the common plane; lengths in deg."""
    search_of = _Search(bright, search, match_cut)
    search_of.align(known, bright.present)
    return search_of.alignment(known, on_reference=True)


def align_on_each_other(bright: Bright, search: float, match_cut: float, distinct: float) -> Alignment:
    """From the exposure with most measurements outwards, each one on the stars of those before it.

    If they fall apart into several sets, the largest is kept. Bright measurements nearer than ``distinct`` to
    each other count as one star.
    """
    search_of = _Search(bright, search, match_cut)
    left, best, stars = bright.present, np.empty(0, np.int64), np.empty((0, 4))
    while len(left) > len(best):
        together, known = search_of.grown(left, distinct)
        left = left[~np.isin(left, together)]
        if len(together) > len(best):
            best, stars = together, known
    search_of.align(stars, bright.present[~np.isin(bright.present, best)])
    return search_of.alignment(stars, on_reference=False)


def not_aligned(numbers: NDArray[np.int32]) -> Alignment:
    """Every exposure where it is."""
    poses = [Pose() for _ in numbers]
    return Alignment(np.stack([pose.affine for pose in poses]), _table(numbers, poses), ())


class _Search:
    """The poses of all exposures, as far as they are known."""

    def __init__(self, bright: Bright, search: float, match_cut: float) -> None:
        self.bright, self.search, self.match_cut = bright, search, match_cut
        self.poses = [Pose() for _ in bright.numbers]
        self.mark = np.zeros(len(bright.xi), np.int8)

    def align(self, known: Floats, todo: NDArray[np.int64]) -> None:
        for e, pose in zip(todo, self._tried(known, todo, self.search, self.mark, fan=True), strict=True):
            self.poses[e] = pose

    def grown(self, left: NDArray[np.int64], distinct: float) -> tuple[NDArray[np.int64], Floats]:
        """Those of the exposures that can be aligned on each other, and their stars in the common plane."""
        counts = np.diff(self.bright.starts)[left]
        new = left[[np.argmax(counts)]]
        self.poses[new[0]] = Pose(bright=int(counts.max()), clear=True, rms=0.0)
        together, known = new, self.stars(new[0])
        while len(new):
            todo = left[~np.isin(left, together)]
            self.align(known, todo)
            new = np.array([e for e in todo if self.poses[e].clear], np.int64)
            together = np.concatenate([together, new])
            known = np.concatenate([known, *[self.stars(e) for e in new]])
            label = friends(known[:, 0].copy(), known[:, 1].copy(), distinct)
            known = known[label == np.arange(len(known))]
        return together, known

    def stars(self, exposure: int) -> Floats:
        """Bright measurements of an exposure in the common plane, at rest."""
        bright = self.bright
        some = bright.rows(exposure)
        here = np.stack([bright.xi[some], bright.eta[some]])
        a = self.poses[exposure].affine
        there = projection.apply(bright.planes.to_common[exposure], *(here + a[:, :1] + a[:, 1:] @ here))
        return np.stack([*there, np.zeros_like(there[0]), np.zeros_like(there[0])], -1)

    def alignment(self, known: Floats, on_reference: bool) -> Alignment:
        """What was found, and in words what was not, for which a wider search may give a hint."""
        bright = self.bright
        clear = np.array([pose.clear for pose in self.poses])
        failed = bright.present[~clear[bright.present]]
        refusals = self._refused_images(np.flatnonzero(clear))
        hints = self._tried(known, failed, _HINT * self.search, np.zeros_like(self.mark), fan=False)
        for e, hint in zip(failed, hints, strict=True):
            number, place, search = int(bright.numbers[e]), self._place(e, known), self.search / ARCSEC
            refusals.append(refused_exposure(number, self.poses[e], hint, place, search, on_reference))
        affine = np.stack([pose.affine for pose in self.poses])
        return Alignment(affine, _table(bright.numbers, self.poses), tuple(refusals))

    def _tried(
        self, known: Floats, todo: NDArray[np.int64], search: float, mark: NDArray[np.int8], fan: bool
    ) -> list[Pose]:
        bright, poses = self.bright, [Pose() for _ in todo]
        years, matrices = bright.planes.years, bright.planes.from_common

        def one(part: int) -> None:
            e = todo[part]
            some = bright.rows(e)
            poses[part] = align(
                bright.xi[some], bright.eta[some], known, years[e], matrices[e],
                search, self.match_cut, fan, mark[some],
            )  # fmt: skip

        pool.run(one, len(todo))
        return poses

    def _place(self, exposure: int, known: Floats) -> str:
        """Where the WCS puts an exposure, and how far that is from the middle of the known stars."""
        bright, planes = self.bright, self.bright.planes
        some = bright.rows(exposure)
        middle = bright.xi[some].mean(), bright.eta[some].mean()
        here = projection.from_plane(planes.frames[exposure], *middle)
        there = projection.from_plane(planes.frame, *known[np.isfinite(known[:, 0]), :2].mean(0))
        ra, dec = projection.sky(here)
        away = np.degrees(2 * np.arcsin(np.linalg.norm(here - there) / 2))
        return f"RA {ra:.3f}, Dec {dec:+.3f}, {away:.2f} deg from the middle of"

    def _refused_images(self, exposures: NDArray[np.int64]) -> list[Refusal]:
        bright = self.bright
        refusals: list[Refusal] = []
        for e in exposures:
            some = bright.rows(e)
            number = int(bright.numbers[e])
            refusals += refused_images(bright.image[some], self.mark[some], bright.names, number)
        return refusals


def _table(numbers: NDArray[np.int32], poses: Sequence[Pose]) -> xr.Dataset:
    """``datasets.ALIGNMENT`` of the poses; zero or NaN for exposures that were not aligned."""
    moved = np.array([pose.pose[:, 0] if pose.clear else (np.nan, np.nan) for pose in poses])
    return datasets.ALIGNMENT.build(
        exposure=numbers,
        xi=moved[:, 0] / ARCSEC,
        eta=moved[:, 1] / ARCSEC,
        rotation=np.array([pose.turn if pose.clear else np.nan for pose in poses]) / ARCSEC,
        bright=np.array([pose.bright for pose in poses]),
        pairs=np.array([pose.pairs for pose in poses]),
        by_chance=np.array([pose.by_chance for pose in poses]),
        runner_up=np.array([pose.runner_up for pose in poses]),
        matched=np.array([pose.matched for pose in poses]),
        rms=np.array([pose.rms if pose.clear else np.nan for pose in poses]) / ARCSEC,
    )


def _brightest(
    sigma: NDArray[np.float32], xi: Floats, exposure_starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows with the smaller half of each exposure's errors, but at most 2000; where each exposure's start."""
    rows: list[NDArray[np.int64]] = []
    for begin, end in pairwise(exposure_starts.tolist()):
        errors = np.where(np.isfinite(xi[begin:end]), sigma[begin:end], np.inf)
        usable = int(np.count_nonzero(errors < np.inf))
        count = min(max(usable // 2, _ALL_OF_FEW), _MOST_BRIGHT, usable)
        limit = np.partition(errors, count - 1)[count - 1] if count else -np.inf
        bright = np.flatnonzero(errors <= limit)
        every = max(1, len(bright) // _MOST_BRIGHT)  # where many have the same error
        rows.append(bright[::every] + begin)
    return np.concatenate(rows), np.cumsum([0] + [len(some) for some in rows])
