"""Knotting: where the knots of a basis are, for given spots, and whether the spots suffice."""

from __future__ import annotations

import numpy as np

from obslab.errors import BaselineError
from obslab.telemetry.baseline.basis import Basis, Nanoseconds, Piece
from obslab.telemetry.baseline.canonical import How
from obslab.times import NS_PER_DAY, as_ns, iso

_MOST = 30
"""Knots of a spline unless it is told how many: a year has one in 12 days, and its covariance stays small."""


def basis_for(time_ns: Nanoseconds, how: How) -> Basis:
    """The basis for spots at these times, in order; BaselineError names how many there are and wanted."""
    steps_ns = np.array([as_ns(step) for step in how.steps], np.int64)
    _check_steps(time_ns, steps_ns)
    times = np.unique(time_ns)
    groups = np.split(times, np.searchsorted(times, steps_ns)) if how.restart else [times]
    begins = [int(times[0]), *(int(step) for step in steps_ns)] if how.restart else [int(times[0])]
    shared = 0 if how.restart else len(steps_ns)
    pieces, unplaced = [], set(_given(how))
    for begin_ns, group in zip(begins, groups, strict=True):
        inner = _inner(group, len(group) / len(times), how)
        unplaced -= set(inner.tolist())
        wanted = how.degree + 1 + shared + (len(inner) if how.method == "polynomial" else 0)
        if len(group) < wanted:
            between = f"between {iso(int(group[0]), 0)} and {iso(int(group[-1]), 0)}" if len(group) else ""
            raise BaselineError(
                f"too few spots {between}: {len(group)} at different times, where a {how.method} of degree "
                f"{how.degree} with {len(inner)} knots and {len(steps_ns)} steps wants {wanted}; measure "
                "more, or take a lower degree or fewer knots",
                spots=len(group),
                wanted=wanted,
            )
        last = int(group[-1]) if len(group) > 1 else int(group[0]) + NS_PER_DAY
        pieces.append(Piece(begin_ns, np.array([group[0], *inner, last], np.int64), how.degree))
    if unplaced:
        raise BaselineError(
            f"knot {iso(min(unplaced))} is not between the first and the last spot"
            f"{' of a piece' if how.restart else ''} ({iso(int(times[0]))} to {iso(int(times[-1]))}); move it"
        )
    return Basis(tuple(pieces), steps_ns[:0] if how.restart else steps_ns, how.extrapolation)


def _given(how: How) -> list[int]:
    return [as_ns(knot) for knot in how.knots] if isinstance(how.knots, tuple) else []


def _inner(times: Nanoseconds, share: float, how: How) -> Nanoseconds:
    """Knots strictly within these times: as given, else so many that each interval has equally many spots."""
    if isinstance(how.knots, tuple):
        given = np.array(_given(how), np.int64)
        return given[(given > times[0]) & (given < times[-1])] if len(times) else given[:0]
    if how.knots is not None:
        count = round(how.knots * share)
    else:
        count = min(_MOST, max(1, len(times) // 2)) if how.method == "spline" else 0
    if count == 0 or len(times) < 2:
        return times[:0]
    places = np.linspace(0, len(times) - 1, count + 2)[1:-1]
    since = np.interp(places, np.arange(len(times)), times - times[0])
    inner = np.unique(times[0] + since.astype(np.int64))
    return np.asarray(inner[(inner > times[0]) & (inner < times[-1])])


def _check_steps(time_ns: Nanoseconds, steps_ns: Nanoseconds) -> None:
    counts = np.diff([0, *np.searchsorted(time_ns, steps_ns), len(time_ns)])
    for place in np.flatnonzero(counts == 0):
        sides = [iso(int(step)) for step in steps_ns[max(place - 1, 0) : place + 1]]
        where = f"between the steps {sides[0]} and {sides[1]}" if len(sides) == 2 else ""
        where = where or f"{'before' if place == 0 else 'after'} the step {sides[0]}" if sides else "at all"
        raise BaselineError(f"there is no usable spot {where}; measure there, or move or remove a step")
