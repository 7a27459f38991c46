"""Day files: written apart from the journal, read whatever became of them."""

import os
import struct
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import LEMI, NS, T0_S, vector_meta, vector_payload, wait_for

from obslab.config import broker_at
from obslab.errors import RecordingError
from obslab.telemetry import daylog
from obslab.telemetry.protocol import Unit
from obslab.telemetry.sample import Stream, as_datetime
from obslab.telemetry.station import holding as holding_module
from obslab.telemetry.station.dayfile import DayFiles
from obslab.telemetry.station.liaison import Liaison
from obslab.telemetry.station.publisher import Publisher
from obslab.telemetry.station.recording import Recording, Track
from obslab.telemetry.station.replay import Replay
from obslab.telemetry.station.run import Station

DAY_S = 86_400
MIDNIGHT_S = T0_S // DAY_S * DAY_S + DAY_S  # the one after T0
META = vector_meta()
FILE = "PEA/lemi0001/sec/2024-05-10.obs"


def messages(begin_s, end_s, stream=LEMI):
    return [(stream.topic, at * NS, vector_payload(at, at % 1000)) for at in range(begin_s, end_s)]


@pytest.fixture
def days(tmp_path):
    days = DayFiles(tmp_path / "days")
    yield days
    days.close()


def written(days, begin_s=T0_S, end_s=T0_S + 100):
    days.append(messages(begin_s, end_s), [(LEMI, META)])
    return days.folder / FILE


def test_messages_come_back_as_they_were_published(days):
    path = written(days)
    day = days.read_file(path)
    assert day.stream == LEMI
    assert day.metas == (META,)
    assert day.payloads == [vector_payload(at, at % 1000) for at in range(T0_S, T0_S + 100)]
    assert day.times_ns().tolist() == [at * NS for at in range(T0_S, T0_S + 100)]
    assert day.damaged == 0


def test_layout_is_the_documented_one(days):
    """Read by hand, without the module."""
    data = written(days, end_s=T0_S + 2).read_bytes()
    line, _, rest = data.partition(b"\n")
    assert (
        line
        == b'{"format":"obslab-day/1","stream":{"station":"PEA","instrument":"lemi0001","samplerate":"sec"}}'
    )
    kinds = []
    while rest:
        (word,) = struct.unpack_from("<I", rest)
        length = word & 0xFFFFFF
        (crc,) = struct.unpack_from("<I", rest, 4 + length)
        assert crc == zlib.crc32(rest[: 4 + length])
        kinds.append((word >> 24, length))
        last, rest = rest[4 : 4 + length], rest[8 + length :]
    assert kinds[1:] == [(1, 16), (1, 16)]
    assert kinds[0][0] == 2
    assert last == vector_payload(T0_S + 1, (T0_S + 1) % 1000)


