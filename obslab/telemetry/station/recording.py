"""Recorded samples to play again: obslab's own compact file, or any IAGA-2002 file.

The compact file is an ``.npz`` that NumPy reads without pickle: for each track the counts of the wire
format as differences, split into byte planes (a day of 1 s storm data takes 0.4 MB), and a JSON header
with station, metadata and attribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import MetadataError, RecordingError, TopicError
from obslab.telemetry import iaga2002
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime

STORM = Path(__file__).parents[2] / "data" / "wic-2024-05-10.npz"
"""10 May 2024 at the Conrad Observatory, 1 s: the onset of the storm is at 17:06 UTC."""

_NS = 1_000_000_000


class _About(msgspec.Struct):
    stream: Stream
    meta: Meta


@dataclass(frozen=True)
class Track:
    """One stream of a recording: ``values`` has shape (time, components), NaN is missing.

    ``meta.valid_from`` is the time of the first sample; ``meta.clock`` is not set.
    """

    stream: Stream
    meta: Meta
    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Recording:
    """All tracks of one station."""

    tracks: tuple[Track, ...]

    @property
    def begin_ns(self) -> int:
        return min(int(track.time_ns[0]) for track in self.tracks)

    @property
    def end_ns(self) -> int:
        """One cadence after the last sample."""
        return max(int(track.time_ns[-1]) + round(track.stream.cadence_s * 1e9) for track in self.tracks)

    @classmethod
    def read(cls, path: Path) -> Recording:
        """A compact file (``.npz``) or an IAGA-2002 file (anything else). Raises RecordingError."""
        path = Path(path)
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise RecordingError(f"recording {path} {what}; give the path of a file", path=path)
        return _read_compact(path) if path.suffix == ".npz" else _read_iaga(path)

    def renamed(self, station: str | None, instruments: list[str]) -> Recording:
        """The same samples under another IAGA code, and other names for the first instruments."""
        names = [*instruments, *(track.stream.instrument for track in self.tracks[len(instruments) :])]
        return Recording(
            tuple(
                Track(
                    Stream(station or track.stream.station, name, track.stream.samplerate),
                    track.meta,
                    track.time_ns,
                    track.values,
                )
                for track, name in zip(self.tracks, names, strict=False)
            )
        )

    def write(self, path: Path) -> None:
        """Write the compact file; values are rounded to counts of ``meta.scale``."""
        header = [_About(track.stream, track.meta) for track in self.tracks]
        arrays: dict[str, NDArray[np.uint8]] = {
            "header": np.frombuffer(msgspec.json.encode(header), dtype=np.uint8)
        }
        for number, track in enumerate(self.tracks):
            counts = np.rint(track.values / track.meta.scale)
            known = np.where(np.isnan(counts), 0, counts).astype(np.int64)
            arrays[f"time_{number}"] = _planes(track.time_ns[:, None])
            arrays[f"values_{number}"] = _planes(known)
            arrays[f"missing_{number}"] = np.packbits(np.isnan(counts))
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _read_compact(path: Path) -> Recording:
    try:
        with np.load(path, allow_pickle=False) as file:
            header = msgspec.json.decode(file["header"].tobytes(), type=list[_About])
            tracks = tuple(_track(file, number, about) for number, about in enumerate(header))
        if not tracks:
            raise ValueError("it has no tracks")
    except Exception as error:  # NumPy, zipfile, zlib and msgspec fail on damaged bytes in a dozen ways
        why = " ".join(str(error).split())
        raise RecordingError(f"{path} is not a recording of obslab: {why}", path=path) from error
    return Recording(tracks)


def _track(file: Mapping[str, NDArray[np.uint8]], number: int, about: _About) -> Track:
    time_ns = _unplaned(file[f"time_{number}"])[:, 0]
    counts = _unplaned(file[f"values_{number}"])
    missing = np.unpackbits(file[f"missing_{number}"], count=counts.size).reshape(counts.shape)
    if counts.shape != (time_ns.size, len(about.meta.components)) or not time_ns.size:
        raise ValueError(f"{about.stream} has {time_ns.size} times for values of shape {counts.shape}")
    if (np.diff(time_ns) <= 0).any():
        raise ValueError(f"{about.stream}: time does not go on")
    return Track(about.stream, about.meta, time_ns, np.where(missing == 1, np.nan, counts * about.meta.scale))


def _read_iaga(path: Path) -> Recording:
    """The first three components as a vector, and F or S as a scalar instrument beside it."""
    file = iaga2002.parse(path)
    rate = {1.0: "sec", 60.0: "min", 3600.0: "hour"}.get(file.cadence_s)
    if rate is None:
        raise RecordingError(
            f"{path}: a cadence of {file.cadence_s:g} s is none of 1, 60 and 3600 s", path=path
        )
    try:
        return Recording(tuple(_iaga_tracks(file, rate)))
    except (MetadataError, TopicError) as error:
        raise RecordingError(f"{path}: {error.message}", path=path) from error


def _iaga_tracks(file: iaga2002.IagaFile, rate: str) -> Iterator[Track]:
    station = file.header.get("IAGA CODE", "").upper()
    *three, fourth = file.components
    vector = Meta(
        format=FORMAT,
        valid_from=as_datetime(int(file.time_ns[0])),
        kind="vector",
        components=tuple(name.lower() for name in three),
        units=tuple("arcmin" if name in "DI" else "nT" for name in three),
        scale=0.001,
        offset_s=int(file.time_ns[0]) % _NS / _NS,
        orientation="".join(three),
        site=file.header.get("STATION NAME", ""),
        attribution=file.header.get("SOURCE OF DATA", ""),
    )
    yield Track(Stream(station, "vector", rate), vector, file.time_ns, file.values[:, :3])
    if fourth in "FS" and not np.isnan(file.values[:, 3]).all():
        scalar = msgspec.structs.replace(
            vector, kind="scalar", components=(fourth.lower(),), units="nT", scale=0.01, orientation=""
        )
        yield Track(Stream(station, "scalar", rate), scalar, file.time_ns, file.values[:, 3:4])


def _planes(table: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Differences along the first axis, shape (columns, 8, rows): small numbers leave most bytes zero."""
    steps = np.diff(table, axis=0, prepend=np.zeros((1, table.shape[1]), dtype=np.int64))
    zigzag = (steps << 1) ^ (steps >> 63)
    return (
        np.ascontiguousarray(zigzag.T.astype("<i8"))
        .view(np.uint8)
        .reshape(table.shape[1], -1, 8)
        .transpose(0, 2, 1)
    )


def _unplaned(planes: NDArray[np.uint8]) -> NDArray[np.int64]:
    zigzag = np.ascontiguousarray(planes.transpose(0, 2, 1)).view("<i8")[:, :, 0].astype(np.int64)
    steps = (zigzag >> 1) & np.int64(2**63 - 1) ^ -(zigzag & 1)
    return np.ascontiguousarray(np.cumsum(steps, axis=1).T)
