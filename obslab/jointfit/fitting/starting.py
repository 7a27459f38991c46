"""Where the mappings start: the rough WCS, aligned, shared out between the polynomials of the layout."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.mapping.layout import Layout
from obslab.jointfit.polynomial import basis, chebyshev_grid, degree_of
from obslab.jointfit.projection import apply, frames, homography

Floats = NDArray[np.float64]
GRID = 8


def plane_grid(
    measured: xr.Dataset, frame_stack: Floats, affine: Floats, exposure: NDArray[np.int32]
) -> Floats:
    """(B, P, 2): the rough WCS, aligned, on a grid of (u, v), in each exposure's plane (deg)."""
    start = measured.start.values
    values = basis(degree_of(start.shape[2]))(*chebyshev_grid(GRID))
    xi, eta = np.einsum("pk,bak->abp", values, start)
    own = frames(measured.crval.values[:, 0], measured.crval.values[:, 1])
    move = homography(frame_stack[exposure], own)
    xi, eta = apply(move[:, None], xi, eta)
    a = affine[exposure]
    return np.stack(
        [
            xi + a[:, 0, 0, None] + a[:, 0, 1, None] * xi + a[:, 0, 2, None] * eta,
            eta + a[:, 1, 0, None] + a[:, 1, 1, None] * xi + a[:, 1, 2, None] * eta,
        ],
        -1,
    )


def start(layout: Layout, grid: Floats) -> tuple[Floats, Floats]:
    """Coefficients (mappings, 2, terms) of inner and outer polynomials that reproduce ``grid`` (plane units).

    Outer mappings start as affine ones relative to the held exposures, so that a camera turned by any angle
    between exposures starts well; detectors the held exposure lacks follow from the others.
    """
    u, v = chebyshev_grid(GRID)
    project = np.linalg.pinv(basis(layout.inner_degree)(u, v))
    inner = np.zeros((len(layout.inner_names), 2, project.shape[0]))
    outer = np.zeros((len(layout.outer_names), 2, len(basis(layout.outer_degree))))
    outer[:] = basis(layout.outer_degree).identity()
    known = layout.held_outer.copy() if layout.model != "simple" else np.ones(len(outer), bool)
    focal: dict[int, Floats] = {}
    waiting = [set(np.flatnonzero(layout.outer == o).tolist()) for o in range(len(outer))]
    if not known.any():
        known[0] = True
    for _ in range(len(outer) + 1):
        for o in np.flatnonzero(known):
            for i in waiting[o]:
                focal.setdefault(int(layout.inner[i]), _back(outer[o], grid[i]))
        new = False
        for o in np.flatnonzero(~known):
            shared = [i for i in waiting[o] if int(layout.inner[i]) in focal]
            if shared:
                at = np.concatenate([focal[int(layout.inner[i])] for i in shared])
                seen = np.concatenate([grid[i] for i in shared])
                design = np.c_[np.ones(len(at)), at]
                outer[o][:, :3] = np.linalg.lstsq(design, seen, rcond=None)[0].T
                known[o] = new = True
        if not new:
            rest = np.flatnonzero(~known)
            if not len(rest):
                break
            known[rest[0]] = True  # another set of detectors: it starts at its own identity
    # Detectors as the mean over all exposures that saw them, now that those are known.
    total = np.zeros((len(inner), *grid.shape[1:]))
    count = np.zeros(len(inner))
    for i in range(len(layout.inner)):
        total[layout.inner[i]] += _back(outer[layout.outer[i]], grid[i])
        count[layout.inner[i]] += 1
    mean = total / np.maximum(count, 1)[:, None, None]
    inner[:] = np.einsum("kp,cpa->cak", project, mean)
    return inner, outer


def outer_from(layout: Layout, inner: Floats, grid: Floats) -> Floats:
    """Coefficients of outer mappings, affine, that put known inner ones onto ``grid`` (plane units) as well
    as can be.
    """
    outer = np.zeros((len(layout.outer_names), 2, len(basis(layout.outer_degree))))
    outer[:] = basis(layout.outer_degree).identity()
    focal = np.einsum("pk,bak->bpa", basis(layout.inner_degree)(*chebyshev_grid(GRID)), inner[layout.inner])
    for o in np.unique(layout.outer):
        mine = np.flatnonzero(layout.outer == o)
        at, seen = np.concatenate(focal[mine]), np.concatenate(grid[mine])
        outer[o][:, :3] = np.linalg.lstsq(np.c_[np.ones(len(at)), at], seen, rcond=None)[0].T
    return outer


def _back(coefficients: Floats, place: Floats) -> Floats:
    """The inverse of the affine part of an outer mapping."""
    shift, matrix = coefficients[:, 0], coefficients[:, 1:3]
    return np.asarray(np.linalg.solve(matrix, (place - shift).T).T)
