import socket

import pytest

from obslab.errors import BrokerError
from obslab.telemetry.broker import brokers
from obslab.telemetry.broker.brokers import IotcoreBroker, MosquittoBroker, free_port


def test_a_broker_listens_on_this_machine_only_and_ends(broker):
    assert broker.running
    assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
    socket.create_connection(("127.0.0.1", broker.port), 5).close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((_other_address(), broker.port), 5)
    broker.stop()
    assert not broker.running
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", broker.port), 5)


def _other_address():
    """Loopback has many addresses; only 127.0.0.1 is asked for."""
    return "127.0.0.2"


def test_a_killed_broker_starts_again_on_its_port(broker):
    broker.kill()
    assert not broker.running
    broker.start()
    assert broker.running
    socket.create_connection(("127.0.0.1", broker.port), 5).close()


@pytest.mark.parametrize("make", [IotcoreBroker, pytest.param(MosquittoBroker, marks=pytest.mark.mosquitto)])
def test_a_port_in_use_is_named(make):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        broker = make(port)
        with pytest.raises(BrokerError, match=f"on port {port} did not start"):
            broker.start()
        assert not broker.running


@pytest.mark.mosquitto
def test_passwords_are_hashed_on_disk():
    broker = MosquittoBroker(users={"pea": "a secret of Pea"})
    broker.start()
    texts = [path.read_bytes() for path in brokers.Path(broker._folder.name).iterdir()]
    broker.stop()
    assert any(b"pea:$" in text for text in texts)
    assert not any(b"a secret of Pea" in text for text in texts)


def test_a_missing_mosquitto_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(brokers.shutil, "which", lambda *_, **__: None)
    with pytest.raises(BrokerError, match="apt-get install mosquitto"):
        MosquittoBroker(free_port()).start()
