"""What a person is told: an alarm, a reminder of it, its all-clear, or a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from obslab.times import iso

What = Literal["alarm", "reminder", "all-clear", "test"]
Fact = str | int | float | bool | None


@dataclass(frozen=True)
class Notice:
    """One line for people and the facts behind it for programs; ``since_ns`` is when it began."""

    what: What
    rule: str
    kind: str
    subject: str
    text: str
    at_ns: int
    since_ns: int
    facts: dict[str, Fact] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """``ALARM stale: PEA lemi0001 sec: ...``, always one line."""
        return " ".join(f"{self.what.upper()} {self.rule}: {self.text}".split())

    def plain(self) -> dict[str, Any]:
        """For JSON; ``text`` is what chat programs show of a webhook."""
        return {
            "text": self.line,
            "what": self.what,
            "rule": self.rule,
            "kind": self.kind,
            "subject": self.subject,
            "at": iso(self.at_ns, 0),
            "since": iso(self.since_ns, 0),
            "facts": self.facts,
        }


def together(notices: Sequence[Notice], at_most: int = 3) -> list[Notice]:
    """The same news of more than so many subjects as one: a link that fails makes all its streams stale."""
    news: dict[tuple[str, str], list[Notice]] = {}
    for notice in notices:
        news.setdefault((notice.rule, notice.what), []).append(notice)
    return [one for same in news.values() for one in (same if len(same) <= at_most else [_one(same)])]


def _one(same: Sequence[Notice]) -> Notice:
    first, subjects = same[0], ", ".join(notice.subject for notice in same)
    text = f"{len(same)} at once: {'; '.join(notice.text for notice in same[:3])}; ..."
    facts: dict[str, Fact] = {"count": len(same), "subjects": subjects}
    since_ns = min(notice.since_ns for notice in same)
    return replace(first, subject=f"{len(same)} subjects", text=text, since_ns=since_ns, facts=facts)


def span(seconds: float) -> str:
    """A length of time for people: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 days 4 h``."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} days {hours % 24} h" if hours % 24 else f"{days} days"


def trial(now_ns: int) -> Notice:
    """What `obslab watch --test` sends."""
    text = "this is a test of obslab watch; nothing is wrong"
    return Notice("test", "test", "test", "test", text, now_ns, now_ns)
