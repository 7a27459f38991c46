import itertools
import multiprocessing
import sqlite3
import struct
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import GSM, LEMI, NS, T0_S, arrivals, batch, scalar_meta, vector_meta

from obslab.errors import NewerVersionError, NoArchiveError, NoStreamError, StorageFullError, TableError
from obslab.telemetry.archive.batch import Refusal
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.datasets import REJECTED, samples_schema
from obslab.telemetry.sample import Stream, as_datetime
from obslab.times import to_ns

METAS = {LEMI.meta_topic: (vector_meta(),), GSM.meta_topic: (scalar_meta(),)}


def rows(archive):
    """Everything stored: (stream, time in s, body)."""
    query = """SELECT instrument, time_ns / 1000000000, body
               FROM sample JOIN stream ON stream.id = sample.stream ORDER BY instrument, time_ns"""
    return archive._hot.connection.execute(query).fetchall()


def body(*counts):
    return struct.pack("<iii", *counts)


def test_the_same_batch_twice_is_stored_once(archive):
    first = archive.add(batch(arrivals([1, 2, 3])))
    stored = rows(archive)
    second = archive.add(batch(arrivals([1, 2, 3])))
    assert (first, second) == (Counter(unique=3), Counter(duplicate=3))
    assert rows(archive) == stored
    assert archive.counters()[LEMI] == Counter(unique=3, duplicate=3)


def test_a_duplicate_within_one_batch_is_stored_once(archive):
    assert archive.add(batch(arrivals([1, 2, 2, 1, 3]))) == Counter(unique=3, duplicate=2)
    assert archive.add(batch(arrivals([9, 9]), arrivals([9]))) == Counter(unique=1, duplicate=2)


def test_a_contradiction_is_kept_beside_the_first(archive):
    archive.add(batch(arrivals([1, 2])))
    other = body(7, 7, 7)
    assert archive.add(batch(arrivals([1, 3, 3], [other, body(3, 0, 0), other]))) == Counter(
        unique=1, contradiction=2
    )
    assert rows(archive) == [("lemi0001", second, body(second, 0, 0)) for second in (1, 2, 3)]
    beside = archive._hot.connection.execute(
        "SELECT time_ns / 1000000000, body FROM contradiction"
    ).fetchall()
    assert beside == [(1, other), (3, other)]


def test_late_and_out_of_order_samples_are_counted(archive):
    assert archive.add(batch(arrivals([10, 20], late=[10]))) == Counter(unique=2, late=1)
    assert archive.add(batch(arrivals([15, 5, 30], late=[5]))) == Counter(unique=3, out_of_order=2, late=1)
    assert archive.add(batch(arrivals([10], late=[10]))) == Counter(duplicate=1)  # late again, but not new
    assert [second for _, second, _ in rows(archive)] == [5, 10, 15, 20, 30]


def test_streams_do_not_mix(archive):
    other = Stream("WIC", "lemi0001")
    archive.add(
        batch(arrivals([1, 2]), arrivals([1], stream=other), arrivals([1], [b"\1\2\3\4"], stream=GSM))
    )
    assert archive.streams() == [GSM, LEMI, other]
    assert {stream: counts["unique"] for stream, counts in archive.counters().items()} == {
        LEMI: 2,
        other: 1,
        GSM: 1,
    }
    assert archive.span(LEMI) == (NS, 2 * NS)
    assert archive.span(Stream("XXX", "none")) is None


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from([LEMI, GSM]), st.integers(0, 30)), min_size=1, max_size=40),
    st.data(),
)
def test_any_order_repetition_and_grouping_gives_the_same_archive(tmp_path_factory, samples, data):
    def width(stream):
        return 12 if stream == LEMI else 4

    def group(run):
        return [
            arrivals(
                [second for _, second in part],
                [second.to_bytes(width(stream), "little") for _, second in part],
                stream=stream,
            )
            for stream, part in (
                (key, list(of)) for key, of in itertools.groupby(run, key=lambda one: one[0])
            )
        ]

    shuffled = data.draw(st.permutations(samples))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=5)))
    with open_archive(tmp_path_factory.mktemp("a"), write=True) as archive:
        total = Counter()
        for begin, end in itertools.pairwise([0, *cuts, len(shuffled)]):
            total += archive.add(batch(*group(shuffled[begin:end])))
        stored = rows(archive)
    unique = sorted({(stream.instrument, second, width(stream)) for stream, second in samples})
    assert stored == [(name, second, second.to_bytes(size, "little")) for name, second, size in unique]
    assert total["unique"] == len(unique)
    assert total["unique"] + total["duplicate"] == len(samples)


