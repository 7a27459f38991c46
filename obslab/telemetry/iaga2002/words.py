"""What the header of an IAGA-2002 file says, as attributes of a Dataset, and the reverse."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from obslab.errors import RecordingError
from obslab.telemetry.plain import plain, unaccented

LEVELS = {1: "variation", 2: "provisional", 3: "quasi-definitive", 4: "definitive"}
INDEPENDENT = "F is measured by an independent scalar instrument."
"""Said of INTERMAGNET's S, for which the format has no letter."""

_LEVEL_OF = {"V": 1, "R": 1, "P": 2, "A": 2, "Q": 3, "D": 4}  # R, A: reported, adjusted, INTERMAGNET's words
_UNKNOWN = 99_999.0  # said of a place, as of samples
_TEXTS = {
    "STATION NAME": "site",
    "SOURCE OF DATA": "attribution",
    "SENSOR ORIENTATION": "orientation",
    "DIGITAL SAMPLING": "digital_sampling",
    "DATA INTERVAL TYPE": "data_interval",
    "PUBLICATION DATE": "publication_date",
}
_NUMBERS = {
    "GEODETIC LATITUDE": "latitude_deg",
    "GEODETIC LONGITUDE": "longitude_deg",
    "ELEVATION": "elevation_m",
}
# Keywords of comments, as others write them too; a long value goes on in the next line, keyword and all.
_COMMENTS = {
    "V-INSTRUMENT": "instrument",
    "F-INSTRUMENT": "instrument",
    "SENSOR": "sensor",
    "BASELINE": "baseline",
    "FULL STATION NAME": "site",
    "FULL SOURCE OF DATA": "attribution",
}
_KEYWORD, _VALUE, _COMMENT = 23, 44, 65  # characters that fit: keyword, its value, and a line of comment
_K9 = re.compile(r"K9[- ]?limit\W*(\d+(?:\.\d+)?)", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def facts_of(header: Mapping[str, str], comments: tuple[str, ...], *, vector: bool) -> dict[str, Any]:
    """Attributes of the Dataset; what is not understood stays among ``comments``, in words."""
    facts: dict[str, Any] = {"instrument": "vector" if vector else "scalar"}
    rest = []
    for keyword, name in _TEXTS.items():
        if header.get(keyword):
            facts[name] = header[keyword]
    for keyword, name in _NUMBERS.items():
        try:
            value = float(header.get(keyword) or _UNKNOWN)
        except ValueError:
            rest.append(f"{keyword.title()}: {header[keyword]}")
        else:
            if abs(value) < _UNKNOWN:
                facts[name] = value
    kind = header.get("DATA TYPE", "")
    if level := _LEVEL_OF.get(kind[:1].upper()):
        facts["publication_level"] = level
    elif kind:
        rest.append(f"Data Type: {kind}")
    facts |= _facts_of_comments(comments, rest, vector)
    if rest:
        facts["comments"] = "\n".join(rest)
    return facts


def _facts_of_comments(comments: tuple[str, ...], rest: list[str], vector: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for comment in comments:
        keyword, value = comment[: _KEYWORD - 2].strip().upper(), comment[_KEYWORD - 2 :].strip()
        name = _COMMENTS.get(keyword)
        if limit := _K9.match(comment):
            found["k9_limit_nt"] = float(limit[1])
        elif name == "instrument" and _NAME.fullmatch(value.lower()):
            if vector == (keyword == "V-INSTRUMENT"):
                found[name] = value.lower()
            else:
                rest.append(comment)
        elif name and name != "instrument" and value:
            found[name] = f"{found[name]} {value}" if name in found else value
        elif comment and comment != INDEPENDENT:
            rest.append(comment)
    return found


def header_lines(
    station: str, reported: str, vector: bool, attrs: Mapping[str, Any], comments: list[str]
) -> Iterator[str]:
    """All lines before the columns' names, each 70 characters long. Raises RecordingError."""
    level = attrs.get("publication_level", 1)
    if level not in LEVELS:
        raise RecordingError(f"IAGA-2002: publication_level {level!r} is none of 1, 2, 3, 4")
    texts = {keyword: _ascii(attrs.get(name, ""), name) for keyword, name in _TEXTS.items()}
    yield _line("Format", "IAGA-2002")
    yield _line("Source of Data", texts["SOURCE OF DATA"][:_VALUE])
    yield _line("Station Name", texts["STATION NAME"][:_VALUE])
    yield _line("IAGA Code", station)
    yield _line("Geodetic Latitude", _place(attrs, "latitude_deg", 3, (-90, 90)))
    yield _line("Geodetic Longitude", _place(attrs, "longitude_deg", 3, (-180, 360)))
    yield _line("Elevation", _place(attrs, "elevation_m", 2, (-12_000, 9_000)))
    yield _line("Reported", reported)
    yield _line("Sensor Orientation", texts["SENSOR ORIENTATION"].upper()[:_VALUE])
    yield _line("Digital Sampling", texts["DIGITAL SAMPLING"][:_VALUE])
    yield _line("Data Interval Type", texts["DATA INTERVAL TYPE"][:_VALUE])
    yield _line("Data Type", LEVELS[level])
    if texts["PUBLICATION DATE"]:
        yield _line("Publication Date", texts["PUBLICATION DATE"][:_VALUE])
    for keyword, text in (("Source of Data", "SOURCE OF DATA"), ("Station Name", "STATION NAME")):
        if len(texts[text]) > _VALUE:
            yield from _keyword_lines(f"Full {keyword}", texts[text])
    if attrs.get("k9_limit_nt"):
        yield from _keyword_lines("K9-limit", f"{float(attrs['k9_limit_nt']):g}")
    if attrs.get("instrument") not in (None, "", "vector", "scalar"):
        yield from _keyword_lines("V-Instrument" if vector else "F-Instrument", attrs["instrument"])
    for keyword in ("Sensor", "Baseline"):
        yield from _keyword_lines(keyword, attrs.get(keyword.lower()) or "")
    for comment in [*comments, *str(attrs.get("comments") or "").split("\n")]:
        line = unaccented(comment.rstrip(), "comments", "IAGA-2002")
        for part in [line] if len(line) <= _COMMENT else textwrap.wrap(line, _COMMENT):
            if part:
                yield _record(f" # {part}")


def _keyword_lines(keyword: str, value: object) -> Iterator[str]:
    for line in textwrap.wrap(_ascii(value, keyword), _VALUE):
        yield _record(f" # {keyword:<{_KEYWORD - 2}}{line}")


def _line(keyword: str, value: str) -> str:
    return _record(f" {keyword:<{_KEYWORD}}{value}")


def _record(text: str) -> str:
    return f"{text:<69}|"


def _place(attrs: Mapping[str, Any], name: str, decimals: int, limits: tuple[float, float]) -> str:
    value = attrs.get(name)
    if value is None:
        return ""
    low, high = limits
    if not isinstance(value, int | float) or not low <= value <= high:
        raise RecordingError(f"IAGA-2002: {name} {value!r} is not a number from {low} to {high}", field=name)
    return (
        f"{value:.{decimals}f}" if name.endswith("deg") else f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    )


def _ascii(value: object, name: str) -> str:
    return plain(value, name, "IAGA-2002")
