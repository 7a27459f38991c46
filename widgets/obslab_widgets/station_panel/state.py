"""What the user of a station panel chose."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """``stations`` are the IAGA codes shown; all when there are none."""

    stations: tuple[str, ...] = ()
