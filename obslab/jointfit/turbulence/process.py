"""The Gaussian process of one exposure: from residuals of its stars to the field they share.

The best prediction is W S W' (W S W' + N)^-1 r: W the splines' weights at the stars, S the spectrum of the
splines' coefficients, N the stars' variances (Rasmussen & Williams 2006, eq. 2.23). S is diagonal in Fourier
space, so one product costs two Fourier transforms of the grid, and conjugate gradients need about 70 of them.

Why our own: treegp 1.5 (Leget et al. 2021) factors the dense covariance of its von Karman kernels, n^3, for
each axis, and brings TreeCorr, scikit-learn, healsparse, iminuit and fitsio with it. Of 10 mas of turbulence
over 4,300 simulated stars it left 3.07 mas with "anisotropic", in 130 s of CPU an exposure, 2.82 mas with
"two-pcf", in 11 s, and 3.80 mas with "empirical-2pcf", in 1.1 s: that is solved on a grid too, but with a
covariance read off the one exposure's noisy correlations. This leaves 2.81 mas, in 0.25 s; so does the dense
process with the true covariance.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.pool import one_blas_thread
from obslab.jointfit.turbulence.field import TurbulenceField
from obslab.jointfit.turbulence.grid import Grid, gather, grid_over, scatter
from obslab.jointfit.turbulence.hyper import estimate
from obslab.jointfit.turbulence.von_karman import VonKarman

Floats = NDArray[np.float64]
FEWEST = 50
"""With fewer stars an exposure has no field: six hyperparameters want several times as many."""
LIMIT = 1000
"""Iterations. 70 are usual; errors a hundred times smaller than the turbulence took 340."""
log = logging.getLogger(__name__)


class TurbulenceError(ObslabError, ValueError):
    """Residuals from which no turbulence can be found: of the wrong shape, not finite, or too few."""


class FewStarsError(TurbulenceError):
    """An exposure with too few stars for a field."""


def fit_field(
    positions: Floats,
    residual: Floats,
    error: Floats,
    *,
    hyper: VonKarman | None = None,
    start: TurbulenceField | None = None,
    curl: float = 0.5,
    tolerance: float = 1e-3,
) -> TurbulenceField:
    """The displacement that the stars at positions (n, 2), in deg, share: the most probable one.

    ``residual`` (n, 2) is measured minus true position in mas, east and north; ``error`` its standard
    deviation, (n,) or (n, 2). If ``hyper`` is not given it is estimated, but for ``curl``, as in VonKarman.

    Where star positions are fitted too, take turns: ``residual`` is then what the fit left plus the field
    taken off before it, and ``error`` should include the star's own, which these displacements moved as well.
    That field as ``start`` saves iterations, and its kernel as ``hyper`` the estimate.
    """
    with one_blas_thread():
        return field_of(*checked(positions, residual, error), hyper, start, curl, tolerance)


def checked(positions: Floats, residual: Floats, error: Floats) -> tuple[Floats, Floats, Floats]:
    """The three as contiguous float64 arrays (n, 2), or an error that says what is wrong with them."""
    positions, residual, error = (np.asarray(a, np.float64) for a in (positions, residual, error))
    count = len(positions) if positions.ndim else 0
    if error.ndim == 1:
        error = np.repeat(error[:, None], 2, axis=1)
    for name, array in (("positions", positions), ("residual", residual), ("error", error)):
        if array.shape != (count, 2):
            raise TurbulenceError(f"{name} has shape {array.shape}, wanted ({count}, 2)", name=name)
        bad = np.flatnonzero(~np.isfinite(array).all(1))
        if bad.size:
            raise TurbulenceError(
                f"{name} of row {bad[0]} is {array[bad[0]].tolist()}, and {bad.size} of {count} rows are not "
                "finite: leave them out",
                name=name,
                rows=bad,
            )
    bad = np.flatnonzero((error <= 0).any(1))
    if bad.size:
        raise TurbulenceError(
            f"error of row {bad[0]} is {error[bad[0]].tolist()} mas, wanted more than 0",
            name="error",
            rows=bad,
        )
    return positions, residual, np.ascontiguousarray(error)


def field_of(
    positions: Floats,
    residual: Floats,
    error: Floats,
    hyper: VonKarman | None,
    start: TurbulenceField | None,
    curl: float,
    tolerance: float,
) -> TurbulenceField:
    """``fit_field`` of arrays that have been checked, for a caller that sees to BLAS's threads."""
    if len(positions) < FEWEST:
        raise FewStarsError(f"{len(positions)} stars are too few for a turbulence field, wanted {FEWEST}")
    if not np.ptp(positions, axis=0).max() > 0:
        raise FewStarsError(
            f"all {len(positions)} stars are at {positions[0].tolist()} deg: no field can be found"
        )
    kernel = hyper or estimate(positions, residual, error, curl)
    grid = grid_over(positions, _step(kernel, positions, error), 1.25 * kernel.outer_scale_deg)
    noise = error**2 + kernel.white + np.array(kernel.unresolved(grid.step_deg))
    before = np.stack(start.predict(*positions.T), axis=-1) if start else None
    coefficients, iterations = _solve(kernel, grid, positions, residual, noise, tolerance, before)
    return TurbulenceField(kernel, grid, coefficients.astype(np.float32), len(positions), iterations)


