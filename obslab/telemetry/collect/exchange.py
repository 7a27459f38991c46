"""Takes INTERMAGNET's JSON messages (IMPF) into an archive's streams: each level one of its own.

The same rules as for binary samples: what is not understood is kept as rejected, with the reason. A newer
message is a new version of the samples it names, except where it says null.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from obslab.errors import CodecError, TopicError
from obslab.telemetry import codec, impf
from obslab.telemetry.archive.batch import Arrivals, Batch, Refusal
from obslab.telemetry.collect.intake import EARLIEST_S, FUTURE_S, TARGET_S, Message
from obslab.telemetry.sample import Meta
from obslab.times import NS_PER_S, iso

log = logging.getLogger(__name__)

_TARGET_S = 30.0


class Exchange:
    """Sorts IMPF messages; ``metas`` are those of the intake, and what is learnt goes in there.

    ``angles`` says by IAGA code who sends D and I in degrees instead of minutes of arc.
    """

    def __init__(
        self, metas: dict[str, tuple[Meta, ...]], angles: Mapping[str, impf.Angles] | None = None
    ) -> None:
        self._metas, self._angles = metas, dict(angles or {})
        self._told: set[tuple[str, str]] = set()

    def sort(self, messages: Sequence[Message]) -> Batch:
        """What to store of them, in order of arrival."""
        batch = Batch()
        for message in messages:
            try:
                self._take(message, batch)
            except Exception as error:  # ours, or a bug of ours, which must cost one message, not the others
                why = f"obslab failed on it: {error!r}; please report this"
                if isinstance(error, TopicError | CodecError):
                    why = error.message
                self._tell(message.topic, "kept as rejected, %s: %s", why)
                batch.refusals.append(Refusal(message.arrival_ns, message.topic, message.payload, why))
        return batch

    def _take(self, message: Message, batch: Batch) -> None:
        address = impf.Address.parse(message.topic)
        decoded = impf.decode(message.topic, message.payload, self._angles.get(address.station, "arcmin"))
        for note in decoded.notes:
            self._tell(message.topic, "%s: %s", note)
        for record in decoded.records:
            _check_times(message, record)
        for record in decoded.records:
            topic, stream = record.stream.meta_topic, record.stream
            news = record.news(self._metas.get(topic, ()))
            if news is not None:
                self._metas[topic] = batch.metas[topic] = (news,)
            target_ns = round(TARGET_S.get(stream.samplerate, _TARGET_S) * NS_PER_S)
            batch.arrivals.append(
                Arrivals(
                    stream,
                    record.time_ns,
                    np.full(record.time_ns.size, message.arrival_ns, dtype=np.int64),
                    codec.BODY_SIZE[record.meta.kind],
                    record.bodies,
                    message.arrival_ns - record.time_ns > target_ns,
                    revises=True,
                )
            )

    def _tell(self, topic: str, words: str, what: str) -> None:
        """Once for each topic and kind of trouble: a publisher's habit would fill the log's disk."""
        kind = "".join(letter for letter in what if not letter.isdigit())
        if (topic, kind) not in self._told:
            self._told.add((topic, kind))
            log.warning(words, topic, what)


def _check_times(message: Message, record: impf.Record) -> None:
    first_ns, last_ns = int(record.time_ns[0]), int(record.time_ns[-1])
    if last_ns > message.arrival_ns + FUTURE_S * NS_PER_S:
        raise CodecError(f"{record.stream}: time {iso(last_ns)} is in the future; check the station's clock")
    if first_ns < EARLIEST_S * NS_PER_S:
        raise CodecError(f"{record.stream}: time {iso(first_ns)} is before 1990; check startDate")
