"""Preconditioners of the conjugate gradients.

With nearly round errors and an inner Jacobian near one, x and y share ONE reduced matrix of half the size. It is
built from a sample of stars, drawn with a probability that goes with their information, and factored once; a refit
keeps it. Where that matrix would be too large (one polynomial per image of thousands), each mapping has its own block.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.solve.blocks import BLOCK, monomials
from obslab.jointfit.solve.problem import PARTS, Problem

Floats = NDArray[np.float64]

LARGEST = 5000
"""Rows of a shared matrix: its factor takes 200 MB and some seconds then."""
STARS = 8000
"""Stars in the sample: 5,000 doubled the iterations on 36 detectors x 30 exposures, 16,000 saved none."""
BATCH = 512
RIDGES = (1e-9, 1e-6, 1e-4, 1e-2)


class SharedFactor:
    """The Cholesky factor of the shared matrix, from a sample of stars."""

    def __init__(self, problem: Problem, seen: Floats, active: Any, inverse: Floats) -> None:
        from scipy import linalg

        self.free = free_half(problem)
        chosen, scale = _sample(problem, active)
        size = len(self.free)
        matrix = _shared_matrix(problem, seen, active, chosen, scale, size)
        matrix = matrix[np.ix_(self.free, self.free)]
        if problem.gauge is not None:
            matrix[np.diag_indices_from(matrix)] += problem.gauge[self.free]
        self.norm = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        matrix /= self.norm[:, None]
        matrix /= self.norm
        self.ridge = RIDGES[-1]
        for ridge in RIDGES:  # a sample may leave the matrix slightly indefinite
            try:
                ridged = matrix.copy()
                ridged[np.diag_indices_from(ridged)] += ridge
                self.factor = linalg.cho_factor(ridged, lower=True, overwrite_a=True, check_finite=False)
                self.ridge = ridge
                break
            except linalg.LinAlgError:
                continue
        self.axes = axes_of(problem)

    def solve(self, right: Floats) -> Floats:
        """The preconditioner applied to a vector over all mapping coefficients."""
        from scipy import linalg

        out = np.zeros_like(right)
        columns = self.axes[:, self.free]
        scaled = right[columns].T / self.norm[:, None]
        out[columns] = (linalg.cho_solve(self.factor, scaled, check_finite=False) / self.norm[:, None]).T
        return out


class BlockFactor:
    """One block for each mapping, out of all measurements, each less its own share in its star."""

    def __init__(self, problem: Problem, seen: Floats, active: Any, inverse: Floats) -> None:
        p = problem
        terms, outer_terms = len(p.inner_basis), len(p.outer_basis)
        gram = np.zeros((len(p.inner), terms, terms))
        pool.run(
            _gram, PARTS, p.u, p.v, active, p.star, p.first, p.part_first, inverse, p.inner_basis.parent,
            p.inner_basis.by_v, gram,
        )  # fmt: skip
        inner = np.zeros((len(p.inner_free), terms, terms))
        outer = np.zeros((len(p.outer_free), outer_terms, outer_terms))
        np.add.at(inner, p.inner, gram)
        shape = seen[p.inner]
        np.add.at(outer, p.outer, np.swapaxes(shape, 1, 2) @ gram @ shape)
        self.axes = axes_of(p)
        self.free = free_half(p)
        gauge = p.gauge if p.gauge is not None else np.zeros(len(self.free))
        cut = inner.shape[0] * terms
        self.inner = _inverses(inner, p.inner_free, gauge[:cut].reshape(-1, terms))
        self.outer = _inverses(outer, p.outer_free, gauge[cut:].reshape(-1, outer_terms))
        self.ridge = 0.0

    def solve(self, right: Floats) -> Floats:
        out = np.zeros_like(right)
        cut = self.inner.shape[0] * self.inner.shape[1]
        for axis in self.axes:
            half = right[axis]
            a = np.einsum("mij,mj->mi", self.inner, half[:cut].reshape(self.inner.shape[:2]))
            b = np.einsum("mij,mj->mi", self.outer, half[cut:].reshape(self.outer.shape[:2]))
            out[axis] = np.concatenate([a.ravel(), b.ravel()])
        return out


def make(problem: Problem, seen: Floats, active: Any, inverse: Floats) -> SharedFactor | BlockFactor:
    """The preconditioner that suits the size of the problem."""
    size = int(free_half(problem).sum())
    kind = SharedFactor if size <= LARGEST else BlockFactor
    with pool.one_blas_thread():
        return kind(problem, seen, active, inverse)


def free_half(problem: Problem) -> NDArray[np.bool_]:
    """Which coefficients of one axis may move."""
    return np.concatenate([problem.inner_free.ravel(), problem.outer_free.ravel()])


def axes_of(problem: Problem) -> NDArray[np.int64]:
    """(2, half): where the coefficients of each axis stand in a vector over all of them."""
    inners, terms = problem.inner_free.shape
    outers, outer_terms = problem.outer_free.shape
    start = inners * 2 * terms
    out = []
    for axis in range(2):
        inner = np.arange(inners)[:, None] * 2 * terms + axis * terms + np.arange(terms)
        outer = start + np.arange(outers)[:, None] * 2 * outer_terms + axis * outer_terms + np.arange(outer_terms)
        out.append(np.concatenate([inner.ravel(), outer.ravel()]))
    return np.array(out)


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


def _shared_matrix(
    p: Problem, seen: Floats, active: Any, chosen: NDArray[np.int64], scale: Floats, size: int
) -> Floats:
    """The lower triangle of sum over stars of w g g' less what the star's own freedom takes, of one axis."""
    ranks = 2 if p.star_parameters == 5 else 1
    image_of = p.image_of

    parts = 4

    def part(number: int, matrices: Floats) -> None:
        begin, end = number * len(chosen) // parts, (number + 1) * len(chosen) // parts
        rows = np.empty((BATCH * ranks, size))
        direct = np.zeros((size, size))
        for a in range(begin, end, BATCH):
            b = min(a + BATCH, end)
            _rows(
                p.u, p.v, active, p.prior, p.reference_on, p.star_free, p.inner, p.outer, p.exposure, p.delta_yr,
                seen, image_of, p.star_first, p.members, chosen[a:b], scale[a:b], p.inner_basis.parent,
                p.inner_basis.by_v, len(p.inner_free), ranks, direct, rows,
            )  # fmt: skip
            used = rows[: (b - a) * ranks]
            matrices[number] -= used.T @ used  # numpy sees X'X and calls syrk; BLAS releases the lock
        matrices[number] += np.tril(direct)

    matrices = np.zeros((parts, size, size))
    pool.run(part, parts, matrices)
    lower = np.tril(matrices.sum(0))
    return np.asarray(lower + np.tril(lower, -1).T)


def _inverses(blocks: Floats, free: NDArray[np.bool_], gauge: Floats) -> Floats:
    out = np.zeros_like(blocks)
    for n, block in enumerate(blocks):
        at = np.flatnonzero(free[n])
        if len(at):
            part = block[np.ix_(at, at)] + np.diag(gauge[n][at])
            norm = np.sqrt(np.maximum(np.diag(part), 1e-300))
            scaled = part / norm[:, None] / norm + 1e-9 * np.eye(len(at))
            out[n][np.ix_(at, at)] = np.linalg.inv(scaled) / norm[:, None] / norm
    return out


@njit(cache=True, fastmath=True, nogil=True)
def _rows(
    u: Any, v: Any, active: Any, prior: Any, reference_on: Any, star_free: Any, inner_of: Any, outer_of: Any,
    exposure_of: Any, delta_yr: Any, seen: Any, image_of: Any, star_first: Any, members: Any, chosen: Any,
    scale: Any, parent: Any, by_v: Any, inners: int, ranks: int, direct: Any, rows: Any,
) -> None:  # fmt: skip  # pragma: no cover
    """For each chosen star: direct += scale sum w g g' (lower triangle), rows = sqrt(scale) N^-1/2 sum w (1, t) g."""
    terms = len(parent)
    outer_terms = seen.shape[2]
    outer_at = inners * terms
    g = np.empty(terms)
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
            for j in range(1, terms):
                g[j] = g[parent[j]] * (v[n] if by_v[j] else u[n])
            for j in range(outer_terms):
                x = 0.0
                for m in range(terms):
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


@njit(cache=True, fastmath=True, nogil=True)
def _gram(
    part: int, u: Any, v: Any, active: Any, star: Any, first: Any, parts: Any, inverse: Any, parent: Any, by_v: Any,
    gram: Any,
) -> None:  # fmt: skip  # pragma: no cover
    """gram[i] = sum over image i of w (1 - w var) phi phi'."""
    terms = len(parent)
    phi = np.empty((terms, BLOCK))
    weight = np.empty(BLOCK)
    scaled = np.empty(BLOCK)
    for i in range(parts[part], parts[part + 1]):
        for a in range(first[i], first[i + 1], BLOCK):
            b = min(a + BLOCK, first[i + 1])
            m = b - a
            monomials(u[a:b], v[a:b], m, parent, by_v, phi)
            for n in range(m):
                w = np.float64(active[0, a + n])
                weight[n] = w * max(1 - w * inverse[star[a + n], 0, 0], 0.0)
            for j in range(terms):
                for n in range(m):
                    scaled[n] = weight[n] * phi[j, n]
                for c in range(j + 1):
                    s = 0.0
                    for n in range(m):
                        s += scaled[n] * phi[c, n]
                    gram[i, j, c] += s
                    if c < j:
                        gram[i, c, j] += s
