"""Absolute measurements: readings of a fluxgate theodolite, by hand or automatic, to D, I and F.

    measurement -> sheet_lines, positions -> sheet -> sheet_text
                   autodif_file, records; files                        what was read, from where
    positions, variation -> model -> fit -> checks -> reducing         what it says
                            model -> simulating

``read`` gives the measurements of a file, ``measurements`` those that an archive got over MQTT, and
``reduce`` makes the table ABSOLUTES of them. ``simulate`` makes measurements whose truth is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from obslab.telemetry.absolutes.files import read
    from obslab.telemetry.absolutes.measurement import Measurement
    from obslab.telemetry.absolutes.records import measurements, of_record, to_record
    from obslab.telemetry.absolutes.reducing import reduce
    from obslab.telemetry.absolutes.sheet_text import write_sheet
    from obslab.telemetry.absolutes.simulating import simulate

_HOMES = {
    "Measurement": "measurement",
    "measurements": "records",
    "of_record": "records",
    "read": "files",
    "reduce": "reducing",
    "simulate": "simulating",
    "to_record": "records",
    "write_sheet": "sheet_text",
}

__all__ = [
    "Measurement",
    "measurements",
    "of_record",
    "read",
    "reduce",
    "simulate",
    "to_record",
    "write_sheet",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: a station that sends records needs no xarray."""
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
