"""Writes an IBFV2.00 file, to the letter of the manual."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from obslab.errors import RecordingError, TopicError
from obslab.telemetry.ibfv.file import (
    COMPONENTS,
    DELTA_MISSING,
    DELTA_NEVER,
    MISSING,
    NEVER,
    BaselineFile,
    Days,
    Floats,
    day_of_year,
)
from obslab.telemetry.plain import plain
from obslab.telemetry.sample import Stream
from obslab.whole import write_whole

_FILE = "IBFV2.00"
_LINE = 53  # characters of a comment


def write(baselines: BaselineFile, path: str | Path) -> Path:
    """Write the file as the manual has it, in order of days; whole or not at all.

    Days of the year that are not among the adopted ones are written as missing. NaN is written as missing,
    or as never observed when all of a column is NaN. Raises RecordingError for days of another year, values
    that do not fit, and comments that are wanting.
    """
    year = _checked_year(baselines)
    values = np.concatenate([baselines.observed, baselines.adopted])
    form = _Form(
        f"{_FILE} of {baselines.station} {baselines.year}",
        [*baselines.components, "scalar F"],
        [NEVER if one else MISSING for one in np.isnan(values).all(axis=0)],
        DELTA_NEVER if baselines.delta_f_nt is None else DELTA_MISSING,
    )
    lines = [
        f"{COMPONENTS[baselines.components]} {_mean(baselines.mean_h_nt)} {_mean(baselines.mean_f_nt)} "
        f"{baselines.station} {baselines.year:04}"
    ]
    for at in np.argsort(baselines.observed_day, kind="stable"):
        lines.append(form.values(baselines.observed_day[at], baselines.observed[at]))
    lines.append("*")
    row = dict(zip(baselines.adopted_day, range(len(baselines.adopted_day)), strict=True))
    for day in year:
        at = row.get(day)
        if at is None:
            lines.append(form.adopted(day, np.full(4, np.nan), np.nan, False))
            continue
        delta = np.nan if baselines.delta_f_nt is None else baselines.delta_f_nt[at]
        lines.append(form.adopted(day, baselines.adopted[at], delta, bool(baselines.discontinuous[at])))
    lines += ["*", "Comments:"]
    for comment in baselines.comments:
        lines += textwrap.wrap(plain(comment, "comments", _FILE), _LINE) or [""]
    return write_whole(Path(path), "".join(f"{line}\r\n" for line in lines).encode("ascii"))


def _checked_year(baselines: BaselineFile) -> Days:
    """All days of the year. Raises RecordingError for what the format does not hold."""
    what = f"{_FILE} of {baselines.station} {baselines.year}"
    if baselines.components not in COMPONENTS:
        raise RecordingError(
            f"{what}: components {baselines.components!r} are none of {', '.join(COMPONENTS)}"
        )
    try:
        Stream(baselines.station, "any")
    except TopicError as error:
        raise RecordingError(f"{_FILE}: {error.message}") from error
    year = np.arange(f"{baselines.year}-01-01", f"{baselines.year + 1}-01-01", dtype="datetime64[D]")
    for days in (baselines.observed_day, baselines.adopted_day):
        outside = days[~np.isin(days, year)]
        if outside.size:
            raise RecordingError(
                f"{what}: {outside[0]} is a day of another year; it goes into a file of its own"
            )
    days, counts = np.unique(baselines.adopted_day, return_counts=True)
    if (counts > 1).any():
        raise RecordingError(f"{what}: {days[counts > 1][0]} has more than one adopted baseline")
    if not "".join(baselines.comments).strip():
        raise RecordingError(f"{what}: comments are wanted that say how the baseline was adopted")
    return year


@dataclass(frozen=True)
class _Form:
    """Writes lines; ``words`` are said of each column where there is no value, ``delta`` of delta F."""

    what: str
    names: list[str]
    words: list[float]
    delta: float

    def values(self, day: np.datetime64, values: Floats) -> str:
        fields = []
        for name, value, word in zip(self.names, values, self.words, strict=True):
            if not np.isnan(value) and not abs(round(value, 2)) < NEVER:
                raise RecordingError(
                    f"{self.what}: {name} of {day} is {value:g}, not within 88888", field=name
                )
            fields.append(f"{word if np.isnan(value) else value:9.2f}")
        return " ".join([f"{day_of_year(day):03}", *fields])

    def adopted(self, day: np.datetime64, values: Floats, delta: float, step: bool) -> str:
        if not np.isnan(delta) and not abs(round(delta, 2)) < DELTA_NEVER:
            raise RecordingError(
                f"{self.what}: delta F of {day} is {delta:g} nT, not within 888", field="delta F"
            )
        shown = self.delta if np.isnan(delta) else delta
        return f"{self.values(day, values)} {shown:7.2f} {'d' if step else 'c'}"


def _mean(mean_nt: float) -> str:
    shown = MISSING if np.isnan(mean_nt) else mean_nt
    if not 0 <= round(shown) <= MISSING:
        raise RecordingError(f"{_FILE}: an annual mean of {mean_nt:g} nT does not fit into five digits")
    return f"{shown:05.0f}"
