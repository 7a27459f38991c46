"""Angles that may be averaged: without the jump from 180 to -180 degrees, all in arcmin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HALF_TURN_ARCMIN = 10_800.0


def continuous(arcmin: Floats) -> Floats:
    """Angles without the jump at half a turn, so that they may be averaged; last axis is time.

    They come back as they are when they span half a turn at most; else all lie within half a turn of
    their mean direction. ``within_turn`` undoes it.
    """
    if not np.isfinite(arcmin).any() or np.nanmax(arcmin) - np.nanmin(arcmin) <= HALF_TURN_ARCMIN:
        return arcmin
    angle = np.deg2rad(arcmin / 60)
    centre = 60 * float(np.rad2deg(np.arctan2(np.nanmean(np.sin(angle)), np.nanmean(np.cos(angle)))))
    return centre + _wrapped(arcmin - centre)


def within_turn(arcmin: Floats, like: Floats) -> Floats:
    """Angles brought back to -180..180 degrees, or to 0..360 when those of ``like`` go beyond 180."""
    centre = HALF_TURN_ARCMIN if np.nanmax(like, initial=0.0) > HALF_TURN_ARCMIN else 0.0
    if np.nanmax(np.abs(arcmin - centre), initial=0.0) <= HALF_TURN_ARCMIN:
        return arcmin
    return centre + _wrapped(arcmin - centre)


def _wrapped(arcmin: Floats) -> Floats:
    turn = 2 * HALF_TURN_ARCMIN
    return arcmin - turn * np.ceil((arcmin - HALF_TURN_ARCMIN) / turn)
