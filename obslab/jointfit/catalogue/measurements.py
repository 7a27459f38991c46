"""The columns of a catalogue as measurements: which are taken, and error ellipses as errors of x and y.

SExtractor's windowed positions come first, then its isophotal ones, then plain names; the errors are those of
the positions taken. Pixels are made 1-based, as FITS and SExtractor count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.catalogue.fitstable import CatalogueError

Columns = Mapping[str, NDArray[Any]]

TAKEN = ("id", "x", "y", "sigma", "sigma_x", "sigma_y", "covariance_xy", "error_a", "error_b", "error_theta",
         "flux", "flux_error", "mag", "mag_error", "flags", "color")  # fmt: skip
"""What a column can be taken as. Of an ellipse: half axes a and b, and the angle of a from x to y, in deg."""

_SINGLE = {"id": ("NUMBER", "ID"), "flags": ("FLAGS",), "color": ("COLOR",)}
_POSITIONS: tuple[dict[str, str], ...] = (
    {"x": "XWIN_IMAGE", "y": "YWIN_IMAGE", "error_a": "ERRAWIN_IMAGE", "error_b": "ERRBWIN_IMAGE",
     "error_theta": "ERRTHETAWIN_IMAGE"},
    {"x": "X_IMAGE", "y": "Y_IMAGE", "error_a": "ERRA_IMAGE", "error_b": "ERRB_IMAGE",
     "error_theta": "ERRTHETA_IMAGE"},
    {"x": "X", "y": "Y", "sigma": "SIGMA", "sigma_x": "XERR", "sigma_y": "YERR", "covariance_xy": "XYCOV"},
)  # fmt: skip
_FLUXES: tuple[dict[str, str], ...] = (
    {"flux": "FLUX_AUTO", "flux_error": "FLUXERR_AUTO"},
    {"flux": "FLUX_PSF", "flux_error": "FLUXERR_PSF"},
    {"flux": "FLUX_APER", "flux_error": "FLUXERR_APER"},
    {"flux": "FLUX", "flux_error": "FLUXERR"},
    {"flux": "FLUX", "flux_error": "FLUX_ERROR"},
    {"flux": "FLUX", "flux_error": "FLUX_ERR"},
    {"mag": "MAG_AUTO", "mag_error": "MAGERR_AUTO"},
    {"mag": "MAG", "mag_error": "MAGERR"},
    {"mag": "MAG", "mag_error": "MAG_ERROR"},
)
ROUND = 1e-3
"""Half axes that differ by no more than this part make a round error."""
FLUX_AT_MAG_0 = 1e10  # any constant: a flux taken from a magnitude is instrumental like the others


def measurements(
    table: Columns, file: str, *, chosen: Mapping[str, str], minimum_error_pixel: float, first_pixel: int
) -> dict[str, NDArray[Any]]:
    """The measurements of one image under the names of MEASURED, of a table with its names in upper case.

    ``chosen`` names columns by hand, keys as in TAKEN; of a column with several apertures the first is taken.
    """
    names = _names(table, file, chosen)
    found = {name: _one(table[column], column, file) for name, column in names.items()}
    out: dict[str, NDArray[Any]] = {name: found[name] for name in ("flags", "color") if name in found}
    rows = len(found["x"])
    out.setdefault("flags", np.zeros(rows, np.int32))
    out["id"] = found.get("id", np.arange(1, rows + 1))
    out["x"], out["y"] = (found[name].astype(np.float64) + (1 - first_pixel) for name in "xy")
    out |= _errors(found, file, minimum_error_pixel)
    out |= _flux(found, file)
    return out


def _names(table: Columns, file: str, chosen: Mapping[str, str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for name, column in chosen.items():
        if name not in TAKEN:
            raise CatalogueError(
                f"{name!r} is nothing a column is taken as; that is one of {', '.join(TAKEN)}", name=name
            )
        if column.upper() not in table:
            raise CatalogueError(
                f"{file} has no column {column!r} for {name}; it has {', '.join(table)}", file=file
            )
        names[name] = column.upper()
    for name, columns in _SINGLE.items():
        known = [column for column in columns if column in table]
        if known and name not in chosen:
            names[name] = known[0]
    own_errors = any(name.startswith(("sigma", "error", "covariance")) for name in chosen)
    for group in _POSITIONS:
        if names.get("x", group["x"]) == group["x"] and {group["x"], group["y"]} <= set(table):
            for name, column in group.items():
                if column in table and name not in names and not (own_errors and name not in "xy"):
                    names[name] = column
            break
    if not any(name in chosen for name in ("flux", "mag")):
        names |= next((group for group in _FLUXES if set(group.values()) <= set(table)), {})
    for name in ("x", "y"):
        if name not in names:
            raise CatalogueError(
                f"{file} has no {name}; it has {', '.join(table)}; name it: columns={{{name!r}: ...}}",
                file=file,
            )
    return names


def _one(values: NDArray[Any], column: str, file: str) -> NDArray[Any]:
    """One number a row, masked ones as NaN."""
    values = values[:, 0] if values.ndim == 2 and values.shape[1] else values
    if values.ndim != 1 or values.dtype.kind not in "iufb":
        raise CatalogueError(f"{file}: column {column} is {values.dtype}, wanted numbers", file=file)
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan) if values.mask.any() else values.data
    return values.astype(values.dtype.newbyteorder("="))


def _errors(found: Mapping[str, NDArray[Any]], file: str, minimum: float) -> dict[str, NDArray[Any]]:
    """sigma, and where errors are not round, sigma_x, sigma_y and their covariance."""
    if "sigma_x" in found and "sigma_y" in found:
        var_x, var_y = found["sigma_x"] ** 2, found["sigma_y"] ** 2
        covariance = found.get("covariance_xy", np.zeros_like(var_x))
        wrong = ~((found["sigma_x"] > 0) & (found["sigma_y"] > 0))
    elif "error_a" in found and "error_b" in found:
        a, b = found["error_a"].astype(np.float64), found["error_b"].astype(np.float64)
        angle = np.radians(found.get("error_theta", np.zeros_like(a)).astype(np.float64))
        if not (np.abs(a - b) > ROUND * a).any():
            return {"sigma": np.where((a > 0) & (b > 0), np.maximum(a, minimum), np.fmin(a, b))}
        var_x = (a * np.cos(angle)) ** 2 + (b * np.sin(angle)) ** 2
        var_y = (a * np.sin(angle)) ** 2 + (b * np.cos(angle)) ** 2
        covariance = (a**2 - b**2) * np.sin(angle) * np.cos(angle)
        wrong = ~((a > 0) & (b > 0))
    elif "sigma" in found:
        sigma = found["sigma"]
        return {"sigma": np.where(sigma > 0, np.maximum(sigma, minimum), sigma)}
    elif minimum > 0:
        return {"sigma": np.full(len(found["x"]), minimum)}
    else:
        raise CatalogueError(
            f"{file} has positions without errors (ERRAWIN_IMAGE, ERRBWIN_IMAGE, or SIGMA); name them "
            "or give one for all: --minimum-error PIXEL (minimum_error_pixel=)",
            file=file,
        )
    var_x, var_y = np.maximum(var_x, minimum**2), np.maximum(var_y, minimum**2)
    var_x[wrong] = np.nan  # an error that is none: selection finds and counts it
    return {
        "sigma": np.sqrt((var_x + var_y) / 2),
        "sigma_x": np.sqrt(var_x),
        "sigma_y": np.sqrt(var_y),
        "covariance_xy": covariance,
    }


def _flux(found: Mapping[str, NDArray[Any]], file: str) -> dict[str, NDArray[Any]]:
    if "flux" in found and "flux_error" in found:
        return {name: found[name] for name in ("flux", "flux_error")}
    if "mag" in found and "mag_error" in found:
        flux = FLUX_AT_MAG_0 * 10 ** (-0.4 * found["mag"].astype(np.float64))
        return {"flux": flux, "flux_error": flux * found["mag_error"] * (0.4 * np.log(10))}
    raise CatalogueError(
        f"{file} has no flux with its error (FLUX_AUTO, FLUXERR_AUTO) and no magnitude with its; "
        "name their columns: columns={'flux': ..., 'flux_error': ...}",
        file=file,
    )
