"""SharedFactor: the preconditioner that x and y share, the Cholesky factor of one reduced matrix of half the
size.

It is built from a sample of stars, drawn with a probability that goes with their information, and factored
once; a refit keeps it. It takes errors as round and an exposure's outer mapping as nearly the identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.solve.problem import Problem
from obslab.jointfit.solve.squares import scales, subtract_square

Floats = NDArray[np.float64]

STARS = 8000
"""Stars in the sample: 5,000 doubled the iterations on 36 detectors x 30 exposures, 16,000 saved none."""
BATCH = 512
SAMPLE_PARTS = 4
RIDGES = (1e-9, 1e-6, 1e-4, 1e-2)


class SharedFactor:
    """The factor of the matrix over the free coefficients of one axis."""

    def __init__(self, problem: Problem, seen: Floats, active: Any, inverse: Floats) -> None:
        from scipy import linalg

        self.free = problem.half_free
        self.columns = problem.axes[:, self.free]
        chosen, scale = _sample(problem, active)
        matrix = _shared_matrix(problem, seen, active, chosen, scale)
        if not self.free.all():
            matrix = matrix[np.ix_(self.free, self.free)]
        diagonal = np.diag_indices_from(matrix)
        if problem.gauge is not None:
            matrix[diagonal] += problem.gauge[self.free]
        self.norm = scales(np.diag(matrix))
        matrix /= self.norm[:, None]
        matrix /= self.norm
        added = 0.0
        for ridge in RIDGES:  # a sample may leave the matrix slightly indefinite
            matrix[diagonal] += ridge - added
            added = ridge
            try:
                self.factor = linalg.cho_factor(matrix, lower=True, check_finite=False)
                break
            except linalg.LinAlgError:
                continue
        else:
            # The diagonal alone is a poor preconditioner, and conjugate gradients still get on with it.
            self.factor = (np.eye(len(matrix)), True)
        self.ridge = added
        self.matrix = matrix

    def variances(self) -> Floats:
        """(coefficients of an axis,): their squared errors by this matrix; 0 for those that may not move."""
        from scipy import linalg

        inverse = linalg.cho_solve(self.factor, np.eye(len(self.norm)), check_finite=False)
        out = np.zeros(len(self.free))
        out[self.free] = np.diag(inverse) / self.norm**2
        return out

    def add(self, information: Floats) -> None:
        """Take up more information about single coefficients of an axis, as a gauge gives it."""
        from scipy import linalg

        self.matrix[np.diag_indices_from(self.matrix)] += information[self.free] / self.norm**2
        self.factor = linalg.cho_factor(self.matrix, lower=True, check_finite=False)

    def solve(self, right: Floats) -> Floats:
        """The preconditioner applied to a vector over all mapping coefficients."""
        from scipy import linalg

        out = np.zeros_like(right)
        scaled = right[self.columns].T / self.norm[:, None]
        out[self.columns] = (linalg.cho_solve(self.factor, scaled, check_finite=False) / self.norm[:, None]).T
        return out


def _sample(problem: Problem, active: Any) -> tuple[NDArray[np.int64], Floats]:
    """Stars chosen with a probability that goes with their measurements' information, and one over that.

    Systematic, not random: the same stars at every run.
    """
    information = np.bincount(problem.star, active[0], len(problem.prior))
    count = len(information)
    if count <= STARS or not information.any():
        return np.arange(count), np.ones(count)
    chance = np.minimum(1, STARS * information / information.sum())
    for _ in range(4):  # what is cut off at one goes to the others
        chance = np.minimum(1, chance * STARS / chance.sum())
    chosen = np.flatnonzero(np.diff(np.floor(np.concatenate([[0], np.cumsum(chance)]) + 0.5)) > 0)
    return chosen, 1 / chance[chosen]


def _shared_matrix(p: Problem, seen: Floats, active: Any, chosen: NDArray[np.int64], scale: Floats) -> Floats:
    """The lower triangle of sum over stars of w g g' less what the star's own freedom takes, of one axis."""
    ranks = 2 if p.star_parameters == 5 else 1
    image_of = p.image_of
    size = len(p.half_free)
    work = p.work_basis

    def part(number: int, matrices: Floats) -> None:
        begin, end = number * len(chosen) // SAMPLE_PARTS, (number + 1) * len(chosen) // SAMPLE_PARTS
        rows = np.empty((BATCH * ranks, size))
        for a in range(begin, end, BATCH):
            b = min(a + BATCH, end)
            _rows(
                p.u, p.v, active, p.prior, p.reference_on, p.star_free, p.inner, p.outer, p.exposure,
                p.delta_yr, seen, image_of, p.star_first, p.members, chosen[a:b], scale[a:b], work.parent,
                work.by_v, len(p.inner_free), len(p.inner_basis), ranks, matrices[number], rows,
            )  # fmt: skip
            subtract_square(matrices[number], rows[: (b - a) * ranks])

    matrices = np.zeros((SAMPLE_PARTS, size, size))
    pool.run(part, SAMPLE_PARTS, matrices)
    for other in matrices[1:]:
        matrices[0] += other
    return np.asarray(matrices[0])


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _rows(
    u: Any, v: Any, active: Any, prior: Any, reference_on: Any, star_free: Any, inner_of: Any, outer_of: Any,
    exposure_of: Any, delta_yr: Any, seen: Any, image_of: Any, star_first: Any, members: Any, chosen: Any,
    scale: Any, parent: Any, by_v: Any, inners: int, terms: int, ranks: int, direct: Any, rows: Any,
) -> None:  # fmt: skip  # pragma: no cover
    """For each chosen star: direct += scale sum w g g' (lower triangle), rows = sqrt(scale) N^-1/2 sum w (1,
    t) g."""
    work_terms = len(parent)
    outer_terms = seen.shape[2]
    outer_at = inners * terms
    g = np.empty(work_terms)
    b = np.empty(outer_terms)
    for s in range(len(chosen)):
        k = chosen[s]
        n00, n01, n11 = 0.0, 0.0, 0.0
        if reference_on[k] == 1:
            n00 = prior[k, 0]
            if ranks == 2:
                n01, n11 = prior[k, 2], prior[k, 9]
        for at in range(star_first[k], star_first[k + 1]):
            n = members[at]
            w = np.float64(active[0, n])
            t = delta_yr[exposure_of[image_of[n]]]
            n00 += w
            n01 += w * t
            n11 += w * t * t
        # Cholesky of the star's own matrix (place, motion) of one axis; frozen ones take nothing.
        l00 = np.sqrt(n00) if n00 > 0 and star_free[k] & 1 else np.inf
        l10 = n01 / l00
        rest = n11 - l10 * l10
        l11 = np.sqrt(rest) if rest > 1e-10 * n11 and star_free[k] & 2 else np.inf
        root = np.sqrt(scale[s])
        for r in range(ranks):
            rows[s * ranks + r] = 0
        for at in range(star_first[k], star_first[k + 1]):
            n = members[at]
            w = np.float64(active[0, n])
            if w == 0:
                continue
            i = image_of[n]
            c = inner_of[i]
            o = c * terms
            p = outer_at + outer_of[i] * outer_terms
            g[0] = 1
            for j in range(1, work_terms):
                g[j] = g[parent[j]] * (v[n] if by_v[j] else u[n])
            for j in range(outer_terms):
                x = 0.0
                for m in range(work_terms):
                    x += seen[c, m, j] * g[m]
                b[j] = x
            f0 = w * root / l00
            row = rows[s * ranks]
            for j in range(terms):
                row[o + j] += f0 * g[j]
            for j in range(outer_terms):
                row[p + j] += f0 * b[j]
            if ranks == 2:
                t = delta_yr[exposure_of[i]]
                f1 = w * root * (t - l10 / l00) / l11 if l00 < np.inf else w * root * t / l11
                second = rows[s * ranks + 1]
                for j in range(terms):
                    second[o + j] += f1 * g[j]
                for j in range(outer_terms):
                    second[p + j] += f1 * b[j]
            ws = w * scale[s]
            for j in range(terms):
                x = ws * g[j]
                for m in range(j + 1):
                    direct[o + j, o + m] += x * g[m]
            for j in range(outer_terms):
                x = ws * b[j]
                for m in range(terms):
                    direct[p + j, o + m] += x * g[m]
                for m in range(j + 1):
                    direct[p + j, p + m] += x * b[m]
