"""Adjusted data in near real time: late samples, new baselines and flags, restarts, and the whole chain."""

import logging
import os
import signal
import threading

import numpy as np
import pytest
from commands import Running, wait
from msgspec.structs import replace
from telemetry.makers import wait_for
from telemetry.observatory import (
    ADJ,
    DAY_NS,
    LEMI,
    NOON,
    NS,
    VECTOR,
    baseline,
    fill,
    raw,
    samples,
    seconds,
    truth,
    values,
)

from obslab.config import broker_at
from obslab.errors import NoStreamError, TableError
from obslab.telemetry import bodies
from obslab.telemetry.archive import seal
from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.baseline import Baselines
from obslab.telemetry.collect.collector import Collector
from obslab.telemetry.flags import FlagBook
from obslab.telemetry.processing import following
from obslab.telemetry.processing.following import Follower, follow
from obslab.telemetry.sample import Clock, as_datetime, encode_meta
from obslab.times import from_ns, now_ns

TIME = seconds(600)
# Half a count of 0.001 nT in h and e, turned into x and y, half a count of these, and what the fit leaves.
SAME_NT = 0.0013


class Direct:
    """Stores at once; ``down`` is a disk that fails."""

    def __init__(self, archive):
        self.archive, self.down, self.batches = archive, False, 0

    def ready(self):
        return True

    def __call__(self, batch):
        if self.down:
            raise TableError("the disk is full")
        self.batches += 1
        self.archive.add(batch)


@pytest.fixture(autouse=True)
def always_looks(monkeypatch):
    monkeypatch.setattr(following, "_LOOK_S", 0.0)


@pytest.fixture
def adopted(archive):
    folder = Baselines(archive.path / "baselines")
    folder.adopt(baseline())
    return folder


@pytest.fixture
def store(archive):
    return Direct(archive)


