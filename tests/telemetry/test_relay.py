"""A relay is as narrow, late and unreliable as it was told, and loses and alters nothing."""

import itertools
import random
import socket
import threading
import time

import pytest
from telemetry.makers import LEMI, T0_S, vector_payload, wait_for

from obslab.config import broker_at
from obslab.errors import BrokerError, ConfigError
from obslab.telemetry.broker.brokers import free_port
from obslab.telemetry.broker.relay import HEADER_BYTES, SEGMENT_BYTES, Relay


class Peer:
    """A TCP server on the far side: `got` is what came on each connection; with `echo` it sends it back."""

    def __init__(self, *, echo=False):
        self._echo = echo
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = self._server.getsockname()
        self.connections, self.got, self.came_at, self.ends = [], [], [], []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections.append(connection)
            self.got.append(bytearray())
            threading.Thread(target=self._read, args=(connection, self.got[-1]), daemon=True).start()

    def _read(self, connection, got):
        try:
            while chunk := connection.recv(65536):
                got += chunk
                self.came_at.append(time.monotonic())
                if self._echo:
                    connection.sendall(chunk)
            self.ends.append("closed")
        except OSError:
            self.ends.append("reset")

    def close(self):
        self._server.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def peer():
    peer = Peer(echo=True)
    yield peer
    peer.close()


@pytest.fixture
def sink():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def relay(request):
    """Makes relays: `relay(peer, bits_per_s=...)`."""
    made = []

    def make(peer, **link):
        made.append(Relay(*peer.address, **link))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def connect(relay):
    client = socket.create_connection(("127.0.0.1", relay.port), timeout=20)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def receive(client, count):
    got = b""
    while len(got) < count:
        got += client.recv(65536)
    return got


def test_bytes_pass_unaltered_both_ways_and_are_counted(peer, relay):
    link = relay(peer)
    sent = random.Random(1).randbytes(300_000)
    with connect(link) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        assert receive(client, len(sent)) == sent
        writer.join()
    assert link.up.payload_bytes == link.down.payload_bytes == len(sent)
    assert link.up.wire_bytes >= len(sent) + len(sent) / SEGMENT_BYTES * HEADER_BYTES


def test_an_end_comes_behind_the_last_byte(sink, relay):
    link = relay(sink, latency_s=0.05, bits_per_s=1e6)
    sent = random.Random(2).randbytes(20_000)
    with connect(link) as client:
        client.sendall(sent)
    wait_for(lambda: sink.ends == ["closed"], what="the end")
    assert sink.got[0] == sent


def test_throughput_is_the_bit_rate_less_the_framing(sink, relay):
    """Full segments: 1,460 of 1,500 bytes are payload. The modem's queue hides a busy test machine."""
    link = relay(sink, bits_per_s=56_000)
    sent = bytes(14_600)
    with connect(link) as client:
        began = time.monotonic()
        client.sendall(sent)
        wait_for(lambda: sink.got and len(sink.got[0]) == len(sent), what="all bytes")
    took = sink.came_at[-1] - began
    assert took == pytest.approx(10 * 1500 * 8 / 56_000, rel=0.1)
    assert took == pytest.approx(link.up.wire_bytes * 8 / 56_000, rel=0.1)


def test_each_way_has_the_bit_rate_for_itself(peer, relay):
    link = relay(peer, bits_per_s=112_000)
    with connect(link) as client:
        began = time.monotonic()
        client.sendall(bytes(14_600))
        receive(client, 14_600)
        took = time.monotonic() - began
    assert took < 1.6 * 10 * 1500 * 8 / 112_000  # in turns it would be twice


def test_connections_share_the_line_evenly(sink, relay):
    link = relay(sink, bits_per_s=224_000)
    clients = [connect(link) for _ in range(2)]
    writers = [threading.Thread(target=client.sendall, args=(bytes(400_000),)) for client in clients]
    for writer in writers:
        writer.daemon = True
        writer.start()
    wait_for(lambda: sum(map(len, sink.got)) > 40_000)
    first, second = sorted(map(len, sink.got))
    link.cut()
    assert first > 0.7 * second


def test_latency_is_one_way_so_an_answer_takes_twice_that(peer, relay):
    link = relay(peer, latency_s=0.15)
    with connect(link) as client:
        times = []
        for n in range(5):
            began = time.monotonic()
            client.sendall(bytes([n]))
            assert receive(client, 1) == bytes([n])
            times.append(time.monotonic() - began)
    assert min(times) >= 0.3
    assert sorted(times)[2] < 0.4


