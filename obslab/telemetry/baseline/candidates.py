"""Candidates: the spots that a fit may use, as arrays, and the tables that come of them afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.errors import BaselineError
from obslab.telemetry.baseline.basis import Basis, Floats, Nanoseconds
from obslab.telemetry.baseline.canonical import COMPONENTS
from obslab.telemetry.baseline.datasets import RESIDUALS
from obslab.telemetry.baseline.robust import usable_errors
from obslab.telemetry.baseline.solving import Solution
from obslab.times import to_ns

if TYPE_CHECKING:
    import xarray as xr

REJECTED = "rejected by the fit"
NO_VALUE = "not all of its components have a value"


@dataclass(frozen=True, eq=False)
class Candidates:
    """Rows of SPOTS in order of time: ``row`` is where they are in ``dataset``.

    A spot that an earlier fit rejected is tried again; one that a person, or the lack of data, took out
    is not.
    """

    dataset: xr.Dataset
    row: NDArray[np.int64]
    time_ns: Nanoseconds
    values: Floats
    errors: Floats

    @classmethod
    def of(cls, spots: xr.Dataset) -> Candidates:
        from obslab.telemetry.datasets import SPOTS

        frame = SPOTS.check(spots).attrs.get("frame")
        named = tuple(str(name) for name in spots.component.values)
        if frame not in COMPONENTS or named != COMPONENTS[frame]:
            raise BaselineError(
                f"spots of frame {frame!r} with components {named} are not known; wanted one of {COMPONENTS}"
            )
        ordered = spots.isel(spot=np.argsort(spots.time.values, kind="stable"))
        note = np.array([str(text) for text in ordered.note.values], str)
        again = np.char.startswith(note, REJECTED)
        note = np.where(again, "", note)
        whole = np.isfinite(ordered.base.values).all(1)
        ordered = ordered.assign(
            used=("spot", (ordered.used.values | again) & whole, ordered.used.attrs),
            note=("spot", np.where(whole | (note != ""), note, NO_VALUE), ordered.note.attrs),
        )
        row = np.flatnonzero(ordered.used.values)
        if not row.size:
            why = next(
                (text for text in ordered.note.values if text), "there are none, or a person took them out"
            )
            raise BaselineError(f"none of {len(note)} spots may be used: {why}", spots=len(note))
        errors = ordered.error.values[row]
        units = [str(unit) for unit in ordered.unit.values]
        return cls(
            ordered,
            row,
            to_ns(ordered.time.values[row]),
            ordered.base.values[row],
            np.stack([usable_errors(errors[:, k], unit) for k, unit in enumerate(units)], axis=1),
        )

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(str(name) for name in self.dataset.component.values)

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(str(unit) for unit in self.dataset.unit.values)

    @property
    def weights(self) -> Floats:
        return 1 / self.errors**2

    def with_rejected(self, out: NDArray[np.bool_], far: Floats, limit: float | None) -> xr.Dataset:
        """The table with the candidates ``out`` not used, and in their note which component is how far."""
        used = self.dataset.used.values.copy()
        note = self.dataset.note.values.astype(object)
        for place in np.flatnonzero(out):
            worst = int(np.argmax(np.abs(far[place])))
            used[self.row[place]] = False
            note[self.row[place]] = (
                f"{REJECTED}: {self.components[worst]} is {far[place, worst]:+.1f} sigma off "
                f"(limit {limit:g})"
            )
        return self.dataset.assign(
            used=("spot", used, self.dataset.used.attrs),
            note=("spot", note.astype(str), self.dataset.note.attrs),
        )

    def residuals(
        self, final: xr.Dataset, basis: Basis, solutions: list[Solution], far: Floats
    ) -> xr.Dataset:
        """RESIDUALS of all rows; those that were no candidates have no ``sigmas``."""
        coefficients = np.stack([solution.coefficients for solution in solutions], axis=1)
        fitted = basis.values(to_ns(final.time.values), coefficients)
        by_sigma = np.full(fitted.shape, np.nan)
        by_sigma[self.row] = far
        return RESIDUALS.build(
            time=final.time.values,
            residual=final.base.values - fitted,
            fitted=fitted,
            sigmas=by_sigma,
            component=final.component.values,
            unit=final.unit.values,
            used=final.used.values,
            note=final.note.values.astype(str),
        )