def _step(kernel: VonKarman, positions: Floats, error: Floats) -> float:
    """As fine as the stars' errors let them show, but no finer than their spacing asks for.

    Steps that left 1 % of the errors' variance unresolved instead of 2 % changed no result by 0.1 %.
    """
    extent = np.ptp(positions, axis=0)
    spacing = np.sqrt(max(extent[0] * extent[1], extent.max() ** 2 / 16) / len(positions))
    shown = kernel.step_deg(0.02 * float(np.median(error**2) + kernel.white))
    return float(min(max(shown, 0.8 * spacing), kernel.outer_scale_deg / 16, extent.max() / 16))


def _spectra(kernel: VonKarman, grid: Grid) -> tuple[Floats, Floats, Floats]:
    """Eigenvalues of the coefficients' covariance: xi with xi, eta with eta, xi with eta, in mas2."""
    k_xi, k_eta = grid.frequencies()
    power = kernel.power(k_xi, k_eta) / (grid.step_deg * grid.damping()) ** 2
    squared = k_xi**2 + k_eta**2
    squared[0, 0] = 1
    gradient = 2 * (1 - 2 * kernel.curl) * power / squared  # of which curl 1/2 has none
    cross = gradient * k_xi * k_eta
    along = gradient * (k_xi**2 - k_eta**2) / 2
    xi, eta = kernel.variance
    return xi * (power + along), eta * (power - along), np.sqrt(xi * eta) * cross


def _solve(
    kernel: VonKarman,
    grid: Grid,
    positions: Floats,
    residual: Floats,
    noise: Floats,
    tolerance: float,
    start: Floats | None = None,
) -> tuple[Floats, int]:
    """Coefficients (2, rows, columns), and how many iterations they took from a field of values ``start``."""
    from scipy.fft import irfft2, rfft2

    x, y = grid.cells(positions[:, 0], positions[:, 1])
    xi, eta, cross = _spectra(kernel, grid)
    onto, image = np.zeros((2, *grid.shape)), np.empty_like(residual)

    def smooth(values: Floats) -> Floats:
        scatter(x, y, values, onto)
        waves = rfft2(onto, overwrite_x=False)
        mixed = np.stack([xi * waves[0] + cross * waves[1], cross * waves[0] + eta * waves[1]])
        return np.asarray(irfft2(mixed, s=grid.shape, overwrite_x=True))

    # what the start leaves, over the noise, is the weight that would have made it
    weight = (residual - start) / noise if start is not None else np.zeros_like(residual)
    rest = residual.copy()
    if start is not None:
        gather(x, y, smooth(weight), image)
        rest -= image + noise * weight
    scaled, work = rest / noise, np.empty_like(rest)
    direction = scaled.copy()
    size, enough = _dot(rest, scaled), tolerance**2 * _dot(residual, residual / noise)
    iterations = 0
    while size > enough and iterations < LIMIT:
        gather(x, y, smooth(direction), image)
        image += np.multiply(noise, direction, out=work)
        length = size / _dot(direction, image)
        weight += np.multiply(length, direction, out=work)
        rest -= np.multiply(length, image, out=work)
        np.divide(rest, noise, out=scaled)
        size, before = _dot(rest, scaled), size
        direction *= size / before
        direction += scaled
        iterations += 1
    if iterations == LIMIT:
        left = tolerance * np.sqrt(size / enough)
        log.warning("turbulence: %d iterations left %.1e of the residuals, wanted %g", LIMIT, left, tolerance)
    return smooth(weight), iterations


def _dot(a: Floats, b: Floats) -> float:
    return float(np.einsum("ij,ij->", a, b))
