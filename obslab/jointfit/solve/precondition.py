"""Which preconditioner of the conjugate gradients suits a problem.

With nearly round errors and outer mappings near the identity, x and y share one reduced matrix of half the
size (``shared``). Where that would be too large, one polynomial for each of thousands of images, each mapping
has its own block (``blockwise``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.solve.blockwise import BlockFactor
from obslab.jointfit.solve.problem import Problem
from obslab.jointfit.solve.shared import SharedFactor

LARGEST = 5000
"""Rows of a shared matrix: its factor takes 200 MB and some seconds then."""


def make(
    problem: Problem, seen: NDArray[np.float64], active: Any, inverse: NDArray[np.float64]
) -> SharedFactor | BlockFactor:
    """The preconditioner that suits the size of the problem, at what ``Linear`` says of the state.

    ``seen`` (inner mappings, terms, outer terms); ``active`` weights; ``inverse`` (K, n, n) of the stars'
    matrices.
    """
    size = int(problem.half_free.sum())
    kind = SharedFactor if size <= LARGEST else BlockFactor
    with pool.one_blas_thread():
        return kind(problem, seen, active, inverse)
