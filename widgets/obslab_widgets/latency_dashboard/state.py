"""What the user of a latency dashboard chose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from obslab_widgets.selection import Selection

PERIODS = (
    ("last hour", 3600.0),
    ("last 6 hours", 21_600.0),
    ("last day", 86_400.0),
    ("last week", 604_800.0),
    ("last 30 days", 2_592_000.0),
    ("last year", 31_536_000.0),
)


@dataclass(frozen=True)
class Interval:
    """``[begin, end)`` in ns, by the stations' clock."""

    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class State:
    """``scope`` is a stream, or stations that keep one clock with all their streams; empty for the first.

    ``period_s`` before now is shown, and moves on, unless ``custom`` fixes a period. ``order`` and ``page``
    are of the list of gaps.
    """

    scope: str = ""
    period_s: float = 86_400.0
    custom: Interval | None = None
    selection: Selection | None = None
    order: Literal["newest", "longest"] = "newest"
    page: int = 0

    @property
    def question(self) -> State:
        """What of it an archive must be asked for."""
        return replace(self, order="newest", page=0)
