"""A station: on disk before it is sent, whole after a full disk, delivered at the end."""

import sqlite3
import threading

import commands
import numpy as np
import paho.mqtt.client as paho
import pytest
from telemetry.makers import NS, T0_S, scalar_meta, vector_meta, wait_for

from obslab.config import broker_at
from obslab.errors import ObslabError, RecordingError
from obslab.telemetry.collect.collector import Collector
from obslab.telemetry.protocol import Unit
from obslab.telemetry.sample import Stream
from obslab.telemetry.station import holding as holding_module
from obslab.telemetry.station.equipment import instruments_from
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.liaison import Liaison
from obslab.telemetry.station.publisher import Publisher
from obslab.telemetry.station.recording import STORM, Recording, Track
from obslab.telemetry.station.replay import Replay
from obslab.telemetry.station.run import Station
from obslab.telemetry.station.simulate import Simulator

NOWHERE = "mqtt://127.0.0.1:9"  # the discard port: nobody listens


def recording(length=60, values=None):
    """Sample n is (n, n, n) nT of the vector and n nT of the scalar."""
    time_ns = (T0_S + np.arange(length)) * NS
    n = np.arange(length, dtype=float)
    table = np.stack([n, n, n], axis=1) if values is None else values
    return Recording(
        (
            Track(Stream("WIC", "lemi"), vector_meta(), time_ns, table),
            Track(Stream("WIC", "gsm"), scalar_meta(), time_ns, n[:, None]),
        )
    )


@pytest.fixture
def run(journal):
    """Runs a station on a thread, with a publisher that has no broker; returns what stops it, and it."""
    running = []

    def start(instruments):
        station = Station(
            instruments,
            journal,
            Publisher(journal, broker_at(NOWHERE, {}), Liaison(journal, Unit("PEA", "lemi0001"))),
        )
        ending = threading.Event()
        thread = threading.Thread(target=station.run, args=(ending,), daemon=True)
        thread.start()
        running.append((ending, thread))
        return station, ending, thread

    yield start
    for ending, thread in running:
        ending.set()
        thread.join()


def fill_disk(journal):
    """From now on the journal's disk is full, as SQLite sees it."""
    with journal._lock:
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        journal._connection.execute(f"PRAGMA max_page_count={pages}")


def free_disk(journal):
    with journal._lock:
        journal._connection.execute("PRAGMA max_page_count=1000000")


