"""The samples of a Dataset as exchange formats want them: one known frame, and times without a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from obslab.errors import FrameError, RecordingError, TopicError
from obslab.telemetry.sample import Stream
from obslab.times import NS_PER_S, iso, to_ns

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

SCALARS = "sfg"
UNITS = {**dict.fromkeys("xyzhefsguv", "nT"), **dict.fromkeys("di", "arcmin")}
"""The unit of each component in a Dataset, by INTERMAGNET's letter."""

SAMPLERATES = {1.0: "sec", 60.0: "min", 3600.0: "hour", 86_400.0: "day"}
_MOST = 6_000_000  # rows: ten weeks of seconds, eleven years of minutes; a wrong time must not fill the disk


@dataclass(frozen=True)
class Grid:
    """Samples at every time of a regular grid; ``values`` has NaN where the Dataset had no sample.

    ``frame`` is one of ``frames.FRAMES``, or empty when there is a scalar alone; ``scalar`` has the letters
    of what is beside it. ``time_ns`` and each of ``values`` have shape (time,); ``place`` says
    where on the grid each sample of the Dataset is.
    """

    station: str
    frame: str
    scalar: str
    cadence_s: float
    time_ns: NDArray[np.int64]
    values: dict[str, Floats]
    place: NDArray[np.int64]

    def spread(self, values: Floats) -> Floats:
        """Values at the Dataset's times at those of the grid, NaN at the others."""
        spread = np.full(len(self.time_ns), np.nan)
        spread[self.place] = values
        return spread

    @classmethod
    def of(cls, dataset: xr.Dataset, file: str) -> Grid:
        """The Dataset's components; other variables are left out. ``file`` names the format in errors.

        Raises FrameError when the components are not one frame in the units of ``UNITS``, RecordingError
        when station, cadence or times do not do.
        """
        station = str(dataset.attrs.get("station", ""))
        try:
            Stream(station, "any")
        except TopicError as error:
            raise RecordingError(f"{file}: {error.message}; set attribute station") from error
        frame, scalar = _components(dataset, file)
        if "time" not in dataset.variables or dataset["time"].dtype.kind != "M":
            raise RecordingError(f"{file}: the dataset has no variable time of datetimes")
        time_ns = to_ns(dataset["time"].values)
        cadence_s, place = _places(time_ns, dataset.attrs.get("cadence_s"), file)
        grid_ns = time_ns[0] + np.arange(int(place[-1]) + 1) * round(cadence_s * NS_PER_S)
        grid = cls(station, frame, scalar, cadence_s, grid_ns, {}, place)
        for letter in frame + scalar:
            grid.values[letter] = grid.spread(dataset[letter].values)
        return grid


def _components(dataset: xr.Dataset, file: str) -> tuple[str, str]:
    letters = "".join(sorted(str(name) for name in dataset.data_vars if name in UNITS))
    frame, scalar = frame_of(letters)
    if not frame and not scalar:
        raise FrameError(
            f"{file}: components {' '.join(letters) or 'none'} are not x y z, h d z, h e z or d i f, with or "
            "without s, f and g, nor a scalar alone; convert or leave out what is not of the frame",
            components=letters,
        )
    for letter in letters:
        unit = dataset[letter].attrs.get("units", "")
        if unit != UNITS[letter]:
            raise FrameError(
                f"{file}: {letter} is in {unit or 'no units'!r}, wanted {UNITS[letter]}; convert it first",
                component=letter,
                unit=unit,
            )
        if dataset[letter].dims != ("time",):
            raise FrameError(f"{file}: {letter} has dimensions {dataset[letter].dims}, wanted time alone")
    return frame, scalar


def frame_of(letters: str) -> tuple[str, str]:
    """Frame and scalars among letters in any order; both empty when they are not one frame."""
    there = set(letters)
    if len(there) == 1 and there <= set("sf"):
        return "", letters[0]
    from obslab.telemetry.frames import frame_among  # not above: a station reads files, without xarray

    frame = frame_among(there) or ""
    rest = there - set(frame)
    if not frame or not rest <= set(SCALARS):
        return "", ""
    return frame, "".join(letter for letter in SCALARS if letter in rest)


def _places(time_ns: NDArray[np.int64], told_s: object, file: str) -> tuple[float, NDArray[np.int64]]:
    """Cadence, and the place of each time on the grid that begins with the first."""
    if time_ns.size < 2:
        raise RecordingError(f"{file}: the dataset has {time_ns.size} samples; two at least are wanted")
    steps = np.diff(time_ns)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0))
        raise RecordingError(
            f"{file}: time {iso(int(time_ns[at + 1]))} comes after {iso(int(time_ns[at]))}; sort the dataset "
            "by time and drop what is there twice",
            sample=at + 1,
        )
    step_ns = int(np.median(steps))
    if isinstance(told_s, int | float) and round(told_s * NS_PER_S) != step_ns:
        raise RecordingError(
            f"{file}: samples are {step_ns / NS_PER_S:g} s apart, attribute cadence_s says {told_s:g}; "
            "correct the one that is wrong"
        )
    place, off = np.divmod(time_ns - time_ns[0], step_ns)
    if off.any():
        at = int(np.argmax(off != 0))
        raise RecordingError(
            f"{file}: time {iso(int(time_ns[at]))} is not a multiple of {step_ns / NS_PER_S:g} s "
            f"after the first, {iso(int(time_ns[0]))}; a regular series is wanted",
            sample=at,
        )
    if place[-1] >= _MOST:
        raise RecordingError(
            f"{file}: {iso(int(time_ns[0]))} to {iso(int(time_ns[-1]))} makes {int(place[-1]) + 1} samples, "
            f"of which at most {_MOST} go into one file; write shorter parts"
        )
    return step_ns / NS_PER_S, place


def samplerate_of(cadence_s: float) -> str:
    """The word for a cadence: sec, min, hour, day, or as in 10hz and 5s."""
    if cadence_s in SAMPLERATES:
        return SAMPLERATES[cadence_s]
    return f"{round(1 / cadence_s)}hz" if cadence_s < 1 else f"{cadence_s:g}s"
