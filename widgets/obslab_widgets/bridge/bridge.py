"""`Bridge`: a Bokeh document as a live notebook widget."""

from __future__ import annotations

import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import anywidget
import ipywidgets  # type: ignore[import-untyped]
import traitlets
from bokeh.model import Model
from bokeh.models.ui import UIElement

from obslab_widgets.bridge.library import BokehLibrary
from obslab_widgets.bridge.mainloop import Audience, MainLoop
from obslab_widgets.bridge.picture import Picture
from obslab_widgets.pump import Pump

log = logging.getLogger(__name__)

Feed = Callable[[], Iterable[tuple[Model, dict[str, Any]]] | None]
Handler = Callable[[dict[str, Any]], object]

EVENTS = frozenset({"select", "range", "resize", "reset", "press", "drag"})
_HERE = Path(__file__).parent
# anywidget takes one module, as text: relative imports would not resolve in a page.
_SCRIPTS = ("theme.js", "store.js", "access.js", "panel.js", "view.js", "bridge.js")


class Bridge(anywidget.AnyWidget):
    """A Bokeh document as a live widget; any thread may `put` values into it.

    `feed` is asked on the pump's thread after each `touch` for the values to put, so a busy producer
    only touches and the decimation runs once a frame. A handler set with `on` runs on the kernel's
    main loop. A closed bridge ignores what it is given.
    """

    _esm = "\n".join((_HERE / script).read_text("utf-8") for script in _SCRIPTS)
    _css = (_HERE / "bridge.css").read_text("utf-8")
    label = traitlets.Unicode("live plot").tag(sync=True)
    library = traitlets.Instance(BokehLibrary).tag(sync=True, **ipywidgets.widget_serialization)
    # Never assigned: computed each time ipywidgets asks for the state, which it does when a page
    # opens, reloads or reconnects. So all three are current without a protocol of ours.
    snap = traitlets.Any(None).tag(sync=True, to_json=lambda _value, bridge: bridge._snapshot())

    def __init__(
        self,
        root: UIElement | None = None,
        *,
        feed: Feed | None = None,
        label: str = "live plot",
        **kw: Any,
    ) -> None:
        self.frames_sent = self.bytes_sent = self.frames_held = 0
        self._lock = threading.RLock()
        self._picture = Picture()
        self._feed = feed
        self._feeding: int | None = None  # the thread that is inside `feed`
        self._handlers: dict[str, Handler] = {}
        self._inbox: dict[tuple[str, str | None], dict[str, Any]] = {}
        self._asked: dict[str, int] = {}  # page -> its latest question
        self._drain_posted = False
        self._closed = False
        self._loop = MainLoop()
        self._loop.find()
        self._audience = Audience(self._loop)
        if root is not None:
            self._picture.show(root)
        super().__init__(label=label, library=BokehLibrary.shared(), **kw)
        self.on_msg(self._receive)

    # From any thread to the page

    def show(self, root: UIElement) -> None:
        """Replace the whole document, and with it all that was put into the old one.

        The same models may be shown again. They then start from their own Python values, so give
        a data source its columns before it is shown; document and data arrive in one frame.
        """
        with self._lock:
            self._picture.show(root)
        self.touch()

    def put(self, model: Model, **values: Any) -> None:
        """Replace columns of a data source, or properties of any other model of the document.

        All of a call arrives together. Arrays are copied: reuse yours. A column is a 1-D array or a
        list; NaN draws a gap.
        """
        with self._lock:
            if self._closed:
                return
            self._picture.put(model, values)
        self.touch()

    def tell(self, **parts: Any) -> None:
        """Text beside the plot; None removes it.

        `status` is {"level": "ok" | "busy" | "off", "text"}; with "ok" the page warns by itself when
        frames stay away. `table` is {"columns", "rows"} of plain numbers and strings. A cell may be a
        button {"button": text, "name", "label"}, whose "press" event has its name in `on`, or a bar
        {"share": 0 to 1, "label"}; the label is for screen readers.
        """
        with self._lock:
            self._picture.tell(parts)
        self.touch()

    def fail(self, where: str, message: str) -> None:
        """Show an error over the plot until `heal(where)`."""
        with self._lock:
            changed = self._picture.fail(where, message)
        if changed:
            log.warning("%r: %s: %s", self, where, message)
            self.touch()

    def heal(self, where: str) -> None:
        with self._lock:
            healed = self._picture.heal(where)
        if healed:
            self.touch()

    def touch(self) -> None:
        """Say that the feed has news: the pump will ask it."""
        # What a feed puts is sent when it returns. Waking the pump for it would never let it sleep.
        if not self._closed and self._feeding != threading.get_ident():
            Pump.shared().touch(self)

    def flush(self, everything: bool = False) -> bool:
        """Send what changed, or everything, in one message now; False when nothing did."""
        with self._lock:  # also while sending: frames must leave in the order of their numbers
            if everything:
                self._picture.send_everything()
            if self._closed or not self._picture.news:
                return False
            head, buffers = self._picture.next_frame()
            try:
                self.send(head, buffers)
            except Exception:
                self._picture.send_everything()
                raise
            self.frames_sent += 1
            self.bytes_sent += sum(len(buffer) for buffer in buffers)
        return True

    def draw(self) -> None:
        """Ask the feed and send what changed, unless no page shows it. Called by the pump."""
        with self._lock:
            if self._closed or self._audience.is_gone(self._picture.seq):
                self.frames_held += not self._closed
                return
        self._ask_feed()
        with self._lock:
            if self._closed or not self._picture.news:
                return
        self.flush()
        self.heal("drawing")

    # From the page to the main loop

    def on(self, event: str, handler: Handler) -> Self:
        """Call `handler(event)` on the kernel's main loop; of several waiting events the latest wins.

        "select" carries `geometry` (None when cleared); "range" and "resize" carry x0, x1, y0, y1
        and the width and height in pixels; "reset" asks for the home view; "drag" tells with `at` where an
        editable Span was pulled to. `on` names the figure, for "press" the button of the table, for "drag"
        the Span.
        """
        if event not in EVENTS:
            raise ValueError(f"no event {event!r}; one of {', '.join(sorted(EVENTS))}")
        with self._lock:
            self._handlers[event] = handler
            self._picture.handled.add(event)
            self._picture.news = True
        self.touch()
        return self

    def summary(self) -> str:
        with self._lock:
            models, numbers = self._picture.sizes()
        return f"{self.label}: {models} models, {numbers} values"

    def __repr__(self) -> str:
        return f"<Bridge {self.label!r}>"

    def close(self) -> None:
        with self._lock:  # not in the middle of a flush
            self._closed = True
            self._feed = None
            self._handlers.clear()
            super().close()
        Pump.shared().forget(self)

    def _ask_feed(self) -> None:
        feed = self._feed
        if feed is None:
            return
        self._feeding = threading.get_ident()
        edition = self._picture.edition
        try:
            for model, values in feed() or ():
                with self._lock:
                    # A new document may have been shown since the feed began: what it says of the
                    # old one has no place any more.
                    replaced = edition != self._picture.edition and not self._picture.holds(model)
                    if not (replaced or self._closed):
                        self._picture.put(model, values)
            self.heal("feed")
        except Exception:
            self.fail("feed", _traceback())
        finally:
            self._feeding = None

    def _snapshot(self) -> dict[str, Any]:
        with self._lock:
            self._audience.hear(self._picture.seq)  # somebody asks, so somebody listens
            head, buffers = self._picture.whole_frame()
        # JSON here, because ipywidgets would search a structure for buffers.
        return {"head": json.dumps(head), "buffers": buffers}

    def _receive(self, _widget: object, message: dict[str, Any], _buffers: object) -> None:
        # On the main thread, or on a subshell's: so callbacks are posted, never run here.
        self._loop.find()
        with self._lock:
            self._audience.hear(self._picture.seq)
            waiting = self._picture.news
        if message["k"] == "sync":
            self.flush(everything=True)
            self.touch()  # nobody asked the feed while nobody watched
        elif message["k"] == "events":
            self._collect(message)
        elif waiting:
            self.touch()

    def _collect(self, message: dict[str, Any]) -> None:
        with self._lock:
            for event in message["events"]:
                self._inbox[event["name"], event.get("on")] = event
            self._asked[message["page"]] = message["question"]
            posted, self._drain_posted = self._drain_posted, True
        if not posted and not self._loop.post(self._drain):
            self._drain()

    def _drain(self) -> None:
        with self._lock:
            events, self._inbox = list(self._inbox.values()), {}
            asked, self._asked = self._asked, {}
            self._drain_posted = False
        for event in events:
            name = event.pop("name")
            self._call(name, event)
        with self._lock:  # only now: a page holds the user's ranges until its gesture is answered
            for page, question in asked.items():
                self._picture.answer(page, question)
        self.flush()  # the answer does not wait for the pump

    def _call(self, name: str, event: dict[str, Any]) -> None:
        handler = self._handlers.get(name)
        if handler is None:
            return
        try:
            handler(event)
            self.heal(f"on {name}")
        except Exception:
            self.fail(f"on {name}", _traceback())


def _traceback() -> str:
    return traceback.format_exc(limit=-3).strip()
