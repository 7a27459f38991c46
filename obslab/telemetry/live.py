"""Sources of a live view: an archive, a broker, or a Dataset, each as rings and one line of condition.

A source owns a thread that only fills rings and says ``changed``; it never draws.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import paho.mqtt.client as paho

from obslab.config import Broker, broker_at
from obslab.errors import ConfigError
from obslab.telemetry import codec
from obslab.telemetry.archive import Archive, Readings, open_archive
from obslab.telemetry.collector import read_report
from obslab.telemetry.hot import Arrivals
from obslab.telemetry.intake import Intake, Message
from obslab.telemetry.mqtt import Link
from obslab.telemetry.ring import Ring
from obslab.telemetry.sample import Meta, Stream, valid_at

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)

_POLL_S = 0.1
_TICK_S = 1.0  # ages grow even when nothing comes
_SILENT_S = 5.0  # a collector reports every second; after this it is taken for gone
_INBOX = 20_000

Level = Literal["ok", "busy", "off"]


@dataclass(frozen=True)
class Condition:
    """How a source is, for a status line: ``lost`` counts messages that had to be thrown away unseen."""

    level: Level
    text: str
    lost: int = 0
    rejected: int = 0


class Source(Protocol):
    """What a live view reads; ``rings`` and ``metas`` may grow at any time."""

    live: bool

    def start(self, changed: Callable[[], None]) -> None: ...
    def stop(self) -> None: ...
    def rings(self) -> list[Ring]: ...
    def meta(self, stream: Stream) -> Meta | None: ...
    def condition(self) -> Condition: ...
    def reach(self, window_s: float) -> None:
        """Fill the rings with history for a window of this length, where there is some."""
        ...


def source_of(thing: object, *, history: object = None, topics: tuple[str, ...] = ("#",)) -> Source:
    """The source for an Archive (or its folder), a broker URL, a Dataset, or a list of Datasets.

    ``history`` is the archive from which a broker's live view is filled. Raises ConfigError.
    """
    import xarray as xr

    if isinstance(thing, xr.Dataset):
        return DatasetSource([thing])
    if isinstance(thing, list) and thing and all(isinstance(one, xr.Dataset) for one in thing):
        return DatasetSource(thing)
    if isinstance(thing, str) and thing.startswith(("mqtt://", "mqtts://")):
        return BrokerSource(broker_at(thing), topics, _archive_of(history) if history is not None else None)
    return ArchiveSource(_archive_of(thing))


class ArchiveSource:
    """Follows what a collector writes into an archive, history and late samples included."""

    live = True

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._rings: dict[Stream, Ring] = {}
        self._metas: dict[str, tuple[Meta, ...]] = {}
        self._ending = threading.Event()
        self._trouble = ""
        self._row = 0
        self._reached_s = 0.0

    def start(self, changed: Callable[[], None]) -> None:
        self._row = self.archive.last_row()
        threading.Thread(target=self._run, args=(changed,), name="obslab-follow", daemon=True).start()

    def stop(self) -> None:
        self._ending.set()

    def rings(self) -> list[Ring]:
        return [self._rings[stream] for stream in sorted(self._rings)]

    def meta(self, stream: Stream) -> Meta | None:
        return self._metas.get(stream.meta_topic, (None,))[-1]

    def condition(self) -> Condition:
        if self._trouble:
            return Condition("off", self._trouble)
        rejected = self.archive.rejected_count()
        report = read_report(self.archive.path)
        if report is None:
            return Condition("off", "no collector has written to this archive yet", 0, rejected)
        silent_s = time.time() - report.at_s
        if silent_s > _SILENT_S:
            return Condition(
                "off", f"disconnected: no word from the collector for {silent_s:.0f} s", 0, rejected
            )
        if report.trouble:
            return Condition("off", report.trouble, 0, rejected)
        if not report.connected:
            return Condition("off", f"disconnected: {report.detail}", 0, rejected)
        return Condition("ok", report.detail, 0, rejected)

    def reach(self, window_s: float) -> None:
        self._metas = self.archive.all_metas()
        for stream in self.archive.streams():
            self._fill(stream, window_s)
        self._reached_s = max(self._reached_s, window_s)

    def _fill(self, stream: Stream, window_s: float) -> None:
        span = self.archive.span(stream)
        if span is not None:
            history = self.archive.readings(stream, span[1] - round(window_s * 1e9), span[1] + 1)
            _ring(self._rings, history).append(history)

    def _run(self, changed: Callable[[], None]) -> None:
        told = 0.0
        while not self._ending.wait(_POLL_S):
            try:
                news = False
                for row, readings in self.archive.follow(self._row):
                    if readings.stream not in self._rings or not self._metas.get(readings.stream.meta_topic):
                        self._metas = self.archive.all_metas()
                    _ring(self._rings, readings).append(readings)
                    self._row, news = row, True
                if news or time.monotonic() - told > _TICK_S:
                    told = time.monotonic()
                    self._metas = self.archive.all_metas() if not news else self._metas
                    changed()
                self._trouble = ""
            except Exception as error:  # shown in the view; the thread goes on, the archive may come back
                if not self._trouble:
                    log.exception("following %s failed", self.archive.path)
                self._trouble = f"the archive cannot be read: {error}"
                changed()
                self._ending.wait(_TICK_S)


class BrokerSource:
    """Subscribes to a broker itself; the archive, when given, only fills the beginning."""

    live = True

    def __init__(self, address: Broker, topics: tuple[str, ...], archive: Archive | None) -> None:
        self._archive = archive
        self._rings: dict[Stream, Ring] = {}
        self._intake = Intake(archive.all_metas() if archive else {})
        self._inbox: deque[Message] = deque()
        self._news, self._ending = threading.Event(), threading.Event()
        self._lost = self._rejected = 0
        self._waiting: dict[Message, None] = {}
        self._link = Link(
            address, f"obslab-view-{uuid.uuid4().hex[:12]}", topics=topics, on_message=self._arrived
        )
        self._filters = topics

    def start(self, changed: Callable[[], None]) -> None:
        self._link.start()
        threading.Thread(target=self._run, args=(changed,), name="obslab-listen", daemon=True).start()

    def stop(self) -> None:
        self._ending.set()
        self._news.set()
        self._link.stop()

    def rings(self) -> list[Ring]:
        return [self._rings[stream] for stream in sorted(self._rings)]

    def meta(self, stream: Stream) -> Meta | None:
        return self._intake.metas.get(stream.meta_topic, (None,))[-1]

    def condition(self) -> Condition:
        state = self._link.state
        text = state.detail if state.connected else f"disconnected: {state.detail}"
        return Condition("ok" if state.connected else "off", text, self._lost, self._rejected)

    def reach(self, window_s: float) -> None:
        if self._archive is None:
            return
        for stream in self._archive.streams():
            span = self._archive.span(stream)
            if span is not None and any(
                paho.topic_matches_sub(topic, stream.topic) for topic in self._filters
            ):
                history = self._archive.readings(stream, span[1] - round(window_s * 1e9), span[1] + 1)
                _ring(self._rings, history).append(history)

    def _arrived(self, message: paho.MQTTMessage, arrival_ns: int) -> None:
        if len(self._inbox) >= _INBOX:
            self._inbox.popleft()
            self._lost += 1
        self._inbox.append(Message(message.topic, bytes(message.payload), arrival_ns))
        self._news.set()

    def _run(self, changed: Callable[[], None]) -> None:
        while not self._ending.is_set():
            self._news.wait(_TICK_S)
            self._news.clear()
            taken = [self._inbox.popleft() for _ in range(len(self._inbox))]
            if any(message.topic.endswith("$meta") for message in taken) and self._waiting:
                taken, self._waiting = [*self._waiting, *taken], {}
            batch = self._intake.sort(taken)
            for refusal in batch.refusals:
                if refusal.waiting and len(self._waiting) < _INBOX:
                    self._waiting[Message(refusal.topic, refusal.payload, refusal.arrival_ns)] = None
                else:
                    self._rejected += 1
            for arrivals in batch.arrivals:
                readings = self._decoded(arrivals)
                if readings is not None:
                    _ring(self._rings, readings).append(readings)
            changed()
            self._ending.wait(_POLL_S)  # a burst is taken together

    def _decoded(self, arrivals: Arrivals) -> Readings | None:
        meta = valid_at(self._intake.metas[arrivals.stream.meta_topic], int(arrivals.time_ns[0]))
        if meta is None:
            return None
        values, quality = codec.unpack(meta, arrivals.bodies)
        return Readings(
            arrivals.stream,
            meta.components,
            meta.component_units,
            arrivals.time_ns,
            arrivals.arrival_ns,
            values,
            quality,
        )


class DatasetSource:
    """Datasets as they are: nothing moves."""

    live = False

    def __init__(self, datasets: list[xr.Dataset]) -> None:
        self._rings: dict[Stream, Ring] = {}
        for dataset in datasets:
            readings = _readings_of(dataset)
            ring = Ring(readings.stream, readings.components, readings.units, max(1, readings.time_ns.size))
            ring.append(readings)
            self._rings[readings.stream] = ring

    def start(self, changed: Callable[[], None]) -> None:
        changed()

    def stop(self) -> None:
        return None

    def rings(self) -> list[Ring]:
        return [self._rings[stream] for stream in sorted(self._rings)]

    def meta(self, stream: Stream) -> Meta | None:
        return None

    def condition(self) -> Condition:
        return Condition("ok", "a dataset, not live")

    def reach(self, window_s: float) -> None:
        return None


def _ring(rings: dict[Stream, Ring], readings: Readings) -> Ring:
    """The stream's ring; a new one when its components are not what they were."""
    ring = rings.get(readings.stream)
    if ring is None or not set(readings.components) <= set(ring.components):
        ring = rings[readings.stream] = Ring(readings.stream, readings.components, readings.units)
    return ring


