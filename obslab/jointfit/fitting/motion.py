"""What the reference says of each fitted star: place, motion and parallax, at the catalogue's own epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.projection import DEG, MAS, frames, unit_vectors
from obslab.jointfit.solve.problem import MOTION, PARALLAX, POSITION

Floats = NDArray[np.float64]

FLOOR_MAS = 0.05
"""Smallest error of a reference position: Gaia's own systematics. It also keeps weights within float32."""
FLOOR_MAS_YR = 0.01
NEGLIGIBLE_MAS = 0.05
"""Motion within the data that is not worth three more parameters of each star."""
LEAST_SPAN_YR = 1.0
LEAST_SPAN_OF_STAR_YR = 0.25
"""A star seen within less moves by less than its errors; with more, a wide prior does the rest."""
LEAST_EPOCHS = 3
LEAST_EPOCHS_PARALLAX = 5
SAME_EPOCH_YR = 1 / 365.25
WIDE = 10.0
"""Prior of a star without a reference: this many times the scatter of the reference's own motions. So wide
that it pulls no fast star, and that degrees of freedom, which take it for what is known, come out right
within 1 %."""

UNKNOWN_MAS_YR, UNKNOWN_MAS = 100.0, 20.0
"""The same where the reference has no motions, or no parallaxes."""


class MotionError(ObslabError, ValueError):
    """Proper motions or parallaxes asked for that these data cannot give."""


@dataclass(frozen=True)
class Priors:
    """For K fitted stars, in plane units: information (packed upper triangle) about 2 or 5 parameters, and
    their values there; which may move; those without a reference have no prior, or a wide one on the motion.
    """

    information: Floats
    at: Floats
    free: NDArray[np.uint8]
    on: NDArray[np.uint8]
    why: str


def asked(choice: Any) -> bool:
    """Whether an option of ``fit`` asks for motions or parallaxes: True or a mask, not False or a rule."""
    return choice is not None and not isinstance(choice, str) and (choice is True or bool(np.any(choice)))


def notes(reference: xr.Dataset | None, exposures: xr.Dataset, motion: Any, parallax: Any) -> list[str]:
    """What to say of motions: a refusal where nothing can hold them, a word where the reference has none."""
    has_motion = reference is not None and bool(np.isfinite(reference.pm_ra.values).any())
    if motion is True and not has_motion:
        raise MotionError(
            "proper motions of all stars cannot be fitted: "
            + ("there is no reference" if reference is None else "the reference has none")
            + ", so the mappings would take up the mean motion of the field; give a reference with proper "
            "motions, a mask of some stars, or motion=False"
        )
    if parallax is True and reference is None:
        raise MotionError(
            "parallaxes of all stars cannot be fitted without a reference; give one, or parallax=False"
        )
    if reference is None or has_motion or not reference.sizes["reference"]:
        return []
    years = float(np.median(exposures.epoch.values) - np.nanmedian(reference.epoch.values))
    if abs(years) < LEAST_SPAN_YR:
        return []
    return [
        f"the reference has no proper motions and was made {abs(years):.1f} years "
        f"{'before' if years > 0 else 'after'} the "
        "images: its errors have to allow for what stars moved since (reference_error_mas, --reference-error)"
    ]


def motion_is_due(reference: xr.Dataset | None, span_yr: float, epochs: int) -> bool:
    """The default rule: fit proper motions over a year or more with three epochs or more, if the reference
    has any.

    Without motions in the reference nothing holds the field as a whole, and the exposures' own mappings would
    take up the mean motion.
    """
    if reference is None or span_yr < LEAST_SPAN_YR or epochs < LEAST_EPOCHS:
        return False
    return bool(np.nanmax(np.abs(reference.pm_ra.values), initial=0) > 0)


def parallax_is_due(reference: xr.Dataset | None, span_yr: float, epochs: int) -> bool:
    """The default rule: five epochs or more over a year, and a reference with parallaxes."""
    if reference is None or span_yr < LEAST_SPAN_YR or epochs < LEAST_EPOCHS_PARALLAX:
        return False
    return bool(np.nanmax(np.abs(reference.parallax.values), initial=0) > 0)


