"""Whose proper motion and parallax are fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.association import Association
from obslab.jointfit.fitting.choices import Choices, FitError
from obslab.jointfit.fitting.motion import (
    LEAST_EPOCHS_PARALLAX,
    LEAST_SPAN_OF_STAR_YR,
    LEAST_SPAN_YR,
    distinct_epochs,
    motion_is_due,
    parallax_is_due,
)

Floats = NDArray[np.float64]


def who_moves(
    choices: Choices,
    reference: xr.Dataset | None,
    association: Association,
    rows: Any,
    exposure: Any,
    image: Any,
    epochs: Floats,
    star: Any,
    count: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whose proper motion and parallax are fitted: by the rule, by yes or no, or by a mask over stars."""
    nobody = np.zeros(count, bool)
    seen = np.flatnonzero(np.bincount(exposure[image], minlength=len(epochs)))
    span, distinct = float(np.ptp(epochs[seen])), distinct_epochs(epochs[seen])
    out = []
    for choice, due, least, span_of_star in (
        (choices.motion, motion_is_due, 2, LEAST_SPAN_OF_STAR_YR),
        (choices.parallax, parallax_is_due, LEAST_EPOCHS_PARALLAX, LEAST_SPAN_YR),
    ):
        automatic = isinstance(choice, str) and choice == "auto"
        if (
            choices.projector == "identity"
            or choice is False
            or choice is None
            or (automatic and not due(reference, span, distinct))
        ):
            out.append(nobody.copy())
        elif automatic or choice is True:
            own_span, measurements = _spans(epochs[exposure[image]], star, count)
            if automatic:
                out.append((own_span >= span_of_star) & (measurements >= least))
            else:
                out.append(((own_span > 0) & (measurements >= 2)) | (association.reference >= 0))
        else:
            mask = np.asarray(choice, bool)
            if mask.shape != (count,):
                raise FitError(
                    f"the mask of moving stars has shape {mask.shape}, wanted ({count},): one for each "
                    f"fitted star"
                )
            out.append(mask)
    return out[0], out[1]


def _spans(when: Floats, star: Any, count: int) -> tuple[Floats, NDArray[np.int64]]:
    """Years from each star's first measurement to its last, and how many it has."""
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, star, when)
    np.maximum.at(high, star, when)
    return np.where(np.isfinite(low), high - low, 0.0), np.bincount(star, minlength=count)
