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
from obslab.jointfit.association.planes import Rows
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
    def excluded_exposures(self) -> tuple[int, ...]:
        return tuple(r.exposure for r in self.refusals if r.image is None)

    @property
    def excluded_images(self) -> tuple[int, ...]:
        return tuple(r.image for r in self.refusals if r.image is not None)

    @property
    def rms_arcsec(self) -> float:
        """Of the worst exposure; 0 if none was aligned."""
        return float(np.fmax.reduce(self.table["rms"].values, initial=0.0))


@dataclass(frozen=True)
class Scene:
    """What alignment looks at: bright measurements of each exposure in its plane, and the planes."""

    numbers: NDArray[np.int32]
    bright: NDArray[np.int64]
    """Rows of measured, ordered; those of exposure e are bright[starts[e]:starts[e + 1]]."""
    starts: NDArray[np.int64]
    xi: Floats
    eta: Floats
    image: NDArray[np.int32]
    names: Sequence[str]
    """Of all images."""
    frame: Floats
    """The common plane."""
    from_common: Floats
    to_common: Floats
    years: Floats
    """Of each exposure after the epoch of the common plane."""

    @property
    def present(self) -> NDArray[np.int64]:
        """Exposures that have any."""
        return np.flatnonzero(np.diff(self.starts))


def scene_of(
    measured: xr.Dataset,
    exposures: xr.Dataset,
    rows: Rows,
    planes: tuple[Floats, Floats],
    frame: Floats,
    frames: Floats,
    epoch: float,
) -> Scene:
    """``planes``: xi, eta of all measurements, NaN for those not offered; ``frame``: the common plane's."""
    bright, starts = _brightest(measured["sigma"].values, planes[0], rows.exposure_starts)
    return Scene(
        numbers=exposures["exposure"].values,
        bright=bright,
        starts=starts,
        xi=planes[0][bright],
        eta=planes[1][bright],
        image=measured["image"].values[bright],
        names=measured["name"].values.tolist(),
        frame=frame,
        from_common=projection.homography(frames, frame),
        to_common=projection.homography(frame, frames),
        years=exposures["epoch"].values - epoch,
    )


def align_on_reference(scene: Scene, known: Floats, search: float, match_cut: float) -> Alignment:
    """Each exposure apart; ``known`` are the reference stars in the common plane; lengths in deg."""
    search_of = _Search(scene, search, match_cut)
    search_of.align(known, scene.present)
    return search_of.alignment(known, on_reference=True)


def align_on_each_other(scene: Scene, search: float, match_cut: float, distinct: float) -> Alignment:
    """From the exposure with most measurements outwards, each one on the stars of those before it.

    Bright measurements nearer than ``distinct`` to each other count as one star.
    """
    search_of = _Search(scene, search, match_cut)
    left = scene.present
    if not len(left):
        return search_of.alignment(np.empty((0, 4)), on_reference=False)
    anchor = left[np.argmax(np.diff(scene.starts)[left])]
    search_of.poses[anchor] = Pose(bright=int(np.diff(scene.starts)[anchor]), clear=True, rms=0.0)
    known = search_of.stars(anchor)
    new = np.array([anchor])
    while len(new):
        left = left[~np.isin(left, new)]
        search_of.align(known, left)
        new = left[[search_of.poses[e].clear for e in left]]
        known = np.concatenate([known, *[search_of.stars(e) for e in new]])
        label = friends(known[:, 0].copy(), known[:, 1].copy(), distinct)
        known = known[label == np.arange(len(known))]
    return search_of.alignment(known, on_reference=False)


def not_aligned(numbers: NDArray[np.int32]) -> Alignment:
    """Every exposure where it is."""
    poses = [Pose() for _ in numbers]
    return Alignment(np.stack([pose.affine for pose in poses]), _table(numbers, poses), ())


class _Search:
    """The poses of all exposures, as far as they are known."""

    def __init__(self, scene: Scene, search: float, match_cut: float) -> None:
        self.scene, self.search, self.match_cut = scene, search, match_cut
        self.poses = [Pose() for _ in scene.numbers]
        self.mark = np.zeros(len(scene.bright), np.int8)

    def align(self, known: Floats, todo: NDArray[np.int64]) -> None:
        for e, pose in zip(todo, self._tried(known, todo, self.search, self.mark, fan=True), strict=True):
            self.poses[e] = pose

    def stars(self, exposure: int) -> Floats:
        """Bright measurements of an exposure in the common plane, at rest."""
        scene = self.scene
        some = slice(*scene.starts[exposure : exposure + 2])
        here = np.stack([scene.xi[some], scene.eta[some]])
        a = self.poses[exposure].affine
        there = projection.apply(scene.to_common[exposure], *(here + a[:, :1] + a[:, 1:] @ here))
        return np.stack([*there, np.zeros_like(there[0]), np.zeros_like(there[0])], -1)

    def alignment(self, known: Floats, on_reference: bool) -> Alignment:
        """What was found, and in words what was not, for which a wider search may give a hint."""
        scene = self.scene
        clear = np.array([pose.clear for pose in self.poses])
        failed = scene.present[~clear[scene.present]]
        refusals = self._refused_images(np.flatnonzero(clear))
        hints = self._tried(known, failed, _HINT * self.search, np.zeros_like(self.mark), fan=False)
        for e, hint in zip(failed, hints, strict=True):
            number, place, search = int(scene.numbers[e]), self._place(e), self.search / ARCSEC
            refusals.append(refused_exposure(number, self.poses[e], hint, place, search, on_reference))
        affine = np.stack([pose.affine for pose in self.poses])
        return Alignment(affine, _table(scene.numbers, self.poses), tuple(refusals))

    def _tried(
        self, known: Floats, todo: NDArray[np.int64], search: float, mark: NDArray[np.int8], fan: bool
    ) -> list[Pose]:
        scene, poses = self.scene, [Pose() for _ in todo]

        def one(part: int) -> None:
            e = todo[part]
            some = slice(*scene.starts[e : e + 2])
            poses[part] = align(
                scene.xi[some], scene.eta[some], known, scene.years[e], scene.from_common[e],
                search, self.match_cut, fan, mark[some],
            )  # fmt: skip

        pool.run(one, len(todo))
        return poses

    def _place(self, exposure: int) -> str:
        """Where the WCS puts an exposure."""
        scene = self.scene
        some = slice(*scene.starts[exposure : exposure + 2])
        middle = projection.apply(scene.to_common[exposure], scene.xi[some].mean(), scene.eta[some].mean())
        ra, dec = projection.sky(projection.from_plane(scene.frame, *middle))
        return f"RA {ra:.3f}, Dec {dec:+.3f}"

    def _refused_images(self, exposures: NDArray[np.int64]) -> list[Refusal]:
        scene = self.scene
        refusals: list[Refusal] = []
        for e in exposures:
            some = slice(*scene.starts[e : e + 2])
            number = int(scene.numbers[e])
            refusals += refused_images(scene.image[some], self.mark[some], scene.names, number)
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
