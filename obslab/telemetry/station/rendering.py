"""Entries of the journal as IMPF, INTERMAGNET's JSON, for those who read nothing else."""

from __future__ import annotations

import logging

from obslab.errors import CodecError, ObslabError
from obslab.telemetry import codec, impf
from obslab.telemetry.sample import Meta, Stream, valid_at
from obslab.telemetry.station.journal import Entry, Journal

log = logging.getLogger(__name__)

_FACTS_S = 86_400  # facts about the observatory go with a message a day


class ImpfRendering:
    """Turns an entry into topic and payload of IMPF; None for what IMPF has no place for, told once.

    A scalar goes beside the vector of the same station, whose orientation names the topic.
    """

    def __init__(self, journal: Journal, level: int) -> None:
        if level not in (1, 2, 3, 4):
            raise CodecError(f"publication level {level} is none of 1, 2, 3, 4; 1 is data as recorded")
        self._journal, self._level = journal, level
        self._metas: dict[str, tuple[Meta, ...]] = {}
        self._told: set[str] = set()
        self._facts_day: dict[str, int] = {}

    def __call__(self, entry: Entry) -> tuple[str, bytes] | None:
        try:
            stream = Stream.parse(entry.topic)
            meta = valid_at(self._versions(stream), entry.time_ns)
            if meta is None:
                raise CodecError(f"{stream}: no metadata for {entry.time_ns}")
            time_ns, bodies = codec.split(stream, meta, [entry.payload])
            values, _quality = codec.unpack(meta, bodies)
            topic = impf.topic_of(stream, meta, self._level, self._beside(stream))
            return topic, impf.encode(stream, meta, time_ns, values, self._facts(entry, meta))
        except (ObslabError, ValueError) as error:
            if entry.topic not in self._told:
                self._told.add(entry.topic)
                log.warning("not published as IMPF: %s", error)
            return None

    def _versions(self, stream: Stream) -> tuple[Meta, ...]:
        if stream.meta_topic not in self._metas:
            self._metas = self._journal.metas()
        return self._metas.get(stream.meta_topic, ())

    def refresh(self) -> None:
        """The metadata changed."""
        self._metas = {}

    def _beside(self, stream: Stream) -> str:
        station = stream.station.lower() + "/"
        vectors = (
            versions[-1]
            for topic, versions in self._metas.items()
            if topic.startswith(station)
            and versions[-1].kind == "vector"
            and "nT" in versions[-1].component_units
        )
        return next(("".join(meta.components) for meta in vectors), "XYZ")

    def _facts(self, entry: Entry, meta: Meta) -> dict[str, object] | None:
        day = entry.time_ns // (_FACTS_S * 1_000_000_000)
        if self._facts_day.get(entry.topic) == day:
            return None
        self._facts_day[entry.topic] = day
        return impf.facts_of(meta)
