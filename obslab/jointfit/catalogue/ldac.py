"""SExtractor's FITS_LDAC catalogues: for each detector a table with the image's header and one of its stars.

The header is the text of a table cell, 80 characters a card, with or without END. The file's primary header
says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.catalogue.beside import overridden
from obslab.jointfit.catalogue.cards import CARD, Cards
from obslab.jointfit.catalogue.fitstable import CatalogueError, FitsFile, Rows


class Part(NamedTuple):
    """One image of a file: which it is in it, from 1, its header and its columns in upper case."""

    where: str
    number: int
    header: Mapping[str, Any]
    columns: Mapping[str, NDArray[Any]]


def is_ldac(file: FitsFile) -> bool:
    """Whether a FITS file is a catalogue with headers in it."""
    return any(table.name == "LDAC_IMHEAD" for table in file.tables)


def parts(file: FitsFile) -> list[Part]:
    """The images of a LDAC file, their headers overridden by the .ahead and .head files beside it."""
    names = [table.name for table in file.tables]
    if names != ["LDAC_IMHEAD", "LDAC_OBJECTS"] * (len(names) // 2):
        raise CatalogueError(
            f"{file.path} has tables {', '.join(names)}; wanted LDAC_IMHEAD and LDAC_OBJECTS in turn",
            path=file.path,
        )
    headers = overridden([_header(table.rows, file.path) for table in file.tables[::2]], file.path)
    several = len(headers) > 1
    return [
        Part(
            f"{file.path}[{n}]" if several else str(file.path),
            n,
            header,
            {name: table.rows[name] for name in table.rows.dtype.names or ()},
        )
        for n, (header, table) in enumerate(zip(headers, file.tables[1::2], strict=True), 1)
    ]


def _header(rows: Rows, path: Path) -> Cards:
    names = rows.dtype.names or ()
    if len(rows) != 1 or len(names) != 1:
        raise CatalogueError(f"{path}: its LDAC_IMHEAD has {len(rows)} rows, wanted one header", path=path)
    cell = np.ravel(rows[names[0]])
    if cell.dtype.kind == "U":
        cell = np.char.encode(cell, "latin-1", "replace")
    # NumPy takes zero bytes off the end, astropy blanks too, and it makes one row of each card.
    text = b"".join(bytes(row).ljust(CARD) if len(cell) > 1 else bytes(row) for row in cell)
    text = text.ljust(-(-len(text) // CARD) * CARD)
    cards = [text[at : at + CARD] for at in range(0, len(text), CARD)]
    ends = [n for n, card in enumerate(cards) if card.rstrip() == b"END"]
    kept = b"".join(cards[: ends[0]] if ends else cards)
    if not kept.strip():
        raise CatalogueError(f"{path}: the header in its LDAC_IMHEAD is empty", path=path)
    return Cards(kept)
