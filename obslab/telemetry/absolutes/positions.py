"""Which position a reading was made in, by its circles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.absolutes.measurement import Rows, within

Floats = NDArray[np.float64]

_ALIKE_DEG = 2.0
"""More than any collimation or storm does, less than twice an inclination anywhere but at the equator."""


def name_positions(rows: Rows, turn_deg: float, near_deg: float = 0.0) -> None:
    """Write into readings which positions their circles make.

    ``turn_deg`` makes a horizontal circle an azimuth; east and west are those of a declination within 90
    degrees of ``near_deg``: readings alone cannot tell D from D + 180.
    """
    up = rows["vertical_deg"] % 360.0 < 180.0
    face = np.where(up, "up", "down")
    for_d = rows["kind"] == "declination"
    across = rows["horizontal_deg"] + turn_deg - near_deg + np.where(up, 0.0, 180.0)
    names = np.char.add(face, np.where(np.sin(np.radians(across)) > 0, "-east", "-west"))
    rows["position"][for_d] = names[for_d]
    for_i = np.isin(rows["kind"], ("inclination", "scale"))
    circles = circles_of_i(rows[for_i], turn_deg, near_deg)
    north = (np.cos(np.radians(circles)) > 0) == up[for_i]
    rows["position"][for_i] = np.char.add(face[for_i], np.where(north, "-north", "-south"))


def circles_of_i(rows: Rows, turn_deg: float, near_deg: float) -> Floats:
    """Horizontal circle of inclination readings against magnetic north; to 0 or 180 where in the meridian."""
    meridian = is_meridian(rows["horizontal_deg"])
    circles = meridian_circles(rows) if meridian.any() else rows["horizontal_deg"]
    return np.where(meridian, circles, rows["horizontal_deg"] + turn_deg - near_deg)


def is_meridian(horizontal_deg: Any) -> Any:
    """Whether a horizontal circle of an inclination reading only says "in the meridian"."""
    return np.isin(np.asarray(horizontal_deg), (0.0, 180.0, 360.0))


def meridian_circles(for_i: Rows) -> Floats:
    """The horizontal circle, 0 or 180 degrees from the meridian, of inclination readings that give only that.

    Most sheets write what the circle would show. Some write where the telescope points, which for
    "down" readings is 180 away; the vertical circle tells, since all positions must show one I.
    """
    circles = for_i["horizontal_deg"] % 360.0
    up = for_i["vertical_deg"] % 360.0 < 180.0
    found = inclinations(circles, for_i["vertical_deg"])
    ups, downs = found[up], found[~up]
    if not (ups.size and downs.size):
        return np.asarray(circles)
    agree = max(np.ptp(within(part - part[0], 180.0)) for part in (ups, downs)) < _ALIKE_DEG
    as_written = abs(within(ups[0] - downs[0], 180.0))
    turned = abs(within(ups[0] + downs[0], 180.0))
    if agree and turned < _ALIKE_DEG < as_written:
        circles = np.where(up, circles, (circles + 180.0) % 360.0)
    return np.asarray(circles)


def inclinations(circle_deg: Floats, vertical_deg: Floats) -> Floats:
    """I in degrees, (-90, 90], that each reading alone would give, had the theodolite no errors."""
    signs = np.where(np.cos(np.radians(circle_deg)) > 0, 1.0, -1.0)
    return np.asarray(within(signs * vertical_deg, 180.0))