def _archive_of(thing: object) -> Archive:
    if isinstance(thing, Archive):
        return thing
    if isinstance(thing, str | Path):
        return open_archive(thing)
    raise ConfigError(f"a {type(thing).__name__} is no source: give an archive, a broker URL or a Dataset")


def _readings_of(dataset: xr.Dataset) -> Readings:
    try:
        stream = Stream(*(str(dataset.attrs[name]) for name in ("station", "instrument", "samplerate")))
        time_ns = dataset["time"].values.astype("datetime64[ns]").astype(np.int64)
    except KeyError as error:
        raise ConfigError(
            f"the Dataset has no {error}; wanted one as `open_archive(...).dataset(...)` gives"
        ) from error
    fields: Mapping[str, xr.DataArray] = {
        str(name): array
        for name, array in dataset.data_vars.items()
        if array.dims == ("time",) and array.dtype.kind == "f"
    }
    if not fields:
        raise ConfigError(f"the Dataset of {stream} has no variable of numbers along time")
    arrival = dataset["arrival"].values.astype(np.int64) if "arrival" in dataset else time_ns
    return Readings(
        stream,
        tuple(fields),
        tuple(str(array.attrs.get("units", "")) for array in fields.values()),
        time_ns,
        arrival,
        np.stack([array.values for array in fields.values()], axis=1),
        np.zeros(time_ns.size, dtype=np.uint8),
    )
