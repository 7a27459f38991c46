"""Raw variometer data and an adopted baseline become the field: adjusted, quasi-definitive, definitive data.

With base values ``H0, D0, Z0`` at the time of each sample, a variometer of frame ``hez`` gives

    H = sqrt((H0 + h)^2 + e^2)     D = D0 + atan2(e, H0 + h)     Z = Z0 + z

exactly, whatever the size of e; frames ``xyz``, ``hdz`` and ``dif`` are sums with their bases (Jankowski and
Sucksdorff, IAGA Guide for Magnetic Measurements and Observatory Practice, 1996, chapter 5).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ConfigError, FrameError, NoBaselineError
from obslab.telemetry.derived import RECORDED, SUFFIXES, recorded
from obslab.telemetry.sample import Stream
from obslab.times import as_ns, from_ns, iso, to_ns

if TYPE_CHECKING:
    import xarray as xr

    from obslab.telemetry.baseline import Baseline, Baselines

    Adopted = Baseline | Sequence[Baseline] | Baselines

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FRAMES = {"xyz": ("x", "y", "z"), "hdz": ("h", "d", "z"), "dif": ("d", "i", "f")}
UNITS = {**dict.fromkeys("xyzhefsg", "nT"), "d": "arcmin", "i": "arcmin"}
_MINUTES = 60.0  # of arc in a degree: baselines have degrees, samples minutes of arc

_KEPT = (
    *("station", "instrument", "samplerate", "cadence_s", "site", "sensor", "attribution"),
    *("latitude_deg", "longitude_deg", "elevation_m", "k9_limit_nt"),
)


@dataclass(frozen=True)
class Piece:
    """The baseline that holds for samples of ``[begin_ns, end_ns)``."""

    begin_ns: int
    end_ns: int
    baseline: Baseline


def adjust(
    vector: xr.Dataset,
    baselines: Adopted,
    *,
    flags: xr.Dataset | None = None,
    level: int = 2,
    frame: Literal["xyz", "hdz", "dif"] = "xyz",
    outside: Literal["raise", "missing"] = "raise",
) -> xr.Dataset:
    """The field of raw samples: same times, components of ``frame``, attributes of ``level`` and its stream.

    Of several baselines the one adopted last holds where they overlap. Confirmed ``flags`` (as ``FLAGS``) of
    the raw stream take samples out before, those of the adjusted one after. Outside of all baselines
    NoBaselineError is raised, or the samples are missing.
    """
    if level not in SUFFIXES:
        raise ConfigError(f"level {level!r} of adjusted data is none of 2, 3 and 4; 1 is data as recorded")
    if frame not in FRAMES:
        raise FrameError(f"frame {frame!r} is none of {', '.join(FRAMES)}")
    attrs, stream, time_ns = vector.attrs, stream_of(vector), to_ns(vector.time.values)
    if attrs.get("publication_level", RECORDED) != RECORDED:
        raise FrameError(
            f"data of {stream} have publication level {attrs['publication_level']}: "
            "they are adjusted already; give what the instrument recorded"
        )
    edges = (int(time_ns.min()), int(time_ns.max()) + 1) if time_ns.size else (0, 0)
    pieces = pieces_of(baselines, stream, *edges)
    if outside == "raise":
        refuse_outside(stream, time_ns, pieces)
    return adjusted_by(vector, pieces, flags=flags, level=level, frame=frame)


def adjusted_by(
    vector: xr.Dataset,
    pieces: Sequence[Piece],
    *,
    flags: xr.Dataset | None = None,
    level: int = 2,
    frame: Literal["xyz", "hdz", "dif"] = "xyz",
) -> xr.Dataset:
    """As ``adjust``, by pieces that are found already; NaN where none is."""
    from obslab.telemetry.datasets import samples_schema
    from obslab.telemetry.flags import masked

    vector = masked(vector, flags) if flags is not None else vector
    attrs, time_ns = vector.attrs, to_ns(vector.time.values)
    names, values = vector_of(vector)
    columns = of_xyz(frame, field_of(names, values, time_ns, pieces))
    facts = {name: attrs[name] for name in _KEPT if name in attrs} | {
        "instrument": recorded(stream_of(vector)).instrument + SUFFIXES[level],
        "publication_level": level,
        "baseline": " ".join(dict.fromkeys(piece.baseline.id for piece in pieces)),
        "orientation": frame.upper(),
    }
    built = samples_schema({name: UNITS[name] for name in FRAMES[frame]}).build(
        facts, time=vector.time.values, **dict(zip(FRAMES[frame], columns.T, strict=True))
    )
    return masked(built, flags) if flags is not None else built


def delta_f(vector: xr.Dataset, scalar: xr.Dataset, *, pier_difference_nt: float = 0.0) -> xr.Dataset:
    """S + pier difference - F(vector) in nT, as ``delta_f``, at the times that both have.

    What the scalar instrument reads, carried to the absolute pillar, less the length of the vector: near zero
    and steady when variometer, baseline and scalar are right. ``scalar`` has ``s``, or else ``f``, and may be
    the very Dataset of the vector when ``s`` is merged into it.
    """
    from obslab.telemetry.datasets import samples_schema
    from obslab.telemetry.frames import total_field

    ours, theirs = (one.attrs.get("station", "") for one in (vector, scalar))
    if ours != theirs:
        raise FrameError(
            f"delta-F of the vector of {ours or 'no station'} with the scalar of {theirs or 'no station'}: "
            "both must be of one station"
        )
    name = next((name for name in ("s", "f") if name in scalar.data_vars), None)
    if name is None or (name == "f" and scalar is vector):
        raise FrameError(f"no independent scalar among {_listed(scalar)}: wanted is s, or else f")
    total = total_field(vector)
    time_ns, mine, other = np.intersect1d(
        to_ns(vector.time.values), to_ns(scalar.time.values), assume_unique=True, return_indices=True
    )
    difference = scalar[name].values[other] + pier_difference_nt - total[mine]
    kept = (*_KEPT, "publication_level", "baseline")
    facts = {key: vector.attrs[key] for key in kept if key in vector.attrs}
    facts |= {"scalar": scalar.attrs.get("instrument", ""), "pier_difference_nt": float(pier_difference_nt)}
    return samples_schema({"delta_f": "nT"}).build(facts, time=from_ns(time_ns), delta_f=difference)


def vector_of(dataset: xr.Dataset) -> tuple[tuple[str, ...], Floats]:
    """Names and values, shape (n, components), of the vector's components in nT and arcmin."""
    names = tuple(str(name) for name in dataset.data_vars if name in UNITS and name not in ("s", "g"))
    columns = []
    for name in names:
        unit = dataset[name].attrs.get("units", UNITS[name])
        if unit not in (UNITS[name], "deg") or (unit == "deg" and UNITS[name] != "arcmin"):
            raise FrameError(f"component {name} is in {unit}, wanted {UNITS[name]}")
        columns.append(dataset[name].values * (_MINUTES if unit == "deg" else 1.0))
    return names, np.stack(columns, axis=1) if columns else np.empty((dataset.sizes["time"], 0))


