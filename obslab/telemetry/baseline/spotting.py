"""Spotting: spot baselines, absolute measurements minus the variometer at their times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from obslab.errors import BaselineError, FrameError, NoVariometerError
from obslab.telemetry.absolutes.variation import Course, scalar_course, variometer_course
from obslab.telemetry.baseline.basis import Floats, Nanoseconds
from obslab.telemetry.baseline.canonical import COMPONENTS, Frame
from obslab.times import iso, to_ns

if TYPE_CHECKING:
    import xarray as xr

_ARCMIN = 1 / 60
_ENOUGH = 0.9  # of the samples of a measurement, for their mean: INTERMAGNET's rule for means


def spots(
    absolutes: xr.Dataset,
    variometer: xr.Dataset,
    scalar: xr.Dataset | None = None,
    *,
    frame: Frame | None = None,
    pier_difference_nt: float | None = None,
    mean: bool = False,
) -> xr.Dataset:
    """SPOTS: what must be added to the variometer to make it absolute, at each of ABSOLUTES.

    The variometer is taken at the time that d, i and f are of, linear between neighbours at most 1.5
    cadences apart; with ``mean`` over all of the measurement, for absolutes that were reduced without a
    variometer. ``frame`` is found from its components unless given. F is the absolute one, which is on the
    pillar; where it is NaN, that of ``scalar`` plus ``pier_difference_nt``, unless given what the absolutes
    were reduced with. Errors are propagated from those of d, i and f, taken as independent.

    A measurement that cannot be used stays in the table, with ``used`` False and the reason in ``note``.
    Raises NoVariometerError when no measurement has variometer data at its time.
    """
    _same_station(absolutes, variometer, scalar)
    if pier_difference_nt is None:
        pier_difference_nt = float(absolutes.attrs.get("pier_difference_nt", 0.0))
    frame, course = _course(variometer, frame)
    times, ends = to_ns(absolutes.time.values), to_ns(absolutes.end.values)
    taken = _taken(course, times, ends, mean)
    d, i, f = (absolutes[name].values.astype(np.float64) for name in "dif")
    if scalar is not None:
        lacks = np.isnan(f)
        f[lacks] = _taken(scalar_course(scalar, pier_difference_nt), times, ends, mean)[lacks, 0]
    known = np.nan_to_num(np.stack([absolutes[f"{name}_error"].values for name in "dif"], axis=1))
    f_error = known[:, 2] if known[:, 2].any() else np.zeros(len(f))
    errors = np.stack([known[:, 0], known[:, 1], f_error], axis=1)
    base, error = _base(frame, d, i, f, taken, errors)
    unknown = ~np.isfinite(absolutes.d_error.values) | ~np.isfinite(absolutes.i_error.values)
    error[unknown] = np.nan
    lacking = [bool(np.isnan(row).any()) for row in taken]
    whole = [bool(np.isfinite(row).all()) for row in base]
    if all(lacking):
        raise _nothing(course, times)
    note = [
        "; ".join(filter(None, [str(before), _why(course, when, no_data, fine, total)]))
        for before, when, no_data, fine, total in zip(
            absolutes.note.values, times, lacking, whole, f, strict=True
        )
    ]
    return _table(absolutes, variometer, frame, pier_difference_nt, base, error, note, (i, f))


def _course(variometer: xr.Dataset, frame: Frame | None) -> tuple[Frame, Course]:
    if frame is None:
        from obslab.telemetry.frames import frame_of

        frame = frame_of(variometer)  # type: ignore[assignment]  # it gives one of the four
    if frame not in COMPONENTS:
        raise FrameError(f"frame {frame!r} is none of {', '.join(COMPONENTS)}", frame=frame)
    lacking = [name for name in frame if name not in variometer.data_vars]
    if lacking:
        raise FrameError(f"the variometer has no {' '.join(lacking)}, which frame {frame} wants", frame=frame)
    return frame, variometer_course(variometer[list(frame)])[1]


def _taken(course: Course, begin_ns: Nanoseconds, end_ns: Nanoseconds, mean: bool) -> Floats:
    """Values at the begin of each measurement, or means over it; NaN where there are none, or too few."""
    if not mean:
        return course.at(begin_ns)
    means = np.full((len(begin_ns), course.values.shape[1]), np.nan)
    for place, (begin, end) in enumerate(zip(begin_ns, end_ns, strict=True)):
        first, last = np.searchsorted(course.time_ns, begin), np.searchsorted(course.time_ns, end, "right")
        part = course.values[first:last]
        whole = part[np.isfinite(part).all(1)]
        if len(whole) and len(whole) >= _ENOUGH * ((end - begin) // max(course.cadence_ns, 1)):
            means[place] = whole.mean(0)
    return means


def _base(
    frame: Frame, d: Floats, i: Floats, f: Floats, taken: Floats, errors: Floats
) -> tuple[Floats, Floats]:
    """Bases (n, 3) and errors, both in nT and degrees, of absolutes and variations (n, 3).

    hez: with (H0 + h)^2 + e^2 = H^2 and D = D0 + atan2(e, H0 + h), H0 and D0 depend on each other.
    """
    dip, dec = np.radians(i), np.radians(d)
    h, z = f * np.cos(dip), f * np.sin(dip)
    d_error, i_error, f_error = np.radians(errors[:, 0]), np.radians(errors[:, 1]), errors[:, 2]
    h_error = np.hypot(np.cos(dip) * f_error, z * i_error)
    z_error = np.hypot(np.sin(dip) * f_error, h * i_error)
    one, two, three = taken.T
    match frame:
        case "hez":
            with np.errstate(invalid="ignore"):  # more e than H: no frame of this observatory
                along = np.sqrt(h**2 - two**2)
            base = [along - one, d - np.degrees(np.arctan2(two, along)), z - three]
            turned = np.hypot(d_error, two / (h * along) * h_error)
            error = [h / along * h_error, np.degrees(turned), z_error]
        case "hdz":
            base = [h - one, d - two * _ARCMIN, z - three]
            error = [h_error, errors[:, 0], z_error]
        case "xyz":
            base = [h * np.cos(dec) - one, h * np.sin(dec) - two, z - three]
            across = h * d_error
            error = [
                np.hypot(np.cos(dec) * h_error, np.sin(dec) * across),
                np.hypot(np.sin(dec) * h_error, np.cos(dec) * across),
                z_error,
            ]
        case "dif":
            base = [d - one * _ARCMIN, i - two * _ARCMIN, f - three]
            error = [errors[:, 0], errors[:, 1], f_error]
    return np.stack(base, axis=1), np.stack(error, axis=1)


def _why(course: Course, time_ns: int, lacking: bool, whole: bool, total_nt: float) -> str:
    if lacking:
        return f"{course.name} has no data at {iso(int(time_ns))}"
    if np.isnan(total_nt):
        return "no F: neither in the measurement nor from a scalar at its time"
    return "" if whole else "d, i and f do not give a baseline with these variations"


def _table(
    absolutes: xr.Dataset,
    variometer: xr.Dataset,
    frame: Frame,
    pier_difference_nt: float,
    base: Floats,
    error: Floats,
    note: list[str],
    inclined: tuple[Floats, Floats],
) -> xr.Dataset:
    from obslab.telemetry.datasets import SPOTS

    i, f = inclined
    whole = np.isfinite(base).all(1)
    used = absolutes.used.values & whole
    mean_h_nt = float((f * np.cos(np.radians(i)))[whole].mean()) if whole.any() else np.nan
    order = np.argsort(absolutes.time.values, kind="stable")
    names = COMPONENTS[frame]
    table = SPOTS.build(
        {
            "station": str(absolutes.attrs.get("station") or variometer.attrs.get("station", "")),
            "instrument": str(variometer.attrs.get("instrument", "")),
            "frame": frame,
            "pier_difference_nt": pier_difference_nt,
            "mean_h_nt": mean_h_nt,
            "mean_f_nt": float(f[whole].mean()) if whole.any() else np.nan,
        },
        time=absolutes.time.values,
        base=base,
        error=error,
        component=np.array(names),
        unit=np.array(["deg" if name in "di" else "nT" for name in names]),
        observer=absolutes.observer.values.astype(str),
        source=absolutes.source.values.astype(str),
        used=used,
        note=np.array(note, str),
    )
    return table.isel(spot=order)


def _same_station(absolutes: xr.Dataset, variometer: xr.Dataset, scalar: xr.Dataset | None) -> None:
    if not absolutes.sizes["measurement"]:
        raise BaselineError("there is no absolute measurement to make baselines of")
    wanted = absolutes.attrs.get("station")
    for what, dataset in (("variometer", variometer), ("scalar", scalar)):
        found = None if dataset is None else dataset.attrs.get("station")
        if wanted and found and wanted != found:
            raise BaselineError(f"the absolutes are of {wanted}, the {what} of {found}: wanted one station")


def _nothing(course: Course, times: Nanoseconds) -> NoVariometerError:
    there = course.time_ns[np.isfinite(course.values).all(1)]
    extent = (
        f"it has some from {iso(int(there[0]))} to {iso(int(there[-1]))}" if len(there) else "it has none"
    )
    return NoVariometerError(
        f"{course.name} has no data at any of {len(times)} absolute measurements ({iso(int(times.min()))} to "
        f"{iso(int(times.max()))}): {extent}",
        begin=iso(int(times.min())),
        end=iso(int(times.max())),
    )
