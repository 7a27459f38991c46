"""Instrument data in near-real time: nothing is lost, everything is stored once.

    sample, protocol, codec, pack ...   what goes over the wire, and how it is written
    iaga2002, imagcdf, ibfv             what observatories exchange
    frames, filters                     coordinates; one-minute, hourly and daily values
    absolutes, baseline                 measurements of D, I, F, and what they add to a variometer
    activity, flags, adjusted           K indices; spikes and steps; adjusted and definitive data
    broker                              brokers, and the link to one
    metrics                             latency, gaps, completeness, outages out of summaries
    archive                             every sample once
    station, collect                    the two ends of the wire
    processing                          what is made of an archive, stored beside it or exported
    watch, live                         what looks at archives: alarms, and the sources of live widgets

A station writes each sample to its journal and then publishes it; a collector stores it in the archive and
only then acknowledges it; what the archive has, it confirms, and the journal lets go of it. What it lacks,
it asks for. A room imports only from those above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from obslab.telemetry.archive.store import Archive, open_archive
    from obslab.telemetry.sample import Clock, Meta, Stream

__all__ = ["Archive", "Clock", "Meta", "Stream", "open_archive"]

_ROOMS = (
    *("absolutes", "activity", "adjusted", "baseline", "filters", "flags", "frames"),
    *("iaga2002", "ibfv", "imagcdf"),
)


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: a station on a small board needs few of them."""
    from importlib import import_module

    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in ("Archive", "open_archive"):
        return getattr(import_module("obslab.telemetry.archive.store"), name)
    if name in ("Clock", "Meta", "Stream"):
        return getattr(import_module("obslab.telemetry.sample"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
