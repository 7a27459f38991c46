"""The turbulence of many exposures: each has its own field, and they are found side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.turbulence.field import TurbulenceField
from obslab.jointfit.turbulence.process import FewStarsError, TurbulenceError, checked, field_of
from obslab.jointfit.turbulence.von_karman import VonKarman
from obslab.schema import Schema, Var

Floats = NDArray[np.float64]

TURBULENCE = Schema(
    "turbulence",
    {
        "exposure": Var(("exposure",), "int64", "1", "Number of the exposure."),
        "variance_xi": Var(("exposure",), "float64", "mas2", "Variance of the displacement, east."),
        "variance_eta": Var(("exposure",), "float64", "mas2", "The same, north."),
        "outer_scale": Var(("exposure",), "float64", "arcmin", "Outer scale."),
        "g1": Var(("exposure",), "float64", "1", "Shear of the correlation, longer along xi where positive."),
        "g2": Var(("exposure",), "float64", "1", "The same along xi = eta."),
        "white": Var(("exposure",), "float64", "mas2", "Variance no two stars share, beyond their errors."),
        "curl": Var(("exposure",), "float64", "1", "Part of the power in curl that was assumed."),
        "measured": Var(("exposure",), "int64", "1", "Measured stars the field was found from."),
        "iterations": Var(("exposure",), "int64", "1", "Conjugate gradient iterations."),
    },
)
"""The hyperparameters of each exposure that has a field, ordered by its number."""


@dataclass(frozen=True)
class Turbulence:
    """The field of each exposure by its number, and why some have none."""

    fields: Mapping[int, TurbulenceField]
    without: Mapping[int, str]

    def predict(self, exposure: NDArray[np.integer], xi: Floats, eta: Floats) -> tuple[Floats, Floats]:
        """Displacement (mas) at positions (n,), each of its exposure (n,); zero for those without a field."""
        d_xi, d_eta = np.zeros(len(xi)), np.zeros(len(xi))
        for number, rows in _rows_of(np.asarray(exposure)):
            if number in self.fields:
                d_xi[rows], d_eta[rows] = self.fields[number].predict(xi[rows], eta[rows])
        return d_xi, d_eta

    @property
    def kernels(self) -> dict[int, VonKarman]:
        """The hyperparameters of each field."""
        return {number: field.kernel for number, field in self.fields.items()}

    @property
    def table(self) -> xr.Dataset:
        """TURBULENCE: a row for each field."""
        numbers = sorted(self.fields)
        fields = [self.fields[number] for number in numbers]
        kernels = [field.kernel for field in fields]
        return TURBULENCE.build(
            {"without": "; ".join(f"{number}: {why}" for number, why in sorted(self.without.items()))},
            exposure=numbers,
            variance_xi=[kernel.variance[0] for kernel in kernels],
            variance_eta=[kernel.variance[1] for kernel in kernels],
            outer_scale=[kernel.outer_scale_deg * 60 for kernel in kernels],
            g1=[kernel.shear[0] for kernel in kernels],
            g2=[kernel.shear[1] for kernel in kernels],
            white=[kernel.white for kernel in kernels],
            curl=[kernel.curl for kernel in kernels],
            measured=[field.measured for field in fields],
            iterations=[field.iterations for field in fields],
        )


def fit_fields(
    exposure: NDArray[np.integer],
    positions: Floats,
    residual: Floats,
    error: Floats,
    *,
    hyper: Mapping[int, VonKarman] | None = None,
    start: Turbulence | None = None,
    curl: float = 0.5,
    tolerance: float = 1e-3,
) -> Turbulence:
    """``fit_field`` for each exposure of rows (n,): the same result on any number of threads.

    ``hyper`` holds the hyperparameters of some exposures, such as the ``kernels`` of an earlier round; those
    of the others are estimated. ``start`` is an earlier round, from which fewer iterations lead. An exposure
    with too few stars is left without a field, and ``without`` says so.
    """
    positions, residual, error = checked(positions, residual, error)
    exposure = np.asarray(exposure)
    if exposure.shape != (len(positions),):
        raise TurbulenceError(
            f"exposure has shape {exposure.shape}, wanted ({len(positions)},)", name="exposure"
        )
    shares = list(_rows_of(exposure))
    known, before = hyper or {}, start.fields if start else {}
    fields: dict[int, TurbulenceField] = {}
    without: dict[int, str] = {}

    def fit_one(part: int) -> None:
        number, rows = shares[part]
        share = positions[rows], residual[rows], error[rows]
        try:
            fields[number] = field_of(*share, known.get(number), before.get(number), curl, tolerance)
        except FewStarsError as few:
            without[number] = few.message

    with pool.one_blas_thread():
        pool.run(fit_one, len(shares))
    return Turbulence(dict(sorted(fields.items())), dict(sorted(without.items())))


def _rows_of(exposure: NDArray[np.integer]) -> list[tuple[int, NDArray[np.int64]]]:
    if not len(exposure):
        return []
    order = np.argsort(exposure, kind="stable")
    numbers, first = np.unique(exposure[order], return_index=True)
    return [(int(number), rows) for number, rows in zip(numbers, np.split(order, first[1:]), strict=True)]
