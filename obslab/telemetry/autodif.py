"""The body of an absolute measurement on the wire, and D and I out of its readings by a closed form.

An AUTODIF (Rasson and Gonsette, "The Mark II Automatic DIflux", Data Science Journal 10, 2011) turns a
fluxgate to eight positions, in each of which it finds no field, and sights its mark with a laser. One
message on ``<iaga>/<instrument>/abs`` holds a whole measurement: a u32 with the Unix second of the first
reading, which is the key, and a body of 12 readings, 16 bytes each, little-endian:

====== ======= =====================================================================
bytes  field   content
====== ======= =====================================================================
0-1    u16     time after the first reading in 0.1 s
2      u8      code of the position, see ``CODES``
3      u8      the instrument's own quality figure; 0 when it gives none
4-7    u32     horizontal circle in 1e-6 degrees, clockwise; 0xFFFFFFFF is missing
8-11   u32     vertical circle in 1e-6 degrees, 0 at the zenith; 0xFFFFFFFF is missing
12-15  i32     field that the sensor shows at this reading, in pT; -2^31 is missing
====== ======= =====================================================================

They come in this order: mark up, mark down; for D up-east, down-west, down-east, up-west; mark up, mark
down; for I up-south, down-north, down-south, up-north. "Up" has the sensor above the telescope, and the
other word says where the telescope points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

BODY_BYTES = 192
READINGS = 12
CODES = {
    1: ("mark", "up"),
    2: ("mark", "down"),
    3: ("declination", "up-east"),
    4: ("declination", "down-west"),
    5: ("declination", "down-east"),
    6: ("declination", "up-west"),
    7: ("inclination", "up-south"),
    8: ("inclination", "down-north"),
    9: ("inclination", "down-south"),
    10: ("inclination", "up-north"),
}
"""Kind and position of a reading by its code."""

ORDER = (1, 2, 3, 4, 5, 6, 1, 2, 7, 8, 9, 10)

_READING = np.dtype(
    [
        *(("after", "<u2"), ("position", "u1"), ("quality", "u1")),
        *(("horizontal", "<u4"), ("vertical", "<u4"), ("residual", "<i4")),
    ]
)
_STEP_S, _STEP_DEG, _STEP_NT = 0.1, 1e-6, 0.001
_NO_ANGLE, _NO_FIELD = 0xFFFFFFFF, -(2**31)
_CIRCLE = 360_000_000

_MARK_UP, _MARK_DOWN = (0, 6), (1, 7)
_FOR_D, _FOR_I = slice(2, 6), slice(8, 12)
_D_TURNS = np.array([0.0, 0.0, 180.0, 180.0])
_I_SIGNS, _I_TURNS = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([180.0, 360.0, -180.0, 0.0])


@dataclass(frozen=True, eq=False)
class Records:
    """Measurements as numbers: arrays of shape (n, 12), in the order of the readings; NaN is missing."""

    after_s: Floats
    horizontal_deg: Floats
    vertical_deg: Floats
    residual_nt: Floats
    quality: Bytes

    def __len__(self) -> int:
        return len(self.after_s)


def pack(records: Records) -> bytes:
    """Bodies of measurements, one after the other; angles go to [0, 360), all to the nearest count.

    Raises CodecError for a value that the layout cannot hold.
    """
    table = np.zeros((len(records), READINGS), dtype=_READING)
    table["position"] = ORDER
    table["quality"] = records.quality
    after = np.nan_to_num(records.after_s / _STEP_S, nan=-1.0)  # the time of a reading cannot be missing
    table["after"] = _counts("time after the first reading", after, 0, 2**16 - 1, "0.1 s")
    for name, angle_deg in (("horizontal", records.horizontal_deg), ("vertical", records.vertical_deg)):
        counts = _counts(f"{name} circle", angle_deg / _STEP_DEG, -(2**52), 2**52, "1e-6 degrees")
        table[name] = np.where(np.isnan(counts), _NO_ANGLE, counts % _CIRCLE)
    counts = _counts("residual", records.residual_nt / _STEP_NT, 1 - 2**31, 2**31 - 1, "pT")
    table["residual"] = np.where(np.isnan(counts), _NO_FIELD, counts)
    return table.tobytes()


def unpack(bodies: bytes) -> Records:
    """The measurements in bodies that lie one after the other."""
    table = _table(bodies)
    return Records(
        table["after"] * _STEP_S,
        np.where(table["horizontal"] == _NO_ANGLE, np.nan, table["horizontal"] * _STEP_DEG),
        np.where(table["vertical"] == _NO_ANGLE, np.nan, table["vertical"] * _STEP_DEG),
        np.where(table["residual"] == _NO_FIELD, np.nan, table["residual"] * _STEP_NT),
        table["quality"].copy(),
    )


def lasting_s(bodies: bytes) -> Floats:
    """How long each measurement took, from its first reading to the last, shape (n,)."""
    longest: Floats = _table(bodies)["after"].max(axis=1, initial=0) * _STEP_S
    return longest


def faults(bodies: bytes) -> list[str]:
    """For each measurement why its body is none of this layout; empty when it is."""
    return ["; ".join(_faults(row)) for row in _table(bodies)]


def declination_inclination(records: Records, azimuth_deg: float | None) -> tuple[Floats, Floats]:
    """D in (-180, 180] and I in (-90, 90] in degrees, each of shape (n,), NaN where a reading is missing.

    D = mean(D1, D2, D3 + 180, D4 + 180) - mean(PU, PD + 180) + azimuth - 90 and
    I = mean(180 - I1, 360 - I2, I3 - 180, I4): what the theodolite does wrong, collimation and the
    sensor's offset, drops out. Without the mark's azimuth there is no D. Of two pairs of mark readings
    the mean is taken, of one with a reading missing the other alone.
    """
    turned = records.horizontal_deg
    pairs = np.stack(
        [
            _mean(np.stack([turned[:, up], turned[:, down] + 180.0], axis=1))
            for up, down in zip(_MARK_UP, _MARK_DOWN, strict=True)
        ],
        axis=1,
    )
    pairs = np.where(np.isnan(pairs), pairs[:, ::-1], pairs)
    azimuth = np.nan if azimuth_deg is None else azimuth_deg
    d = _mean(turned[:, _FOR_D] + _D_TURNS) - _mean(pairs) + azimuth - 90.0
    # Where the field points up, an instrument reads the other end of the same line.
    i = _mean(records.vertical_deg[:, _FOR_I] * _I_SIGNS + _I_TURNS, 180.0)
    return _within(d, 360.0), _within(i, 180.0)


def _faults(row: NDArray[Any]) -> Iterator[str]:
    met = tuple(row["position"].tolist())
    if met != ORDER:
        number = next(n for n, (code, want) in enumerate(zip(met, ORDER, strict=True)) if code != want)
        given, wanted = (f"{code} ({' '.join(CODES.get(code, ('unknown',)))})" for code in
                         (met[number], ORDER[number]))  # fmt: skip
        yield f"reading {number + 1} of 12 has position {given}, wanted {wanted}"
    after = row["after"].astype(np.int64)
    if after[0] or (np.diff(after) < 0).any():
        yield "the times of its readings do not go on from 0"
    for name in ("horizontal", "vertical"):
        angle = row[name]
        wrong = np.flatnonzero((angle >= _CIRCLE) & (angle != _NO_ANGLE))
        if wrong.size:
            met_deg = angle[wrong[0]] * _STEP_DEG
            yield f"reading {wrong[0] + 1} of 12 has its {name} circle at {met_deg:.3f} degrees"


def _table(bodies: bytes) -> NDArray[Any]:
    if len(bodies) % BODY_BYTES:
        raise CodecError(f"{len(bodies)} bytes are not whole absolute measurements of {BODY_BYTES} each")
    return np.frombuffer(bodies, dtype=_READING).reshape(-1, READINGS)


def _counts(what: str, counts: Floats, low: int, high: int, unit: str) -> Floats:
    rounded: Floats = np.rint(counts)
    bad = (rounded < low) | (rounded > high)
    if bad.any():
        raise CodecError(f"{what} of {counts[bad][0]:g} x {unit} does not fit the layout of a measurement")
    return rounded


def _mean(angle_deg: Floats, turn_deg: float = 360.0) -> Floats:
    """Mean along the second axis; the angles lie within half a turn of the first, wherever 0 is."""
    first = angle_deg[:, :1]
    mean: Floats = first[:, 0] + _within(angle_deg - first, turn_deg).mean(axis=1)
    return mean


def _within(angle_deg: Floats, turn_deg: float) -> Floats:
    """The same angle in (-turn / 2, turn / 2]."""
    half = turn_deg / 2
    turned: Floats = half - (half - angle_deg) % turn_deg
    return turned
