"""Reference catalogues: Gaia's tables, SCAMP's LDAC, USNO-like positions, our own refcat.fits.

Which column is which is known by its name, whatever the case. Angles are taken in the unit that the table
says, else in the usual one: positions in degrees, errors and motions in mas and mas/yr, SCAMP's in degrees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.catalogue.fitstable import CatalogueError
from obslab.jointfit.catalogue.tablefile import read_table
from obslab.jointfit.datasets import REFERENCE

Floats = NDArray[np.float64]

NAMES: dict[str, tuple[str, ...]] = {
    "ra": ("RA", "RA_ICRS", "X_WORLD", "RAJ2000", "_RAJ2000", "RA_J2000", "ALPHA_J2000", "RADEG", "RAMEAN"),
    "dec": ("DEC", "DE_ICRS", "DEC_ICRS", "Y_WORLD", "DEJ2000", "_DEJ2000", "DECJ2000", "DEC_J2000",
            "DELTA_J2000", "DEDEG", "DECDEG", "DECMEAN"),
    "ra_error": ("RA_ERR", "RA_ERROR", "E_RA_ICRS", "E_RAJ2000", "E_RADEG", "ERRA_WORLD", "RAMEANERR"),
    "dec_error": ("DEC_ERR", "DEC_ERROR", "E_DE_ICRS", "E_DEJ2000", "E_DEDEG", "ERRB_WORLD", "DECMEANERR"),
    "pm_ra": ("PMRA", "PMALPHA_J2000"),
    "pm_dec": ("PMDEC", "PMDE", "PMDELTA_J2000"),
    "pm_ra_error": ("PMRA_ERR", "PMRA_ERROR", "E_PMRA", "PMALPHAERR_J2000"),
    "pm_dec_error": ("PMDEC_ERR", "PMDEC_ERROR", "E_PMDE", "PMDELTAERR_J2000"),
    "parallax": ("PLX", "PARALLAX", "PARALLAX_WORLD"),
    "parallax_error": ("PLX_ERR", "PARALLAX_ERROR", "E_PLX", "PARALLAXERR_WORLD"),
    "mag": ("MAG", "PHOT_G_MEAN_MAG", "GMAG", "R1MAG", "RMAG", "B1MAG", "VMAG", "MAG_R"),
    "color": ("COLOR", "BP_RP", "BP-RP"),
    "epoch": ("REF_EPOCH", "OBSDATE", "EPOCH"),
}  # fmt: skip
"""The columns known for each variable of REFERENCE, the likeliest first."""

_DEGREES = ("ra", "dec")
_UNITLESS = ("mag", "color", "epoch")
_PER_YEAR = re.compile(r"/(yr|year|a)$|[.*]?(yr|year|a)(\*\*|\^)?\(?-1\)?$")
_MAS = {"mas": 1.0, "arcsec": 1e3, "deg": 3.6e6, "uas": 1e-3}
# Their EPOCH column is the mean epoch of the plates; the positions are for another, the catalogue's own.
_POSITIONS_FOR_ANOTHER_EPOCH = ("RAJ2000", "_RAJ2000", "RA_J2000", "ALPHA_J2000", "RADEG")


def reference(
    columns: Mapping[str, NDArray[Any]],
    units: Mapping[str, str],
    file: Path | str,
    *,
    epoch: float | None = None,
    position_error_mas: float | None = None,
    names: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """REFERENCE of the columns of a table, their names in upper case.

    ``epoch`` and ``position_error_mas`` say what the table does not: an epoch that it has itself cannot be
    given, an error serves the rows that have none. ``names`` chooses columns by hand: ``{"mag": "JMAG"}``.
    """
    chosen = _chosen(columns, names or {}, file)
    found = {name: _values(name, columns[it], units.get(it, ""), it, file) for name, it in chosen.items()}
    if "ERRTHETA_WORLD" in columns and chosen.get("ra_error") == "ERRA_WORLD":
        _turn(found, np.radians(np.asarray(columns["ERRTHETA_WORLD"], np.float64)))
    rows = len(found["ra"])
    unknown = np.full(rows, np.nan)
    for name in ("ra_error", "dec_error"):
        errors = found.get(name, unknown)
        missing = ~(errors > 0)
        if position_error_mas is not None:
            errors = np.where(missing, position_error_mas, errors)
        elif name not in found or (rows and missing.all()):
            raise CatalogueError(
                f"{file} has positions without errors; say how good they are: --position-error MAS "
                "(position_error_mas=), 200 for USNO",
                file=str(file),
            )
        found[name] = errors
    found["epoch"] = _epoch(found.get("epoch"), epoch, rows, file)
    return REFERENCE.build(**{name: found.get(name, unknown) for name in REFERENCE.variables})


def read_reference(
    path: Path | str,
    *,
    epoch: float | None = None,
    position_error_mas: float | None = None,
    names: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """REFERENCE of a file that astropy's Table reads: FITS (LDAC too), CSV, ECSV, VOTable."""
    columns, units, _ = read_table(Path(path))
    return reference(columns, units, path, epoch=epoch, position_error_mas=position_error_mas, names=names)


