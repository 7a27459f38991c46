"""The collector on real brokers: what arrives is stored once and acknowledged only then."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from telemetry.makers import GSM, LEMI, NS, scalar_meta, vector_meta, vector_payload, wait_for

from obslab.config import broker_at
from obslab.errors import TableError
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.collect import collector as collecting
from obslab.telemetry.collect.collector import Collector
from obslab.telemetry.collect.report import read_report
from obslab.telemetry.sample import as_datetime, encode_meta
from obslab.times import to_ns

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(collecting, "_RETRY_S", 0.05)


@pytest.fixture
def collect():
    """Starts collectors that are connected: `collect(archive, address)`."""
    made = []

    def start(archive, address):
        collector = Collector(archive, address)
        collector.start()
        made.append(collector)
        assert collector.wait_link(10).connected
        return collector

    yield start
    for collector in made:
        if collector._writer.is_alive():
            collector.stop()


@pytest.fixture
def station(client, address):
    """A connected client that has published the metadata of both instruments."""
    sender = client(address)
    for stream, meta in ((LEMI, vector_meta()), (GSM, scalar_meta())):
        sender.publish(stream.meta_topic, encode_meta([meta]), 1, retain=True).wait_for_publish(10)
    return sender


def now_s():
    return int(time.time())


def send(client, *seconds, topic=LEMI.topic):
    for second in seconds:
        client.publish(topic, vector_payload(second), 1).wait_for_publish(10)


def stored(archive):
    return [int(ns) // NS for ns in to_ns(archive.dataset("PEA", "lemi0001").time.values)]


def unique(archive):
    return archive.counters().get(LEMI, {}).get("unique", 0)


def test_samples_arrive_in_the_archive(archive, address, station, collect):
    collect(archive, address)
    begin = now_s() - 20
    send(station, *range(begin, begin + 20))
    wait_for(lambda: unique(archive) == 20)
    dataset = archive.dataset("PEA", "lemi0001")
    assert stored(archive) == list(range(begin, begin + 20))
    assert dataset.x.values.tolist() == [1.0] * 20
    assert (dataset.arrival >= dataset.time).all()


def test_bad_messages_are_kept_with_their_reasons_and_nothing_stops(archive, address, station, collect):
    collector = collect(archive, address)
    bad = {
        (LEMI.topic, vector_payload(now_s())[:7]): "7 bytes where a vector has 16",
        (LEMI.topic, vector_payload(0)): "1970-01-01T00:00:00Z is before 1990",
        (LEMI.topic, vector_payload(now_s() + 9999)): "is in the future; check the station's clock",
        ("no/such", b"\xff\x00"): "topic 'no/such' is not iagacode/instrument/samplerate",
        ("pea/x/$meta", encode_meta([vector_meta()]).replace(b"obslab/1", b"obslab/9")): "upgrade obslab",
        ("pea/y/$meta", encode_meta([vector_meta()]).replace(b"0.001", b"NaN")): "metadata is not understood",
    }
    for (topic, payload), _ in bad.items():
        station.publish(topic, payload, 1).wait_for_publish(10)
    send(station, now_s())
    wait_for(lambda: unique(archive) == 1)
    wait_for(lambda: archive.rejected().sizes["message"] == len(bad))
    table = archive.rejected()
    found = zip(table.topic.values, table.payload_hex.values, table.reason.values, strict=True)
    for topic, payload_hex, reason in found:
        assert bad.pop((str(topic), bytes.fromhex(str(payload_hex)))) in reason
    assert collector.link.connected
    assert collector.report().trouble == ""


def test_samples_wait_for_their_metadata_and_are_read_again(archive, address, client, collect):
    collect(archive, address)
    sender = client(address)
    begin = now_s() - 10
    send(sender, *range(begin, begin + 5))
    wait_for(lambda: archive.counters().get(None, {}).get("waiting") == 5)
    reasons = set(archive.rejected().reason.values.tolist())
    assert len(reasons) == 1
    assert "no metadata yet for PEA lemi0001 sec" in reasons.pop()
    later = vector_meta(valid_from=as_datetime((begin + 2) * NS))  # not for the first two
    sender.publish(LEMI.meta_topic, encode_meta([later]), 1).wait_for_publish(10)
    wait_for(lambda: unique(archive) == 3)
    assert archive.counters()[None]["waiting"] == 2
    sender.publish(LEMI.meta_topic, encode_meta([vector_meta()]), 1).wait_for_publish(10)
    wait_for(lambda: unique(archive) == 5)
    assert stored(archive) == list(range(begin, begin + 5))
    assert archive.rejected().sizes["message"] == 0
    assert archive.counters()[None]["waiting"] == 0


def test_metadata_that_change_in_the_middle_hold_from_their_beginning(archive, address, station, collect):
    collect(archive, address)
    begin = now_s() - 10
    versions = [vector_meta(), vector_meta(valid_from=as_datetime((begin + 5) * NS), scale=0.1)]
    station.publish(LEMI.meta_topic, encode_meta(versions), 1, retain=True).wait_for_publish(10)
    wait_for(lambda: len(archive.metas(LEMI)) == 2)
    send(station, *range(begin + 9, begin - 1, -1))  # a backlog, newest first
    wait_for(lambda: unique(archive) == 10)
    assert archive.dataset("PEA", "lemi0001").x.values.tolist() == [1.0] * 5 + [100.0] * 5


def test_what_comes_while_the_collector_is_away_is_waiting_for_it(archive, address, station, collect):
    collect(archive, address).stop()
    begin = now_s() - 300
    send(station, *range(begin, begin + 300))
    assert unique(archive) == 0
    collect(archive, address)
    wait_for(lambda: unique(archive) == 300)
    assert stored(archive) == list(range(begin, begin + 300))


def test_metadata_that_an_earlier_collector_did_not_store_come_again(tmp_path, address, station, collect):
    """iotcore gives retained messages once in a session; the second archive has the first one's session."""
    with open_archive(tmp_path / "archive", write=True) as first:
        collect(first, address).stop()
        first._hot.connection.execute("DELETE FROM meta")
    with open_archive(tmp_path / "archive", write=True) as second:
        collect(second, address)
        send(station, now_s())
        wait_for(lambda: unique(second) == 1)


