"""What the user of a baseline editor chose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from obslab_widgets.latency_dashboard.state import Interval

NEW = "new"
"""What is picked when no step or knot is: the buttons then add one."""


@dataclass(frozen=True)
class State:
    """All times are ns since 1970 by the station's clock.

    ``knots`` is how many, with equally many spots between, or where; None leaves it to the method, and none
    are shown. ``smoothing`` is in days, None to be found from the spots. After a step the curve keeps its
    slope, unless ``restart``. ``excluded`` and ``selected`` hold times of spots. ``at_ns`` is where the user
    points, ``picked`` the step or knot meant, as ``step 0``. ``period`` is what delta-F is shown of, None for
    the last day with data.
    """

    instrument: str = ""
    scalar: str = ""
    pier_difference_nt: float = 0.0
    method: Literal["spline", "polynomial"] = "spline"
    degree: int = 3
    knots: int | tuple[int, ...] | None = None
    smoothing: float | None = None
    reject_sigma: float = 4.0
    steps: tuple[int, ...] = ()
    restart: bool = False
    begin_ns: int | None = None
    end_ns: int | None = None
    excluded: tuple[int, ...] = ()
    selected: tuple[int, ...] = ()
    at_ns: int | None = None
    picked: str = NEW
    residuals: str = "all"
    period: Interval | None = None
    author: str = ""
    reason: str = ""

    @property
    def question(self) -> State:
        """What of it must be worked out; the rest is only drawn."""
        return replace(self, selected=(), at_ns=None, picked=NEW, residuals="all", author="", reason="")