def _chosen(columns: Mapping[str, Any], names: Mapping[str, str], file: Path | str) -> dict[str, str]:
    """Variable to column of this table."""
    chosen = {}
    for name in REFERENCE.variables:
        if name in names:
            if names[name].upper() not in columns:
                raise CatalogueError(
                    f"{file} has no column {names[name]!r} for {name}; it has {', '.join(columns)}",
                    file=str(file),
                )
            chosen[name] = names[name].upper()
        else:
            known = [column for column in NAMES[name] if column in columns]
            chosen |= {name: known[0]} if known else {}
    for name in names:
        if name not in REFERENCE.variables:
            raise CatalogueError(
                f"{name!r} is nothing of a reference catalogue; it has {', '.join(REFERENCE.variables)}",
                name=name,
            )
    if "ra" not in chosen or "dec" not in chosen:
        raise CatalogueError(
            f"{file} has no columns ra and dec; it has {', '.join(columns)}; "
            "name them: reference_columns={'ra': ...}",
            file=str(file),
        )
    if (
        chosen["ra"] in _POSITIONS_FOR_ANOTHER_EPOCH
        and chosen.get("epoch") == "EPOCH"
        and "epoch" not in names
    ):
        del chosen["epoch"]
    return chosen


def _values(name: str, values: NDArray[Any], unit: str, column: str, file: Path | str) -> Floats:
    """The column in the unit of REFERENCE, masked values as NaN."""
    if values.dtype.kind in "USO" and name in _DEGREES:
        return _sexagesimal(name, values, column, file)
    try:
        numbers = np.asarray(np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan))
    except (TypeError, ValueError):
        raise CatalogueError(
            f"{file}: column {column} is {values.dtype}, wanted numbers", file=str(file)
        ) from None
    if name in _UNITLESS:
        return numbers
    usual = "deg" if name in _DEGREES or column.endswith(("_WORLD", "_J2000")) else "mas"
    angle = _PER_YEAR.sub("", unit.replace(" ", "").lower())
    angle = {"degree": "deg", "degrees": "deg", "milliarcsecond": "mas", "": usual}.get(angle, angle)
    if angle not in _MAS:
        from astropy import units as u

        try:
            size = u.Unit(angle).to(u.mas)
        except (ValueError, u.UnitConversionError):
            raise CatalogueError(
                f"{file}: column {column} is in {unit!r}, wanted an angle", file=str(file)
            ) from None
    else:
        size = _MAS[angle]
    factor = size / _MAS["deg" if name in _DEGREES else "mas"]
    return numbers if factor == 1 else numbers * factor


def _sexagesimal(name: str, values: NDArray[Any], column: str, file: Path | str) -> Floats:
    from astropy.coordinates import Angle

    try:
        angles = Angle(values.astype(str), unit="hourangle" if name == "ra" else "deg")
        return np.asarray(angles.deg, np.float64)
    except ValueError as error:
        raise CatalogueError(f"{file}: column {column} holds no angles: {error}", file=str(file)) from None


def _turn(found: dict[str, Floats], angle: Floats) -> None:
    """SExtractor's error ellipse to the errors along right ascension and declination."""
    a, b = found["ra_error"] ** 2, found["dec_error"] ** 2
    cos, sin = np.cos(angle) ** 2, np.sin(angle) ** 2
    found["ra_error"], found["dec_error"] = np.sqrt(a * cos + b * sin), np.sqrt(a * sin + b * cos)


def _epoch(own: Floats | None, given: float | None, rows: int, file: Path | str) -> Floats:
    if own is not None and given is not None and not np.allclose(own, given, atol=0.01):
        raise CatalogueError(
            f"{file} has epochs of its own, {np.nanmin(own):.2f} to {np.nanmax(own):.2f}; "
            f"leave --epoch {given:g} out",
            file=str(file),
        )
    epoch = own if own is not None else np.full(rows, np.nan if given is None else given)
    if np.isnan(epoch).any():
        raise CatalogueError(
            f"{file} does not say for which epoch its positions are; "
            "give it as a Julian year: --epoch 2000 (epoch=)",
            file=str(file),
        )
    wrong = epoch[(epoch < 1800) | (epoch > 2200)]
    if wrong.size:
        raise CatalogueError(f"{file}: its epoch is {wrong[0]:g}, wanted a Julian year", file=str(file))
    return epoch
