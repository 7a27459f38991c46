"""The link and its state, on a broker that is there, is not there, or does not want us."""

import logging
import socket
import subprocess
import threading
import time

import pytest
from telemetry.makers import wait_for

from obslab.config import Broker, broker_at
from obslab.errors import BrokerError, ConfigError
from obslab.telemetry.broker.brokers import IotcoreBroker, MosquittoBroker, free_port
from obslab.telemetry.broker.link import Link
from obslab.telemetry.broker.relay import Relay
from obslab.telemetry.broker.silence import SILENT_S

PASSWORD = "a secret of Pea"


@pytest.fixture
def link():
    made = []

    def make(address, name="link", **options):
        made.append(Link(address, name, **options))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_a_link_comes_up_and_says_where(shared_broker, link):
    state = link(broker_at(shared_broker.url, {})).wait(10)
    assert state.connected
    assert state.detail == f"connected to {shared_broker.url}"


def test_a_broker_that_is_not_there_is_named_and_found_when_it_comes(link, caplog):
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    with caplog.at_level(logging.WARNING):
        one = link(broker_at(url, {}))
        wait_for(lambda: "no broker" in one.state.detail)
    assert one.state.detail == f"no broker answers at {url}; is it running? trying again"
    assert not one.state.connected
    with pytest.raises(BrokerError, match="no broker answers") as refusal:
        one.require(0.01)
    assert isinstance(refusal.value, ConnectionError)
    assert [record.getMessage() for record in caplog.records] == [one.state.detail]  # once, not at every try
    broker = IotcoreBroker(port)
    broker.start()
    assert one.wait(20).connected
    broker.kill()
    wait_for(lambda: not one.state.connected)
    # It had been lost, so that is what is told, until the next try fails.
    assert one.state.losses == 1


