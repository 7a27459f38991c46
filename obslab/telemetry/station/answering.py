"""Answers an archive that asks for samples: packed blocks out of the journal and the day files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from obslab.errors import TopicError
from obslab.telemetry.pack import pack_payloads
from obslab.telemetry.protocol import BLOCK_BYTES, Block, Want
from obslab.telemetry.sample import Stream
from obslab.telemetry.station.journal import Journal

_NS = 1_000_000_000
_ROOM = BLOCK_BYTES - 160  # what topic, MQTT and the block itself take
_PIECE = 4000  # messages looked at together; the most that one block could hold of a quiet scalar
_FIRST_GUESS = 1200

Records = Iterable[tuple[int, bytes]]
History = Callable[[Stream, int, int], Records]
"""Messages ``(time in ns, payload)`` of a stream in ``[begin, end)``, in order: what day files give."""


def blocks(want: Want, journal: Journal, history: History | None = None) -> Iterator[Block]:
    """The answer, in order of time; always at least one block, the last one marked.

    A message belongs to the interval when its first sample does, or when it is a block of samples that
    reaches into it.
    """
    try:
        stream = Stream.parse(want.topic)
    except TopicError:
        yield Block(want.id, journal.id, want.topic, want.begin_ns, want.end_ns, b"", True)
        return
    reach_ns = round(stream.cadence_s * _NS) * (stream.block - 1) if stream.block > 1 else 0
    covered, guess = want.begin_ns, _FIRST_GUESS
    waiting: list[tuple[int, bytes]] = []
    for piece in _pieces(stream, want.begin_ns - reach_ns, want.end_ns, journal, history):
        waiting += piece
        while len(waiting) >= _PIECE:
            taken, packed, guess = _fit(waiting, guess)
            until = waiting[taken][0]
            yield Block(want.id, journal.id, want.topic, covered, until, packed, False)
            waiting, covered = waiting[taken:], until
    while waiting:
        taken, packed, guess = _fit(waiting, guess)
        last = taken == len(waiting)
        until = want.end_ns if last else waiting[taken][0]
        yield Block(want.id, journal.id, want.topic, covered, until, packed, last)
        waiting, covered = waiting[taken:], until
        if last:
            return
    yield Block(want.id, journal.id, want.topic, covered, want.end_ns, b"", True)


def _pieces(
    stream: Stream, begin_ns: int, end_ns: int, journal: Journal, history: History | None
) -> Iterator[list[tuple[int, bytes]]]:
    """Messages of journal and history together, in order of time, each once."""
    if history is None:
        yield from _journalled(stream, begin_ns, end_ns, journal)
        return
    recorded: list[tuple[int, bytes]] = []
    after_ns = begin_ns
    for record in history(stream, begin_ns, end_ns):
        recorded.append(record)
        if len(recorded) >= _PIECE and record[0] > after_ns:
            yield _merged(recorded, _journalled(stream, after_ns, record[0] + 1, journal))
            recorded, after_ns = [], record[0] + 1
    yield _merged(recorded, _journalled(stream, after_ns, end_ns, journal))


def _journalled(
    stream: Stream, begin_ns: int, end_ns: int, journal: Journal
) -> Iterator[list[tuple[int, bytes]]]:
    while entries := journal.between(stream.topic, begin_ns, end_ns, _PIECE):
        if len(entries) == _PIECE and entries[0].time_ns < entries[-1].time_ns:
            # The last time may have more entries, beyond the limit: they come with the next piece.
            entries = [entry for entry in entries if entry.time_ns < entries[-1].time_ns]
        yield [(entry.time_ns, entry.payload) for entry in entries]
        begin_ns = entries[-1].time_ns + 1


def _merged(
    recorded: list[tuple[int, bytes]], journalled: Iterator[list[tuple[int, bytes]]]
) -> list[tuple[int, bytes]]:
    return sorted({*recorded, *(message for piece in journalled for message in piece)})


def _fit(messages: list[tuple[int, bytes]], guess: int) -> tuple[int, bytes, int]:
    """How many messages fill a block, packed, and a guess for the next one."""
    size = len(messages[0][1])
    most = next((n for n, one in enumerate(messages) if len(one[1]) != size), len(messages))
    taken = min(guess, most)
    while True:
        packed = pack_payloads([payload for _, payload in messages[:taken]])
        if len(packed) <= _ROOM or taken == 1:
            break
        taken = max(1, min(taken - 1, int(taken * _ROOM / len(packed) * 0.97)))
    # Fewer than a piece, so that one is left behind it: it says where the block ends.
    return taken, packed, min(_PIECE - 1, max(16, int(taken * _ROOM / len(packed) * 0.98)))
