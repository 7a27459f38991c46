"""How samples of one stream are computed from those of others: adjusted components, and delta-F."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.adjusted import FRAMES, Piece, field_of
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Stream

DELTA_F = "delta-f"
_LENGTHS = {"xyz": "xyz", "hez": "hez", "hdz": "hz", "dif": "f"}  # what the length of a vector is made of
_FAR = 0.1  # share of the field by which a vector's length may differ; else it is variations only

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Adjusting:
    """X, Y, Z of a variometer's stream by the baselines that hold; missing where none does."""

    stream: Stream
    vector: Stream
    pieces: tuple[Piece, ...]

    components = FRAMES["xyz"]
    kind = "vector"

    @property
    def origins(self) -> tuple[Stream, ...]:
        return (self.vector,)

    @property
    def recorded(self) -> tuple[Stream, ...]:
        """Streams of the instruments that all this comes from."""
        return (self.vector,)

    def made_of(self, readings: Sequence[Readings]) -> Readings | None:
        (raw,) = readings
        known = np.isfinite(raw.values).all(axis=1)
        field = np.full((raw.time_ns.size, 3), np.nan)
        field[known] = field_of(raw.components, _in_field(raw)[known], raw.time_ns[known], self.pieces)
        return _readings(self.stream, self.components, raw, field)


@dataclass(frozen=True)
class Differencing:
    """Delta-F: a scalar instrument, carried to the absolute pillar, less the length of a vector."""

    stream: Stream
    vector: Stream
    scalar: Stream
    pieces: tuple[Piece, ...]
    instrument: Stream

    components = ("delta_f",)
    kind = "scalar"

    @property
    def origins(self) -> tuple[Stream, ...]:
        return (self.vector, self.scalar)

    @property
    def recorded(self) -> tuple[Stream, ...]:
        """Streams of the instruments that all this comes from."""
        return (self.instrument, self.scalar)

    def made_of(self, readings: Sequence[Readings]) -> Readings | None:
        """At the times that both have. None when the vector is variations only, as without a baseline."""
        vector, scalar = readings
        _, mine, other = np.intersect1d(
            vector.time_ns, scalar.time_ns, assume_unique=True, return_indices=True
        )
        if not mine.size:
            return None
        field = scalar.values[other, scalar.components.index(scalar_of(scalar.components) or "")]
        total = _total(vector.components, vector.values[mine])
        if not self.pieces and _far_apart(total, field):
            return None
        time_ns = vector.time_ns[mine]
        pier_nt = np.zeros(time_ns.size)
        for piece in self.pieces:
            inside = (time_ns >= piece.begin_ns) & (time_ns < piece.end_ns)
            pier_nt[inside] = piece.baseline.pier_difference_nt
        came = np.maximum(vector.arrival_ns[mine], scalar.arrival_ns[other])
        return Readings(
            self.stream,
            self.components,
            ("nT",),
            time_ns,
            came,
            (field + pier_nt - total)[:, None],
            np.zeros(time_ns.size, dtype=np.uint8),
        )


def scalar_of(components: Sequence[str]) -> str | None:
    """The independent scalar among components of a stream of a scalar instrument; None for another."""
    return components[0] if len(components) == 1 and components[0] in ("s", "f") else None


def is_vector(components: Sequence[str]) -> bool:
    """Whether a length can be made of these components."""
    return any(set(frame) <= set(components) for frame in _LENGTHS)


def _total(components: Sequence[str], values: Floats) -> Floats:
    """The length of a vector in nT, shape (n,); of h, e, z as of three orthogonal components."""
    frame = next(frame for frame in _LENGTHS if set(frame) <= set(components))
    chosen = values[:, [list(components).index(name) for name in _LENGTHS[frame]]]
    length: Floats = np.sqrt((chosen**2).sum(axis=1))
    return length


def _far_apart(total: Floats, field: Floats) -> bool:
    known = np.isfinite(total) & np.isfinite(field)
    return (
        bool(np.median(np.abs(total - field)[known]) > _FAR * np.median(field[known]))
        if known.any()
        else False
    )


def _in_field(readings: Readings) -> Floats:
    """Values in nT and arcmin."""
    values: Floats = readings.values * np.array([60.0 if unit == "deg" else 1.0 for unit in readings.units])
    return values


def _readings(stream: Stream, components: tuple[str, ...], like: Readings, values: Floats) -> Readings:
    units = ("nT",) * len(components)
    return Readings(stream, components, units, like.time_ns, like.arrival_ns, values, like.quality)
