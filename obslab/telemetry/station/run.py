"""Runs a station: instruments -> journal -> publisher, and -> day files."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from obslab.telemetry.protocol import Command
from obslab.telemetry.sample import Meta, Stream
from obslab.telemetry.station.dayfile import DayFiles
from obslab.telemetry.station.health import health
from obslab.telemetry.station.holding import Holding
from obslab.telemetry.station.instrument import Instrument
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.publisher import Publisher
from obslab.telemetry.station.replay import Instruments, Outgoing

log = logging.getLogger(__name__)

_NAP_S = 0.5  # the longest sleep, so that stopping is prompt
_TELL_S = 60.0


@dataclass
class Station:
    """Write what is due to the journal and to the day files, wake the publisher, sleep until the next.

    Journal and day files fail apart: while the disk of one is full its messages wait in memory, and the other
    goes on. ``pause``, ``resume`` and ``restart_driver`` may be called from any thread. A paused station
    lets a real instrument's port go, for somebody else to use; what others give is ``skipped``. A
    station that starts again is not paused: nobody has to remember.
    """

    instruments: Instruments
    journal: Journal
    publisher: Publisher
    days: DayFiles | None = None
    paused: bool = False
    skipped: int = 0
    journalled: Holding = field(init=False)
    filed: Holding | None = field(init=False)
    _declared: list[tuple[Stream, Meta]] = field(default_factory=list)
    _restart: threading.Event = field(default_factory=threading.Event)
    _unsendable_told_at: float = -_TELL_S

    def __post_init__(self) -> None:
        self.journalled = Holding(str(self.journal.folder), self._write)
        self.filed = Holding(str(self.days.folder), self._file) if self.days else None

    @property
    def lost(self) -> int:
        """Messages that the journal never took."""
        return self.journalled.lost

    def run(self, ending: threading.Event) -> None:
        """Until ``ending`` is set, or a replay or standard input has come to its end and is on disk."""
        real = self.instruments if isinstance(self.instruments, Instrument) else None
        if real:
            real.start()
        while not ending.is_set():
            self._save(self._due())
            upcoming = self.instruments.next_ns()
            if upcoming is None and not self._unsaved():
                break
            wait_s = (
                _NAP_S
                if upcoming is None
                else (self.instruments.clock.wall_at(upcoming) - time.time_ns()) / 1e9
            )
            ending.wait(min(_NAP_S, max(0.001, wait_s)))
        rest = real.finish() if real else []
        if rest or self._unsaved():  # perhaps between two tries on a full disk: this is the last one
            self._save(rest, last=True)
        for holding in (self.journalled, self.filed):
            if holding:
                holding.give_up()
        if self.days:
            try:
                self.days.close()
            except OSError as error:
                log.error("%s: %s", self.days.folder, error)

    def pause(self) -> None:
        self.paused = True
        if isinstance(self.instruments, Instrument):
            self.instruments.pause()

    def resume(self) -> None:
        self.paused = False
        if isinstance(self.instruments, Instrument):
            self.instruments.unpause()

    def restart_driver(self) -> None:
        """A new driver on a newly opened port, before the next reading."""
        self._restart.set()

    def command(self, command: Command) -> None:
        """What an operator asks for over ``$cmd``."""
        {"pause": self.pause, "resume": self.resume, "restart": self.restart_driver}[command.do]()

    def health(self) -> dict[str, Any]:
        """The fields of ``$status`` that are about instruments and disks."""
        real = self.instruments if isinstance(self.instruments, Instrument) else None
        held = [holding for holding in (self.journalled, self.filed) if holding]
        return health(
            driver=real.driver_name if real else type(self.instruments).__name__.lower(),
            troubles=[
                real.trouble if real and not self.paused else "",
                *(holding.trouble for holding in held),
                *(
                    f"messages for {holding.where} were lost: memory was full"
                    for holding in held
                    if holding.lost
                ),
            ],
            paused=self.paused,
            folders=[self.journal.folder, *([self.days.folder] if self.days else [])],
        )

    def _due(self) -> list[Outgoing]:
        messages = self.instruments.due(self.instruments.clock.at(time.time_ns()))
        if self._restart.is_set():
            self._restart.clear()
            if isinstance(self.instruments, Instrument):
                messages += self.instruments.restart()
        if self.paused and not isinstance(self.instruments, Instrument):
            self.skipped += len(messages)
            return []
        return messages

    def _unsaved(self) -> bool:
        return bool(self.journalled.held or self.instruments.unsendable or (self.filed and self.filed.held))

    def _save(self, messages: list[Outgoing], *, last: bool = False) -> None:
        self.journalled.save(messages, last=last)
        if self.filed:
            self.filed.save(messages, last=last)

    def _write(self, messages: list[Outgoing]) -> None:
        """Into the journal; metadata before the messages that need it."""
        if (metas := self.instruments.metas()) != self._declared:  # a replay that begins anew has others
            for stream, meta in metas:
                if meta not in self.journal.metas().get(stream.meta_topic, ()):
                    self.journal.add_meta(stream.meta_topic, meta)
            self._declared = metas
            self.publisher.wake_metas()
        if kept := self.instruments.unsendable:
            self.journal.keep_unsendable(kept)
            if time.monotonic() - self._unsendable_told_at >= _TELL_S:  # once a minute, whatever comes
                self._unsendable_told_at = time.monotonic()
                log.error("kept, not sent: %s (%r)", kept[0].reason, kept[0].reading)
            kept.clear()
        if messages:
            self.journal.append(messages)
            messages.clear()
            self.publisher.wake()

    def _file(self, messages: list[Outgoing]) -> None:
        if self.days:
            self.days.append(messages, self.instruments.metas())
