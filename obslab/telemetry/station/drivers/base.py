"""What a driver is, and what most of them share: text in lines, and means over a minute.

A driver for an instrument that sends lines is a few lines itself::

    class Tilt(LineDriver):
        name = "tilt"

        def metas(self, station, names):
            return [(Stream(station, names[0]), Meta(format=FORMAT, valid_from=EVER, kind="vector", ...))]

        def line(self, text, now_ns):
            a, b, c = map(float, text.split())  # a ValueError says that the line is a bad one
            return [Reading(0, nearest_second(now_ns), (a, b, c))]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from obslab.telemetry.sample import Meta, Stream

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""``valid_from`` of what a driver gives: the time of the first reading is put in its place."""

NS = 1_000_000_000
_NUMBER = re.compile(r"[+-]?\d+\.?\d*|nan|NaN")
_TOLD = 200  # characters of a bad line that are kept


@dataclass(frozen=True)
class Reading:
    """What an instrument measured: ``stream`` counts in ``Driver.metas``, values are in its units."""

    stream: int
    time_ns: int
    values: tuple[float, ...]
    quality: int = 0


@dataclass(frozen=True)
class Bad:
    """What an instrument sent and nobody understands, as text, and why."""

    text: str
    reason: str


class Driver(Protocol):
    """Made anew whenever it raised; it keeps nothing that is worth more than a minute.

    ``lines`` says that it may be fed a line at a time, so that one it stumbles over is set aside alone.
    ``trouble`` is one line for people on how the instrument is, empty when all is well.
    """

    name: str
    lines: bool
    trouble: str

    def metas(self, station: str, names: Sequence[str]) -> list[tuple[Stream, Meta]]:
        """The streams of this instrument, the main one first; ``names`` are those given, if any."""
        ...

    def feed(self, data: bytes, now_ns: int) -> Sequence[Reading | Bad]:
        """What is complete with these bytes, which came at ``now_ns`` by the clock of this computer."""
        ...

    def cut(self) -> Sequence[Reading | Bad]:
        """The connection was cut: what comes next does not continue what came so far."""
        ...

    def end(self) -> Sequence[Reading | Bad]:
        """What is left, since no more bytes will come."""
        ...


class LineDriver:
    """Cuts bytes into lines and calls ``line`` for each; a line ends with CR, LF or both."""

    name = ""
    lines = True
    longest = 512

    def __init__(self) -> None:
        self.trouble = ""
        self._begun = b""
        self._too_long = False

    def line(self, text: str, now_ns: int) -> list[Reading]:
        """The readings in one line; a ValueError says that it is a bad one, any other that we are."""
        raise NotImplementedError

    def feed(self, data: bytes, now_ns: int) -> list[Reading | Bad]:
        *whole, self._begun = re.split(rb"[\r\n]", self._begun + data)
        found: list[Reading | Bad] = []
        for one in whole:
            if not self._too_long:
                found += self._line(one, now_ns)
            self._too_long = False
        if len(self._begun) > self.longest:
            if not self._too_long:
                found.append(Bad(_text(self._begun), "the line is too long"))
            self._begun, self._too_long = b"", True
        return found

    def cut(self) -> list[Reading | Bad]:
        half, self._begun, self._too_long = self._begun, b"", False
        return [Bad(_text(half), "the line was cut off")] if half.strip() else []

    def end(self) -> list[Reading | Bad]:
        return self.cut()

    def _line(self, line: bytes, now_ns: int) -> Sequence[Reading | Bad]:
        if not line.strip():
            return []
        if len(line) > self.longest:
            return [Bad(_text(line), "the line is too long")]
        try:
            return self.line(line.decode("ascii").strip(), now_ns)
        except UnicodeDecodeError:
            return [Bad(_text(line), "it is not ASCII")]
        except ValueError as error:
            return [Bad(_text(line), str(error))]


class Means:
    """The mean of readings over each interval, stamped with its begin: what temperatures are sent as."""

    def __init__(self, stream: int, interval_s: int = 60) -> None:
        self._stream, self._interval_ns = stream, interval_s * NS
        self._begin_ns: int | None = None
        self._values: list[tuple[float, ...]] = []

    def add(self, time_ns: int, values: tuple[float, ...]) -> list[Reading]:
        """The interval before, when this reading is the first of another one."""
        begin_ns = time_ns // self._interval_ns * self._interval_ns
        done = self.end() if begin_ns != self._begin_ns else []
        self._begin_ns = begin_ns
        self._values.append(values)
        return done

    def end(self) -> list[Reading]:
        """What there is of the present interval."""
        if not self._values or self._begin_ns is None:
            return []
        table = np.array(self._values, dtype=np.float64)
        known = np.isfinite(table)
        total = np.where(known, table, 0.0).sum(axis=0)
        with np.errstate(invalid="ignore"):
            mean = total / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
        done = [Reading(self._stream, self._begin_ns, tuple(mean.tolist()))]
        self._values = []
        return done


def number(text: str) -> float:
    """A decimal number, or NaN for ``nan``; what else Python takes for one, ``1_0`` or ``inf``, is noise."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a decimal number")
    return float(text)


def nearest_second(time_ns: int) -> int:
    return (time_ns + NS // 2) // NS * NS


def _text(line: bytes) -> str:
    return line[:_TOLD].decode("ascii", "backslashreplace")
