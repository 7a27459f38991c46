"""A live view of an archive: follows what a collector writes, history and late samples included."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from obslab.telemetry.archive.store import Archive
from obslab.telemetry.collect.report import read_report
from obslab.telemetry.live.ring import Ring
from obslab.telemetry.live.source import Condition, Level, Rings
from obslab.telemetry.sample import Meta, Stream

log = logging.getLogger(__name__)

_POLL_S = 0.1
_TICK_S = 1.0  # ages grow even when nothing comes
_SILENT_S = 5.0  # a collector reports every second; after this it is taken for gone


class ArchiveSource:
    """Follows what a collector writes into an archive, history and late samples included."""

    live = True

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._rings = Rings()
        self._metas: dict[str, tuple[Meta, ...]] = {}
        self._ending = threading.Event()
        self._trouble = ""
        self._rejected = 0
        self._report = read_report(archive.path)
        # Here, not in start(): what is stored while a view reads its history must not be passed over.
        self._row = archive.last_row()

    def start(self, changed: Callable[[], None]) -> None:
        threading.Thread(target=self._run, args=(changed,), name="obslab-follow", daemon=True).start()

    def stop(self) -> None:
        self._ending.set()

    def rings(self) -> list[Ring]:
        return self._rings.all()

    def meta(self, stream: Stream) -> Meta | None:
        return self._metas.get(stream.meta_topic, (None,))[-1]

    @property
    def clocked(self) -> bool:
        """Without a collector, ever, the archive is of the past: its newest sample is where it ends."""
        return self._report is not None

    def condition(self) -> Condition:
        if self._trouble:
            return Condition("off", self._trouble)
        rejected = self._rejected
        report = read_report(self.archive.path)
        if report is None:
            level: Level = "ok" if any(len(ring) for ring in self.rings()) else "off"
            return Condition(level, "no collector has written to this archive yet", 0, rejected)
        silent_s = time.time() - report.at_s
        if silent_s > _SILENT_S:
            return Condition(
                "off", f"disconnected: no word from the collector for {silent_s:.0f} s", 0, rejected
            )
        if report.trouble:
            return Condition("off", report.trouble, 0, rejected)
        if not report.connected:
            return Condition("off", f"disconnected: {report.detail}", 0, rejected)
        if report.notice:
            return Condition("busy", f"{report.detail}; {report.notice}", 0, rejected)
        return Condition("ok", report.detail, 0, rejected)

    def reach(self, window_s: float) -> None:
        self._look_around()
        for stream in self.archive.streams():
            self._rings.fill(self.archive, stream, window_s)

    def _run(self, changed: Callable[[], None]) -> None:
        told = 0.0
        while not self._ending.wait(_POLL_S):
            try:
                reached = self._row
                for row, readings in self.archive.follow(self._row):
                    if readings.stream.meta_topic not in self._metas:
                        self._metas = self.archive.all_metas()
                    self._rings.add(readings)
                    reached = row
                ticked = time.monotonic() - told > _TICK_S
                if ticked:
                    told = time.monotonic()
                    self._look_around()
                if ticked or reached != self._row:
                    changed()
                self._row, self._trouble = reached, ""
            except Exception as error:  # shown in the view; the thread goes on, the archive may come back
                if not self._trouble:
                    log.exception("following %s failed", self.archive.path)
                self._trouble = f"the archive cannot be read: {error}"
                changed()
                self._ending.wait(_TICK_S)

    def _look_around(self) -> None:
        """What changes seldom: a station that started again has another clock, a message was rejected."""
        self._metas = self.archive.all_metas()
        self._report = read_report(self.archive.path)
        self._rejected = self.archive.rejected_count()