def test_each_day_of_utc_has_its_file(days):
    days.append(messages(MIDNIGHT_S - 3, MIDNIGHT_S + 2), [(LEMI, META)])
    counts = {path.name: len(days.read_file(path).payloads) for path in days.folder.glob("*/*/*/*")}
    assert counts == {"2024-05-10.obs": 3, "2024-05-11.obs": 2}
    read = list(days.read(LEMI, (MIDNIGHT_S - 2) * NS, (MIDNIGHT_S + 1) * NS))
    assert [time_ns // NS - MIDNIGHT_S for time_ns, _ in read] == [-2, -1, 0]


def test_read_gives_each_message_once_in_order_of_time(days):
    late = messages(T0_S, T0_S + 10)
    days.append(messages(T0_S + 5, T0_S + 20), [(LEMI, META)])
    days.append(late, [(LEMI, META)])
    read = list(days.read(LEMI, 0, 2**62))
    assert [time_ns // NS - T0_S for time_ns, _ in read] == list(range(20))


def test_stream_without_files_gives_nothing(days):
    assert list(days.read(Stream("ABC", "none"), 0, 2**62)) == []
    assert days.streams() == []


def test_sub_second_offset_of_the_metadata_is_in_the_times(days):
    before, after = vector_meta(), vector_meta(valid_from=as_datetime((T0_S + 5) * NS), offset_s=0.25)
    days.append(messages(T0_S, T0_S + 10), [(LEMI, before), (LEMI, after)])
    times = [time_ns for time_ns, _ in days.read(LEMI, 0, 2**62)]
    assert times == [(T0_S + n) * NS + (250_000_000 if n >= 5 else 0) for n in range(10)]


def test_new_metadata_goes_into_the_same_file(days):
    path = written(days)
    days.append(messages(T0_S + 100, T0_S + 101), [(LEMI, vector_meta(sensor="another"))])
    assert [meta.sensor for meta in days.read_file(path).metas] == ["another"]  # it begins at the same time
    later = vector_meta(valid_from=as_datetime((T0_S + 101) * NS))
    days.append(messages(T0_S + 101, T0_S + 102), [(LEMI, later)])
    assert days.read_file(path).metas[-1] == later
    assert len(days.read_file(path).metas) == 2


def test_restarted_station_goes_on_in_the_same_file(days):
    written(days)
    days.close()
    again = DayFiles(days.folder)
    path = written(again, T0_S + 100, T0_S + 200)
    again.close()
    day = again.read_file(path)
    assert len(day.payloads) == 200
    assert day.metas == (META,)


# ---- damage


@pytest.mark.parametrize("cut", range(1, 24))
def test_file_cut_in_its_last_record_loses_that_one_only(days, cut):
    data = written(days).read_bytes()
    day = daylog.decode(data[:-cut])
    assert len(day.payloads) == 99
    assert day.damaged == 24 - cut


def test_what_is_written_after_half_a_record_is_read(days):
    """A power cut left half a record; the station went on behind it."""
    path = written(days)
    days.close()
    os.truncate(path, path.stat().st_size - 10)
    written(days, T0_S + 100, T0_S + 200)
    day = days.read_file(path)
    assert [at // NS - T0_S for at in day.times_ns()] == [*range(99), *range(100, 200)]
    assert day.damaged == 14


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 7))
def test_flipped_bit_costs_one_record_and_never_gives_a_wrong_one(tmp_path_factory, place, bit):
    days = DayFiles(tmp_path_factory.mktemp("days"))
    data = bytearray(written(days).read_bytes())
    begin = data.index(b"\n") + 1
    place = begin + place % (len(data) - begin)
    data[place] ^= 1 << bit
    day = daylog.decode(bytes(data))
    good = [vector_payload(at, at % 1000) for at in range(T0_S, T0_S + 100)]
    lost = [payload for payload in good if payload not in day.payloads]
    assert len(lost) == (0 if not day.metas else 1)
    assert not set(day.payloads) - set(good)
    assert day.damaged > 0
    days.close()


@given(st.binary(max_size=400))
def test_any_bytes_after_the_header_are_survived(noise):
    day = daylog.decode(daylog.header(LEMI) + noise + daylog.message_record(vector_payload(T0_S)))
    assert day.payloads[-1:] == [vector_payload(T0_S)]


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"{}\n", b"junk", daylog.header(LEMI)[:-5], b'{"format":"obslab-day/9","stream":{}}\n'],
)
def test_file_that_is_none_of_ours_is_refused_in_one_line(data, tmp_path):
    path = tmp_path / "some.obs"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=r"some\.obs") as caught:
        daylog.read(path)
    assert "\n" not in caught.value.message


def test_day_of_a_later_obslab_says_to_upgrade():
    with pytest.raises(RecordingError, match="upgrade"):
        daylog.decode(daylog.header(LEMI).replace(b"day/1", b"day/2"))


def test_broken_file_does_not_hide_the_other_days(days, caplog):
    days.append(messages(MIDNIGHT_S - 3, MIDNIGHT_S + 2), [(LEMI, META)])
    (days.folder / FILE).write_bytes(b"junk")
    assert len(list(days.read(LEMI, 0, 2**62))) == 2
    assert "2024-05-10.obs does not begin as a day file" in caplog.text


def test_a_name_says_stream_and_day():
    name = daylog.name_of(LEMI, T0_S * NS)
    assert name == FILE
    assert daylog.parse_name(f"https://station.example/days/{name}") == (LEMI, "2024-05-10")
    for other in ("readme.txt", "PEA/lemi0001/sec/today.obs", "pea/lemi0001/sec/2024-05-10.obs"):
        assert daylog.parse_name(other) is None
    assert daylog.parse_name("PEA/lemi0001/weekly/2024-05-10.obs") is None


# ---- retention


def test_prune_keeps_the_newest_files_whatever_a_clock_says(days):
    for day in range(5):
        days.append(messages(T0_S + day * DAY_S, T0_S + day * DAY_S + 1), [(LEMI, META)])
    days.append(messages(4_000_000_000, 4_000_000_001), [])  # a clock that jumped to 2096
    gone = days.prune(3)
    assert sorted(path.name for path in gone) == ["2024-05-10.obs", "2024-05-11.obs", "2024-05-12.obs"]
    assert len(list(days.folder.glob("*/*/*/*.obs"))) == 3


def test_keep_days_prunes_when_a_day_begins(tmp_path):
    days = DayFiles(tmp_path, keep_days=2)
    for day in range(5):
        days.append(messages(T0_S + day * DAY_S, T0_S + day * DAY_S + 1), [(LEMI, META)])
    assert sorted(path.name for path in tmp_path.glob("*/*/*/*")) == ["2024-05-13.obs", "2024-05-14.obs"]
    days.close()


