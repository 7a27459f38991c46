"""What a photometric fit found: tables, calibrated magnitudes, covariance, a warm start for the next fit."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import polynomial
from obslab.jointfit.photometry import kernels, residuals
from obslab.jointfit.photometry.calibration import Calibration
from obslab.jointfit.photometry.gathering import EXCLUDED, REJECTED
from obslab.jointfit.photometry.passes import Passes
from obslab.jointfit.photometry.points import Points
from obslab.jointfit.photometry.problem import Problem, narrowed
from obslab.jointfit.photometry.settings import PhotometryError, Progress
from obslab.jointfit.photometry.solving import State, free_terms, freedom, iterate

Array = NDArray[Any]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PhotometryResult:
    """The fitted zero points, detector terms, flat correction, color terms and magnitudes."""

    problem: Problem
    points: Points
    state: State
    star: Floats
    """Magnitude, or flux in the flux model, of each star in each band."""
    information: Floats
    seconds: dict[str, float]

    @cached_property
    def zero_points(self) -> xr.Dataset:
        """ZERO_POINTS."""
        return residuals.zero_points(self.problem, self.points, self.state.terms, self._errors)

    @cached_property
    def detector_terms(self) -> xr.Dataset:
        """DETECTOR_TERMS."""
        return residuals.detector_terms(self.problem, self.state.terms, self._errors)

    @cached_property
    def illumination_terms(self) -> xr.Dataset:
        """ILLUMINATION."""
        return residuals.illumination_terms(self.problem, self.state.terms, self._errors)

    @cached_property
    def color_terms(self) -> xr.Dataset:
        """COLOR_TERMS."""
        return residuals.color_terms(self.problem, self.state.terms, self._errors)

    @cached_property
    def magnitudes(self) -> xr.Dataset:
        """MAGNITUDES: the fitted stars."""
        return residuals.magnitudes(self.problem, self.points, self.star, self.information, self._chi2)

    @cached_property
    def residuals(self) -> xr.Dataset:
        """PHOTOMETRY_RESIDUALS: all measurements."""
        return residuals.residuals(
            self.problem, self.points, self.state.terms, self.magnitudes, self.state.floor_mag, self._chi2
        )

    @cached_property
    def report(self) -> dict[str, Any]:
        """The figures of the fit, as JSON holds them."""
        state, problem = self.state, self.problem
        sums = state.sums
        assert sums is not None
        chi2, reference_chi2 = sums.of_fitted(kernels.CHI2), sums.of_fitted(kernels.REFERENCE_CHI2)
        dof = freedom(sums, free_terms(problem.columns, state))
        held_chi2 = sums.of_held_out(kernels.CHI2) + sums.of_held_out(kernels.REFERENCE_CHI2)
        held_dof = int(
            sums.of_held_out(kernels.POINTS)
            + sums.of_held_out(kernels.REFERENCES)
            - sums.of_held_out(kernels.STARS)
        )
        return {
            "model": problem.settings.model,
            "bands": list(problem.bands.names),
            "measurements": int(sums.of_fitted(kernels.POINTS)),
            "references": int(sums.of_fitted(kernels.REFERENCES)),
            "stars": int(sums.of_fitted(kernels.STARS)),
            "terms": len(problem.columns),
            "chi2": chi2 + reference_chi2,
            "reference_chi2": reference_chi2,
            "dof": dof,
            "chi2_per_dof": (chi2 + reference_chi2) / max(dof, 1),
            "rejected": int(sums.totals[:, kernels.REJECTED_POINTS].sum()),
            "rejected_references": int(sums.totals[:, kernels.REJECTED_REFERENCES].sum()),
            "held_out": {
                "stars": int(sums.of_held_out(kernels.STARS)),
                "chi2": held_chi2,
                "dof": held_dof,
                "chi2_per_dof": held_chi2 / held_dof if held_dof else float("nan"),
            },
            "floor_mag": state.floor_mag,
            "scale": sums.scale,
            "mean_color": problem.mean_color,
            "bad_flux": self.points.bad_flux,
            "left_out": list(problem.left_out),
            "notes": [*problem.notes, *self._gradient_notes()],
            "converged": state.converged,
            "iterations": state.iterations,
            "seconds": self.seconds,
        }

    def calibrate(
        self, exposure: Any, detector: Any, x: Any, y: Any, flux: Any, color: Any = np.nan
    ) -> Floats:
        """Calibrated magnitudes of fluxes measured at FITS pixels, the first one 1; the arguments broadcast.

        NaN for fluxes of 0 or less and on exposures left out. Where the color is NaN, the mean is assumed.
        """
        flux = np.asarray(flux, np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            inst_mag = np.where(flux > 0, -2.5 * np.log10(flux), np.nan)
        return np.asarray(inst_mag - self.correction(exposure, detector, x, y, color))

    def correction(self, exposure: Any, detector: Any, x: Any, y: Any, color: Any = np.nan) -> Floats:
        """What these pixels add to a star's magnitude: all terms together."""
        arrays = np.broadcast_arrays(exposure, detector, x, y, color)
        flat = [np.asarray(a).ravel() for a in arrays]
        calibration = Calibration(self.problem, self.state.terms)
        image = calibration.images(flat[0], flat[1])
        return calibration.of_pixels(image, *(a.astype(np.float64) for a in flat[2:])).reshape(
            arrays[0].shape
        )

    def illumination(self, focal_x: Any, focal_y: Any, setup: int = 0) -> Floats:
        """The flat correction (mag) at positions of the focal plane in degrees; ``setup`` counts
        instruments and bands."""
        c, plane = self.problem.columns, self.problem.plane
        if not 0 <= setup < len(self.problem.bands.setup_names):
            raise PhotometryError(f"setup is {setup}, and there are {len(self.problem.bands.setup_names)}")
        if not len(c.illumination_image):
            return np.zeros(np.broadcast_shapes(np.shape(focal_x), np.shape(focal_y)))
        exposure = self.problem.exposure[c.illumination_image]
        mine = np.flatnonzero(self.problem.bands.setup[exposure] == setup)
        if not len(mine):
            raise PhotometryError(f"all exposures of {self.problem.bands.setup_names[setup]} were left out")
        center = plane.center[self.problem.bands.instrument[exposure[mine[0]]]]
        fx, fy = (
            (np.asarray(focal_x) - center[0]) / plane.scale,
            (np.asarray(focal_y) - center[1]) / plane.scale,
        )
        basis = polynomial.basis(self.problem.settings.illumination_degree)
        coefficients = Calibration(self.problem, self.state.terms).flat_coefficients()[mine[0]]
        return np.asarray(basis(fx, fy)[..., 1:] @ coefficients)

    def covariance(self) -> xr.DataArray:
        """Of all terms, mag**2, with their names along both dimensions."""
        names = np.array(self.problem.columns.names, dtype=str)
        return xr.DataArray(
            self.state.covariance, dims=("term", "other"), coords={"term": names, "other": names},
            attrs={"units": "mag2"},
        )  # fmt: skip

    def refit(self, exclude: Any, progress: Progress | None = None) -> PhotometryResult:
        """The fit without some measurements, from where this one ended: a mask over them, or their ids.

        What was excluded before stays so. Exposures that lose their stars are left out.
        """
        begin = time.perf_counter()
        points = self.points.copy()
        out = _mask(self.problem.tables.measured, exclude)[points.row] & (points.state <= REJECTED)
        points.state[out] = EXCLUDED
        problem = narrowed(self.problem, points)
        known = dict(zip(self.problem.columns.names, self.state.terms, strict=True))
        terms = np.array([known[name] for name in problem.columns.names])
        state = State(terms, self.state.floor_mag, self.state.cut)
        run = Passes(points, problem.columns, problem.bright, problem.settings.model == "flux")
        run.star = self.star.copy()
        ready = time.perf_counter()
        iterate(state, problem.columns, problem.gauge, problem.settings, run, progress)
        seconds = {"set up": ready - begin, "fit": time.perf_counter() - ready}
        return replace(self, problem=problem, points=points, state=state, star=run.star,
                       information=run.information, seconds=seconds)  # fmt: skip

    @cached_property
    def _errors(self) -> Floats:
        covariance = self.state.covariance
        assert covariance is not None
        return np.sqrt(np.maximum(np.diag(covariance), 0))

    @cached_property
    def _chi2(self) -> Floats:
        return residuals.point_chi2(
            self.problem, self.points, self.state.terms, self.star, self.state.floor_mag
        )

    def _gradient_notes(self) -> list[str]:
        c = self.problem.columns
        names = [
            self.problem.bands.setup_names[
                self.problem.bands.setup[self.problem.exposure[c.illumination_image[n]]]
            ]
            for n in self.state.open_gradients
        ]
        return [
            f"the gradient of the illumination of {name or 'the camera'} is set to 0: without a reference or "
            "rotated exposures it cannot be told from zero points that follow the pointing"
            for name in names
        ]


def _mask(measured: xr.Dataset, exclude: Any) -> NDArray[np.bool_]:
    chosen = np.asarray(exclude)
    rows = measured.sizes["measured"]
    if chosen.dtype == bool:
        if chosen.shape != (rows,):
            raise PhotometryError(
                f"exclude has shape {chosen.shape}, wanted ({rows},): one for each measurement, or ids"
            )
        return chosen
    if chosen.dtype.kind not in "iu" and chosen.size:
        raise PhotometryError(f"exclude is of type {chosen.dtype}, wanted a mask or the ids of measurements")
    unknown = np.setdiff1d(chosen, measured.id.values)
    if len(unknown):
        raise PhotometryError(f"exclude has id {unknown[0]}, which no measurement has")
    return np.isin(measured.id.values, chosen)
