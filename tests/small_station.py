"""A broker, a station and a collector in this process, for tests of what shows their data."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from obslab.config import broker_at
from obslab.telemetry import codec
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker
from obslab.telemetry.collect.collector import Collector
from obslab.telemetry.protocol import Unit
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.liaison import Liaison
from obslab.telemetry.station.publisher import Publisher

NS = 1_000_000_000
STREAM = Stream("PEA", "lemi0001")
UNIT = Unit("PEA", "lemi0001")


class Station:
    """`send(n)` publishes n more seconds, the first five minutes ago, and waits for the archive."""

    def __init__(self, folder: Path, **facts: Any) -> None:
        self.path = folder / "archive"
        self.sent = 0
        self._begin_ns = time.time_ns() // NS * NS - 300 * NS
        self._meta = Meta(
            format=FORMAT,
            valid_from=as_datetime(self._begin_ns),
            kind="vector",
            components=("x", "y", "z"),
            scale=0.001,
            **facts,
        )
        self.broker = IotcoreBroker()
        self.broker.start()
        self.url = self.broker.url
        address = broker_at(self.url, {})
        self._archive = open_archive(self.path, write=True)
        self._collector = Collector(self._archive, address)
        self._journal = Journal(folder / "journal")
        self._journal.add_meta(STREAM.meta_topic, self._meta)
        self._publisher = Publisher(self._journal, address, Liaison(self._journal, UNIT))

    def __enter__(self) -> Self:
        self._collector.start()
        assert self._collector.wait_link(10).connected
        self._publisher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.stop()
        self._collector.stop()
        self._archive.close()
        self._journal.close()
        self.broker.stop()

    def send(self, n: int, *, delivered: bool = True) -> None:
        times = [self._begin_ns + (self.sent + i) * NS for i in range(n)]
        values = [1.0, 2.0]
        self._journal.append(
            [
                (STREAM.topic, at, codec.encode(STREAM, self._meta, at, [*values, at // NS % 7]))
                for at in times
            ]
        )
        self.sent += n
        self._publisher.wake()
        if delivered:
            wait(lambda: self._collector.counted["unique"] == self.sent)

    @contextmanager
    def sending(self, n: int, *, every_s: float) -> Iterator[None]:
        """Send n samples again and again, in a thread, without waiting for the archive."""
        ending = threading.Event()

        def run() -> None:
            while not ending.wait(every_s):
                self.send(n, delivered=False)

        sender = threading.Thread(target=run)
        sender.start()
        try:
            yield
        finally:
            ending.set()
            sender.join()


def wait(happened: Callable[[], object], timeout_s: float = 15) -> None:
    """Until it happened; an AssertionError when it does not."""
    end_s = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end_s, f"did not happen within {timeout_s} s"
        time.sleep(0.02)
