"""TurbulenceField: the displacement found over one exposure, evaluated anywhere, and as a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.turbulence.grid import Grid, gather
from obslab.jointfit.turbulence.von_karman import VonKarman
from obslab.schema import Schema, Var

Floats = NDArray[np.float64]

DISPLACEMENT = Schema(
    "displacement",
    {
        "xi": Var(("xi",), "float64", "deg", "Column of the grid, east of the tangent point."),
        "eta": Var(("eta",), "float64", "deg", "Row of the grid, north of the tangent point."),
        "d_xi": Var(("eta", "xi"), "float32", "mas", "Displacement of the stars there, east."),
        "d_eta": Var(("eta", "xi"), "float32", "mas", "The same, north."),
    },
)
"""The turbulence of one exposure on its grid; its hyperparameters are attributes."""


@dataclass(frozen=True)
class TurbulenceField:
    """What the atmosphere did to one exposure: measured minus true position, in its tangent plane.

    ``coefficients`` (2, rows, columns) are of B-splines on ``grid``. Half an outer scale beyond the stars it
    was found from, the grid ends, and the displacement is zero.
    """

    kernel: VonKarman
    grid: Grid
    coefficients: NDArray[np.float32]
    measured: int
    iterations: int

    def predict(self, xi: Any, eta: Any) -> tuple[Floats, Floats]:
        """Displacement (mas) east and north at plane positions in deg, of any shape; NaN where those are."""
        xi, eta = np.broadcast_arrays(np.asarray(xi, np.float64), np.asarray(eta, np.float64))
        x, y = self.grid.cells(xi.ravel(), eta.ravel())
        values = np.empty((x.size, 2))
        gather(x, y, self.coefficients, values)
        return values[:, 0].reshape(xi.shape), values[:, 1].reshape(xi.shape)

    @property
    def displacement(self) -> xr.Dataset:
        """The same as a DISPLACEMENT dataset, from which ``from_displacement`` makes the field again."""
        kernel, (xi, eta) = self.kernel, self.grid.axes()
        nodes = _filtered(self.coefficients, self.grid.sampling())
        attrs = {
            "variance": kernel.variance,
            "outer_scale_deg": kernel.outer_scale_deg,
            "shear": kernel.shear,
            "white": kernel.white,
            "curl": kernel.curl,
            "measured": self.measured,
            "iterations": self.iterations,
            "step_deg": self.grid.step_deg,
        }
        return DISPLACEMENT.build(attrs, xi=xi, eta=eta, d_xi=nodes[0], d_eta=nodes[1])


def from_displacement(displacement: xr.Dataset) -> TurbulenceField:
    """The field that a DISPLACEMENT dataset describes, to the seven digits it holds."""
    known = DISPLACEMENT.check(displacement)
    told = known.attrs
    grid = Grid(float(known.xi[0]), float(known.eta[0]), float(told["step_deg"]), known.d_xi.shape)
    nodes = np.stack([known.d_xi.values, known.d_eta.values])
    kernel = VonKarman(
        (float(told["variance"][0]), float(told["variance"][1])),
        float(told["outer_scale_deg"]),
        (float(told["shear"][0]), float(told["shear"][1])),
        float(told["white"]),
        float(told["curl"]),
    )
    coefficients = _filtered(nodes, 1 / grid.sampling())
    return TurbulenceField(kernel, grid, coefficients, int(told["measured"]), int(told["iterations"]))


def _filtered(values: NDArray[Any], factor: Floats) -> NDArray[np.float32]:
    from scipy.fft import irfft2, rfft2

    waves = rfft2(values.astype(np.float64)) * factor
    return np.asarray(irfft2(waves, s=values.shape[-2:]), np.float32)
