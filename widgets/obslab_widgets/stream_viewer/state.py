"""What the user of a stream viewer chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from obslab_widgets.selection import Selection

__all__ = ["Selection", "State"]


@dataclass(frozen=True)
class State:
    """``until_ns`` is the UTC instant at the right edge, None to follow; ``span`` the height of each panel
    in the unit of its trace, None to fit; ``hidden`` holds names of traces.

    ``level`` says which data of an instrument are shown that has both. ``target`` is what a flag would be
    put on, a trace or all of a stream (``WIC lemi036 sec``, ``WIC lemi036 sec h``); empty: what is first."""

    window_s: float = 600.0
    until_ns: int | None = None
    axes: Literal["stacked", "common"] = "stacked"
    span: float | None = None
    hidden: tuple[str, ...] = ()
    selection: Selection | None = None
    level: Literal["raw", "adjusted"] = "raw"
    target: str = ""
