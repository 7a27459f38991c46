"""Sorts what a collector gets into samples and the words of ``protocol``; packed samples are unpacked."""

from __future__ import annotations

from collections.abc import Sequence

from obslab.errors import ObslabError, TopicError
from obslab.telemetry import protocol
from obslab.telemetry.archive.batch import Refusal
from obslab.telemetry.collect.intake import Message
from obslab.telemetry.pack import unpack_payloads
from obslab.telemetry.protocol import Block

SYSTEM = "$SYS/"
_WORDS = {
    protocol.STATUS,
    protocol.LEDGER,
    protocol.CONFIRM,
    protocol.WANT,
    protocol.BLOCK,
    protocol.COMMAND,
}


def apart(messages: Sequence[Message]) -> tuple[list[Message], list[Message], list[Refusal]]:
    """Samples and metadata, words, and blocks that are damaged.

    The samples of a block stand among the others as if each had come by itself; the block is a word, too.
    """
    samples: list[Message] = []
    words: list[Message] = []
    refusals: list[Refusal] = []
    for message in messages:
        word = message.topic.rpartition("/")[2]
        if word not in _WORDS and not message.topic.startswith(SYSTEM):
            samples.append(message)
            continue
        if word == protocol.BLOCK:
            try:
                samples += _samples(message)
            except Exception as error:  # whatever it is: one message from outside must not end the storing
                why = error.message if isinstance(error, ObslabError) else repr(error)
                reason = f"{message.topic}: {why}; it is asked for again"
                refusals.append(Refusal(message.arrival_ns, message.topic, message.payload, reason))
                continue
        words.append(message)
    return samples, words, refusals


def _samples(message: Message) -> list[Message]:
    block = protocol.decode(message.payload, Block)
    if not protocol.same_station(message.topic, block.topic):
        raise TopicError(f"a block for {block.topic}, which is of another station")
    if not block.packed:
        return []
    return [Message(block.topic, payload, message.arrival_ns) for payload in unpack_payloads(block.packed)]
