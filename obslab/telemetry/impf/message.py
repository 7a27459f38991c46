"""A message of INTERMAGNET's MQTT format, made of samples and read back into them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import BadTimeError, CodecError
from obslab.telemetry.bodies import of_values
from obslab.telemetry.impf.address import Address, letters_of, stream_of
from obslab.telemetry.impf.facts import check_facts
from obslab.telemetry.impf.items import (
    FIELD,
    LIMITS,
    MOST,
    Angles,
    kind_of,
    looks_like_degrees,
    read_items,
    write_items,
)
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime
from obslab.times import as_ns, iso

_NS = 1_000_000_000
_START = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(:\d\d)?(?:\.(\d+))?Z?", re.ASCII)
_JITTER_NS = 10_000_000  # INTERMAGNET's one-second standard: time stamps good to 0.01 s
_SCALES = {"vector": 0.001, "scalar": 0.01}
_FACTS = ("orientation", "site", "latitude_deg", "longitude_deg", "elevation_m", "attribution")


@dataclass(frozen=True)
class Record:
    """Samples of one stream out of a message: ``values`` has shape (n, components), NaN is missing.

    Times at which all components are missing are left out. The stream is ``ESK impf1-hdz min`` for the
    vector, ``ESK impf1-s min`` for the scalar: one for each level, so that levels never mix.
    """

    stream: Stream
    meta: Meta
    level: int
    time_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def bodies(self) -> bytes:
        """The samples as an archive keeps them, ``codec.BODY_SIZE[meta.kind]`` bytes each."""
        return of_values(self.meta, self.values)

    def news(self, known: Sequence[Meta]) -> Meta | None:
        """The metadata to store beside the ``known``; None when they say all of it.

        A message without the optional facts takes none away.
        """
        if not known:
            return self.meta
        told = {name: getattr(self.meta, name) for name in _FACTS if getattr(self.meta, name)}
        updated = msgspec.structs.replace(known[-1], **told)
        return None if updated == known[-1] else updated


@dataclass(frozen=True)
class Decoded:
    """A message: its records, its facts, and in ``notes`` what was odd about it but not refused."""

    address: Address
    records: tuple[Record, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def encode(
    stream: Stream,
    meta: Meta,
    time_ns: NDArray[np.int64],
    values: NDArray[np.float64],
    facts: Mapping[str, Any] | None = None,
) -> bytes:
    """The payload for samples in order of time, shape (n, components), in ``meta.units``.

    Times that lack between the first and the last become nulls. ``facts`` are INTERMAGNET's optional
    keys, worth sending once a day; ``facts_of`` takes them from metadata.
    """
    letters = letters_of(stream, meta)
    times, table = np.asarray(time_ns, dtype=np.int64), np.asarray(values, dtype=np.float64)
    if not times.size or table.shape != (times.size, len(letters)):
        raise CodecError(f"{stream}: {times.size} times for values of shape {table.shape}")
    step = round(stream.cadence_s * _NS)
    first = int(np.rint(times[0] / step)) * step
    place = np.rint((times - first) / step).astype(np.int64)
    off = np.abs(times - first - place * step)
    if off.max() > _JITTER_NS or (np.diff(place) <= 0).any() or place[-1] >= MOST:
        raise CodecError(
            f"{stream}: times from {iso(int(times[0]))} are not whole {stream.samplerate}s, each later than "
            f"the one before, within {MOST} of each other; IMPF has no other times"
        )
    payload: dict[str, Any] = {"startDate": iso(first)[: 16 if stream.samplerate == "min" else 19]}
    if facts:
        kept, notes = check_facts(facts)
        if notes:
            raise CodecError(f"{stream}: {notes[0]}")
        payload |= kept
    for column, (letter, unit) in enumerate(zip(letters, meta.component_units, strict=True)):
        numbers = write_items(str(stream), letter, unit, table[:, column])
        items: list[float | None] = [None] * (int(place[-1]) + 1)
        for at, number in zip(place.tolist(), numbers.tolist(), strict=True):
            items[at] = None if number != number else number
        payload[FIELD + letter] = items
    return msgspec.json.encode(payload)


def decode(topic: str, payload: bytes, angles: Angles = "arcmin") -> Decoded:
    """What a message holds, all of it checked. Raises TopicError and CodecError.

    ``angles`` is the unit in which this publisher sends D and I; see the module's text.
    """
    address = Address.parse(topic)
    try:
        content = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"{topic}: the payload is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CodecError(f"{topic}: the payload is a JSON {kind_of(content)}, an object is wanted")
    start_ns, notes = _start(topic, address, content.pop("startDate", None))
    named = {key.removeprefix(FIELD): content.pop(key) for key in list(content) if key.startswith(FIELD)}
    columns: dict[str, NDArray[np.float64]] = {}
    for letter, items in named.items():
        if letter not in (*address.elements, "S"):
            known = letter in LIMITS
            notes.append(
                f"{FIELD}{letter} {'does not belong to' if known else 'is unknown at'} {topic}: left out"
            )
        else:
            columns[letter] = read_items(topic, letter, items, angles)
    sizes = {letter: column.size for letter, column in columns.items()}
    if not columns:
        raise CodecError(f"{topic}: no array of {', '.join([*address.elements, 'S'])} is in the payload")
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{FIELD}{letter} {size}" for letter, size in sizes.items())
        raise CodecError(f"{topic}: arrays have different lengths: {told}", sizes=sizes)
    facts, odd = check_facts(content)
    notes += odd
    size = next(iter(sizes.values()))
    time_ns = start_ns + np.arange(size, dtype=np.int64) * (60 if address.samplerate == "min" else 1) * _NS
    absent = [letter for letter in address.elements if letter not in columns]
    if absent and len(absent) < 3:
        notes.append(f"{', '.join(absent)} not in this message: taken as missing")
    if "I" in columns and angles == "arcmin" and looks_like_degrees(columns["I"]):
        notes.append(
            "all of I is within 90 arcmin: right at the magnetic equator only, elsewhere it is in degrees; "
            'set angles to "deg" for this publisher'
        )
    records = [_record(address, group, time_ns, columns, facts) for group in (address.elements, "S")]
    return Decoded(address, tuple(one for one in records if one is not None), facts, tuple(notes))


def _record(
    address: Address,
    group: str,
    time_ns: NDArray[np.int64],
    columns: Mapping[str, NDArray[np.float64]],
    facts: Mapping[str, Any],
) -> Record | None:
    """The samples of the letters in ``group``, without the times at which there is nothing."""
    none = np.full(time_ns.size, np.nan)
    values = np.stack([columns.get(letter, none) for letter in group], axis=1)
    there = ~np.isnan(values).all(axis=1)
    if not there.any():
        return None
    kind: Literal["vector", "scalar"] = "vector" if len(group) == 3 else "scalar"
    units = tuple(LIMITS[letter][2] for letter in group)
    meta = Meta(
        format=FORMAT,
        valid_from=as_datetime(0),
        kind=kind,
        components=tuple(group.lower()),
        scale=_SCALES[kind],
        units=units if len(set(units)) > 1 else units[0],
        orientation=facts.get("sensorOrientation", "") if kind == "vector" else "",
        site=facts.get("name", ""),
        latitude_deg=facts.get("latitude"),
        longitude_deg=facts.get("longitude"),
        elevation_m=facts.get("elevation"),
        attribution=facts.get("termsOfUse") or facts.get("institute", ""),
    )
    return Record(stream_of(address, group), meta, address.level, time_ns[there], values[there])


def _start(topic: str, address: Address, text: Any) -> tuple[int, list[str]]:
    """The first sample's time in ns, and what is odd about how it is written."""
    wanted = "2023-01-01T00:00" if address.samplerate == "min" else "2023-01-01T00:00:00"
    found = _START.fullmatch(text) if isinstance(text, str) else None
    if not found:
        shown = repr(text[:40]) if isinstance(text, str) else kind_of(text)
        raise CodecError(f"{topic}: startDate {shown} is not a time in UTC such as {wanted}")
    minute, second, fraction = found.groups()
    try:
        start_ns = as_ns(f"{minute}{second or ':00'}Z")
    except BadTimeError as error:
        raise CodecError(f"{topic}: startDate: {error.message}") from error
    if (fraction or "").strip("0") or (address.samplerate == "min" and start_ns % (60 * _NS)):
        raise CodecError(f"{topic}: startDate {text!r} is between the times of its cadence, as in {wanted}")
    if address.samplerate == "sec" and not second:
        return start_ns, [f"startDate {text!r} has no seconds: taken as :00"]
    return start_ns, []
