"""A flag as it is set: who says what of which samples, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

from obslab.errors import FlagError
from obslab.telemetry.sample import Stream

KINDS = ("spike", "step", "mark")


@dataclass(frozen=True)
class Entry:
    """A flag as it was set; it never changes."""

    stream: str
    component: str
    begin_ns: int
    end_ns: int
    kind: str
    size: float | None
    author: str
    reason: str


def checked(
    stream: str, component: str, begin_ns: int, end_ns: int, kind: str, size: float, author: str, reason: str
) -> Entry:
    """An entry that makes sense; FlagError, or TopicError for a stream that can be none, for another."""
    levels = stream.split()
    if len(levels) != 3:
        raise FlagError(f"stream {stream!r} is not station, instrument and samplerate, as in WIC lemi036 sec")
    Stream(*levels)  # refuses what can be no stream
    if end_ns <= begin_ns:
        raise FlagError(f"a flag of {stream} ends before it begins; wanted an interval [begin, end)")
    if kind not in KINDS:
        raise FlagError(f"no kind of flag {kind!r}; one of {', '.join(KINDS)}")
    named("author", author)
    named("reason", reason)
    height = None if math.isnan(size) else float(size)
    return Entry(stream, component.strip(), begin_ns, end_ns, kind, height, author.strip(), reason.strip())


def named(what: str, value: str) -> None:
    """FlagError for an author, or a reason, that is empty."""
    if not value.strip():
        raise FlagError(
            f"a change of a flag needs an {what}" if what == "author" else "a flag needs a reason"
        )


def same_thing(one: Entry, other: Entry) -> bool:
    """Whether they are of one kind, stream and component, and overlap."""
    same = (one.stream, one.component, one.kind) == (other.stream, other.component, other.kind)
    return same and one.begin_ns < other.end_ns and other.begin_ns < one.end_ns
