"""Plain tables, one image each: their columns, and a WCS from a header beside them or in the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from obslab.jointfit.catalogue.beside import merged, overridden, plain_header, read_headers
from obslab.jointfit.catalogue.fitstable import CatalogueError
from obslab.jointfit.catalogue.ldac import Part
from obslab.jointfit.catalogue.tablefile import read_table


def part(path: Path, header: Path | None = None) -> Part:
    """The image of a table; ``header`` is the file that has its header, else one of its name beside it."""
    table = read_table(path)
    said: Mapping[str, Any] = table.header
    source = header or plain_header(path)
    if source is not None:
        said = merged([said], read_headers(source), source)[0]
    said = overridden([said], path)[0]
    if "CTYPE1" not in said:
        raise CatalogueError(
            f"{path} has no WCS; put a header beside it, such as {path.with_suffix('.hdr').name} or "
            f"{path.with_suffix('.head').name}, or name the file (headers=)",
            path=path,
        )
    return Part(str(path), 1, said, table.columns)
