"""The command line: quick, one line for each failure, and nothing left behind."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import commands
import pytest
from commands import Running, failure, lives, run, wait
from typer.testing import CliRunner

from obslab import cli
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker, MosquittoBroker, free_port

NOWHERE = "mqtt://127.0.0.1:9"  # the discard port: nobody listens
COMMANDS = [
    "",
    "lab",
    "demo",
    "demo start",
    "demo stop",
    "demo status",
    "demo cut",
    "demo restore",
    "broker",
    "broker run",
    "broker config",
    "broker lint",
    "station",
    "station run",
    "collect",
    "archive",
    *(f"archive {word}" for word in ("info", "retain", "latency", "gaps", "completeness", "outages")),
    "archive backfill",
    *(f"archive {word}" for word in ("minute", "adjust", "k", "export")),
    "absolutes",
    "absolutes reduce",
    "baseline",
    "baseline adopt",
    "baseline list",
    "jointfit",
    "jointfit import",
    "jointfit run",
    "watch",
    "init",
    "check",
]


@pytest.fixture(autouse=True)
def private(state_dir, monkeypatch, tmp_path):
    """No test meets the user's configuration, state or login."""
    for name in ("OBSLAB_CONFIG", "OBSLAB_MQTT_USER", "OBSLAB_MQTT_PASSWORD", "OBSLAB_MQTT_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def broker():
    broker = IotcoreBroker()
    broker.start()
    yield broker
    broker.stop()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    told = CliRunner().invoke(cli.app, [*command.split(), "--help"])
    assert told.exit_code == 0
    assert "Usage:" in told.output


def test_no_command_is_missing_above():
    def names(app, before=""):
        for one in app.registered_commands:
            yield f"{before}{one.name or one.callback.__name__}"
        for group in app.registered_groups:
            yield f"{before}{group.name}"
            yield from names(group.typer_instance, f"{before}{group.name} ")

    assert sorted(["", *names(cli.app)]) == sorted(COMMANDS)


def test_help_loads_nothing_heavy():
    code = """
import sys
from obslab import cli
sys.argv = ["obslab", "--help"]
try:
    cli.main()
finally:
    heavy = {"numpy", "xarray", "bokeh", "ipywidgets", "paho", "jupyterlab", "astropy", "iotcore"}
    print(sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert "archive" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["station", "run", "--speed", "fast"],
        ["archive", "info"],
        ["lab", "--port", "0"],
        ["broker", "run", "--port", "70000"],
        ["collect", "--no-such-option"],
    ],
    ids=" ".join,
)
def test_command_that_is_not_understood_ends_with_2(arguments):
    told = CliRunner().invoke(cli.app, arguments)
    assert told.exit_code == 2
    assert "Error" in told.output


def test_without_arguments_it_shows_help():
    assert "Usage:" in run().stdout


# ---- bad input, one line each

STATION = ["station", "run", "--simulate", "--broker", NOWHERE]
REPLAY = ["station", "run", "--replay", "storm", "--broker", NOWHERE]
BAD = {
    "no preset": ([*STATION, "--preset", "mars"], "--preset 'mars' is none of pea, demo, quiet"),
    "no file": ([*STATION[:2], "--replay", "no.npz"], "recording no.npz does not exist; give the path"),
    "begin outside": ([*REPLAY, "--begin", "2024-05-11T00:00Z"], "--begin 2024-05-11T00:00Z is not between"),
    "begin unreadable": ([*REPLAY, "--begin", "noon"], "time 'noon': wanted ISO text"),
    "speed 0": ([*STATION, "--speed", "0"], "--speed 0 is not a positive number"),
    "speed below 0": ([*STATION, "--speed=-1"], "--speed -1 is not a positive number"),
    "speed too high": ([*STATION, "--speed", "1e9"], "clock speed 1000000000.0 is not"),
    "two inputs": (
        [*REPLAY, "--simulate"],
        "choose one of --replay FILE, --simulate, --stdin and --serial DEVICE",
    ),
    "no input": (["station", "run"], "choose one of --replay FILE, --simulate, --stdin and --serial DEVICE"),
    "odd time": ([*REPLAY, "--time", "local"], "--time 'local' is neither shifted nor original"),
    "IAGA code": ([*STATION, "--iaga", "ANTARCTICA"], "station 'ANTARCTICA' is not an IAGA code"),
    "password in the URL": (
        ["collect", "--broker", "mqtt://me:hunter2@host"],
        "the broker URL holds a user or password (not shown); set OBSLAB_MQTT_USER",
    ),
    "password for the station": ([*STATION[:-1], "mqtt://me:hunter2@host"], "the broker URL holds a user"),
    "no URL": (["collect", "--broker", "host:1883"], "the broker URL is not mqtt://host:port"),
    "no archive": (
        ["archive", "info", "."],
        ". is not an archive (it has no hot.db); `obslab collect` makes",
    ),
    "a file for a journal": ([*STATION, "--journal", __file__], "test_cli.py"),
    "a file for an archive": (["collect", "--broker", NOWHERE, "--archive", __file__], "test_cli.py"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_told_in_one_line(what):
    arguments, wanted = BAD[what]
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("obslab: ")
    assert done.stderr.count("\n") == 1  # and so no traceback
    assert wanted in done.stderr
    assert "hunter2" not in done.stderr


def test_broker_that_is_not_there_is_told(tmp_path):
    told = failure("collect", "--broker", NOWHERE, "--archive", tmp_path / "a", "--wait", 0.5)
    assert told == f"obslab: no broker answers at {NOWHERE}; is it running? trying again"


@pytest.mark.mosquitto
def test_wrong_password_is_told_at_once_and_not_repeated(tmp_path):
    broker = MosquittoBroker(users={"station": "right"})
    broker.start()
    collect = ["collect", "--broker", broker.url, "--archive", tmp_path / "a", "--wait", 30]
    try:
        login = {"OBSLAB_MQTT_USER": "station", "OBSLAB_MQTT_PASSWORD": "hunter2"}
        told = failure(*collect, **login)
        assert told.startswith(f"obslab: broker {broker.url} refused user 'station': ")
        assert told.endswith("check OBSLAB_MQTT_USER and OBSLAB_MQTT_PASSWORD")
        assert "hunter2" not in told
        assert "refused an anonymous client" in failure(*collect)
        with Running(tmp_path / "log", *collect, **login | {"OBSLAB_MQTT_PASSWORD": "right"}) as collector:
            wait(lambda: (tmp_path / "a" / "collector.json").exists(), "a report")
            wait(lambda: json.loads((tmp_path / "a" / "collector.json").read_text())["connected"], "a link")
            assert collector.tell() == 0
    finally:
        broker.stop()


def test_archive_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "a"
    open_archive(path, write=True).close()
    with sqlite3.connect(path / "hot.db") as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    before = (path / "hot.db").read_bytes()
    for arguments in (["archive", "info", path], ["collect", "--broker", NOWHERE, "--archive", path]):
        told = failure(*arguments)
        assert told.startswith(f"obslab: {path / 'hot.db'} has format 99, this obslab knows up to ")
        assert told.endswith("; upgrade obslab to open it")
    assert (path / "hot.db").read_bytes() == before


def test_damaged_archive_is_told(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    (path / "hot.db").write_bytes(b"not a database" * 1000)
    assert "is not a SQLite database; check the path" in failure("archive", "info", path)


def test_two_collectors_on_one_archive_are_refused(tmp_path):
    with open_archive(tmp_path / "a", write=True):
        told = failure("collect", "--broker", NOWHERE, "--archive", tmp_path / "a")
    assert told.startswith(f"obslab: archive {tmp_path / 'a'} is in use by another process")


def test_broker_on_a_port_that_is_taken_is_told(broker):
    told = failure("broker", "run", "--port", broker.port)
    assert str(broker.port) in told


def test_configuration_with_a_mistake_is_told(tmp_path):
    (tmp_path / "obslab.toml").write_text("[brokers]\nurl = 1\n")
    assert "[brokers] in" in failure(*STATION)


# ---- the whole chain


def test_chain_of_commands_stores_everything_and_each_ends_with_0_at_sigterm(tmp_path):
    port, archive, journal = free_port(), tmp_path / "archive", tmp_path / "journal"
    at = ["--broker", f"mqtt://127.0.0.1:{port}"]
    with contextlib.ExitStack() as running:
        broker = running.enter_context(Running(tmp_path / "b", "broker", "run", "--port", port))
        wait(lambda: broker.said == f"broker at mqtt://127.0.0.1:{port}\n", "the broker")
        collector = running.enter_context(Running(tmp_path / "c", "collect", *at, "--archive", archive))
        wait(lambda: (archive / "collector.json").exists(), "the collector")
        wait(lambda: json.loads((archive / "collector.json").read_text())["connected"], "its link")
        with Running(
            tmp_path / "s", "station", "run", "--simulate", *at, "--journal", journal, "--speed", 50
        ) as station:
            with open_archive(archive) as opened:
                wait(lambda: sum(c["unique"] for c in opened.counters().values()) > 100, "samples")
            assert station.tell() == 0
        with sqlite3.connect(journal / "journal.db") as book:
            left = {tuple(row) for row in book.execute("SELECT topic, time_ns FROM entry")}
            ((written,),) = book.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'")
        with open_archive(archive) as opened:

            def stored():
                return {
                    (stream.topic, time)
                    for stream in opened.streams()
                    for time in opened.readings(stream, 0, 2**63 - 1).time_ns.tolist()
                }

            wait(lambda: len(stored()) == written, "the last samples")
            assert stored() >= left  # what was confirmed is no longer in the journal
        assert collector.tell(signal.SIGINT) == 0
        assert broker.tell() == 0
    assert (station.said, collector.said) == ("", "")

    done = run("archive", "info", archive, "--json")
    info = json.loads(done.stdout)
    streams = ["PEA autodif01 abs", "PEA gsm90001 sec", "PEA lemi0001 sec"]
    assert [row["stream"] for row in info["streams"]] == streams
    assert sum(row["counted"]["unique"] for row in info["streams"]) == written
    assert (info["rejected"], info["waiting"]) == (0, 0)
    plain = run("archive", "info", archive).stdout
    assert f"PEA lemi0001 sec: {info['streams'][2]['begin']} to {info['streams'][2]['end']}; " in plain
    assert "messages kept but not understood: 0, waiting for metadata: 0" in plain


@pytest.mark.parametrize(
    "arguments",
    [
        ["broker", "run"],
        ["collect", "--wait", "60", "--archive", "a"],
        ["station", "run", "--simulate", "--journal", "j"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_command_with_parent_ends_when_its_standard_input_does(tmp_path, arguments):
    where = ["--port", free_port()] if arguments[0] == "broker" else ["--broker", NOWHERE]
    log = tmp_path / "log"
    with Running(log, *arguments, *where, "--with-parent", stdin=subprocess.PIPE) as command:
        assert command.process.poll() is None
        command.process.stdin.close()
        assert command.process.wait(20) == 0


def test_replay_told_to_end_while_it_waits_for_delivery_ends_with_0(tmp_path):
    """It was told; what is not delivered is in the journal, and the next run sends it."""
    replay = ["station", "run", "--replay", "storm", "--begin", "2024-05-10T23:59:58Z", "--broker", NOWHERE]
    with Running(
        tmp_path / "log", *replay, "--journal", "j", "--speed", "100", "--patience", "100"
    ) as station:
        wait(lambda: (tmp_path / "j" / "journal.db").exists(), "the journal")
        wait(lambda: _count(tmp_path / "j" / "journal.db") == 4, "the last two seconds")
        assert station.tell() == 0


def _count(file):
    book = sqlite3.connect(file)
    try:
        return book.execute("SELECT count(*) FROM entry").fetchone()[0]
    except sqlite3.OperationalError:  # the table is being made
        return 0
    finally:
        book.close()


def test_children_do_not_survive_a_parent_that_is_killed(tmp_path):
    """As of a notebook's kernel: nobody is left to stop them, the system closes their standard input."""
    code = f"""
import subprocess, sys, time
command = {commands.OBSLAB!r} + ["broker", "run", "--with-parent", "--port", "{free_port()}"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    grandchildren = _children(child)  # iotcore runs in a process of its own
    assert lives(child)
    assert grandchildren
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait(lambda: not any(map(lives, [child, *grandchildren])), "the end of the children")


def test_embedded_broker_does_not_survive_its_command(tmp_path):
    with Running(tmp_path / "log", "broker", "run", "--port", free_port()) as broker:
        wait(lambda: broker.said, "the broker")
        children = _children(broker.process.pid)
        assert children
        broker.process.kill()
    wait(lambda: not any(map(lives, children)), "the end of the broker")


def _children(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]
