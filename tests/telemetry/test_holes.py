"""What an archive says about the samples it had to ask for."""

import threading
import time

import pytest
from telemetry.makers import LEMI, NS, arrivals, batch, vector_meta

from obslab.telemetry.archive.book import Hole
from obslab.telemetry.sample import Clock, as_datetime


def test_holes_are_a_dataset(archive):
    archive.add(batch(arrivals([1, 2]), metas={LEMI.meta_topic: (vector_meta(),)}))
    hole = archive.book.add_hole(LEMI.topic, 5 * NS, 9 * NS, "gap", 1)
    assert isinstance(hole, Hole)
    archive.book.set_hole(hole, 2, state="filled", filled=4)
    archive.book.add_hole("wic/other/sec", 5 * NS, 9 * NS, "not received", 1)
    found = archive.holes("pea")
    assert found.stream.values.tolist() == ["PEA lemi0001 sec"]
    assert (found.state.values[0], int(found.filled[0]), found.why.values[0]) == ("filled", 4, "gap")
    assert archive.holes().sizes["hole"] == 2
    assert archive.holes("abc").sizes["hole"] == 0


def test_an_archive_is_whole_when_nothing_is_missing_up_to_now(archive):
    now = time.time_ns() // NS
    archive.add(batch(arrivals([now - 10, now - 9]), metas={LEMI.meta_topic: (vector_meta(),)}))
    assert not archive.wait_whole("PEA", timeout_s=0.3)  # its newest is old: the link may be cut
    archive.add(batch(arrivals([now + 20])))
    assert not archive.wait_whole("PEA", timeout_s=0.3)  # and now there is a gap
    filler = threading.Timer(0.3, lambda: archive.add(batch(arrivals(range(now - 8, now + 20)))))
    filler.start()
    assert archive.wait_whole("PEA", timeout_s=20)
    filler.join()


@pytest.mark.parametrize(("speed", "whole"), [(30.0, True), (1.0, False)])
def test_the_present_is_the_stations(archive, speed, whole):
    """A minute behind is two seconds for a station that replays at 30 times the speed."""
    now_ns = time.time_ns()
    clock = Clock(as_datetime(now_ns), as_datetime(now_ns), speed)
    meta = vector_meta(clock=clock)
    second = now_ns // NS - 60
    archive.add(batch(arrivals([second - 1, second]), metas={LEMI.meta_topic: (meta,)}))
    assert archive.wait_whole("PEA", timeout_s=0.1) is whole


def test_an_unknown_station_is_never_whole(archive):
    assert not archive.wait_whole("ABC", timeout_s=0.1)