def test_a_full_disk_pauses_and_nothing_is_lost(archive, address, station, collect, caplog):
    collector = collect(archive, address)
    begin = now_s() - 3000
    send(station, begin)
    wait_for(lambda: unique(archive) == 1)
    hot = archive._hot.connection
    hot.execute(f"PRAGMA max_page_count={hot.execute('PRAGMA page_count').fetchone()[0]}")
    for second in range(begin + 1, begin + 3000):
        station.publish(LEMI.topic, vector_payload(second), 1)
    wait_for(lambda: collector.report().trouble)
    report = wait_for(lambda: (told := read_report(archive.path)) and told.trouble and told)
    assert "no space left for" in report.trouble
    assert "free some or move it to another disk" in report.detail
    assert report.connected
    held = unique(archive)
    assert stored(archive) == list(range(begin, begin + held))  # what was there can be read
    assert len([record for record in caplog.records if "no space left" in record.getMessage()]) == 1
    hot.execute("PRAGMA max_page_count=1000000")
    wait_for(lambda: unique(archive) == 3000)
    assert stored(archive) == list(range(begin, begin + 3000))
    wait_for(lambda: collector.report().trouble == "")
    assert collector.counted["duplicate"] == 0  # the broker kept them; none was sent twice


def test_a_failure_that_nobody_thought_of_does_not_end_the_collector(
    archive, address, station, collect, caplog
):
    collector = collect(archive, address)
    add, failures = archive.add, iter([RuntimeError("a bug"), TableError("trouble")])

    def failing(batch):
        for failure in failures:
            raise failure
        return add(batch)

    archive.add = failing
    send(station, now_s())
    wait_for(lambda: unique(archive) == 1)
    assert "a bug" in caplog.text
    wait_for(lambda: collector.report().trouble == "")


