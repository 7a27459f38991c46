"""Intervals as people write them: a day, an hour, or begin/end; and back."""

from __future__ import annotations

import re

from obslab.errors import BadTimeError
from obslab.times import NS_PER_DAY, as_ns, iso
from obslab_widgets.latency_dashboard.state import Interval

_UNITS = ((r"\d{4}-\d\d-\d\d", "T00:00Z", NS_PER_DAY), (r"\d{4}-\d\d-\d\d[T ]\d\d", ":00Z", NS_PER_DAY // 24))
_MINUTE = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?"


def interval_of(text: str) -> Interval:
    """``2024-05-10`` (the day), ``2024-05-10T07`` (the hour), or ``begin/end`` with such times, in UTC.

    Raises BadTimeError.
    """
    first, slash, last = (part.strip() for part in text.partition("/"))
    begin_ns, length_ns = _begin(first)
    if not slash:
        if not length_ns:
            raise BadTimeError(
                f"{text.strip()!r} is an instant; write a day, an hour, or begin/end", value=text
            )
        return Interval(begin_ns, begin_ns + length_ns)
    end_ns, _ = _begin(last)
    if end_ns <= begin_ns:
        raise BadTimeError(f"{text.strip()!r} does not end after it begins", value=text)
    return Interval(begin_ns, end_ns)


def text_of(interval: Interval) -> str:
    """The shortest text that ``interval_of`` gives back."""
    length_ns = interval.end_ns - interval.begin_ns
    begin = iso(interval.begin_ns)
    if length_ns == NS_PER_DAY and interval.begin_ns % NS_PER_DAY == 0:
        return begin[:10]
    if length_ns == NS_PER_DAY // 24 and interval.begin_ns % length_ns == 0:
        return begin[:13]
    return "/".join(_short(at_ns) for at_ns in (interval.begin_ns, interval.end_ns))


def _begin(text: str) -> tuple[int, int]:
    """An instant, and how long it is when it is a day or an hour, else 0."""
    bare = text.removesuffix("Z")
    for pattern, rest, length_ns in _UNITS:
        if re.fullmatch(pattern, bare):
            return as_ns(bare + rest), length_ns
    return as_ns(f"{bare}Z" if re.fullmatch(_MINUTE, bare) else text), 0


def _short(at_ns: int) -> str:
    text = iso(at_ns).removesuffix("Z")
    return text.removesuffix("T00:00:00").removesuffix(":00") if text.endswith(":00") else text
