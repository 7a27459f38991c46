"""Live sources: filled with history, following what comes, and honest about what does not."""

import os
import signal
import subprocess
import threading

import commands
import numpy as np
import pytest
import xarray as xr
from small_station import STREAM
from small_station import Station as SmallStation
from telemetry.makers import GSM, LEMI, NS, T0_S, arrivals, batch, vector_meta, vector_payload, wait_for

from obslab.config import broker_at
from obslab.errors import ConfigError, NoArchiveError, TopicError
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker
from obslab.telemetry.live.following import ArchiveSource
from obslab.telemetry.live.listening import BrokerSource
from obslab.telemetry.live.sources import DatasetSource, source_of
from obslab.telemetry.sample import Clock, Stream, as_datetime, encode_meta

ALL = (-(2**63), 2**63 - 1)


@pytest.fixture
def start():
    """Starts a source, and stops it after the test; returns an event that it sets at each change."""
    started = []

    def run(source):
        changed = threading.Event()
        started.append(source)
        source.start(changed.set)
        return changed

    yield run
    for source in started:
        source.stop()


def times_in(source, stream=LEMI):
    """Seconds since T0_S of what a source holds of a stream."""
    for ring in source.rings():
        if ring.stream == stream:
            return (ring.between(*ALL).time_ns // NS - T0_S).tolist()
    return []


def store(archive, *seconds, stream=LEMI, metas=None):
    metas = {stream.meta_topic: (vector_meta(),)} if metas is None else metas
    archive.add(batch(arrivals([T0_S + second for second in seconds], stream=stream), metas=metas))


# ---- an archive


def test_archive_opens_with_the_newest_of_every_stream(archive):
    other = Stream("WIC", "lemi036")
    store(archive, *range(100))
    store(archive, *range(50), stream=other)
    source = source_of(archive.path)
    source.reach(10.0)
    assert isinstance(source, ArchiveSource)
    assert times_in(source) == list(range(89, 100))  # a window of 10 s has 11 samples, both its ends
    assert times_in(source, other) == list(range(39, 50))
    source.reach(30.0)
    assert times_in(source) == list(range(69, 100))
    assert source.meta(LEMI) == vector_meta()
    assert source.meta(GSM) is None


def test_archive_is_followed_and_late_samples_are_seen(archive, start):
    store(archive, *range(10, 20))
    source = source_of(archive)
    source.reach(60.0)
    changed = start(source)
    store(archive, 20, 21)
    wait_for(lambda: times_in(source) == list(range(10, 22)), what="new samples")
    changed.clear()
    store(archive, 3, 4)
    wait_for(lambda: times_in(source) == [3, 4, *range(10, 22)], what="late samples")
    assert changed.wait(10)


def test_nothing_is_passed_over_between_history_and_start(archive, start):
    source = source_of(archive)
    store(archive, 1)
    source.reach(60.0)
    store(archive, 2, 3)
    start(source)
    wait_for(lambda: times_in(source) == [1, 2, 3], what="all samples")


def test_stream_that_begins_while_the_view_is_open_appears(archive, start):
    source = source_of(archive)
    source.reach(60.0)
    start(source)
    store(archive, 5)
    wait_for(lambda: times_in(source) == [5], what="the new stream")
    assert source.meta(LEMI) == vector_meta()


def test_clock_of_a_restarted_station_is_picked_up_while_samples_keep_coming(archive, start):
    """With news at every look it must not wait for a quiet moment."""
    store(archive, 0)
    source = source_of(archive)
    source.reach(60.0)
    start(source)
    ending = threading.Event()

    def keep_on():
        second = 0
        while not ending.wait(0.02):
            second += 1
            store(archive, second, metas={})

    thread = threading.Thread(target=keep_on)
    thread.start()
    try:
        clock = Clock(as_datetime(T0_S * NS), as_datetime((T0_S + 9) * NS), 30.0)
        restarted = vector_meta(valid_from=as_datetime(T0_S * NS), clock=clock)
        archive.add(batch(metas={LEMI.meta_topic: (restarted,)}))
        wait_for(lambda: source.meta(LEMI).clock == clock, what="the new clock")
    finally:
        ending.set()
        thread.join()


def test_view_goes_on_when_the_archive_could_not_be_read_for_a_while(archive, start, monkeypatch):
    store(archive, 0)
    source = source_of(archive.path)
    source.reach(60.0)
    follow, broken = source.archive.follow, True

    def follow_when_it_can(row):
        if broken:
            raise OSError("the disk is gone")
        return follow(row)

    monkeypatch.setattr(source.archive, "follow", follow_when_it_can)
    start(source)
    store(archive, 1)
    trouble = "the archive cannot be read: the disk is gone"
    wait_for(lambda: source.condition().text == trouble, what="the trouble")
    assert source.condition().level == "off"
    broken = False
    wait_for(lambda: times_in(source) == [0, 1], what="the samples of meanwhile")
    wait_for(lambda: "cannot be read" not in source.condition().text, what="the end of the trouble")


def test_archive_without_a_collector_says_so(archive):
    assert source_of(archive).condition().level == "off"
    assert source_of(archive).condition().text == "no collector has written to this archive yet"


def test_archive_that_no_collector_writes_ends_with_its_newest_sample(archive):
    store(archive, 0, 1)
    source = source_of(archive)
    source.reach(600.0)
    assert not source.clocked
    assert source.condition().level == "ok"


def test_archive_tells_when_collector_or_broker_are_gone_and_when_they_are_back(tmp_path, start, monkeypatch):
    monkeypatch.setattr("obslab.telemetry.live.following._SILENT_S", 2.5)  # a collector reports every second
    path = tmp_path / "archive"
    open_archive(path, write=True).close()
    source = source_of(path)
    start(source)
    broker = IotcoreBroker()
    broker.start()
    collect = ["collect", "--broker", broker.url, "--archive", path]

    def says(level, text):
        wait_for(
            lambda: (now := source.condition()).level == level and text in now.text,
            what=f"{level}: {text}; it says {source.condition()}",
        )

    with commands.Running(tmp_path / "log", *collect) as collector:
        says("ok", f"connected to {broker.url}")
        broker.kill()
        says("off", f"disconnected: lost broker {broker.url}")
        broker.start()
        says("ok", "connected")
        collector.process.send_signal(signal.SIGSTOP)  # as a machine that hangs, or a SIGKILL
        says("off", "disconnected: no word from the collector for ")
        collector.process.send_signal(signal.SIGCONT)
        says("ok", "connected")
        assert collector.tell() == 0
        says("off", "disconnected: stopped")
    broker.stop()


def test_rejected_messages_of_the_archive_are_counted(tmp_path, start, client):
    with SmallStation(tmp_path) as station:
        station.send(3)
        source = source_of(station.path)
        source.reach(600.0)
        start(source)
        sender = client(broker_at(station.url, {}))
        sender.publish(STREAM.topic, b"no", qos=1)
        wait_for(lambda: source.condition().rejected == 1, what="the rejected message")
        wait_for(lambda: source.condition().level == "ok", what="the collector's next word")
        station.send(2)
        wait_for(lambda: len(times_in(source, STREAM)) == 5, what="samples")


# ---- a broker


@pytest.fixture
def at(shared_broker):
    return broker_at(shared_broker.url, {})


def announce(sender, *metas, stream=LEMI):
    sender.publish(stream.meta_topic, encode_meta(metas or [vector_meta()]), qos=1, retain=True)


def send(sender, *seconds, stream=LEMI):
    for second in seconds:
        sender.publish(stream.topic, vector_payload(T0_S + second), qos=1)


def connected(source):
    wait_for(lambda: source.condition().level == "ok", what="a connection")


def test_broker_is_shown_live(shared_broker, at, start, client):
    stream = Stream("AAA", "lemi0001")
    source = source_of(shared_broker.url, topics=("aaa/#",))
    assert isinstance(source, BrokerSource)
    source.reach(60.0)  # no archive: nothing to fill it with
    changed = start(source)
    connected(source)
    sender = client(at)
    announce(sender, stream=stream)
    send(sender, 1, 2, 4, 3, 3, stream=stream)
    wait_for(lambda: times_in(source, stream) == [1, 2, 3, 4], what="samples")
    assert changed.is_set()
    (ring,) = source.rings()
    assert ring.between(*ALL).values[0].tolist() == [1.0, -2.0, 3.0]
    assert (ring.components, ring.units) == (("x", "y", "z"), ("nT",) * 3)
    assert source.meta(stream) == vector_meta()


def test_narrow_topic_filter_brings_the_metadata_too(shared_broker, at, start, client):
    stream = Stream("BBB", "lemi0001")
    sender = client(at)
    announce(sender, stream=stream)
    source = source_of(shared_broker.url, topics=(stream.topic,))
    start(source)
    connected(source)
    send(sender, 1, stream=stream)
    wait_for(lambda: times_in(source, stream) == [1], what="the sample")


def test_broker_view_is_filled_from_an_archive_with_what_its_filter_wants(
    shared_broker, at, start, client, archive
):
    wanted, other = Stream("CCC", "lemi0001"), Stream("DDD", "lemi0001")
    store(archive, *range(10), stream=wanted)
    store(archive, *range(10), stream=other)
    source = source_of(shared_broker.url, topics=("ccc/#",), history=archive.path)
    source.reach(5.0)
    assert times_in(source, wanted) == [4, 5, 6, 7, 8, 9]
    assert times_in(source, other) == []
    start(source)
    connected(source)
    send(client(at), 9, 10, 11, stream=wanted)  # the archive knew the metadata
    wait_for(lambda: times_in(source, wanted) == list(range(4, 12)), what="live samples")


def test_broker_view_follows_in_its_archive_what_is_computed_from_the_samples(
    shared_broker, at, start, archive
):
    adjusted = Stream("FFF", "lemi0001-adj")
    store(archive, 0, 1, stream=Stream("FFF", "lemi0001"))
    source = source_of(shared_broker.url, topics=("fff/#",), history=archive.path)
    source.reach(600.0)
    start(source)
    connected(source)
    store(archive, 0, 1, 2, stream=adjusted)  # nobody publishes it
    wait_for(lambda: times_in(source, adjusted) == [0, 1, 2], what="a stream that began after the view")
    store(archive, 3, stream=adjusted)
    wait_for(lambda: times_in(source, adjusted) == [0, 1, 2, 3], what="its next sample")


def test_messages_not_understood_are_counted_and_those_before_their_metadata_are_kept(
    shared_broker, at, start, client
):
    stream = Stream("EEE", "lemi0001")
    source = source_of(shared_broker.url, topics=("eee/#",))
    start(source)
    connected(source)
    sender = client(at)
    send(sender, 1, 2, stream=stream)
    wait_for(lambda: "2 messages wait for their metadata" in source.condition().text, what="waiting")
    assert source.condition().rejected == 0
    assert source.rings() == []
    announce(sender, stream=stream)
    wait_for(lambda: times_in(source, stream) == [1, 2], what="what had waited")
    assert "wait" not in source.condition().text

    sender.publish(stream.topic, b"short", qos=1)
    sender.publish("eee/no/such/topic", b"", qos=1)
    sender.publish(stream.meta_topic, b"{", qos=1)
    wait_for(lambda: source.condition().rejected == 3, what="rejected messages")
    send(sender, 3, stream=stream)
    wait_for(lambda: times_in(source, stream) == [1, 2, 3], what="the next good sample")


def test_broker_view_takes_up_a_new_clock(shared_broker, at, start, client):
    stream = Stream("FFF", "lemi0001")
    source = source_of(shared_broker.url, topics=("fff/#",))
    start(source)
    connected(source)
    sender = client(at)
    announce(sender, stream=stream)
    wait_for(lambda: source.meta(stream), what="metadata")
    clock = Clock(as_datetime(T0_S * NS), as_datetime(T0_S * NS), 30.0)
    later = vector_meta(valid_from=as_datetime(T0_S * NS), clock=clock)
    announce(sender, vector_meta(), later, stream=stream)
    wait_for(lambda: source.meta(stream) == later, what="the new clock")


def test_broker_view_survives_a_restart_of_the_broker(start, client):
    broker = IotcoreBroker()
    broker.start()
    source = source_of(broker.url)
    start(source)
    connected(source)
    sender = client(broker_at(broker.url, {}))
    announce(sender)
    send(sender, 1)
    wait_for(lambda: times_in(source) == [1], what="a sample")
    broker.kill()
    wait_for(lambda: source.condition().level == "off", what="the loss")
    assert source.condition().text.startswith(f"disconnected: lost broker {broker.url}")
    broker.start()
    connected(source)
    wait_for(sender.is_connected, what="the sender")
    send(sender, 2)
    wait_for(lambda: times_in(source) == [1, 2], what="the next sample")
    broker.stop()


def test_broker_that_is_not_there_is_told_and_waited_for(start):
    source = source_of("mqtt://127.0.0.1:9")
    assert source.condition().text == "disconnected: connecting to mqtt://127.0.0.1:9"
    start(source)
    wait_for(lambda: "no broker answers" in source.condition().text, what="the trouble")
    assert source.condition().level == "off"


def test_overflowing_inbox_counts_what_it_throws_away(shared_broker, at, start, client, monkeypatch):
    monkeypatch.setattr("obslab.telemetry.live.listening._INBOX", 10)
    stream = Stream("GGG", "lemi0001")
    source = source_of(shared_broker.url, topics=("ggg/#",))
    sender = client(at)
    announce(sender, stream=stream)
    start(source)
    connected(source)
    wait_for(lambda: source.meta(stream), what="metadata")
    send(sender, *range(400), stream=stream)
    wait_for(lambda: source.condition().lost + len(times_in(source, stream)) == 400, what="all messages")
    assert source.condition().lost


# ---- Datasets


def test_datasets_of_an_archive_are_shown_as_they_are(archive, start):
    store(archive, *range(10))
    dataset = archive.dataset("PEA", "lemi0001")
    source = source_of(dataset)
    assert isinstance(source, DatasetSource)
    assert not source.live
    changed = start(source)
    assert changed.is_set()
    source.reach(60.0)
    (ring,) = source.rings()
    assert (ring.stream, ring.components, ring.units) == (LEMI, ("x", "y", "z"), ("nT",) * 3)
    np.testing.assert_array_equal(ring.between(*ALL).values, np.stack([dataset[c] for c in "xyz"], axis=1))
    assert source.condition().level == "ok"
    assert len(source_of([dataset, dataset.assign_attrs(instrument="other")]).rings()) == 2


def test_dataset_longer_than_a_ring_is_shown_whole():
    time = np.datetime64("2024-05-10", "ns") + np.arange(150_000) * np.timedelta64(1, "s")
    dataset = xr.Dataset(
        {"f": ("time", np.arange(150_000.0))},
        {"time": time},
        {"station": "PEA", "instrument": "gsm", "samplerate": "sec"},
    )
    (ring,) = source_of(dataset).rings()
    assert (len(ring), ring.forgotten) == (150_000, 0)


FACTS = {"station": "PEA", "instrument": "gsm", "samplerate": "sec"}
TIME = {"time": np.array([0], dtype="datetime64[ns]")}


@pytest.mark.parametrize(
    ("thing", "wanted"),
    [
        (42, "a int is no source: give an archive, a broker URL or a Dataset"),
        (None, "a NoneType is no source"),
        ([], "a list is no source"),
        ([1], "a list is no source"),
        ("mqtt://user:hunter2@host", "OBSLAB_MQTT_PASSWORD"),
        ("http://user:hunter2@host", "OBSLAB_MQTT_PASSWORD"),
        ("http://host:80", "is not mqtt://host:port"),
        (xr.Dataset(coords=TIME), "has no station, instrument, samplerate;"),
        (xr.Dataset(attrs=FACTS), "has no time;"),
        (xr.Dataset(coords=TIME, attrs=FACTS), "PEA gsm sec has no variable of numbers along time"),
    ],
    ids=lambda given: None if isinstance(given, xr.Dataset) else str(given),
)
def test_what_is_no_source_is_refused_with_what_would_be_one(thing, wanted):
    with pytest.raises(ConfigError, match=wanted) as caught:
        source_of(thing)
    assert "hunter2" not in str(caught.value)


def test_other_refusals_name_what_was_met(tmp_path):
    with pytest.raises(NoArchiveError, match="is not an archive"):
        source_of(str(tmp_path))
    with pytest.raises(TopicError, match="Pea"):
        source_of(xr.Dataset(coords=TIME, attrs=FACTS | {"station": "Pea"}))


def test_importing_the_sources_needs_no_xarray():
    """A station on a small board has none."""
    code = "import sys, obslab.telemetry.live.sources; sys.exit('xarray' in sys.modules)"
    assert subprocess.run([*commands.OBSLAB[:1], "-c", code], env=os.environ).returncode == 0


def test_samples_sent_between_history_and_subscription_are_brought_by_the_archive(tmp_path, start):
    with SmallStation(tmp_path) as station:
        station.send(20)
        source = source_of(station.url, history=str(station.path))
        source.reach(600)
        station.send(30)  # neither in the history that was read nor heard live
        start(source)
        wait_for(lambda: len(times_in(source, STREAM)) == 50)


def test_trouble_with_messages_is_told_in_the_condition_and_goes_away(shared_broker, start, monkeypatch):
    source = source_of(shared_broker.url)
    start(source)
    wait_for(lambda: source.condition().level == "ok")
    with monkeypatch.context() as broken:
        broken.setattr(source, "_take", lambda _taken: 1 / 0)
        wait_for(lambda: source.condition().text == "messages are not shown: division by zero")
        assert source.condition().level == "off"
    wait_for(lambda: source.condition().level == "ok")


def test_following_asks_the_archive_as_often_as_there_are_streams_not_more(archive):
    streams = [Stream("PEA", f"i{number:02}") for number in range(40)]
    metas = {stream.meta_topic: (vector_meta(),) for stream in streams}
    archive.add(batch(*(arrivals([T0_S], stream=stream) for stream in streams), metas=metas))
    asked = []
    with open_archive(archive.path) as reader:
        reader._hot.connection.set_trace_callback(asked.append)
        assert sum(1 for _ in reader.follow(0)) == 40
    # One for each stream's metadata, and few for the streams and the pages.
    assert len(asked) <= 40 + 5
