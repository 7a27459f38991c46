"""The lines of a DI-flux sheet, and what stands in them: a number, an angle in the sheet's unit, a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from obslab.errors import BadTimeError, SheetError
from obslab.times import as_ns

UNITS = {"deg": 1.0, "gon": 0.9}
_SECTIONS = ("miren", "positions", "ppm", "result")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[_T](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)Z?", re.ASCII)


@dataclass(frozen=True)
class Line:
    number: int
    words: list[str]


class SheetLines:
    """A sheet taken apart: header lines by name, and the lines of each section."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: dict[str, Line] = {}
        self.sections: dict[str, list[Line]] = {name: [] for name in _SECTIONS}
        section = ""
        for number, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            words = text.split()
            if text.lstrip("\ufeff ").startswith("#"):
                key, _, value = text.lstrip("\ufeff# ").partition(":")
                self.header[key.strip().lower().removeprefix("abs-")] = Line(number, [value.strip()])
            elif len(words) == 1 and words[0].rstrip(":").lower() in _SECTIONS:
                section = words[0].rstrip(":").lower()
            elif words and section != "result":
                if not section:
                    self.refuse(number, "text", text.strip(), "a header line, or Miren:")
                self.sections[section].append(Line(number, words))
        self.unit = self.fact("theounit").lower() or "deg"
        if self.unit not in UNITS:
            self.refuse(self.header["theounit"].number, "Abs-TheoUnit", self.unit, "deg or gon")
        self.degrees = UNITS[self.unit]

    def where(self, section: str) -> str:
        """The file and, if it has any, the lines of a section."""
        numbers = [line.number for line in self.sections[section]]
        if not numbers:
            return str(self.path)
        return f"{self.path} line {numbers[0]}" + (f" to {numbers[-1]}" if len(numbers) > 1 else "")

    def fact(self, name: str) -> str:
        return self.header[name].words[0] if name in self.header else ""

    def number(self, name: str, default: float = np.nan) -> float:
        """A number of the header."""
        if not self.fact(name):
            return default
        return self.value(self.header[name], 0, f"Abs-{name}")

    def value(self, line: Line, place: int, field: str) -> float:
        try:
            value = float(line.words[place].replace(",", "."))
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            self.refuse(line.number, field, line.words[place], "a number")
        return value

    def angle(self, line: Line, place: int, field: str) -> float:
        """An angle in degrees, in [0, 360)."""
        value = self.value(line, place, field)
        whole = 360.0 / self.degrees
        if not -whole <= value <= whole:
            hint = "; is it in gon? Abs-TheoUnit says deg" if 360 < value <= 400 else ""
            self.refuse(line.number, field, line.words[place], f"{self.unit} in a circle of {whole:g}{hint}")
        return value * self.degrees % 360.0

    def time(self, line: Line) -> int:
        found = _TIME.fullmatch(line.words[0])
        try:
            return as_ns(f"{found[1]}T{found[2]}Z" if found else "")
        except BadTimeError:
            self.refuse(line.number, "time", line.words[0], "UTC as in 2018-08-29_07:42:00")

    def refuse(self, number: int, field: str, met: str, wanted: str) -> NoReturn:
        raise SheetError(
            f"{self.path} line {number}: field {field} is {met!r}, wanted {wanted}",
            path=self.path,
            line=number,
            field=field,
        )
