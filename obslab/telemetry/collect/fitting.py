"""Fits the columns of an IAGA-2002 file to the streams of an archive, as messages of those streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError, RecordingError
from obslab.telemetry import bodies
from obslab.telemetry.iaga2002 import IagaFile
from obslab.telemetry.impf.items import deg_of_arcmin
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Meta, Stream, valid_at

_NS = 1_000_000_000
_RATES = {1.0: "sec", 60.0: "min", 3600.0: "hour"}
_SAME = 0.05  # nT or arcmin: five times the rounding of a file; baselines differ by more
_ENOUGH = 10  # samples that both have, to tell whether they are the same data
_ROUNDING = 0.02  # nT: of a total field that was calculated from rounded components


@dataclass(frozen=True)
class Part:
    """Columns for one stream: ``values`` of shape (n, components) in the stream's units, NaN is missing."""

    stream: Stream
    meta: Meta
    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def take(self, chosen: NDArray[np.bool_]) -> Part:
        return Part(self.stream, self.meta, self.time_ns[chosen], self.values[chosen])

    def messages(self) -> list[bytes]:
        """As the instrument would have published them, rounded to its counts. Raises CodecError."""
        return bodies.messages(self.meta, self.time_ns, bodies.of_values(self.meta, self.values))


def samplerate_of(file: IagaFile, name: str) -> str:
    """``sec``, ``min`` or ``hour``. Raises RecordingError for another cadence."""
    if file.cadence_s not in _RATES:
        raise RecordingError(f"{name}: a cadence of {file.cadence_s:g} s is none of 1, 60 and 3600 s")
    return _RATES[file.cadence_s]


def fit(file: IagaFile, streams: dict[Stream, tuple[Meta, ...]]) -> tuple[list[Part], list[str]]:
    """A part for each stream that the columns fit, and what was left out, and why.

    ``streams`` are those of the station at the file's cadence. A vector instrument gets the columns of
    its components, a scalar one S, or F unless that was calculated from the vector.
    """
    parts, notes = [], []
    for kind in ("vector", "scalar"):
        fitting = []
        for stream, versions in streams.items():
            meta = valid_at(versions, int(file.time_ns[0])) or (versions[0] if versions else None)
            columns = _columns(file, meta) if meta and meta.kind == kind else None
            if meta and columns:
                fitting.append((stream, meta, columns))
        if len(fitting) > 1:
            names = ", ".join(stream.instrument for stream, _, _ in fitting)
            notes.append(f"fits {names}: name one with --instrument")
        for stream, meta, columns in fitting if len(fitting) == 1 else []:
            if kind == "scalar" and columns == [_place(file, "F")] and _is_calculated(file):
                notes.append("F is calculated from the vector: not taken for a scalar instrument's")
                continue
            try:
                values = _in_units(file, meta, columns)
            except CodecError as error:
                notes.append(f"{stream}: {error.message}")
                continue
            part = Part(stream, meta, file.time_ns, values)
            parts.append(part.take(np.asarray(~np.isnan(values).all(axis=1))))
    if not parts and not notes:
        notes.append(f"columns {''.join(file.components)} fit no stream of the archive")
    return parts, notes


def difference(part: Part, held: Readings) -> str | None:
    """How far the archive's samples of the same times are off; None when only by rounding.

    With too few in common nobody can tell: "unknown".
    """
    _, ours, theirs = np.intersect1d(part.time_ns, held.time_ns, assume_unique=True, return_indices=True)
    if ours.size < _ENOUGH:
        return "unknown"
    for column, name in enumerate(part.meta.components):
        if name not in held.components:
            continue
        off = np.abs(part.values[ours, column] - held.values[theirs, held.components.index(name)])
        off = off[~np.isnan(off)]
        if off.size >= _ENOUGH and np.median(off) > _SAME:
            unit = part.meta.component_units[column]
            return f"{name} differs from the archive by {np.median(off):.2f} {unit} (median)"
    return None


def on_grid(part: Part) -> NDArray[np.bool_]:
    """Which times the stream can have: whole seconds after ``meta.offset_s``."""
    on: NDArray[np.bool_] = (part.time_ns - round(part.meta.offset_s * _NS)) % _NS == 0
    return on


def _columns(file: IagaFile, meta: Meta) -> list[int] | None:
    letters = [name.upper() for name in meta.components]
    if meta.kind == "scalar" and letters[0] in ("F", "S"):
        letters = ["S" if "S" in file.components else "F"]
    places = [_place(file, letter) for letter in letters]
    return [place for place in places if place is not None] if None not in places else None


def _place(file: IagaFile, letter: str) -> int | None:
    return file.components.index(letter) if letter in file.components else None


def _in_units(file: IagaFile, meta: Meta, columns: list[int]) -> NDArray[np.float64]:
    """The columns in the units of the stream: angles are in minutes of arc in the file."""
    values = file.values[:, columns].copy()
    for at, (column, unit) in enumerate(zip(columns, meta.component_units, strict=True)):
        given = "arcmin" if file.components[column] in "DI" else "nT"
        if (given, unit) == ("arcmin", "deg"):
            values[:, at] = deg_of_arcmin(values[:, at])
        elif given != unit:
            raise CodecError(f"{meta.components[at]} is in {unit}, the file has it in {given}")
    return values


def _is_calculated(file: IagaFile) -> bool:
    """Whether F is the length of the vector in the same file: no instrument measured it."""
    letters = "HZ" if {"H", "Z"} <= set(file.components) else "XYZ"
    if not {*letters, "F"} <= set(file.components):
        return False
    columns = [file.components.index(letter) for letter in letters]
    off = np.abs(
        np.sqrt((file.values[:, columns] ** 2).sum(axis=1)) - file.values[:, file.components.index("F")]
    )
    off = off[~np.isnan(off)]
    return bool(off.size and np.quantile(off, 0.99) <= _ROUNDING)
