"""Which measurements, in which exposures, are one star, and which reference star it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ConfigError
from obslab.jointfit.association.alignment import (
    ARCSEC,
    Bright,
    align_on_each_other,
    align_on_reference,
    not_aligned,
)
from obslab.jointfit.association.friends import friends
from obslab.jointfit.association.moving import follow_fast_stars
from obslab.jointfit.association.planes import (
    Planes,
    Rows,
    common_positions,
    reference_positions,
    rough_positions,
)
from obslab.jointfit.association.refusal import (
    AlignmentError,
    AssociationError,
    Refusal,
    refusal_error,
)
from obslab.jointfit.association.result import Association
from obslab.jointfit.association.stars import (
    ALONE,
    AMBIGUOUS,
    NOT_OFFERED,
    TOO_FEW,
    number_stars,
    survey,
)
from obslab.jointfit.association.twins import twin_images
from obslab.jointfit.projection import Floats

log = logging.getLogger(__name__)

_RADIUS_ARCSEC, _TIGHT_ARCSEC = 0.5, 0.3
_RADIUS_IN_RMS = 2.5
Bools = NDArray[np.bool_]


def associate(
    measured: xr.Dataset,
    reference: xr.Dataset | None,
    exposures: xr.Dataset,
    *,
    selected: Any = None,
    match_cut_arcsec: float = 3.0,
    search_arcsec: float = 10.0,
    radius_arcsec: float | None = None,
    align: bool = True,
    on_failure: Literal["raise", "exclude"] = "raise",
    minimum_measurements: int = 2,
    positions: tuple[Any, Any] | None = None,
) -> Association:
    """Align the exposures on the reference, or on each other if it is None, and join friends to stars.

    The lengths, in the order in which they matter:

    - ``search_arcsec``: how far, in xi and in eta, the rough WCS of an exposure may be off, tried by a
      histogram of offsets. Without a clear peak, turns up to 0.1 deg and stretches up to 0.1 % are tried too.
    - ``match_cut_arcsec``: how far measurements may be from their stars once that offset is known: the first
      radius of the nearest-neighbour rounds that find the affine (later ones are 4 sigma of what the one
      before left; less than a third of the mean distance of the stars in any case). With ``align=False`` it
      is the radius of friends.
    - ``radius_arcsec``: the radius of friends after alignment. Unless given, it is 0.5, or 2.5 times the rms
      that alignment left in the worst exposure where that is more, but no more than ``match_cut_arcsec``; 0.3
      with ``positions``.

    A group is ambiguous with two measurements of one exposure or two reference stars. Such groups are taken
    apart with half the radius once, so that a neighbour does not cost a star; those still ambiguous are
    dropped and counted. A star needs ``minimum_measurements``, its reference star counting as one; groups of
    two or more members, but not that many, have too few.

    ``selected`` is a mask of the rows to use. ``positions`` (xi, eta, deg, in the exposures' planes) take
    the place of rough WCS and alignment, once mappings are fitted. ``on_failure="exclude"`` leaves out the
    exposures and images that cannot be aligned, and names them, where "raise" raises AlignmentError.
    """
    _check(search_arcsec, match_cut_arcsec, radius_arcsec, minimum_measurements, on_failure)
    rows, planes = Rows.of(measured, exposures), Planes.of(exposures)
    known = np.empty((0, 4)) if reference is None else reference_positions(reference, planes)
    count = measured.sizes["measured"]
    chosen, usable = _offered(measured, selected)
    x, y = np.empty(count + len(known)), np.empty(count + len(known))
    xi, eta = x[:count], y[:count]
    if positions is None:
        rough_positions(measured, rows, planes, xi, eta)
    else:
        xi[:], eta[:] = positions
    usable &= np.isfinite(xi) & np.isfinite(eta)
    xi[~(chosen & usable)] = eta[~(chosen & usable)] = np.nan

    if align and positions is None:
        bright = Bright.of(measured, exposures, rows, planes, xi, eta)
        lengths = search_arcsec * ARCSEC, match_cut_arcsec * ARCSEC
        if reference is None:
            found = align_on_each_other(bright, *lengths, _RADIUS_ARCSEC * ARCSEC)
        else:
            found = align_on_reference(bright, known, *lengths)
        if found.refusals and not (found.any_left and on_failure == "exclude"):
            raise refusal_error(AlignmentError, found.refusals)
        _leave_out(found.refusals, rows, exposures, xi)
        wide = min(max(_RADIUS_IN_RMS * found.rms_arcsec, _RADIUS_ARCSEC), match_cut_arcsec)
    else:
        found = not_aligned(exposures["exposure"].values)
        wide = match_cut_arcsec if positions is None else _TIGHT_ARCSEC
    radius = wide if radius_arcsec is None else radius_arcsec

    common_positions(rows, found.affine, planes, xi, eta)
    if len(known):
        follow_fast_stars(known, planes.years, rows.exposure_starts, xi, eta, radius * ARCSEC)
        _put_reference(known, x, y, count, radius * ARCSEC)
    groups = _grouped(x, y, radius * ARCSEC, rows)
    refusals = found.refusals
    twins = twin_images(groups.group, groups.ambiguous, rows, measured)
    if twins:
        if on_failure == "raise":
            raise refusal_error(AssociationError, twins)
        _leave_out(twins, rows, exposures, xi)
        groups, refusals = _grouped(x, y, radius * ARCSEC, rows), (*refusals, *twins)
    stars = number_stars(groups.group, groups.members, groups.ambiguous, count, minimum_measurements, x, y)
    counts = {
        "measured": count,
        "associated": len(stars.members),
        "alone": int(np.count_nonzero(stars.star == ALONE)),
        "ambiguous": int(np.count_nonzero(stars.star == AMBIGUOUS)),
        "too_few": int(np.count_nonzero(stars.star == TOO_FEW)),
        "not_offered": int(np.count_nonzero(stars.star == NOT_OFFERED)),
        "not_selected": int(np.count_nonzero(~chosen)),
        "unusable": int(np.count_nonzero(chosen & ~usable)),
        "stars": len(stars.reference),
        "stars_with_reference": int(np.count_nonzero(stars.reference >= 0)),
        "doubtful_groups": groups.doubtful,
        "ambiguous_groups": int(np.count_nonzero(groups.ambiguous)),
        "excluded_exposures": sum(refusal.image is None for refusal in refusals),
        "excluded_images": sum(refusal.image is not None for refusal in refusals),
    }
    log.info("association within %.2f arcsec: %s", radius, counts)
    return Association(
        star=stars.star,
        reference=stars.reference,
        position=stars.position,
        frame=planes.frame,
        frames=planes.frames,
        affine=found.affine,
        alignment=found.table,
        first=stars.first,
        members=stars.members,
        counts=counts,
        epoch=planes.epoch,
        radius_arcsec=radius,
        excluded_exposures=tuple(r.exposure for r in refusals if r.image is None),
        excluded_images=tuple(r.image for r in refusals if r.image is not None),
        reasons=tuple(r.why for r in refusals),
    )


def _offered(measured: xr.Dataset, selected: Any) -> tuple[Bools, Bools]:
    """Which rows were chosen, and which can be used: finite places, errors above zero."""
    count = measured.sizes["measured"]
    usable = np.isfinite(measured["x"].values) & np.isfinite(measured["y"].values)
    for name in ("sigma", "sigma_x", "sigma_y"):
        if name in measured:
            usable &= (measured[name].values > 0) & (measured[name].values < np.inf)
    chosen = np.ones(count, np.bool_) if selected is None else np.asarray(selected)
    if chosen.dtype != np.bool_ or chosen.shape != (count,):
        raise ConfigError(
            f"selected is {chosen.dtype} of shape {chosen.shape}, wanted a mask of the rows: bool, ({count},)"
        )
    return chosen, usable


def _leave_out(refusals: Sequence[Refusal], rows: Rows, exposures: xr.Dataset, xi: Floats) -> None:
    """Make the rows of what was refused NaN, and say so."""
    for refusal in refusals:
        log.warning("left out: %s", refusal.why)
        if refusal.image is None:
            starts, n = rows.exposure_starts, np.searchsorted(exposures["exposure"].values, refusal.exposure)
        else:
            starts, n = rows.image_starts, np.intp(refusal.image)
        xi[starts[n] : starts[n + 1]] = np.nan


def _put_reference(known: Floats, x: Floats, y: Floats, count: int, radius: float) -> None:
    """Write the reference stars behind the ``count`` measurements, NaN where no measurement can be near."""
    place = known[:, :2]
    inside = np.ones(len(known), np.bool_)
    for axis, measured in enumerate((x[:count], y[:count])):
        low, high = np.fmin.reduce(measured, initial=np.inf), np.fmax.reduce(measured, initial=-np.inf)
        inside &= (place[:, axis] >= low - radius) & (place[:, axis] <= high + radius)
    x[count:] = np.where(inside, place[:, 0], np.nan)
    y[count:] = np.where(inside, place[:, 1], np.nan)


class _Groups(NamedTuple):
    group: NDArray[np.int32]
    members: NDArray[np.int32]
    ambiguous: Bools
    doubtful: int
    """How many were ambiguous at first, and taken apart with half the radius."""


def _grouped(x: Floats, y: Floats, radius: float, rows: Rows) -> _Groups:
    """Friends of friends, ambiguous ones twice."""
    group = friends(x, y, radius)
    members, ambiguous = survey(group, rows.exposure_starts)
    doubtful = int(np.count_nonzero(ambiguous))
    if doubtful:
        again = np.flatnonzero((group >= 0) & ambiguous[group])
        group[again] = again[friends(x[again], y[again], 0.5 * radius)]
        members, ambiguous = survey(group, rows.exposure_starts)
    return _Groups(group, members, ambiguous, doubtful)


def _check(search: float, match_cut: float, radius: float | None, minimum: int, on_failure: str) -> None:
    lengths = {"search_arcsec": search, "match_cut_arcsec": match_cut, "radius_arcsec": radius}
    for name, value in lengths.items():
        if value is not None and not 0 < value < np.inf:
            raise ConfigError(f"{name} is {value}, wanted a length above zero", value=value)
    if minimum < 2:
        raise ConfigError(f"minimum_measurements is {minimum}, wanted 2 or more", value=minimum)
    if on_failure not in ("raise", "exclude"):
        raise ConfigError(f"on_failure is {on_failure!r}, wanted 'raise' or 'exclude'", value=on_failure)
