"""What the user does to a baseline, each as the fields of the State that it changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from obslab.errors import ConfigError
from obslab.times import NS_PER_S
from obslab_widgets.baseline_editor.state import NEW, State
from obslab_widgets.latency_dashboard.state import Interval

_GRAB = 0.012  # of the time shown: 10 pixels of a panel as wide as a notebook
_MINUTE_NS = 60 * NS_PER_S


def excluded(state: State, time_ns: Iterable[int]) -> dict[str, Any]:
    """Those spots are left out."""
    return {"excluded": tuple(sorted({*state.excluded, *time_ns})), "selected": ()}


def included(state: State, time_ns: Iterable[int]) -> dict[str, Any]:
    """Those spots are used again."""
    return {"excluded": tuple(sorted(set(state.excluded) - set(time_ns))), "selected": ()}


def with_step(state: State, time_ns: int) -> dict[str, Any]:
    """A step there; it is then the picked one."""
    steps = tuple(sorted({*state.steps, time_ns}))
    return {"steps": steps, "picked": f"step {steps.index(time_ns)}", "at_ns": time_ns}


def with_knot(state: State, knots: tuple[int, ...], time_ns: int) -> dict[str, Any]:
    """A knot there besides those that the curve has now; it is then the picked one."""
    wanted = tuple(sorted({*knots, time_ns}))
    return {"knots": wanted, "picked": f"knot {wanted.index(time_ns)}", "at_ns": time_ns}


def moved(state: State, knots: tuple[int, ...], line: str, time_ns: int) -> dict[str, Any]:
    """A step or knot, as ``step 0``, put elsewhere; ``knots`` are those that the curve has now.

    Lines keep their numbers in order of time. Raises ConfigError for one that there is not.
    """
    kind, number = _line(state, knots, line)
    field, lines = ("steps", state.steps) if kind == "step" else ("knots", knots)
    others = [one for place, one in enumerate(lines) if place != number]
    while time_ns in others:  # two lines at one instant would become one
        time_ns += 1
    wanted = tuple(sorted([*others, time_ns]))
    return {field: wanted, "picked": f"{kind} {wanted.index(time_ns)}", "at_ns": time_ns}


def dragged(
    state: State, knots: tuple[int, ...], line: str, time_ns: int, within: tuple[int, int]
) -> dict[str, Any]:
    """As ``moved``, but it stays between its neighbours, and within the spots.

    The page goes on pulling the line of that number, so it must not become another one.
    """
    kind, number = _line(state, knots, line)
    lines = (within[0], *(state.steps if kind == "step" else knots), within[1])
    low_ns, high_ns = lines[number] + _MINUTE_NS, lines[number + 2] - _MINUTE_NS
    return moved(state, knots, line, max(min(time_ns, high_ns), low_ns))


def removed(state: State, knots: tuple[int, ...], line: str) -> dict[str, Any]:
    """The step or knot is gone."""
    kind, number = _line(state, knots, line)
    field, lines = ("steps", state.steps) if kind == "step" else ("knots", knots)
    return {field: (*lines[:number], *lines[number + 1 :]), "picked": NEW}


def pointed(state: State, knots: tuple[int, ...], time_ns: int, shown_ns: float) -> dict[str, Any]:
    """A click there, with so much time shown: it picks the step or knot under it, if any."""
    lines = {f"step {place}": at for place, at in enumerate(state.steps)}
    lines |= {f"knot {place}": at for place, at in enumerate(knots)}
    near = min(lines, key=lambda name: abs(lines[name] - time_ns), default=NEW)
    if near == NEW or abs(lines[near] - time_ns) > _GRAB * shown_ns:
        return {"picked": NEW, "at_ns": time_ns, "selected": ()}
    return {"picked": near, "at_ns": lines[near], "selected": ()}


def rounded(begin_ns: int, end_ns: int) -> Interval:
    """A period marked with a mouse, to whole minutes."""
    begin, end = sorted(minute(at_ns) for at_ns in (begin_ns, end_ns))
    return Interval(begin, max(end, begin + _MINUTE_NS))


def minute(at_ns: float) -> int:
    """What a mouse can mean: the nearest minute."""
    return round(at_ns / _MINUTE_NS) * _MINUTE_NS


def picked(state: State, knots: tuple[int, ...], line: str) -> dict[str, Any]:
    """The step or knot chosen by its name."""
    if line == NEW:
        return {"picked": NEW}
    kind, number = _line(state, knots, line)
    return {"picked": line, "at_ns": (state.steps if kind == "step" else knots)[number]}


def _line(state: State, knots: tuple[int, ...], line: str) -> tuple[str, int]:
    kind, _, number = line.partition(" ")
    lines = {"step": state.steps, "knot": knots}.get(kind, ())
    if not number.isdecimal() or int(number) >= len(lines):
        raise ConfigError(
            f"there is no {line!r}: the curve has {len(state.steps)} steps and {len(knots)} knots, from 0 on"
        )
    return kind, int(number)
