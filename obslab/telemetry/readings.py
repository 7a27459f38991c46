"""Samples as numbers: bodies out of the archive, read by the metadata in force at their time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry import codec
from obslab.telemetry.sample import Meta, Stream


@dataclass(frozen=True)
class Readings:
    """Decoded samples of one stream: ``values`` has shape (time, components), NaN is missing."""

    stream: Stream
    components: tuple[str, ...]
    units: tuple[str, ...]
    time_ns: NDArray[np.int64]
    arrival_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    quality: NDArray[np.uint8]


def decode(stream: Stream, versions: tuple[Meta, ...], rows: list[tuple[int, int, bytes]]) -> Readings:
    """Bodies to numbers, each by the metadata version in force at its time."""
    times = np.array([row[0] for row in rows], dtype=np.int64)
    edges = np.array([meta.valid_from_ns for meta in versions], dtype=np.int64)
    version = np.searchsorted(edges, times, side="right") - 1
    used = [versions[place] for place in np.unique(version)] or list(versions[-1:])
    units = {
        name: unit for meta in used for name, unit in zip(meta.components, meta.component_units, strict=True)
    }
    components = tuple(units)
    values = np.full((times.size, len(components)), np.nan)
    quality = np.zeros(times.size, dtype=np.uint8)
    for place in np.unique(version):
        meta, width = versions[place], codec.BODY_SIZE[versions[place].kind]
        # A body of another kind was stored before this version came: it stays unread, as missing.
        fits = np.array([len(row[2]) == width for row in rows])
        chosen = np.flatnonzero((version == place) & fits)
        columns = np.array([components.index(name) for name in meta.components])
        decoded, figures = codec.unpack(meta, b"".join([rows[row][2] for row in chosen]))
        values[np.ix_(chosen, columns)], quality[chosen] = decoded, figures
    arrivals = np.array([row[1] for row in rows], dtype=np.int64)
    return Readings(stream, components, tuple(units.values()), times, arrivals, values, quality)
