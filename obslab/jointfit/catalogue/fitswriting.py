"""A FITS file of one table, written as bytes: 1,080 of them take 0.5 s of CPU, by astropy 14 s."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit.catalogue.fitstable import BLOCK, CatalogueError

Card = str | float | int | bool
_FORMS = {"i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}


def write(
    path: Path,
    name: str,
    columns: Mapping[str, NDArray[Any]],
    units: Mapping[str, str] | None = None,
    cards: Mapping[str, Card] | None = None,
) -> None:
    """One table of these columns after an empty primary with these cards; NaN cards are left out."""
    fields = [(column, values.dtype.newbyteorder(">")) for column, values in columns.items()]
    for n, (column, values) in enumerate(columns.items()):
        if values.dtype.kind == "U":
            wide = max(values.dtype.itemsize // 4, 1)
            fields[n] = (column, np.dtype(f"S{wide}"))
    rows = np.empty(len(next(iter(columns.values()))), fields)
    for column, values in columns.items():
        rows[column] = np.char.encode(values, "ascii", "replace") if values.dtype.kind == "U" else values
    primary = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True, **(cards or {})}
    table: dict[str, Card] = {
        "XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": rows.dtype.itemsize, "NAXIS2": len(rows),
        "PCOUNT": 0, "GCOUNT": 1, "TFIELDS": len(columns),
    }  # fmt: skip
    for n, (column, dtype) in enumerate(fields, 1):
        table[f"TTYPE{n}"] = column
        table[f"TFORM{n}"] = f"{dtype.itemsize}A" if dtype.kind == "S" else _FORMS[dtype.str[1:]]
        if units and column in units:
            table[f"TUNIT{n}"] = units[column]
    table["EXTNAME"] = name
    data = rows.tobytes()
    path.write_bytes(_header(primary) + _header(table) + data + b"\0" * (-len(data) % BLOCK))


def _header(cards: Mapping[str, Card]) -> bytes:
    lines = [_card(key, value) for key, value in cards.items() if not _unknown(value)]
    text = "".join([*lines, "END".ljust(80)])
    return (text + " " * (-len(text) % BLOCK)).encode("ascii")


def _card(key: str, value: Card) -> str:
    if isinstance(value, str):
        shown = "'" + value.replace("'", "''").ljust(8) + "'"
    elif isinstance(value, bool):
        shown = f"{'T' if value else 'F':>20}"
    else:
        shown = f"{value!r:>20}".upper()
    card = f"{key:<8}= {shown}"
    if len(card) > 80 or not card.isascii():
        raise CatalogueError(f"{key} = {value!r} does not fit a FITS card of 80 ASCII characters", key=key)
    return card.ljust(80)


def _unknown(value: Card) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
