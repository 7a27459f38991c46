"""Lines of samples as numbers: all lines at once, as a table of characters.

Fields end in the same columns in each line, so a field that does not is taken for cut off or
misaligned: what is left of a number, 4804 of 48048.12, would pass for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.iaga2002.digits import days, number, seconds

NEVER = 88_888.0
"""From here on a value says that there is none."""

_FIELDS = 7
_LONGEST = 160  # characters; longer is no line of samples, and one such line would widen the whole table
_STANDARD = (9, 22, 26, 39, 49, 59, 69)  # last columns of the fields, from 0: A10,1X,A12,1X,A3,3X,4(1X,F9.2)
_NS = 1_000_000_000
_EARLIEST, _LATEST = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")  # within reach of int64 ns

Bools = NDArray[np.bool_]
Table = NDArray[np.uint8]


@dataclass(frozen=True)
class Rows:
    """What the lines say, in their order; ``bad`` has number and reason of those that are not understood.

    ``line`` counts from 1; ``values`` has shape (rows, 4), missing as it was written.
    """

    line: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    bad: dict[int, str]


def rows(data: bytes, first: int, names: tuple[str, ...]) -> Rows:
    """The lines of samples; ``first`` is the number of the first, ``names`` are those of the columns."""
    table, line = _table(data, first)
    if not len(table):
        return Rows(line, line, np.empty((0, 4)), {})
    printed = table > ord(" ")
    ends = printed.copy()
    ends[:, :-1] &= ~printed[:, 1:]
    layout, usual = _layout(ends)
    if len(layout) == _FIELDS:
        time_ns, values, good, decimals = _aligned(table, layout, usual)
    else:  # the common form of line is not one of samples
        time_ns, values = np.zeros(len(table), np.int64), np.zeros((len(table), 4))
        good, decimals = np.zeros(len(table), bool), ()
    bad: dict[int, str] = {}
    blank = np.zeros(len(table), bool)
    # More than half end alike, so that is the file's form; otherwise its fields are not in columns at all.
    strict = layout == _STANDARD or usual.sum() * 2 > len(table)
    form = _Form(names, layout if strict else (), decimals)
    for at in np.flatnonzero(~good):
        text = table[at].tobytes().decode("latin-1").replace("\0", " ")
        if not text.strip():
            blank[at] = True
            continue
        try:
            time_ns[at], values[at] = form.row(text)
        except ValueError as error:
            bad[int(line[at])] = str(error)
        else:
            good[at] = True
    return Rows(line[good], time_ns[good], values[good], bad)


@dataclass(frozen=True)
class _Form:
    """What is expected of a line that is looked at by itself, as it is in most lines; empty: anything."""

    names: tuple[str, ...]
    ends: tuple[int, ...]
    decimals: tuple[int, ...]

    def row(self, text: str) -> tuple[int, list[float]]:
        """Its time and values. Raises ValueError."""
        if len(text) > _LONGEST and text[_LONGEST:].strip():
            raise ValueError(f"more than {_LONGEST} characters, wanted 70")
        fields = text.split()
        if len(fields) != _FIELDS:
            raise ValueError(f"{len(fields)} fields, wanted {_FIELDS}")
        time_ns = _time(fields[0], fields[1])
        return time_ns, [self._value(column, text, fields) for column in range(4)]

    def _value(self, column: int, text: str, fields: list[str]) -> float:
        field, name = fields[3 + column], self.names[column]
        try:
            value = float(field)
        except ValueError:
            raise ValueError(f"{name} {field!r} is not a number") from None
        if np.isnan(value) or abs(value) >= NEVER:
            return value  # missing, however it is written
        end = _ends(text)[3 + column]
        if self.ends and end != self.ends[3 + column]:
            wanted = self.ends[3 + column] + 1
            raise ValueError(
                f"{name} {field!r} ends in column {end + 1}, not {wanted}: cut off or misaligned"
            )
        if self.decimals and len(field.partition(".")[2]) != self.decimals[column]:
            raise ValueError(
                f"{name} {field!r} has not {self.decimals[column]} decimals: cut off or misaligned"
            )
        return value


def _table(data: bytes, first: int) -> tuple[Table, NDArray[np.int64]]:
    """Characters of the lines, filled up with blanks, shape (lines, width); and the lines' numbers."""
    data = data.rstrip(b" \t\r\n\x1a")
    if b"\0" in data:  # a power cut leaves them; NumPy would take them for the end of a text
        data = data.replace(b"\0", b"?")
    width = data.find(b"\n") + 1
    if 0 < width <= _LONGEST and len(data) % width:
        data += b" " * (-len(data) % width - 1) + b"\n"
        table = np.frombuffer(data, np.uint8).reshape(-1, width)
        if data.count(b"\n") == len(table) and (table[:, -1] == ord("\n")).all():
            return table[:, :-1], first + np.arange(len(table))
    lines = [line.rstrip() for line in data.split(b"\n")]
    numbered = [
        (at, line if len(line) <= _LONGEST else line[:_LONGEST] + b"?")
        for at, line in enumerate(lines, first)
        if line
    ]
    if not numbered:
        return np.empty((0, 1), np.uint8), np.empty(0, np.int64)
    texts = np.array([line for _, line in numbered], dtype=np.bytes_)
    table = texts.view(np.uint8).reshape(len(texts), -1)
    return table, np.array([at for at, _ in numbered], dtype=np.int64)


def _layout(ends: Bools) -> tuple[tuple[int, ...], Bools]:
    """Columns where fields end in most lines, and which lines have theirs there."""
    packed = np.packbits(ends, axis=1)
    usual = np.asarray((packed == packed[0]).all(axis=1))
    at = 0
    if not usual.all():
        forms, where, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
        standard = np.array([np.array_equal(np.flatnonzero(ends[row]), _STANDARD) for row in where])
        best = int(np.lexsort((standard, counts))[-1])
        at, usual = int(where[best]), np.asarray((packed == forms[best]).all(axis=1))
    return tuple(int(column) for column in np.flatnonzero(ends[at])), usual


def _aligned(
    table: Table, layout: tuple[int, ...], usual: Bools
) -> tuple[NDArray[np.int64], NDArray[np.float64], Bools, tuple[int, ...]]:
    """Times and values of lines whose fields end in these columns, which of the lines are written as
    most are, and the decimals of each value in those."""
    columns = np.ascontiguousarray(table.T)
    like = int(np.argmax(usual))
    date, clock, doy, *ends = layout
    day, good = days(columns[: date + 1])
    second, known = seconds(columns[date + 1 : clock + 1], like)
    good &= usual & known
    values = np.empty((len(table), 4))
    begin, decimals = doy + 1, []
    for at, end in enumerate(ends):
        window = columns[begin : end + 1]
        dots = np.count_nonzero(window == ord("."), axis=1)  # missing may be written without one
        dot = int(np.argmax(dots)) if dots.any() else None
        values[:, at], known = number(window, dot)
        good &= known
        decimals.append(0 if dot is None else end - begin - dot)
        begin = end + 1
    return day * (86_400 * _NS) + second, values, good, tuple(decimals)


def _time(date: str, clock: str) -> int:
    text = f"{date}T{clock}"
    time = np.datetime64(text)  # its own ValueError names the text
    if np.isnat(time) or not _EARLIEST <= time < _LATEST:
        raise ValueError(f"time {text!r} is none between 1678 and 2262")
    return int(time.astype("datetime64[ns]").astype(np.int64))


def _ends(text: str) -> list[int]:
    """Columns where the fields of a line end, from 0."""
    return [at for at, two in enumerate(pairwise(text + " ")) if two[0] > " " >= two[1]]