def stream_of(vector: xr.Dataset) -> Stream:
    """The stream that a Dataset of samples says it is."""
    attrs = vector.attrs
    if not {"station", "instrument"} <= attrs.keys():
        raise FrameError("the Dataset does not say whose it is: set its attributes station and instrument")
    return Stream(attrs["station"], attrs["instrument"], attrs.get("samplerate", "sec"))


def pieces_of(baselines: Adopted, stream: Stream, begin_ns: int, end_ns: int) -> tuple[Piece, ...]:
    """What holds for a stream within ``[begin, end)``, in order of time, without overlap; maybe nothing."""
    raw = recorded(stream)
    if begin_ns >= end_ns:
        return ()
    if hasattr(baselines, "covering"):
        low, high = from_ns([max(begin_ns, -(2**62)), min(end_ns, 2**62)])
        found = baselines.covering(raw.station, raw.instrument, low, high)
        return tuple(Piece(as_ns(begin), as_ns(end), baseline) for begin, end, baseline in found)
    several: list[Any] = [baselines] if hasattr(baselines, "values") else list(baselines)
    for one in several:
        if (one.station, one.instrument) != (raw.station, raw.instrument):
            raise NoBaselineError(
                f"the baseline is of {one.station} {one.instrument}, the data are of {raw.station} "
                f"{raw.instrument}; adopt one for this instrument"
            )
    several.sort(key=lambda one: (0 if one.adopted_at is None else as_ns(one.adopted_at), one.id))
    spans = [(max(as_ns(one.begin), begin_ns), min(as_ns(one.end), end_ns), one) for one in several]
    edges = sorted({edge for low, high, _ in spans if low < high for edge in (low, high)})
    pieces: list[Piece] = []
    for low_ns, high_ns in itertools.pairwise(edges):
        holding = [one for begin, end, one in spans if begin <= low_ns and high_ns <= end]
        if not holding:
            continue
        last = pieces[-1] if pieces else None
        if last and last.end_ns == low_ns and last.baseline is holding[-1]:
            pieces[-1] = Piece(last.begin_ns, high_ns, last.baseline)
        else:
            pieces.append(Piece(low_ns, high_ns, holding[-1]))
    return tuple(pieces)


