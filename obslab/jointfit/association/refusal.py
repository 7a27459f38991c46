"""Why an exposure, or an image of it, could not be aligned, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.association.prealign import FEWEST_BRIGHT, FEWEST_KNOWN, LARGEST_TURN_DEG, Pose
from obslab.jointfit.association.voting import MATCHED, NEAR

_SPOKEN = 5
_ODD_SHARE, _ODD_SIGMA = 0.25, 5.0


class AssociationError(ObslabError, ValueError):
    """Images whose measurements cannot be joined to stars."""


class AlignmentError(AssociationError):
    """Exposures or images whose rough WCS does not lead to the reference, or to the other exposures."""


@dataclass(frozen=True)
class Refusal:
    """An exposure, by its number, or one image of it, by its position, that cannot be used, and why."""

    exposure: int
    image: int | None
    why: str


def refusal_error(kind: type[AssociationError], refusals: Sequence[Refusal]) -> AssociationError:
    """One error for all of them."""
    exposures = tuple(dict.fromkeys(r.exposure for r in refusals))
    reasons = [r.why for r in refusals[:_SPOKEN]]
    if len(refusals) > _SPOKEN:
        reasons.append(f"and {len(refusals) - _SPOKEN} more like these")
    return kind(
        f"{'; '.join(reasons)}; correct that, or leave out what it names with on_failure='exclude'",
        exposures=exposures,
        images=tuple(r.image for r in refusals if r.image is not None),
        problems=tuple(r.why for r in refusals),
    )


def refused_exposure(
    number: int, found: Pose, hint: Pose, place: str, search_arcsec: float, on_reference: bool
) -> Refusal:
    """``hint`` is what a wider search finds; ``place`` says where the WCS puts the exposure, and how far from
    "the middle of" what it was to be aligned on."""
    star, others = ("reference star", "the reference") if on_reference else ("star", "the other exposures")
    place = f"its WCS puts it at {place} {others}"
    if found.bright < FEWEST_BRIGHT:
        why = f"it has {found.bright} usable measurements, wanted at least {FEWEST_BRIGHT}"
    elif found.near < FEWEST_KNOWN:
        why = (
            f"there is no overlap: {found.near} of its {found.bright} bright measurements have a {star} "
            f"within search_arcsec={search_arcsec:g}; {place}, which is wrong or not covered"
        )
    elif hint.clear:
        xi, eta = (round(offset * 3600) for offset in hint.pose[:, 0].tolist())
        reach = np.ceil(max(abs(xi), abs(eta)) / 5 + 0.5) * 5
        why = (
            f"no offset within search_arcsec={search_arcsec:g} stands out, but farther away "
            f"({xi}, {eta}) arcsec does, with {hint.pairs} pairs: if that is right, "
            f"search_arcsec={reach:g} finds it"
        )
    else:
        why = (
            f"no offset within search_arcsec={search_arcsec:g} stands out: the best has {found.pairs} pairs "
            f"of {found.bright} bright measurements, {found.by_chance:.1f} are expected by chance, the "
            f"runner-up has {found.runner_up}; {found.near} have any {star} that near; {place}: wrong by "
            f"more than the search, or turned by more than {LARGEST_TURN_DEG} deg"
        )
    return Refusal(number, None, f"exposure {number} cannot be aligned on {others}: {why}")


def refused_images(
    image: NDArray[np.int32], mark: NDArray[np.int8], names: Sequence[str], exposure: int
) -> list[Refusal]:
    """Images of one aligned exposure that matched far less often than it did as a whole.

    ``image`` and ``mark`` are those of its bright measurements.
    """
    if not len(image):
        return []
    first = int(image[0])
    near = np.bincount(image[mark >= NEAR] - first, minlength=1)
    good = np.bincount(image[mark == MATCHED] - first, minlength=len(near))
    share = good.sum() / max(near.sum(), 1)
    expected = near * share
    odd = (good < _ODD_SHARE * expected) & (good < expected - _ODD_SIGMA * np.sqrt(expected))
    return [
        Refusal(
            exposure,
            first + int(n),
            f"image {names[int(first + n)]} differs from the rest of exposure {exposure}: {good[n]} of its "
            f"{near[n]} bright measurements were matched, {share:.0%} in the whole of it: its WCS is wrong",
        )
        for n in np.flatnonzero(odd)
    ]