def test_a_full_queue_stops_the_sender(sink, relay):
    """What a sender can get rid of is the queue and a few small kernel buffers, not megabytes."""
    link = relay(sink, bits_per_s=8_000, queue_bytes=8192)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    client.connect(("127.0.0.1", link.port))
    client.settimeout(0.3)
    taken = 0
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            taken += client.send(bytes(512))
    client.close()
    assert 8192 <= taken < 40_000


def test_lost_segments_come_late_and_in_order_and_a_seed_repeats_them(sink, relay):
    links = [relay(sink, latency_s=0.01, loss=0.3, seed=7) for _ in range(2)]
    sent = [random.Random(n).randbytes(100) for n in range(20)]
    for link in links:
        with connect(link) as client:
            for n, chunk in enumerate(sent):
                client.sendall(chunk)
                wait_for(lambda n=n, link=link: link.up.payload_bytes == 100 * (n + 1))  # one segment each
            before = len(sink.ends)
        wait_for(lambda before=before: len(sink.ends) > before)
    assert sink.got == [b"".join(sent)] * 2
    assert links[0].up.lost == links[1].up.lost > 0
    assert links[0].up.segments == 21 + links[0].up.lost  # 20 and the end, each until it was through


def test_a_lost_segment_takes_a_retransmission_timeout_more(peer, relay):
    link = relay(peer, latency_s=0.02, loss=0.2, seed=3)
    slow = fast = 0
    with connect(link) as client:
        for _ in range(10):
            before, began = link.up.lost + link.down.lost, time.monotonic()
            client.sendall(b"x")
            receive(client, 1)
            took, lost = time.monotonic() - began, link.up.lost + link.down.lost - before
            assert took >= 0.04 + 0.24 * lost - 0.005
            slow, fast = slow + (lost > 0), fast + (lost == 0)
    assert slow > 0 and fast > 0


def test_a_cut_resets_both_ends_and_refuses_until_it_is_restored(peer, relay):
    link = relay(peer)
    client = connect(link)
    client.sendall(b"before")
    receive(client, 6)
    url = link.url
    link.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_for(lambda: peer.ends == ["reset"])
    with pytest.raises(ConnectionRefusedError):
        connect(link)
    link.restore()
    assert link.url == url
    with connect(link) as again:
        again.sendall(b"after")
        assert receive(again, 5) == b"after"


def test_a_frozen_link_accepts_and_never_answers_and_loses_nothing(peer, relay):
    link = relay(peer)
    client = connect(link)
    client.sendall(b"a")
    receive(client, 1)
    link.freeze()
    client.sendall(b"b")
    new = connect(link)
    new.sendall(b"c")
    for one in (client, new):
        one.settimeout(0.5)
        with pytest.raises(TimeoutError):
            one.recv(1)
        one.settimeout(20)
    assert [bytes(got) for got in peer.got] == [b"a"]
    link.restore()
    assert (receive(client, 1), receive(new, 1)) == (b"b", b"c")
    client.close()
    new.close()


def test_a_frozen_link_does_not_tell_that_an_end_has_gone(peer, relay):
    link = relay(peer)
    client = connect(link)
    client.sendall(b"a")
    receive(client, 1)
    link.freeze()
    client.close()
    time.sleep(0.3)
    assert peer.ends == []
    link.restore()
    wait_for(lambda: peer.ends == ["closed"])


def test_a_broker_that_is_down_looks_like_a_connection_that_ends():
    ends = pytest.raises(ConnectionResetError)
    with Relay("127.0.0.1", free_port(), latency_s=0.1) as link, connect(link) as client, ends:
        client.recv(1)


def test_the_relay_s_port_can_be_taken_and_its_numbers_wrong(peer, relay):
    link = relay(peer)
    with pytest.raises(BrokerError, match=f"relay on port {link.port} did not start"):
        relay(peer, listen_port=link.port)
    for wrong in ({"latency_s": -1}, {"loss": 1}, {"bits_per_s": 0}):
        with pytest.raises(ConfigError, match="wanted are"):
            Relay("127.0.0.1", 1883, **wrong)


def test_samples_pass_through_a_relay_to_a_real_broker(address, client):
    with Relay(address.host, address.port, latency_s=0.02, loss=0.05, bits_per_s=200_000, seed=5) as link:
        reader = client(address)
        got, granted = [], threading.Event()
        reader.on_message = lambda _c, _u, message: got.append(message.payload)
        reader.on_subscribe = lambda *_: granted.set()
        reader.subscribe(LEMI.topic, 1)
        assert granted.wait(10)
        sender = client(broker_at(link.url, {}))
        sent = [vector_payload(second) for second in range(T0_S, T0_S + 200)]
        for payload in sent:
            sender.publish(LEMI.topic, payload, qos=1)
        wait_for(lambda: len(got) >= len(sent), what="200 samples")
        link.cut()
    assert list(itertools.islice(got, len(sent))) == sent
