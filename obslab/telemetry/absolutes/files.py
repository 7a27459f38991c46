"""Absolute measurements out of files, whatever their layout: a file is taken whole or not at all."""

from __future__ import annotations

from pathlib import Path

from obslab.errors import ConfigError, SheetError
from obslab.telemetry.absolutes.autodif_file import is_autodif, read_autodif
from obslab.telemetry.absolutes.measurement import Measurement
from obslab.telemetry.absolutes.sheet import FIRST_LINE, read_sheet


def read(
    path: Path | str,
    *,
    azimuth_deg: float | None = None,
    declination_near_deg: float = 0.0,
    skip_incomplete: bool = False,
) -> tuple[Measurement, ...]:
    """The measurements in a DI-flux sheet (one) or an AUTODIF file (a day of them), in its order.

    ``azimuth_deg`` of the mark, east of geographic north, overrides that of the file. Where declination is
    beyond 90 degrees, ``declination_near_deg`` must say roughly what it is: a sheet cannot tell D from
    D + 180. Raises SheetError that names file, line and field.
    """
    path = Path(path)
    if azimuth_deg is not None and not abs(azimuth_deg) <= 360.0:
        raise ConfigError(f"azimuth_deg (--azimuth) {azimuth_deg:g} is not within 360 degrees of north")
    try:
        begin = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SheetError(f"{path} cannot be read: {error.strerror}", path=path) from error
    if begin.lstrip("\ufeff \n").startswith(FIRST_LINE):
        return (read_sheet(path, azimuth_deg, declination_near_deg),)
    if is_autodif(begin):
        return read_autodif(path, azimuth_deg, skip_incomplete)
    raise SheetError(
        f"{path} line 1: {begin.partition(chr(10))[0][:40]!r} begins no absolute measurement; wanted "
        f"{FIRST_LINE!r} of a DI sheet, or an AUTODIF file with RecTime lines",
        path=path,
        line=1,
    )
