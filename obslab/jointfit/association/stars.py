"""From groups of measurements and reference stars to fitted stars: which groups make one, and their numbers.

Rows of measured are ordered by exposure, so two measurements of one exposure follow each other in a group.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from obslab.jointfit.projection import Floats

Ints = NDArray[np.int32]
ALONE, AMBIGUOUS, TOO_FEW, NOT_OFFERED = -1, -2, -3, -4
"""In place of a star's number, for measurements that have none."""


class Stars(NamedTuple):
    """Fitted stars, numbered by their first measurement."""

    star: Ints
    """Star of each measurement, or one of the four codes."""
    reference: Ints
    position: Floats
    """Mean of the measurements, shape (stars, 2)."""
    first: NDArray[np.int64]
    """Star s has the rows members[first[s]:first[s + 1]], in their order."""
    members: Ints


def survey(group: Ints, exposure_starts: NDArray[np.int64]) -> tuple[Ints, NDArray[np.bool_]]:
    """Members of each group, and whether it is ambiguous: two measurements of an exposure or two reference
    stars. Groups go by their first member; reference stars come after the measurements."""
    members, ambiguous = np.zeros(len(group), np.int32), np.zeros(len(group), np.bool_)
    latest = np.empty(len(group), np.int32)  # of each group, written where its first member is met
    _survey(group, np.append(exposure_starts, len(group)), members, ambiguous, latest)
    return members, ambiguous


def number_stars(
    group: Ints, members: Ints, ambiguous: NDArray[np.bool_], rows: int, minimum: int, x: Floats, y: Floats
) -> Stars:
    """Stars of the groups with at least ``minimum`` members; the first ``rows`` points are measurements."""
    star, size = np.empty(rows, np.int32), np.empty(rows, np.int32)
    count = _number(group, members, ambiguous, minimum, star, size)
    first = np.zeros(count + 1, np.int64)
    np.cumsum(size[:count], out=first[1:])
    member_rows, position = np.empty(first[-1], np.int32), np.zeros((count, 2))
    _fill(star, x, y, first[:-1].copy(), member_rows, position)
    position /= size[:count, None]
    reference = np.full(count, -1, np.int32)
    measured = np.flatnonzero((group[rows:] >= 0) & (group[rows:] < rows))
    its_star = star[group[rows:][measured]]
    reference[its_star[its_star >= 0]] = measured[its_star >= 0]
    return Stars(star, reference, position, first, member_rows)


@njit(cache=True, nogil=True, error_model="numpy")
def _survey(
    group: Ints, starts: NDArray[np.int64], members: Ints, ambiguous: NDArray[np.bool_], latest: Ints
) -> None:
    for e in range(len(starts) - 1):
        for i in range(starts[e], starts[e + 1]):
            g = group[i]
            if g >= 0:
                members[g] += 1
                if g != i and latest[g] == e:
                    ambiguous[g] = True
                latest[g] = e


@njit(cache=True, nogil=True, error_model="numpy")
def _number(
    group: Ints, members: Ints, ambiguous: NDArray[np.bool_], minimum: int, star: Ints, size: Ints
) -> int:
    """The star of each measurement, and the measurements of each star -> stars."""
    count = 0
    for i in range(len(star)):
        g = group[i]
        if g < 0:
            star[i] = NOT_OFFERED
        elif g < i:
            star[i] = star[g]
        elif ambiguous[g]:
            star[i] = AMBIGUOUS
        elif members[g] == 1:
            star[i] = ALONE
        elif members[g] < minimum:
            star[i] = TOO_FEW
        else:
            star[i] = count
            size[count] = 0
            count += 1
        if star[i] >= 0:
            size[star[i]] += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(
    star: Ints, x: Floats, y: Floats, following: NDArray[np.int64], members: Ints, position: Floats
) -> None:
    """Members by star, in the order of rows, and the sums of their positions."""
    for i in range(len(star)):
        s = star[i]
        if s >= 0:
            members[following[s]] = i
            following[s] += 1
            position[s, 0] += x[i]
            position[s, 1] += y[i]
