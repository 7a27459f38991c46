"""Samples as numbers: bodies out of the archive, read by the metadata in force at their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry import codec
from obslab.telemetry.sample import Meta, Stream


@dataclass(frozen=True)
class Stored:
    """Samples as they are kept: ``size`` has the bytes of each body, ``bodies`` all one after the other."""

    time_ns: NDArray[np.int64]
    arrival_ns: NDArray[np.int64]
    size: NDArray[np.uint16]
    bodies: bytes

    def __len__(self) -> int:
        return int(self.time_ns.size)

    @classmethod
    def of_rows(cls, rows: Sequence[tuple[int, int, bytes]]) -> Stored:
        """From (time, arrival, body) of each sample."""
        times, arrivals, bodies = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(
            np.array(times, dtype=np.int64),
            np.array(arrivals, dtype=np.int64),
            np.array([len(body) for body in bodies], dtype=np.uint16),
            b"".join(bodies),
        )

    def width(self) -> int | None:
        """The bytes of every body when all have the same."""
        return int(self.size[0]) if self.size.size and (self.size == self.size[0]).all() else None

    def of_width(self, width: int, rows: NDArray[np.int64]) -> bytes:
        """Bodies of these rows, which all have ``width`` bytes, one after the other."""
        if rows.size == len(self) and rows.size * width == len(self.bodies):
            return self.bodies
        flat = np.frombuffer(self.bodies, dtype=np.uint8)
        start = np.cumsum(self.size, dtype=np.int64) - self.size
        uniform = self.width() == width
        chosen = flat.reshape(-1, width)[rows] if uniform else flat[start[rows][:, None] + np.arange(width)]
        return bytes(chosen)

    def take(self, rows: NDArray[np.int64]) -> Stored:
        """These rows in this order."""
        width = self.width()
        if width is not None:
            flat = np.frombuffer(self.bodies, dtype=np.uint8).reshape(-1, width)
            bodies = flat[rows].tobytes()
        else:
            end = np.cumsum(self.size, dtype=np.int64)
            bodies = b"".join([self.bodies[end[row] - self.size[row] : end[row]] for row in rows])
        return Stored(self.time_ns[rows], self.arrival_ns[rows], self.size[rows], bodies)

    def between(self, begin_ns: int, end_ns: int) -> Stored:
        """The samples of ``[begin, end)``, of samples in order of time."""
        if not len(self) or (begin_ns <= self.time_ns[0] and self.time_ns[-1] < end_ns):
            return self
        edges = np.clip([begin_ns, end_ns], -(2**63), 2**63 - 1).astype(np.int64)
        low, high = np.searchsorted(self.time_ns, edges)
        return self.take(np.arange(low, high))


def united(parts: Sequence[Stored]) -> Stored:
    """All samples of the parts in order of time; of two with the same time, that of the later part."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return Stored.of_rows([])
    if len(parts) == 1:
        return parts[0]
    joined = Stored(
        np.concatenate([part.time_ns for part in parts]),
        np.concatenate([part.arrival_ns for part in parts]),
        np.concatenate([part.size for part in parts]),
        b"".join([part.bodies for part in parts]),
    )
    if (np.diff(joined.time_ns) > 0).all():
        return joined
    rows = np.argsort(joined.time_ns, kind="stable")
    last = np.diff(joined.time_ns[rows], append=np.iinfo(np.int64).max) > 0
    return joined.take(rows[last])


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


def component_units(versions: Sequence[Meta]) -> dict[str, str]:
    """The units of all components that these versions of metadata have, by name."""
    return {
        name: unit
        for meta in versions
        for name, unit in zip(meta.components, meta.component_units, strict=True)
    }


def decode(
    stream: Stream, versions: tuple[Meta, ...], stored: Stored, units: dict[str, str] | None = None
) -> Readings:
    """Bodies to numbers, each by the metadata version in force at its time.

    The components are those of the versions in force, or those of ``units`` when given.
    """
    edges = np.array([meta.valid_from_ns for meta in versions], dtype=np.int64)
    version = np.searchsorted(edges, stored.time_ns, side="right") - 1
    places = np.unique(version)
    if units is None:
        units = component_units([versions[place] for place in places] or list(versions[-1:]))
    components = tuple(units)
    values = np.full((len(stored), len(components)), np.nan)
    quality = np.zeros(len(stored), dtype=np.uint8)
    for place in places:
        meta, width = versions[place], codec.BODY_SIZE[versions[place].kind]
        # A body of another kind was stored before this version came: it stays unread, as missing.
        chosen = np.flatnonzero((version == place) & (stored.size == width))
        decoded, figures = codec.unpack(meta, stored.of_width(width, chosen))
        if chosen.size == len(stored) and meta.components == components:
            values, quality = decoded, figures
            continue
        columns = np.array([components.index(name) for name in meta.components])
        values[np.ix_(chosen, columns)], quality[chosen] = decoded, figures
    return Readings(
        stream, components, tuple(units.values()), stored.time_ns, stored.arrival_ns, values, quality
    )
