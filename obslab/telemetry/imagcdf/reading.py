"""An ImagCDF file as a Dataset of samples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import BadTimeError, RecordingError
from obslab.telemetry.grid import UNITS, frame_of, samplerate_of
from obslab.telemetry.imagcdf.attributes import FIELD, FILL, facts_of
from obslab.telemetry.imagcdf.tt2000 import of_tt2000
from obslab.times import from_ns, iso

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]

_TEMPERATURE = re.compile(r"Temperature(\d+)")
_NEVER = 88_888.0  # nT: a value from here on says that there is none, whatever FILLVAL is
# Others write units shorter, and old files have minutes of arc; what a unit has of ours.
_ARCMIN = {
    "degrees of arc": 60.0,
    "degrees": 60.0,
    "degree": 60.0,
    "deg": 60.0,
    "arcmin": 1.0,
    "minutes of arc": 1.0,
}
_NT = {"nt": 1.0}
_CELSIUS = {"celsius": 1.0, "degc": 1.0, "deg_c": 1.0, "deg c": 1.0, "c": 1.0}


def read(path: str | Path) -> xr.Dataset:
    """The file's samples: dim ``time``, components in nT, ``d`` and ``i`` in arcmin, NaN is missing.

    Components keep the file's letters, but S of a file without a vector is ``f``. A scalar or temperature
    (``temperature1`` in degC) with times of its own is put on the vector's; ``comments`` says how many
    samples have none there, and which variables are not taken. Raises RecordingError, naming file and
    variable.
    """
    from obslab.schema import Var
    from obslab.telemetry.datasets import samples_schema

    file = _File.open(Path(path))
    frame, scalar = frame_of("".join(letter.lower() for letter in file.elements if letter.lower() in UNITS))
    if not frame and not scalar:
        names = ", ".join(file.elements.values()) or "no geomagnetic field"
        raise RecordingError(
            f"{path} has {names}: not X Y Z, H D Z, H E Z or D I F with S, F or G, nor S alone"
        )
    letters = frame + scalar
    first = file.elements[letters[0].upper()]
    time_ns = file.times(first)
    columns: dict[str, Floats] = {}
    notes = [f"{name} is not taken" for name in file.others]
    variables = {}
    for letter in letters:
        name = file.elements[letter.upper()]
        ours = "f" if not frame else letter
        scales = _ARCMIN if UNITS[letter] == "arcmin" else _NT
        columns[ours] = file.on(time_ns, name, scales, notes, only=letter in frame)
    for name in file.temperatures:
        ours = name.lower()
        columns[ours] = file.on(time_ns, name, _CELSIUS, notes, only=False)
        variables[ours] = Var(("time",), "float64", "degC", file.attributes(name).get("FIELDNAM") or name)
    attrs = {
        "station": str(file.entries["IagaCode"][0]).strip().upper(),
        "instrument": "vector" if frame else "scalar",
        "samplerate": "",
        "cadence_s": float(np.median(np.diff(time_ns))) / 1e9,
        **facts_of(file.entries),
    }
    attrs["samplerate"] = samplerate_of(attrs["cadence_s"])
    if notes:
        attrs["comments"] = "\n".join([*filter(None, [attrs.get("comments")]), *notes])
    schema = samples_schema({name: UNITS[name] for name in columns if name in UNITS}).plus(**variables)
    return schema.build(attrs, time=from_ns(time_ns), **columns)


@dataclass(frozen=True)
class _File:
    """The parts of a file: ``elements`` has the name of the variable for each letter."""

    path: Path
    cdf: Any
    entries: Mapping[str, list[Any]]
    elements: dict[str, str]
    temperatures: list[str]
    others: list[str]
    _times: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path) -> _File:
        import cdflib

        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise RecordingError(f"{path} {what}; give the path of an ImagCDF file", path=path)
        try:
            _check_end(path)
            cdf = cdflib.CDF(path)
            entries = cdf.globalattsget()
            names = [str(name) for name in cdf.cdf_info().zVariables]
        except Exception as error:  # cdflib fails on damaged bytes in a dozen ways
            raise _damaged(path, error) from error
        kind = str(entries.get("FormatDescription", ["nothing"])[0])
        if not kind.upper().startswith("INTERMAGNET") or "IagaCode" not in entries:
            raise RecordingError(
                f"{path} is a CDF file but not ImagCDF: FormatDescription is {kind!r}", path=path
            )
        elements = {name[-1]: name for name in names if name[:-1] == FIELD}
        known = {letter: name for letter, name in elements.items() if letter.lower() in UNITS}
        temperatures = [name for name in names if _TEMPERATURE.fullmatch(name)]
        taken = {*known.values(), *temperatures}
        others = [name for name in names if name not in taken and not name.endswith("Times")]
        return cls(path, cdf, entries, known, temperatures, others)

    def attributes(self, name: str) -> dict[str, Any]:
        """Of one variable."""
        try:
            return dict(self.cdf.varattsget(name))
        except Exception as error:
            raise _damaged(self.path, error) from error

    def times(self, name: str) -> NDArray[np.int64]:
        """UTC of the samples of a variable, in ns since 1970."""
        depend = self.attributes(name).get("DEPEND_0")
        if not depend or depend not in self.cdf.cdf_info().zVariables:
            raise RecordingError(f"{self.path}: {name} has no times: DEPEND_0 is {depend!r}", field=name)
        if depend not in self._times:
            self._times[depend] = self._read_times(str(depend))
        return self._times[depend]

    def _read_times(self, depend: str) -> NDArray[np.int64]:
        found = self._array(depend)
        kind = self.cdf.varinq(depend).Data_Type_Description
        if kind != "CDF_TIME_TT2000":
            raise RecordingError(
                f"{self.path}: {depend} is of type {kind}, wanted CDF_TIME_TT2000", field=depend
            )
        if found.size < 2:
            raise RecordingError(f"{self.path}: {depend} has {found.size} times; two at least are wanted")
        try:
            time_ns = of_tt2000(found)
        except BadTimeError as error:
            raise RecordingError(f"{self.path}: {depend}: {error.message}", field=depend) from error
        steps = np.diff(time_ns)
        if (steps <= 0).any():
            at = int(np.argmax(steps <= 0)) + 1
            raise RecordingError(
                f"{self.path}: {depend} record {at + 1}: time does not go on: {iso(int(time_ns[at]))} after "
                f"{iso(int(time_ns[at - 1]))}",
                field=depend,
            )
        return time_ns

    def on(
        self,
        time_ns: NDArray[np.int64],
        name: str,
        scales: Mapping[str, float],
        notes: list[str],
        *,
        only: bool,
    ) -> Floats:
        """A variable at these times in our unit, NaN is missing; ``only`` when it may not have others."""
        attributes = self.attributes(name)
        unit = str(attributes.get("UNITS", "")).strip()
        if unit.lower() not in scales:
            raise RecordingError(
                f"{self.path}: {name} is in {unit or 'no unit'!r}, wanted {next(iter(scales))}"
            )
        raw = self._array(name).astype(np.float64)
        own_ns = self.times(name)
        if raw.shape != own_ns.shape:
            raise RecordingError(
                f"{self.path}: {name} has {raw.shape} values for {own_ns.size} times", field=name
            )
        fill = attributes.get("FILLVAL", FILL)
        values = np.where((raw == fill) | ~(np.abs(raw) < _NEVER), np.nan, raw * scales[unit.lower()])
        if np.array_equal(own_ns, time_ns):
            return values
        if only:
            raise RecordingError(f"{self.path}: {name} has other times than the other components", field=name)
        place = np.searchsorted(time_ns, own_ns)
        there = time_ns[np.minimum(place, time_ns.size - 1)] == own_ns
        if not there.all():
            notes.append(f"{int((~there).sum())} samples of {name} are at other times and not taken")
        spread = np.full(time_ns.size, np.nan)
        spread[place[there]] = values[there]
        return spread

    def _array(self, name: str) -> NDArray[Any]:
        try:
            return np.asarray(self.cdf.varget(name))
        except Exception as error:
            raise _damaged(self.path, error) from error


def _check_end(path: Path) -> None:
    """Raises EOFError for a file that is shorter than it says: cdflib finds fewer variables in it, silently.

    Offsets are of CDF version 3: https://cdf.gsfc.nasa.gov, "CDF Internal Format Description".
    """
    size = path.stat().st_size
    with path.open("rb") as file:

        def number(at: int) -> int:
            file.seek(at)
            return int.from_bytes(file.read(8), "big")

        magic = number(0)
        if magic >> 40 != 0xCDF300:
            return  # an older version, or no CDF file: cdflib tells
        first = number(20)
        # The global descriptor has the end of the file; of a compressed file, its last record.
        end = first + number(first) if magic & 0xFFFFFFFF == 0xCCCC0001 else number(first + 36)
    if size < max(end, 44):
        raise EOFError(f"it has {size} bytes and should have {end}")


def _damaged(path: Path, error: Exception) -> RecordingError:
    why = " ".join(str(error).split()) or type(error).__name__
    return RecordingError(f"{path} is not a CDF file, or it is cut off or damaged: {why}", path=path)
