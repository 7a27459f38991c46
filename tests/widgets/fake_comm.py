"""A comm without a kernel: keeps what a widget sends, and says what a page would say."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import ipywidgets.widgets.widget
import numpy as np
import pytest

_numbers = itertools.count(1)


class FakeComm:
    """Stands in for `comm.Comm`; set `broken` to make sending fail as a closed socket does."""

    def __init__(self, comm_id: str | None = None, **opened: Any) -> None:
        self.comm_id = comm_id or f"comm{next(_numbers)}"
        self.opened = opened
        self.broken = False
        self.closed = False
        self.sending: Callable[[], None] | None = None
        self._sent: list[tuple[dict[str, Any], list[Any]]] = []
        self._arrived = threading.Condition()

    def on_msg(self, callback: Callable[[dict[str, Any]], None]) -> None:
        self._callback = callback

    def send(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None:
        if self.sending:
            self.sending()
        if self.broken:
            raise OSError("socket closed")
        with self._arrived:
            self._sent.append((data, list(buffers or [])))
            self._arrived.notify_all()

    def close(self, *_: Any, **__: Any) -> None:
        self.closed = True

    @property
    def frames(self) -> list[Frame]:
        with self._arrived:
            return [Frame(data["content"], bufs) for data, bufs in self._sent if data["method"] == "custom"]

    def receive(self, **content: Any) -> None:
        """As if a page had sent this."""
        self._callback({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})

    def wait_for(self, wanted: Callable[[list[Frame]], Any], timeout_s: float = 10) -> Any:
        """The first true answer of `wanted(frames)`."""
        end_s = time.monotonic() + timeout_s
        while not (answer := wanted(self.frames)):
            left_s = end_s - time.monotonic()
            assert left_s > 0, f"did not happen in {timeout_s} s; frames: {[f.head for f in self.frames]}"
            with self._arrived:
                self._arrived.wait(min(left_s, 0.05))
        return answer


class Frame:
    """One message to the page, and how the page reads it."""

    def __init__(self, head: dict[str, Any], buffers: list[Any]) -> None:
        self.head = head
        self._buffers = buffers

    @property
    def errors(self) -> dict[str, str]:
        return self.head["errors"]

    def value(self, model: Any, name: str) -> Any:
        """As a list, or None when the frame does not hold it."""
        packed = self.head["models"].get(model.id, {}).get(name)
        if not isinstance(packed, dict):
            return packed
        return np.frombuffer(self._buffers[packed["$"]], packed["d"]).reshape(packed["s"]).tolist()


def snapshot(bridge: Any) -> Frame:
    """What a page that opens now is given."""
    snap = bridge.get_state("snap")["snap"]
    return Frame(json.loads(snap["head"]), snap["buffers"])


def use_fake_comms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipywidgets.widgets.widget.comm, "create_comm", lambda **kw: FakeComm(**kw))
