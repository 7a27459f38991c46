"""Relative photometry: zero points, detector terms, flat and color corrections, from the same associations.

    settings                                         what is to be fitted
    bands, focal, gathering -> points -> columns     who takes part, where on the camera, which terms
    problem                                          all of that, and what is left out
    rejection -> kernels -> passes                   one pass: stars, outliers, normal equations
    reduced -> solving                               judge and solve by turns
    calibration, datasets -> residuals -> result     tables, and magnitudes of any pixel
    fit                                              ``fit_photometry``, all of it

Stars are eliminated one by one, so the equations that remain are small and exact.
"""

from obslab.jointfit.photometry.bands import MixedBandsError
from obslab.jointfit.photometry.datasets import (
    COLOR_TERMS,
    DETECTOR_TERMS,
    ILLUMINATION,
    JOINTCAL,
    MAGNITUDES,
    PHOTOMETRY_RESIDUALS,
    ZERO_POINTS,
)
from obslab.jointfit.photometry.fit import fit_photometry
from obslab.jointfit.photometry.reduced import NotDeterminedError
from obslab.jointfit.photometry.result import PhotometryResult
from obslab.jointfit.photometry.settings import PhotometryError, Settings

__all__ = [
    "COLOR_TERMS",
    "DETECTOR_TERMS",
    "ILLUMINATION",
    "JOINTCAL",
    "MAGNITUDES",
    "PHOTOMETRY_RESIDUALS",
    "ZERO_POINTS",
    "MixedBandsError",
    "NotDeterminedError",
    "PhotometryError",
    "PhotometryResult",
    "Settings",
    "fit_photometry",
]