def test_a_collector_stops_although_its_disk_is_full(archive, address, station, collect):
    collector = collect(archive, address)
    wait_for(lambda: len(archive.all_metas()) == 2)
    hot = archive._hot.connection
    hot.execute(f"PRAGMA max_page_count={hot.execute('PRAGMA page_count').fetchone()[0]}")
    begin = now_s() - 500
    for second in range(begin, begin + 500):
        station.publish(LEMI.topic, vector_payload(second), 1)
    wait_for(lambda: collector.report().trouble)
    collector.stop()
    hot.execute("PRAGMA max_page_count=1000000")
    collect(archive, address)  # what it had not acknowledged comes again
    wait_for(lambda: unique(archive) == 500)
    assert stored(archive) == list(range(begin, begin + 500))


STUCK = textwrap.dedent(
    """
    import sys, time
    from obslab.config import broker_at
    from obslab.telemetry.archive.store import open_archive
    from obslab.telemetry.collect.collector import Collector
    archive = open_archive(sys.argv[1], write=True)
    add = archive.add
    def stuck(batch):
        if batch.arrivals:
            print(sum(len(found.time_ns) for found in batch.arrivals), flush=True)
            time.sleep(600)
        return add(batch)
    archive.add = stuck
    collector = Collector(archive, broker_at(sys.argv[2], {}))
    collector.start()
    print("up" if collector.wait_link(10).connected else "down", flush=True)
    time.sleep(600)
    """
)


def test_messages_that_were_not_stored_at_a_kill_come_again(tmp_path, broker, address, station, collect):
    command = [sys.executable, "-c", STUCK, str(tmp_path / "archive"), broker.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    begin = now_s() - 50
    send(station, *range(begin, begin + 50))
    assert int(process.stdout.readline()) > 0  # it has some, and has not stored them
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with open_archive(tmp_path / "archive", write=True) as archive:
        assert unique(archive) == 0
        collect(archive, address)
        wait_for(lambda: unique(archive) == 50)
        assert stored(archive) == list(range(begin, begin + 50))
        assert archive.counters()[LEMI]["duplicate"] == 0


def test_what_was_stored_is_acknowledged(archive, address, station, collect):
    collector = collect(archive, address)
    begin = now_s() - 2000
    for second in range(begin, begin + 2000):
        station.publish(LEMI.topic, vector_payload(second), 1)
    wait_for(lambda: unique(archive) == 2000)
    collector.stop()
    again = collect(archive, address)
    send(station, begin + 2000)
    wait_for(lambda: unique(archive) == 2001)
    assert again.counted["duplicate"] == 0


def test_a_lost_broker_is_told_and_taken_up_again(archive, broker, address, station, collect, client, caplog):
    collector = collect(archive, address)
    send(station, now_s() - 1)
    wait_for(lambda: unique(archive) == 1)
    with caplog.at_level(logging.WARNING):
        broker.kill()
        wait_for(lambda: not collector.link.connected)
    report = wait_for(lambda: (told := read_report(archive.path)) and told.losses and told)
    assert broker.url in report.detail
    assert report.losses == 1
    broker.start()
    wait_for(lambda: collector.link.connected)
    fresh = client(broker_at(broker.url, {}))
    wait_for(lambda: send(fresh, now_s()) or unique(archive) >= 2)


def test_there_is_no_report_where_there_was_no_collector(tmp_path):
    assert read_report(tmp_path) is None
    (tmp_path / "collector.json").write_text("{")
    assert read_report(tmp_path) is None


def test_a_bad_message_that_comes_twice_is_kept_once_and_counted_twice(archive, address, station, collect):
    collect(archive, address)
    for _ in range(2):
        station.publish("pea/x/$meta", b"{", 1).wait_for_publish(10)
    wait_for(lambda: archive.counters().get(None, {}).get("rejected") == 2)
    assert archive.rejected().times.values.tolist() == [2]
