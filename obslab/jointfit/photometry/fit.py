"""``fit_photometry``: zero points, detector terms, flat and color corrections of associated measurements."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.photometry.passes import Passes
from obslab.jointfit.photometry.points import Matched
from obslab.jointfit.photometry.problem import Tables, in_fluxes, set_up
from obslab.jointfit.photometry.result import PhotometryResult
from obslab.jointfit.photometry.settings import ColorTerms, Model, Progress, Settings, ZeroPoint
from obslab.jointfit.photometry.solving import iterate, start

Array = NDArray[Any]


def fit_photometry(
    measured: xr.Dataset,
    reference: xr.Dataset | None,
    exposures: xr.Dataset,
    association: Matched,
    *,
    model: Model = "magnitude",
    zero_point: ZeroPoint = "exposure",
    detectors: bool = True,
    illumination_degree: int = 2,
    color_terms: ColorTerms = None,
    terms_per_band: bool = True,
    bands: Sequence[str] | Literal["all"] | None = None,
    reference_use: bool = True,
    reference_band: str | None = None,
    reference_error_mag: float = 0.01,
    focal: tuple[Array, Array] | None = None,
    selected: Array | None = None,
    clip: float = 5.0,
    floor_mag: float | None = None,
    holdout: float = 0.1,
    held_out: Array | None = None,
    minimum_stars: int = 5,
    maximum_iterations: int = 20,
    progress: Progress | None = None,
) -> PhotometryResult:
    """Relative photometry of the measurements that ``association`` gave to fitted stars.

    -2.5 log10(flux) = star + zero point + detector term + illumination(focal-plane position) + color term *
    (color - mean color). With ``model="flux"`` the same holds for fluxes, star * 10**(-0.4 terms): fluxes
    near and below 0 take part, and faint stars are not biased, where magnitudes make a star of signal to
    noise s too bright by 1.6 / s**2 mag.

    Each star has a magnitude in each of ``bands``; several must be asked for. Reference magnitudes, of
    ``reference_band``, are taken with one error for all. Where there are none, zero points that common stars
    tie together have mean 0; detector terms always have. ``terms_per_band`` gives each band its own detector
    terms and illumination. ``zero_point="image"`` replaces exposures' zero points and detector terms by one
    for each image.

    ``focal`` are focal-plane positions of the measurements, in degrees, by default from the rough WCS. An
    error floor of None is fitted, so that the brightest quarter of the measurements has chi2 as it should.
    ``held_out`` is a mask over fitted stars; by default a ``holdout`` part of them, always the same. They get
    magnitudes, but no say in zero points. ``progress`` gets a dict after each iteration, and ends the fit by
    raising.
    """
    settings = Settings(
        model=model, zero_point=zero_point, detectors=detectors, illumination_degree=illumination_degree,
        color_terms=color_terms, terms_per_band=terms_per_band, bands=bands, reference_use=reference_use,
        reference_band=reference_band, reference_error_mag=reference_error_mag, clip=clip,
        floor_mag=floor_mag, holdout=holdout, minimum_stars=minimum_stars,
        maximum_iterations=maximum_iterations,
    )  # fmt: skip
    begin = time.perf_counter()
    masks = (None if mask is None else np.asarray(mask) for mask in (selected, held_out))
    problem = set_up(Tables(measured, reference, exposures, association, *masks), focal, settings)
    points = problem.points.copy()
    run = Passes(points, problem.columns, problem.bright)
    ready = time.perf_counter()
    state = start(problem.columns, problem.gauge, settings, run)
    if model == "flux":
        star = 10 ** (-0.4 * run.star)
        points = in_fluxes(problem)
        run = Passes(points, problem.columns, problem.bright, fluxes=True)
        run.star = np.asarray(star)
    iterate(state, problem.columns, problem.gauge, settings, run, progress)
    seconds = {"set up": ready - begin, "fit": time.perf_counter() - ready}
    return PhotometryResult(problem, points, state, run.star, run.information, seconds)
