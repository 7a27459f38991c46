"""What stations and archives tell each other beside samples, at ``<iaga>/<unit>/$word``.

A *unit* is one board with one journal and one connection; it is named after its first instrument, unless
told otherwise. All are JSON, except ``$block``, which is MessagePack around packed messages.

========== ======== ========= ==============================================================
word       from     retained  says
========== ======== ========= ==============================================================
$status    unit     yes, will how unit, journal and instruments are; ``online`` false when gone
$ledger    unit     no        pages of the journal that no archive has confirmed yet
$confirm   archive  yes       up to where the archive that confirms has stored the journal
$want      archive  no        an interval of a stream that an archive lacks
$block     unit     no        a piece of the answer: samples, packed; at most 4 kB
$cmd       operator no        pause, resume or restart
========== ======== ========= ==============================================================

Samples carry no sequence number: the time is one. A page therefore names an interval of time, how many
samples the journal has in it and a checksum over them; an archive that finds the same has them all.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import MetadataError, TopicError
from obslab.telemetry.sample import Stream

STATUS, LEDGER, CONFIRM, WANT, BLOCK, COMMAND = "$status", "$ledger", "$confirm", "$want", "$block", "$cmd"
BLOCK_BYTES = 4096  # 0.6 s of a 56 kbit/s link, which is how long a live sample may wait behind one

T = TypeVar("T")

_UNIT = re.compile(r"([a-z][a-z0-9]{2})/([a-z0-9][a-z0-9_-]{0,31})")


# Numbers that a database and NumPy can hold; JSON has larger ones.
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Unit(msgspec.Struct, frozen=True, order=True):
    """One board at a station: ``pea/lemi0001`` in topics."""

    station: str
    name: str

    def __post_init__(self) -> None:
        if not _UNIT.fullmatch(self.topic("")[:-1]):
            raise TopicError(
                f"unit {self.name!r} of station {self.station!r} is not a name of small letters, digits, '-' "
                "and '_', as in lemi0001"
            )

    def topic(self, word: str) -> str:
        return f"{self.station.lower()}/{self.name}/{word}"

    @classmethod
    def parse(cls, topic: str) -> tuple[Unit, str]:
        """Unit and word of a topic such as ``pea/lemi0001/$status``. Raises TopicError."""
        prefix, _, word = topic.rpartition("/")
        found = _UNIT.fullmatch(prefix)
        if not found or not word.startswith("$"):
            raise TopicError(f"topic {topic!r} is not iagacode/unit/$word, as in pea/lemi0001/$status")
        return cls(found[1].upper(), found[2]), word

    def __str__(self) -> str:
        return f"{self.station} {self.name}"


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a unit is, retained; its last will is the same with ``online`` false and nothing else.

    ``trouble`` is one line for people, empty when all is well. Times are Unix seconds of the unit's own
    clock; ``clock_offset_s`` is how far that is ahead of the archive's.
    """

    journal: str
    online: bool = True
    at_s: float = 0.0
    started_s: float = 0.0
    streams: tuple[str, ...] = ()
    driver: str = ""
    trouble: str = ""
    paused: bool = False
    journal_entries: int = 0
    journal_bytes: int = 0
    journal_oldest_s: float | None = None
    expired: int = 0
    disk_free_bytes: int | None = None
    clock_offset_s: float | None = None
    round_trip_s: float | None = None
    link_losses: int = 0
    version: str = ""


class Page(msgspec.Struct, frozen=True, array_like=True):
    """Some entries of one stream that follow each other in time; ``seq_to`` is the last one's number."""

    seq_to: Whole
    begin_ns: Whole
    end_ns: Whole
    n: Whole
    checksum: Whole


class Ledger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The oldest pages not yet confirmed, by topic of the stream, in order."""

    journal: str
    sent_ns: Whole
    pages: dict[str, list[Page]] = {}


class Confirm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All entries of a stream up to its mark are stored, or recorded as rejected.

    The times, by the archive's clock except ``ledger_sent_ns``, let the unit compare the clocks.
    """

    archive: str
    id: str
    journal: str
    marks: dict[str, Whole] = {}
    ledger_sent_ns: Whole = 0
    ledger_came_ns: Whole = 0
    sent_ns: Whole = 0


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of ``[begin_ns, end_ns)`` of the stream at ``topic`` are asked for.

    ``journal`` says of whom: two stations of one name must not answer for each other.
    """

    id: str
    archive: str
    journal: str
    topic: str
    begin_ns: Whole
    end_ns: Whole


class Block(msgspec.Struct, frozen=True, array_like=True):
    """All that the unit has of ``[begin_ns, end_ns)``: messages packed by ``pack.pack_payloads``, or nothing.

    ``last`` ends the answer to ``want``: what it did not bring does not exist at the station any more.
    """

    want: str
    journal: str
    topic: str
    begin_ns: Whole
    end_ns: Whole
    packed: bytes
    last: bool


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator asks a unit for; ``id`` comes back in the status' log."""

    do: Literal["pause", "resume", "restart"]
    by: str = ""


def encode(message: msgspec.Struct) -> bytes:
    """The payload of any of these."""
    return msgspec.msgpack.encode(message) if isinstance(message, Block) else msgspec.json.encode(message)


def decode(payload: bytes, kind: type[T]) -> T:
    """The message of this kind in a payload. Raises MetadataError."""
    try:
        reader = msgspec.msgpack.decode if kind is Block else msgspec.json.decode
        return reader(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MetadataError(f"{kind.__name__.lower()} is not understood: {error}") from error


def checksum(time_ns: NDArray[np.int64], bodies: Sequence[bytes] | bytes) -> int:
    """What a page and an archive compare: over the times in order, then the bodies in that order."""
    joined = bodies if isinstance(bodies, bytes) else b"".join(bodies)
    return zlib.crc32(joined, zlib.crc32(np.ascontiguousarray(time_ns, dtype="<i8").tobytes()))


def same_station(topic: str, other: str) -> bool:
    """Whether two topics are of one station: a unit speaks for its own only, which is what ACLs allow it."""
    return topic.split("/", 1)[0] == other.split("/", 1)[0]


def interval_of(stream: Stream) -> int:
    """How long one sample lasts in ns, to close an interval behind the last one."""
    return 1 if stream.cadence_s == float("inf") else round(stream.cadence_s * 1e9)