@pytest.mark.long
@pytest.mark.parametrize("kind", ["iotcore", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def test_a_frozen_link_is_noticed_sooner_than_the_keep_alive_does_and_taken_up_again(kind, link):
    """paho takes 20 s with a keep-alive of 10 s; the aim is 10 s from the last word of the broker."""
    broker = IotcoreBroker() if kind == "iotcore" else MosquittoBroker()
    broker.start()
    with Relay("127.0.0.1", broker.port) as relay:
        one = link(broker_at(relay.url, {}), topics=("a/#",))
        assert one.wait(10).connected
        time.sleep(SILENT_S + 2)  # a silent broker that answers is not a dead one
        assert (one.state.connected, one.state.losses) == (True, 0)
        relay.freeze()
        frozen_s = time.monotonic()
        wait_for(lambda: not one.state.connected, 19)
        assert time.monotonic() - frozen_s < 15  # surely not by the keep-alive
        assert f"it was silent for {SILENT_S} s" in one.state.detail
        assert one.state.losses == 1
        relay.restore()
        assert one.wait(20).connected
    broker.kill()


def test_a_link_ends_although_the_broker_does_not_answer_any_more(link):
    """With a message that was never acknowledged, over a link that is frozen."""
    broker = IotcoreBroker()
    broker.start()
    with Relay("127.0.0.1", broker.port) as relay:
        one = link(broker_at(relay.url, {}))
        assert one.wait(10).connected
        relay.freeze()
        for _ in range(100):  # more than the buffers on the way take, so that no goodbye gets out
            one.publish("a", bytes(200_000))
        time.sleep(1)
        began_s = time.monotonic()
        one.stop()
        assert time.monotonic() - began_s < 7  # sooner than the silence would be noticed
        assert not one.state.connected
    broker.kill()


def test_an_unknown_host_is_named(link):
    one = link(Broker("no-such-host.invalid", 1883))
    wait_for(lambda: "no broker" in one.state.detail)
    assert "host 'no-such-host.invalid' is not known" in one.state.detail


def test_a_host_that_cannot_be_one_is_refused_before_a_thread_dies_of_it():
    with pytest.raises(ConfigError, match=r"'a\.\.b' is not a host name"):
        Link(Broker("a..b", 1883), "link")


def test_something_else_than_a_broker_is_told(link):
    """A server that hangs up when it is spoken to in MQTT, as a web server would."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ending = threading.Event()

        def hang_up():
            while not ending.is_set():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.recv(100)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        one = link(Broker("127.0.0.1", server.getsockname()[1]))
        wait_for(lambda: "is it an MQTT broker" in one.state.detail)
        assert one.address.url in one.state.detail
        ending.set()


def test_an_exception_in_a_callback_does_not_end_the_link(shared_broker, link, client, caplog):
    seen = []

    def on_message(message, arrival_ns):
        seen.append(message.payload)
        raise RuntimeError("a bug")

    address = broker_at(shared_broker.url, {})
    one = link(address, topics=("bug/#",), on_message=on_message)
    assert one.wait(10).connected
    sender = client(address)
    wait_for(lambda: sender.publish("bug/x", b"1", 1) and len(seen) > 3, what="a fourth message")
    assert "a bug" in caplog.text


def test_acknowledgements_of_an_earlier_connection_are_passed_over(shared_broker, link):
    one = link(broker_at(shared_broker.url, {}), manual_ack=True)
    assert one.wait(10).connected
    sent = []
    one.client._packet_queue = lambda _kind, packet, _mid, _qos: sent.append(packet)
    one.ack([(one.generation, 5), (one.generation - 1, 6), (one.generation, 7)])
    one.ack([(one.generation - 1, 8)])
    assert sent == [b"\x40\x02\x00\x05" + b"\x40\x02\x00\x07"]  # two PUBACK packets of MQTT 3.1.1
    del one.client._packet_queue
    before = one.generation
    one.client.socket().shutdown(socket.SHUT_RDWR)
    wait_for(lambda: one.generation == before + 1)


@pytest.fixture(scope="module")
def guarded():
    """A Mosquitto that wants a login."""
    broker = MosquittoBroker(users={"pea": PASSWORD})
    broker.start()
    yield broker
    broker.stop()


@pytest.mark.mosquitto
@pytest.mark.parametrize(
    ("login", "who"),
    [
        ({}, "an anonymous client"),
        ({"OBSLAB_MQTT_USER": "pea", "OBSLAB_MQTT_PASSWORD": "guess-77"}, "user 'pea'"),
        ({"OBSLAB_MQTT_USER": "wic", "OBSLAB_MQTT_PASSWORD": PASSWORD}, "user 'wic'"),
    ],
)
def test_a_wrong_login_is_told_without_the_password(guarded, link, login, who, caplog):
    with caplog.at_level(logging.DEBUG):
        one = link(broker_at(guarded.url, login))
        state = one.wait(10)
    assert state.refused
    assert not state.connected
    assert f"broker {guarded.url} refused {who}" in state.detail
    assert "OBSLAB_MQTT_USER and OBSLAB_MQTT_PASSWORD" in state.detail
    with pytest.raises(BrokerError) as refusal:
        one.require(0)
    told = [state.detail, str(refusal.value), caplog.text, repr(one.address), repr(state)]
    for secret in ("guess-77", PASSWORD):
        assert not any(secret in text for text in told)


@pytest.mark.mosquitto
def test_the_right_login_is_let_in(guarded, link):
    login = {"OBSLAB_MQTT_USER": "pea", "OBSLAB_MQTT_PASSWORD": PASSWORD}
    assert link(broker_at(guarded.url, login)).wait(10).connected


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_ca(folder, name):
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
        "-keyout", f"{name}.key", "-out", f"{name}.pem", folder=folder,
    )  # fmt: skip
    return folder / f"{name}.pem"


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A Mosquitto with TLS, the certificate of its CA, and that of another CA."""
    folder = tmp_path_factory.mktemp("tls")
    ca, other = make_ca(folder, "ca"), make_ca(folder, "other")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    openssl(
        "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=broker",
        "-keyout", "broker.key", "-out", "broker.csr", folder=folder,
    )  # fmt: skip
    openssl(
        "x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", "san", "-out", "broker.pem", folder=folder,
    )  # fmt: skip

    class TlsMosquitto(MosquittoBroker):
        def _config(self, inside):
            for name in ("broker.pem", "broker.key"):
                (inside / name).write_bytes((folder / name).read_bytes())
            more = f"certfile {inside}/broker.pem\nkeyfile {inside}/broker.key\n"
            return super()._config(inside) + more

    broker = TlsMosquitto()
    broker.start()
    yield f"mqtts://127.0.0.1:{broker.port}", ca, other
    broker.stop()


@pytest.mark.mosquitto
def test_tls_with_the_right_ca_connects(tls, link):
    url, ca, _ = tls
    assert link(broker_at(url, {"OBSLAB_MQTT_CA": str(ca)})).wait(10).connected


@pytest.mark.mosquitto
@pytest.mark.parametrize("environ", ["other", "system"])
def test_tls_with_a_wrong_ca_is_told_at_once_with_the_next_step(tls, link, environ):
    url, _, other = tls
    one = link(broker_at(url, {"OBSLAB_MQTT_CA": str(other)} if environ == "other" else {}))
    state = one.wait(10)
    assert state.refused
    assert f"the certificate of broker {url} is not trusted" in state.detail
    assert "set OBSLAB_MQTT_CA" in state.detail


@pytest.mark.mosquitto
def test_tls_where_there_is_none_and_none_where_there_is_are_told(tls, guarded, link):
    url, ca, _ = tls
    plain = link(broker_at(url.replace("mqtts", "mqtt"), {}), "plain")
    wait_for(lambda: "TLS" in plain.state.detail)
    secret = link(broker_at(guarded.url.replace("mqtt", "mqtts"), {"OBSLAB_MQTT_CA": str(ca)}), "secret")
    wait_for(lambda: "TLS" in secret.state.detail)
    assert f"{url.replace('mqtts', 'mqtt')} ended the connection at once" in plain.state.detail
    assert secret.address.url in secret.state.detail


def test_a_ca_that_is_no_certificate_is_named(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"OBSLAB_MQTT_CA names .*ca\.pem, which cannot be used"):
        Link(broker_at("mqtts://127.0.0.1", {"OBSLAB_MQTT_CA": str(tmp_path / "ca.pem")}), "link")
