"""Correlation of displacements over separation, split into gradient (E) and curl (B).

With z = d_xi + i d_eta and phi the direction from one star to the other,

    xi_plus = <Re z1 z2*>,  xi_minus = <Re z1 z2 exp(-2i phi)>     (along phi plus, minus across)
    xi_e, xi_b = (xi_plus +- (xi_minus - 2 integral from r of xi_minus dr'/r')) / 2

A wave of wavenumber k gives xi_plus = J0(kr) and xi_minus = -J2(kr) if it is a gradient, +J2(kr) if a curl.
As J0 = 2 J1(x)/x - J2, and the integral of J2(x)/x from kr is J1(kr)/(kr), each wave is in one of the two,
whole. It is the split of Bernstein et al. 2017 (PASP 129, 074503). Atmospheric refraction makes gradients;
curl that stays is the instrument's, or of positions that are not known well.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit import pool
from obslab.schema import Schema, Var

Floats = NDArray[np.float64]

CORRELATION = Schema(
    "correlation",
    {
        "separation": Var(("separation",), "float64", "arcmin", "Mean separation of the pairs."),
        "xi_plus": Var(("separation",), "float64", "mas2", "Both displacements: along plus across the pair."),
        "xi_minus": Var(("separation",), "float64", "mas2", "Along minus across the pair."),
        "xi_e": Var(("separation",), "float64", "mas2", "Part of xi_plus from gradients."),
        "xi_b": Var(("separation",), "float64", "mas2", "Part of xi_plus from curl."),
        "pairs": Var(("separation",), "int64", "1", "Pairs of stars, each once."),
    },
)
"""How alike displacements are; rows by separation, NaN where there is no pair."""

_PARTS = 4  # exposures are summed in so many runs, whatever the number of threads
_CELLS = 384
"""Cells to the largest separation; the first bin begins at three. Positions are rounded to a cell."""


class CorrelationError(ObslabError, ValueError):
    """Displacements that no correlation can be made of."""


def correlation(
    positions_deg: Floats,
    displacement_mas: Floats,
    *,
    exposure: NDArray[np.integer] | None = None,
    weights: Floats | None = None,
    bins: int = 24,
    maximum_deg: float | None = None,
) -> xr.Dataset:
    """A CORRELATION of displacements (n, 2) at plane positions (n, 2), over pairs within one exposure.

    Bins are even in the logarithm, from 1/128 of ``maximum_deg`` to it, which is the widest exposure's longer
    side by default: the E/B split takes xi_minus beyond it as zero. A star never pairs with itself, so
    independent errors leave no bias. ``weights`` (n,) multiply in pairs.
    """
    positions, displacement, weights, exposure = _checked(positions_deg, displacement_mas, weights, exposure)
    order = np.argsort(exposure, kind="stable")
    first = np.flatnonzero(np.diff(exposure[order], prepend=exposure[order[0]] - 1))
    members = np.split(order, first[1:])
    extents = np.array([np.ptp(positions[rows], axis=0) for rows in members])
    longest = float(extents.max())
    maximum = maximum_deg or longest
    if not maximum > 0:
        raise CorrelationError(f"maximum_deg is {maximum:g}, wanted a separation within an exposure")
    cell = max(maximum / _CELLS, longest / 1024)
    lags = int(np.ceil(maximum / cell))
    shape = _padded(extents.max(0)[::-1] / cell, lags)
    summed = np.zeros((_PARTS, 5, shape[0], shape[1] // 2 + 1))
    pool.run(_sum_part, _PARTS, members, positions, displacement, weights, cell, shape, summed)
    return _binned(summed.sum(0), shape, cell, maximum, bins)


def curl_fraction(correlation: xr.Dataset) -> float:
    """The part of the power in curl, from 0 to 1: xi_b over xi_plus where that is above half its largest.

    Of all exposures together; a single one has too few long waves to tell.
    """
    rows = correlation.xi_plus.values > correlation.xi_plus.max().item() / 2
    pairs = correlation.pairs.values[rows]
    parts = (float(correlation[name].values[rows] @ pairs) for name in ("xi_b", "xi_plus"))
    return float(np.clip(next(parts) / next(parts), 0, 1))


def _checked(
    positions: Floats, displacement: Floats, weights: Floats | None, exposure: NDArray[np.integer] | None
) -> tuple[Floats, Floats, Floats | None, NDArray[np.integer]]:
    positions, displacement = np.asarray(positions, np.float64), np.asarray(displacement, np.float64)
    count = len(positions)
    exposure = np.zeros(count, np.int64) if exposure is None else np.asarray(exposure)
    given = {"positions": positions, "displacement": displacement, "exposure": exposure}
    if weights is not None:
        given["weights"] = weights = np.asarray(weights, np.float64)
    for name, array in given.items():
        wanted = (count, 2) if name in ("positions", "displacement") else (count,)
        if array.shape != wanted:
            raise CorrelationError(f"{name} has shape {array.shape}, wanted {wanted}", name=name)
        bad = np.flatnonzero(~np.isfinite(array).reshape(count, -1).all(1))
        if bad.size:
            raise CorrelationError(
                f"{name} of row {bad[0]} is {array[bad[0]]}, and {bad.size} of {count} rows are not finite: "
                "leave them out",
                name=name,
                rows=bad,
            )
    if count < 2:
        raise CorrelationError(f"{count} displacements make no pair", count=count)
    return positions, displacement, weights, exposure


def _padded(cells: Floats, lags: int) -> tuple[int, int]:
    from scipy.fft import next_fast_len

    rows, columns = (next_fast_len(int(c) + 2 + lags, real=True) for c in cells)
    return rows, columns


def _sum_part(
    part: int,
    members: list[NDArray[np.int64]],
    positions: Floats,
    displacement: Floats,
    weights: Floats | None,
    cell: float,
    shape: tuple[int, int],
    summed: Floats,
) -> None:
    """Power spectra of every _PARTS-th exposure: of its stars, weights, xi_plus, and z z, cosine and sine.

    Their transforms are sums over all pairs so far apart (Wiener & Khinchin), each pair at both its lags.
    """
    from scipy.fft import rfft2

    for rows in members[part::_PARTS]:
        at = ((positions[rows] - positions[rows].min(0)) / cell).astype(np.int64)
        flat = at[:, 1] * shape[1] + at[:, 0]
        weight = np.ones(len(rows)) if weights is None else weights[rows]
        columns = [weight, *(weight * displacement[rows].T)]
        gridded = [np.bincount(flat, column, shape[0] * shape[1]).reshape(shape) for column in columns]
        all_of_it, xi, eta = (rfft2(values, overwrite_x=True) for values in gridded)
        stars = all_of_it
        if weights is not None:
            stars = rfft2(np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64))
        along, across = _square(xi), _square(eta)
        summed[part, 0] += _square(stars)
        summed[part, 1] += _square(all_of_it)
        summed[part, 2] += along + across
        summed[part, 3] += along - across
        summed[part, 4] += 2 * (xi.real * eta.real + xi.imag * eta.imag)


def _square(waves: NDArray[np.complex128]) -> Floats:
    return np.asarray(waves.real**2 + waves.imag**2)


def _binned(summed: Floats, shape: tuple[int, int], cell: float, maximum: float, bins: int) -> xr.Dataset:
    from scipy.fft import irfft2

    lags = int(np.ceil(maximum / cell))
    lag = np.arange(-lags, lags + 1)
    stars, weight, plus, cosine, sine = (
        irfft2(spectrum, s=shape)[np.ix_(lag, lag)].ravel() for spectrum in summed
    )
    d_xi, d_eta = np.meshgrid(lag * cell, lag * cell)
    apart = np.hypot(d_xi, d_eta).ravel()
    edges = np.geomspace(3 * maximum / _CELLS, maximum, bins + 1)
    bin_of = np.searchsorted(edges, apart, side="right") - 1
    inside = (bin_of >= 0) & (bin_of < bins)
    bin_of, apart = bin_of[inside], apart[inside]
    cosine_of, sine_of = ((d_xi**2 - d_eta**2).ravel()[inside], (2 * d_xi * d_eta).ravel()[inside]) / apart**2
    minus = cosine[inside] * cosine_of + sine[inside] * sine_of

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(bin_of, values, bins), np.float64)

    counted = np.rint(stars[inside])  # the transforms' rounding leaves 1e-6 of a pair where there is none
    pairs = np.rint(total(counted) / 2).astype(np.int64)
    weight = np.where(pairs > 0, total(weight[inside] * (counted > 0)), np.nan)
    separation = total(apart * counted) / np.where(pairs > 0, 2 * pairs, np.nan)
    xi_plus, xi_minus = total(plus[inside]) / weight, total(minus) / weight
    gradient = xi_minus - 2 * _integral_to_infinity(separation, xi_minus, edges)
    return CORRELATION.build(
        separation=separation * 60,
        xi_plus=xi_plus,
        xi_minus=xi_minus,
        xi_e=(xi_plus + gradient) / 2,
        xi_b=(xi_plus - gradient) / 2,
        pairs=pairs,
    )


def _integral_to_infinity(separation: Floats, xi_minus: Floats, edges: Floats) -> Floats:
    """Of xi_minus dr / r from each separation: the rest of its own bin, and all bins beyond."""
    known = np.nan_to_num(xi_minus)
    whole = known * np.diff(np.log(edges))
    beyond = np.append(np.cumsum(whole[::-1])[::-1][1:], 0.0)
    return np.asarray(beyond + known * np.log(edges[1:] / separation))
