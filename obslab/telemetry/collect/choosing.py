"""Which files can fill a gap: told by their names, and by what the archive lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from obslab.errors import BadTimeError, MetadataError
from obslab.telemetry import daylog, protocol
from obslab.telemetry.archive.store import Archive
from obslab.telemetry.derived import is_derived_name
from obslab.telemetry.protocol import Status
from obslab.telemetry.sample import Stream
from obslab.times import NS_PER_DAY, as_ns

Stretch = tuple[int, int]

# IAGA-2002's own advice for names: code, date, a letter for the type, as in pea20240510psec.sec
_IAGA_NAME = re.compile(r"([a-z][a-z0-9]{2})[_-]?(\d{4})-?(\d\d)-?(\d\d)\D", re.IGNORECASE)
_IAGA_SUFFIXES = {
    ".sec": "sec",
    ".min": "min",
    ".hor": "hour",
    ".txt": None,
    ".iaga": None,
    ".iaga2002": None,
}


@dataclass(frozen=True)
class Named:
    """What the name of a file says is in it."""

    station: str
    instrument: str | None
    samplerate: str | None
    begin_ns: int
    end_ns: int


def is_day_log(file: str) -> bool:
    return _plain(file).endswith(daylog.SUFFIX)


def is_samples(file: str) -> bool:
    """Whether the suffix is that of a day log or of an IAGA-2002 file; ``.gz`` may follow."""
    name = _plain(file)
    return name.endswith((daylog.SUFFIX, *_IAGA_SUFFIXES))


def named(file: str) -> Named | None:
    """Station and day out of a name; None when it does not tell, so that the file has to be read."""
    name = _plain(file)
    if logged := daylog.parse_name(file.removesuffix(".gz")):
        stream, day = logged
        begin_ns = _day_ns(day)
        if begin_ns is None:
            return None
        return Named(stream.station, stream.instrument, stream.samplerate, begin_ns, begin_ns + NS_PER_DAY)
    found = _IAGA_NAME.match(name)
    if not found or is_day_log(file):
        return None
    station, *date = found.groups()
    begin_ns = _day_ns("-".join(date))
    if begin_ns is None:
        return None
    rate = next((rate for suffix, rate in _IAGA_SUFFIXES.items() if name.endswith(suffix)), None)
    return Named(station.upper(), None, rate, begin_ns, begin_ns + NS_PER_DAY)


class Lacks:
    """What an archive lacks of its streams; only of ``instruments``, when any are given."""

    def __init__(self, archive: Archive, instruments: Sequence[str], now_ns: int) -> None:
        self._archive, self._instruments, self._now_ns = archive, tuple(instruments), now_ns
        self._answers: dict[tuple[Stream, int, int], bool] = {}
        self._streams = archive.streams()

    def streams(
        self, station: str, samplerate: str | None = None, instrument: str | None = None
    ) -> list[Stream]:
        """The archive's streams that may be filled."""
        return [
            stream
            for stream in self._streams
            if stream.station == station
            and samplerate in (None, stream.samplerate)
            and instrument in (None, stream.instrument)
            and self.is_meant(stream.instrument)
        ]

    def is_meant(self, instrument: str) -> bool:
        return instrument in self._instruments or not (self._instruments or is_derived_name(instrument))

    def reason_to_pass(self, file: str) -> str | None:
        """Why a file cannot fill anything, by its name; None when it may."""
        name = named(file)
        if name is None:
            return None
        streams = self.streams(name.station, name.samplerate, name.instrument)
        if not streams:
            what = " ".join(part for part in (name.station, name.instrument, name.samplerate) if part)
            return f"the archive has no stream {what}"
        if any(self._lack(stream, name.begin_ns, name.end_ns) for stream in streams):
            return None
        return "nothing is missing"

    def asked_for(self, stream: Stream) -> list[Stretch]:
        """What a station that is online is being asked for: it has the same at full resolution."""
        if stream.topic not in self._served():
            return []
        holes = self._archive.book.holes(stream.topic, states=("open", "asked"))
        return [(hole.begin_ns, hole.end_ns) for hole in holes]

    def _lack(self, stream: Stream, begin_ns: int, end_ns: int) -> bool:
        key = (stream, begin_ns, end_ns)
        if key not in self._answers:
            self._answers[key] = self._find(*key)
        return self._answers[key]

    def _find(self, stream: Stream, begin_ns: int, end_ns: int) -> bool:
        span, metas = self._archive.span(stream), self._archive.metas(stream)
        if span is None:
            return True
        # Before its first sample the archive lacks nothing, and nothing is due in the future.
        begin_ns = max(begin_ns, span[0])
        end_ns = min(end_ns, metas[-1].station_time(self._now_ns) if metas else self._now_ns)
        if begin_ns >= end_ns:
            return False
        holes = self._archive.book.holes(stream.topic, begin_ns, end_ns, ("open", "asked", "lost"))
        return bool(holes) or bool(self._archive.missing(stream, begin_ns, end_ns))

    def _served(self) -> set[str]:
        return {topic for status in self._statuses() if status.online for topic in status.streams}

    def _statuses(self) -> Iterator[Status]:
        for _, payload, _ in self._archive.book.units().values():
            try:
                yield protocol.decode(payload, Status)
            except MetadataError:  # of a newer obslab
                continue


def within(time_ns: NDArray[np.int64], stretches: Sequence[Stretch]) -> NDArray[np.bool_]:
    """Which times lie in one of the stretches."""
    inside = np.zeros(time_ns.size, dtype=bool)
    for begin_ns, end_ns in stretches:
        inside |= (time_ns >= begin_ns) & (time_ns < end_ns)
    return inside


def _plain(file: str) -> str:
    """The last part of a path, in small letters, without .gz."""
    return file.replace("\\", "/").rsplit("/", 1)[-1].lower().removesuffix(".gz")


def _day_ns(day: str) -> int | None:
    try:
        return as_ns(day)
    except BadTimeError:
        return None
