"""Two days of vector and scalar samples over a satellite link that comes back, while live ones go on.

The station and the collector are the real commands. The station's journal holds what two days without a
link leave there; the relay between them has 56 kbit/s each way with the framing of TCP/IP.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker
from obslab.telemetry.broker.relay import Relay
from obslab.telemetry.collect.report import read_report
from obslab.telemetry.sample import as_datetime
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.simulate import Simulator
from telemetry_parts.commands import Running, wait

NS = 1_000_000_000
DAY_S = 86_400
BITS_PER_S = 56_000
LINKS: dict[str, dict[str, float]] = {
    "paper": {"latency_s": 0.3},  # 300 ms, as measured at Princess Elisabeth
    "poor": {"latency_s": 0.6, "loss": 0.01},
}
DELAY_S = 0.3  # the simulated instruments hand a sample out so long after its time


def measure(quick: bool) -> dict[str, Any]:
    seconds = 2 * DAY_S // (10 if quick else 1)
    return {name: recover(seconds, link) for name, link in LINKS.items()}


def recover(seconds: int, link: dict[str, float]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="obslab-bench-") as name:
        folder = Path(name)
        with open_archive(folder / "archive", write=True) as archive:
            owner = archive.id
        backlog = prepare(folder / "journal", seconds, owner)
        broker = IotcoreBroker()
        broker.start()
        # What is measured is 1 Hz data: a measurement that takes ten minutes would be its slowest sample.
        options = ("--simulate", "--no-absolutes", "--journal", folder / "journal")
        log, station = folder / "log", ("station", "run", *options)
        try:
            with (
                Relay("127.0.0.1", broker.port, bits_per_s=BITS_PER_S, **link) as relay,
                Running(log, "collect", "--broker", broker.url, "--archive", folder / "archive"),
            ):
                wait(lambda: connected(folder / "archive"), "a collector", 30)
                relay.cut()
                with Running(log, *station, "--broker", relay.url) as running:
                    wait(lambda: "no broker answers" in running.said, "a station without link", 30)
                    return watch(folder / "archive", relay, backlog)
        finally:
            broker.kill()


@dataclass(frozen=True)
class Backlog:
    count: int
    begin_ns: int
    end_ns: int


def prepare(folder: Path, seconds: int, archive_id: str) -> Backlog:
    """A journal as an outage leaves it; its archive is known from before."""
    journal = Journal(folder)
    begin_ns = time.time_ns() // NS * NS - seconds * NS
    simulator = Simulator(wall_ns=begin_ns)
    for stream, meta in simulator.metas():
        journal.add_meta(stream.meta_topic, meta)
    journal.set_fact("archive", archive_id)
    count = last_ns = 0
    while messages := simulator.due(min(simulator.next_ns() + 3600 * NS, time.time_ns())):
        journal.append(messages)
        count, last_ns = count + len(messages), messages[-1][1]
    journal.close()
    return Backlog(count, begin_ns, last_ns + NS)


def watch(path: Path, relay: Relay, backlog: Backlog) -> dict[str, Any]:
    """From the moment the link is back until the archive has all from before it."""
    relay.restore()
    began_ns = time.time_ns()
    wire = (relay.up.wire_bytes, relay.down.wire_bytes)
    first_ns = 0
    with open_archive(path) as archive:
        while not whole(archive, backlog):
            if not first_ns and stored(archive):
                first_ns = time.time_ns()
            if time.time_ns() - began_ns > 3600 * NS:
                raise SystemExit(f"{backlog.count} samples are not whole after an hour")
            time.sleep(0.5)
        ended_ns = time.time_ns()
        up, down = relay.up.wire_bytes - wire[0], relay.down.wire_bytes - wire[1]
        time.sleep(3)  # live samples that are on their way
        late_s = live(archive, first_ns, ended_ns)
        samples = sum(counts["unique"] for counts in archive.counters().values())
        seconds = (ended_ns - began_ns) / NS
        p50, p99 = np.percentile(late_s, [50, 99])
        return {
            "backlog_samples": backlog.count,
            "recovered_in_s": round(seconds, 1),
            "of_which_until_first_s": round((first_ns - began_ns) / NS, 1),
            "link_used_up": round(up * 8 / BITS_PER_S / seconds, 3),
            "link_used_down": round(down * 8 / BITS_PER_S / seconds, 3),
            "wire_bytes_per_sample": round(up / samples, 2),
            "lost_segments": relay.up.lost + relay.down.lost,
            "live_samples": int(late_s.size),
            "live_p50_s": round(float(p50), 2),
            "live_p99_s": round(float(p99), 2),
            "live_max_s": round(float(late_s.max()), 2),
        }


def connected(path: Path) -> bool:
    report = read_report(path)
    return report is not None and report.connected


def stored(archive: Archive) -> int:
    return sum(counts["unique"] for stream, counts in archive.counters().items() if stream)


def whole(archive: Archive, backlog: Backlog) -> bool:
    """Whether all of the backlog is there; the intervals are looked at only when it can be so."""
    if stored(archive) < backlog.count:
        return False
    return not any(archive.missing(stream, backlog.begin_ns, backlog.end_ns) for stream in archive.streams())


def live(archive: Archive, begin_ns: int, end_ns: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Seconds from a sample leaving its instrument to its arrival, for samples of an interval."""
    late = []
    for stream in archive.streams():
        found = archive.dataset(stream.station, stream.instrument, as_datetime(begin_ns), as_datetime(end_ns))
        late.append((found.arrival.values - found.time.values) / np.timedelta64(1, "s") - DELAY_S)
    return np.concatenate(late)
