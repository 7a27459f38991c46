"""From measurements to the table ABSOLUTES."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from obslab.errors import NoVariometerError, SheetError
from obslab.telemetry.absolutes.checks import checked
from obslab.telemetry.absolutes.fit import Conditions, Solution, solve, uncorrected
from obslab.telemetry.absolutes.measurement import Measurement
from obslab.telemetry.absolutes.model import (
    DEC,
    DELTA,
    EPSILON_D,
    EPSILON_I,
    INC,
    OFFSET_D,
    OFFSET_I,
    TOTAL,
)
from obslab.telemetry.absolutes.variation import (
    Course,
    Variation,
    scalar_course,
    still,
    variation_at,
    variometer_course,
)
from obslab.telemetry.datasets import ABSOLUTES
from obslab.times import Instant, as_ns, from_ns

if TYPE_CHECKING:
    import xarray as xr

_DEG, _ARCMIN = 180 / np.pi, 60 * 180 / np.pi
_NONSENSE_NT = 200.0  # no storm is like that within minutes, corrected for or not
_FAR_FROM_EQUATOR_DEG = 30.0  # beyond it I has the sign of the latitude: the magnetic equator is within 20


def reduce(
    measurements: Measurement | Iterable[Measurement],
    variometer: xr.Dataset | None = None,
    scalar: xr.Dataset | None = None,
    *,
    pier_difference_nt: float = 0.0,
    at: Instant | None = None,
) -> xr.Dataset:
    """ABSOLUTES of these measurements in order of time: D, I, F and what is wrong with the theodolite.

    d, i and f are of the first reading of the field in each measurement, or of ``at``. Every reading is
    corrected for the variation since then: by the variometer (h e z, x y z, h d z or d i f), and without one
    not at all. F is what the sheet has, or else the scalar (s, or else f) plus ``pier_difference_nt``, which
    is F on the absolute pillar minus F at the scalar. Without F, D and I come from null readings only and are
    not corrected; f and the offsets are NaN.

    Of one measurement that cannot be reduced the error is raised: NoVariometerError when variometer or
    scalar have no data at its time, SheetError when the readings make no sense, naming the positions that
    look swapped. Of several it is a row with ``used`` False and the reason in ``note``; if there is no
    variometer data the row has values, uncorrected.
    """
    several = (measurements,) if isinstance(measurements, Measurement) else tuple(measurements)
    field = _Field(variometer, scalar, pier_difference_nt)
    for one in several:
        if field.station and one.station and one.station.upper() != field.station.upper():
            raise SheetError(
                f"{one.name} is of {one.station}, the variations are of {field.station}; wanted one station",
                source=one.source,
                station=one.station,
            )
    rows = [_row(one, field, at, alone=len(several) == 1) for one in several]
    rows.sort(key=lambda row: row["time"])
    if not rows:
        return ABSOLUTES.empty()
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    times = {name: from_ns(columns.pop(name)) for name in ("time", "end")}
    stations = sorted({one.station for one in several if one.station} or {field.station} - {""})
    facts = {"station": stations[0]} if len(stations) == 1 else {}
    return ABSOLUTES.build(facts | {"pier_difference_nt": pier_difference_nt}, **times, **columns)


@dataclass(frozen=True)
class _Reduced:
    solution: Solution
    used: bool = True
    note: str = ""


class _Field:
    """What the instruments know of the field at the times of a measurement."""

    def __init__(
        self, variometer: xr.Dataset | None, scalar: xr.Dataset | None, pier_difference_nt: float
    ) -> None:
        self.frame, self.course = "", None
        if variometer is not None:
            self.frame, self.course = variometer_course(variometer)
        self.scalar = None if scalar is None else scalar_course(scalar, pier_difference_nt)
        given = [dataset for dataset in (variometer, scalar) if dataset is not None]
        self.station = next((str(d.attrs["station"]) for d in given if d.attrs.get("station")), "")
        latitudes = [d.attrs["latitude_deg"] for d in given if d.attrs.get("latitude_deg") is not None]
        self.latitude_deg = float(latitudes[0]) if latitudes else 0.0

    def conditions(self, measurement: Measurement, reference_ns: int) -> Conditions:
        times = np.concatenate(
            [measurement.of(kind)["time_ns"] for kind in ("declination", "inclination", "scale")]
        )
        in_sheet = measurement.scalar
        if len(in_sheet):
            f_times, f_nt = in_sheet["time_ns"], in_sheet["f_nt"]
        else:
            f_times, f_nt = _known(self.scalar, times)
        together = np.concatenate([times, f_times])
        variation = still(len(together))
        if self.course is not None:
            variation = variation_at(self.frame, self.course, together, reference_ns)
        count = len(times)
        return Conditions(_part(variation, 0, count), f_nt, _part(variation, count, len(together)))

    def scalar_only(self, measurement: Measurement) -> Conditions:
        """The same without the variometer."""
        without = _Field(None, None, 0.0)
        without.scalar = self.scalar
        return without.conditions(measurement, measurement.begin_ns)


def _row(measurement: Measurement, field: _Field, at: Instant | None, alone: bool) -> dict[str, Any]:
    reference_ns = measurement.begin_ns if at is None else as_ns(at)
    try:
        reduced = _reduced(measurement, field, reference_ns, alone)
    except (SheetError, NoVariometerError) as error:
        if alone:
            raise
        return _facts(measurement, reference_ns, None) | {"used": False, "note": error.message}
    row = _facts(measurement, reference_ns, reduced.solution)
    return row | {"used": reduced.used, "note": reduced.note}


def _reduced(measurement: Measurement, field: _Field, reference_ns: int, alone: bool) -> _Reduced:
    if not np.isfinite(measurement.azimuth_deg):
        raise SheetError(
            f"{measurement.name}: no azimuth of the mark; give azimuth_deg to read, or in the metadata",
            source=measurement.source,
            field="azimuth",
        )
    notes: list[str] = []
    used, corrected = True, field.course is not None
    try:
        conditions = field.conditions(measurement, reference_ns)
    except NoVariometerError as error:
        if alone:
            raise
        conditions = field.scalar_only(measurement)
        used, corrected = False, False
        notes.append(f"{error.message}; not corrected for variations")
    if field.scalar is not None and not conditions.f_nt.size:
        lacking = NoVariometerError(
            f"{field.scalar.name} has no data during {measurement.name}", source=measurement.source
        )
        if alone:
            raise lacking
        used = False
        notes.append(f"{field.scalar.name} has no data then")
    if not conditions.f_nt.size and corrected:
        conditions, corrected = uncorrected(conditions), False
        notes.append("no F: not corrected for variations")
    if not conditions.f_nt.size and measurement.method == "autodif":
        measurement, left_nt = _as_null(measurement)
        notes += [f"no F: residuals of up to {left_nt:.2g} nT are taken as none"] if left_nt else []
    right, odd = checked(measurement, conditions, corrected)
    notes += [odd] if odd else []
    solution = solve(right, conditions)
    if solution.rms_nt > _NONSENSE_NT:  # not so when F, and with it the rms, is not known
        raise SheetError(
            f"{measurement.name}: the readings contradict each other by {solution.rms_nt:.0f} nT (rms), "
            "wanted some 0.5; a circle is misread, or the times are not those of the readings",
            source=measurement.source,
        )
    _check_sense(measurement, solution, field)
    return _Reduced(solution, used, "; ".join(notes))


def _as_null(measurement: Measurement) -> tuple[Measurement, float]:
    """The measurement without what the sensor still showed when the instrument had turned it to no field."""
    rows = measurement.readings.copy()
    left_nt = float(np.nanmax(np.abs(rows["residual_nt"][rows["kind"] != "mark"])))
    rows["residual_nt"] = np.where(np.isnan(rows["residual_nt"]), np.nan, 0.0)
    return replace(measurement, readings=rows), left_nt


def _check_sense(measurement: Measurement, solution: Solution, field: _Field) -> None:
    """Whether the sensor looks along the telescope, and the field into the right hemisphere."""
    if solution.scale < 0:
        tilt = measurement.of("scale")
        raise SheetError(
            f"{measurement.name} line {tilt['line'][0]}: field residual is {tilt['residual_nt'][0]:g} nT, "
            f"the tilt should change it the other way (scale {solution.scale:.3f}); "
            "is the sign of all residuals reversed?",
            source=measurement.source,
            line=int(tilt["line"][0]),
        )
    found_deg = float(solution.unknowns[INC]) * _DEG
    if abs(field.latitude_deg) > _FAR_FROM_EQUATOR_DEG and found_deg * field.latitude_deg < 0:
        raise SheetError(
            f"{measurement.name}: inclination comes out as {found_deg:.3f} degrees at latitude "
            f"{field.latitude_deg:.3f}; are north and south swapped in the readings for I?",
            source=measurement.source,
        )


def _facts(measurement: Measurement, reference_ns: int, solution: Solution | None) -> dict[str, Any]:
    values = np.full(8, np.nan) if solution is None else solution.unknowns
    errors = np.full(8, np.nan) if solution is None else solution.errors
    return {
        "time": reference_ns,
        "end": measurement.end_ns,
        "d": values[DEC] * _DEG,
        "i": values[INC] * _DEG,
        "f": values[TOTAL],
        "d_error": errors[DEC] * _DEG,
        "i_error": errors[INC] * _DEG,
        "f_error": errors[TOTAL],
        "offset_d": values[OFFSET_D],
        "offset_i": values[OFFSET_I],
        "delta": values[DELTA] * _ARCMIN,
        "epsilon_d": values[EPSILON_D] * _ARCMIN,
        "epsilon_i": values[EPSILON_I] * _ARCMIN,
        "scale": np.nan if solution is None else solution.scale,
        "rms": np.nan if solution is None else solution.rms_nt,
        "azimuth": measurement.azimuth_deg,
        "method": measurement.method,
        "instrument": measurement.theodolite,
        "pillar": measurement.pillar,
        "observer": measurement.observer,
        "source": measurement.source,
    }


def _known(scalar: Course | None, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if scalar is None:
        return times[:0], np.zeros(0)
    f_nt = scalar.at(times)[:, 0]
    there = np.isfinite(f_nt)
    return times[there], f_nt[there]


def _part(variation: Variation, begin: int, end: int) -> Variation:
    return Variation(variation.frame, variation.values[begin:end], variation.reference)
