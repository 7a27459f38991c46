"""The newest samples of one stream in memory, for a live view: appended by one thread, read by another."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Stream

CAPACITY = 100_000  # more than a day at 1 Hz; 4 MB for a vector


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

    def between(self, begin_ns: int, end_ns: int) -> Readings:
        """A copy of the samples in ``[begin, end)``."""
        with self._lock:
            self._sort()
            held = self._time[self._begin : self._end]
            first, last = self._begin + np.searchsorted(held, [begin_ns, max(begin_ns, end_ns)])
            chosen = slice(int(first), int(last))
            return Readings(
                self.stream,
                self.components,
                self.units,
                self._time[chosen].copy(),
                self._arrival[chosen].copy(),
                self._values[chosen].copy(),
                np.zeros(int(last - first), dtype=np.uint8),
            )

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
