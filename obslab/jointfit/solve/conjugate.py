"""Preconditioned conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Descent:
    """``x``, and the size of what it leaves of the right side, in the preconditioner's norm: before and
    after."""

    x: Floats
    first: float
    last: float
    products: int


def conjugate_gradients(
    product: Callable[[Floats], Floats],
    precondition: Callable[[Floats], Floats],
    right: Floats,
    *,
    tolerance: float,
    small: float,
    most: int,
) -> Descent:
    """x with product(x) = right, until the rest is below ``tolerance`` of the right side or ``small``.

    With the reduced matrix itself as preconditioner that size would be the length of the step in sigma.
    """
    x = np.zeros(len(right))
    rest = right
    z = precondition(rest)
    rz = float(rest @ z)
    first = size = float(np.sqrt(max(rz, 0)))
    direction, turns = z, 0
    while size > max(tolerance * first, small) and turns < most:
        image = product(direction)
        curvature = float(direction @ image)
        if curvature <= 0:
            break
        along = rz / curvature
        x = x + along * direction
        rest = rest - along * image
        z = precondition(rest)
        rz, before = float(rest @ z), rz
        size = float(np.sqrt(max(rz, 0)))
        direction = z + rz / before * direction
        turns += 1
    return Descent(x, first, size, turns)
