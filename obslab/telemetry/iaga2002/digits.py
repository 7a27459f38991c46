"""Columns of characters to numbers and back, for all lines at once.

A ``window`` has shape (width, lines): the characters of one field, first column first. Each reader
says with its numbers which lines are written as expected; the others' numbers mean nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Window = NDArray[np.uint8]
Bools = NDArray[np.bool_]

_ZERO, _BLANK, _MINUS, _PLUS, _DOT, _COLON = b"0 -+.:"
_S = 1_000_000_000


def number(window: Window, dot: int | None) -> tuple[NDArray[np.float64], Bools]:
    """Numbers right-justified in the window, the point in column ``dot``, or none in any line."""
    whole = window if dot is None else window[:dot]
    decimals = window[:0] if dot is None else window[dot + 1 :]
    # Ten characters with a point among them are at most nine digits, which an int32 holds.
    total: NDArray[np.signedinteger] = np.zeros(window.shape[1], np.int64 if len(window) > 10 else np.int32)
    negative = np.zeros(window.shape[1], bool)
    begun = negative.copy()  # by a sign or a digit: no blank or sign may follow
    good = np.ones(window.shape[1], bool) if dot is None else window[dot] == _DOT
    for column in whole:
        digit = column - _ZERO
        is_digit = digit < 10
        if not is_digit.all():
            is_sign = (column == _MINUS) | (column == _PLUS)
            good &= is_digit | (~begun & (is_sign | (column <= _BLANK)))
            negative |= column == _MINUS
            begun |= is_sign
            digit *= is_digit
        begun |= is_digit
        total *= 10
        total += digit
    if dot is None:
        good &= (window[-1] - _ZERO) < 10
    for column in decimals:
        digit = column - _ZERO
        good &= digit < 10
        total *= 10
        total += digit
    if len(whole) + len(decimals) > 18:  # more digits than an integer holds exactly
        good[:] = False
    # One division of whole numbers is rounded once, as reading the text as a float is.
    values: NDArray[np.float64] = total / float(10 ** len(decimals))
    np.negative(values, out=values, where=negative)
    return values, good


def days(window: Window) -> tuple[NDArray[np.int64], Bools]:
    """Days since 1970 of YYYY-MM-DD at the end of the window."""
    if len(window) < 10:
        return np.zeros(window.shape[1], np.int64), np.zeros(window.shape[1], bool)
    good = (window[:-10] <= _BLANK).all(axis=0)
    window = window[-10:]
    good &= (window[4] == _MINUS) & (window[7] == _MINUS)
    date = _digits(window[[0, 1, 2, 3, 5, 6, 8, 9]], good)
    days = np.zeros(len(date), np.int64)
    begins = np.concatenate([[0], np.flatnonzero(np.diff(date)) + 1])
    for begin, end in zip(begins, [*begins[1:], len(date)], strict=True):  # one turn for each date
        year, month, day = date[begin] // 10_000, date[begin] // 100 % 100, date[begin] % 100
        try:
            if not 1678 <= year < 2262:
                raise ValueError(year)
            days[begin:end] = np.datetime64(f"{year}-{month:02}-{day:02}", "D").astype(np.int64)
        except ValueError:
            good[begin:end] = False
    return days, good


def seconds(window: Window, like: int) -> tuple[NDArray[np.int64], Bools]:
    """Nanoseconds since midnight of HH:MM, HH:MM:SS or HH:MM:SS.sss, written as in line ``like``.

    The standard allows 24:00:00.000, the end of the day.
    """
    dots = np.flatnonzero(window[:, like] == _DOT)
    tail = len(window) - int(dots[0]) if dots.size else 0
    colons = int(np.count_nonzero(window[:, like] == _COLON))
    width = 3 * colons + 2 + tail
    good = np.full(window.shape[1], colons in (1, 2) and len(window) >= width and tail <= 10)
    if not good.any():
        return np.zeros(window.shape[1], np.int64), good
    good &= (window[: len(window) - width] <= _BLANK).all(axis=0)
    window = window[len(window) - width :]
    ns = np.zeros(window.shape[1], np.int64)
    ends = []
    for part in range(colons + 1):
        if part:
            good &= window[3 * part - 1] == _COLON
        two = _digits(window[3 * part : 3 * part + 2], good)
        good &= two < (60 if part else 25)
        ends.append(two)
        ns += two * (3600 // 60**part * _S)
    if tail:
        good &= window[-tail] == _DOT
        ns += _digits(window[len(window) - tail + 1 :], good) * 10 ** (10 - tail)
    good &= ns <= 86_400 * _S
    return ns, good


def _digits(window: Window, good: Bools) -> NDArray[np.int64]:
    """The digits as one number; ``good`` turns false where one is not a digit."""
    total = np.zeros(window.shape[1], np.int64)
    for column in window:
        digit = column - _ZERO
        good &= digit < 10
        total = total * 10 + digit
    return total


def write_fixed(window: Window, values: NDArray[np.int64], decimals: int) -> None:
    """Write whole numbers, which count the last decimal, right-justified into a window of (lines, width).

    The window is blank before, and wide enough: see ``width_of``.
    """
    rest = np.abs(values)
    place = window.shape[1] - 1
    for _ in range(decimals):
        rest, window[:, place] = _last(rest)
        place -= 1
    if decimals:
        window[:, place] = _DOT
        place -= 1
    rest, window[:, place] = _last(rest)
    first = np.full(len(values), place)  # column of the first digit
    while place and rest.any():
        place -= 1
        more = rest > 0
        rest, digit = _last(rest)
        window[more, place] = digit[more]
        first -= more
    below = np.flatnonzero(values < 0)
    window[below, first[below] - 1] = _MINUS


def write_digits(window: Window, values: NDArray[np.int64]) -> None:
    """Write whole numbers with leading zeros into a window of shape (lines, width)."""
    rest = values
    for place in range(window.shape[1] - 1, -1, -1):
        rest, window[:, place] = _last(rest)


def _last(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """All digits but the last, and the last as a character."""
    rest = values // 10
    return rest, (values - rest * 10 + _ZERO).astype(np.uint8)
