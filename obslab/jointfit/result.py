"""FitResult: mappings, stars and residuals of a joint fit, and what can be done with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import projection
from obslab.jointfit.association import Association
from obslab.jointfit.fitting.again import refit
from obslab.jointfit.fitting.assembling import Assembled
from obslab.jointfit.fitting.choices import Choices, FitError
from obslab.jointfit.fitting.color import colors
from obslab.jointfit.fitting.image_plane import held_image
from obslab.jointfit.fitting.leaving import excluded_rows, some
from obslab.jointfit.fitting.run import Outcome
from obslab.jointfit.mapping.layout import Layout
from obslab.jointfit.solution import Solution
from obslab.jointfit.solve.newton import Control, Progress

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from obslab.jointfit.fitting.covariance import Covariance
    from obslab.jointfit.transforms import Transform
    from obslab.jointfit.wcs import Headers

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FitResult:
    """What ``fit`` gives. Nothing in it changes; ``refit`` makes another.

    Pixels are FITS pixels, the first one being 1; sky angles ICRS degrees.
    """

    measured: xr.Dataset
    reference: xr.Dataset | None
    exposures: xr.Dataset
    association: Association
    layout: Layout
    assembled: Assembled
    outcome: Outcome
    choices: Choices
    control: Control
    stages: tuple[frozenset[str], ...]
    notes: list[str]
    photometry: Any = None
    turbulence: Any = None
    excluded: NDArray[np.bool_] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    # ---------------------------------------------------------------- mappings
    def image(self, exposure: int, detector: int) -> int:
        """Position of an image along dimension image."""
        m = self.measured
        found = np.flatnonzero((m.exposure.values == exposure) & (m.detector.values == detector))
        if not len(found):
            raise FitError(
                f"there is no image of exposure {exposure}, detector {detector}; exposures are "
                f"{some(m.exposure.values)}, detectors {some(m.detector.values)}",
                exposure=exposure,
                detector=detector,
            )
        return int(found[0])

    @cached_property
    def has_mapping(self) -> NDArray[np.bool_]:
        """(images,): whose mapping rests on measurements; those of others, left out or empty, are the rough
        WCS.
        """
        p = self.assembled.problem
        used = np.bincount(p.image_of, self.outcome.solver.active[0] > 0, len(p.inner))
        inner = np.bincount(p.inner, used, len(p.inner_free))[p.inner] > 0
        outer = np.bincount(p.outer, used, len(p.outer_free))[p.outer] > 0
        held = np.zeros(len(used), bool)
        if self.choices.projector == "identity":
            held[held_image(self.layout)] = True
        return np.asarray((inner & outer) | held)

    @cached_property
    def solution(self) -> Solution:
        """The mappings as functions of position."""
        return Solution(self.measured, self.assembled, self.outcome.solver, self.choices.terms)

    def plane(self, images: Any, u: Any, v: Any) -> Floats:
        """(B, P, 2): where ``images`` put the normalised positions (u, v) (P,), degrees in their exposures'
        planes.

        Polynomials and templates; without color and turbulence, which are not of the image alone.
        """
        return self.solution.places(
            np.atleast_1d(images), np.asarray(u, np.float64), np.asarray(v, np.float64)
        )

    def focal(self, rows: Any = slice(None)) -> Floats:
        """(n, 2): where the detector's mapping puts rows of measured in the focal plane, degrees."""
        image = self.measured.image.values[rows]
        out = np.empty((len(image), 2))
        x, y = self.measured.x.values[rows], self.measured.y.values[rows]
        for i in np.unique(image):
            mine = image == i
            out[mine] = self.solution.focal(int(i), *self.solution.normalised(int(i), x[mine], y[mine]))
        return out

    def sky(self, exposure: int, detector: int, x: Any, y: Any, color: Any = None) -> tuple[Floats, Floats]:
        """ra, dec (deg) of pixels with the full solution: mapping, templates, turbulence and, for stars of a
        ``color`` (mag), refraction; without one, that of the mean color."""
        self._celestial()
        i = self._mapped(exposure, detector)
        x, y = np.atleast_1d(np.asarray(x, np.float64)), np.atleast_1d(np.asarray(y, np.float64))
        place = self.solution.place(i, *self.solution.normalised(i, x, y))
        e = int(self.assembled.problem.exposure[i])
        if self.turbulence is not None:
            place = place - self.turbulence.displacement(e, place) * projection.MAS
        if color is not None:
            moved = self.solution.refraction(e, np.broadcast_to(np.asarray(color, np.float64), x.shape))
            place = place - moved
        return projection.sky(projection.from_plane(self.assembled.frames[e], place[:, 0], place[:, 1]))

    def wcs(self, exposure: int, detector: int, form: str = "sip") -> WCS:
        """An astropy WCS, "sip" or "tpv": the mapping, within what its header states (OBSLEMAX, mas)."""
        return self.headers(form, [self._mapped(exposure, detector)]).wcs(0)

    def headers(self, form: str = "sip", images: Any = None) -> Headers:
        """WCS headers of all images that have a mapping, or of some, by their positions along dimension
        image.
        """
        from obslab.jointfit.output import headers

        self._celestial()
        return headers(self, form, np.flatnonzero(self.has_mapping) if images is None else np.asarray(images))

    def transform(self, a: tuple[int, int], b: tuple[int, int], degree: int = 5) -> Transform:
        """Pixels of image ``a`` = (exposure, detector) to those of image ``b``: a polynomial, callable, with
        JSON.
        """
        from obslab.jointfit.transforms import between

        return between(self, self._mapped(*a), self._mapped(*b), degree)

    # ---------------------------------------------------------------- tables
    @cached_property
    def color(self) -> Floats:
        """Color of each measured star, mag; NaN: unknown."""
        return colors(self.measured, self.reference, self.association)

    @cached_property
    def residuals(self) -> xr.Dataset:
        """One row for each measurement, ``datasets.RESIDUALS``."""
        from obslab.jointfit.residuals import residuals

        return residuals(self)

    @cached_property
    def reference_residuals(self) -> xr.Dataset:
        """One row for each reference star of a fitted star, ``datasets.REFERENCE_RESIDUALS``."""
        from obslab.jointfit.residuals import reference_residuals

        return reference_residuals(self)

    @cached_property
    def fitted(self) -> xr.Dataset:
        """The fitted stars, ``datasets.FITTED``."""
        from obslab.jointfit.fitted_stars import fitted

        return fitted(self)

    @cached_property
    def report(self) -> dict[str, Any]:
        """What fit.json says."""
        from obslab.jointfit.report import report

        return report(self)

    def summary(self) -> str:
        """The report in a few lines."""
        from obslab.jointfit.report import summary

        return summary(self)

    def covariance(self) -> Covariance:
        """Covariance of all mapping parameters; made when first asked for."""
        return self._covariance

    @cached_property
    def _covariance(self) -> Covariance:
        from obslab.jointfit.fitting.covariance import covariance

        return covariance(self)

    def predicted_error(self, exposure: int, detector: int, x: Any, y: Any) -> Floats:
        """(n, 2): error in mas of ``sky`` at pixels, xi and eta, by the covariance of the mappings."""
        return np.asarray(self.covariance().predicted_error(self._mapped(exposure, detector), x, y))

    def transform_error(self, a: tuple[int, int], b: tuple[int, int], x: Any, y: Any) -> Floats:
        """(n, 2): error of ``transform(a, b)`` at pixels of ``a``, in pixels of ``b``."""
        from obslab.jointfit.transforms import pixels

        i, j = self._mapped(*a), self._mapped(*b)
        here = np.stack([np.atleast_1d(np.asarray(z, np.float64)) for z in (x, y)])
        there = np.stack(pixels(self, i, j, *self.solution.normalised(i, here[0], here[1])))
        return self.covariance().transform_error(i, here, j, there)

    # ---------------------------------------------------------------- again
    def refit(self, exclude: Any = None, *, progress: Progress | None = None, **changes: Any) -> FitResult:
        """The fit again, from where this one ended, without ``exclude``.

        ``exclude``: {"exposure": 5}, {"detector": [1, 2]}, both (images that are of both), a mask over rows
        of ``measured``, or ids of measurements. What an earlier refit left out stays out. ``changes``:
        clip_sigma, tolerance_sigma, most_iterations. Turbulence stays what it was found to be; photometry is
        not fitted again, and held-out stars not judged again.
        """
        before = np.zeros(self.measured.sizes["measured"], bool) if self.excluded is None else self.excluded
        rows = excluded_rows(self.measured, before, exclude)
        unknown = sorted(set(changes) - set(_CONTROL))
        if unknown:
            raise FitError(
                f"refit cannot change {unknown[0]!r}: {', '.join(_CONTROL)} it can", option=unknown[0]
            )
        if rows[self.assembled.rows].all():
            raise FitError("nothing would be left to fit: every measurement is excluded")
        control = replace(self.control, **{_CONTROL[k]: v for k, v in changes.items()})
        layout = replace(
            self.layout, held_inner=self.layout.held_inner.copy(), held_outer=self.layout.held_outer.copy()
        )
        outcome, assembled = refit(
            self.assembled,
            self.outcome,
            layout,
            self.stages[-1],
            control,
            rows[self.assembled.rows],
            progress,
        )
        return replace(
            self,
            layout=layout,
            assembled=assembled,
            outcome=outcome,
            control=control,
            excluded=rows,
            photometry=None,
            extra={},
        )

    def with_photometry(self, **options: Any) -> FitResult:
        """This result and the joint photometric fit of the same stars."""
        from obslab.jointfit.photometry import fit_photometry

        focal = self.focal()
        if self.excluded is not None:
            options = {"selected": ~self.excluded, **options}
        fitted = fit_photometry(
            self.measured,
            self.reference,
            self.exposures,
            self.association,
            **{"focal": (focal[:, 0], focal[:, 1]), **options},
        )
        return replace(self, photometry=fitted, extra={})

    # ---------------------------------------------------------------- pieces
    def _mapped(self, exposure: int, detector: int) -> int:
        """Position of an image that has a mapping."""
        i = self.image(exposure, detector)
        if not self.has_mapping[i]:
            raise FitError(
                f"image {self.measured['name'].values[i]} has no fitted mapping: no measurement of exposure "
                f"{exposure} or of detector {detector} was used; the notes of the report say why",
                exposure=exposure,
                detector=detector,
            )
        return i

    def _celestial(self) -> None:
        if self.choices.projector == "identity":
            raise FitError("this fit is between images and knows no sky; use result.transform(a, b)")


_CONTROL = {"clip_sigma": "clip_sigma", "tolerance_sigma": "tolerance_sigma", "most_iterations": "most"}
"""What refit may change, by its name in Control."""
