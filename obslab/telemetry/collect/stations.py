"""Fills an archive's gaps from its stations now, instead of waiting for the collector's next look."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from obslab.config import Broker
from obslab.errors import BrokerError, TableError
from obslab.telemetry.archive.requests import ask, waiting
from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.collect.collector import Collector
from obslab.telemetry.sample import Stream

_LOOK_S = 0.2
_CONNECT_S = 10.0

Gap = tuple[Stream, int, int]


@dataclass(frozen=True)
class Filled:
    """How many gaps there were, how many are closed, lost at their source, and still waited for."""

    gaps: int
    closed: int
    lost: int
    waiting: int


def fill(path: Path, address: Broker, *, patience_s: float) -> Filled:
    """Ask the stations for every gap of an archive, those given up as lost too, and wait for the answers.

    A collector that has the archive open does the asking; without one, a collector of our own does, as long
    as it takes. Raises BrokerError when that one cannot connect.
    """
    with open_archive(path) as archive:
        gaps = [
            (stream, *stretch)
            for stream in archive.streams()
            if (span := archive.span(stream))
            for stretch in archive.missing(stream, *span)
        ]
    if not gaps:
        return Filled(0, 0, 0, 0)
    for stream, begin_ns, end_ns in gaps:
        ask(path, stream.topic, begin_ns, end_ns)
    with _collecting(path, address) as archive:
        end_s = time.monotonic() + patience_s
        while (found := _found(archive, gaps)).waiting and time.monotonic() < end_s:
            time.sleep(_LOOK_S)
    return found


@contextmanager
def _collecting(path: Path, address: Broker) -> Iterator[Archive]:
    try:
        archive = open_archive(path, write=True)
    except TableError:  # a collector has it
        with open_archive(path) as archive:
            yield archive
        return
    collector = Collector(archive, address, confirms=False)  # whose journals it keeps is not for us to say
    try:
        collector.start()
        state = collector.wait_link(_CONNECT_S)
        if not state.connected:
            raise BrokerError(state.detail)
        yield archive
    finally:
        collector.stop()
        archive.close()


def _found(archive: Archive, gaps: list[Gap]) -> Filled:
    closed = lost = 0
    requests = bool(waiting(archive.path))
    for stream, begin_ns, end_ns in gaps:
        # In this order: samples are stored before the answer is noted as complete.
        asked = requests or archive.book.holes(stream.topic, begin_ns, end_ns, ("open", "asked"))
        if not archive.missing(stream, begin_ns, end_ns):
            closed += 1
        elif not asked:
            lost += 1
    return Filled(len(gaps), closed, lost, len(gaps) - closed - lost)
