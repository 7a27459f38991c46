"""One table out of any file: FITS by our own reader, CSV, ECSV, VOTable and other text by astropy's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.catalogue.fitstable import CatalogueError, read

FITS = (".fits", ".fit", ".fts", ".ldac")
_FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    **dict.fromkeys((".vot", ".votable", ".xml"), "votable"),
}


class TableFile(NamedTuple):
    """Columns with their names in upper case, the units they say, and whatever header stands with them."""

    columns: Mapping[str, NDArray[Any]]
    units: Mapping[str, str]
    header: Mapping[str, Any]


def is_fits(path: Path) -> bool:
    """Whether the name or the content says FITS; SExtractor's .cat may be that or text."""
    if path.suffix.lower() in FITS:
        return True
    try:
        with open(path, "rb") as file:
            return file.read(9) == b"SIMPLE  ="
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}", path=path) from error


def read_table(path: Path) -> TableFile:
    """The objects of a LDAC, else the first table; of FITS, the primary's header and the table's together."""
    if is_fits(path):
        file = read(path)
        table = file.table("LDAC_OBJECTS")
        names = table.rows.dtype.names or ()
        # The table's own NAXIS1 and NAXIS2 are no size of an image.
        header = {key: table.header[key] for key in table.header if not key.startswith("NAXIS")}
        header |= {key: file.header[key] for key in file.header}
        return TableFile({name: table.rows[name] for name in names}, table.units, header)
    from astropy.table import Table

    compressed = path.suffix.lower() in (".gz", ".bz2")
    kind = Path(path.stem).suffix.lower() if compressed else path.suffix.lower()
    try:
        if kind in FITS:
            found = Table.read(path, format="fits")
        else:
            found = Table.read(path, format=_FORMATS.get(kind, "ascii"))
    except Exception as error:  # each of astropy's readers has errors of its own
        raise CatalogueError(f"{path} cannot be read as a table: {error}", path=path) from error
    units = {name.upper(): str(found[name].unit) for name in found.colnames if found[name].unit is not None}
    columns = {name.upper(): np.ma.asarray(found[name]) for name in found.colnames}
    said = {str(key).upper(): value for key, value in found.meta.items()}
    header = {key: value for key, value in said.items() if isinstance(value, str | int | float)}
    return TableFile(columns, units, header)
