"""SIGKILL at random moments: the archive is what was sent, nothing twice, nothing missing.

The station and the collector are the real commands. A failure prints its seed; run it again with
OBSLAB_KILL_SEED set to that number.
"""

import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta, wait_for

from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker
from obslab.telemetry.collect.report import read_report
from obslab.telemetry.sample import as_datetime
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.recording import Recording, Track
from obslab.times import to_ns

log = logging.getLogger(__name__)

SPEED = 400  # messages of each instrument in a second
KINDS = ("station", "collector")


@pytest.fixture
def rng():
    seed = int(os.environ.get("OBSLAB_KILL_SEED", 0)) or random.SystemRandom().randrange(1, 2**31)
    log.warning("OBSLAB_KILL_SEED=%d", seed)  # pytest shows it when the test fails
    return random.Random(seed)


def recording(seconds):
    """Two instruments whose values tell the second they belong to."""
    time_ns = (T0_S + np.arange(seconds)) * NS
    valid = as_datetime(T0_S * NS)
    x = np.arange(seconds) * 0.001
    vector = Track(LEMI, vector_meta(valid_from=valid), time_ns, np.stack([x, -x, x + 20_000], axis=1))
    scalar = Track(GSM, scalar_meta(valid_from=valid), time_ns, 48_000 + x[:, None] * 10)
    return Recording((vector, scalar))


class Observatory:
    """The processes of the test, started again after each kill."""

    def __init__(self, folder, url, file):
        run = [sys.executable, "-m", "obslab"]
        self._commands = {
            "station": [*run, "station", "run", "--broker", url, "--journal", str(folder / "journal"),
                        "--replay", str(file), "--speed", str(SPEED), "--time", "original"],
            "collector": [*run, "collect", "--broker", url, "--archive", str(folder / "archive")],
        }  # fmt: skip
        self._log = (folder / "log").open("wb")
        self.processes = {}

    def start(self, kind):
        self.processes[kind] = subprocess.Popen(self._commands[kind], stderr=self._log)

    def end(self, kind, how=signal.SIGKILL):
        self.processes[kind].send_signal(how)
        return self.processes[kind].wait(30)

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        self._log.close()


@pytest.fixture
def observatory(tmp_path, state_dir):
    made = []

    def make(file):
        broker = IotcoreBroker()
        broker.start()
        made.extend([Observatory(tmp_path, broker.url, file), broker])
        return made[0]

    yield make
    if made:
        made[0].close()
        made[1].kill()
        log.warning("what the processes said: %s", (tmp_path / "log").read_text()[-3000:])


def count(folder):
    with open_archive(folder) as archive:
        return archive.last_row()


def check(folder, sent, *, kills):
    """The archive equals the recording; the counters agree with its rows."""
    with open_archive(folder) as archive:
        for track, names in zip(sent.tracks, (("x", "y", "z"), ("f",)), strict=True):
            stream = track.stream
            found = archive.dataset(stream.station, stream.instrument)
            np.testing.assert_array_equal(to_ns(found.time.values), track.time_ns)
            values = np.stack([found[name].values for name in names], axis=1)
            np.testing.assert_allclose(values, track.values, rtol=0, atol=track.meta.scale / 2)
            counted = archive.counters()[stream]
            assert counted["unique"] == track.time_ns.size
            assert counted["contradiction"] == 0
        assert archive.rejected().sizes["message"] == 0
        seen = sum(archive.counters().values(), start=Counter())
    log.warning("after %d kills: %s", kills, dict(seen))


@pytest.mark.long
def test_nothing_is_lost_or_doubled_by_twenty_kills(tmp_path, observatory, rng):
    sent = recording(18 * SPEED)
    sent.write(tmp_path / "sent.npz")
    processes = observatory(tmp_path / "sent.npz")
    begin(tmp_path, processes)
    victims = [*KINDS * 10]
    rng.shuffle(victims)
    for kind in victims:
        time.sleep(rng.uniform(0.05, 1.5))
        processes.end(kind)
        processes.start(kind)
    finish(tmp_path, processes, sent)
    check(tmp_path / "archive", sent, kills=len(victims))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_nothing_is_lost_or_doubled_by_a_hundred_kills_stops_and_pauses(tmp_path, observatory, rng):
    sent = recording(90 * SPEED)
    sent.write(tmp_path / "sent.npz")
    processes = observatory(tmp_path / "sent.npz")
    begin(tmp_path, processes)
    for _ in range(100):
        time.sleep(rng.uniform(0.05, 1.5))
        chosen = rng.choice([("station",), ("collector",), KINDS])
        how = rng.choices(["kill", "end", "pause"], [8, 1, 1])[0]
        if how == "pause":
            for kind in chosen:
                processes.processes[kind].send_signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0.1, 2))
            for kind in chosen:
                processes.processes[kind].send_signal(signal.SIGCONT)
            continue
        for kind in chosen:
            processes.end(kind, signal.SIGKILL if how == "kill" else signal.SIGTERM)
        time.sleep(rng.choice([0, 0, 1]))
        for kind in chosen:
            processes.start(kind)
    finish(tmp_path, processes, sent)
    check(tmp_path / "archive", sent, kills=100)


def begin(folder, processes):
    """A broker keeps messages for a collector that it has met, so the collector comes first."""
    processes.start("collector")
    wait_for(lambda: (report := read_report(folder / "archive")) and report.connected, what="a collector")
    processes.start("station")


def finish(folder, processes, sent):
    """Let the station deliver the rest, the collector store it, and end it as an operator would."""
    assert processes.processes["station"].wait(120) == 0
    total = sum(track.time_ns.size for track in sent.tracks)
    wait_for(lambda: count(folder / "archive") >= total, 60, "the whole recording in the archive")
    # One that was only just started again does not know yet how to end.
    pid = processes.processes["collector"].pid
    wait_for(lambda: (report := read_report(folder / "archive")) and report.pid == pid, 60, "its first word")
    assert processes.end("collector", signal.SIGTERM) == 0


def test_the_journal_of_a_killed_station_holds_what_it_sent_and_goes_on(tmp_path, observatory):
    """What the archive has is in the journal, however early the station died."""
    sent = recording(4 * SPEED)
    sent.write(tmp_path / "sent.npz")
    processes = observatory(tmp_path / "sent.npz")
    begin(tmp_path, processes)
    wait_for(lambda: count(tmp_path / "archive") > 50)
    processes.end("station")
    journal = Journal(tmp_path / "journal")
    written = {(entry.topic, entry.time_ns) for entry in journal.after(0, 100_000)}
    journal.close()
    with open_archive(tmp_path / "archive") as archive:
        for stream in archive.streams():
            times = to_ns(archive.dataset(stream.station, stream.instrument).time.values).tolist()
            assert {(stream.topic, ns) for ns in times} <= written
    processes.start("station")
    finish(tmp_path, processes, sent)
    check(tmp_path / "archive", sent, kills=1)
