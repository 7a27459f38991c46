"""The publisher on real brokers: what is in the journal reaches the archive, whatever the broker does."""

import logging

import pytest
from telemetry.makers import LEMI, NS, T0_S, vector_meta, vector_payload, wait_for

from obslab.config import broker_at
from obslab.telemetry.broker.brokers import free_port
from obslab.telemetry.collect.collector import Collector
from obslab.telemetry.protocol import Unit
from obslab.telemetry.sample import as_datetime, decode_meta
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.liaison import Liaison
from obslab.telemetry.station.publisher import Publisher
from obslab.times import to_ns


@pytest.fixture
def publish():
    """Starts publishers: `publish(journal, address)`."""
    made = []

    def start(journal, address, **options):
        publisher = Publisher(journal, address, Liaison(journal, Unit("PEA", "lemi0001")), **options)
        publisher.start()
        made.append(publisher)
        return publisher

    yield start
    for publisher in made:
        if publisher._thread.is_alive():
            publisher.stop()


@pytest.fixture
def listen(client, address):
    """Samples and metadata that come to a plain subscriber: (topic, payload, retained)."""
    heard = []
    ear = client(address)

    def keep(_client, _userdata, message):
        if message.topic.endswith("/$meta") or "$" not in message.topic:
            heard.append((message.topic, message.payload, message.retain))

    ear.on_message = keep
    ready = []
    ear.on_subscribe = lambda *_: ready.append(True)
    ear.subscribe("#", 1)
    wait_for(lambda: ready)
    return heard


def fill(journal, begin, end):
    journal.append([(LEMI.topic, second * NS, vector_payload(second)) for second in range(begin, end)])


def samples(heard):
    return [payload for topic, payload, _ in heard if topic == LEMI.topic]


def payloads(begin, end):
    return [vector_payload(second) for second in range(begin, end)]


def test_everything_journaled_arrives_once_and_in_order_after_its_metadata(journal, address, listen, publish):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    fill(journal, T0_S, T0_S + 1500)  # three times what may be unacknowledged
    publisher = publish(journal, address)
    wait_for(lambda: len(samples(listen)) == 1500)
    fill(journal, T0_S + 1500, T0_S + 1510)
    publisher.wake()
    wait_for(lambda: len(samples(listen)) == 1510)
    assert samples(listen) == payloads(T0_S, T0_S + 1510)
    assert listen[0][0] == LEMI.meta_topic
    assert decode_meta(listen[0][1]) == (vector_meta(),)
    wait_for(lambda: publisher.unsent() == 0)


def test_metadata_are_retained_and_published_again_when_they_change(
    journal, address, listen, publish, client
):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    publisher = publish(journal, address)
    wait_for(lambda: len(listen) == 1)
    both = journal.add_meta(LEMI.meta_topic, vector_meta(valid_from=as_datetime(NS), scale=0.1))
    publisher.wake_metas()
    wait_for(lambda: len(listen) == 2)
    assert decode_meta(listen[1][1]) == both
    later, heard = client(address), []
    later.on_message = lambda _c, _u, message: heard.append((message.retain, decode_meta(message.payload)))
    later.subscribe(LEMI.meta_topic, 1)
    assert wait_for(lambda: heard) == [(True, both)]


def test_a_restarted_publisher_goes_on_where_it_was(tmp_path, journal, address, listen, publish):
    fill(journal, T0_S, T0_S + 100)
    first = publish(journal, address)
    wait_for(lambda: first.unsent() == 0 and journal.last_seq() == 100)
    first.stop()
    assert journal.acknowledged() == 100
    fill(journal, T0_S + 100, T0_S + 110)
    publish(journal, address)
    wait_for(lambda: len(samples(listen)) >= 110)
    assert samples(listen) == payloads(T0_S, T0_S + 110)


def test_a_publisher_without_a_broker_keeps_journaling_and_says_so(journal, publish):
    address = broker_at(f"mqtt://127.0.0.1:{free_port()}", {})
    publisher = publish(journal, address)
    fill(journal, T0_S, T0_S + 100)
    publisher.wake()
    wait_for(lambda: "no broker answers" in publisher.link.detail)
    assert publisher.unsent() == 100
    fill(journal, T0_S + 100, T0_S + 200)
    publisher.stop()
    assert journal.acknowledged() == 0
    assert journal.last_seq() == 200


def test_a_held_entry_holds_what_follows(journal, address, listen, publish):
    gate = {T0_S + 3}
    fill(journal, T0_S, T0_S + 6)
    publisher = publish(journal, address, release=lambda entry: entry.time_ns // NS not in gate)
    wait_for(lambda: len(samples(listen)) == 3)
    assert publisher.unsent() >= 3
    gate.clear()
    wait_for(lambda: len(samples(listen)) == 6)
    assert samples(listen) == payloads(T0_S, T0_S + 6)


def test_a_killed_broker_costs_nothing(tmp_path, journal, archive, broker, address, publish, caplog):
    """The broker dies with what it had acknowledged; after its restart the archive gets all of it.

    The collector comes back first here: a broker that knows nothing throws away what comes for nobody.
    """
    journal.add_meta(LEMI.meta_topic, vector_meta())
    collector = Collector(archive, address)
    collector.start()
    assert collector.wait_link(10).connected
    publisher = publish(journal, address, release=lambda entry: collector.link.connected)
    fill(journal, T0_S, T0_S + 800)
    publisher.wake()
    wait_for(lambda: archive.last_row() > 50)
    broker.kill()
    wait_for(lambda: not publisher.link.connected)
    fill(journal, T0_S + 800, T0_S + 900)  # goes on without a broker
    with caplog.at_level(logging.WARNING):
        broker.start()
        wait_for(lambda: publisher.unsent() == 0 and publisher.link.connected)
        wait_for(lambda: collector.link.connected)
        wait_for(lambda: archive.last_row() >= 900, what="the whole archive")
    collector.stop()
    times = to_ns(archive.dataset("PEA", "lemi0001").time.values) // NS
    assert times.tolist() == list(range(T0_S, T0_S + 900))
    assert archive.counters()[LEMI]["unique"] == 900
    assert "contradiction" not in archive.counters()[LEMI]


def test_a_broker_that_forgot_everything_while_the_publisher_was_away_gets_the_last_again(
    tmp_path, journal, broker, address, publish, client
):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    fill(journal, T0_S, T0_S + 1300)
    publisher = publish(journal, address)
    publisher.wake()
    wait_for(lambda: publisher.unsent() == 0)
    publisher.stop()
    broker.kill()
    broker.start()
    heard = []
    ear = client(address)
    ear.on_message = lambda _c, _u, message: heard.append((message.topic, message.payload, message.retain))
    ready = []
    ear.on_subscribe = lambda *_: ready.append(True)
    ear.subscribe("#", 1)
    wait_for(lambda: ready)
    journal.close()
    again = Journal(tmp_path / "journal")
    assert again.acknowledged() == 1300
    restarted = publish(again, address)
    wait_for(lambda: len(samples(heard)) == 1200)
    assert samples(heard) == payloads(T0_S + 100, T0_S + 1300)
    assert heard[0][0] == LEMI.meta_topic  # its retained message was lost, too
    restarted.stop()
    again.close()
