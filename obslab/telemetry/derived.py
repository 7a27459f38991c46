"""Streams that are computed from others: adjusted, quasi-definitive and definitive data, and minutes.

They lie in the archive beside what they were made of, under the instrument's name and a suffix that nobody
else uses. No station has them, so nobody is asked for what lacks; and when they were made says nothing of
how fast a sample travelled.
"""

from __future__ import annotations

from obslab.errors import ConfigError
from obslab.telemetry.sample import Stream

RECORDED = 1
SUFFIXES = {2: "-adj", 3: "-qd", 4: "-def"}
"""By publication level: adjusted, quasi-definitive, definitive."""

MINUTES = "-min"
"""Minutes made of raw samples: not the instrument's own stream ``min``, which a station may send."""

_ALL = (*SUFFIXES.values(), MINUTES)


def is_derived(stream: Stream) -> bool:
    """Whether a stream was computed here, or in another archive of ours, and not recorded."""
    return is_derived_name(stream.instrument)


def is_derived_name(instrument: str) -> bool:
    """The same of an instrument's name."""
    return instrument.endswith(_ALL)


def derived(stream: Stream, level: int) -> Stream:
    """Where data of a publication level made of a stream lie, as in ``WIC lemi036-adj sec``."""
    if level not in SUFFIXES:
        raise ConfigError(
            f"publication level {level!r} is none of 2 (adjusted), 3 (quasi-definitive), 4 (definitive)"
        )
    if is_derived(stream):
        raise ConfigError(
            f"{stream} is computed from {recorded(stream)} already; name the instrument that recorded"
        )
    return Stream(stream.station, stream.instrument + SUFFIXES[level], stream.samplerate)


def minutes_of(stream: Stream) -> Stream:
    """Where the minutes made of a stream lie: ``lemi036-adj min``, and ``lemi036-min min`` of raw data."""
    name = stream.instrument if is_derived(stream) else stream.instrument + MINUTES
    return Stream(stream.station, name, "min")


def recorded(stream: Stream) -> Stream:
    """The stream of the instrument behind a derived one, at its cadence; a recorded one itself."""
    for suffix in _ALL:
        if stream.instrument.endswith(suffix):
            return Stream(stream.station, stream.instrument.removesuffix(suffix), stream.samplerate)
    return stream
