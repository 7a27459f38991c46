"""The optional facts of an IMPF message: what INTERMAGNET's schema lets each be."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from obslab.telemetry.sample import Meta

_NUMBERS = {
    "decbas": (-10_800, 21_600),
    "latitude": (-90, 90),
    "longitude": (-180, 360),
    "elevation": (-10_000, 10_000),
}
_CHOICES = {
    "ginCode": ("edi", "gol", "kyo", "ott", "par"),
    "standardLevel": ("None", "Partial", "Full"),
    "standardName": ("INTERMAGNET_1-Second", "INTERMAGNET_1-Minute", "INTERMAGNET_1-Minute_QD"),
    "source": ("Institute", "Intermagnet", "WDC"),
}
_TEXTS = (
    *("institute", "name", "sensorOrientation", "digitalSampling", "dataIntervalType", "publicationDate"),
    *("standardVersion", "partialStandDesc", "termsOfUse", "uniqueIdentifier"),
)
_LISTS = ("parentIdentifiers", "referenceLinks", "comments")
KNOWN = (*_NUMBERS, *_CHOICES, *_TEXTS, *_LISTS)


def check_facts(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The facts that are as they should be, and a note for each other key."""
    kept: dict[str, Any] = {}
    notes = []
    for key, value in given.items():
        wanted = _wanted(key, value)
        if wanted is None:
            kept[key] = value
        else:
            notes.append(f"{key} {wanted}: left out")
    return kept, notes


def facts_of(meta: Meta) -> dict[str, Any]:
    """What a stream's metadata say that these keys have a place for."""
    facts = {
        "name": meta.site,
        "latitude": meta.latitude_deg,
        "longitude": meta.longitude_deg,
        "elevation": meta.elevation_m,
        "sensorOrientation": meta.orientation,
        "institute": meta.attribution,
    }
    return {key: value for key, value in facts.items() if value not in ("", None)}


def _wanted(key: str, value: Any) -> str | None:
    """What is wrong with a fact; None when nothing is."""
    shown = repr(value) if isinstance(value, int | float | str) and len(repr(value)) <= 40 else "its value"
    if key in _NUMBERS:
        low, high = _NUMBERS[key]
        number = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        whole = key != "decbas" or (number and value == int(value))
        kind = "a whole number" if key == "decbas" else "a number"
        return None if number and whole else f"{shown} is not {kind} from {low} to {high}"
    if key in _CHOICES:
        return None if value in _CHOICES[key] else f"{shown} is none of {', '.join(_CHOICES[key])}"
    if key in _TEXTS:
        return None if isinstance(value, str) else f"{shown} is not a text"
    if key in _LISTS:
        texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return None if texts else f"{shown} is not a list of texts"
    close = get_close_matches(key, KNOWN, n=1)
    return f"is not a key of INTERMAGNET's schema{f'; did they mean {close[0]}' if close else ''}"
