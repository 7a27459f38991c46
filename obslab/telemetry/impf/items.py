"""The numbers in an IMPF message: each item of an array looked at, angles in a unit that is named."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from obslab.errors import CodecError

FIELD = "geomagneticField"
MOST = 172_800  # two days of seconds: a longer array is a mistake, or meant to fill our memory

Angles = Literal["arcmin", "deg"]
Floats = NDArray[np.float64]

# What an item may be. The Earth's field has at most 70,000 nT; 88888 and 99999, IAGA-2002's words for
# missing, must not pass. D goes round either way: west of north, or 0 to 360 degrees eastward.
LIMITS: dict[str, tuple[float, float, str]] = {
    **dict.fromkeys("XYZH", (-80_000.0, 80_000.0, "nT")),
    **dict.fromkeys("FS", (0.0, 80_000.0, "nT")),
    "D": (-10_800.0, 21_600.0, "arcmin"),
    "I": (-5_400.0, 5_400.0, "arcmin"),
}

_NUMBER_OR_NULL = {float, int, type(None)}  # type(True) is bool, which is not among them
_WORDS_FOR_MISSING = (88_888, 99_999, 999_999)


def arcmin_of_deg(angle_deg: Any) -> Any:
    """Minutes of arc of degrees; numbers or arrays."""
    return angle_deg * 60.0


def deg_of_arcmin(angle_arcmin: Any) -> Any:
    """Degrees of minutes of arc; numbers or arrays."""
    return angle_arcmin / 60.0


def read_items(topic: str, letter: str, items: Any, angles: Angles) -> Floats:
    """One array of a message in IMPF's unit, NaN for null. Raises CodecError for the first bad item."""
    name = FIELD + letter
    if not isinstance(items, list) or not 0 < len(items) <= MOST:
        what = f"{len(items)} items" if isinstance(items, list) else f"a JSON {kind_of(items)}"
        raise CodecError(f"{topic}: {name} has {what}, an array of 1 to {MOST} is wanted")
    low, high, unit = LIMITS[letter]
    degrees = unit == "arcmin" and angles == "deg"
    if degrees:
        low, high, unit = deg_of_arcmin(low), deg_of_arcmin(high), "deg"
    # Compared as Python's numbers: an integer of 400 digits does not fit into an array of floats.
    for at, item in enumerate(items):
        if type(item) not in _NUMBER_OR_NULL:
            why = f"is a JSON {kind_of(item)}; a number within {low:g} to {high:g} {unit}, or null, is wanted"
        elif item is not None and not low <= item <= high:
            hint = "; missing is null" if item in _WORDS_FOR_MISSING else ""
            why = f"is {_shown(item)}, not within {low:g} to {high:g} {unit}{hint}"
        else:
            continue
        raise CodecError(f"{topic}: {name}[{at}] {why}", item=at, value=item, limits=(low, high))
    numbers = np.array(items, dtype=np.float64)
    return np.asarray(arcmin_of_deg(numbers) if degrees else numbers)


def write_items(what: str, letter: str, unit: str, numbers: Floats) -> Floats:
    """Numbers in ``unit`` in IMPF's unit, checked; ``what`` names the stream. Raises CodecError."""
    low, high, wanted = LIMITS[letter]
    if unit != wanted:
        if (unit, wanted) != ("deg", "arcmin"):
            hint = "convert it first" if wanted == "nT" else "an angle cannot be told without a baseline"
            raise CodecError(f"{what}: {letter.lower()} is in {unit}, IMPF has it in {wanted}; {hint}")
        numbers = np.asarray(arcmin_of_deg(numbers))
    wrong = np.flatnonzero(~(np.isnan(numbers) | ((numbers >= low) & (numbers <= high))))
    if wrong.size:
        at = int(wrong[0])
        raise CodecError(
            f"{what}: {letter.lower()} of sample {at} is {numbers[at]:g}, "
            f"not within {low:g} to {high:g} {wanted}",
            item=at,
            value=float(numbers[at]),
            limits=(low, high),
        )
    # To 1/10 count: what a float carries behind that is noise, and bytes on the line.
    return np.round(numbers, 4)


def looks_like_degrees(inclination: Floats) -> bool:
    """Whether all of I, read as minutes of arc, would be within 90: at the magnetic equator, or degrees."""
    known = inclination[~np.isnan(inclination)]
    return bool(known.size and np.abs(known).max() <= 90.0)


def kind_of(value: Any) -> str:
    """What JSON calls a value."""
    names = {dict: "object", list: "array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "number")


def _shown(number: float) -> str:
    return f"{number:g}" if abs(number) < 1e300 else "beyond all bounds"