def times_in(journal, topic="wic/lemi/sec"):
    return [entry.time_ns // NS - T0_S for entry in journal.after(0, 10**6) if entry.topic == topic]


def test_every_message_is_on_disk_before_anybody_receives_it(shared_broker, journal):
    address, missing, received = broker_at(shared_broker.url, {}), [], []
    disk = sqlite3.connect(journal.folder / "journal.db", check_same_thread=False)  # only what is committed

    def arrived(_client, _userdata, message):
        query = "SELECT count(*) FROM entry WHERE topic = ? AND payload = ?"
        row = (message.topic, bytes(message.payload))
        if not message.topic.endswith("$meta"):
            received.append(row)
            if not disk.execute(query, row).fetchone()[0]:
                missing.append(row)

    listener = paho.Client(paho.CallbackAPIVersion.VERSION2, "listener")
    listener.on_message = arrived
    listener.connect(address.host, address.port)
    listener.subscribe("wic/#", 1)
    listener.loop_start()
    publisher = Publisher(journal, address, Liaison(journal, Unit("PEA", "lemi0001")))
    publisher.start()
    assert publisher.wait_link(10).connected
    Station(Replay(recording(), speed=60.0), journal, publisher).run(threading.Event())
    wait_for(lambda: len(received) >= 120, what="all messages")
    publisher.stop()
    listener.disconnect()
    listener.loop_stop()
    disk.close()
    assert not missing
    assert len(set(received)) == 120


def test_replay_ends_the_station_when_all_of_it_is_on_disk(run, journal):
    _, _, thread = run(Replay(recording(), speed=1000.0, shifted=False))
    thread.join(20)
    assert times_in(journal) == list(range(60))
    assert {meta.clock.speed for versions in journal.metas().values() for meta in versions} == {1000.0}


def stuck(station):
    """A replay that has come to its end, with something left that the disk does not take."""
    return station.journalled.trouble and station.journalled.held and station.instruments.next_ns() is None


def test_full_disk_holds_messages_in_memory_until_there_is_space(run, journal, caplog):
    fill_disk(journal)
    station, _, thread = run(Replay(recording(3000), speed=1500.0, shifted=False))
    wait_for(lambda: stuck(station), what="the full disk")
    assert thread.is_alive()
    assert len(station.journalled.held) + journal.last_seq() == 6000
    free_disk(journal)
    thread.join(20)
    assert times_in(journal) == list(range(3000))
    assert times_in(journal, "wic/gsm/sec") == list(range(3000))
    assert station.lost == 0
    told = [record.message for record in caplog.records if record.name == "obslab.telemetry.station.holding"]
    assert len([text for text in told if "no space left" in text]) == 1  # once, not at every try
    assert "takes data again; 0 messages were lost" in told[-1]


def test_what_no_longer_fits_into_memory_is_counted_as_lost(run, journal, monkeypatch, caplog):
    monkeypatch.setattr(holding_module, "_HELD", 100)
    monkeypatch.setattr(holding_module, "_RETRY_S", 0.05)
    fill_disk(journal)
    station, _, thread = run(Replay(recording(2000), speed=1000.0, shifted=False))
    wait_for(
        lambda: stuck(station) and len(station.journalled.held) == 100, what="a full disk and a full memory"
    )
    free_disk(journal)
    thread.join(20)
    assert times_in(journal)[-50:] == list(range(1950, 2000))  # the newest stay
    assert station.lost > 1000
    assert station.lost + journal.last_seq() == 4000
    assert "the oldest are lost" in caplog.text
    assert f"{station.lost} messages were lost" in caplog.text


def test_station_told_to_end_on_a_disk_with_space_again_loses_nothing(run, journal):
    fill_disk(journal)
    station, ending, thread = run(Replay(recording(2000), speed=5000.0, shifted=False))
    wait_for(lambda: stuck(station), what="the full disk")
    free_disk(journal)
    ending.set()  # before it would have tried again
    thread.join(20)
    assert times_in(journal) == list(range(2000))


def test_station_told_to_end_on_a_full_disk_says_what_is_lost(run, journal, caplog):
    fill_disk(journal)
    station, ending, thread = run(Replay(recording(2000), speed=5000.0, shifted=False))
    wait_for(lambda: stuck(station), what="the full disk")
    ending.set()
    thread.join(20)
    assert station.lost + journal.last_seq() == 4000
    assert f"{station.lost} messages are lost" in caplog.text


def test_readings_that_cannot_be_sent_are_kept_with_the_reason(run, journal):
    values = np.zeros((10, 3))
    values[4], values[9] = 1e9, -1e9  # the last reading, too: nothing comes after it that could take it along
    _, _, thread = run(Replay(recording(10, values), speed=1000.0, shifted=False))
    thread.join(20)
    assert times_in(journal) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert times_in(journal, "wic/gsm/sec") == list(range(10))
    kept = journal.unsendable()
    assert [(one.time_ns // NS - T0_S, one.topic) for one in kept] == [
        (4, "wic/lemi/sec"),
        (9, "wic/lemi/sec"),
    ]
    assert kept[0].reading == "[1000000000.0, 1000000000.0, 1000000000.0]"
    assert "does not fit" in kept[0].reason


def test_readings_that_cannot_be_sent_wait_for_the_disk_as_well(run, journal):
    fill_disk(journal)
    station, _, thread = run(Replay(recording(500, np.full((500, 3), 1e9)), speed=1000.0, shifted=False))
    wait_for(
        lambda: station.journalled.trouble and station.instruments.next_ns() is None, what="the full disk"
    )
    free_disk(journal)
    thread.join(20)
    assert len(journal.unsendable()) == 500
    assert len(times_in(journal, "wic/gsm/sec")) == 500


# ---- the command


@pytest.fixture
def file(tmp_path):
    """A minute of 1 s data."""
    path = tmp_path / "minute.npz"
    recording().write(path)
    return path


def collected(archive):
    return {
        stream.topic: (archive.readings(stream, 0, 2**63 - 1).time_ns // NS - T0_S).tolist()
        for stream in archive.streams()
    }


WHOLE = {"wic/gsm/sec": list(range(60)), "wic/lemi/sec": list(range(60))}


def test_replay_is_delivered_and_the_command_ends_with_0(shared_broker, archive, file, tmp_path):
    collector = Collector(archive, broker_at(shared_broker.url, {}), ("wic/#",))
    collector.start()
    assert collector.wait_link(10).connected
    options = ["station", "run", "--replay", file, "--speed", 100, "--time", "original"]
    done = commands.run(*options, "--broker", shared_broker.url, "--journal", tmp_path / "j")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_for(lambda: collector.counted["unique"] == 120, what="all samples")
    collector.stop()
    assert collected(archive) == WHOLE


def test_replay_without_a_broker_ends_with_1_and_is_delivered_by_the_next_run(
    shared_broker, archive, file, tmp_path
):
    journal = tmp_path / "j"
    options = ["station", "run", "--replay", file, "--speed", 200, "--time", "original", "--journal", journal]
    told = commands.failure(*options, "--broker", NOWHERE, "--patience", 0.5)
    assert told.startswith(f"obslab: 120 messages are in {journal} but not delivered: no broker answers")

    collector = Collector(archive, broker_at(shared_broker.url, {}), ("wic/#",))
    collector.start()
    assert collector.wait_link(10).connected
    again = commands.run(*options, "--broker", shared_broker.url)
    assert again.returncode == 0, again.stderr
    wait_for(lambda: collector.counted["unique"] == 120, what="all samples")
    collector.stop()
    assert collected(archive) == WHOLE


def test_replay_killed_again_and_again_is_whole_in_the_end(shared_broker, archive, file, tmp_path):
    """SIGKILL at three moments: the journal knows where to go on, and no sample comes at another time."""
    collector = Collector(archive, broker_at(shared_broker.url, {}), ("wic/#",))
    collector.start()
    assert collector.wait_link(10).connected
    options = ["station", "run", "--replay", file, "--speed", 40, "--time", "original"]
    options += ["--broker", shared_broker.url, "--journal", tmp_path / "j"]
    for received in (10, 40, 90):
        with commands.Running(tmp_path / "log", *options) as station:
            wait_for(lambda received=received: collector.counted["unique"] >= received, what="some samples")
            station.process.kill()
    assert commands.run(*options).returncode == 0
    wait_for(lambda: collector.counted["unique"] == 120, what="all samples")
    collector.stop()
    assert collected(archive) == WHOLE
    assert collector.counted["contradiction"] == 0


# ---- what the options give

OPTIONS = {
    "replay": None,
    "simulate": False,
    "station": None,
    "instruments": [],
    "speed": 1.0,
    "time": "shifted",
    "begin": None,
    "loop": False,
    "seed": 1,
}


def made(**options):
    return instruments_from(**{**OPTIONS, **options})


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "choose one of"),
        ({"replay": STORM, "simulate": True}, "choose one of"),
        ({"simulate": True, "time": "local"}, "'local' is neither shifted nor original"),
        ({"simulate": True, "speed": 0.0}, "--speed 0 is not a positive number"),
        ({"simulate": True, "speed": float("nan")}, "--speed nan is not a positive number"),
        ({"replay": STORM, "begin": "2024-05-11"}, "is not between 2024-05-10T00:00:00Z and 2024-05-11"),
        ({"replay": STORM, "begin": "noon"}, "time 'noon'"),
        ({"replay": STORM, "begin": "2024-05-10T17:00"}, "no time zone"),
        ({"simulate": True, "instruments": ["a", "b", "c"]}, "one name for the vector"),
        ({"replay": STORM, "instruments": ["a", "a"]}, "one name for the vector"),
        ({"simulate": True, "station": "ANTARCTICA"}, "not an IAGA code"),
        ({"simulate": True, "instruments": ["LEMI 1"]}, "'LEMI 1' is not a name"),
    ],
)
def test_options_that_make_no_station_are_refused(options, wanted):
    with pytest.raises(ObslabError, match=wanted) as caught:
        made(**options)
    assert "\n" not in str(caught.value)


