"""What a user gives to a baseline editor, as a Desk."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from obslab.errors import ConfigError
from obslab.telemetry.absolutes import Measurement, measurements, read
from obslab.telemetry.baseline import Baselines
from obslab.telemetry.datasets import ABSOLUTES
from obslab_widgets.baseline_editor.desk import Absolutes, Desk
from obslab_widgets.baseline_editor.supply import ArchiveSupply, Supply, supply_of

_FOLDER = "baselines"


def desk_of(archive: Any, absolutes: Any, station: str | None, folder: str | Path | None) -> Desk:
    """The desk for the arguments of a BaselineEditor.

    Raises ConfigError, NoArchiveError, SheetError or SchemaError for what cannot be used.
    """
    supply = supply_of(archive, station)
    try:
        given = _absolutes(absolutes, supply)
    except BaseException:
        supply.close()
        raise
    if folder is None and isinstance(supply, ArchiveSupply):
        folder = supply.archive.path / _FOLDER
    return Desk(supply, given, Baselines(folder) if folder is not None else None)


def _absolutes(given: Any, supply: Supply) -> Absolutes:
    if isinstance(given, xr.Dataset):
        return ABSOLUTES.check(given)
    if given is None:
        if not isinstance(supply, ArchiveSupply):
            return ()
        return partial(measurements, supply.archive, supply.station)
    several = [given] if isinstance(given, str | Path | Measurement) else list(given)
    found: list[Measurement] = []
    for one in several:
        if isinstance(one, Measurement):
            found.append(one)
        elif isinstance(one, str | Path):
            found += read(one)
        else:
            raise ConfigError(
                f"a {type(one).__name__} is no absolute measurement: give an ABSOLUTES Dataset, "
                "Measurements, or paths of sheets"
            )
    return tuple(found)
