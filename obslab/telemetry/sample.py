"""What travels: a stream of samples, the metadata that explains it, and the clock it keeps."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from obslab.errors import MetadataError, TopicError
from obslab.times import as_ns

FORMAT = "obslab/1"
META = "$meta"

_TAKEN = {"time", "arrival", "quality"}
_FASTEST = 1e6
_DAY_S = 86_400.0

_STATION = re.compile(r"[A-Z][A-Z0-9]{2}")
_INSTRUMENT = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_NAMED_RATES_S = {"sec": 1.0, "min": 60.0, "hour": 3600.0}
_HERTZ = re.compile(r"([1-9][0-9]{0,3})hz")
IRREGULAR = "abs"
_COMPONENTS = {"vector": 3, "scalar": 1, "absolute": 2}
_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


class Stream(msgspec.Struct, frozen=True, order=True):
    """One instrument at one cadence; on the broker it is the topic ``iagacode/instrument/samplerate``.

    ``station`` is the IAGA code in upper case (the topic has it in lower case), ``samplerate`` is
    ``sec``, ``min``, ``hour`` or ``<n>hz``, or ``abs`` for measurements made a few times a day.
    """

    station: str
    instrument: str
    samplerate: str = "sec"

    def __post_init__(self) -> None:
        if not _STATION.fullmatch(self.station):
            raise TopicError(f"station {self.station!r} is not an IAGA code: three characters, as in PEA")
        if not _INSTRUMENT.fullmatch(self.instrument):
            raise TopicError(
                f"instrument {self.instrument!r} is not a name of small letters, digits, '-' and '_', "
                "as in lemi0001"
            )
        if not (self.samplerate in (*_NAMED_RATES_S, IRREGULAR) or _HERTZ.fullmatch(self.samplerate)):
            raise TopicError(
                f"samplerate {self.samplerate!r} is none of sec, min, hour, abs, 10hz (or another <n>hz)"
            )

    @classmethod
    def parse(cls, topic: str) -> Stream:
        """The stream of a topic such as ``pea/lemi0001/sec``."""
        levels = topic.split("/")
        if len(levels) != 3 or levels[0] != levels[0].lower() or not topic.isascii():
            raise TopicError(f"topic {topic!r} is not iagacode/instrument/samplerate, as in pea/lemi0001/sec")
        return cls(levels[0].upper(), levels[1], levels[2])

    @property
    def topic(self) -> str:
        return f"{self.station.lower()}/{self.instrument}/{self.samplerate}"

    @property
    def meta_topic(self) -> str:
        return f"{self.station.lower()}/{self.instrument}/{META}"

    @property
    def cadence_s(self) -> float:
        """Seconds from one sample to the next; infinite for an irregular stream, see ``Meta.schedule``."""
        if self.samplerate == IRREGULAR:
            return math.inf
        return _NAMED_RATES_S.get(self.samplerate) or 1.0 / self.block

    @property
    def block(self) -> int:
        """Samples in one message: one, or a second's worth above 1 Hz."""
        hertz = _HERTZ.fullmatch(self.samplerate)
        return int(hertz[1]) if hertz else 1

    def __str__(self) -> str:
        return f"{self.station} {self.instrument} {self.samplerate}"


