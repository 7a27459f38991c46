"""An interval of time that the user marked: what widgets share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """A marked interval ``[begin, end)`` in ns, by the clock of the group of stations it was marked on."""

    group: str
    begin_ns: int
    end_ns: int

    @property
    def stations(self) -> frozenset[str]:
        """IAGA codes of the group."""
        return frozenset(self.group.split())
