"""The base of every widget: a frozen state, its history, and one bridge that draws.

    user -> change(...) -> State -> frame -> bridge
    source's thread -> touch() -> pump -> frame -> bridge

A subclass gives ``State`` (a frozen dataclass) and ``feed`` (runs on the pump's thread). What the user
changed can be undone; what the clock or the data changed is not part of the state.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import ipywidgets  # type: ignore[import-untyped]
import msgspec
from bokeh.model import Model

from obslab.errors import ConfigError
from obslab_widgets.bridge import Bridge

if TYPE_CHECKING:
    import xarray as xr

S = TypeVar("S")

_ONE_STEP_S = 1.0  # a drag is many changes and one step to undo
_DEPTH = 200


class Panel(ipywidgets.VBox, Generic[S]):  # type: ignore[misc]
    """Controls above a bridge. ``summary``, ``dataset`` and the rest work without a browser."""

    State: ClassVar[type]

    def __init__(self, initial: S, label: str) -> None:
        self._state: S = initial
        self._past: list[S] = []
        self._future: list[S] = []
        self._dragged_at = -math.inf
        self._guard = threading.RLock()
        self._watchers: list[Callable[[], None]] = []
        self._closed = False
        self.bridge = Bridge(feed=self.feed, label=label)
        super().__init__([self.bridge])

    # ---- for subclasses

    def feed(self) -> list[tuple[Model, dict[str, Any]]]:
        """What to draw now; called on the pump's thread after ``touch``."""
        raise TypeError(f"{type(self).__name__} does not say what to draw")

    def show_state(self) -> None:
        """Write the state into the controls; called after each change."""

    def touch(self) -> None:
        """There is news: draw when the pump comes round."""
        self.bridge.touch()

    # ---- state

    def change(self, **changes: Any) -> None:
        """Set fields of the state, as a user does; ``undo`` takes it back."""
        self._set(changes, drag=False)

    def drag(self, **changes: Any) -> None:
        """``change`` while the mouse is moving: what follows within a second is one step to undo."""
        self._set(changes, drag=True)

    def when_changed(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call after each change of the state, on its thread. Call what is returned to end that."""
        self._watchers.append(call)
        return lambda: self._watchers.remove(call) if call in self._watchers else None

    def undo(self) -> None:
        """Take back the last change."""
        self._step(self._past, self._future)

    def redo(self) -> None:
        """Do again what was undone."""
        self._step(self._future, self._past)

    def state(self) -> dict[str, Any]:
        """What the user chose, as plain values that JSON can hold."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self._state)))  # type: ignore[call-overload]
        return plain

    def restore(self, state: dict[str, Any]) -> None:
        """Set a state that ``state()`` gave. Raises ConfigError for one that does not fit."""
        unknown = sorted(set(state) - set(self.state()))
        if unknown:
            raise ConfigError(
                f"{type(self).__name__} has no setting {', '.join(unknown)}; it has {', '.join(self.state())}"
            )
        try:
            new: Any = msgspec.convert({**self.state(), **state}, self.State)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{type(self).__name__} cannot take this state: {error}") from error
        self.change(**{name: getattr(new, name) for name in state})

    @property
    def dataset(self) -> xr.Dataset:
        """The data behind what is shown."""
        raise TypeError(f"{type(self).__name__} has no dataset")

    def export(self, path: str | Path) -> Path:
        """Write ``dataset`` as netCDF (``.nc``) or CSV (``.csv``). Raises ConfigError for other names."""
        path = Path(path)
        if path.suffix == ".nc":
            self.dataset.to_netcdf(path)
        elif path.suffix == ".csv":
            self.dataset.to_dataframe().to_csv(path)
        else:
            raise ConfigError(f"cannot export to {path.name!r}; name it .nc or .csv")
        return path

    def close(self) -> None:
        """Stop drawing and leave the page."""
        self._closed = True
        self._watchers.clear()
        self.bridge.close()
        super().close()

    def _set(self, changes: dict[str, Any], *, drag: bool) -> None:
        with self._guard:
            new = replace(self._state, **changes)  # type: ignore[type-var]
            if new == self._state:
                return
            now = time.monotonic()
            if not drag or now - self._dragged_at > _ONE_STEP_S:
                self._past = [*self._past[-_DEPTH:], self._state]
            self._dragged_at = now if drag else -math.inf
            self._future, self._state = [], new
        self._shown()

    def _step(self, origin: list[S], target: list[S]) -> None:
        with self._guard:
            if not origin:
                return
            target.append(self._state)
            self._state = origin.pop()
            self._dragged_at = -math.inf
        self._shown()

    def _shown(self) -> None:
        self.show_state()
        self.touch()
        for call in [*self._watchers]:
            call()