class Clock(msgspec.Struct, frozen=True, omit_defaults=True):
    """The clock of a station that replays or simulates: it showed ``station`` at the instant ``wall``.

    It runs ``speed`` times as fast as UTC. ``recorded`` is the time that a replayed recording
    gives to the same instant, when that differs from ``station``.
    """

    station: datetime
    wall: datetime
    speed: float = 1.0
    recorded: datetime | None = None

    def __post_init__(self) -> None:
        if not 0 < self.speed <= _FASTEST:
            raise MetadataError(f"clock speed {self.speed!r} is not a positive number up to {_FASTEST:g}")
        for instant in (self.station, self.wall, self.recorded):
            if instant is not None:
                as_ns(instant)  # refuses a time that has no zone or is out of reach

    def at(self, wall_ns: int) -> int:
        """What the station's clock shows, in ns since 1970, at a UTC instant ``wall_ns``."""
        return as_ns(self.station) + round((wall_ns - as_ns(self.wall)) * self.speed)

    def times_at(self, wall_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """``at`` for an array of instants."""
        since_ns: NDArray[np.int64] = np.rint((wall_ns - as_ns(self.wall)) * self.speed).astype(np.int64)
        return since_ns + as_ns(self.station)

    def wall_at(self, station_ns: int) -> int:
        """The UTC instant at which the station's clock shows ``station_ns``."""
        return as_ns(self.wall) + round((station_ns - as_ns(self.station)) / self.speed)


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a payload does not say about itself; retained at ``<iaga>/<instrument>/$meta``.

    One version holds for samples from ``valid_from`` on, until the next version begins.
    ``scale`` is the value of one count in ``units`` (one unit for all components, or one for each);
    ``offset_s`` is added to the whole second in the payload; ``delay_s`` is the instrument's own
    known delay before it hands a sample out, which for an absolute measurement is how long it takes;
    ``azimuth_deg`` is that of the mark it sights, without which there is no declination. ``schedule`` has
    the times of day, ``HH:MM`` in UTC, at which an irregular stream is to have a sample, give or take
    ``schedule_tolerance_s``.
    """

    format: str
    valid_from: datetime
    kind: Literal["vector", "scalar", "absolute"]
    components: tuple[str, ...]
    scale: float
    units: str | tuple[str, ...] = "nT"
    offset_s: float = 0.0
    delay_s: float = 0.0
    orientation: str = ""
    sensor: str = ""
    site: str = ""
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    elevation_m: float | None = None
    attribution: str = ""
    publication_level: int = 1
    baseline: str = ""
    azimuth_deg: float | None = None
    k9_limit_nt: float | None = None
    schedule: tuple[str, ...] = ()
    schedule_tolerance_s: float = 1800.0
    clock: Clock | None = None

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise MetadataError(
                f"payload format {self.format!r} is not {FORMAT!r}, the one known here; upgrade obslab",
                format=self.format,
            )
        for name in self.components:
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,15}", name):
                raise MetadataError(f"component {name!r} is not a short name in small letters, as in x")
            if name in _TAKEN:
                raise MetadataError(f"component {name!r} has the name of a column of every stream; rename it")
        if len(set(self.components)) != len(self.components):
            raise MetadataError(f"components {self.components} name one twice")
        if self.kind == "absolute" and self.components != ("d", "i"):
            raise MetadataError(f"an absolute measurement has components d, i, not {self.components}")
        want = _COMPONENTS[self.kind]
        if len(self.components) != want:
            raise MetadataError(f"a {self.kind} has {want} component(s), not {len(self.components)}")
        if isinstance(self.units, tuple) and len(self.units) != want:
            raise MetadataError(f"units {self.units} are not one for each of {want} component(s)")
        if self.kind == "absolute" and set(self.component_units) != {"deg"}:
            raise MetadataError(f"an absolute measurement is in deg, not {self.units!r}")
        if self.azimuth_deg is not None and not abs(self.azimuth_deg) <= 360:
            raise MetadataError(f"azimuth_deg {self.azimuth_deg!r} is not within 360 degrees of north")
        if self.valid_from.tzinfo is None:
            raise MetadataError(f"valid_from {self.valid_from} has no time zone; write it in UTC, with a Z")
        as_ns(self.valid_from)  # refuses what is out of reach
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise MetadataError(f"scale {self.scale!r} is not a positive number of {self.units}")
        if self.publication_level not in (1, 2, 3, 4):
            raise MetadataError(f"publication_level {self.publication_level!r} is none of 1, 2, 3, 4")
        for clock_time in self.schedule:
            if not _CLOCK_TIME.fullmatch(clock_time):
                raise MetadataError(f"schedule time {clock_time!r} is not HH:MM in UTC, as in 06:30")
        for name in ("offset_s", "delay_s", "schedule_tolerance_s"):
            if not abs(getattr(self, name)) <= _DAY_S:
                raise MetadataError(f"{name} {getattr(self, name)!r} is not within a day")

    @property
    def valid_from_ns(self) -> int:
        return as_ns(self.valid_from)

    @property
    def component_units(self) -> tuple[str, ...]:
        """The unit of each component."""
        return self.units if isinstance(self.units, tuple) else (self.units,) * len(self.components)

    def station_time(self, wall_ns: int) -> int:
        """What the instrument's clock shows at a UTC instant, both in ns since 1970."""
        return self.clock.at(wall_ns) if self.clock else wall_ns


def encode_meta(versions: Sequence[Meta]) -> bytes:
    """The retained payload: a JSON list of all versions a receiver may need, oldest first."""
    return msgspec.json.encode(sorted(versions, key=lambda meta: meta.valid_from))


def decode_meta(payload: bytes) -> tuple[Meta, ...]:
    """The versions in a ``$meta`` payload: a JSON list of them, or a single one."""
    try:
        versions = _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ours come wrapped, with the same words
        raise MetadataError(f"metadata is not understood: {error}") from error
    if isinstance(versions, Meta):
        return (versions,)
    if not versions:
        raise MetadataError("metadata is an empty list; at least one version is wanted")
    return tuple(sorted(versions, key=lambda meta: meta.valid_from))


def valid_at(versions: Sequence[Meta], time_ns: int) -> Meta | None:
    """The version in force at a sample's time; None before the first begins."""
    place = bisect_right(versions, time_ns, key=lambda meta: meta.valid_from_ns)
    return versions[place - 1] if place else None


def as_datetime(time_ns: int) -> datetime:
    """The same instant as a datetime in UTC, cut to whole microseconds."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).replace(
        microsecond=time_ns // 1000 % 1_000_000
    )


_DECODER = msgspec.json.Decoder(list[Meta] | Meta)
