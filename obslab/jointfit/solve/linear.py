"""Linear: what the simplified matrix needs of a state, a few numbers for each image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.polynomial import chebyshev_grid
from obslab.jointfit.solve.problem import Problem, State

Floats = NDArray[np.float64]
LEAST_GRID = 8


@dataclass(frozen=True)
class Linear:
    """B images, C inner and O outer mappings.

    ``by_x``, ``by_y`` (O, 2, outer terms): derivatives of the outer mappings, exact. At the middle of each
    image, (B, 2, 2): ``jacobian`` of its outer mapping and ``projection``, of its plane by the common one.
    ``seen`` (C, work terms, outer terms): monomial j of the outer basis, at inner mapping c, expanded in the
    work basis.
    """

    by_x: Floats
    by_y: Floats
    jacobian: Floats
    projection: Floats
    seen: Floats


def linearise(problem: Problem, state: State) -> Linear:
    """The Linear of a problem at a state."""
    p, s = problem, state
    centre = s.inner[p.inner][:, :, 0]
    at = p.outer_basis(centre[:, 0], centre[:, 1])
    by_x, by_y = p.outer_basis.derivatives(s.outer)
    jacobian = np.stack([np.einsum("bk,bik->bi", at, by[p.outer]) for by in (by_x, by_y)], -1)
    place = np.einsum("bk,bik->bi", at, s.outer[p.outer])
    matrix = p.homography[p.exposure]
    back = np.einsum("bij,bj->bi", np.linalg.inv(matrix), np.c_[place, np.ones(len(place))])
    depth = np.einsum("bj,bj->b", matrix[:, 2], back / back[:, 2:])
    projection = (matrix[:, :2, :2] - place[:, :, None] * matrix[:, 2:, :2]) / depth[:, None, None]
    u, v = chebyshev_grid(max(LEAST_GRID, p.work_basis.degree + 2))
    focal = np.einsum("nk,cik->cin", p.inner_basis(u, v), s.inner)
    outer = p.outer_basis(focal[:, 0], focal[:, 1])
    seen = np.einsum("kn,cnj->ckj", np.linalg.pinv(p.work_basis(u, v)), outer)
    return Linear(by_x, by_y, jacobian, projection, np.ascontiguousarray(seen))
