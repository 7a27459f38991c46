"""Station, broker and archive together: nothing is lost, whatever the broker forgets."""

import threading

import numpy as np
import pytest
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta, vector_payload, wait_for

from obslab.config import broker_at
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker, MosquittoBroker
from obslab.telemetry.collect import keeper as keeping
from obslab.telemetry.collect.collector import Collector
from obslab.telemetry.collect.report import read_report
from obslab.telemetry.collect.stations import fill
from obslab.telemetry.protocol import Unit
from obslab.telemetry.sample import Stream
from obslab.telemetry.station import liaison as liaisons
from obslab.telemetry.station.liaison import Liaison
from obslab.telemetry.station.publisher import Publisher
from obslab.telemetry.station.rendering import ImpfRendering


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(liaisons, "_LEDGER_S", 0.5)
    monkeypatch.setattr(keeping, "_SCAN_S", 1.0)


@pytest.fixture
def end():
    """Ends what a test began, in reverse order: `end(thing.stop)`."""
    calls = []
    yield calls.append
    for call in reversed(calls):
        call()


def start_station(journal, address, end, **options):
    publisher = Publisher(journal, address, Liaison(journal, Unit("PEA", "lemi0001")), **options)
    publisher.start()
    end(lambda: publisher._thread.is_alive() and publisher.stop())
    return publisher


def start_collector(archive, address, end, **options):
    collector = Collector(archive, address, **options)
    collector.start()
    end(lambda: collector._writer.is_alive() and collector.stop())
    assert collector.wait_link(10).connected
    return collector


def write(journal, begin, n):
    journal.append([(LEMI.topic, s * NS, vector_payload(s)) for s in range(begin, begin + n)])


