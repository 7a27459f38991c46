"""DI-flux sheets as text, written: see ``sheet`` for what is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from obslab.errors import SheetError
from obslab.telemetry.absolutes.measurement import Measurement
from obslab.telemetry.absolutes.sheet import FACES, FIRST_LINE
from obslab.times import iso
from obslab.whole import write_whole


def write_sheet(measurement: Measurement, path: Path | str) -> Path:
    """A sheet that ``read_sheet`` reads back: angles to 1e-9 degrees, times to their last digit.

    A sheet has no time for the readings of the mark, and no more than four pairs of them. The file is there
    whole or not at all. Raises SheetError, and RecordingError when the disk refuses.
    """
    path = Path(path)
    marks = measurement.of("mark")
    faces = {face: iter(marks["horizontal_deg"][marks["position"] == face]) for face in ("down", "up")}
    pairs = min(np.sum(marks["position"] == face) for face in faces)
    if pairs not in (2, 4) or len(marks) != 2 * pairs:
        raise SheetError(
            f"{measurement.name}: {len(marks)} readings of the mark; a sheet holds two or four of each face",
            source=measurement.source,
        )
    # In pairs down, down, up, up; two of each face are written as one pair after the other.
    order = (FACES * 2)[: 2 * pairs]
    facts = {
        "Observer": measurement.observer,
        "Theodolite": measurement.theodolite,
        "TheoUnit": "deg",
        "FGSensor": measurement.sensor,
        "AzimuthMark": _number(measurement.azimuth_deg),
        "Pillar": measurement.pillar,
        "Scalar": "",
        "Temperature": "" if np.isnan(measurement.temperature_c) else f"{measurement.temperature_c:g}C",
        "InputDate": iso(measurement.begin_ns)[:10],
        "Station": measurement.station,
        "Method": measurement.method,
        "Step": _number(measurement.circle_step_deg),
    }
    lines = [FIRST_LINE, *(f"# Abs-{name}: {value}" for name, value in facts.items())]
    lines += ["Miren:", "  ".join(_number(next(faces[face])) for face in order), "Positions:"]
    lines += [
        f"{_stamp(row['time_ns'])}  {_number(row['horizontal_deg'])}  {_number(row['vertical_deg'])}  "
        f"{_number(row['residual_nt'])}"
        for row in measurement.readings
        if row["kind"] != "mark"
    ]
    lines += ["PPM:", *(f"{_stamp(t)}  {_number(f)}" for t, f in measurement.scalar.tolist()), "Result:"]
    return write_whole(path, ("\n".join(lines) + "\n").encode())


def _number(value: float) -> str:
    return np.format_float_positional(round(float(value), 9), trim="-")


def _stamp(time_ns: int) -> str:
    return iso(int(time_ns)).rstrip("Z").replace("T", "_")
