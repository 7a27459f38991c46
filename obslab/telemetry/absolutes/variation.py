"""What the field did during a measurement, out of the variometer and the scalar instrument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.errors import FrameError, NoVariometerError
from obslab.times import NS_PER_S, iso, to_ns

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

_ARCMIN = np.pi / 180 / 60


@dataclass(frozen=True, eq=False)
class Course:
    """Columns over time, shape (n, k); between two neighbours linear, across a gap nothing."""

    name: str
    time_ns: Times
    values: Floats
    cadence_ns: int

    def at(self, time_ns: Times) -> Floats:
        """Values at times, shape (m, k); NaN before the first, after the last, and inside a gap."""
        found = np.full((len(time_ns), self.values.shape[1]), np.nan)
        if not len(self.time_ns):
            return found
        right = np.clip(np.searchsorted(self.time_ns, time_ns), 0, len(self.time_ns) - 1)
        exact = self.time_ns[right] == time_ns
        found[exact] = self.values[right[exact]]
        left = np.maximum(right - 1, 0)
        step = self.time_ns[right] - self.time_ns[left]
        # 1.5 cadences as for gaps everywhere: a clock may jitter by half of one.
        between = ~exact & (time_ns > self.time_ns[left]) & (time_ns < self.time_ns[right])
        between &= step <= 1.5 * self.cadence_ns
        part = ((time_ns - self.time_ns[left])[between] / step[between])[:, None]
        found[between] = self.values[left[between]] * (1 - part) + self.values[right[between]] * part
        return found


@dataclass(frozen=True, eq=False)
class Variation:
    """The variometer's values at some times, shape (n, 3), and at the reference time, shape (3,).

    Frame "" is a field that stands still. ``vectors`` gives the field (north, east, down) in nT at those
    times, given declination and inclination in radians and F in nT at the reference time; no angle is
    taken as small. In the frame hez the sensor h points along the unknown direction D0 and lacks the unknown
    H0, both of which follow from D and H at the reference time: H^2 = (H0 + h)^2 + e^2,
    D = D0 + atan2(e, H0 + h).
    """

    frame: str
    values: Floats
    reference: Floats

    def vectors(self, d: float, i: float, f: float) -> Floats:
        h, z = f * np.cos(i), f * np.sin(i)
        if not self.frame:
            return np.tile([h * np.cos(d), h * np.sin(d), z], (len(self.values), 1))
        change = self.values - self.reference
        match self.frame:
            case "xyz":
                return np.array([h * np.cos(d), h * np.sin(d), z]) + change
            case "hdz":
                return _cylinder(h + change[:, 0], d + change[:, 1] * _ARCMIN, z + change[:, 2])
            case "dif":
                total, dip = f + change[:, 2], i + change[:, 1] * _ARCMIN
                return _cylinder(total * np.cos(dip), d + change[:, 0] * _ARCMIN, total * np.sin(dip))
            case _:
                e = self.reference[1]
                north = np.sqrt(max(h * h - e * e, 0.0))
                sensor = d - np.arctan2(e, north)
                along, across = north + change[:, 0], self.values[:, 1]
                return _cylinder(
                    np.hypot(along, across), sensor + np.arctan2(across, along), z + change[:, 2]
                )

    def part(self, rows: slice) -> Variation:
        return Variation(self.frame, self.values[rows], self.reference)


def still(count: int) -> Variation:
    """A field that does not change, at ``count`` times."""
    return Variation("", np.zeros((count, 3)), np.zeros(3))


def variometer_course(dataset: xr.Dataset) -> tuple[str, Course]:
    """Frame of a variometer's Dataset and its three components, in nT and arcmin."""
    from obslab.telemetry.frames import frame_of

    frame = frame_of(dataset)
    return frame, _course(dataset, tuple(frame))


def scalar_course(dataset: xr.Dataset, pier_difference_nt: float = 0.0) -> Course:
    """F on the absolute pillar: the scalar's s, or else f, plus the pier difference."""
    name = next((name for name in ("s", "f") if name in dataset.data_vars), None)
    if name is None:
        raise FrameError(f"no s or f among {' '.join(map(str, dataset.data_vars)) or 'nothing'}: no scalar")
    course = _course(dataset, (name,))
    return Course(course.name, course.time_ns, course.values + pier_difference_nt, course.cadence_ns)


def variation_at(frame: str, course: Course, time_ns: Times, reference_ns: int) -> Variation:
    """The variation at these times; raises NoVariometerError when there is none at one of them."""
    values = course.at(np.append(time_ns, reference_ns))
    lacks = np.isnan(values).any(axis=1)
    if lacks.any():
        when = iso(int(np.append(time_ns, reference_ns)[lacks][0]))
        raise NoVariometerError(
            f"{course.name} has no data at {when}, when absolute readings were made; {_extent(course)}",
            time=when,
        )
    return Variation(frame, values[:-1], values[-1])


def _extent(course: Course) -> str:
    there = course.time_ns[~np.isnan(course.values).any(axis=1)]
    if not len(there):
        return "it has none at all"
    return f"it has data from {iso(int(there[0]))} to {iso(int(there[-1]))}"


def _course(dataset: xr.Dataset, parts: tuple[str, ...]) -> Course:
    time_ns = to_ns(dataset["time"].values)
    values = np.column_stack([np.asarray(dataset[name].values, np.float64) for name in parts])
    values *= [60.0 if dataset[name].attrs.get("units") == "deg" else 1.0 for name in parts]
    cadence_s = float(dataset.attrs.get("cadence_s") or 0.0)
    if not cadence_s and len(time_ns) > 1:
        cadence_s = float(np.median(np.diff(time_ns))) / NS_PER_S
    words = [str(dataset.attrs.get(name, "")) for name in ("station", "instrument")]
    name = " ".join(word for word in words if word) or "the Dataset"
    return Course(f"{name} ({' '.join(parts)})", time_ns, values, int(cadence_s * NS_PER_S))


def _cylinder(h: Floats, d: Floats, z: Floats) -> Floats:
    return np.column_stack([h * np.cos(d), h * np.sin(d), z])
