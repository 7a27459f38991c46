"""What is known of simulated exposures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from obslab.jointfit.polynomial import Floats
from obslab.jointfit.projection import from_plane, sky, to_plane
from obslab.jointfit.simulate.atmosphere import COLOR_ZERO, refraction
from obslab.jointfit.simulate.camera import Camera, Ints
from obslab.jointfit.simulate.pointing import Pointings
from obslab.jointfit.simulate.stars import directions
from obslab.jointfit.simulate.throughput import Throughput


@dataclass(frozen=True)
class Truth:
    """The mapping, the stars and the photometry behind simulated measurements.

    ``star`` and ``outlier`` have one entry for each measurement. ``wcs_offset_arcsec`` (east, north) and
    ``wcs_rotation_deg`` are by how much the rough WCS of each exposure is wrong.
    """

    stars: xr.Dataset
    star: Ints  # its row of stars; -1: spurious
    outlier: np.ndarray[Any, np.dtype[np.bool_]]  # displaced, or spurious
    camera: Camera
    pointings: Pointings
    throughput: Throughput
    exposures: xr.Dataset
    instrument: Ints  # (E,) instrument epoch
    refraction_mas: Floats  # (E,) k: mas for a magnitude of color and tan z = 1
    earth_au: Floats  # (E, 3)
    wcs_offset_arcsec: Floats  # (E, 2)
    wcs_rotation_deg: Floats  # (E,)

    @property
    def color_zero(self) -> float:
        """The color whose refraction is part of the mappings: ``sky`` is for stars of it."""
        return COLOR_ZERO

    def focal(self, exposure: Any, detector: Any, x: Any, y: Any) -> Floats:
        """Focal plane position (2, ...) in degrees, before anything that differs between exposures."""
        return self.camera.focal(self.instrument[exposure], detector, x, y)

    def plane(self, exposure: Any, detector: Any, x: Any, y: Any) -> tuple[Floats, Floats]:
        """xi, eta (deg) in the exposure's tangent plane; all arguments broadcast."""
        exposure, detector, x, y = np.broadcast_arrays(exposure, detector, x, y)
        xi, eta = self.pointings.plane(exposure, self.focal(exposure, detector, x, y))
        return xi, eta

    def sky(self, exposure: Any, detector: Any, x: Any, y: Any) -> tuple[Floats, Floats]:
        """ra, dec (deg) of FITS pixels, with turbulence, for a star of the color ``COLOR_ZERO``."""
        return sky(from_plane(self.pointings.frame[exposure], *self.plane(exposure, detector, x, y)))

    def position(self, star: Any, exposure: Any) -> tuple[Floats, Floats]:
        """ra, dec (deg) where stars are during exposures; arrays of the same length."""
        return sky(self._directions(np.atleast_1d(star), np.atleast_1d(exposure)))

    def zero_point(self, exposure: Any, detector: Any, x: Any, y: Any) -> Floats:
        """Magnitude of a star of the color ``COLOR_ZERO`` that gives one count there."""
        return self.throughput.zero_point(exposure, detector, self.focal(exposure, detector, x, y))

    def seen(self, exposure: int) -> tuple[Ints, Floats]:
        """Stars that may be in the field, and where they appear (2, n) in the tangent plane, in degrees."""
        everyone = np.arange(self.stars.sizes["star"])
        number = np.full(len(everyone), exposure)
        place = np.stack(to_plane(self.pointings.frame[exposure], self._directions(everyone, number)))
        with np.errstate(invalid="ignore"):
            near = (np.hypot(*place) < 0.75 * self.camera.field_deg).nonzero()[0]
        at = self.exposures.isel(exposure=exposure)
        shift = refraction(
            self.refraction_mas[exposure],
            at.airmass.item(),
            at.parallactic_angle.item(),
            self.stars.color.values[near],
        )
        return near, place[:, near] + shift

    def _directions(self, star: Ints, exposure: Ints) -> Floats:
        years = self.exposures.epoch.values[exposure] - self.stars.attrs["epoch"]
        return directions(self.stars, star, years, self.earth_au[exposure])
