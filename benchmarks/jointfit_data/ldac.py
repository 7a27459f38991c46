"""FITS_LDAC, the catalogues SCAMP reads: for each image a table of one header and one of measurements."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from truth import MAS


def image_tables(header: fits.Header, rows: dict[str, Any]) -> list[fits.BinTableHDU]:
    count = len(rows["x"])

    def single(values: Any) -> Any:
        return np.asarray(values, np.float32)

    zero = np.zeros(count, np.float32)
    columns = [
        fits.Column("NUMBER", "J", array=rows["id"]),
        fits.Column("XWIN_IMAGE", "D", array=rows["x"], unit="pixel"),
        fits.Column("YWIN_IMAGE", "D", array=rows["y"], unit="pixel"),
        fits.Column("ERRAWIN_IMAGE", "E", array=single(rows["sigma"]), unit="pixel"),
        fits.Column("ERRBWIN_IMAGE", "E", array=single(rows["sigma"]), unit="pixel"),
        fits.Column("ERRTHETAWIN_IMAGE", "E", array=zero, unit="deg"),
        fits.Column("FLUX_AUTO", "E", array=single(rows["flux"]), unit="count"),
        fits.Column("FLUXERR_AUTO", "E", array=single(rows["fluxerr"]), unit="count"),
        fits.Column("FLUX_RADIUS", "E", array=np.full(count, 2.0, np.float32)),
        fits.Column("ELONGATION", "E", array=np.full(count, 1.05, np.float32)),
        fits.Column("FLAGS", "I", array=np.zeros(count, np.int16)),
    ]
    return [_header_table(header), fits.BinTableHDU.from_columns(columns, name="LDAC_OBJECTS")]


def reference_tables(r: dict[str, Any], *, motion: bool) -> list[Any]:
    count, error = len(r["RA"]), np.maximum(r["RA_ERR"], 0.05) * MAS
    motion_error = np.maximum(r["PMRA_ERR"], 0.05) * MAS
    columns = [
        fits.Column("X_WORLD", "D", array=r["RA"], unit="deg"),
        fits.Column("Y_WORLD", "D", array=r["DEC"], unit="deg"),
        fits.Column("ERRA_WORLD", "E", array=error, unit="deg"),
        fits.Column("ERRB_WORLD", "E", array=error, unit="deg"),
        fits.Column("ERRTHETA_WORLD", "E", array=np.zeros(count), unit="deg"),
        fits.Column("PMALPHA_J2000", "E", array=r["PMRA"] * MAS, unit="deg/yr"),
        fits.Column("PMDELTA_J2000", "E", array=r["PMDEC"] * MAS, unit="deg/yr"),
        fits.Column("PMALPHAERR_J2000", "E", array=motion_error, unit="deg/yr"),
        fits.Column("PMDELTAERR_J2000", "E", array=motion_error, unit="deg/yr"),
        fits.Column("MAG", "E", array=r["MAG"]),
        fits.Column("MAGERR", "E", array=np.full(count, 0.01)),
        fits.Column("OBSDATE", "D", array=r["EPOCH"], unit="yr"),
        fits.Column("FLAGS", "I", array=np.zeros(count, int)),
    ]
    if not motion:
        columns = [column for column in columns if "PM" not in column.name]
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, 16, 0
    return [_header_table(header), fits.BinTableHDU.from_columns(columns, name="LDAC_OBJECTS")]


def write(tables: list[Any], path: Path) -> None:
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(buffer)
    # Text columns lose their blanks in astropy, so the header was written as bytes and becomes text here.
    text = re.sub(rb"(TTYPE1  = 'Field Header Card' {51}TFORM1  = '\d+)B", rb"\1A", buffer.getvalue())
    path.write_bytes(text)


def _header_table(header: fits.Header) -> fits.BinTableHDU:
    cards = header.tostring(sep="", endcard=True, padding=False).encode()
    column = fits.Column(
        name="Field Header Card", format=f"{len(cards)}B", array=np.frombuffer(cards, np.uint8)[None]
    )
    table = fits.BinTableHDU.from_columns([column], name="LDAC_IMHEAD")
    table.header["TDIM1"] = f"(80, {len(cards) // 80})"
    return table
