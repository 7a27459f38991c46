"""Header cards as text: 80 characters each, as the FITS standard (4.0, section 4) wants them.

Formatting a thousand headers at once is a matter of one template, which is what makes it fast.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from obslab.errors import ObslabError

WIDTH = 80
_BLOCK = 2880
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")
_PLAIN = re.compile(r"[ -~]*")
_SMALL, _LARGE = 1e-90, 1e90  # beyond, there is no room for the digits of the exponent
_STRUCTURE = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "END", "CONTINUE", "HIERARCH"}
_REPEATABLE = {"COMMENT", "HISTORY"}


class CardError(ObslabError, ValueError):
    """A keyword or value that a header cannot hold."""


@dataclass(frozen=True)
class Card:
    """A keyword, its value and a comment. The value is one for all headers, or an array with one for each.

    Values are text, truth values, whole numbers or floats. Where one is None or NaN, the header goes
    without the card. COMMENT and HISTORY have text only. ``form`` is how floats of an array are printed,
    in twenty characters; without one, they are given all their digits, which takes longer.
    """

    keyword: str
    value: Any
    comment: str = ""
    form: str = ""


def texts(cards: Sequence[Card], names: Sequence[str]) -> list[str]:
    """The cards as text, one header for each image, without END and padding. Raises CardError."""
    _check(cards)
    template: list[str] = []
    columns: list[list[Any]] = []
    for card in cards:
        if not isinstance(card.value, list | tuple | np.ndarray):
            template.append(_text(card, card.value).replace("%", "%%"))
            continue
        if len(card.value) != len(names):
            raise CardError(f"{card.keyword} has {len(card.value)} values for {len(names)} images")
        if card.form:
            template.append(_line(card, "\0").replace("%", "%%").replace("\0".rjust(20), card.form))
            columns.append(_printable(card, names))
        else:
            template.append("%s")
            columns.append([_text(card, value) for value in card.value])
    whole = "".join(template)
    return [whole % row for row in zip(*columns, strict=True)] if columns else [whole % ()] * len(names)


def file_bytes(text: str) -> bytes:
    """A FITS file of nothing but this header, in blocks of 2,880 bytes."""
    whole = _BEGIN + text + "END".ljust(WIDTH)
    return (whole + " " * (-len(whole) % _BLOCK)).encode("ascii")


def _printable(card: Card, names: Sequence[str]) -> list[float]:
    values = np.asarray(card.value, np.float64)
    bad = np.flatnonzero(~(np.abs(values) < _LARGE))
    if bad.size:
        raise CardError(f"{card.keyword} of image {names[bad[0]]} is {values[bad[0]]}, not a finite number")
    return [*np.where(np.abs(values) < _SMALL, 0.0, values).tolist()]


def _check(cards: Sequence[Card]) -> None:
    seen: set[str] = set()
    for card in cards:
        if not _KEYWORD.fullmatch(card.keyword) or card.keyword in _STRUCTURE:
            raise CardError(f"{card.keyword!r} is no keyword of a header: wanted 1 to 8 of A-Z, 0-9, _ and -")
        if card.keyword in seen - _REPEATABLE:
            raise CardError(f"{card.keyword} is given twice; the WCS keywords are made from the fit")
        if not _PLAIN.fullmatch(card.comment):
            raise CardError(f"the comment of {card.keyword} is {card.comment!r}, wanted printable ASCII")
        seen.add(card.keyword)


def _text(card: Card, value: Any) -> str:
    """One card; nothing for a value that is missing."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return ""
    if card.keyword in _REPEATABLE:
        return _remark(card.keyword, value)
    return _line(card, _shown(card.keyword, value))


def _line(card: Card, shown: str) -> str:
    field = f"{shown:<20}" if shown.startswith("'") else f"{shown:>20}"
    line = f"{card.keyword:<8}= {field}" + (f" / {card.comment}" if card.comment else "")
    return line[:WIDTH].ljust(WIDTH)


def _shown(keyword: str, value: Any) -> str:
    if isinstance(value, str):
        quoted = "'" + value.replace("'", "''").ljust(8) + "'"
        if not _PLAIN.fullmatch(value) or len(quoted) > WIDTH - 10:
            raise CardError(f"{keyword} is {value!r}, wanted at most 68 characters of printable ASCII")
        return quoted
    if isinstance(value, bool | np.bool_):
        return "T" if value else "F"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating) and np.isfinite(value):
        return _float(value)
    raise CardError(f"{keyword} is {value!r}, wanted text, a truth value or a finite number")


def _float(value: float | np.floating[Any]) -> str:
    """All digits of its type, with the decimal point and the capital E that the standard wants."""
    mantissa, _, exponent = str(value).partition("e")
    return (mantissa if "." in mantissa else f"{mantissa}.0") + (f"E{exponent}" if exponent else "")


def _remark(keyword: str, text: Any) -> str:
    """As many COMMENT or HISTORY cards as the text needs."""
    if not isinstance(text, str) or not _PLAIN.fullmatch(text):
        raise CardError(f"{keyword} is {text!r}, wanted printable ASCII")
    return "".join(f"{keyword:<8}{line}".ljust(WIDTH) for line in textwrap.wrap(text, WIDTH - 8) or [""])


_BEGIN = "".join(
    _text(Card(keyword, value), value) for keyword, value in (("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0))
)