def seconds_of(archive, stream=LEMI):
    return (archive.dataset(stream.station, stream.instrument).time.values.astype(np.int64) // NS).tolist()


def test_a_journal_is_empty_when_the_archive_has_it_all(journal, archive, address, end):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    write(journal, T0_S, 2000)
    start_collector(archive, address, end)
    publisher = start_station(journal, address, end)
    assert publisher.wait_delivered(30, threading.Event())
    assert seconds_of(archive) == list(range(T0_S, T0_S + 2000))
    assert journal.topics() == []
    wait_for(lambda: str(Unit("PEA", "lemi0001")) in archive.book.units())


def test_what_a_broker_lost_before_anybody_listened_is_asked_for(journal, archive, address, end):
    """Published and acknowledged before the archive's first session: no broker keeps that."""
    journal.add_meta(LEMI.meta_topic, vector_meta())
    write(journal, T0_S, 5000)
    publisher = start_station(journal, address, end)
    wait_for(lambda: publisher.unsent() == 0)
    collector = start_collector(archive, address, end)
    assert publisher.wait_delivered(60, threading.Event())
    assert seconds_of(archive) == list(range(T0_S, T0_S + 5000))
    assert collector.counted["rejected"] == 0
    assert [hole.state for hole in archive.book.holes()] == ["filled"] * len(archive.book.holes())


def test_what_died_with_the_broker_while_the_archive_was_away_is_asked_for(
    journal, tmp_path, broker, address, end
):
    """Both brokers lose what they acknowledged when killed, more than the publisher ever sent again."""
    journal.add_meta(LEMI.meta_topic, vector_meta())
    with open_archive(tmp_path / "away", write=True) as archive:
        collector = start_collector(archive, address, end)
        publisher = start_station(journal, address, end)
        write(journal, T0_S, 10)
        publisher.wake()
        assert publisher.wait_delivered(20, threading.Event())
        collector.stop()
        write(journal, T0_S + 10, 4000)
        publisher.wake()
        wait_for(lambda: publisher.unsent() == 0)
        broker.kill()
        broker.start()
        start_collector(archive, address, end)
        assert publisher.wait_delivered(60, threading.Event())
        assert seconds_of(archive) == list(range(T0_S, T0_S + 4010))


@pytest.mark.long
def test_after_a_long_outage_live_samples_do_not_wait_behind_the_backlog(
    journal, archive, broker, address, end
):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    start_collector(archive, address, end)
    publisher = start_station(journal, address, end)
    write(journal, T0_S, 10)
    publisher.wake()
    assert publisher.wait_delivered(20, threading.Event())
    publisher.stop()
    write(journal, T0_S + 10, 6000)
    publisher = start_station(journal, address, end)
    assert publisher.wait_delivered(60, threading.Event())
    assert seconds_of(archive) == list(range(T0_S, T0_S + 6010))
    arrival = archive.dataset("PEA", "lemi0001").arrival.values
    assert arrival[-1] <= arrival[10:-60].min()
    assert sum(hole.filled for hole in archive.book.holes()) >= 5000  # they came in blocks


@pytest.mark.mosquitto
def test_several_collectors_share_the_load_of_one_archive(journal, tmp_path, end):
    """MQTT 5 shared subscriptions: each gets a part, and when one is gone the other gets all."""
    broker = MosquittoBroker()
    broker.start()
    end(broker.kill)
    address = broker_at(broker.url, {})
    journal.add_meta(LEMI.meta_topic, vector_meta())
    archives = [open_archive(tmp_path / "shared", write=True, shared=True) for _ in range(2)]
    for archive in archives:
        end(archive.close)
    collectors = [start_collector(archive, address, end, share="obslab") for archive in archives]
    publisher = start_station(journal, address, end)
    write(journal, T0_S, 3000)
    publisher.wake()
    assert publisher.wait_delivered(60, threading.Event())
    assert seconds_of(archives[0]) == list(range(T0_S, T0_S + 3000))
    parts = [collector.counted["unique"] for collector in collectors]
    assert sum(parts) == 3000
    assert min(parts) > 500
    collectors[0].stop()
    archives[0].close()
    write(journal, T0_S + 3000, 1000)
    publisher.wake()
    assert publisher.wait_delivered(60, threading.Event())
    assert seconds_of(archives[1]) == list(range(T0_S, T0_S + 4000))


def test_impf_is_published_and_collected_beside_the_binary_format(journal, archive, address, end):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    journal.add_meta(GSM.meta_topic, scalar_meta())
    write(journal, T0_S, 20)
    journal.append([(GSM.topic, T0_S * NS, T0_S.to_bytes(4, "little") + b"\x63\x40\x00\x4a")])
    collector = start_collector(archive, address, end)
    publisher = start_station(journal, address, end, rendering=ImpfRendering(journal, level=1))
    wait_for(lambda: collector.counted["unique"] == 21)
    assert publisher.wait_delivered(10, threading.Event())
    vector = archive.dataset("PEA", "impf1-xyz")
    assert vector.x.values.tolist() == pytest.approx([1.0] * 20)  # 1000 counts of 0.001 nT
    assert vector.y.values.tolist() == pytest.approx([-2.0] * 20)
    scalar = archive.dataset("PEA", "impf1-s")
    assert scalar.s.values.tolist() == pytest.approx([0x4A0040 * 0.01])
    assert Stream("PEA", "lemi0001") not in archive.streams()


def test_the_report_names_the_archive_and_what_is_missing(journal, archive, address, end):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    start_collector(archive, address, end, name="second", confirms=False)
    wait_for(lambda: (report := read_report(archive.path)) and report.connected)
    report = read_report(archive.path)
    assert (report.name, report.holes, report.notice) == ("second", 0, "")


def test_a_broker_without_system_topics_is_not_asked_for_ever(journal, archive, end, monkeypatch):
    """iotcore ends a connection that asks for $SYS; the samples' own link must not suffer from it."""
    monkeypatch.setattr("obslab.telemetry.collect.collector._GIVE_UP_S", 1.0)
    broker = IotcoreBroker()
    broker.start()
    end(broker.kill)
    collector = start_collector(archive, broker_at(broker.url, {}), end)
    wait_for(lambda: not collector._bridges.client._thread, what="the end of the link for bridges")
    assert (collector.link.connected, collector.link.losses) == (True, 0)


@pytest.mark.parametrize("collecting", [True, False], ids=["by the collector", "without a collector"])
def test_gaps_are_asked_for_by_hand_again(journal, tmp_path, address, end, collecting):
    """The station had lost them once; now its day files are back."""
    path = tmp_path / "by-hand"
    journal.add_meta(LEMI.meta_topic, vector_meta())
    records = []

    def history(_stream, begin_ns, end_ns):
        return [record for record in records if begin_ns <= record[0] < end_ns]

    publisher = Publisher(journal, address, Liaison(journal, Unit("PEA", "lemi0001"), history=history))
    publisher.start()
    end(publisher.stop)
    archive = open_archive(path, write=True)
    collector = start_collector(archive, address, end)
    journal.append([(LEMI.topic, s * NS, vector_payload(s)) for s in (*range(T0_S, T0_S + 50), T0_S + 200)])
    publisher.wake()
    assert publisher.wait_delivered(20, threading.Event())
    if not collecting:
        collector.stop()
        archive.close()
    found = fill(path, address, patience_s=30)
    assert (found.gaps, found.closed, found.lost, found.waiting) == (1, 0, 1, 0)
    with open_archive(path) as reader:  # what was asked for then must not be answered from what is there now
        wait_for(lambda: not reader.book.holes(states=("open", "asked")))
    records += [(s * NS, vector_payload(s)) for s in range(T0_S, T0_S + 200)]
    found = fill(path, address, patience_s=30)
    assert (found.gaps, found.closed, found.lost, found.waiting) == (1, 1, 0, 0)
    with open_archive(path) as archive:
        assert seconds_of(archive) == list(range(T0_S, T0_S + 201))
    assert fill(path, address, patience_s=1).gaps == 0
