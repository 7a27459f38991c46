"""Instrument data in near-real time: nothing is lost, everything is stored once.

    sample, protocol, codec, pack ...   what goes over the wire, and how it is written
    broker                              brokers, and the link to one
    metrics                             latency, gaps, completeness, outages out of summaries
    archive                             every sample once
    station, collect                    the two ends of the wire
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


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: a station on a small board needs few of them."""
    from importlib import import_module

    if name in ("Archive", "open_archive"):
        return getattr(import_module("obslab.telemetry.archive.store"), name)
    if name in ("Clock", "Meta", "Stream"):
        return getattr(import_module("obslab.telemetry.sample"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
