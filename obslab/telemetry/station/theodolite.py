"""An automatic theodolite by its geometry: the angles at which its sensor shows no field, with its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry import autodif

LASTING_S = 550.0
"""From the first reading to the last."""

_NS = 1_000_000_000
_EARLY_OR_LATE_S = 8.0  # of a reading, against an even pace
_CIRCLE_ZERO_DEG = 12.345  # what the horizontal circle reads more than the azimuth
_STEPS = 8  # more than double precision needs, from half a degree away
_FOR_D, _FOR_I = slice(2, 6), slice(8, 12)

Floats = NDArray[np.float64]
Field = Callable[[NDArray[np.int64]], Floats]
"""North, east and down component in nT on the pillar, shape (n, 3), at times in ns."""


@dataclass(frozen=True)
class Errors:
    """What is wrong with the theodolite. All but the noise drops out of the mean over the positions.

    ``delta`` and ``epsilon`` are the sensor's collimation to the side and along the vertical circle,
    ``sighting`` is the laser's, ``index`` the vertical circle's. It stops ``stop`` away from where the field
    is zero, which shows as a residual, and reads its circles to ``reading``, one sigma each.
    """

    delta_arcmin: float = 3.0
    epsilon_arcmin: float = -2.0
    sighting_arcmin: float = 1.5
    index_arcsec: float = 20.0
    offset_nt: float = 4.0
    stop_arcsec: float = 2.0
    reading_arcsec: float = 5.0
    sensor_nt: float = 0.05


def measured(
    field: Field, start_ns: int, azimuth_deg: float, errors: Errors, rng: np.random.Generator
) -> autodif.Records:
    """The 12 readings of one measurement: in each position the angle at which the sensor shows no field.

    ``azimuth_deg`` is the mark's. The field goes on varying meanwhile, as it does on a real pillar.
    """
    after_s = np.linspace(0.0, LASTING_S, autodif.READINGS)
    after_s[1:-1] += rng.uniform(-_EARLY_OR_LATE_S, _EARLY_OR_LATE_S, after_s.size - 2)
    after_s = np.round(after_s, 1)
    noise_deg = rng.normal(0.0, errors.reading_arcsec / 3600.0, after_s.size)
    stop_deg = rng.normal(0.0, errors.stop_arcsec / 3600.0, after_s.size)
    shown_nt = rng.normal(0.0, errors.sensor_nt, after_s.size)
    field_nt = field(start_ns + np.rint(after_s * _NS).astype(np.int64))
    index_deg, sighting_deg = errors.index_arcsec / 3600.0, errors.sighting_arcmin / 60.0

    # Turned over, the telescope sees the same with both circles half a turn on. The mark is at the horizon.
    down = np.array(["down" in autodif.CODES[code][1] for code in autodif.ORDER])
    horizontal = azimuth_deg + np.where(down, 180.0 - sighting_deg, sighting_deg)
    vertical = np.where(down, 270.0, 90.0)
    residual_nt = np.full(after_s.size, np.nan)

    north_nt, east_nt, down_nt = field_nt[0]
    east = np.degrees(np.arctan2(east_nt, north_nt)) + 90.0
    nominal = np.array([east, east, east + 180.0, east + 180.0])
    level = vertical[_FOR_D] - index_deg
    stopped = stop_deg[_FOR_D] + _null(
        lambda angle: _shown_nt(field_nt[_FOR_D], angle, level, errors), nominal
    )
    residual_nt[_FOR_D] = _shown_nt(field_nt[_FOR_D], stopped, level, errors)
    horizontal[_FOR_D] = stopped
    horizontal[: _FOR_I.start] += noise_deg[: _FOR_I.start]

    # For I it turns to the meridian that it has just read off its circle.
    meridian = east - 90.0 + float(np.mean(horizontal[_FOR_D] - nominal))
    horizontal[_FOR_I] = meridian + np.array([180.0, 180.0, 0.0, 0.0])
    dip = np.degrees(np.arctan2(down_nt, np.hypot(north_nt, east_nt)))
    north = dip % 180.0  # from the zenith, at right angles to the field
    stopped = stop_deg[_FOR_I] + _null(
        lambda angle: _shown_nt(field_nt[_FOR_I], horizontal[_FOR_I], angle, errors),
        np.array([180.0 - north, 360.0 - north, 180.0 + north, north]),
    )
    residual_nt[_FOR_I] = _shown_nt(field_nt[_FOR_I], horizontal[_FOR_I], stopped, errors)
    vertical[_FOR_I] = stopped + noise_deg[_FOR_I] + index_deg

    return autodif.Records(
        after_s[None],
        (horizontal + _CIRCLE_ZERO_DEG)[None],
        vertical[None],
        (residual_nt + shown_nt)[None],
        np.full((1, after_s.size), 100, dtype=np.uint8),
    )


def _shown_nt(field_nt: Floats, horizontal_deg: Floats, vertical_deg: Floats, errors: Errors) -> Floats:
    """What the sensor shows at an azimuth and an angle from the zenith, of shape (n,) each."""
    turned, tilted = np.radians(horizontal_deg), np.radians(vertical_deg)
    zero = np.zeros_like(turned)
    level = np.stack([np.cos(turned), np.sin(turned), zero], axis=1)
    side = np.stack([-np.sin(turned), np.cos(turned), zero], axis=1)
    down = np.array([0.0, 0.0, 1.0])
    sine, cosine = np.sin(tilted)[:, None], np.cos(tilted)[:, None]
    telescope, along = sine * level - cosine * down, cosine * level + sine * down
    delta, epsilon = np.radians(errors.delta_arcmin / 60.0), np.radians(errors.epsilon_arcmin / 60.0)
    sensor = telescope + delta * side + epsilon * along
    sensor /= np.linalg.norm(sensor, axis=1)[:, None]
    shown: Floats = errors.offset_nt + (field_nt * sensor).sum(axis=1)
    return shown


def _null(shown_nt: Callable[[Floats], Floats], near_deg: Floats) -> Floats:
    """The angles near the given ones at which the sensor shows nothing, by the secant method."""
    before, angle = near_deg - 0.1, near_deg
    was = shown_nt(before)
    for _ in range(_STEPS):
        now = shown_nt(angle)
        steps = np.divide(now * (angle - before), now - was, out=np.zeros_like(now), where=now != was)
        before, was, angle = angle, now, angle - steps
    return angle
