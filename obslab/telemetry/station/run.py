"""Runs a station: instruments -> journal -> publisher."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from obslab.errors import ConfigError, TableError
from obslab.telemetry.sample import Clock
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.publisher import Publisher
from obslab.telemetry.station.recording import STORM, Recording
from obslab.telemetry.station.replay import Instruments, Outgoing, Replay
from obslab.telemetry.station.simulate import Simulator
from obslab.times import as_ns, iso

log = logging.getLogger(__name__)

_NAP_S = 0.5  # the longest sleep, so that stopping is prompt
_RETRY_S = 2.0
_HELD = 100_000  # messages held in memory while the disk is full: a day of one instrument


@dataclass
class Station:
    """Write what is due to the journal, wake the publisher, sleep until the next.

    While the journal's disk is full the newest ``_HELD`` messages wait in memory; what falls out is
    counted in ``lost`` and logged.
    """

    instruments: Instruments
    journal: Journal
    publisher: Publisher
    lost: int = 0
    _held: list[Outgoing] = field(default_factory=list)
    _declared: Clock | None = None
    _trouble: str = ""
    _retry_at: float = 0.0

    def run(self, ending: threading.Event) -> None:
        """Until ``ending`` is set, or a replay has come to its end and is on disk."""
        while not ending.is_set():
            self._held += self.instruments.due(self.instruments.clock.at(time.time_ns()))
            if time.monotonic() >= self._retry_at:
                self._save()
            upcoming = self.instruments.next_ns()
            if upcoming is None and not self._unsaved():
                return
            wait_s = (
                _NAP_S
                if upcoming is None
                else (self.instruments.clock.wall_at(upcoming) - time.time_ns()) / 1e9
            )
            ending.wait(min(_NAP_S, max(0.001, wait_s)))
        if self._unsaved():
            self._save()  # told to end between two tries on a full disk: this is the last one
        if self._unsaved():
            self.lost += len(self._held)
            log.error("%d messages are lost: they could never be written", self.lost)

    def _unsaved(self) -> bool:
        return bool(self._held or self.instruments.unsendable)

    def _save(self) -> None:
        try:
            if self._declared != self.instruments.clock:  # a replay that begins anew has another
                self._declare()
            self._write()
        except TableError as error:
            self._hold(error.message)
            return
        if self._trouble:
            log.warning("%s takes data again; %d messages were lost", self.journal.folder, self.lost)
        self._trouble = ""

    def _declare(self) -> None:
        for stream, meta in self.instruments.metas():
            if meta not in self.journal.metas().get(stream.meta_topic, ()):
                self.journal.add_meta(stream.meta_topic, meta)
        self._declared = self.instruments.clock
        self.publisher.wake_metas()

    def _write(self) -> None:
        if self.instruments.unsendable:
            self.journal.keep_unsendable(self.instruments.unsendable)
            log.error("kept, not sent: %s", self.instruments.unsendable[0].reason)
            self.instruments.unsendable.clear()
        if self._held:
            self.journal.append(self._held)
            self._held = []
            self.publisher.wake()

    def _hold(self, trouble: str) -> None:
        self._retry_at = time.monotonic() + _RETRY_S
        if trouble != self._trouble:  # once, not at each try: the log may be on the same disk
            log.error("%s; messages wait in memory", trouble)
        self._trouble = trouble
        dropped = max(0, len(self._held) - _HELD)
        if dropped and not self.lost:
            log.error("%d messages wait in memory, which is all it takes: the oldest are lost", _HELD)
        self.lost += dropped
        del self._held[:dropped]


def instruments_from(
    *,
    replay: Path | None,
    simulate: bool,
    station: str | None,
    instruments: list[str],
    speed: float,
    time: str,
    begin: str | None,
    loop: bool,
    seed: int,
) -> Replay | Simulator:
    """The instruments that the options of ``obslab station run`` ask for. Raises ConfigError."""
    if (replay is None) == (not simulate):
        raise ConfigError("choose one of --replay FILE and --simulate")
    if time not in ("shifted", "original"):
        raise ConfigError(f"--time {time!r} is neither shifted nor original")
    if not speed > 0:
        raise ConfigError(f"--speed {speed:g} is not a positive number")
    if len(instruments) > 2 or len(set(instruments)) < len(instruments):
        raise ConfigError(
            f"--instrument {' '.join(instruments)}: wanted one name for the vector, another for the scalar"
        )
    code = station.upper() if station else None
    if replay is None:
        names = (*instruments, *("lemi0001", "gsm90001")[len(instruments) :])
        return Simulator(code or "PEA", (names[0], names[1]), seed=seed, speed=speed)
    recording = Recording.read(STORM if str(replay) == "storm" else replay).renamed(code, instruments)
    begin_ns = as_ns(begin) if begin else None
    if begin_ns is not None and not recording.begin_ns <= begin_ns < recording.end_ns:
        raise ConfigError(
            f"--begin {begin} is not between {iso(recording.begin_ns)} and {iso(recording.end_ns)}"
        )
    return Replay(recording, speed=speed, shifted=time == "shifted", begin_ns=begin_ns, loop=loop)
