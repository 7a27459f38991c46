"""Where IMPF messages are published, and the streams in which an archive keeps them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from obslab.errors import CodecError, TopicError
from obslab.telemetry.sample import Meta, Stream

TOPICS = "impf/+/+/+/+"
QOS_PUBLISH, QOS_SUBSCRIBE = 1, 2

_TOPIC = re.compile(r"impf/([a-z][a-z0-9]{2})/(pt1s|1hz|pt1m)/([1-4])/(xyzs|hdzs|difs)")
_CADENCES = {"pt1s": "sec", "1hz": "sec", "pt1m": "min"}
_ORIENTATIONS = ("XYZ", "HDZ", "DIF")


@dataclass(frozen=True)
class Address:
    """What a topic says: ``elements`` are ``XYZ``, ``HDZ`` or ``DIF``; an independent S goes with each."""

    station: str
    samplerate: str
    level: int
    elements: str

    @classmethod
    def parse(cls, topic: str) -> Address:
        """Raises TopicError."""
        found = _TOPIC.fullmatch(topic)
        if not found:
            raise TopicError(
                f"topic {topic!r} is not impf/iagacode/cadence/level/elements in lower case, with cadence "
                "pt1s, 1hz or pt1m, level 1 to 4, elements xyzs, hdzs or difs, as in impf/esk/pt1m/1/hdzs"
            )
        station, cadence, level, elements = found.groups()
        return cls(station.upper(), _CADENCES[cadence], int(level), elements[:3].upper())

    @property
    def topic(self) -> str:
        cadence = "pt1m" if self.samplerate == "min" else "pt1s"
        return f"impf/{self.station.lower()}/{cadence}/{self.level}/{self.elements.lower()}s"


def is_impf(topic: str) -> bool:
    """Whether a topic claims to be one of these, right or wrong."""
    return topic.startswith("impf/")


def topic_of(stream: Stream, meta: Meta, level: int = 1, beside: str = "XYZ") -> str:
    """Where samples of a stream are published.

    A scalar goes to the topic of the vector it stands ``beside``. Raises CodecError for a stream that
    IMPF has no place for.
    """
    if stream.samplerate not in ("sec", "min"):
        raise CodecError(f"{stream} cannot be published as IMPF, which has 1 s and 1 min data only")
    if level not in (1, 2, 3, 4):
        raise CodecError(f"publication level {level!r} is none of 1, 2, 3, 4; 1 is data as recorded")
    letters = letters_of(stream, meta)
    given = set(beside.upper() if letters == "S" else letters)
    elements = next((one for one in _ORIENTATIONS if set(one) == given), None)
    if elements is None:
        raise CodecError(
            f"{stream}: components {', '.join(sorted(given)).lower()} are none of x y z, h d z, d i f; "
            "IMPF has no other orientation, so transform them first"
        )
    return Address(stream.station, stream.samplerate, level, elements).topic


def stream_of(address: Address, letters: str) -> Stream:
    """Where the archive keeps a part of such messages: ``impf1-xyz`` or ``impf1-s``."""
    return Stream(address.station, f"impf{address.level}-{letters.lower()}", address.samplerate)


def letters_of(stream: Stream, meta: Meta) -> str:
    """The element of each component; a scalar instrument's f is INTERMAGNET's independent S."""
    letters = "".join(name.upper() for name in meta.components)
    if meta.kind == "scalar" and letters in ("F", "S"):
        return "S"
    if len(letters) != len(meta.components) or not set(letters) <= set("XYZHDIF") or meta.kind == "scalar":
        raise CodecError(
            f"{stream}: components {', '.join(meta.components)} are not among INTERMAGNET's elements "
            "x y z h d i f and the scalar s; transform them first"
        )
    return letters
