"""The newest samples of one stream in memory, for a live view: appended by one thread, read by another."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Stream

CAPACITY = 100_000  # more than a day at 1 Hz; 4 MB for a vector
_NEWS = 20_000  # times of new samples that are remembered: who looks ten times a second needs a few


class Ring:
    """At most ``capacity`` samples, the newest, in order of time, each time once (the first that came).

    Samples that come late are sorted in when next read. ``forgotten`` counts what had to make room.
    """

    def __init__(
        self, stream: Stream, components: tuple[str, ...], units: tuple[str, ...], capacity: int = CAPACITY
    ):
        self.stream, self.components, self.units, self.capacity = stream, components, units, capacity
        self.forgotten = 0
        self._lock = threading.Lock()
        self._begin = self._end = 0
        self._in_order = True
        self._added = 0
        self._news: deque[tuple[int, NDArray[np.int64]]] = deque()
        # Twice the capacity: what is kept moves to the front only once in `capacity` samples.
        self._time = np.empty(2 * capacity, dtype=np.int64)
        self._arrival = np.empty(2 * capacity, dtype=np.int64)
        self._values = np.empty((2 * capacity, len(components)), dtype=np.float64)

    def __len__(self) -> int:
        with self._lock:
            self._sort()
            return self._end - self._begin

    def append(self, readings: Readings) -> None:
        """Add samples; components this ring does not have are passed over, missing ones are NaN."""
        columns = [
            readings.components.index(name) if name in readings.components else -1 for name in self.components
        ]
        values = np.full((readings.time_ns.size, len(columns)), np.nan)
        for place, column in enumerate(columns):
            if column >= 0:
                values[:, place] = readings.values[:, column]
        with self._lock:
            for begin in range(0, readings.time_ns.size, self.capacity):
                piece = slice(begin, begin + self.capacity)
                self._add(readings.time_ns[piece], readings.arrival_ns[piece], values[piece])
            self._remember(readings.time_ns)

    def news(self, after: int) -> tuple[int, NDArray[np.int64] | None]:
        """How many samples were ever added, to ask with next time, and the times of those since ``after``.

        None instead when there are too many to tell: then all that is held is to be looked at.
        """
        with self._lock:
            told = [times for added, times in self._news if added > after]
            count = sum(times.size for times in told)
            if count < self._added - after:
                return self._added, None
            return self._added, np.concatenate(told) if told else np.empty(0, dtype=np.int64)

    def at(self, time_ns: NDArray[np.int64]) -> Readings:
        """A copy of the samples at these times, those that are held, in order of time."""
        with self._lock:
            self._sort()
            held = self._time[self._begin : self._end]
            wanted = np.unique(time_ns)
            place = np.searchsorted(held, wanted)
            there = place < held.size
            there[there] = held[place[there]] == wanted[there]
            return self._copy(self._begin + place[there])

    def between(self, begin_ns: int, end_ns: int) -> Readings:
        """A copy of the samples in ``[begin, end)``."""
        with self._lock:
            self._sort()
            held = self._time[self._begin : self._end]
            first, last = self._begin + np.searchsorted(held, [begin_ns, max(begin_ns, end_ns)])
            return self._copy(slice(int(first), int(last)))

    def latest_ns(self) -> int | None:
        """Time of the newest sample."""
        with self._lock:
            self._sort()
            return int(self._time[self._end - 1]) if self._end > self._begin else None

    def earliest_ns(self) -> int | None:
        """Time of the oldest sample held."""
        with self._lock:
            self._sort()
            return int(self._time[self._begin]) if self._end > self._begin else None

    def arrived_since(self, wall_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sample and arrival times of what came after an instant, among the newest 5,000."""
        with self._lock:
            newest = slice(max(self._begin, self._end - 5000), self._end)
            recent = self._arrival[newest] > wall_ns
            return self._time[newest][recent], self._arrival[newest][recent]

    def _add(
        self, time_ns: NDArray[np.int64], arrival_ns: NDArray[np.int64], values: NDArray[np.float64]
    ) -> None:
        """Add at most ``capacity`` samples."""
        if self._end + time_ns.size > self._time.size:
            self._sort()
            self._move_to_front()
        before = self._time[self._end - 1] if self._end > self._begin else np.iinfo(np.int64).min
        self._in_order &= bool(time_ns[0] > before) and bool((np.diff(time_ns) > 0).all())
        end = self._end + time_ns.size
        self._time[self._end : end] = time_ns
        self._arrival[self._end : end] = arrival_ns
        self._values[self._end : end] = values
        self._end = end
        if self._in_order:
            self._forget()

    def _copy(self, chosen: slice | NDArray[np.intp]) -> Readings:
        time_ns = self._time[chosen].copy()
        return Readings(
            self.stream,
            self.components,
            self.units,
            time_ns,
            self._arrival[chosen].copy(),
            self._values[chosen].copy(),
            np.zeros(time_ns.size, dtype=np.uint8),
        )

    def _remember(self, time_ns: NDArray[np.int64]) -> None:
        self._added += time_ns.size
        if time_ns.size:
            self._news.append((self._added, time_ns.copy()))
        while self._news and self._added - self._news[0][0] + self._news[0][1].size > _NEWS:
            self._news.popleft()

    def _sort(self) -> None:
        if self._in_order:
            return
        held = slice(self._begin, self._end)
        _, first = np.unique(self._time[held], return_index=True)
        self._end = self._begin + first.size
        for array in (self._time, self._arrival, self._values):
            array[self._begin : self._end] = array[held][first]
        self._in_order = True
        self._forget()

    def _forget(self) -> None:
        """Leave the oldest to be written over; the samples are in order."""
        excess = max(0, self._end - self._begin - self.capacity)
        self._begin += excess
        self.forgotten += excess

    def _move_to_front(self) -> None:
        size = self._end - self._begin
        for array in (self._time, self._arrival, self._values):
            array[:size] = array[self._begin : self._end].copy()
        self._begin, self._end = 0, size