def test_storm_is_the_name_of_the_shipped_recording(tmp_path):
    assert isinstance(made(replay="storm"), Replay)
    with pytest.raises(RecordingError):
        made(replay=tmp_path / "nowhere.npz")


def test_station_and_instruments_get_the_names_given():
    replay = made(replay=STORM, station="abc", instruments=["one"])
    assert replay.metas()[0][0].topic == "abc/one/sec"
    simulator = made(simulate=True, station="abc", instruments=["one"])
    assert isinstance(simulator, Simulator)
    assert [stream.topic for stream, _ in simulator.metas()] == ["abc/one/sec", "abc/gsm90001/sec"]


def test_two_stations_on_one_journal_are_refused(tmp_path):
    journal = Journal(tmp_path / "j")
    options = ["station", "run", "--simulate", "--broker", NOWHERE, "--journal", journal.folder]
    assert commands.failure(*options) == (
        f"obslab: journal {journal.folder} is in use by another process; "
        "stop that one or choose another folder"
    )
    journal.close()


def test_other_options_on_the_journal_of_a_replay_are_refused(file, tmp_path):
    options = ["station", "run", "--replay", file, "--broker", NOWHERE, "--journal", tmp_path / "j"]
    commands.failure(*options, "--speed", 100, "--patience", 0, "--time", "original")
    told = commands.failure(*options, "--speed", 50, "--patience", 0, "--time", "original")
    assert f"journal {tmp_path / 'j'} has samples of WIC lemi sec up to 2024-05-10T17:05:59Z" in told