def refuse_outside(stream: Stream, time_ns: Ints, pieces: Sequence[Piece]) -> None:
    """Raise NoBaselineError when a time lies in no piece."""
    covered = covered_by(time_ns, pieces)
    if covered.all():
        return
    raw, first_ns = recorded(stream), int(time_ns[~covered][0])
    held = ", ".join(f"{iso(piece.begin_ns, 0)} to {iso(piece.end_ns, 0)}" for piece in pieces[:3])
    raise NoBaselineError(
        f"no adopted baseline of {raw.station} {raw.instrument} is valid at {iso(first_ns)}"
        + (f"; within the interval there is {held}" if held else "")
        + "; adopt one, or choose another interval",
        station=raw.station,
        instrument=raw.instrument,
        time=from_ns([first_ns])[0],
        missing=int((~covered).sum()),
    )


def covered_by(time_ns: Ints, pieces: Sequence[Piece]) -> NDArray[np.bool_]:
    """Which times have a baseline."""
    covered = np.zeros(time_ns.size, dtype=bool)
    for piece in pieces:
        covered |= (time_ns >= piece.begin_ns) & (time_ns < piece.end_ns)
    return covered


def field_of(names: Sequence[str], values: Floats, time_ns: Ints, pieces: Sequence[Piece]) -> Floats:
    """X, Y, Z in nT, shape (n, 3), of raw components ``names`` in nT and arcmin; NaN where no piece is."""
    field = np.full((time_ns.size, 3), np.nan)
    for piece in pieces:
        rows = np.flatnonzero((time_ns >= piece.begin_ns) & (time_ns < piece.end_ns))
        if rows.size:
            frame = piece.baseline.frame
            columns = values[rows][:, _places(names, frame)]
            field[rows] = _FIELDS[frame](columns, piece.baseline.values(time_ns[rows]))
    return field


def of_xyz(frame: str, xyz: Floats) -> Floats:
    """The components of ``FRAMES[frame]`` of X, Y, Z, with D and I in minutes of arc."""
    if frame == "xyz":
        return xyz
    from obslab.telemetry.frames import dif_of_xyz, hdz_of_xyz

    angles = [0, 1] if frame == "dif" else [1]
    columns = np.array(dif_of_xyz(xyz) if frame == "dif" else hdz_of_xyz(xyz))
    columns[:, angles] *= _MINUTES
    return columns


def _of_hez(raw: Floats, base: Floats) -> Floats:
    north, east, down = base[:, 0] + raw[:, 0], raw[:, 1], base[:, 2] + raw[:, 2]
    declination = base[:, 1] + np.degrees(np.arctan2(east, north))
    return _of_hdz(np.zeros_like(raw), np.stack([np.hypot(north, east), declination, down], axis=1))


def _of_hdz(raw: Floats, base: Floats) -> Floats:
    from obslab.telemetry.frames import xyz_of_hdz

    return xyz_of_hdz(base + raw / (1.0, _MINUTES, 1.0))


def _of_xyz(raw: Floats, base: Floats) -> Floats:
    return raw + base


def _of_dif(raw: Floats, base: Floats) -> Floats:
    from obslab.telemetry.frames import xyz_of_dif

    return xyz_of_dif(base + raw / (_MINUTES, _MINUTES, 1.0))


_FIELDS = {"hez": _of_hez, "hdz": _of_hdz, "xyz": _of_xyz, "dif": _of_dif}


def _places(names: Sequence[str], frame: str) -> list[int]:
    if frame not in _FIELDS:
        raise FrameError(f"a baseline of frame {frame!r}: known are {', '.join(_FIELDS)}")
    if not set(frame) <= set(names):
        raise FrameError(
            f"components {', '.join(names) or 'none'} do not fit a baseline of frame {frame}: "
            f"wanted {', '.join(frame)}"
        )
    return [list(names).index(name) for name in frame]


def _listed(dataset: xr.Dataset) -> str:
    return ", ".join(str(name) for name in dataset.data_vars) or "no variables"
