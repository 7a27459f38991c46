"""An absolute measurement as it was read: one value object, whatever file or message it came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import SheetError

Floats = NDArray[np.float64]
Rows = NDArray[np.void]

NO_TIME_NS = -(2**63)
"""Time of a reading that has none: of the mark, in a sheet."""

KINDS = ("mark", "declination", "inclination", "scale")
MARKS = ("up", "down")
FOR_D = ("up-east", "up-west", "down-east", "down-west")
FOR_I = ("up-north", "up-south", "down-north", "down-south")

READING = np.dtype(
    [
        *(("kind", "U11"), ("position", "U10"), ("line", "i8"), ("time_ns", "i8")),
        *(("horizontal_deg", "f8"), ("vertical_deg", "f8"), ("residual_nt", "f8")),
    ]
)
"""One reading. ``line`` is its line in the file, 0 when it came from none. The vertical circle is 0 at the
zenith; that of a mark is NaN. For inclination a horizontal circle of exactly 0 or 180 is not a reading, but
says that the telescope turned in the magnetic meridian."""

SCALAR = np.dtype([("time_ns", "i8"), ("f_nt", "f8")])


@dataclass(frozen=True, eq=False)
class Measurement:
    """The readings of one measurement, angles in degrees, and who made it where and with what.

    "up" has the sensor above the telescope, the vertical circle between 0 and 180; the other word of a
    position says where the telescope points. ``scalar`` holds readings of F on the same pillar, mostly none.
    ``circle_step_deg`` is the last digit of the circles.
    """

    method: str  # residual, null or autodif
    azimuth_deg: float
    readings: Rows
    station: str = ""
    pillar: str = ""
    observer: str = ""
    theodolite: str = ""
    sensor: str = ""
    source: str = ""
    temperature_c: float = np.nan
    circle_step_deg: float = 1 / 3600
    scalar: Rows = field(default_factory=lambda: np.zeros(0, SCALAR))

    def of(self, kind: str) -> Rows:
        """The readings of one kind, in their order; those with a value missing are left out."""
        rows = self.readings[self.readings["kind"] == kind]
        needed = ["horizontal_deg"] if kind == "mark" else ["horizontal_deg", "vertical_deg", "residual_nt"]
        found: Rows = rows[np.all([np.isfinite(rows[name]) for name in needed], axis=0)]
        return found

    @property
    def begin_ns(self) -> int:
        """Time of the first reading of the field, which D, I and F are given for."""
        return int(self._field_times().min())

    @property
    def end_ns(self) -> int:
        return int(self._field_times().max())

    @property
    def mark_deg(self) -> float:
        """What the horizontal circle shows when the telescope, sensor up, points at the mark.

        Mean of both faces, each of them a mean of directions, so that 359.99 and 0.01 give 0.
        """
        marks = self.of("mark")
        faces = [
            mean_direction(marks["horizontal_deg"][marks["position"] == face] + turn)
            for face, turn in zip(MARKS, (0.0, -180.0), strict=True)
        ]
        if np.isnan(faces).any():
            raise SheetError(
                f"{self.name}: no reading of the mark with the sensor {MARKS[int(np.isnan(faces).argmax())]}",
                source=self.source,
            )
        return mean_direction(np.array(faces))

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.source or f"measurement of {np.datetime64(self.begin_ns, 'ns').astype('datetime64[s]')}Z"

    def _field_times(self) -> NDArray[np.int64]:
        times: NDArray[np.int64] = self.readings["time_ns"][self.readings["kind"] != "mark"]
        return np.asarray(times[times != NO_TIME_NS])


def reading_rows(rows: Iterable[tuple[Any, ...]]) -> Rows:
    """Readings of tuples (kind, position, line, time_ns, horizontal_deg, vertical_deg, residual_nt)."""
    return np.array(list(rows), READING)


def mean_direction(angles_deg: Floats) -> float:
    """Mean of directions, in [0, 360); NaN of none."""
    if not angles_deg.size:
        return float("nan")
    # Of the differences from the first, not of unit vectors: exact for what lies together.
    return float((angles_deg[0] + np.mean(within(angles_deg - angles_deg[0], 360.0))) % 360.0)


def within(angles_deg: Any, period_deg: float) -> Any:
    """The same angles in (-period/2, period/2]."""
    return period_deg / 2 - (period_deg / 2 - np.asarray(angles_deg)) % period_deg
