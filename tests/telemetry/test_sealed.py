import multiprocessing
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import GSM, LEMI, NS, arrivals, batch, scalar_meta, vector_meta

from obslab.errors import CodecError, StorageFullError, TableError
from obslab.telemetry.archive import chunk, seal, sealed
from obslab.telemetry.archive.cover import missing_stretches, runs
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.protocol import checksum
from obslab.telemetry.sample import Stream, as_datetime

DAY_S = 86_400
D0_S = 1_715_299_200  # 2024-05-10
METAS = {LEMI.meta_topic: (vector_meta(),), GSM.meta_topic: (scalar_meta(),)}
MINUTES = Stream("PEA", "lemi0001", "min")
ALL = (-(2**63), 2**63 - 1)


def day(number, n=10, step=1, *, stream=LEMI, start=0):
    """Some samples of a day, that arrived half a second after their time."""
    seconds = [D0_S + number * DAY_S + start + place * step for place in range(n)]
    return came_after(arrivals(seconds, stream=stream), 0.5)


def came_after(group, latency_s):
    object.__setattr__(group, "arrival_ns", group.time_ns + round(latency_s * NS))
    return group


def at(number, second=0):
    return (D0_S + number * DAY_S + second) * NS


def seconds(archive, stream=LEMI):
    return (archive.stored(stream, *ALL).time_ns // NS).tolist()


def hot_rows(archive):
    return archive._hot.rows("SELECT count(*) FROM sample WHERE stream > 0")[0][0]


def chunks(archive, state="sealed"):
    with archive._hot.reading() as query:
        return archive._hot.sealed.in_state(query, state)


@pytest.fixture
def five_days(archive):
    """Five days with ten samples each, and their seconds."""
    archive.add(batch(*(day(number) for number in range(5)), metas=METAS))
    return archive


# ---- what is due


def test_days_are_sealed_one_by_one_and_two_stay_hot(five_days):
    whole, before = seconds(five_days), five_days.dataset("PEA", "lemi0001")
    now_ns = at(5)
    for number in range(5):
        done = five_days.tidy(now_ns)
        assert done == (Counter(sealed=1) if number < 2 else Counter())
    assert [row.day_ns for row in chunks(five_days)] == [at(0), at(1)]
    assert hot_rows(five_days) == 30
    assert seconds(five_days) == whole
    assert five_days.dataset("PEA", "lemi0001").identical(before)
    assert five_days.span(LEMI) == (at(0), at(4, 9))
    assert five_days.counters()[LEMI]["unique"] == 50


def test_a_day_waits_until_nothing_came_for_ten_minutes(five_days):
    late = came_after(day(0, 1, start=500), 4 * DAY_S)
    five_days.add(batch(late))
    assert five_days.seal(at(4, 600)) == 1
    assert [row.day_ns for row in chunks(five_days)] == [at(1)]
    assert five_days.seal(at(4, 1200)) == 1
    assert len(chunks(five_days)) == 2


def test_the_last_days_of_a_stream_that_has_ended_are_sealed_by_the_wall_clock(five_days):
    assert five_days.seal(at(6)) == 3  # two days are over, and the third came more than three days ago
    assert five_days.seal(at(7)) == 1
    assert five_days.seal(at(7, 100)) == 1
    assert (hot_rows(five_days), len(seconds(five_days))) == (0, 50)


def test_a_stream_goes_on_where_all_of_it_was_sealed(tmp_path):
    with open_archive(tmp_path, write=True) as archive:
        archive.add(batch(day(0), metas=METAS))
        archive.seal(at(30))
    with open_archive(tmp_path, write=True) as archive:
        assert archive.add(batch(day(0, 12))) == Counter(unique=2, duplicate=10)
        assert archive.add(batch(day(0, 1, start=3))) == Counter(duplicate=1)
        assert archive.span(LEMI) == (at(0), at(0, 11))


# ---- late samples


def test_what_comes_again_for_a_sealed_day_is_known(five_days):
    five_days.seal(at(5))
    same, other = day(0), arrivals([D0_S + 3], [b"x" * 12])
    assert five_days.add(batch(same, other)) == Counter(duplicate=10, contradiction=1)
    assert len(seconds(five_days)) == 50
    kept = five_days._hot.rows("SELECT time_ns, body FROM contradiction")
    assert kept == [(at(0, 3), b"x" * 12)]


def test_late_samples_of_a_sealed_day_are_united_with_it_and_sealed_anew(five_days):
    five_days.seal(at(5))
    before = seconds(five_days)
    assert five_days.add(batch(came_after(day(0, 20, start=5), 5 * DAY_S))) == Counter(
        unique=15, out_of_order=15, duplicate=5
    )
    want = sorted({*before, *range(D0_S + 5, D0_S + 25)})
    assert seconds(five_days) == want
    (fresh, stored), expected = five_days.days(LEMI, at(0), at(2)), (25, 10)
    assert (fresh.n, stored.n) == expected
    assert five_days.tidy(at(6)) == Counter(sealed=1)
    assert seconds(five_days) == want
    assert hot_rows(five_days) == 30
    assert [row.generation for row in chunks(five_days) if row.day_ns == at(0)] == [2]
    assert five_days.days(LEMI, at(0), at(1))[0].n == 25


def test_a_new_version_of_a_sealed_sample_is_what_is_read_from_then_on(five_days):
    five_days.seal(at(5))
    better = came_after(arrivals([D0_S + 3], [b"\1\0\0\0" * 3]), 5 * DAY_S)
    object.__setattr__(better, "revises", True)
    assert five_days.add(batch(better)) == Counter(revised=1)

    def x_nt():
        return five_days.dataset("PEA", "lemi0001", at(0, 3), at(0, 4)).x.values.tolist()

    assert x_nt() == [0.001]
    assert five_days.dataset("PEA", "lemi0001", at(0), at(1), lazy=True).x.values[3] == 0.001
    assert five_days.seal(at(6)) == 2
    assert x_nt() == [0.001]
    assert len(seconds(five_days)) == 50
    assert five_days.counters()[LEMI] == Counter(unique=50, revised=1)


def test_a_late_sample_and_its_new_version_may_come_in_one_batch(five_days):
    bodies = [b"\1\0\0\0" + b"\0\0\0\x80" * 2, b"\0\0\0\x80" + b"\2\0\0\0" * 2]  # x alone, then y and z
    both = came_after(arrivals([D0_S + 700, D0_S + 700], bodies), 5 * DAY_S)
    object.__setattr__(both, "revises", True)
    assert five_days.add(batch(both)) == Counter(unique=1, out_of_order=1, revised=1)
    assert five_days.stored(LEMI, at(0, 700), at(0, 701)).bodies == b"\1\0\0\0" + b"\2\0\0\0" * 2
    assert len(seconds(five_days)) == 51


def test_the_generation_before_stays_a_day_for_those_who_read_it(five_days):
    five_days.seal(at(5))
    five_days.add(batch(came_after(day(0, 1, start=50), 5 * DAY_S)))
    five_days.seal(at(6))
    (old,) = chunks(five_days, "old")
    file = five_days.path / old.file
    five_days.tidy(at(6, 3600))
    assert file.exists()
    assert five_days.tidy(at(7, 1)) == Counter(removed=1)
    assert not file.exists()
    assert chunks(five_days, "old") == []
    assert len(seconds(five_days)) == 51


# ---- following


def test_followers_miss_nothing_when_the_newest_row_is_sealed(archive):
    """The row with the highest number is that of a backfill for an old day, and goes into its chunk."""
    archive.add(batch(day(3), metas=METAS))
    archive.add(batch(came_after(day(0), 3 * DAY_S)))
    after = archive.last_row()
    assert archive.seal(at(4)) == 1
    assert archive.last_row() == after
    assert list(archive.follow(after)) == []
    archive.add(batch(day(3, 2, start=100)))
    archive.add(batch(came_after(day(1), 3 * DAY_S)))
    found = [second for _, part in archive.follow(after) for second in (part.time_ns // NS).tolist()]
    assert found == [D0_S + 3 * DAY_S + 100, D0_S + 3 * DAY_S + 101, *range(D0_S + DAY_S, D0_S + DAY_S + 10)]
    archive.seal(at(5))
    assert len(seconds(archive)) == 32
    assert archive._hot.rows("SELECT count(*) FROM sample WHERE stream < 0")[0][0] <= 1


# ---- crashes


def _die_at(folder, place):
    """Seal, and die like by SIGKILL at a place in the middle."""

    def die(*_args, **_more):
        os._exit(9)

    module, name = place
    setattr({"os": os, "sealed": sealed, "seal": seal, "chunk": chunk}[module], name, die)
    archive = open_archive(folder, write=True)
    archive.seal(at(10))


@pytest.mark.parametrize(
    "place",
    [
        ("os", "fsync"),  # the file is written, but not whole on the disk
        ("chunk", "_sync"),  # it has its name
        ("sealed", "insert"),  # inside the transaction
        ("seal", "_take_away"),  # the row is in, the hot samples are there still
        ("seal", "count"),  # all but the commit
    ],
)
def test_killed_at_any_step_of_sealing_every_sample_is_there_once(tmp_path, place):
    with open_archive(tmp_path, write=True) as archive:
        archive.add(batch(*(day(number) for number in range(4)), metas=METAS))
        archive.seal(at(3, 700))
        archive.add(batch(came_after(day(0, 5, start=100), 4 * DAY_S)))
        whole = seconds(archive)
        bodies = archive.stored(LEMI, *ALL).bodies
    child = multiprocessing.get_context("spawn").Process(target=_die_at, args=(tmp_path, place))
    child.start()
    child.join()
    assert child.exitcode == 9
    with open_archive(tmp_path) as archive:
        assert seconds(archive) == whole
        assert archive.stored(LEMI, *ALL).bodies == bodies
    with open_archive(tmp_path, write=True) as archive:
        assert archive.verify() == []
        assert archive.repair(at(10)) == Counter(removed=1)  # the file that nobody knows
        archive.seal(at(10))
        assert seconds(archive) == whole
        assert (hot_rows(archive), len(chunks(archive)), archive.verify()) == (0, 4, [])
        assert archive.counters()[LEMI]["unique"] == 45
        assert archive.repair(at(10)) == Counter()


def test_a_full_disk_while_sealing_loses_nothing(five_days, monkeypatch):
    def full(file, content):
        raise StorageFullError(f"no space left for {file}", path=file)

    before = seconds(five_days)
    monkeypatch.setattr(chunk, "write", full)
    with pytest.raises(StorageFullError):
        five_days.tidy(at(5))
    assert (seconds(five_days), hot_rows(five_days)) == (before, 50)
    monkeypatch.undo()
    assert five_days.tidy(at(5)) == Counter(sealed=1)
    assert seconds(five_days) == before


def _write_and_seal(folder, ready):
    with open_archive(folder, write=True) as archive:
        archive.add(batch(*(day(number) for number in range(8)), metas=METAS))
        ready.set()
        for number in range(1, 30):
            late = [came_after(day(d, 2, start=100 * number), 20 * DAY_S) for d in range(5)]
            archive.add(batch(day(8 + number), *late))
            archive.seal(at(100 + 2 * number))


def test_readers_see_every_sample_once_while_another_process_seals(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_write_and_seal, args=(tmp_path, ready))
    writer.start()
    assert ready.wait(60)
    reads, least = 0, 80
    with open_archive(tmp_path) as archive:
        while writer.is_alive() or reads < 3:
            stored = archive.stored(LEMI, *ALL)
            assert (np.diff(stored.time_ns) > 0).all()
            assert len(stored) >= least
            least, reads = len(stored), reads + 1
            assert sum(summary.n for summary in archive.days(LEMI, *ALL)) >= least
        assert seconds(archive) == seconds(open_archive(tmp_path))
        assert len(seconds(archive)) == 80 + 29 * 20
    writer.join()
    assert writer.exitcode == 0


def test_a_reader_asks_again_when_a_chunk_goes_between_the_catalogue_and_the_file(five_days, monkeypatch):
    five_days.seal(at(5))
    whole, load, gone = seconds(five_days), sealed.load, []

    def late(folder, row):
        if not gone:
            gone.append(row.file)
            raise sealed.ChunkGoneError(row.file)
        return load(folder, row)

    with open_archive(five_days.path) as reader:
        monkeypatch.setattr(sealed, "load", late)
        assert seconds(reader) == whole
    assert len(gone) == 1


# ---- several writers


def test_several_writers_share_an_archive_and_one_keeps_it(tmp_path):
    with (
        open_archive(tmp_path, write=True, shared=True) as one,
        open_archive(tmp_path, write=True, shared=True) as two,
    ):
        assert (two.is_keeper, one.is_keeper) == (True, False)
        assert one.add(batch(day(0), metas=METAS)) == Counter(unique=10)
        assert two.add(batch(day(0, 15))) == Counter(unique=5, duplicate=10)
        assert one.add(batch(day(0, 16, start=1))) == Counter(unique=2, duplicate=14)
        two.add(batch(day(5)))
        assert one.tidy(at(6)) == Counter()
        assert two.tidy(at(6)) == Counter(sealed=1)
        assert one.add(batch(day(0))) == Counter(duplicate=10)
        assert len(seconds(one)) == 27
        with pytest.raises(TableError, match="sealing is for the one process that keeps it"):
            one.seal(at(6))
        with pytest.raises(TableError, match="in use by another process"):
            open_archive(tmp_path, write=True)
    with open_archive(tmp_path, write=True) as alone:
        assert alone.is_keeper
        with pytest.raises(TableError, match="in use by another process"):
            open_archive(tmp_path, write=True, shared=True)
    with open_archive(tmp_path) as reader:
        assert not reader.is_keeper


def test_what_another_writer_stores_while_a_day_is_sealed_stays(tmp_path, monkeypatch):
    with (
        open_archive(tmp_path, write=True, shared=True) as keeper,
        open_archive(tmp_path, write=True, shared=True) as other,
    ):
        assert keeper.is_keeper
        keeper.add(batch(day(0), day(5), metas=METAS))
        write = chunk.write

        def slowly(file, content):
            assert other.add(batch(day(0, 3, start=9))) == Counter(unique=2, out_of_order=2, duplicate=1)
            write(file, content)

        monkeypatch.setattr(chunk, "write", slowly)
        assert keeper.tidy(at(6)) == Counter(sealed=1)
        assert seconds(other)[:12] == list(range(D0_S, D0_S + 12))
        assert other.add(batch(day(0, 12))) == Counter(duplicate=12)


# ---- what is missing, and checksums


def brute_missing(present, begin, end):
    """Second by second."""
    found = []
    for second in range(begin, end):
        if second in present:
            continue
        if found and found[-1][1] == second:
            found[-1] = (found[-1][0], second + 1)
        else:
            found.append((second, second + 1))
    return found


PLACES = st.integers(0, 7).flatmap(lambda block: st.integers(block * DAY_S // 2, block * DAY_S // 2 + 12))


@settings(max_examples=60, deadline=None)
@given(st.sets(PLACES, max_size=60), st.sets(st.integers(0, 3)), st.data())
def test_missing_and_checksum_are_those_of_a_list_whatever_is_sealed(tmp_path_factory, places, which, data):
    places = sorted(places)
    later = set(data.draw(st.lists(st.sampled_from(places), max_size=10))) if places else set()
    first = [place for place in places if place not in later]
    with open_archive(tmp_path_factory.mktemp("a"), write=True) as archive:
        archive.add(batch(arrivals([D0_S + place for place in first]), metas=METAS))
        for number in which:
            seal.seal_day(archive._hot, LEMI, at(number), at(9))
        archive.add(batch(arrivals([D0_S + place for place in sorted(later)])))
        near = st.one_of(PLACES, st.integers(-5, 4 * DAY_S + 5))
        begin, end = sorted([data.draw(near), data.draw(near)])
        begin, end = max(begin, end - 50_000), end
        found = archive.missing(LEMI, at(0, begin), at(0, end))
        want = brute_missing(set(places), begin, end)
        assert [((b // NS - D0_S), (e // NS - D0_S)) for b, e in found] == want
        inside = [place for place in places if begin <= place < end]
        bodies = [int(D0_S + place).to_bytes(4, "little") + bytes(8) for place in inside]
        times = np.array([at(0, place) for place in inside], dtype=np.int64)
        assert archive.checksum(LEMI, at(0, begin), at(0, end)) == (len(inside), checksum(times, bodies))
        assert [one.n for one in archive.days(LEMI, *ALL)] == [
            one.n for one in archive.days(LEMI, *ALL, exact=True)
        ]


@pytest.mark.parametrize(
    ("times", "begin", "end", "want"),
    [
        ([0, 10, 20, 50, 60], 0, 70, [(30, 50)]),
        ([0, 10, 20, 50, 60], -30, 90, [(-30, 0), (30, 50), (70, 90)]),
        ([0, 10, 20, 50, 60], 25, 45, [(30, 45)]),
        ([0, 10, 20, 50, 60], 50, 70, []),
        ([0, 10, 20, 50, 60], 35, 38, []),  # none is due in it
        ([0, 10, 20, 50, 60], 38, 42, [(38, 42)]),
        ([0, 11, 19, 33, 40], 0, 50, []),  # jitter is no gap
        ([0, 16, 26], 0, 36, [(10, 16)]),
        ([], 0, 10, [(0, 10)]),
        ([5], 9, 9, []),
    ],
)
def test_missing_stretches_by_hand(times, begin, end, want):
    first, last = runs(np.array(times, dtype=np.int64), 10)
    assert missing_stretches(first, last, begin, end, 10) == want


def test_an_irregular_stream_misses_all_or_nothing(archive):
    absolute = Stream("PEA", "di0001", "abs")
    archive.add(batch(day(0, 2, 3600, stream=absolute)))
    assert archive.missing(absolute, at(0), at(1)) == []
    assert archive.missing(absolute, at(1), at(2)) == [(at(1), at(2))]
    archive.seal(at(30))
    assert archive.missing(absolute, at(0), at(1)) == []
    assert archive.missing(absolute, at(0, 7200), at(1)) == [(at(0, 7200), at(1))]


# ---- questions


def test_what_an_archive_answers_is_the_same_before_and_after_sealing(archive):
    hour = [second for second in range(3600) if not 600 <= second < 660]
    for number in range(5):
        group = came_after(arrivals([D0_S + number * DAY_S + second for second in hour]), 0.25)
        archive.add(batch(group, metas=METAS))
    asked = {"end": at(5), "now": at(5)}

    def answers():
        return [
            archive.latency("PEA", **asked),
            archive.latency("PEA", window="10min", **asked),
            archive.gaps(**asked),
            archive.completeness(by="day", **asked),
            archive.outages(**asked),
            archive.losses(**asked),
            archive.ages(now=at(5)),
            archive.clocks(),
        ]

    before = answers()
    assert archive.seal(at(30)) == 5
    for one, other in zip(answers(), before, strict=True):
        assert one.identical(other)
    latency, _, gaps, complete = before[:4]
    np.testing.assert_allclose(latency.p50_s, 0.25, rtol=0.02)  # a bin of the histogram is 2 % wide
    assert gaps.lost.values.tolist() == [60, DAY_S - 3600] * 4 + [60, DAY_S - 3600 - 30]  # 30 s of grace
    np.testing.assert_allclose(complete.fraction[:4], 3540 / DAY_S)


# ---- import


def test_an_imported_day_is_as_if_it_had_come(tmp_path):
    group = day(0, 1000)
    with open_archive(tmp_path / "a", write=True) as came, open_archive(tmp_path / "b", write=True) as read:
        came.add(batch(group, metas=METAS))
        row = read.import_day(LEMI, vector_meta(), group.time_ns, group.arrival_ns, group.bodies)
        assert (row.n, row.state) == (1000, "sealed")
        assert read.dataset("PEA", "lemi0001").identical(came.dataset("PEA", "lemi0001"))
        assert read.counters() == {LEMI: Counter(unique=1000)}
        assert read.add(batch(day(0, 1001))) == Counter(unique=1, duplicate=1000)
        assert read.import_day(LEMI, None, group.time_ns, group.arrival_ns, group.bodies).n == 1001
        assert read.counters()[LEMI]["unique"] == 1001


def test_a_day_that_is_not_one_is_not_imported(archive):
    group = day(0, 10)
    facts = group.time_ns, group.arrival_ns, group.bodies
    for bad in (
        (facts[0][::-1], facts[1], facts[2]),
        (facts[0] + 43_200 * NS * np.arange(10), facts[1], facts[2]),
        (facts[0], facts[1], facts[2][:-1]),
        (facts[0], facts[1][:-1], facts[2]),
        (facts[0][:0], facts[1][:0], b""),
    ):
        with pytest.raises(CodecError):
            archive.import_day(LEMI, vector_meta(), *bad)
    assert archive.streams() == []


def test_bodies_of_two_kinds_on_one_day_are_sealed_together(archive):
    scalar = scalar_meta(valid_from=as_datetime(at(0, 10)))
    archive.add(batch(day(0), metas={LEMI.meta_topic: (vector_meta(), scalar)}))
    archive.add(batch(arrivals([D0_S + 10, D0_S + 11], [b"\1\2\3\4"] * 2)))
    before = archive.dataset("PEA", "lemi0001")
    assert archive.seal(at(30)) == 1
    after = archive.dataset("PEA", "lemi0001")
    np.testing.assert_array_equal(after.f.values, before.f.values)
    np.testing.assert_array_equal(after.x.values, before.x.values)
    assert np.isfinite(after.f.values).sum() == 2


def test_streams_are_sealed_apart(archive):
    archive.add(batch(day(0), day(0, 5, 60, stream=MINUTES), metas=METAS))
    archive.add(batch(came_after(arrivals([D0_S, D0_S + 1], [b"\1\2\3\4"] * 2, stream=GSM), 1)))
    assert archive.seal(at(30)) == 3
    assert [len(seconds(archive, stream)) for stream in (LEMI, MINUTES, GSM)] == [10, 5, 2]
    assert len({row.file for row in chunks(archive)}) == 3
