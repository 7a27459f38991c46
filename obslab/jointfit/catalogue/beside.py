"""Headers in files beside a catalogue: SCAMP's .ahead and .head, and those of plain tables.

A header counts with what overrides it, from left to right:

    e001.cat, e001.ahead (single cards), e001.head (a solution: its WCS replaces what was there)

A plain table has its header in e001.hdr, .header, .wcs (text), .json, or in the image e001.fits.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from obslab.jointfit.catalogue.cards import of_json, of_text
from obslab.jointfit.catalogue.fitstable import CatalogueError, plain
from obslab.jointfit.headers import WCS_CARD

log = logging.getLogger(__name__)

Header = Mapping[str, Any]
PLAIN = (".hdr", ".header", ".wcs", ".json", ".fits")
"""Where the header of a plain table may be, under the table's name."""
_CD = re.compile(r"CD[12]_[12]")
_OTHER_MATRIX = re.compile(r"PC[12]_[12]|CDELT[12]|CROTA[12]")


def overridden(headers: Sequence[Header], catalogue: Path) -> list[Header]:
    """The headers of a catalogue's images after the .ahead and .head files beside it, .head last."""
    result: list[Header] = list(headers)
    for suffix in (".ahead", ".head"):
        path = catalogue.with_suffix(suffix)
        if path.exists():
            log.info("%s overrides the headers of %s", path, catalogue)
            result = merged(result, read_headers(path), path)
    return result


def merged(headers: Sequence[Header], others: Sequence[Header], path: Path) -> list[Header]:
    """Each header with the cards of its other; a whole WCS among them takes away the old one first."""
    if len(others) != len(headers):
        raise CatalogueError(
            f"{path} holds {len(others)} headers for {len(headers)} images, wanted one each, closed by END",
            path=path,
        )
    return [_merged(header, other) for header, other in zip(headers, others, strict=True)]


def read_headers(path: Path) -> Sequence[Header]:
    """The headers of a text, JSON or FITS file; of FITS every one that has a WCS, else the first."""
    try:
        if path.suffix == ".json":
            return of_json(path.read_text())
        data = path.read_bytes()
        if data[:9] == b"SIMPLE  =" and b"\n" not in data[:2880]:
            return _of_fits(path)
        return of_text(data.decode("latin-1"))
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}", path=path) from error
    except (json.JSONDecodeError, ValueError) as error:
        raise CatalogueError(f"{path} holds no header: {error}", path=path) from error


def plain_header(table: Path) -> Path | None:
    """The file beside a plain table that has its header, if there is one."""
    for suffix in PLAIN:
        path = table.with_suffix(suffix)
        if path != table and path.exists():
            return path
    return None


def _merged(header: Header, other: Header) -> Header:
    gone = []
    if "CTYPE1" in other:  # a whole solution
        gone.append(WCS_CARD)
    if any(_OTHER_MATRIX.fullmatch(key) for key in other):  # over which CD would count
        gone.append(_CD)
    old = {key: header[key] for key in header if not any(cards.fullmatch(key) for cards in gone)}
    return {**old, **{key: other[key] for key in other}}


def _of_fits(path: Path) -> Sequence[Header]:
    from astropy.io import fits

    with fits.open(path, memmap=False, lazy_load_hdus=True) as hdus:
        headers = [plain(hdu.header) for hdu in hdus]
    return [header for header in headers if "CTYPE1" in header] or headers[:1]
