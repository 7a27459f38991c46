"""``link(a, b)``: what is marked in one widget is marked in the other, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from obslab.errors import ConfigError
from obslab_widgets.selection import Selection


class Linkable(Protocol):
    """A widget with one marked interval of time: `StreamViewer`, `LatencyDashboard`."""

    @property
    def marked(self) -> Selection | None: ...

    def select(self, selection: Selection | None) -> None: ...

    def when_changed(self, call: Callable[[], None]) -> Callable[[], None]: ...


class Links:
    """What ``link`` gives: ``close()`` lets the widgets go their own ways."""

    def __init__(self, *ends: Callable[[], None]) -> None:
        self._ends = ends

    def close(self) -> None:
        for end in self._ends:
            end()

    def __repr__(self) -> str:
        return f"<{len(self._ends)} linked widgets>"


def link(*widgets: Linkable) -> Links:
    """Share one marked interval among widgets; the first one's is taken to begin with.

    Each shows it for the stations that both have, by their clock. Raises ConfigError for what has none.
    """
    for widget in widgets:
        if not all(hasattr(widget, name) for name in ("marked", "select", "when_changed")):
            raise ConfigError(f"a {type(widget).__name__} has no marked time to share")
    if len(widgets) < 2:
        raise ConfigError(f"link takes two widgets or more, not {len(widgets)}")
    links = Links(*(widget.when_changed(lambda widget=widget: _carry(widget, widgets)) for widget in widgets))  # type: ignore[misc]
    _carry(widgets[0], widgets)
    return links


def _carry(origin: Linkable, widgets: tuple[Linkable, ...]) -> None:
    marked = origin.marked
    for widget in widgets:
        # Those that agree are left alone: else two widgets would answer each other for ever.
        if widget is not origin and not _same(widget.marked, marked):
            widget.select(marked)


def _same(one: Selection | None, other: Selection | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.begin_ns, one.end_ns) == (other.begin_ns, other.end_ns)
