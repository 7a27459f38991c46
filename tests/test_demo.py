"""The demo observatory: one for all who ask, there as long as anybody holds it, and no longer."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing

import commands
import pytest
from commands import lives, processes, wait

from obslab import config, demo
from obslab.errors import DemoError
from obslab.tables import hold
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.sample import Stream

# Notebooks of other processes: each takes a lease, says so, and holds it until it is told or killed.
NOTEBOOK = """
import sys
from obslab import demo
held = demo.start()
print(held.broker, held.archive, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """Each test has an observatory of its own, in a folder too long for the path of a socket."""
    folder = tmp_path / ("long-" * 30)
    folder.mkdir()
    monkeypatch.setenv("OBSLAB_STATE_DIR", str(folder))
    yield
    demo.stop()
    wait(lambda: not processes(f"OBSLAB_STATE_DIR={folder}"), "the end of all processes")


@pytest.fixture
def home(nothing_is_left):
    home = config.load().state_dir / "demo"
    home.mkdir()
    return home


@pytest.fixture
def notebooks():
    """Starts other processes that hold a lease."""
    begun = []

    def start():
        command = [sys.executable, "-c", NOTEBOOK]
        one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        begun.append(one)
        return one

    yield start
    for one in begun:
        one.kill()
        one.communicate()


def pids():
    status = demo.status()
    return [status["pid"], *status["pids"].values()]


def test_demo_gives_samples_of_all_instruments_and_is_gone_after_the_last_lease(home):
    assert demo.status() == {"running": False}
    assert demo.stop() is False
    with demo.start() as held, open_archive(held.archive) as archive:
        assert held.broker.startswith("mqtt://127.0.0.1:")
        assert home in held.archive.parents
        assert {stream.station for stream in archive.streams()} == {"WIC", "PEA"}
        assert len(archive.streams()) == 7
        components = {archive.metas(stream)[-1].components for stream in archive.streams()}
        assert components == {("h", "e", "z"), ("x", "y", "z"), ("f",), ("d", "i")}
        for station, d, i in (("WIC", 4.9, 64.4), ("PEA", -13.2, -69.5)):  # there at once, without a wait
            found = archive.dataset(station, "autodif01").isel(time=0)
            assert (float(found.d), float(found.i)) == pytest.approx((d, i), abs=0.5)
        status = demo.status()
        assert (status["running"], status["leases"], status["kept"]) == (True, 1, False)
        assert (status["broker"], status["archive"]) == (held.broker, str(held.archive))
        running = pids()
        assert all(map(lives, running))
        assert str(held.archive) in held.summary()

        with demo.start() as second:  # in the same process
            assert second.archive == held.archive
            assert demo.status()["leases"] == 2
        wait(lambda: demo.status()["leases"] == 1, "the second lease given back")

        # Callers that hang up or talk nonsense are no reason to end.
        for word in (b"", b"status\n", b"nonsense\n", b"\xff\xfe\n"):
            with closing(socket.socket(socket.AF_UNIX)) as caller:
                caller.connect(json.loads((home / "demo.json").read_text())["socket"])
                caller.sendall(word)
        assert demo.status()["leases"] == 1
    held.stop()  # once more is no error
    wait(lambda: not any(map(lives, running)), "the end")
    assert demo.status() == {"running": False}
    with open_archive(held.archive) as archive:  # what was stored can still be read
        assert len(archive.streams()) == 7


def test_processes_that_start_together_share_one_which_ends_when_the_last_is_killed(notebooks):
    first, second = notebooks(), notebooks()
    assert first.stdout.readline() == second.stdout.readline() != ""
    assert demo.status()["leases"] == 2
    running = pids()
    first.kill()
    wait(lambda: demo.status()["leases"] == 1, "the lease of the first given back by the system")
    assert all(map(lives, running))
    second.kill()
    wait(lambda: not any(map(lives, running)), "the end")


@pytest.mark.long
def test_what_dies_is_started_again_and_the_archive_goes_on():
    with demo.start() as held, open_archive(held.archive) as archive:
        before = demo.status()["pids"]
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        wait(lambda: not set(demo.status()["pids"].values()) & set(before.values()), "other processes")
        after = archive.last_row()
        # Absolute measurements are hours apart.
        paced = [stream for stream in archive.streams() if stream.samplerate == "sec"]
        newest = {stream: archive.span(stream)[1] for stream in paced}
        wait(
            lambda: all(archive.span(stream)[1] > at for stream, at in newest.items()),
            "newer samples of every stream",
        )
        assert archive.last_row() > after
        counted = archive.counters()
        assert all(counted[stream]["contradiction"] == 0 for stream in archive.streams())
        # Killed at the same second or not: each restarted station goes on with the clock it had.
        assert {len({meta.clock for meta in archive.metas(stream)}) for stream in newest} == {1}


@pytest.mark.long
def test_supervisor_that_was_killed_fools_nobody(home):
    first = demo.start()
    running = pids()
    os.kill(running[0], signal.SIGKILL)
    wait(lambda: not any(map(lives, running)), "the end of its children")
    assert (home / "demo.json").exists()
    assert demo.status() == {"running": False}
    with demo.start() as second:
        assert second.broker != first.broker
        assert second.archive != first.archive
        assert pids()[0] != running[0]
    first.stop()


@pytest.mark.long
def test_start_waits_for_one_that_is_ending_and_stop_ends_it_whoever_holds_it(notebooks):
    other = notebooks()
    assert other.stdout.readline()
    ending = demo.status()["pid"]
    os.kill(ending, signal.SIGTERM)
    with demo.start():
        running = pids()
        assert running[0] != ending
        assert demo.stop() is True
        assert not any(map(lives, running[1:]))
        wait(lambda: not lives(running[0]), "the end of the supervisor, which closes the door last")
    assert demo.status() == {"running": False}


def test_supervisor_that_cannot_start_gives_its_last_words(monkeypatch, tmp_path):
    """Here the network module is broken, as with a wheel of another platform."""
    broken = tmp_path / "broken" / "iotcore.py"
    broken.parent.mkdir()
    broken.write_text("raise ImportError('no iotcore for this machine')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    with pytest.raises(DemoError, match="did not start: obslab: the embedded broker needs iotcore") as caught:
        demo.start()
    assert "log: " in caught.value.message
    assert "\n" not in caught.value.message


def test_start_gives_up_after_its_time_with_a_reason(home):
    with hold(home / "lock", "a demo that never gets ready"), pytest.raises(DemoError, match="did not start"):
        demo.start(timeout_s=0.3)


def test_command_line_starts_shows_and_stops_it(home):
    status = commands.run("demo", "status")
    assert (status.returncode, status.stdout) == (1, "running: False\n")
    assert commands.run("demo", "stop").stdout == "no demo observatory is running\n"

    started = commands.run("demo", "start")
    assert started.returncode == 0, started.stderr
    assert started.stdout.startswith("demo observatory: broker mqtt://127.0.0.1:")
    running = pids()
    assert demo.status()["kept"]
    assert commands.run("demo", "start").stdout == started.stdout  # it joins the one that runs
    status = commands.run("demo", "status", "--json")
    assert (status.returncode, demo.status()) == (0, json.loads(status.stdout))
    assert commands.run("demo", "stop").stdout == "stopped\n"
    assert not any(map(lives, running[1:]))
    wait(lambda: not lives(running[0]), "the end of the supervisor, which closes the door last")
    assert not (home / "demo.json").exists()


@pytest.mark.long
def test_a_link_that_was_cut_is_filled_again_when_it_is_mended():
    with demo.start() as here, open_archive(here.archive) as archive:
        here.cut("wic")
        storm = Stream("WIC", "lemi036")
        wait(lambda: any(not event.up for event in archive.book.events() if event.kind == "link"), "the loss")
        newest = archive.span(storm)
        wait(lambda: not archive.wait_whole("WIC", timeout_s=0.1), "an archive that is not whole")
        assert archive.wait_whole("PEA", timeout_s=40)  # its link is another
        here.restore("wic")
        assert archive.wait_whole("WIC", timeout_s=60)
        assert archive.span(storm)[1] > newest[1]
        measured = Stream("WIC", "autodif01", "abs")  # five minutes at 30 times the speed after its first
        wait(lambda: len(archive.stored(measured, 0, 2**62)) >= 2, "the second measurement beside the storm")


def test_a_station_the_demo_does_not_have_is_named():
    with pytest.raises(DemoError, match="the demo has no station 'ABC'; it has WIC and PEA"):
        demo.cut("ABC")
    with pytest.raises(DemoError, match="no demo observatory is running"):
        demo.restore("PEA")
