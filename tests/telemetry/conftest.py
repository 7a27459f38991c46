"""Real brokers, archives and journals for the telemetry tests."""

import itertools

import paho.mqtt.client as paho
import pytest
from telemetry.makers import wait_for

from obslab.config import broker_at
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker, MosquittoBroker
from obslab.telemetry.station.journal import Journal

_numbers = itertools.count()


@pytest.fixture(scope="module")
def shared_broker():
    """One embedded broker for a test module; a test that kills its broker takes `broker`."""
    broker = IotcoreBroker()
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(params=["iotcore", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def broker(request):
    """A broker of this test's own: embedded, and once more Mosquitto."""
    broker = IotcoreBroker() if request.param == "iotcore" else MosquittoBroker()
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def address(broker):
    return broker_at(broker.url, {})


@pytest.fixture
def archive(tmp_path):
    with open_archive(tmp_path / "archive", write=True) as archive:
        yield archive


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal")
    yield journal
    journal.close()


@pytest.fixture
def client():
    """Makes connected paho clients that know nothing of obslab: `client(address).publish(...)`."""
    made = []

    def make(address, **options):
        name = f"test-{next(_numbers)}"
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, **options)
        client.max_inflight_messages_set(1000)
        client.connect(address.host, address.port, keepalive=10)
        client.loop_start()
        made.append(client)
        wait_for(client.is_connected, what="a connection")
        return client

    yield make
    for one in made:
        one.disconnect()
        one.loop_stop()
