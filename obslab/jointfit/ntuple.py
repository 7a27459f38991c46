"""Residuals as text in jointcal's columns, for scripts that were written for its ntuples.

Names, meanings and units are jointcal's, not ours: angles and residuals are in degrees, ``xErr`` and ``yErr``
are variances in deg2, and the residual of a reference star is reference minus fitted star. The first line
has the names, the second one what they mean; then come rows of numbers between tabs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit import digits
from obslab.jointfit.projection import DEG, MAS
from obslab.whole import unfinished

_ROWS = 16_384  # formatted at once: what fits into the cache

Values = NDArray[Any]
Shown = Callable[[Values], digits.Characters]


class NtupleError(ObslabError, ValueError):
    """Residuals that cannot be written as an ntuple."""


@dataclass(frozen=True)
class Column:
    """A column of jointcal: its name and meaning, what it is made of and how, and how it is shown."""

    name: str
    meaning: str
    variables: tuple[str, ...]
    shown: Shown
    made: Callable[..., Values] = lambda values: values


def write_measured(
    path: str | Path,
    residuals: xr.Dataset,
    fitted: xr.Dataset | None = None,
    states: Sequence[str] = ("used",),
) -> Path:
    """The astrometric ntuple of the measurements in these ``states``; jointcal has the used ones.

    ``residuals`` are as RESIDUALS. ``mag`` is that of the fitted star, as in jointcal, where ``fitted`` is
    given; else the instrumental magnitude of the measurement.
    """
    rows = _in_states(residuals, states)
    table = {name: residuals[name].values[rows] for name in _variables(MEASURED)}
    if fitted is not None:
        star = table["star"]
        table["mag"] = np.where(star >= 0, fitted.mag.values[np.maximum(star, 0)], np.nan)
    return _write(path, MEASURED, table)


def write_reference(path: str | Path, residuals: xr.Dataset, rejected: bool = False) -> Path:
    """The astrometric ntuple of the reference stars that the fit used, or of all of them.

    ``residuals`` are as REFERENCE_RESIDUALS.
    """
    rows = slice(None) if rejected else np.flatnonzero(residuals.used.values)
    return _write(path, REFERENCE, {name: residuals[name].values[rows] for name in _variables(REFERENCE)})


def write_photometry(path: str | Path, residuals: xr.Dataset, states: Sequence[str] = ("used",)) -> Path:
    """The photometric ntuple of the measurements in these ``states``; ``residuals`` of the photometric fit.

    Nothing calibrates fluxes before our fit does, so ``inputFlux`` is the instrumental flux. The calibrated
    fluxes are in units of a star of magnitude 0.
    """
    rows = _in_states(residuals, states)
    return _write(path, PHOTOMETRY, {name: residuals[name].values[rows] for name in _variables(PHOTOMETRY)})


def _in_states(residuals: xr.Dataset, states: Sequence[str]) -> NDArray[np.int64]:
    known = list(residuals.attrs["states"])
    for state in states:
        if state not in known:
            raise NtupleError(f"no measurement is {state!r}; they are {', '.join(known)}", state=state)
    return np.flatnonzero(np.isin(residuals.state.values, [known.index(state) for state in states]))


def _variables(columns: Sequence[Column]) -> set[str]:
    return {name for column in columns for name in column.variables}


def _write(path: str | Path, columns: Sequence[Column], table: dict[str, Values]) -> Path:
    head = [
        "#" + "\t".join(getattr(column, part) for column in columns) + "\n" for part in ("name", "meaning")
    ]
    count = len(next(iter(table.values())))
    with unfinished(path, durable=False, folders=True) as file, file.open("wb") as out:
        out.write("".join(head).encode("ascii"))
        for begin in range(0, count, _ROWS):
            part = {name: values[begin : begin + _ROWS] for name, values in table.items()}
            shown = [
                column.shown(column.made(*(part[name] for name in column.variables))) for column in columns
            ]
            out.write(digits.lines(shown))
    return Path(path)


def _degrees(mas: Values) -> Values:
    return np.asarray(mas.astype(np.float64) * MAS)


def _back_degrees(mas: Values) -> Values:
    return -_degrees(mas)


def _variance(error_mas: Values) -> Values:
    return np.asarray(_degrees(error_mas) ** 2)


def _covariance(mas2: Values) -> Values:
    return np.asarray(mas2.astype(np.float64) * MAS**2)


def _star_ra(ra: Values, dec: Values, xi_residual: Values) -> Values:
    return np.asarray(ra + _degrees(xi_residual) / np.cos(dec * DEG))


def _star_dec(dec: Values, eta_residual: Values) -> Values:
    return np.asarray(dec + _degrees(eta_residual))


def _difference(one: Values, other: Values) -> Values:
    return np.asarray(one - other)


_INTEGER: Shown = digits.whole
_PIXEL: Shown = partial(digits.fixed, decimals=6)
_ANGLE: Shown = partial(digits.fixed, decimals=12)
_MAG: Shown = partial(digits.fixed, decimals=5)
_YEAR: Shown = partial(digits.fixed, decimals=6)
_NINE: Shown = partial(digits.scientific, decimals=8)

MEASURED = (
    Column("id", "number in its catalogue", ("id",), _INTEGER),
    Column("xccd", "FITS pixel (first one 1)", ("x",), _PIXEL),
    Column("yccd", "FITS pixel (first one 1)", ("y",), _PIXEL),
    Column(
        "rx", "measured minus fitted star in the tangent plane, east (deg)", ("xi_residual",), _NINE, _degrees
    ),
    Column("ry", "the same, north (deg)", ("eta_residual",), _NINE, _degrees),
    Column("xtp", "measured in the tangent plane, east (deg)", ("xi",), _ANGLE),
    Column("ytp", "the same, north (deg)", ("eta",), _ANGLE),
    Column("mag", "magnitude", ("mag",), _MAG),
    Column("deltaYears", "exposure minus epoch of the fit (yr)", ("delta_epoch",), _YEAR),
    Column("xErr", "variance of xtp (deg2)", ("xi_error",), _NINE, _variance),
    Column("yErr", "variance of ytp (deg2)", ("eta_error",), _NINE, _variance),
    Column("xyCov", "covariance of xtp and ytp (deg2)", ("covariance",), _NINE, _covariance),
    Column("xtpi", "xtp before the fit (deg)", ("xi_start",), _ANGLE),
    Column("ytpi", "ytp before the fit (deg)", ("eta_start",), _ANGLE),
    Column("rxi", "rx before the fit (deg)", ("xi_start_residual",), _NINE, _degrees),
    Column("ryi", "ry before the fit (deg)", ("eta_start_residual",), _NINE, _degrees),
    Column("fsindex", "fitted star", ("star",), _INTEGER),
    Column("ra", "fitted star at the exposure (deg)", ("ra",), _ANGLE),
    Column("dec", "fitted star at the exposure (deg)", ("dec",), _ANGLE),
    Column("chi2", "of this measurement, 2 degrees of freedom", ("chi2",), _NINE),
    Column("nm", "measurements of the fitted star", ("measurements",), _INTEGER),
    Column("detector", "detector", ("detector",), _INTEGER),
    Column("visit", "exposure", ("exposure",), _INTEGER),
)

REFERENCE = (
    Column("ra", "fitted star (deg)", ("ra", "dec", "xi_residual"), _ANGLE, _star_ra),
    Column("dec", "fitted star (deg)", ("dec", "eta_residual"), _ANGLE, _star_dec),
    Column("rx", "reference minus fitted star, east (deg)", ("xi_residual",), _NINE, _back_degrees),
    Column("ry", "the same, north (deg)", ("eta_residual",), _NINE, _back_degrees),
    Column("mag", "magnitude of the reference star", ("mag",), _MAG),
    Column("xErr", "variance of the reference, east (deg2)", ("xi_error",), _NINE, _variance),
    Column("yErr", "the same, north (deg2)", ("eta_error",), _NINE, _variance),
    Column("xyCov", "covariance of the two (deg2)", ("covariance",), _NINE, _covariance),
    Column("fsindex", "fitted star", ("star",), _INTEGER),
    Column("chi2", "of the reference position, 2 degrees of freedom", ("chi2",), _NINE),
    Column("nm", "measurements of the fitted star", ("measurements",), _INTEGER),
)

PHOTOMETRY = (
    Column("id", "number in its catalogue", ("id",), _INTEGER),
    Column("xccd", "FITS pixel (first one 1)", ("x",), _PIXEL),
    Column("yccd", "FITS pixel (first one 1)", ("y",), _PIXEL),
    Column("mag", "magnitude of the fitted star", ("mag", "residual"), _MAG, _difference),
    Column("instMag", "-2.5 log10(instFlux)", ("inst_mag",), _MAG),
    Column("instMagErr", "its error (mag)", ("inst_mag_error",), _NINE),
    Column("instFlux", "instrumental flux (count)", ("inst_flux",), _NINE),
    Column("instFluxErr", "its error (count)", ("inst_flux_error",), _NINE),
    Column("inputFlux", "flux that went into the fit: instFlux (count)", ("inst_flux",), _NINE),
    Column("inputFluxErr", "its error (count)", ("inst_flux_error",), _NINE),
    Column("transformedFlux", "calibrated by the fit (1 is magnitude 0)", ("flux",), _NINE),
    Column("transformedFluxErr", "its error", ("flux_error",), _NINE),
    Column("fittedFlux", "of the fitted star (1 is magnitude 0)", ("star_flux",), _NINE),
    Column("epoch", "of the exposure (Julian year)", ("epoch",), _YEAR),
    Column("fsindex", "fitted star", ("star",), _INTEGER),
    Column("ra", "fitted star (deg)", ("ra",), _ANGLE),
    Column("dec", "fitted star (deg)", ("dec",), _ANGLE),
    Column("chi2", "of this measurement, 1 degree of freedom", ("chi2",), _NINE),
    Column("nm", "measurements of the fitted star", ("measurements",), _INTEGER),
    Column("detector", "detector", ("detector",), _INTEGER),
    Column("visit", "exposure", ("exposure",), _INTEGER),
)