# ---- a station with journal and day files, one of which fails


def replay(length=500):
    time_ns = (T0_S + np.arange(length)) * NS
    values = np.arange(length, dtype=float)[:, None] * np.ones(3)
    return Replay(Recording((Track(LEMI, vector_meta(), time_ns, values),)), speed=1000.0, shifted=False)


@pytest.fixture
def run(journal, tmp_path):
    running = []

    def start(instruments=None):
        publisher = Publisher(
            journal, broker_at("mqtt://127.0.0.1:9", {}), Liaison(journal, Unit("PEA", "lemi0001"))
        )
        station = Station(instruments or replay(), journal, publisher, DayFiles(tmp_path / "days"))
        ending = threading.Event()
        thread = threading.Thread(target=station.run, args=(ending,), daemon=True)
        thread.start()
        running.append((ending, thread))
        return station, thread

    yield start
    for ending, thread in running:
        ending.set()
        thread.join()


def journalled(journal):
    return [entry.time_ns // NS - T0_S for entry in journal.after(0, 10**6)]


def filed(station):
    return [time_ns // NS - T0_S for time_ns, _ in station.days.read(LEMI, 0, 2**62)]


def test_journal_and_day_files_both_get_everything(run, journal):
    station, thread = run()
    thread.join(20)
    assert journalled(journal) == filed(station) == list(range(500))
    assert station.days.read_file(station.days.folder / FILE).metas[0].clock.speed == 1000.0


def test_day_file_gets_what_a_full_journal_does_not_take(run, journal, monkeypatch):
    monkeypatch.setattr(holding_module, "_RETRY_S", 0.05)
    with journal._lock:
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        journal._connection.execute(f"PRAGMA max_page_count={pages}")
    station, thread = run(replay(3000))
    wait_for(lambda: station.instruments.next_ns() is None and station.journalled.held, what="a full journal")
    wait_for(lambda: len(filed(station)) == 3000, what="all of it in the day file")
    wait_for(lambda: "no space left" in station.health()["trouble"], what="a told trouble")
    with journal._lock:
        journal._connection.execute("PRAGMA max_page_count=1000000")
    thread.join(20)
    assert journalled(journal) == list(range(3000))


def test_journal_gets_what_a_full_disk_of_day_files_does_not_take(run, journal, tmp_path, monkeypatch):
    """/dev/full stands in for the file: it says that the disk is full, as a full disk does."""
    monkeypatch.setattr(holding_module, "_RETRY_S", 0.05)
    path = tmp_path / "days" / FILE
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/full")
    station, thread = run()
    wait_for(lambda: len(journalled(journal)) == 500, what="all of it in the journal")
    assert thread.is_alive()
    wait_for(lambda: "No space left" in station.health()["trouble"], what="a told trouble")
    path.unlink()
    thread.join(20)
    assert filed(station) == list(range(500))
    assert station.health()["trouble"] == ""


def test_half_a_batch_on_a_full_disk_is_taken_back(days, monkeypatch):
    path = written(days)
    before = path.read_bytes()
    write, left = os.write, [30]

    def full_after_30_bytes(descriptor, data):
        if left[0] <= 0:
            raise OSError(28, "No space left on device")
        took = write(descriptor, data[: left[0]])
        left[0] -= took
        return took

    waiting = messages(T0_S + 100, T0_S + 110)
    monkeypatch.setattr(os, "write", full_after_30_bytes)
    with pytest.raises(OSError, match="No space"):
        days.append(waiting, [(LEMI, META)])
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert len(waiting) == 10
    days.append(waiting, [(LEMI, META)])
    assert waiting == []
    assert len(days.read_file(path).payloads) == 110


# ---- how it is


def test_health_tells_a_disk_that_is_nearly_full(run, monkeypatch):
    from obslab.telemetry.station import health as health_module

    station, _ = run()
    free = station.health()["disk_free_bytes"]
    found = os.statvfs(station.journal.folder)
    assert free == pytest.approx(found.f_bavail * found.f_frsize, rel=0.2)
    monkeypatch.setattr(health_module, "LOW_BYTES", 10**18)
    assert f"MB are free at {station.journal.folder}" in station.health()["trouble"]


def test_paused_replay_is_not_recorded_and_what_it_gave_is_counted(run, journal):
    station, thread = run(replay(3000))
    wait_for(lambda: len(journalled(journal)) > 100, what="some samples")
    station.pause()
    assert station.health()["paused"]
    wait_for(lambda: station.skipped > 100, what="some skipped")
    station.resume()
    thread.join(20)
    times = journalled(journal)
    assert len(times) + station.skipped == 3000
    assert times[-1] == 2999