def distinct_epochs(epoch_yr: Floats) -> int:
    """Epochs that differ by more than a day."""
    return 1 + int((np.diff(np.sort(epoch_yr)) > SAME_EPOCH_YR).sum()) if len(epoch_yr) else 0


def priors(
    reference: xr.Dataset | None,
    of_star: NDArray[np.int32],
    start: Floats,
    frame: Floats,
    epoch_yr: float,
    span_yr: float,
    unit: float,
    motion: NDArray[np.bool_],
    parallax: NDArray[np.bool_],
    *,
    error_mas: float | None = None,
    floor_mas: float = FLOOR_MAS,
) -> Priors:
    """What the reference says of stars that start at ``start`` (K, 2), in plane units.

    ``motion``, ``parallax`` (K,): whose are to be fitted. ``error_mas``: an error for all positions in place
    of the catalogue's.
    """
    count = len(of_star)
    has = of_star >= 0
    size = 5 if _five(reference, of_star[has], span_yr, motion, parallax) else 2
    information = np.zeros((count, size * (size + 1) // 2))
    at = np.zeros((count, size))
    at[:, :2] = start
    free: NDArray[np.uint8] = np.full(count, POSITION, np.uint8)
    why = "positions"
    if size == 5:
        free[motion] |= np.uint8(MOTION)
        free[parallax] |= np.uint8(PARALLAX)
        why = (
            f"positions; proper motions of {int(motion.sum()):,} stars, parallaxes of {int(parallax.sum()):,}"
        )
    if reference is not None and has.any():
        full, center = _of_reference(
            reference,
            of_star[has],
            frame,
            epoch_yr,
            unit,
            size,
            motion[has],
            error_mas=error_mas,
            floor_mas=floor_mas,
        )
        rows, columns = np.triu_indices(size)
        if size == 5:
            full = _known_to_the_catalogue(full, free[has])
        information[has] = full[:, rows, columns]
        at[has] = center
        if size == 5 and not has.all():
            motion_width, parallax_width = np.array(_wide(reference)) * MAS / unit
            rest = np.zeros((size, size))
            rest[[2, 3, 4], [2, 3, 4]] = [1 / motion_width**2, 1 / motion_width**2, 1 / parallax_width**2]
            information[~has] = rest[rows, columns]
    on = np.asarray(information.any(1), np.uint8)
    return Priors(information, at, free, on, why)


def _five(
    reference: xr.Dataset | None,
    used: Any,
    span_yr: float,
    motion: NDArray[np.bool_],
    parallax: NDArray[np.bool_],
) -> bool:
    """Whether stars move by more than a little within the data, or their motion is to be fitted."""
    if motion.any() or parallax.any():
        return True
    if reference is None or not len(used):
        return False
    speed = np.hypot(reference.pm_ra.values[used], reference.pm_dec.values[used])
    far = np.abs(reference.parallax.values[used]) * (span_yr > 0.02)
    return bool(np.nanmax(np.fmax(speed * span_yr, far), initial=0) > NEGLIGIBLE_MAS)


def _of_reference(
    reference: xr.Dataset,
    used: Any,
    frame: Floats,
    epoch_yr: float,
    unit: float,
    size: int,
    free_motion: NDArray[np.bool_],
    *,
    error_mas: float | None,
    floor_mas: float,
) -> tuple[Floats, Floats]:
    """Information matrices (n, size, size) and values (n, size) of the reference stars ``used``."""
    r = reference.isel(reference=used)
    ra, dec = r.ra.values, r.dec.values
    star = unit_vectors(ra, dec)
    local = frames(ra, dec)
    depth = star @ frame[2]
    place = np.stack([star @ frame[0], star @ frame[1]], -1) / depth[:, None] / DEG  # deg
    # (xi, eta) change by (axis . d - place pole . d) / depth for a change d of the direction, d east or
    # north.
    east, north = local[:, 0], local[:, 1]
    turn = np.empty((len(ra), 2, 2))
    for column, direction in enumerate((east, north)):
        for row in range(2):
            along = direction @ frame[row] - place[:, row] * DEG * (direction @ frame[2])
            turn[:, row, column] = along / depth
    scale = MAS / unit
    errors = (
        np.stack([r.ra_error.values, r.dec_error.values], -1)
        if error_mas is None
        else np.full((len(ra), 2), error_mas)
    )
    errors = np.maximum(errors, floor_mas)
    motion = np.nan_to_num(np.stack([r.pm_ra.values, r.pm_dec.values], -1))
    motion_error = np.stack([r.pm_ra_error.values, r.pm_dec_error.values], -1)
    known = np.isfinite(motion_error) & np.isfinite(np.stack([r.pm_ra.values, r.pm_dec.values], -1))
    # A star of unknown motion in a catalogue of others that move does so like them; where none is known,
    # errors of positions are taken as they are given.
    motion_error = np.where(known, motion_error, _spread(reference.pm_ra.values, reference.pm_dec.values))
    dt = r.epoch.values - epoch_yr  # from the fit's epoch to the catalogue's
    speed = np.einsum("nij,nj->ni", turn, motion) * scale
    center = np.zeros((len(ra), size))
    center[:, :2] = place / unit - speed * dt[:, None]
    if size == 2:
        later = motion_error * dt[:, None]
        sky = np.zeros((len(ra), 2, 2))
        sky[:, [0, 1], [0, 1]] = errors**2 + later**2
        plane = np.einsum("nij,njk,nlk->nil", turn, sky, turn) * scale**2
        return np.linalg.inv(plane), center
    center[:, 2:4] = speed
    center[:, 4] = np.nan_to_num(r.parallax.values) * scale
    sky = np.zeros((len(ra), 2, 2))
    sky[:, [0, 1], [0, 1]] = 1 / errors**2
    back = np.linalg.inv(turn)
    inform = np.einsum("nji,njk,nkl->nil", back, sky, back) / scale**2
    full = np.zeros((len(ra), 5, 5))
    full[:, :2, :2] = inform
    full[:, :2, 2:4] = full[:, 2:4, :2] = inform * dt[:, None, None]
    full[:, 2:4, 2:4] = inform * dt[:, None, None] ** 2
    wide = _wide(reference)
    # Fitted without being known, it is held by a wide prior, as those of stars without a reference.
    motion_error = np.where(~known & free_motion[:, None], wide[0], motion_error)
    sky[:, [0, 1], [0, 1]] = 1 / np.maximum(motion_error, FLOOR_MAS_YR) ** 2
    full[:, 2:4, 2:4] += np.einsum("nji,njk,nkl->nil", back, sky, back) / scale**2
    error = r.parallax_error.values
    error = np.where(np.isfinite(error) & np.isfinite(r.parallax.values), error, wide[1])
    full[:, 4, 4] = 1 / (np.maximum(error, FLOOR_MAS) * scale) ** 2
    return full, center


def _known_to_the_catalogue(full: Floats, free: NDArray[np.uint8]) -> Floats:
    """Information about the free parameters alone, where others are kept at the catalogue's values: those
    have errors too, which widen the rest (the Schur complement)."""
    bits = np.array([POSITION, POSITION, MOTION, MOTION, PARALLAX], np.uint8)
    out = full.copy()
    for pattern in np.unique(free):
        mine = np.flatnonzero(free == pattern)
        kept = np.flatnonzero((pattern & bits) == 0)
        if not len(kept):
            continue
        rest = np.flatnonzero((pattern & bits) > 0)
        block = full[mine]
        inner = np.linalg.inv(block[:, kept[:, None], kept])
        across = block[:, rest[:, None], kept]
        narrowed = np.zeros_like(block)
        narrowed[:, rest[:, None], rest] = block[:, rest[:, None], rest] - across @ inner @ np.swapaxes(
            across, 1, 2
        )
        out[mine] = narrowed
    return out


def _wide(reference: xr.Dataset) -> tuple[float, float]:
    """Widths of the prior of a star without one: motion (mas/yr) and parallax (mas)."""
    motion = _spread(reference.pm_ra.values, reference.pm_dec.values)
    far = _spread(reference.parallax.values)
    return max(WIDE * motion, 1.0) if motion else UNKNOWN_MAS_YR, max(WIDE * far, 0.5) if far else UNKNOWN_MAS


def _spread(*values: Floats) -> float:
    """Typical size of what is known of them, as the sigma of a normal distribution about zero; 0: nothing is
    known.
    """
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    return float(1.4826 * np.median(np.abs(known))) if len(known) else 0.0
