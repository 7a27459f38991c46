"""Large symmetric matrices in place: only their lower triangles are worked on, strip by strip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STRIP = 512


def subtract_square(matrix: Floats, rows: Floats) -> None:
    """matrix -= rows' rows in the lower triangle; what is above may hold anything. No second matrix is
    made."""
    size = len(matrix)
    for a in range(0, size, STRIP):
        b = min(a + STRIP, size)
        matrix[a:b, :b] -= rows[:, a:b].T @ rows[:, :b]


def mirror(matrix: Floats) -> None:
    """Copy the lower triangle to the upper one."""
    size = len(matrix)
    for a in range(0, size, STRIP):
        b = min(a + STRIP, size)
        matrix[a:b, b:] = matrix[b:, a:b].T
        square = matrix[a:b, a:b]
        square[:] = np.tril(square) + np.tril(square, -1).T


def scales(diagonal: Floats) -> Floats:
    """What to divide rows and columns by, so that the diagonal is one. Where it is zero, nothing being known
    there, that of a coefficient of which little is known: finite, and with a right side of zero it stays at
    rest."""
    known = diagonal > 0
    typical = float(np.median(diagonal[known])) if known.any() else 1.0
    return np.asarray(np.sqrt(np.where(known, diagonal, 1e-6 * typical)))
