"""Sorts messages into what an archive stores: samples, metadata, and what is not understood.

Everything is decided here that needs no disk and no network: a collector and a live view use the same
rules. Samples of one stream are decoded together; only a batch with something wrong in it is
looked at message by message.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from obslab.errors import MetadataError, TopicError
from obslab.telemetry import codec
from obslab.telemetry.archive.batch import Arrivals, Batch, Refusal
from obslab.telemetry.sample import IRREGULAR, META, Meta, Stream, decode_meta
from obslab.times import iso

log = logging.getLogger(__name__)

_NS = 1_000_000_000
EARLIEST_S = 631_152_000  # 1990-01-01: an instrument without GPS lock starts at 1970 or 1980
FUTURE_S = 60.0  # clocks of stations and data centres agree to better than this
# INTERMAGNET's targets: 30 s for 1 s data, 2 min for 1 min data. It has none for absolute measurements; these
# are small and as urgent as a second's, counted from their last reading.
TARGET_S = {"min": 120.0}
_TARGET_S = 30.0


class Message(msgspec.Struct, frozen=True):
    """One message as it came: ``arrival_ns`` is UTC by the receiver's clock."""

    topic: str
    payload: bytes
    arrival_ns: int


class Intake:
    """Knows the metadata so far; ``sort`` turns messages into a Batch and learns new metadata."""

    def __init__(self, metas: dict[str, tuple[Meta, ...]]) -> None:
        self.metas = dict(metas)
        self._streams: dict[str, Stream] = {}
        self._told: set[tuple[str, str]] = set()

    def sort(self, messages: Sequence[Message]) -> Batch:
        """Metadata first, whatever the order: a sample that came just before it is readable too."""
        try:
            return self._sort(messages)
        except Exception as error:  # a bug of ours must cost one message, not the stream
            if len(messages) > 1:
                log.exception("a batch of %d messages failed; taking them one by one", len(messages))
                return _joined([self.sort([message]) for message in messages])
            return Batch(
                refusals=self._refuse(messages, f"obslab failed on it: {error!r}; please report this")
            )

    def _sort(self, messages: Sequence[Message]) -> Batch:
        batch = Batch()
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            by_topic.setdefault(message.topic, []).append(message)
        for topic in [topic for topic in by_topic if topic.endswith(f"/{META}")]:
            for message in by_topic.pop(topic):
                self._learn(message, batch)
        for topic, group in by_topic.items():
            try:
                stream = self._streams.get(topic) or self._streams.setdefault(topic, Stream.parse(topic))
            except TopicError as error:
                batch.refusals += self._refuse(group, error.message)
                continue
            self._take(stream, group, batch)
        return batch

    def _learn(self, message: Message, batch: Batch) -> None:
        try:
            Stream.parse(message.topic.removesuffix(META) + "sec")
            versions = decode_meta(message.payload)
        except (MetadataError, TopicError) as error:
            batch.refusals += self._refuse([message], error.message)
            return
        known = {meta.valid_from: meta for meta in self.metas.get(message.topic, ())}
        if all(known.get(meta.valid_from) == meta for meta in versions):
            return
        known.update({meta.valid_from: meta for meta in versions})
        self.metas[message.topic] = batch.metas[message.topic] = tuple(known[at] for at in sorted(known))
        if versions[-1].kind == "absolute" and versions[-1].azimuth_deg is None:
            log.warning("%s has no azimuth_deg of the mark: its measurements give no D", message.topic)

    def _take(self, stream: Stream, group: list[Message], batch: Batch) -> None:
        versions = self.metas.get(stream.meta_topic, ())
        if not versions:
            reason = f"no metadata yet for {stream}; the station publishes it at {stream.meta_topic}"
            batch.refusals += self._refuse(group, reason, waiting=True)
            return
        short = [message for message in group if len(message.payload) < 4]
        if short:
            group = [message for message in group if len(message.payload) >= 4]
            batch.refusals += self._refuse(
                short, f"{stream}: a payload of fewer than 4 bytes holds no time; check what sends it"
            )
        if not group:
            return
        # Chosen by sample time: what was recorded before a change of the instrument is read as it was then.
        second = codec.seconds([message.payload for message in group])
        edges = np.array([meta.valid_from_ns - round(meta.offset_s * _NS) for meta in versions])
        version = np.searchsorted(edges, second * _NS, side="right") - 1
        for place in dict.fromkeys(version.tolist()):
            chosen = [message for message, at in zip(group, version, strict=True) if at == place]
            if place < 0:
                reason = (
                    f"{stream}: sample before its first metadata, valid from {iso(versions[0].valid_from)}"
                )
                batch.refusals += self._refuse(chosen, reason, waiting=True)
            else:
                self._decode(stream, versions[place], versions[-1], chosen, batch)

    def _decode(self, stream: Stream, meta: Meta, latest: Meta, group: list[Message], batch: Batch) -> None:
        if meta.kind == "absolute" and stream.samplerate != IRREGULAR:
            reason = f"{stream}: {stream.meta_topic} says absolute measurements, which are sent to .../abs"
            batch.refusals += self._refuse(group, reason)
            return
        size = codec.message_size(stream, meta)
        if any(len(message.payload) != size for message in group):
            for length in {len(message.payload) for message in group} - {size}:
                wrong = [message for message in group if len(message.payload) == length]
                batch.refusals += self._refuse(
                    wrong,
                    f"{stream}: {length} bytes where {_named(meta)} has {size}; "
                    f"check kind in {stream.meta_topic}",
                )
            group = [message for message in group if len(message.payload) == size]
        faults = codec.faults(meta, [message.payload for message in group])
        if any(faults):
            for message, fault in zip(group, faults, strict=True):
                batch.refusals += self._refuse([message] if fault else [], f"{stream}: {fault}")
            group = [message for message, fault in zip(group, faults, strict=True) if not fault]
        if not group:
            return
        arrival_ns = np.array([message.arrival_ns for message in group], dtype=np.int64)
        now_ns = latest.clock.times_at(arrival_ns) if latest.clock else arrival_ns
        second = codec.seconds([message.payload for message in group])
        speed = latest.clock.speed if latest.clock else 1.0
        ahead = second > now_ns // _NS + FUTURE_S * max(1.0, speed)
        unset = second < EARLIEST_S
        if (ahead | unset).any():
            for mask, why in (
                (ahead, "in the future; check the station's clock"),
                (unset, "before 1990; has the instrument GPS time?"),
            ):
                wrong = [message for message, bad in zip(group, mask, strict=True) if bad]
                for message in wrong:
                    at = iso(int.from_bytes(message.payload[:4], "little") * _NS)
                    batch.refusals += self._refuse([message], f"{stream}: time stamp {at} is {why}")
            good = ~(ahead | unset)
            group = [message for message, fine in zip(group, good, strict=True) if fine]
            arrival_ns, now_ns = arrival_ns[good], now_ns[good]
            if not group:
                return
        time_ns, bodies = codec.split(stream, meta, [message.payload for message in group])
        age_ns = np.repeat(now_ns, stream.block) - codec.completed(meta, time_ns, bodies)
        late = age_ns > TARGET_S.get(stream.samplerate, _TARGET_S) * _NS
        batch.arrivals.append(
            Arrivals(
                stream, time_ns, np.repeat(arrival_ns, stream.block), codec.BODY_SIZE[meta.kind], bodies, late
            )
        )

    def _refuse(self, messages: Iterable[Message], reason: str, *, waiting: bool = False) -> list[Refusal]:
        refused = [
            Refusal(message.arrival_ns, message.topic, message.payload, reason, waiting)
            for message in messages
        ]
        for refusal in refused[:1]:
            # Once for each topic and kind of trouble: a broken instrument would fill the log's disk.
            if (key := (refusal.topic, re.sub("[0-9]+", "", reason))) not in self._told:
                self._told.add(key)
                log.warning("kept as rejected, %s: %s", refusal.topic, reason)
        return refused


def _named(meta: Meta) -> str:
    return "an absolute measurement" if meta.kind == "absolute" else f"a {meta.kind}"


def _joined(batches: Sequence[Batch]) -> Batch:
    whole = Batch()
    for batch in batches:
        whole.arrivals += batch.arrivals
        whole.refusals += batch.refusals
        whole.metas |= batch.metas
    return whole
