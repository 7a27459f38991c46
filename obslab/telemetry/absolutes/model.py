"""What each reading should show: the equations of a fluxgate on a theodolite.

The telescope, at azimuth A and vertical circle v, points along t; turning it up or sideways moves t along
e_v and e_h. In (north, east, down):

    t   = (sin v cos A, sin v sin A, -cos v)
    e_v = (cos v cos A, cos v sin A, sin v)        = dt/dv
    e_h = (-sin A, cos A, 0)

The sensor on it is off by the collimation angles delta and epsilon, and shows S0 when there is no field:

    T = S0 + B(time) . (t + delta e_h + epsilon e_v)

With the sensor above the telescope v is in (0, 180); turned over, the circle reads 180 more and v = 360 - v,
which makes t the same and reverses e_h and e_v: that is why four positions separate the field from the rest.
A = circle - mark + azimuth of the mark. These are the equations behind the sums of Jankowski and Sucksdorf,
IAGA Guide for Magnetic Measurements and Observatory Practice (1996), chapter 5, without their small angles;
solved for all readings at once as by Brunke and Matzka, Geosci. Instrum. Method. Data Syst. 7, 1 (2018).

Each reading for D shows D, S0, delta and epsilon, each one for I shows I, S0 and epsilon: the sensor may have
been moved between, so S0 and epsilon are fitted for each part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.absolutes.measurement import Measurement, mean_direction, within
from obslab.telemetry.absolutes.positions import inclinations, is_meridian, meridian_circles
from obslab.telemetry.absolutes.variation import Variation

Floats = NDArray[np.float64]

UNKNOWNS = ("d", "i", "f", "offset_d", "delta", "epsilon_d", "offset_i", "epsilon_i")
"""Order of the unknowns: angles in radians, f and offsets in nT."""

DEC, INC, TOTAL, OFFSET_D, DELTA, EPSILON_D, OFFSET_I, EPSILON_I = range(8)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the telescope pointed, in radians. Of readings with ``meridian`` the azimuth is the magnetic
    meridian's plus ``azimuth_i``."""

    azimuth_d: Floats
    vertical_d: Floats
    azimuth_i: Floats
    vertical_i: Floats
    meridian: NDArray[np.bool_]


def geometry(measurement: Measurement) -> Geometry:
    """The telescope's directions in all readings for D and I."""
    for_d, for_i = measurement.of("declination"), measurement.of("inclination")
    turn = measurement.azimuth_deg - measurement.mark_deg
    meridian = is_meridian(for_i["horizontal_deg"])
    circles = meridian_circles(for_i) if meridian.any() else for_i["horizontal_deg"]
    return Geometry(
        np.radians(for_d["horizontal_deg"] + turn),
        np.radians(for_d["vertical_deg"]),
        np.radians(np.where(meridian, circles, for_i["horizontal_deg"] + turn)),
        np.radians(for_i["vertical_deg"]),
        meridian,
    )


def directions(azimuth: Floats, vertical: Floats) -> Floats:
    """t, e_h and e_v (north, east, down) of each reading, shape (3, n, 3)."""
    sin_a, cos_a, sin_v, cos_v = np.sin(azimuth), np.cos(azimuth), np.sin(vertical), np.cos(vertical)
    t = np.column_stack([sin_v * cos_a, sin_v * sin_a, -cos_v])
    e_h = np.column_stack([-sin_a, cos_a, np.zeros_like(sin_a)])
    e_v = np.column_stack([cos_v * cos_a, cos_v * sin_a, sin_v])
    return np.stack([t, e_h, e_v])


def meridian(field: Floats, where: Geometry) -> float:
    """Azimuth of the meridian that the readings for I were made in; ``field`` is at the times of all.

    The observer finds it from the readings for D, and stays in it.
    """
    north, east, _ = field[: len(where.azimuth_d)].mean(axis=0)
    return float(np.arctan2(east, north))


def projections(d: float, i: float, f: float, where: Geometry, variation: Variation) -> Floats:
    """B.t, B.e_h and B.e_v in nT of all readings for D, then all for I, shape (3, n).

    ``variation`` is of their times in that order.
    """
    field = variation.vectors(d, i, f)
    azimuth_i = where.azimuth_i + where.meridian * meridian(field, where)
    axes = directions(
        np.concatenate([where.azimuth_d, azimuth_i]), np.concatenate([where.vertical_d, where.vertical_i])
    )
    return np.asarray(np.einsum("nk,ank->an", field, axes))


def predicted(unknowns: Floats, where: Geometry, variation: Variation) -> tuple[Floats, Floats]:
    """T in nT of all readings for D, then all for I, and its derivatives, shape (n, 8).

    Exact but for those by d, i and f, which are central differences: their error is below 1e-9 of them.
    """
    count = len(where.azimuth_d)
    for_d = np.arange(count + len(where.azimuth_i)) < count
    epsilon = np.where(for_d, unknowns[EPSILON_D], unknowns[EPSILON_I])

    def without_offset(three: Floats) -> Floats:
        along, across, upward = projections(three[0], three[1], three[2], where, variation)
        return np.asarray(along + unknowns[DELTA] * across + epsilon * upward)

    three = unknowns[: TOTAL + 1]
    _, across, upward = projections(three[0], three[1], three[2], where, variation)
    derivatives = np.zeros((len(for_d), len(UNKNOWNS)))
    derivatives[:, : TOTAL + 1] = differences(without_offset, three)
    derivatives[:, OFFSET_D], derivatives[:, OFFSET_I] = for_d, ~for_d
    derivatives[:, DELTA] = across
    derivatives[:, EPSILON_D], derivatives[:, EPSILON_I] = upward * for_d, upward * ~for_d
    shown = without_offset(three) + np.where(for_d, unknowns[OFFSET_D], unknowns[OFFSET_I])
    return shown, derivatives


def differences(model: Callable[[Floats], Floats], at: Floats) -> Floats:
    """Derivatives of a model by d, i (radians) and f (nT), shape (n, 3)."""
    return np.column_stack(
        [
            (model(at + step) - model(at - step)) / (2 * size)
            for size, step in zip(_STEPS, np.diag(_STEPS), strict=True)
        ]
    )


_STEPS = np.array([1e-5, 1e-5, 1.0])


def first_guess(measurement: Measurement, where: Geometry, f_nt: float) -> Floats:
    """The unknowns of a perfect theodolite: near enough for the fit, and on the right side of D + 180."""
    for_d, for_i = measurement.of("declination"), measurement.of("inclination")
    pointing = np.degrees(where.azimuth_d) + np.where(for_d["vertical_deg"] % 360.0 < 180.0, 0.0, 180.0)
    east = np.char.endswith(for_d["position"], "east")
    d = within(mean_direction(pointing + np.where(east, -90.0, 90.0)), 360.0)
    circles = np.where(where.meridian, np.degrees(where.azimuth_i), np.degrees(where.azimuth_i) - d)
    found = inclinations(circles, for_i["vertical_deg"])
    i = within(found[0] + np.mean(within(found - found[0], 180.0)), 180.0)
    return np.array([np.radians(d), np.radians(i), f_nt, 0.0, 0.0, 0.0, 0.0, 0.0])
