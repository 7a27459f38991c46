"""An IAGA-2002 file as a Dataset of samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from obslab.errors import RecordingError
from obslab.telemetry.grid import UNITS, samplerate_of
from obslab.telemetry.iaga2002.parsing import IagaFile, parse
from obslab.telemetry.iaga2002.words import INDEPENDENT, facts_of
from obslab.times import from_ns

if TYPE_CHECKING:
    import xarray as xr

# The standard's sets beside the frames that obslab converts: E and V are D and I in nT.
_MORE_FRAMES = ("dhi", "ehv", "dhv", "ehi", "uvz")


def read(path: str | Path) -> xr.Dataset:
    """The file's samples: dim ``time``, components in nT, ``d`` and ``i`` in arcmin, NaN is missing.

    A column that is never measured (88888 in each line) is left out. Components keep the file's letters,
    except that a scalar beside D I F, or one that the file says is independent, is ``s``. Attributes are
    those of the archive's Datasets, and ``comments``. Raises RecordingError, naming file, line and field.
    """
    from obslab.telemetry.datasets import samples_schema

    file = parse(Path(path))
    columns = _columns(file, str(path))
    vector = bool(set(columns) - set("sfg")) or len(columns) > 1
    code = file.header.get("IAGA CODE") or file.names[0][:-1]
    attrs = {
        "station": code.upper(),
        "instrument": "",
        "samplerate": samplerate_of(file.cadence_s),
        "cadence_s": file.cadence_s,
        **facts_of(file.header, file.comments, vector=vector),
    }
    schema = samples_schema({letter: UNITS[letter] for letter in columns})
    return schema.build(
        attrs,
        time=from_ns(file.time_ns),
        **{letter: np.ascontiguousarray(file.values[:, at]) for letter, at in columns.items()},
    )


def _columns(file: IagaFile, name: str) -> dict[str, int]:
    """Components that are measured, in the order of their frame, each with its column."""
    from obslab.telemetry.frames import FRAMES

    letters = [letter.lower() for letter in file.components]
    told = "".join(letters)
    if letters[3] == "f" and ("f" in letters[:3] or INDEPENDENT in file.comments):
        letters[3] = "s"
    used = {letter: at for at, letter in enumerate(letters) if not file.never[at]}
    unknown = [letter for letter in used if letter not in UNITS]
    three, measured = set(letters[:3]), not all(file.never[:3])
    frames = [frame for frame in (*FRAMES, *_MORE_FRAMES) if set(frame) == three]
    if not used:
        raise RecordingError(f"{name} has no component that is measured: all are 88888", path=name)
    if (
        unknown
        or (measured and not frames)
        or (letters[3] in three and not file.never[3])
        or letters[3] in "xyzhdieuv"
    ):
        names = " ".join(file.names)
        raise RecordingError(
            f"{name}: columns {names} are not one set of components, as X Y Z F, H D Z F, E H Z F or D I F S",
            path=name,
            field=told.upper(),
        )
    if not measured:  # a scalar alone; the others' names say nothing then, some write NUL or dashes
        return {letters[3].replace("s", "f"): 3}
    return {letter: used[letter] for letter in frames[0] + letters[3] if letter in used}
