"""The reduced normal equations, without the stars: solved exactly, or it is explained why they cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.photometry.columns import Columns, Gauge
from obslab.jointfit.photometry.settings import PhotometryError

Floats = NDArray[np.float64]

LEFT_OPEN = 1e-9
"""A combination of terms of which free stars leave less than this part is not determined: by dithers of less
than 3e-5 of the field, that is, or of a twentieth of a pixel on 2048."""
GRADIENT_LEFT_OPEN = 1e-3
"""The same for the gradient of a flat correction, which only exposures rotated by 2 degrees or more tell from
zero points that follow the pointing. Below it small flaws of the model would be magnified thirty times."""
_SUSPECT_PIVOT = 1e-6
_NAMED = 6


class NotDeterminedError(PhotometryError):
    """Terms that the measurements cannot tell apart; the message names them."""


@dataclass(frozen=True)
class Reduced:
    """matrix . step = right, for terms that obey ``gauge``; ``diagonal`` is that of fixed stars."""

    matrix: Floats
    diagonal: Floats
    gauge: Floats

    @property
    def scale(self) -> Floats:
        return np.sqrt(np.maximum(self.diagonal, 1e-300))

    def scaled(self) -> Floats:
        """Matrix of terms in units in which its diagonal were 1 with stars fixed, made regular by the gauge.

        The gauge's equations are added like measurements, which is exact where the matrix does nothing;
        ``solve`` sees to it where it does a little.
        """
        regular = self.matrix / self.scale[:, None] / self.scale
        equations = self.gauge / self.scale
        equations = equations / np.maximum(np.linalg.norm(equations, axis=1), 1e-300)[:, None]
        return np.asarray(regular + equations.T @ equations)

    def factor(self, columns: Columns) -> Any:
        """Cholesky factor of the scaled matrix; NotDeterminedError if terms cannot be told apart."""
        from scipy import linalg

        scaled = self.scaled()
        if not np.isfinite(scaled).all():
            raise NotDeterminedError("the normal equations are not finite: look for absurd fluxes or errors")
        try:
            factor = linalg.cho_factor(scaled, lower=True, check_finite=False)
            suspect = bool(np.diag(factor[0]).min(initial=1.0) ** 2 < _SUSPECT_PIVOT)
        except linalg.LinAlgError:
            suspect = True
        if suspect:
            left, directions = linalg.eigh(scaled, check_finite=False)
            if left[0] < LEFT_OPEN:
                raise _not_determined(columns, directions[:, 0], int((left < LEFT_OPEN).sum()))
        return factor

    def solve(self, factor: Any, right: Floats, terms: Floats) -> Floats:
        """The step from ``terms`` to those that obey the gauge; right is minus half the gradient of chi2."""
        step = self._inverse(factor, right)
        if len(self.gauge):
            moved = self._inverse(factor, self.gauge.T)
            step -= moved @ np.linalg.solve(self.gauge @ moved, self.gauge @ (terms + step))
        return step

    def covariance(self, factor: Any) -> Floats:
        """Of the terms that obey the gauge."""
        inverse = self._inverse(factor, np.eye(len(self.matrix)))
        if len(self.gauge):
            moved = inverse @ self.gauge.T
            inverse -= moved @ np.linalg.solve(self.gauge @ moved, moved.T)
        return np.asarray((inverse + inverse.T) / 2)

    def _inverse(self, factor: Any, right: Floats) -> Floats:
        from scipy import linalg

        scale = self.scale.reshape((-1,) + (1,) * (right.ndim - 1))
        return np.asarray(linalg.cho_solve(factor, right / scale, check_finite=False) / scale)


def gradient_equations(reduced: Reduced, columns: Columns, gauge: Gauge) -> tuple[Floats, tuple[int, ...]]:
    """Equations for flat corrections whose gradient is left open, and which those are.

    A gradient over the focal plane is one of the stars over the sky plus zero points that follow the
    pointing. Only a reference, or exposures rotated against each other, say how much of it is the camera's.
    """
    from scipy import linalg

    by_reference = {
        int(c) for s, anchored in zip(gauge.sets, gauge.anchored, strict=True) if anchored for c in s
    }
    free = [
        n
        for n, image in enumerate(columns.illumination_image)
        if not {int(z) for z in columns.zero[columns.illumination == columns.illumination[image]]}
        & by_reference
    ]
    many = len(columns.powers)
    at = [columns.first_illumination + n * many + i for n in free for i in range(2)]
    if not at:
        return np.zeros((0, len(columns))), ()
    scaled = reduced.scaled() + LEFT_OPEN * np.eye(len(columns))  # regular whatever else is open
    picked = np.eye(len(columns))[:, at]
    inverse = linalg.cho_solve(linalg.cho_factor(scaled, lower=True), picked)[at]
    share, directions = linalg.eigh(inverse)
    open_directions = directions[:, share > 1 / GRADIENT_LEFT_OPEN]
    equations = np.zeros((open_directions.shape[1], len(columns)))
    equations[:, at] = open_directions.T * reduced.scale[at]
    touched = tuple(n for i, n in enumerate(free) if (np.abs(open_directions[2 * i : 2 * i + 2]) > 0.1).any())
    return equations, touched


def _not_determined(columns: Columns, direction: Floats, many: int) -> NotDeterminedError:
    order = np.argsort(-np.abs(direction), kind="stable")
    worst = [columns.names[i] for i in order[:_NAMED] if abs(direction[i]) > 0.1 * abs(direction[order[0]])]
    weight = direction**2 / (direction**2).sum()
    kinds = {
        "zero points": weight[: len(columns.zero_image)].sum(),
        "detector terms": weight[len(columns.zero_image) : columns.first_illumination].sum(),
        "illumination": weight[columns.first_illumination : columns.first_color].sum(),
        "color terms": weight[columns.first_color :].sum(),
    }
    mixed = [kind for kind, share in kinds.items() if share > 0.01]
    advice = {
        "illumination": "a lower illumination_degree (0: none)",
        "detector terms": "detectors=False",
        "color terms": "color_terms=None",
        "zero points": "reference magnitudes",
    }
    ways = [
        advice[kind]
        for kind in ("illumination", "detector terms", "color terms", "zero points")
        if kind in mixed
    ]
    others = f" and {many - 1} more combinations" if many > 1 else ""
    return NotDeterminedError(
        f"{' and '.join(mixed)} cannot be told apart, or not from the stars' own magnitudes, in the "
        f"combination of {', '.join(worst)}{others}: dithered exposures would tell them, or give "
        f"{' or '.join(ways)}",
        terms=tuple(worst),
    )
