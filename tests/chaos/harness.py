"""An observatory of real processes that can be hurt in every part, and the truth to compare with."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from chaos.bent import Control
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta, wait_for

from obslab.errors import NoArchiveError
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker
from obslab.telemetry.broker.relay import Relay
from obslab.telemetry.collect.report import read_report
from obslab.telemetry.sample import as_datetime
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.recording import Recording, Track
from obslab.times import to_ns

log = logging.getLogger(__name__)


def recording(seconds: int, begin_s: int = T0_S) -> Recording:
    """A vector and a scalar instrument at 1 Hz whose values tell the second they belong to, with noise."""
    time_ns = (begin_s + np.arange(seconds)) * NS
    valid = as_datetime(begin_s * NS)
    rng = np.random.default_rng(seconds)
    x = np.arange(seconds) * 0.001
    field = np.stack([x, -x, x + 20_000], axis=1) + rng.integers(-10, 11, (seconds, 3)) * 0.001
    vector = Track(LEMI, vector_meta(valid_from=valid), time_ns, field)
    total = 48_000 + x[:, None] * 10 + rng.integers(-2, 3, (seconds, 1)) * 0.01
    return Recording((vector, Track(GSM, scalar_meta(valid_from=valid), time_ns, total)))


def samples(sent: Recording) -> int:
    return sum(track.time_ns.size for track in sent.tracks)


class Observatory:
    """Station, broker and collector; the station reaches the broker through a relay."""

    def __init__(self, folder: Path, sent: Recording, *, speed: float, **link: float) -> None:
        self.folder, self.sent = folder, sent
        sent.write(folder / "sent.npz")
        self.broker = IotcoreBroker()
        self.broker.start()
        self.relay = Relay("127.0.0.1", self.broker.port, **link)
        self.relay.start()
        self._log = (folder / "log").open("wb")
        self.commands: dict[str, list[str]] = {}
        self.controls: dict[str, Control] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kills = 0
        self.plan("station", "station", "run", "--broker", self.relay.url, "--journal", folder / "journal",
                  "--replay", folder / "sent.npz", "--speed", speed, "--time", "original",
                  "--patience", 120)  # fmt: skip
        self.plan("collector", "collect", "--broker", self.broker.url, "--archive", self.archive)

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def said(self) -> str:
        """What all processes have printed so far."""
        return (self.folder / "log").read_text(errors="replace")

    def plan(self, kind: str, *arguments: object) -> None:
        """What `start(kind)` runs; it has a clock and a disk that can be bent."""
        self.controls.setdefault(kind, Control(self.folder / f"{kind}.control"))
        bent = Path(__file__).with_name("bent.py")
        start = [sys.executable, str(bent), str(self.controls[kind].path)]
        self.commands[kind] = [*start, *map(str, arguments)]

    def begin(self) -> None:
        """The collector first: a broker keeps messages only for one that it has met."""
        self.start("collector")
        self.wait_collector()
        self.start("station")
        wait_for(lambda: self.stored() > 0, 30, "the first sample in the archive")

    def wait_collector(self) -> None:
        pid = self.processes["collector"].pid
        wait_for(
            lambda: (report := read_report(self.archive)) and report.connected and report.pid == pid,
            30,
            "a collector",
        )

    def start(self, kind: str) -> None:
        self.processes[kind] = subprocess.Popen(
            self.commands[kind],
            stderr=self._log,
            stdin=subprocess.PIPE if "--stdin" in self.commands[kind] else subprocess.DEVNULL,
        )

    def kill(self, kind: str) -> None:
        """SIGKILL; a broker that is killed has forgotten everything when it comes again."""
        self.kills += 1
        if kind == "broker":
            self.broker.kill()
        else:
            self.end(kind, signal.SIGKILL)

    def again(self, kind: str) -> None:
        if kind == "broker":
            self.broker.start()
        else:
            self.start(kind)

    def end(self, kind: str, how: int = signal.SIGTERM) -> int:
        self.processes[kind].send_signal(how)
        return self.processes[kind].wait(60)

    def stored(self, archive: Path | None = None) -> int:
        """Unique samples in the archive, as it counts them."""
        try:
            with open_archive(archive or self.archive) as opened:
                return sum(counts["unique"] for stream, counts in opened.counters().items() if stream)
        except NoArchiveError:  # not made yet
            return 0

    def settle(self, timeout_s: float) -> None:
        """The station ends by itself once all is delivered, the collector when told; both say 0."""
        began = time.monotonic()
        station = self.processes["station"]
        wait_for(lambda: station.poll() is not None, timeout_s, "the station's own end")
        assert station.returncode == 0, self.said[-3000:]
        wait_for(lambda: self.stored() >= samples(self.sent), 30, "the whole recording in the archive")
        log.warning("settled after %.1f s", time.monotonic() - began)
        assert self.end("collector") == 0

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.relay.stop()
        self.broker.kill()
        self._log.close()


def check(observatory: Observatory, *, rejected: bool = False) -> None:
    """Every sample once, with its value; counters and holes agree with that.

    With ``rejected`` some may have been refused first, and that is on record.
    """
    sent = observatory.sent
    with open_archive(observatory.archive) as opened:
        seen: Counter[str] = sum(opened.counters().values(), start=Counter())
        for track in sent.tracks:
            stream = track.stream
            found = opened.dataset(stream.station, stream.instrument)
            np.testing.assert_array_equal(to_ns(found.time.values), track.time_ns)
            values = np.stack([found[name].values for name in track.meta.components], axis=1)
            np.testing.assert_allclose(values, track.values, rtol=0, atol=track.meta.scale / 2)
            counted = opened.counters()[stream]
            assert counted["unique"] == track.time_ns.size, dict(counted)
            assert counted["contradiction"] == 0, dict(counted)
        assert (opened.rejected_count() > 0) == rejected
        assert seen["waiting"] == 0, dict(seen)
        holes = Counter(hole.state for hole in opened.book.holes())
        assert set(holes) <= {"filled"}, opened.book.holes(states=("open", "asked", "lost"))
    log.warning("after %d kills: %s; holes %s", observatory.kills, dict(seen), dict(holes))


def check_journal(observatory: Observatory) -> None:
    """What the archive has confirmed is freed, and it has confirmed everything."""
    journal = Journal(observatory.folder / "journal")
    try:
        assert journal.after(0, 10) == []
    finally:
        journal.close()
