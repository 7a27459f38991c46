"""BlockFactor: the preconditioner with a block for each mapping, where a shared matrix would be too large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.solve.blocks import BLOCK, monomials
from obslab.jointfit.solve.problem import PARTS, Problem
from obslab.jointfit.solve.squares import scales

Floats = NDArray[np.float64]
RIDGE = 1e-9


class BlockFactor:
    """One block for each mapping, out of all measurements, each less its own share in its star."""

    def __init__(self, problem: Problem, seen: Floats, active: Any, inverse: Floats) -> None:
        p = problem
        terms, outer_terms = len(p.inner_basis), len(p.outer_basis)
        work = p.work_basis
        gram = np.zeros((len(p.inner), len(work), len(work)))
        pool.run(
            _gram,
            PARTS,
            p.u,
            p.v,
            active,
            p.star,
            p.first,
            p.part_first,
            inverse,
            work.parent,
            work.by_v,
            gram,
        )
        inner = np.zeros((len(p.inner_free), terms, terms))
        outer = np.zeros((len(p.outer_free), outer_terms, outer_terms))
        np.add.at(inner, p.inner, gram[:, :terms, :terms])
        shape = seen[p.inner]
        np.add.at(outer, p.outer, np.swapaxes(shape, 1, 2) @ gram @ shape)
        self.axes = p.axes
        self.free = p.half_free
        gauge = p.gauge if p.gauge is not None else np.zeros(len(self.free))
        cut = inner.shape[0] * terms
        self.inner = _inverses(inner, p.inner_free, gauge[:cut].reshape(-1, terms))
        self.outer = _inverses(outer, p.outer_free, gauge[cut:].reshape(-1, outer_terms))
        self.ridge = RIDGE

    def solve(self, right: Floats) -> Floats:
        """The preconditioner applied to a vector over all mapping coefficients."""
        out = np.zeros_like(right)
        cut = self.inner.shape[0] * self.inner.shape[1]
        for axis in self.axes:
            half = right[axis]
            a = np.einsum("mij,mj->mi", self.inner, half[:cut].reshape(self.inner.shape[:2]))
            b = np.einsum("mij,mj->mi", self.outer, half[cut:].reshape(self.outer.shape[:2]))
            out[axis] = np.concatenate([a.ravel(), b.ravel()])
        return out


def _inverses(blocks: Floats, free: NDArray[np.bool_], gauge: Floats) -> Floats:
    """The inverse of each block (mappings, terms, terms) with its gauge (mappings, terms), over what is
    free."""
    out = np.zeros_like(blocks)
    for n, block in enumerate(blocks):
        at = np.flatnonzero(free[n])
        if len(at):
            part = block[np.ix_(at, at)] + np.diag(gauge[n][at])
            norm = scales(np.diag(part))
            scaled = part / norm[:, None] / norm + RIDGE * np.eye(len(at))
            out[n][np.ix_(at, at)] = np.linalg.inv(scaled) / norm[:, None] / norm
    return out


@njit(cache=True, fastmath=True, nogil=True, error_model="numpy")
def _gram(
    part: int, u: Any, v: Any, active: Any, star: Any, first: Any, parts: Any, inverse: Any, parent: Any,
    by_v: Any, gram: Any,
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
