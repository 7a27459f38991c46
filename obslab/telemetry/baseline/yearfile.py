"""Yearfile: what INTERMAGNET wants of a baseline, one IBFV2.00 file for each year."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry import ibfv
from obslab.telemetry.baseline.baseline import Baseline
from obslab.telemetry.baseline.basis import Floats
from obslab.times import NS_PER_DAY, as_ns, from_ns, iso, to_ns

_COLUMNS = 53  # the longest comment line that the format allows


def year_files(baseline: Baseline) -> Iterator[tuple[int, Callable[[Path], object]]]:
    """For each year that the interval of validity touches, the year and what writes its file."""
    for year in range(int(iso(baseline.begin)[:4]), int(iso(as_ns(baseline.end) - 1)[:4]) + 1):
        yield year, partial(ibfv.write, year_file(baseline, year))


def year_file(baseline: Baseline, year: int) -> ibfv.BaselineFile:
    """Observed and adopted bases of the days of a year within the interval, angles in minutes of arc.

    Observed are the spots that were used. Adopted is the curve at 12:00, or, on a day that the interval has
    only a part of, in the middle of that part. A day is discontinuous (d) when a step lies between its
    time and that of the day before. There is no baseline of a scalar, so its column is empty.
    """
    first = as_ns(np.datetime64(f"{year}-01-01", "ns"))
    last = as_ns(np.datetime64(f"{year + 1}-01-01", "ns"))
    begin, end = max(first, as_ns(baseline.begin)), min(last, as_ns(baseline.end))
    scale = np.array([60.0 if unit == "deg" else 1.0 for unit in baseline.units])
    spots = baseline.spots
    time_ns = to_ns(spots.time.values)
    seen = np.flatnonzero(spots.used.values & (time_ns >= begin) & (time_ns < end))
    days = np.arange(begin // NS_PER_DAY, (end - 1) // NS_PER_DAY + 1) * NS_PER_DAY
    middle = (np.maximum(days, begin) + np.minimum(days + NS_PER_DAY, end)) // 2
    return ibfv.BaselineFile(
        station=baseline.station,
        year=year,
        components="HDZ" if baseline.frame == "hez" else baseline.frame.upper(),
        mean_h_nt=_or_nan(baseline.mean_h_nt),
        mean_f_nt=_or_nan(baseline.mean_f_nt),
        observed_day=_days(time_ns[seen]),
        observed=_with_scalar(spots.base.values[seen] * scale),
        adopted_day=_days(days),
        adopted=_with_scalar(baseline.values(middle) * scale),
        discontinuous=_jumps(baseline, middle),
        comments=tuple(_comments(baseline, len(time_ns))),
    )


def _jumps(baseline: Baseline, middle_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    counts = np.searchsorted(baseline.curves[0].basis.break_ns, middle_ns, side="right")
    return np.diff(counts, prepend=counts[:1]) > 0


def _comments(baseline: Baseline, count: int) -> Iterator[str]:
    how, used = baseline.how, int(baseline.spots.used.values.sum())
    knots = sum(len(piece.knots_ns) - 2 for piece in baseline.curves[0].basis.pieces)
    model = "smoothing spline" if how.method == "spline" else "piecewise polynomial"
    lines = [
        f"Adopted baseline: {model} of degree {how.degree} with {knots} knots and {len(how.steps)} steps, "
        f"fitted by least squares to {used} of {count} measurements.",
        *(f"Step at {step}{', new curve after it' if how.restart else ''}." for step in how.steps),
        f"Instrument {baseline.instrument}, pier difference {baseline.pier_difference_nt:g} nT.",
        f"Valid from {iso(baseline.begin)} to {iso(baseline.end)}.",
        f"Adopted by {baseline.author} at {iso(baseline.adopted_at, 0) if baseline.adopted_at else '-'}: "
        f"{baseline.reason}",
        f"Baseline {baseline.id[:32]} {baseline.id[32:]}",
    ]
    for line in lines:
        yield from textwrap.wrap(_ascii(line), _COLUMNS)


def _ascii(line: str) -> str:
    """As well as ASCII can: a name in other letters, which the JSON has, must not stop the year's file."""
    letters = unicodedata.normalize("NFKD", " ".join(line.split()))
    return "".join(c for c in letters if not unicodedata.combining(c)).encode("ascii", "replace").decode()


def _with_scalar(values: Floats) -> Floats:
    return np.column_stack([values, np.full(len(values), np.nan)])


def _days(time_ns: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return from_ns(time_ns).astype("datetime64[D]")


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
