"""Airmass and parallactic angle of an exposure, as its header says them or by the hour angle it gives.

Only what cannot be misread is used: hour angle or sidereal time in sexagesimal hours, and the latitude.
Headers disagree on the sign of the longitude, so no sidereal time is computed from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from obslab.jointfit.headers import number

Header = Mapping[str, Any]
LATITUDE = ("SITELAT", "OBS-LAT", "OBSLAT", "LATITUDE", "GEOLAT", "OBSGEO-B", "LAT-OBS")
HOUR_ANGLE = ("HA", "HOURANG")
SIDEREAL_TIME = ("LST", "ST", "LST-OBS", "SIDTIME")


def airmass(header: Header, name: str) -> float:
    """AIRMASS, else the secant of the zenith distance, else NaN."""
    said = number(header, "AIRMASS", name, np.nan)
    if np.isfinite(said) and said >= 1:
        return said
    seen = _hour_angle_and_latitude(header)
    if seen is None:
        return float(np.nan)
    hour, latitude, dec = seen
    height = np.sin(latitude) * np.sin(dec) + np.cos(latitude) * np.cos(dec) * np.cos(hour)
    return float(1 / height) if height > 0.05 else float(np.nan)


def parallactic_angle(header: Header, name: str) -> float:
    """Of the zenith, in degrees from north over east: PARANG, else from the hour angle, else NaN.

    Smart (1977), Textbook on Spherical Astronomy, sect. 2: tan q = sin H / (tan phi cos dec - sin dec cos H).
    """
    said = number(header, "PARANG", name, np.nan)
    if np.isfinite(said):
        return said
    seen = _hour_angle_and_latitude(header)
    if seen is None:
        return float(np.nan)
    hour, latitude, dec = seen
    across = np.cos(latitude) * np.sin(hour)
    along = np.sin(latitude) * np.cos(dec) - np.cos(latitude) * np.sin(dec) * np.cos(hour)
    return float(np.degrees(np.arctan2(across, along)))


def _hour_angle_and_latitude(header: Header) -> tuple[float, float, float] | None:
    """Hour angle, latitude and declination in radians; None where the header lacks one."""
    latitude = _first(header, LATITUDE, needs_colon=False)
    ra, dec = (_first(header, (key,), needs_colon=False) for key in ("CRVAL1", "CRVAL2"))
    hour = _first(header, HOUR_ANGLE, needs_colon=True)
    if hour is None and ra is not None:
        sidereal = _first(header, SIDEREAL_TIME, needs_colon=True)
        hour = None if sidereal is None else sidereal - ra / 15
    if latitude is None or dec is None or hour is None or abs(latitude) > 90:
        return None
    return float(np.radians(15 * hour)), float(np.radians(latitude)), float(np.radians(dec))


def _first(header: Header, keys: tuple[str, ...], needs_colon: bool) -> float | None:
    """The first of these cards that is a number, plain or sexagesimal."""
    for key in keys:
        text = str(header.get(key, "")).strip()
        parts = text.split(":")
        if len(parts) > 3 or (needs_colon and len(parts) == 1):
            continue
        try:
            size = sum(abs(float(part)) / 60**n for n, part in enumerate(parts))
        except ValueError:
            continue
        return float(-size if text.startswith("-") else size)
    return None
