"""Memory of a collector that takes 100 streams for an hour of their time, much faster than real."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho

from obslab.config import broker_at
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker
from obslab.telemetry.sample import FORMAT, Clock, Meta, Stream, as_datetime, encode_meta
from telemetry_parts.commands import Running, wait
from telemetry_parts.recovery import connected, stored

STREAMS = [Stream(f"P{n // 10:02}", f"lemi{n % 10:04}") for n in range(100)]
HOUR_S = 3600
SPEED = 40  # station seconds in one second: 4,000 messages a second, which a collector keeps up with
NS = 1_000_000_000


def measure(quick: bool) -> dict[str, Any]:
    seconds = HOUR_S // (10 if quick else 1)
    with tempfile.TemporaryDirectory(prefix="obslab-bench-") as name:
        folder = Path(name)
        broker = IotcoreBroker()
        broker.start()
        try:
            log = folder / "log"
            with Running(
                log, "collect", "--broker", broker.url, "--archive", folder / "archive"
            ) as collector:
                wait(lambda: connected(folder / "archive"), "a collector", 30)
                return _observe(collector, folder / "archive", broker.url, seconds)
        finally:
            broker.kill()


def _observe(collector: Running, path: Path, url: str, seconds: int) -> dict[str, Any]:
    """Resident memory once a second while the hour goes by; its slope without the first tenth."""
    before_mb, total = collector.memory_mb, seconds * len(STREAMS)
    sender = threading.Thread(target=_send, args=(url, seconds), daemon=True)
    began_s = time.monotonic()
    sender.start()
    progress, memory_mb = [], []
    with open_archive(path) as archive:
        while not progress or progress[-1] < total:
            if time.monotonic() - began_s > 1200:
                raise SystemExit(f"{progress[-1]} of {total} samples after 20 minutes")
            time.sleep(1)
            progress.append(stored(archive))
            memory_mb.append(collector.memory_mb)
    took_s = time.monotonic() - began_s
    sender.join()
    warm = np.array(progress) > total / 10
    hours = np.array(progress)[warm] / total * seconds / HOUR_S
    warm_mb = np.array(memory_mb)[warm]
    slope = float(np.polyfit(hours, warm_mb, 1)[0])
    return {
        "streams": len(STREAMS),
        "samples": total,
        "samples_per_s": round(total / took_s),
        "collector_cpu_s": round(collector.cpu_s, 1),
        "before_mb": round(before_mb, 1),
        "at_a_tenth_mb": round(float(warm_mb[0]), 1),
        "at_the_end_mb": round(float(warm_mb[-1]), 1),
        "most_mb": round(max(memory_mb), 1),
        "slope_mb_per_hour": round(slope, 2),
    }


def _send(url: str, seconds: int) -> None:
    """Each second of the stations' clock one sample of each stream, as its noise would have it."""
    address = broker_at(url, {})
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "stations")
    room = threading.Semaphore(900)
    client.on_publish = lambda *_: room.release()
    client.max_inflight_messages_set(1000)
    client.connect(address.host, address.port, keepalive=10)
    client.loop_start()
    wall = time.time_ns() // NS * NS
    clock = Clock(as_datetime(wall), as_datetime(wall), float(SPEED))
    facts = {"kind": "vector", "components": ("x", "y", "z"), "scale": 0.001, "clock": clock}
    meta = encode_meta([Meta(format=FORMAT, valid_from=as_datetime(wall), **facts)])  # type: ignore[arg-type]
    for stream in STREAMS:
        room.acquire()
        client.publish(stream.meta_topic, meta, qos=1, retain=True)
    noise = np.random.default_rng(1).normal(20_000_000, 10, (len(STREAMS), 3))
    began_s = time.monotonic()
    for n in range(seconds):
        time.sleep(max(0.0, began_s + n / SPEED - time.monotonic()))
        table = np.empty((len(STREAMS), 4), dtype="<i4")
        table[:, 0], table[:, 1:] = wall // NS + n, noise + n
        for stream, row in zip(STREAMS, table, strict=True):
            room.acquire()
            client.publish(stream.topic, row.tobytes(), qos=1)
    for _ in range(900):
        room.acquire()
    client.disconnect()
    client.loop_stop()