@pytest.fixture
def start(archive, adopted, store):
    made = []

    def start(**options):
        for one in made:
            one.close()
        made.append(Follower(archive, "WIC", "lemi036", adopted, store=store, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


def finish(follower):
    """Step until there is nothing left to do."""
    while follower.step() or follower._mark.todo:
        pass


def times(archive):
    return archive.stored(ADJ, 0, 2**62).time_ns if ADJ in archive.streams() else np.array([], np.int64)


def off_nt(archive):
    """How far z is off the truth."""
    found = archive.dataset("WIC", "lemi036-adj")
    return found.z.values - truth(found.time.values.astype(np.int64))[:, 2]


def test_what_there_is_and_what_comes_is_adjusted(archive, start):
    fill(archive, TIME[:300])
    follower = start()
    finish(follower)
    np.testing.assert_array_equal(times(archive), TIME[:300])
    fill(archive, TIME[300:])
    assert follower.step() == 300
    np.testing.assert_array_equal(times(archive), TIME)
    np.testing.assert_allclose(values(archive.dataset("WIC", "lemi036-adj")), truth(TIME), atol=SAME_NT)


def test_late_samples_are_adjusted_too(archive, start):
    fill(archive, np.delete(TIME, np.s_[100:200]))
    follower = start()
    finish(follower)
    fill(archive, TIME[100:200])
    assert follower.step() == 100
    np.testing.assert_array_equal(times(archive), TIME)


def test_live_samples_do_not_make_a_version_of_metadata_each(archive, start):
    fill(archive, TIME[:10])
    follower = start()
    finish(follower)
    for at in range(10, 30):
        fill(archive, TIME[at : at + 1])
        follower.step()
    assert len(archive.metas(ADJ)) == 1
    assert archive.counters()[ADJ]["unique"] == 30


def test_a_station_that_starts_again_gives_its_new_clock_to_adjusted_data(archive, start):
    fill(archive, TIME[:10])
    follower = start()
    finish(follower)
    clock = Clock(station=as_datetime(NOON), wall=as_datetime(NOON + 365 * DAY_NS))
    archive.add(Batch(metas={LEMI.meta_topic: (replace(VECTOR, clock=clock),)}))
    fill_only = samples(LEMI, VECTOR, TIME[10:20], raw(TIME[10:20]))
    archive.add(Batch(arrivals=[fill_only]))
    follower.step()
    assert archive.metas(ADJ)[-1].clock == clock


def test_a_newly_adopted_baseline_adjusts_what_it_is_valid_for_anew(archive, start, adopted):
    fill(archive, TIME)
    follower = start()
    finish(follower)
    between = (from_ns(TIME[200]), from_ns(TIME[300]))
    adopted.adopt(baseline(*between, more=(0.0, 0.0, 5.0), adopted="2024-06-03"))
    finish(follower)
    np.testing.assert_allclose(
        off_nt(archive), np.where((TIME[200] <= TIME) & (TIME[300] > TIME), 5, 0), atol=SAME_NT
    )
    assert archive.counters()[ADJ]["revised"] == 100


def test_flags_take_out_and_give_back_while_it_follows(archive, start):
    fill(archive, TIME)
    with FlagBook(archive.path) as book:
        follower = start(flags=FlagBook(archive.path, readonly=True))
        finish(follower)
        number = book.set(LEMI, from_ns(TIME[5]), from_ns(TIME[9]), author="me", reason="a car")
        finish(follower)
        assert np.flatnonzero(np.isnan(off_nt(archive))).tolist() == [5, 6, 7, 8]
        book.withdraw(number, "me", "no car")
        finish(follower)
        assert not np.isnan(off_nt(archive)).any()
        assert archive.counters()[ADJ]["revised"] == 8


def test_restarted_it_goes_on_where_it_was_without_loss(archive, start, store):
    fill(archive, TIME[:200])
    finish(start())
    fill(archive, TIME[200:400])  # while nobody follows
    batches = store.batches
    follower = start()
    finish(follower)
    np.testing.assert_array_equal(times(archive), TIME[:400])
    assert store.batches == batches + 1  # nothing was done twice


def test_baselines_and_flags_of_the_time_between_are_noticed_after_a_restart(archive, start, adopted):
    fill(archive, TIME)
    finish(start())
    adopted.adopt(baseline(more=(0.0, 0.0, 5.0), adopted="2024-06-03"))
    finish(start())
    np.testing.assert_allclose(off_nt(archive), 5, atol=SAME_NT)


def test_samples_that_were_sealed_while_nobody_followed_are_not_passed_over(archive, start):
    """A row that was sealed is not followed any more: days are compared at the start."""
    fill(archive, TIME[:200])
    finish(start())
    fill(archive, TIME[200:])
    assert seal.seal_day(archive._hot, LEMI, NOON // DAY_NS * DAY_NS, NOON + 30 * DAY_NS)
    finish(start())
    np.testing.assert_array_equal(times(archive), TIME)


def test_what_could_not_be_stored_is_done_again(archive, start, store):
    fill(archive, TIME[:10])
    follower = start()
    finish(follower)
    fill(archive, TIME[10:20])
    store.down = True
    with pytest.raises(TableError):
        follower.step()
    store.down = False
    finish(follower)
    np.testing.assert_array_equal(times(archive), TIME[:20])


def test_a_missing_baseline_is_said_once_and_the_raw_data_go_on(archive, store, caplog):
    folder = Baselines(archive.path / "baselines")
    folder.adopt(baseline(end=from_ns(TIME[5])))
    fill(archive, TIME[:1])
    follower = Follower(archive, "WIC", "lemi036", folder, store=store)
    finish(follower)
    with caplog.at_level(logging.WARNING, following.__name__):
        for at in range(1, 10):
            fill(archive, TIME[at : at + 1])
            finish(follower)
        said = [record.message for record in caplog.records if record.name == following.__name__]
        assert said == [
            "no adopted baseline of WIC lemi036 sec holds at 2024-05-10T12:00:05Z: adopt one that does"
        ]
        np.testing.assert_array_equal(times(archive), TIME[:5])
        caplog.clear()
        folder.adopt(baseline(adopted="2024-06-03"))
        finish(follower)
        fill(archive, TIME[10:11])
        finish(follower)
        said = [record.message for record in caplog.records if record.name == following.__name__]
        assert said == ["WIC lemi036 sec has a baseline again: adjusted into WIC lemi036-adj sec"]
    np.testing.assert_array_equal(times(archive), TIME[:11])
    follower.close()


def test_a_damaged_day_of_adjusted_data_is_made_again(archive, start):
    fill(archive, TIME)
    follower = start()
    finish(follower)
    chunk = seal.seal_day(archive._hot, ADJ, NOON // DAY_NS * DAY_NS, NOON + 30 * DAY_NS)
    (archive.path / chunk.file).write_bytes(b"")
    assert archive.repair(NOON + 31 * DAY_NS)["quarantined"] == 1
    assert times(archive).size == 0
    finish(follower)
    np.testing.assert_array_equal(times(archive), TIME)


def test_a_mark_that_is_damaged_costs_time_but_no_data(archive, start, caplog):
    fill(archive, TIME)
    follower = start()
    finish(follower)
    follower._file.write_bytes(b"{")
    fill(archive, seconds(5, NOON + 700 * NS))
    finish(start())
    assert times(archive).size == 605
    assert "is not understood" in caplog.text


def test_two_cannot_follow_one_stream(archive, adopted, store, start):
    fill(archive, TIME[:1])
    start()
    with pytest.raises(TableError, match="the following of WIC lemi036 sec is in use by another process"):
        Follower(archive, "WIC", "lemi036", adopted, store=store)
    with pytest.raises(NoStreamError):
        Follower(archive, "PEA", "lemi036", adopted, store=store)


def test_a_failure_is_told_once_and_tried_again(archive, adopted, monkeypatch, caplog):
    fill(archive, TIME[:1])
    monkeypatch.setattr(following, "_FAILED_S", 0.001)
    ending, seen = threading.Event(), []

    def fails(self):
        seen.append(1)
        if len(seen) == 5:
            ending.set()
        raise TableError("no space left")

    monkeypatch.setattr(Follower, "step", fails)
    follow(archive, "WIC", "lemi036", adopted, ending)
    assert caplog.text.count("no space left") == 1
    assert len(seen) == 5


# ---- the whole chain: broker, collector, and the follower beside it


@pytest.fixture
def chain(tmp_path, shared_broker, client):
    """A collector on an archive, and a station that has published its metadata."""
    address = broker_at(shared_broker.url, {})
    with open_archive(tmp_path / "chain", write=True) as archive:
        present = [from_ns(now_ns() + days * DAY_NS) for days in (-1, 1)]
        Baselines(archive.path / "baselines").adopt(baseline(*present))
        collector = Collector(archive, address, name="test")
        collector.start()
        assert collector.wait_link(10).connected
        station = client(address)
        station.publish(LEMI.meta_topic, encode_meta([VECTOR]), 1, retain=True).wait_for_publish(10)
        yield archive, station
        collector.stop()


def send(station, time_ns):
    for payload in bodies.messages(VECTOR, time_ns, bodies.of_values(VECTOR, raw(time_ns))):
        station.publish(LEMI.topic, payload, 1).wait_for_publish(10)


def test_adjusted_samples_follow_live_ones_through_a_collector_without_a_word(chain, caplog):
    archive, station = chain
    present = now_ns() // NS * NS
    time_ns = present + np.arange(-20, 1, dtype=np.int64) * NS
    send(station, time_ns[:5])
    wait_for(lambda: LEMI in archive.streams(), what="the first samples")
    command = ["archive", "adjust", archive.path, "--follow", "--with-parent"]
    with Running(archive.path / "log", *command, stdin=-1) as follower:
        wait(lambda: "following WIC lemi036 sec" in follower.said, "the follower")
        wait(lambda: times(archive).size == 5, "what there was")
        send(station, time_ns[10:])
        wait(lambda: times(archive).size == 16, "what came")
        follower.process.kill()
        follower.process.wait()
    send(station, time_ns[5:10])  # late, and nobody follows
    with Running(archive.path / "log", *command, stdin=-1) as follower:
        wait(lambda: times(archive).size == 21, "what came while it was gone")
        assert follower.tell(signal.SIGTERM) == 0
    np.testing.assert_array_equal(times(archive), time_ns)
    found = archive.dataset("WIC", "lemi036-adj")
    np.testing.assert_allclose(values(found), truth(time_ns), atol=SAME_NT)
    assert "inbox" not in "".join(r.message for r in caplog.records if r.levelno >= logging.WARNING)
    counted = archive.counters()[ADJ]
    assert counted["unique"] == 21
    assert counted["contradiction"] == counted["revised"] == 0
    late_s = (found.arrival.values - found.time.values) / np.timedelta64(1, "s")
    # INTERMAGNET's target is 30 s; what takes the samples in stamps them a moment later.
    assert counted["late"] <= np.count_nonzero(late_s > 30)
    assert archive.book.holes(ADJ.topic) == []
    assert os.listdir(archive.path / "inbox") == []
