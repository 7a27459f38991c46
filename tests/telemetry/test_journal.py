import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import LEMI, NS, scalar_meta, vector_meta, wait_for

from obslab.errors import NewerVersionError, StorageFullError, TableError
from obslab.telemetry.sample import as_datetime
from obslab.telemetry.station.journal import Entry, Journal, Unsendable

MESSAGES = st.lists(
    st.tuples(st.sampled_from(["pea/a/sec", "pea/b/sec"]), st.integers(0, 2**62), st.binary(max_size=20)),
    max_size=5,
)
STEPS = st.lists(MESSAGES | st.sampled_from(["reopen", "acknowledge"]), max_size=12)


@settings(max_examples=40)
@given(STEPS)
def test_entries_stay_in_order_and_without_gaps_whatever_happens(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("journal")
    journal, written, marked = Journal(folder), [], 0
    for step in steps:
        if step == "reopen":
            journal.close()
            journal = Journal(folder)
        elif step == "acknowledge":
            marked = journal.last_seq()
            journal.acknowledge(marked)
        else:
            journal.append(step)
            written += step
        assert journal.last_seq() == len(written)
        assert journal.acknowledged() == marked
    entries = journal.after(0, 1000)
    assert entries == [Entry(n, *message) for n, message in enumerate(written, 1)]
    half = len(written) // 2
    assert journal.after(half, 2) == entries[half : half + 2]
    for topic in ("pea/a/sec", "pea/b/sec"):
        times = [time_ns for name, time_ns, _ in written if name == topic]
        assert journal.newest_ns(topic) == max(times, default=None)
    journal.close()


def test_journal_survives_a_kill_in_mid_append(tmp_path):
    """What was reported as appended is there, in order, and at most one batch more."""
    writer = textwrap.dedent(
        """
        import sys
        from obslab.telemetry.station.journal import Journal
        journal = Journal(sys.argv[1])
        n = journal.last_seq()
        while True:
            journal.append([("pea/a/sec", i, i.to_bytes(8, "big")) for i in range(n, n + 7)])
            n += 7
            print(n, flush=True)
        """
    )
    reported = 0
    for wanted in (1, 40, 150):
        process = subprocess.Popen(
            [sys.executable, "-c", writer, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        lines = [process.stdout.readline() for _ in range(wanted)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait()
        reported = max(int(line) for line in lines if line.endswith("\n"))
        journal = Journal(tmp_path)
        entries = journal.after(0, 100_000)
        journal.close()
        assert len(entries) in (reported, reported + 7)
        assert entries == [Entry(n + 1, "pea/a/sec", n, n.to_bytes(8, "big")) for n in range(len(entries))]


def test_threads_append_and_read_at_once(journal):
    def append(topic):
        for n in range(50):
            journal.append([(topic, n, b"x")])
            journal.after(n, 10)
            journal.add_meta(f"{topic}/$meta", vector_meta(valid_from=as_datetime(n * NS)))

    threads = [threading.Thread(target=append, args=(topic,)) for topic in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.seq for entry in journal.after(0, 1000)] == list(range(1, 101))
    assert {topic: len(versions) for topic, versions in journal.metas().items()} == {
        "a/$meta": 50,
        "b/$meta": 50,
    }


def test_a_second_process_is_refused_while_the_first_lives(tmp_path):
    code = "import sys, time; from obslab.telemetry.station.journal import Journal\n"
    code += "held = Journal(sys.argv[1]); print(1, flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"1\n"
    with pytest.raises(
        TableError, match="in use by another process; stop that one or choose another folder"
    ) as refusal:
        Journal(tmp_path)
    assert str(tmp_path) in str(refusal.value)
    other.kill()
    other.wait()
    wait_for(lambda: _opens(tmp_path), what="the lock's end")


def _opens(folder):
    try:
        Journal(folder).close()
    except TableError:
        return False
    return True


def test_a_journal_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path):
    Journal(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.db") as file:
        file.execute("PRAGMA user_version=7")
    with pytest.raises(
        NewerVersionError, match="has format 7, this obslab knows up to 2; upgrade obslab"
    ) as refusal:
        Journal(tmp_path)
    assert (refusal.value.have, refusal.value.know) == (7, 2)
    assert str(tmp_path / "journal.db") in str(refusal.value)


def test_a_file_that_is_no_journal_is_named(tmp_path):
    (tmp_path / "journal.db").write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(TableError, match=r"journal\.db is not a SQLite database; check the path"):
        Journal(tmp_path)


def test_a_full_disk_keeps_what_was_there_and_goes_on_when_there_is_space(journal):
    journal.append([("pea/a/sec", n, b"x" * 100) for n in range(50)])
    kept = journal.after(0, 1000)
    # SQLite itself says that the disk is full: no page more than there are.
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StorageFullError, match=r"no space left for .*journal\.db; free some") as refusal:
        journal.append([("pea/a/sec", n, b"x" * 100) for n in range(50, 5000)])
    assert isinstance(refusal.value, OSError)
    assert journal.after(0, 10_000) == kept
    journal._connection.execute("PRAGMA max_page_count=1000000")
    journal.append([("pea/a/sec", 50, b"x")])
    assert journal.last_seq() == 51  # no number was lost with what did not fit


def test_a_path_that_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(TableError, match=r"journal .*/journal cannot be opened: File exists; check the path"):
        Journal(tmp_path / "journal")


def test_metadata_versions_are_kept_by_their_beginning(tmp_path, journal):
    first = vector_meta()
    second = vector_meta(valid_from=as_datetime(NS), scale=0.01)
    mended = vector_meta(valid_from=as_datetime(NS), scale=0.02)
    assert journal.add_meta(LEMI.meta_topic, second) == (second,)
    assert journal.add_meta(LEMI.meta_topic, first) == (first, second)
    assert journal.add_meta(LEMI.meta_topic, mended) == (first, mended)
    journal.add_meta("pea/gsm0001/$meta", scalar_meta())
    journal.close()
    again = Journal(tmp_path / "journal")
    assert again.metas() == {LEMI.meta_topic: (first, mended), "pea/gsm0001/$meta": (scalar_meta(),)}
    again.close()


def test_a_reading_that_cannot_be_sent_is_kept_as_text(journal):
    reading = Unsendable(5 * NS, LEMI.topic, "[inf, 0, 0]", "inf nT does not fit the vector layout")
    journal.keep_unsendable([reading])
    assert journal.unsendable() == [reading]


def entries(topic, begin, end):
    return [(topic, second * NS, b"%d" % second) for second in range(begin, end)]


def test_what_the_archive_confirms_goes_and_numbers_go_on(tmp_path):
    journal = Journal(tmp_path)
    journal.append([*entries("a", 0, 10), *entries("b", 0, 10)])
    assert journal.confirm({"a": 5, "b": 12}) == 7
    assert [entry.seq for entry in journal.after(0, 100)] == [*range(6, 11), *range(13, 21)]
    assert journal.confirm({"a": 20, "b": 20}) == 13
    assert journal.topics() == []
    assert (journal.last_seq(), journal.newest_ns("a"), journal.newest_ns("b")) == (20, 9 * NS, 9 * NS)
    journal.append(entries("a", 10, 11))
    assert [entry.seq for entry in journal.after(0, 100)] == [21]
    assert journal.confirmed() == {"a": 20, "b": 20}
    journal.close()
    again = Journal(tmp_path)
    assert (again.last_seq(), again.confirmed()) == (21, {"a": 20, "b": 20})
    again.close()


def test_beyond_its_bound_the_oldest_go_and_are_counted(journal):
    journal.append([*entries("a", 0, 100), *entries("b", 0, 5)])
    assert journal.expire("b", 5) is None
    gone = journal.expire("a", 30)
    assert (gone.topic, gone.begin_ns, gone.end_ns, gone.n) == ("a", 0, 69 * NS, 70)
    assert journal.expired() == 70
    assert [entry.time_ns // NS for entry in journal.stretch("a", 0, 1000, 100)] == list(range(70, 100))


def test_a_journal_keeps_its_name_and_its_archive(tmp_path):
    journal = Journal(tmp_path / "one")
    journal.set_fact("archive", "abc")
    name = journal.id
    journal.close()
    again, other = Journal(tmp_path / "one"), Journal(tmp_path / "two")
    assert (again.id, again.fact("archive")) == (name, "abc")
    assert other.id != name
    assert other.fact("archive") is None
    again.close()
    other.close()


def test_a_journal_of_the_first_format_is_brought_up_to_date(tmp_path):
    """As obslab wrote it before archives confirmed."""
    with sqlite3.connect(tmp_path / "journal.db") as file:
        file.executescript(
            """CREATE TABLE entry (seq INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL,
                                   time_ns INTEGER NOT NULL, payload BLOB NOT NULL);
               CREATE INDEX entry_topic_time ON entry (topic, time_ns);
               CREATE TABLE meta (topic TEXT PRIMARY KEY, payload BLOB NOT NULL);
               CREATE TABLE unsendable (time_ns INTEGER, topic TEXT, reading TEXT, reason TEXT);
               CREATE TABLE mark (name TEXT PRIMARY KEY, seq INTEGER NOT NULL);
               INSERT INTO entry (topic, time_ns, payload) VALUES ('a', 7, x'00');
               PRAGMA user_version=1"""
        )
    journal = Journal(tmp_path)
    assert [entry.time_ns for entry in journal.after(0, 10)] == [7]
    assert journal.confirm({"a": 1}) == 1
    journal.close()
