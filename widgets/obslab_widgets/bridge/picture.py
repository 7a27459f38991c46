"""The truth a page draws: the Bokeh document, what was put into it since, and what of that is news."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document
from bokeh.model import Model

from obslab_widgets.bridge.wire import own, own_values, pack

Frame = tuple[dict[str, Any], list[memoryview | bytes]]

_PARTS = ("status", "table")
_LEVELS = ("ok", "busy", "off")
_SPECIAL_CELLS = ({"button", "name", "label"}, {"share", "label"})
_PAGES = 8  # a reload is a new page: remember the answers to the latest few


class Picture:
    """What every page shows now. Not thread-safe: the bridge holds its lock around each call."""

    def __init__(self) -> None:
        self.seq = 0
        self.news = False
        self.handled: set[str] = set()  # events that Python listens to; a page sends no others
        self.errors: dict[str, str] = {}
        self.edition = 0  # counts the documents shown
        self._document: str | None = None
        self._models: frozenset[str] = frozenset()
        self._values: dict[str, dict[str, Any]] = {}
        self._parts: dict[str, Any] = {}
        self._retold = False
        self._answered: dict[str, int] = {}
        self._changed: set[str] = set()
        self._whole = True

    def show(self, root: Model) -> None:
        """Replace the document; what was put into the old one is forgotten."""
        document = Document()
        document.add_root(root)
        try:
            self._document = serialize_json(document.to_json(deferred=False))
            self._models = frozenset(model.id for model in root.references())
        finally:
            document.clear()  # lets the caller show the same models again, in another layout
        self.edition += 1
        self._values.clear()
        self.send_everything()

    def holds(self, model: Model) -> bool:
        return model.id in self._models

    def put(self, model: Model, values: Mapping[str, Any]) -> None:
        if not self.holds(model):
            name = model.name or model.id
            raise ValueError(f"{type(model).__name__} {name} is not in the shown document; call show() first")
        known = self._values.get(model.id, {})
        self._values[model.id] = {**known, **own_values(model, known, values)}
        self._changed.add(model.id)
        self.news = True

    def tell(self, parts: Mapping[str, Any]) -> None:
        for name, part in parts.items():
            if name not in _PARTS:
                raise ValueError(f"cannot tell {name!r}; one of {', '.join(_PARTS)}")
            if part is None:
                self._parts.pop(name, None)
            else:
                self._parts[name] = _status(part) if name == "status" else _table(part)
        self._retold = self.news = True

    def fail(self, where: str, message: str) -> bool:
        """Whether that is news: an error that repeats is told once."""
        return self._note(self.errors.get(where) != message, lambda: self.errors.update({where: message}))

    def heal(self, where: str) -> bool:
        return self._note(where in self.errors, lambda: self.errors.pop(where))

    def answer(self, page: str, question: int) -> None:
        """Remember that this question was handled; each later frame repeats it, so none is lost."""
        self._answered.pop(page, None)
        self._answered[page] = question
        for old in list(self._answered)[:-_PAGES]:
            del self._answered[old]
        self.news = True

    def send_everything(self) -> None:
        self._whole = self.news = True

    def next_frame(self) -> Frame:
        """What changed since the last frame, which becomes old news."""
        self.seq += 1
        frame = self._frame(self._values if self._whole else self._changed, whole=self._whole)
        self._changed = set()
        self._whole = self._retold = self.news = False
        return frame

    def whole_frame(self) -> Frame:
        """Everything as it is now, for a page that starts; what was news remains news."""
        return self._frame(self._values, whole=True)

    def sizes(self) -> tuple[int, int]:
        """How many models hold put values, and how many numbers those are."""
        held = [value for values in self._values.values() for value in values.values()]
        return len(self._values), sum(value.size for value in held if isinstance(value, np.ndarray))

    def _frame(self, models: Any, whole: bool) -> Frame:
        buffers: list[memoryview | bytes] = []
        head: dict[str, Any] = {
            "k": "frame",
            "seq": self.seq,
            "t": time.time(),
            "whole": whole,
            "edition": self.edition,
            "errors": dict(self.errors),
            "answered": dict(self._answered),
            "handled": sorted(self.handled),
            "models": {model: pack(self._values[model], buffers) for model in models},
        }
        if whole or self._retold:
            head["parts"] = dict(self._parts)
        if whole:
            head["document"] = self._document
        return head, buffers

    def _note(self, changed: bool, change: Any) -> bool:
        if changed:
            change()
            self.news = True
        return changed


def _status(part: Mapping[str, Any]) -> dict[str, str]:
    level, text = part["level"], part["text"]
    if level not in _LEVELS:
        raise ValueError(f"status level must be one of {', '.join(_LEVELS)}, got {level!r}")
    return {"level": level, "text": str(text)}


def _table(part: Mapping[str, Any]) -> dict[str, Any]:
    columns = [str(column) for column in part["columns"]]
    rows = [[_cell(value) for value in row] for row in part["rows"]]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"table row {row} has {len(row)} cells for {len(columns)} columns")
    return {"columns": columns, "rows": rows}


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) not in _SPECIAL_CELLS:
        raise ValueError(f"table cell has {', '.join(value)}; wanted button, name, label or share, label")
    if isinstance(value, (float, np.floating)) and not np.isfinite(value):
        return None
    return own(value)
