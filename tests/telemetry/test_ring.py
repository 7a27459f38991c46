"""The ring against a plain dictionary, over any sequence of appends, and under two threads."""

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from telemetry.makers import LEMI

from obslab.telemetry.live.ring import Ring
from obslab.telemetry.live.source import Rings
from obslab.telemetry.readings import Readings

CAPACITY = 8
ALL = (-(2**63), 2**63 - 1)


def readings(times, values=None, components=("x",), arrival_ns=0):
    times = np.array(times, dtype=np.int64)
    table = np.array(times if values is None else values, dtype=float)
    table = table.reshape(times.size, 1) if table.ndim == 1 else table
    return Readings(
        LEMI,
        tuple(components),
        ("nT",) * len(components),
        times,
        np.full(times.size, arrival_ns),
        np.broadcast_to(table, (times.size, len(components))),
        np.zeros(times.size, dtype=np.uint8),
    )


def ring(*appended, capacity=CAPACITY, components=("x",)):
    made = Ring(LEMI, tuple(components), ("nT",) * len(components), capacity)
    for times in appended:
        made.append(readings(times))
    return made


def times_in(made, begin=ALL[0], end=ALL[1]):
    return made.between(begin, end).time_ns.tolist()


_BURST = st.lists(st.integers(-20, 60), max_size=3 * CAPACITY)


@given(bursts=st.lists(_BURST, max_size=12), looks=st.sets(st.integers(0, 11)))
def test_ring_holds_what_a_sorted_dictionary_holds(bursts, looks):
    """Late, repeated, unordered samples, bursts longer than the ring, and reading in between."""
    made, kept, number = ring(), {}, 0
    for place, burst in enumerate(bursts):
        values = np.arange(number, number + len(burst), dtype=float)  # each sample is recognised by its value
        number += len(burst)
        made.append(readings(burst, values))
        for time, value in zip(burst, values, strict=True):
            kept.setdefault(time, value)
        if place in looks:
            made.latest_ns()
    newest = dict(sorted(kept.items())[-CAPACITY:])
    read = made.between(*ALL)
    assert dict(zip(read.time_ns.tolist(), read.values[:, 0].tolist(), strict=True)) == newest
    assert read.time_ns.tolist() == sorted(newest)
    assert len(made) == len(newest)
    assert (made.earliest_ns(), made.latest_ns()) == ((min(newest), max(newest)) if newest else (None, None))
    # A sample that comes again after it was forgotten is forgotten again.
    assert len(kept) - len(newest) <= made.forgotten <= number


@given(
    times=st.sets(st.integers(0, 100), max_size=40).flatmap(lambda some: st.permutations(sorted(some))),
    cut=st.integers(1, 9),
)
def test_forgotten_counts_each_sample_that_had_to_make_room(times, cut):
    made = ring(*(times[i : i + cut] for i in range(0, len(times), cut)))
    assert len(made) + made.forgotten == len(times)


_TIME = st.integers(-2, 22)


@given(times=st.lists(_TIME, max_size=CAPACITY), begin=_TIME, end=_TIME)
def test_between_is_half_open(times, begin, end):
    wanted = sorted({time for time in times if begin <= time < end})
    assert times_in(ring(times), begin, end) == wanted


def test_times_of_the_present_are_exact_to_a_nanosecond():
    now = 1_715_360_760_123_456_789  # a float has 256 ns there
    made = ring([now, now + 1, now + 2])
    assert times_in(made, now + 1, now + 2) == [now + 1]


def test_first_of_two_samples_stays_also_at_the_edge_of_a_long_burst():
    made = ring(capacity=2)
    made.append(readings([1, 1, 2], [10.0, 11.0, 20.0]))
    assert made.between(*ALL).values[:, 0].tolist() == [10.0, 20.0]


def test_missing_values_and_missing_components_are_nan():
    made = ring(components=("x", "y"))
    made.append(readings([1], [[np.nan, 5.0]], ("x", "y")))
    made.append(readings([2], [[7.0]], ("y",)))
    made.append(readings([3], [[1.0, 2.0]], ("z", "x")))
    np.testing.assert_array_equal(made.between(*ALL).values, [[np.nan, 5], [np.nan, 7], [2, np.nan]])


def test_what_is_read_does_not_change_when_more_comes():
    made = ring([1, 2, 3])
    read = made.between(*ALL)
    made.append(readings(range(4, 30)))
    made.append(readings([0]))
    assert read.time_ns.tolist() == [1, 2, 3]
    assert read.values[:, 0].tolist() == [1, 2, 3]


def test_arrivals_since_an_instant_tell_rate_and_latency():
    made = ring()
    made.append(readings([1, 2], arrival_ns=100))
    made.append(readings([3, 4], arrival_ns=200))
    times, arrivals = made.arrived_since(100)
    assert (times.tolist(), arrivals.tolist()) == ([3, 4], [200, 200])


def test_reader_always_sees_a_whole_ring_while_another_thread_writes():
    """Times in order, none twice, and every value belongs to its time."""
    made = ring(capacity=500)
    done, wrong, seen = threading.Event(), [], 0

    def write():
        rng = np.random.default_rng(1)
        for start in range(0, 40_000, 20):
            late = rng.integers(max(0, start - 600), start + 1, 5)
            made.append(readings(np.concatenate([np.arange(start, start + 20), late])))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        read = made.between(*ALL)
        seen += read.time_ns.size
        if (np.diff(read.time_ns) <= 0).any() or (read.values[:, 0] != read.time_ns).any():
            wrong.append(read.time_ns)
        if read.time_ns.size > made.capacity:
            wrong.append(read.time_ns.size)
        made.latest_ns(), len(made), made.arrived_since(0)
    writer.join()
    assert not wrong
    assert seen
    assert times_in(made) == list(range(39_500, 40_000))


def test_new_component_keeps_what_the_ring_held():
    """A station that changes from XYZ to HDZ, with samples of before still coming late."""
    rings = Rings()
    rings.add(readings([1, 2], [[1.0, 10.0], [2.0, 20.0]], ("x", "z")))
    rings.add(readings([3], [[3.0, 30.0]], ("h", "z")))
    rings.add(readings([0], [[0.5, 5.0]], ("x", "z")))
    (made,) = rings.all()
    assert made.components == ("x", "z", "h")
    read = made.between(*ALL)
    nan = np.nan
    wanted = [[0.5, 5, nan], [1, 10, nan], [2, 20, nan], [nan, 30, 3]]
    np.testing.assert_array_equal(read.values, wanted)


def test_two_threads_that_meet_a_new_stream_fill_one_ring():
    """History is read by one thread while what arrives is added by another."""
    for _ in range(50):
        rings, start = Rings(), threading.Barrier(2)

        def add(times, rings=rings, start=start):
            start.wait()
            rings.add(readings(times))

        threads = [threading.Thread(target=add, args=(times,)) for times in ([1, 2], [3, 4])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert times_in(rings.all()[0]) == [1, 2, 3, 4]
