"""Texts of the controls, to and from the fields of a State."""

from __future__ import annotations

from obslab.errors import ConfigError
from obslab.times import NS_PER_DAY, as_ns, iso
from obslab_widgets.baseline_editor.state import NEW, State
from obslab_widgets.latency_dashboard.instants import interval_of, text_of
from obslab_widgets.latency_dashboard.state import Interval


def instant_ns(text: str) -> int:
    """``2024-05-10`` or ``2024-05-10T07:00``, in UTC. Raises BadTimeError."""
    bare = text.strip().removesuffix("Z").replace(" ", "T")
    return as_ns(bare if "T" not in bare else f"{bare}{':00' if len(bare) == 13 else ''}Z")


def time_text(at_ns: int) -> str:
    """A time on a line, to the minute."""
    return iso(at_ns, 0)[:16].replace("T", " ")


def validity(text: str) -> tuple[int | None, int | None]:
    """``begin/end``, of which either may be missing: then it is the first spot's day, or the last spot's.

    Raises BadTimeError.
    """
    first, slash, last = (part.strip() for part in text.partition("/"))
    if first and (last or not slash):
        whole = interval_of(text)
        return whole.begin_ns, whole.end_ns
    return (instant_ns(first) if first else None), (instant_ns(last) if last else None)


def validity_text(begin_ns: int | None, end_ns: int | None) -> str:
    """What ``validity`` reads."""
    if begin_ns is None and end_ns is None:
        return ""
    return "/".join("" if at is None else _short(at) for at in (begin_ns, end_ns))


def period_text(period: Interval | None) -> str:
    """What ``interval_of`` reads; empty for none."""
    return "" if period is None else text_of(period)


def days(text: str) -> float | None:
    """A number of days; None for ``auto`` or nothing. Raises ConfigError."""
    if text in ("", "auto"):
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise ConfigError(
            f"smoothing {text!r} is not a number of days above 0; empty finds it from the spots"
        )
    return number


def lines(state: State, knots: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
    """Steps and knots to pick from."""
    found = [("new", NEW)]
    for kind, places in (("step", state.steps), ("knot", knots)):
        found += [
            (f"{kind} {place + 1}: {time_text(at)}", f"{kind} {place}") for place, at in enumerate(places)
        ]
    return tuple(found)


def _short(at_ns: int) -> str:
    text = iso(at_ns, 0)
    return text[:10] if at_ns % NS_PER_DAY == 0 else text.removesuffix("Z")