def test_a_reopened_archive_still_knows_what_it_has(tmp_path):
    with open_archive(tmp_path, write=True) as archive:
        archive.add(batch(arrivals([1, 2, 5])))
        name = archive.id
    with open_archive(tmp_path, write=True) as archive:
        assert archive.add(batch(arrivals([2, 3, 6]))) == Counter(unique=2, duplicate=1, out_of_order=1)
        assert archive.id == name


def limit_pages(archive, count):
    archive._hot.connection.execute(f"PRAGMA max_page_count={count}")


def pages(archive):
    return archive._hot.connection.execute("PRAGMA page_count").fetchone()[0]


def test_a_full_disk_stores_nothing_of_a_batch_and_then_all_of_it(archive):
    archive.add(batch(arrivals([1, 2, 3]), metas=METAS))
    before = rows(archive), archive.counters(), archive.rejected().sizes["message"]
    much = batch(
        arrivals(range(4, 4000)),
        arrivals([1], [b"\1\2\3\4"], stream=GSM),
        refusals=[Refusal(0, "x", b"y", "bad")],
    )
    limit_pages(archive, pages(archive))
    with pytest.raises(StorageFullError, match=r"no space left for .*hot\.db; free some or move it"):
        archive.add(much)
    assert (rows(archive), archive.counters(), archive.rejected().sizes["message"]) == before
    limit_pages(archive, 1_000_000)
    assert archive.add(much) == Counter(unique=3997, rejected=1)
    assert archive.span(LEMI) == (NS, 3999 * NS)


def _write_on(folder, ready):
    with open_archive(folder, write=True) as archive:
        archive.add(batch(arrivals(range(100)), metas=METAS))
        ready.set()
        for n in range(1, 60):
            archive.add(batch(arrivals(range(n * 100, n * 100 + 100))))


