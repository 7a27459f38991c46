"""How fast the collector stores, against a bare paho subscriber that throws messages away.

Both have a process of their own and a persistent session at one broker, which holds the same
backlog for each; they drain it in turns, several rounds, and the ratio is the median of the rounds'.
That once with the embedded broker, once with Mosquitto; the rest with the embedded one.
Then live: one publisher at full speed into both at once. Then the age of a sample when it is in the
archive, at 200 messages a second.
"""

from __future__ import annotations

import multiprocessing as mp
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho

from obslab.config import Broker, broker_at
from obslab.errors import BrokerError
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker, MosquittoBroker, mosquitto_program
from obslab.telemetry.collect.collector import Collector
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime, encode_meta

STREAMS = [Stream("PEA", f"lemi{n:04}") for n in range(4)]
START_S = 1_700_000_000  # of the backlog's time stamps
BACKLOG, ROUNDS = 60_000, 5
GROWTH = (10_000, 60_000, 200_000)
LIVE_RATE, LIVE_S = 200, 30
PATIENCE_S = 60.0


def measure(quick: bool) -> dict[str, Any]:
    backlog, rounds = (BACKLOG // 10, 3) if quick else (BACKLOG, ROUNDS)
    return {
        "backlog": {name: measure_backlog(backlog, rounds, make) for name, make in brokers().items()},
        "live": measure_live(backlog),
        "age": measure_age(3 if quick else LIVE_S),
        "growth": measure_growth([n // 10 for n in GROWTH] if quick else GROWTH),
    }


def brokers() -> dict[str, Callable[[], Any]]:
    """The embedded broker, and Mosquitto where it is installed."""
    try:
        mosquitto_program()
    except BrokerError:
        return {"iotcore": IotcoreBroker}
    return {"iotcore": IotcoreBroker, "mosquitto": MosquittoBroker}


def measure_backlog(count: int, rounds: int, make: Callable[[], Any]) -> dict[str, Any]:
    """The same backlog drained by both in turns; the ratio of their rates, by rounds and its median."""
    with Bench(make) as bench:
        kinds = ["collector", "bare"]
        for kind in kinds:
            bench.session(kind)
        ratios, rates = [], {kind: [] for kind in kinds}
        sent = 0
        for n in range(rounds):
            bench.send(count, first=sent)
            sent += count
            for kind in kinds if n % 2 else reversed(kinds):  # neither is always the first
                rates[kind].append(bench.drain(kind, count, sent))
            ratios.append(rates["collector"][-1] / rates["bare"][-1])
    return {
        "messages": count,
        "collector_per_s": round(statistics.median(rates["collector"])),
        "bare_per_s": round(statistics.median(rates["bare"])),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 3),
    }


def measure_live(count: int) -> dict[str, Any]:
    """One publisher at full speed while both are connected: who keeps up, and how fast."""
    with Bench() as bench:
        both = [bench.begin(kind) for kind in ("collector", "bare")]
        for one in both:
            one.expect("up")
        began = time.perf_counter()
        bench.send(count, first=0)
        sent = time.perf_counter()
        for one in both:
            one.tell(("until", count))
        took = {one.kind: one.expect("done") - began for one in both}
        for one in both:
            one.end()
    return {
        "messages": count,
        "sent_per_s": round(count / (sent - began)),
        "collector_per_s": round(count / took["collector"]),
        "bare_per_s": round(count / took["bare"]),
        "ratio": round(took["bare"] / took["collector"], 3),
    }


def measure_age(seconds: float) -> dict[str, Any]:
    """Age of a sample when it is committed, from just before it is published, at a steady rate."""
    with Bench() as bench:
        collector = bench.begin("collector")
        collector.expect("up")
        client = _connected(bench.address, "age")
        sent_ns = []
        count = round(seconds * LIVE_RATE)
        pause = time.perf_counter()
        for n in range(count):
            pause += 1 / LIVE_RATE
            time.sleep(max(0.0, pause - time.perf_counter()))
            sent_ns.append(time.time_ns())
            client.publish(STREAMS[n % 4].topic, _payload(START_S + n // 4), qos=1)
        collector.tell(("until", count))
        collector.expect("done")
        commits = collector.receive("commits")
        collector.end()
        client.disconnect()
        client.loop_stop()
    ages_ms = (np.concatenate([np.full(n, at) for at, n in commits])[:count] - np.array(sent_ns)) / 1e6
    return {
        "rate_per_s": LIVE_RATE,
        "messages": count,
        "p50_ms": round(float(np.percentile(ages_ms, 50)), 2),
        "p99_ms": round(float(np.percentile(ages_ms, 99)), 2),
        "max_ms": round(float(ages_ms.max()), 2),
    }


def measure_growth(sizes: Any) -> dict[str, Any]:
    """The collector's rate for the last 10,000 (or fewer) messages before the archive holds so many."""
    with Bench() as bench:
        bench.session("collector")
        rates, sent = {}, 0
        probe = min(10_000, sizes[0])
        for size in sizes:
            for count in [size - probe - sent, probe]:
                if count > 0:
                    bench.send(count, first=sent)
                    sent += count
                    rate = bench.drain("collector", count, sent)
            rates[str(size)] = round(rate)
    return {"collector_per_s_at_rows": rates}


class Bench:
    """One broker, one archive, and the two subscribers as processes."""

    def __init__(self, make: Callable[[], Any] = IotcoreBroker) -> None:
        self._make = make

    def __enter__(self) -> Bench:
        self._folder = tempfile.TemporaryDirectory()
        self._broker = self._make()
        self._broker.start()
        self.address = broker_at(self._broker.url, {})
        client = _connected(self.address, "metas")
        meta = Meta(
            format=FORMAT,
            valid_from=as_datetime(0),
            kind="vector",
            components=("x", "y", "z"),
            scale=0.001,
        )
        for stream in STREAMS:
            client.publish(stream.meta_topic, encode_meta([meta]), qos=1, retain=True).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()
        return self

    def __exit__(self, *what: object) -> None:
        self._broker.stop()
        self._folder.cleanup()

    def begin(self, kind: str) -> Subscriber:
        return Subscriber(kind, self.address, Path(self._folder.name) / "archive")

    def session(self, kind: str) -> None:
        """Connect once and leave: from now on the broker keeps what comes."""
        one = self.begin(kind)
        one.expect("up")
        one.end()

    def drain(self, kind: str, count: int, total: int) -> float:
        """Messages per second from connecting until all are stored (or thrown away)."""
        one = self.begin(kind)
        began = one.expect("up")
        one.tell(("until", total if kind == "collector" else count))
        rate = count / (one.expect("done") - began)
        one.end()
        return rate

    def send(self, count: int, first: int) -> None:
        """Publish from a process of its own, QoS 1, as fast as the broker takes it."""
        sender = mp.Process(target=_send, args=(self.address, count, first))
        sender.start()
        sender.join(PATIENCE_S)
        if sender.exitcode:
            raise SystemExit(f"the publisher ended with {sender.exitcode}")


class Subscriber:
    """A collector or a bare subscriber in its own process."""

    def __init__(self, kind: str, address: Broker, archive: Path) -> None:
        self.kind = kind
        self._pipe, theirs = mp.Pipe()
        target = {"collector": _collect, "bare": _throw_away}[kind]
        self._process = mp.Process(target=target, args=(theirs, address, archive), daemon=True)
        self._process.start()

    def tell(self, what: tuple[str, int]) -> None:
        self._pipe.send(what)

    def receive(self, word: str) -> Any:
        if not self._pipe.poll(PATIENCE_S):
            raise SystemExit(f"the {self.kind} did not say {word!r} in {PATIENCE_S:g} s")
        said, value = self._pipe.recv()
        assert said == word, (said, word)
        return value

    def expect(self, word: str) -> float:
        """When it happened, by the clock that all processes of a machine share."""
        return float(self.receive(word))

    def end(self) -> None:
        self._pipe.send(("end", 0))
        self._process.join(PATIENCE_S)


def _collect(pipe: Any, address: Broker, path: Path) -> None:
    archive = open_archive(path, write=True)
    commits: list[tuple[int, int]] = []
    add = archive.add

    def timed(batch: Any) -> Any:
        counted = add(batch)
        if counted["unique"]:
            commits.append((time.time_ns(), counted["unique"]))
        return counted

    archive.add = timed  # type: ignore[method-assign]
    held = sum(counts["unique"] for stream, counts in archive.counters().items() if stream)
    collector = Collector(archive, address)
    began = time.perf_counter()
    collector.start()
    collector.wait_link(10)
    pipe.send(("up", began))
    told, wanted = pipe.recv()
    if told == "until":
        while held + collector.counted["unique"] < wanted:
            time.sleep(0.002)
        pipe.send(("done", time.perf_counter()))
        pipe.send(("commits", commits))
        pipe.recv()
    collector.stop()
    archive.close()


def _throw_away(pipe: Any, address: Broker, _path: Path) -> None:
    seen, wanted = 0, -1
    done = threading.Event()

    def on_message(_client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        nonlocal seen
        if not message.retain:
            seen += 1
            if seen == wanted:
                done.set()

    up = threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "bare", clean_session=False)

    def on_connect(*_: Any) -> None:
        client.subscribe("#", 1)
        up.set()

    client.on_connect, client.on_message = on_connect, on_message
    began = time.perf_counter()
    client.connect(address.host, address.port, keepalive=10)
    client.loop_start()
    up.wait(10)
    pipe.send(("up", began))
    told, wanted = pipe.recv()
    if told == "until":
        while seen < wanted:
            done.wait(0.002)
        pipe.send(("done", time.perf_counter()))
        pipe.recv()
    client.disconnect()
    client.loop_stop()


def _send(address: Broker, count: int, first: int) -> None:
    client = _connected(address, "sender")
    room = threading.Semaphore(900)
    client.on_publish = lambda *_: room.release()
    for n in range(first, first + count):
        room.acquire()
        client.publish(STREAMS[n % 4].topic, _payload(START_S + n // 4), qos=1)
    for _ in range(900):
        room.acquire()
    client.disconnect()
    client.loop_stop()


def _connected(address: Broker, name: str) -> paho.Client:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, name)
    client.max_inflight_messages_set(1000)
    client.connect(address.host, address.port, keepalive=10)
    client.loop_start()
    while not client.is_connected():
        time.sleep(0.005)
    return client


def _payload(second: int) -> bytes:
    return np.array([second, 21_000_000, -400_000, second % 60_000], dtype="<i4").tobytes()
