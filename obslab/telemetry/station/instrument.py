"""A real instrument as a station runs it: readings of a driver in, messages out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from obslab.errors import CodecError, ConfigError, MetadataError
from obslab.telemetry import codec
from obslab.telemetry.sample import Clock, Meta, Stream, as_datetime, valid_at
from obslab.telemetry.station.acquisition import Acquisition, Found
from obslab.telemetry.station.drivers.base import Bad, Driver, Reading
from obslab.telemetry.station.journal import Journal, Unsendable
from obslab.telemetry.station.ports import Port
from obslab.telemetry.station.replay import Outgoing
from obslab.times import iso

log = logging.getLogger(__name__)

_NS = 1_000_000_000
_DAY_NS = 86_400 * _NS
_POLL_NS = 50_000_000
_KEPT, _KEPT_EVERY_S = 100, 3600.0  # bad lines kept as text in an hour: a loose cable sends 10 kB/s of them
_RECENT_S = 60.0
_APART_S = 60.0
_PLACE = ("site", "latitude_deg", "longitude_deg", "elevation_m", "attribution")
_FACTS = (*_PLACE, "components", "orientation", "sensor", "offset_s", "delay_s")


class Instrument:
    """What a driver of ``kind`` understands of the bytes at ``port``, as ``Instruments`` for a station.

    ``facts`` are put into the metadata: the place into that of all its streams, orientation and the like into
    that of the main one. A stream's metadata is declared with its first reading and holds from then on,
    since nobody knows earlier what the instrument's clock says. What is not understood is counted and, up to
    a measure that a disk can bear, kept as text.
    """

    def __init__(
        self,
        port: Port,
        kind: type[Driver],
        station: str,
        names: Sequence[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        now = as_datetime(time.time_ns() // _NS * _NS)
        self.clock = Clock(now, now)
        self.unsendable: list[Unsendable] = []
        self.driver_name, self.not_understood = kind.name, 0
        self._port = port
        self._acquisition = Acquisition(port, kind)
        self._offered = _with_facts(kind().metas(station, names), facts or {})
        self._versions: dict[Stream, tuple[Meta, ...]] = {}
        self._declared: set[Stream] = set()
        self._last_ns: dict[Stream, int | None] = {}
        self._bad_at, self._kept, self._kept_since = -1e9, 0, -1e9
        self._apart_s = 0.0

    def streams(self) -> list[Stream]:
        """All that it may give, also what it has not given yet; the main one first."""
        return [stream for stream, _ in self._offered]

    def resume(self, journal: Journal) -> None:
        """Go on with the metadata and after the samples of an earlier run on this journal."""
        known = journal.metas()
        for stream in self.streams():
            self._versions[stream] = known.get(stream.meta_topic, ())
            self._last_ns[stream] = journal.newest_ns(stream.topic)

    def start(self) -> None:
        """Begin to read the port."""
        self._acquisition.reader.start()

    def pause(self) -> None:
        """Let the port go, for somebody else to use it; nothing is read until ``unpause``."""
        self._acquisition.reader.pause()

    def unpause(self) -> None:
        self._acquisition.reader.unpause()

    def restart(self) -> list[Outgoing]:
        """A new driver on a newly opened port; messages of what the old one still held."""
        return self._messages(self._acquisition.restart())

    def finish(self) -> list[Outgoing]:
        """Close the port; messages of all that had come until then."""
        return self._messages(self._acquisition.finish())

    @property
    def trouble(self) -> str:
        """What keeps readings from coming, or makes them doubtful; empty when all is well."""
        found = [
            self._acquisition.trouble,
            "lines come that are not understood" if time.monotonic() - self._bad_at < _RECENT_S else "",
            "its clock is more than a minute from this computer's" if self._apart_s > _APART_S else "",
        ]
        return "; ".join(one for one in found if one)

    # ---- Instruments

    def metas(self) -> list[tuple[Stream, Meta]]:
        return [(stream, self._versions[stream][-1]) for stream in self.streams() if stream in self._declared]

    def next_ns(self) -> int | None:
        return None if self._acquisition.ended else time.time_ns() + _POLL_NS

    def due(self, now_ns: int) -> list[Outgoing]:
        return self._messages(self._acquisition.due())

    def _messages(self, found: Iterable[Found]) -> list[Outgoing]:
        messages: list[Outgoing] = []
        for one, came_ns in found:
            if isinstance(one, Bad):
                self._keep(Unsendable(came_ns, self.streams()[0].topic, one.text, one.reason))
            else:
                messages += self._message(one, came_ns)
        return messages

    def _message(self, reading: Reading, came_ns: int) -> list[Outgoing]:
        stream, offered = self._offered[reading.stream]
        self._declare(stream, offered, reading.time_ns)
        if reading.stream == 0:
            self._apart_s = abs(reading.time_ns - came_ns) / _NS
        meta = valid_at(self._versions[stream], reading.time_ns)
        try:
            if reading.time_ns == self._last_ns.get(stream):
                raise CodecError(f"{stream}: another reading at {iso(reading.time_ns)}")
            if meta is None:
                begin = iso(self._versions[stream][0].valid_from)
                raise CodecError(f"{stream}: a reading before its first metadata, valid from {begin}")
            payload = codec.encode(stream, meta, reading.time_ns, reading.values, reading.quality)
        except CodecError as error:
            self._keep(Unsendable(reading.time_ns, stream.topic, str(list(reading.values)), error.message))
            return []
        self._last_ns[stream] = reading.time_ns
        return [(stream.topic, reading.time_ns, payload)]

    def _declare(self, stream: Stream, offered: Meta, time_ns: int) -> None:
        """At a stream's first reading: keep the version it had, or begin a new one."""
        if stream in self._declared:
            return
        self._declared.add(stream)
        versions = self._versions.get(stream, ())
        if not versions:  # from midnight: the clock may be set back a little after its first reading
            begin = as_datetime(max(0, time_ns) // _DAY_NS * _DAY_NS)
        elif msgspec.structs.replace(versions[-1], valid_from=offered.valid_from) == offered:
            return
        else:
            begin = as_datetime(max(time_ns, versions[-1].valid_from_ns + _NS))
        self._versions[stream] = (*versions, msgspec.structs.replace(offered, valid_from=begin))

    def _keep(self, one: Unsendable) -> None:
        now = self._bad_at = time.monotonic()
        self.not_understood += 1
        if now - self._kept_since > _KEPT_EVERY_S:
            self._kept_since, self._kept = now, 0
        self._kept += 1
        if self._kept <= _KEPT:
            self.unsendable.append(one)
        elif self._kept == _KEPT + 1:
            log.error(
                "%s: more than %d lines in an hour are not understood; more are counted, not kept",
                self._port.name, _KEPT,
            )  # fmt: skip


def _with_facts(offered: list[tuple[Stream, Meta]], facts: Mapping[str, Any]) -> list[tuple[Stream, Meta]]:
    for name in facts:
        if name not in _FACTS:
            raise ConfigError(f"--fact {name!r} is none of {', '.join(_FACTS)}")
    place = {name: value for name, value in facts.items() if name in _PLACE}
    changed = []
    for number, (stream, meta) in enumerate(offered):
        plain = msgspec.to_builtins(meta) | (place if number else dict(facts))
        try:
            changed.append((stream, msgspec.convert(plain, Meta, strict=False)))
        except (msgspec.ValidationError, MetadataError) as error:
            raise ConfigError(f"--fact: {error}") from error
    return changed