def test_readers_see_whole_batches_while_another_process_writes(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_write_on, args=(tmp_path, ready))
    writer.start()
    assert ready.wait(30)
    seen, followed, after = 0, [], 0
    with open_archive(tmp_path) as archive:
        while seen < 6000:
            dataset = archive.dataset("PEA", "lemi0001")
            assert dataset.sizes["time"] % 100 == 0
            assert dataset.sizes["time"] >= seen
            np.testing.assert_array_equal(to_ns(dataset.time.values) // NS, np.arange(dataset.sizes["time"]))
            seen = dataset.sizes["time"]
            for row, readings in archive.follow(after):
                after = row
                followed += (readings.time_ns // NS).tolist()
            assert (
                writer.is_alive() or seen == 6000 or archive.dataset("PEA", "lemi0001").sizes["time"] == 6000
            )
    writer.join()
    assert writer.exitcode == 0
    assert followed == list(range(6000))


def test_follow_gives_late_samples_and_new_streams(archive):
    archive.add(batch(arrivals([10, 20]), metas=METAS))
    start = archive.last_row()
    assert list(archive.follow(start)) == []
    archive.add(batch(arrivals([15, 30]), arrivals([1], [b"\1\2\3\4"], stream=GSM)))
    archive.add(batch(arrivals([15])))
    found = list(archive.follow(start))
    assert {readings.stream: (readings.time_ns // NS).tolist() for _, readings in found} == {
        LEMI: [30, 15],
        GSM: [1],
    }
    assert list(archive.follow(found[-1][0])) == []


def test_each_sample_is_read_by_the_metadata_of_its_time(archive):
    turned = vector_meta(valid_from=as_datetime(T0_S * NS), components=("h", "e", "z"), scale=0.1)
    metas = {LEMI.meta_topic: (vector_meta(), turned)}
    archive.add(batch(arrivals([T0_S - 1, T0_S], [body(1000, 2000, 3000)] * 2), metas=metas))
    dataset = archive.dataset("PEA", "lemi0001")
    assert set(dataset.data_vars) >= set("xyzhe")
    np.testing.assert_array_equal(dataset.x, [1.0, np.nan])
    np.testing.assert_array_equal(dataset.h, [np.nan, 100.0])
    np.testing.assert_array_equal(dataset.z, [3.0, 300.0])


def test_metadata_of_another_kind_leave_the_stored_samples_missing_and_not_unreadable(archive):
    archive.add(batch(arrivals([T0_S - 1, T0_S]), metas={LEMI.meta_topic: (vector_meta(),)}))
    wrong = scalar_meta(valid_from=as_datetime(T0_S * NS))
    archive.add(batch(metas={LEMI.meta_topic: (wrong,)}))
    dataset = archive.dataset("PEA", "lemi0001")
    assert dataset.sizes["time"] == 2
    assert np.isnan(dataset.f.values).all()
    np.testing.assert_array_equal(np.isnan(dataset.x.values), [False, True])


def test_a_dataset_is_as_its_schema_says(archive):
    metas = {LEMI.meta_topic: (vector_meta(site="Pea", latitude_deg=-65.2, units=("nT", "nT", "arcmin")),)}
    archive.add(batch(arrivals([1, 2, 3], [body(1, -(2**31), 5)] * 3, arrival_ns=99), metas=metas))
    dataset = archive.dataset("pea", "lemi0001", "1970-01-01T00:00:02Z", 3 * NS)
    samples_schema({"x": "nT", "y": "nT", "z": "arcmin"}).check(dataset)
    assert to_ns(dataset.time.values).tolist() == [2 * NS]  # [begin, end)
    assert to_ns(dataset.arrival.values).tolist() == [99]
    np.testing.assert_allclose([dataset.x[0], dataset.y[0], dataset.z[0]], [0.001, np.nan, 0.005])
    assert dataset.attrs["station"] == "PEA"
    assert dataset.attrs["latitude_deg"] == -65.2


def test_a_scalar_dataset_has_the_instrument_s_quality(archive):
    word = struct.pack("<I", (4_862_279 << 8) | 99)
    archive.add(batch(arrivals([1], [word], stream=GSM), metas=METAS))
    dataset = archive.dataset("PEA", "gsm0001")
    assert dataset.quality.values.tolist() == [99]
    np.testing.assert_allclose(dataset.f.values, [48_622.79], rtol=0, atol=0.005)


def test_an_empty_interval_is_an_empty_dataset(archive):
    archive.add(batch(arrivals([1]), metas=METAS))
    dataset = archive.dataset("PEA", "lemi0001", 5 * NS, 6 * NS)
    samples_schema(dict.fromkeys("xyz", "nT")).check(dataset)
    assert dataset.sizes["time"] == 0


def test_the_fastest_samplerate_is_taken_unless_told(archive):
    minutes = Stream("PEA", "lemi0001", "min")
    archive.add(batch(arrivals([60], stream=minutes), arrivals([1, 2]), metas=METAS))
    assert archive.dataset("PEA", "lemi0001").sizes["time"] == 2
    assert archive.dataset("PEA", "lemi0001", samplerate="min").sizes["time"] == 1


def test_an_unknown_stream_is_named_with_what_is_held(archive):
    with pytest.raises(NoStreamError, match="PEA lemi0001; it has none yet"):
        archive.dataset("PEA", "lemi0001")
    archive.add(batch(arrivals([1]), arrivals([1], [b"\1\2\3\4"], stream=GSM)))
    with pytest.raises(
        NoStreamError, match="no stream WIC lemi0002; it has PEA gsm0001 sec, PEA lemi0001 sec"
    ):
        archive.dataset("WIC", "lemi0002")
    with pytest.raises(LookupError, match="no stream PEA lemi0001 min"):
        archive.dataset("PEA", "lemi0001", samplerate="min")


def test_rejected_messages_keep_their_bytes_and_are_counted_by_repetition(archive):
    bad = Refusal(5, "pea/lemi0001/sec", b"\x00\xff", "PEA lemi0001 sec: 2 bytes")
    archive.add(batch(refusals=[bad, bad]))
    archive.add(batch(refusals=[bad, Refusal(6, "other", b"", "not a topic")]))
    table = REJECTED.check(archive.rejected())
    assert table.topic.values.tolist() == ["pea/lemi0001/sec", "other"]
    assert table.payload_hex.values.tolist() == ["00ff", ""]
    assert table.times.values.tolist() == [3, 1]
    assert to_ns(table.arrival.values).tolist() == [5, 6]
    assert archive.counters()[None]["rejected"] == 4


def test_there_is_one_writer_at_a_time(tmp_path, archive):
    with pytest.raises(TableError, match="in use by another process"):
        open_archive(tmp_path / "archive", write=True)


def test_a_folder_without_an_archive_is_named(tmp_path):
    with pytest.raises(NoArchiveError, match="is not an archive") as refusal:
        open_archive(tmp_path / "nothing")
    assert str(tmp_path / "nothing") in str(refusal.value)
    assert "obslab collect" in str(refusal.value)
    assert isinstance(refusal.value, FileNotFoundError)


@pytest.mark.parametrize("write", [True, False])
def test_an_archive_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path, write):
    with open_archive(tmp_path, write=True) as archive:
        archive.add(batch(arrivals([1])))
    with sqlite3.connect(tmp_path / "hot.db") as file:
        file.execute("PRAGMA user_version=12")
    before = (tmp_path / "hot.db").read_bytes()
    with pytest.raises(NewerVersionError, match=r"hot\.db has format 12, this obslab knows up to 2; upgrade"):
        open_archive(tmp_path, write=write)
    assert (tmp_path / "hot.db").read_bytes() == before


def test_an_archive_of_the_first_format_is_brought_up_to_date(tmp_path):
    with open_archive(tmp_path, write=True) as archive:
        archive.add(batch(arrivals([1, 2]), metas=METAS))
    with sqlite3.connect(tmp_path / "hot.db") as file:
        file.execute("DROP TABLE chunk")
        file.execute("PRAGMA user_version=1")
    with pytest.raises(
        TableError, match="has format 1, wanted is 2; whoever writes to it brings it up to date"
    ):
        open_archive(tmp_path)
    with open_archive(tmp_path, write=True) as archive:
        assert archive.add(batch(arrivals([1, 2, 3]))) == Counter(unique=1, duplicate=2)
        assert archive.seal(2 * T0_S * NS) == 1
    with open_archive(tmp_path) as archive:
        assert archive.span(LEMI) == (NS, 3 * NS)
        assert archive.dataset("PEA", "lemi0001").sizes["time"] == 3


def test_a_reader_of_a_file_that_is_only_being_made_gets_an_error_of_ours(tmp_path):
    sqlite3.connect(tmp_path / "hot.db").execute("PRAGMA journal_mode=WAL").close()
    with pytest.raises(NoArchiveError, match=r"hot.db is only just being made; try again in a moment"):
        open_archive(tmp_path)


@pytest.mark.long
def test_a_million_rows_go_in_and_come_out(archive):
    step = 10_000
    for begin in range(0, 1_000_000, step):
        archive.add(batch(arrivals(range(begin, begin + step)), metas=METAS))
    dataset = archive.dataset("PEA", "lemi0001")
    np.testing.assert_array_equal(to_ns(dataset.time.values), np.arange(1_000_000) * NS)
    np.testing.assert_allclose(dataset.x.values, np.arange(1_000_000) * 0.001)
    assert archive.add(batch(arrivals(range(500_000, 501_000)))) == Counter(duplicate=1000)
    assert sum(readings.time_ns.size for _, readings in archive.follow(0)) == 1_000_000


def test_a_damaged_file_is_named_when_it_is_read(tmp_path, archive):
    archive.add(batch(arrivals(range(T0_S, T0_S + 2000))))
    archive.close()
    file = tmp_path / "archive" / "hot.db"
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(TableError, match=r"hot\.db"), open_archive(tmp_path / "archive") as damaged:
        damaged.info()
