"""Global attributes of an ImagCDF file as attributes of a Dataset, and the reverse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from obslab.errors import RecordingError
from obslab.telemetry.plain import unaccented

FIELD = "GeomagneticField"
FORMAT = "INTERMAGNET CDF Format"
FILL = 99_999.0
UNKNOWN = "unknown"

# Ours and the file's name of texts; the last four are MagPy's and ours, not the standard's. An identifier is
# not among them: it names the file that was read, and not what is made of it.
_TEXTS = {
    "site": "ObservatoryName",
    "attribution": "Institution",
    "orientation": "VectorSensOrient",
    "terms_of_use": "TermsOfUse",
    "standard_level": "StandardLevel",
    "standard_name": "StandardName",
    "standard_version": "StandardVersion",
    "partial_standard": "PartialStandDesc",
    "source": "Source",
    "reference_links": "ReferenceLinks",
    "digital_sampling": "DigitalSampling",
    "sensor": "SensorType",
    "baseline": "Baseline",
    "comments": "Comments",
}
_PLACE = {"latitude_deg": "Latitude", "longitude_deg": "Longitude", "elevation_m": "Elevation"}
_INSTRUMENT, _K9 = "SensorName", "StationK9"
_STANDARD_LEVELS = ("None", "Partial", "Full")
_SOURCES = ("institute", "INTERMAGNET", "WDC")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def facts_of(entries: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Attributes of the Dataset, of those of the file that it has a name for."""
    facts: dict[str, Any] = {}
    for name, theirs in _TEXTS.items():
        text = "; ".join(str(entry).strip() for entry in entries.get(theirs, []) if str(entry).strip())
        if text and text != UNKNOWN:
            facts[name] = text.upper() if name == "orientation" else text
    for name, theirs in _PLACE.items():
        value = _number(entries, theirs)
        if value is not None and abs(value) < FILL:
            facts[name] = value
    level = _number(entries, "PublicationLevel")
    if level in (1, 2, 3, 4):
        facts["publication_level"] = int(level)
    instrument = str(entries.get(_INSTRUMENT, [""])[0]).lower()
    if _NAME.fullmatch(instrument):
        facts["instrument"] = instrument
    if limit := _number(entries, _K9):
        facts["k9_limit_nt"] = limit
    return facts


def _number(entries: Mapping[str, list[Any]], name: str) -> float | None:
    try:
        return float(entries[name][0])
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def entries_of(
    attrs: Mapping[str, Any], station: str, elements: str, published_tt2000: int
) -> dict[str, dict[int, Any]]:
    """Global attributes as cdflib takes them. Raises RecordingError for a value that is not allowed."""
    level = attrs.get("publication_level", 1)
    if level not in (1, 2, 3, 4):
        raise RecordingError(f"ImagCDF: publication_level {level!r} is none of 1, 2, 3, 4")
    standard = attrs.get("standard_level", "None")
    if standard not in _STANDARD_LEVELS:
        raise RecordingError(f"ImagCDF: standard_level {standard!r} is none of {', '.join(_STANDARD_LEVELS)}")
    texts = {
        "site": UNKNOWN,
        "attribution": UNKNOWN,
        "standard_level": standard,
    } | {name: _text(attrs, name) for name in _TEXTS if attrs.get(name) not in (None, "")}
    if texts.get("source") not in _SOURCES:
        texts["source"] = _SOURCES[0]
    if "orientation" in texts:
        texts["orientation"] = texts["orientation"].upper()
    if attrs.get("instrument") not in (None, "", "vector", "scalar"):
        texts["instrument"] = str(attrs["instrument"])
    if attrs.get("k9_limit_nt"):
        texts["k9_limit_nt"] = f"{float(attrs['k9_limit_nt']):g}"
    names = {**_TEXTS, "instrument": _INSTRUMENT, "k9_limit_nt": _K9}
    return {
        "FormatDescription": {0: FORMAT},
        "FormatVersion": {0: "1.3"},
        "Title": {0: "Geomagnetic time series data"},
        "IagaCode": {0: station},
        "ElementsRecorded": {0: elements},
        "PublicationLevel": {0: str(level)},
        "PublicationDate": {0: [published_tt2000, "CDF_TIME_TT2000"]},
        **{theirs: {0: [_place(attrs, name), "CDF_DOUBLE"]} for name, theirs in _PLACE.items()},
        **{names[name]: {0: text} for name, text in texts.items()},
    }


def _text(attrs: Mapping[str, Any], name: str) -> str:
    # cdflib would leave out letters that are not ASCII.
    return "\n".join(unaccented(line, name, "ImagCDF") for line in str(attrs[name]).split("\n"))


def _place(attrs: Mapping[str, Any], name: str) -> float:
    value = attrs.get(name)
    if value is None:
        return FILL
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise RecordingError(f"ImagCDF: {name} {value!r} is not a number", field=name)
    return float(value)
