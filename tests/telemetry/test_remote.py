"""Filling an archive's gaps from files: in a folder, in memory, in a zip, and behind a real web server."""

import contextlib
import functools
import gzip
import http.server
import json
import struct
import threading
import zipfile

import numpy as np
import pytest
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta, vector_payload
from telemetry.test_iaga2002 import text
from typer.testing import CliRunner

from obslab.cli import app
from obslab.errors import ConfigError, NoArchiveError, RecordingError, RemoteError
from obslab.telemetry import daylog, iaga2002
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.collect import choosing, fitting, inbox
from obslab.telemetry.collect.backfill import Wishes, backfill
from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.collect.remote import place_at
from obslab.telemetry.protocol import Status, encode
from obslab.telemetry.sample import Stream, encode_meta
from obslab.times import as_ns, iso

DAY = "2024-05-10"
MINUTE = Stream("PEA", "lemi0001", "min")
N = 120
LOST = range(30, 90)  # of N seconds from T0_S on


def vector_at(second):
    return vector_payload(second, 21_000_000 + second % 1000, -310_000 + second % 7, 43_210_000 + second % 13)


def scalar_at(second, quality=99):
    return struct.pack("<II", second, (4_804_812 + second % 5) << 8 | quality)


def messages(topic, payloads):
    return [Message(topic, payload, (T0_S + 3600) * NS) for payload in payloads]


@pytest.fixture
def archive(tmp_path):
    """Two instruments with the same minute lost in the middle of two."""
    with open_archive(tmp_path / "archive", write=True) as archive:
        kept = [second for second in range(T0_S, T0_S + N) if second - T0_S not in LOST]
        intake = Intake({})
        batch = intake.sort(
            [
                *messages(LEMI.meta_topic, [encode_meta([vector_meta()])]),
                *messages(GSM.meta_topic, [encode_meta([scalar_meta()])]),
                *messages(LEMI.topic, [vector_at(second) for second in kept]),
                *messages(GSM.topic, [scalar_at(second) for second in kept]),
            ]
        )
        assert archive.add(batch)["unique"] == 2 * len(kept)
        yield archive


def day_log(stream, meta, payloads):
    records = [daylog.metas_record([meta]), *map(daylog.message_record, payloads)]
    return daylog.header(stream) + b"".join(records)


def whole_vector():
    return day_log(LEMI, vector_meta(), [vector_at(second) for second in range(T0_S, T0_S + N)])


def whole_scalar():
    return day_log(GSM, scalar_meta(), [scalar_at(second) for second in range(T0_S, T0_S + N)])


def iaga(seconds=range(T0_S, T0_S + N), letters="XYZF", code="PEA", vector=None, scalar=None, **facts):
    rows = []
    for second in seconds:
        counts = np.array(struct.unpack("<Iiii", vector_at(second))[1:]) / 1000
        field = (struct.unpack("<II", scalar_at(second))[1] >> 8) / 100
        when = iso(second * NS)
        row = [*(vector(counts) if vector else counts), scalar(counts) if scalar else field]
        rows.append((when[:10], when[11:19] + ".000", "131", *row))
    return text(rows, letters, code, **{"Data Type": "variation", **facts}).encode()


@pytest.fixture
def folder(tmp_path):
    """Writes files by their names: `folder({"name": content})`; returns the folder."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "files"

    return write


def run(archive, place, store=None, **wishes):
    return backfill(archive, place_at(str(place)), Wishes(**wishes), store or archive.add)


def seconds_of(archive, stream):
    return (archive.readings(stream, 0, 2**62).time_ns // NS - T0_S).tolist()


def logs():
    return {daylog.name_of(LEMI, T0_S * NS): whole_vector(), daylog.name_of(GSM, T0_S * NS): whole_scalar()}


# ---- binary day logs


def test_gap_is_filled_with_the_bytes_the_station_recorded(archive, folder):
    reports = run(archive, folder(logs()))
    assert [(report.new, report.there, report.contradictions) for report in reports] == [(60, 60, 0)] * 2
    assert {report.streams for report in reports} == {("PEA lemi0001 sec",), ("PEA gsm0001 sec",)}
    for stream, make in ((LEMI, vector_at), (GSM, scalar_at)):
        assert seconds_of(archive, stream) == list(range(N))
        stored = archive.stored(stream, 0, 2**62)
        assert stored.bodies == b"".join(make(second)[4:] for second in range(T0_S, T0_S + N))


def test_second_run_changes_nothing(archive, folder):
    place = folder(logs())
    run(archive, place, everything=True)
    before = {stream: archive.stored(stream, 0, 2**62) for stream in (LEMI, GSM)}
    counters = archive.counters()
    again = run(archive, place, everything=True)
    assert [(report.state, report.new, report.there) for report in again] == [("read", 0, N)] * 2
    for stream, stored in before.items():
        after = archive.stored(stream, 0, 2**62)
        assert after.bodies == stored.bodies
        np.testing.assert_array_equal(after.arrival_ns, stored.arrival_ns)
    assert archive.counters() == counters


def test_files_of_days_that_are_whole_are_not_read(archive, folder):
    place = folder(logs())
    run(archive, place)
    day = as_ns(DAY)
    # Before its first sample the archive lacks nothing; behind its last, on the day of now, it may.
    lacks = choosing.Lacks(archive, (), (T0_S + N) * NS)
    assert lacks.reason_to_pass(daylog.name_of(LEMI, day)) == "nothing is missing"
    assert lacks.reason_to_pass(daylog.name_of(LEMI, day - 86_400 * NS)) == "nothing is missing"
    assert lacks.reason_to_pass("nck20240510psec.sec") == "the archive has no stream NCK sec"
    assert lacks.reason_to_pass("pea20240510pmin.min") == "the archive has no stream PEA min"
    later = choosing.Lacks(archive, (), (T0_S + N + 30) * NS)
    assert later.reason_to_pass(daylog.name_of(LEMI, day)) is None
    assert later.reason_to_pass("pea20240510psec.sec.gz") is None
    assert later.reason_to_pass("whatever.txt") is None


def test_all_takes_a_stream_the_archive_never_had_with_its_metadata(archive, folder):
    new = Stream("NCK", "lemi0009")
    log = day_log(new, vector_meta(scale=0.01), [vector_at(second) for second in range(T0_S, T0_S + 5)])
    place = folder({daylog.name_of(new, T0_S * NS): log})
    (passed,) = run(archive, place)
    assert (passed.state, passed.notes) == ("passed over", ("the archive has no stream NCK lemi0009 sec",))
    (report,) = run(archive, place, everything=True)
    assert report.new == 5
    assert archive.metas(new)[0].scale == 0.01
    assert archive.readings(new, 0, 2**62).values[0, 0] == pytest.approx(210_000 + T0_S % 1000 / 100)


def test_old_file_does_not_change_metadata_the_archive_has(archive, folder):
    log = day_log(LEMI, vector_meta(scale=0.5), [vector_at(second) for second in range(T0_S, T0_S + N)])
    run(archive, folder({daylog.name_of(LEMI, T0_S * NS): log}))
    assert [meta.scale for meta in archive.metas(LEMI)] == [0.001]
    assert seconds_of(archive, LEMI) == list(range(N))


def test_overlapping_and_contradicting_files_keep_the_first_and_count_the_rest(archive, folder):
    other = [vector_payload(second, 1, 2, 3) for second in range(T0_S + 60, T0_S + 100)]
    place = folder(
        {
            "a.obs": day_log(
                LEMI, vector_meta(), [vector_at(second) for second in range(T0_S + 20, T0_S + 70)]
            ),
            "b.obs": day_log(
                LEMI, vector_meta(), [vector_at(second) for second in range(T0_S + 50, T0_S + 95)]
            ),
            "c.obs": day_log(LEMI, vector_meta(), other),
        }
    )
    reports = run(archive, place)
    assert [(one.new, one.there, one.contradictions) for one in reports] == [
        (40, 10, 0),
        (20, 25, 0),
        (0, 0, 40),
    ]
    stored = archive.stored(LEMI, 0, 2**62)
    assert stored.bodies == b"".join(vector_at(second)[4:] for second in range(T0_S, T0_S + N))
    assert archive.counters()[LEMI]["contradiction"] == 40


def test_file_that_says_a_second_twice_counts_it_once(archive, folder):
    twice = [
        vector_at(T0_S + 40),
        vector_at(T0_S + 40),
        vector_payload(T0_S + 40, 9, 9, 9),
        vector_at(T0_S + 35),
    ]
    (report,) = run(archive, folder({"a.obs": day_log(LEMI, vector_meta(), twice)}))
    assert (report.new, report.there, report.contradictions) == (2, 0, 1)
    assert archive.stored(LEMI, (T0_S + 40) * NS, (T0_S + 41) * NS).bodies == vector_at(T0_S + 40)[4:]


def test_damaged_day_log_gives_what_is_whole_in_it_and_says_how_much_is_not(archive, folder):
    data = bytearray(whole_vector())
    data[-15] ^= 0x10  # in the last message's content: 24 bytes of record
    (report,) = run(archive, folder({"a.obs": bytes(data)}))
    assert (report.new, report.there, report.unreadable) == (60, 59, 24)
    assert report.notes == ("24 bytes are damaged",)


def test_time_stamps_that_live_samples_may_not_have_are_not_taken_from_files_either(archive, folder):
    payloads = [
        vector_at(T0_S + 40),
        vector_at(3_900_000_000),
        vector_at(1000),
        vector_at(T0_S)[:9],
    ]
    (report,) = run(archive, folder({"a.obs": day_log(LEMI, vector_meta(), payloads)}))
    assert (report.new, report.unreadable) == (1, 3)
    assert "9 bytes where a vector has 16" in report.notes[0]


def test_block_of_a_fast_stream_is_filled_whole(archive, folder):
    fast = Stream("PEA", "fast", "10hz")
    block = [struct.pack("<I", T0_S + i) + struct.pack("<iii", i, 2, 3) * 10 for i in range(3)]
    place = folder({daylog.name_of(fast, T0_S * NS): day_log(fast, vector_meta(), block)})
    assert run(archive, place, everything=True)[0].new == 30
    assert run(archive, place, everything=True)[0].there == 30


def test_broken_file_is_reported_and_the_next_one_read(archive, folder):
    place = folder(
        {
            "a.obs": b"\0\1nothing of ours",
            "b.sec": b"DATE nothing",
            "c.sec": b"",
            "d.obs": whole_vector(),
            "e.obs.gz": gzip.compress(whole_scalar())[:-20],
            "f.obs.gz": gzip.compress(whole_scalar()),
            "readme.md": b"not looked at",
        }
    )
    reports = {report.file: report for report in run(archive, place)}
    assert {name: report.state for name, report in reports.items()} == {
        **dict.fromkeys(("a.obs", "b.sec", "c.sec", "e.obs.gz"), "failed"),
        **dict.fromkeys(("d.obs", "f.obs.gz"), "read"),
    }
    assert "cut short" in reports["e.obs.gz"].notes[0]
    assert seconds_of(archive, GSM) == list(range(N))


def test_only_the_named_instrument_is_filled(archive, folder):
    reports = run(archive, folder({**logs(), "x.obs": whole_vector()}), instruments=("gsm0001",))
    told = {report.file: (report.state, report.new) for report in reports}
    assert told == {
        daylog.name_of(LEMI, T0_S * NS): ("passed over", 0),
        daylog.name_of(GSM, T0_S * NS): ("read", 60),
        "x.obs": ("read", 0),
    }
    assert seconds_of(archive, GSM) == list(range(N))
    assert len(seconds_of(archive, LEMI)) == 60


# ---- IAGA-2002


def test_iaga2002_fills_only_what_is_missing_and_rounding_contradicts_nothing(archive, folder):
    before = archive.stored(LEMI, 0, 2**62)
    (report,) = run(archive, folder({"pea20240510psec.sec": iaga()}))
    assert (report.new, report.there, report.contradictions, report.unreadable) == (120, 120, 0, 0)
    assert seconds_of(archive, LEMI) == seconds_of(archive, GSM) == list(range(N))
    after = archive.stored(LEMI, 0, 2**62)
    kept = np.isin(after.time_ns, before.time_ns)
    assert after.take(np.flatnonzero(kept)).bodies == before.bodies
    truth = (
        np.array([struct.unpack("<Iiii", vector_at(second))[1:] for second in range(T0_S, T0_S + N)]) / 1000
    )
    filled = archive.readings(LEMI, 0, 2**62).values
    assert np.abs(filled - truth).max() <= 0.005 + 1e-9  # half of the file's 0.01 nT
    assert np.abs(filled[list(LOST)] - truth[list(LOST)]).max() > 0.001  # it was rounded
    field = archive.readings(GSM, 0, 2**62)
    np.testing.assert_allclose(
        field.values[:, 0], [48048.12 + (T0_S + i) % 5 / 100 for i in range(N)], atol=1e-6
    )
    assert archive.counters()[LEMI]["contradiction"] == 0
    (again,) = run(archive, folder({}), everything=True)
    assert (again.new, again.there) == (0, 240)


def test_data_of_another_level_are_left_alone_unless_wanted(archive, folder):
    shifted = {"pea20240510dsec.sec": iaga(vector=lambda counts: counts + np.array([35.2, 0, 0]))}
    (report,) = run(archive, folder(shifted))
    assert report.new == 60  # the scalar agrees
    assert any("x differs from the archive by 35.20 nT" in note for note in report.notes)
    assert len(seconds_of(archive, LEMI)) == 60
    (report,) = run(archive, folder(shifted), any_level=True)
    assert report.new == 60


def test_definitive_data_with_nothing_to_compare_are_left_alone(archive, folder):
    files = {"pea20240510dsec.sec": iaga(range(T0_S + 40, T0_S + 80), **{"Data Type": "definitive"})}
    (report,) = run(archive, folder(files))
    assert report.new == 0
    assert all("definitive" in note for note in report.notes)
    files = {"pea20240510dsec.sec": iaga(range(T0_S + 40, T0_S + 80))}
    (report,) = run(archive, folder(files))
    assert report.new == 80


def test_total_field_calculated_from_the_vector_is_not_taken_for_the_scalar_instruments(archive, folder):
    calculated = iaga(scalar=lambda counts: float(np.sqrt((counts**2).sum())))
    (report,) = run(archive, folder({"pea20240510psec.sec": calculated}))
    assert report.streams == ("PEA lemi0001 sec",)
    assert any("F is calculated" in note for note in report.notes)
    assert len(seconds_of(archive, GSM)) == 60
    (report,) = run(archive, folder({"pea20240510psec.sec": iaga(letters="XYZS")}))
    assert report.streams == ("PEA lemi0001 sec", "PEA gsm0001 sec")


def test_missing_values_and_times_that_the_station_is_asked_for_are_left(archive, folder):
    book = archive.book
    book.add_hole(LEMI.topic, (T0_S + 40) * NS, (T0_S + 50) * NS, "gap", 1)
    status = Status(journal="j", streams=(LEMI.topic,))
    book.keep_unit("PEA lemi0001", "j", encode(status), 1)
    content = iaga().replace(b"17:05:35.000 131     21000", b"17:05:35.000 131     99999")
    (report,) = run(archive, folder({"pea20240510psec.sec": content}))
    assert (report.left, report.new) == (10, 110)
    assert sorted(set(range(N)) - set(seconds_of(archive, LEMI))) == list(range(40, 50))
    book.keep_unit("PEA lemi0001", "j", encode(Status(journal="j", online=False, streams=(LEMI.topic,))), 2)
    (report,) = run(archive, folder({}))
    assert (report.left, report.new) == (0, 10)


def test_line_where_all_is_missing_is_no_sample(archive, folder):
    nothing = iaga(vector=lambda counts: counts * 0 + 99999.0, letters="XYZS")
    (report,) = run(archive, folder({"pea20240510psec.sec": nothing}))
    assert report.new == 60
    assert len(seconds_of(archive, LEMI)) == 60


def test_unreadable_lines_are_counted_and_the_others_read(archive, folder):
    lines = iaga(range(T0_S + 30, T0_S + 90)).decode().split("\n")
    first = next(at for at, line in enumerate(lines) if line.startswith("DATE")) + 1
    lines[first + 3] = lines[first + 3][:40]
    lines[first + 7] = lines[first + 7].replace("2024", "2O24")
    lines.insert(first + 20, lines[first + 10])  # said again
    lines.insert(first + 21, lines[first + 11].replace("43210", "43000"))  # contradicts
    (report,) = run(archive, folder({"pea20240510psec.sec": "\n".join(lines).encode()}))
    assert (report.new, report.unreadable) == (116, 3)
    assert report.notes[0].startswith(f"line {first + 4}: 4 fields, wanted 7")
    held = seconds_of(archive, LEMI)
    assert sorted(set(range(N)) - set(held)) == [33, 37]


def test_pieces_in_any_order_are_read_in_order_of_time(tmp_path):
    early, late = (iaga(range(T0_S + at, T0_S + at + 5)).decode() for at in (0, 5))
    data = [line for line in early.split("\n") if line.startswith("2024")]
    table, bad = iaga2002.decode((late + "\n".join(data) + "\n").encode(), "two pieces")
    assert not bad
    np.testing.assert_array_equal(table.time_ns, (T0_S + np.arange(10)) * NS)
    path = tmp_path / "two.sec"
    path.write_text(late + "\n".join(data) + "\n")
    with pytest.raises(RecordingError, match="time does not go on"):
        iaga2002.parse(path)


def test_declination_in_minutes_of_arc_fills_a_stream_in_degrees():
    meta = vector_meta(components=("h", "d", "z"), units=("nT", "deg", "nT"))
    table, _ = iaga2002.decode(iaga(letters="HDZF", vector=lambda counts: [20000.0, -270.0, 43000.0]), "x")
    (part,), notes = fitting.fit(table, {LEMI: (meta,)})
    assert not notes
    assert part.values[0].tolist() == [20000.0, -4.5, 43000.0]
    variometer = vector_meta(components=("h", "d", "z"))
    parts, notes = fitting.fit(table, {LEMI: (variometer,)})
    assert not parts
    assert notes == ["PEA lemi0001 sec: d is in nT, the file has it in arcmin"]


def test_two_instruments_that_fit_are_told_to_be_named():
    table, _ = iaga2002.decode(iaga(), "x")
    second = Stream("PEA", "lemi0002")
    parts, notes = fitting.fit(table, {LEMI: (vector_meta(),), second: (vector_meta(),)})
    assert not parts
    assert notes == ["fits lemi0001, lemi0002: name one with --instrument"]


def test_times_between_those_of_the_stream_are_not_taken(archive, folder):
    rows = iaga(range(T0_S + 30, T0_S + 90)).replace(b".000 131", b".300 131")
    (report,) = run(archive, folder({"pea20240510psec.sec": rows}))
    assert (report.new, report.unreadable) == (0, 120)


# ---- holes


def test_hole_that_is_whole_again_is_settled_and_one_that_is_not_stays(archive, folder):
    book = archive.book
    lost = book.add_hole(LEMI.topic, (T0_S + 30) * NS, (T0_S + 60) * NS, "lost at source", 1)
    book.set_hole(lost, 1, state="lost")
    book.add_hole(LEMI.topic, (T0_S + 60) * NS, (T0_S + 90) * NS, "gap", 1)
    part = [vector_at(second) for second in range(T0_S + 30, T0_S + 80)]
    run(archive, folder({"a.obs": day_log(LEMI, vector_meta(), part)}))
    assert [(hole.state, hole.filled) for hole in book.holes(LEMI.topic)] == [("filled", 30), ("open", 0)]


# ---- places


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *what):
        pass


@contextlib.contextmanager
def _serving(root, handler=_Quiet):
    """The address of a web server that lists a folder, on loopback."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(root))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def web(folder):
    files = {**logs(), "other/deep/pea20240510psec.sec.gz": gzip.compress(iaga()), "index notes.md": b""}
    with _serving(folder(files)) as url:
        yield url


def test_web_servers_listing_is_followed_and_its_files_fill_the_gap(archive, web):
    place = place_at(web)
    assert sorted(place.files()) == sorted([*logs(), "other/deep/pea20240510psec.sec.gz", "index%20notes.md"])
    reports = backfill(archive, place, Wishes(), archive.add)
    assert sum(report.new for report in reports) == 120
    assert seconds_of(archive, LEMI) == seconds_of(archive, GSM) == list(range(N))


@pytest.mark.parametrize("end", ["/other/deep", "/other/deep/", "/other/deep/pea20240510psec.sec.gz"])
def test_web_folder_or_file_below_is_read_and_nothing_above_it(archive, web, end):
    (report,) = run(archive, web + end)
    assert (report.file, report.new) == ("pea20240510psec.sec.gz", 120)


@pytest.mark.parametrize("end", ["/nowhere", "/nowhere.sec"])
def test_web_address_that_is_none_is_told_in_one_line(archive, web, end):
    if end.endswith(".sec"):  # taken for a file: it fails alone
        (report,) = run(archive, web + end)
        assert (report.state, report.notes) == ("failed", ("nowhere.sec cannot be read: not found",))
    else:
        with pytest.raises(RemoteError, match="nowhere cannot be read: not found"):
            run(archive, web + end)


def test_server_that_is_not_there_is_told_in_one_line(archive):
    with pytest.raises(RemoteError, match="cannot be read") as caught:
        run(archive, "http://127.0.0.1:9/pea")
    assert "\n" not in caught.value.message


def test_listing_that_links_to_its_parent_and_sorts_itself_is_no_trap(tmp_path):
    page = (
        b'<html><a href="?C=N;O=D">Name</a> <a href="/">Parent</a> <a href="../up.sec">up</a>'
        b'<a href="http://127.0.0.1:9/else.sec">else</a> <a href="a.sec">a</a> <a href="sub/">sub</a></html>'
    )
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "index.html").write_bytes(page)
    (tmp_path / "data" / "sub" / "index.html").write_bytes(page)
    with _serving(tmp_path) as url:
        place = place_at(url + "/data")
        files = list(place.files())
    assert files == ["a.sec", "sub/a.sec"]
    # The page of sub says that there is one more sub in it, which is not so: told, and no reason to stop.
    assert [error.message for error in place.unlisted] == ["sub/sub cannot be read: not found"]


def test_memory_zip_and_single_file_are_places_too(archive, folder, tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe_file("/logs/a.obs", whole_vector())
    assert list(place_at("memory://logs").files()) == ["a.obs"]
    assert run(archive, "memory://logs")[0].new == 60
    with zipfile.ZipFile(tmp_path / "logs.zip", "w") as packed:
        packed.writestr("deep/b.obs", whole_scalar())
    assert run(archive, f"zip://::{tmp_path}/logs.zip")[0].new == 60
    path = folder({"x y.obs": whole_scalar()}) / "x y.obs"
    (report,) = run(archive, path)
    assert (report.file, report.there) == ("x y.obs", N)


@pytest.mark.parametrize(
    "url",
    [
        "sftp://observer:s3cret@host/data",
        "https://observer:s3cret@host/data",
        "https://observer%3As3cret%40host/data",
        "sftp://s3cret@host/data",
        "zip://::https://observer:s3cret@host/x.zip",
    ],
)
def test_login_in_a_url_is_refused_and_never_repeated(url, tmp_path):
    with pytest.raises(ConfigError, match="holds a user or password") as caught:
        place_at(url)
    assert "s3cret" not in caught.value.message
    told = CliRunner().invoke(app, ["archive", "backfill", str(tmp_path), "--from", url])
    assert told.exit_code == 1
    assert "s3cret" not in told.output


class _Forbidding(_Quiet):
    def do_GET(self):
        self.send_error(403)


def test_token_behind_the_path_is_not_shown(archive, web, tmp_path):
    assert place_at(web + "/other/deep/?sig=s3cret").shown == web + "/other/deep/"
    with _serving(tmp_path, _Forbidding) as url:
        for place in (f"{url}/x?sig=s3cret", "http://127.0.0.1:9/x?sig=s3cret"):
            with pytest.raises(RemoteError) as caught:
                list(place_at(place).files())
            assert "s3cret" not in caught.value.message
            assert "?" not in caught.value.message


def test_place_that_does_not_exist_and_protocol_that_is_unknown_are_told(tmp_path):
    with pytest.raises(RemoteError, match="nowhere does not exist"):
        place_at(str(tmp_path / "nowhere"))
    with pytest.raises(RemoteError, match="gopher"):
        place_at("gopher://127.0.0.1/data")


# ---- the inbox of an archive that is in use


def test_batch_waits_in_the_inbox_while_a_collector_has_the_archive_open(archive, folder):
    place = folder(logs())
    told = CliRunner().invoke(app, ["archive", "backfill", str(archive.path), "--from", str(place), "--json"])
    assert told.exit_code == 0
    said = json.loads(told.stdout)
    assert (said["new"], said["in_inbox"]) == (120, True)
    assert len(seconds_of(archive, LEMI)) == 60
    assert len(inbox.waiting(archive.path)) == 2

    (first,) = inbox.ingest(archive)
    assert first[1].new == 60
    assert len(inbox.waiting(archive.path)) == 1
    inbox.ingest(archive, most=10)
    assert inbox.waiting(archive.path) == []
    for stream, make in ((LEMI, vector_at), (GSM, scalar_at)):
        stored = archive.stored(stream, 0, 2**62)
        assert stored.bodies == b"".join(make(second)[4:] for second in range(T0_S, T0_S + N))
    assert inbox.ingest(archive) == []


def test_batch_taken_in_twice_after_a_kill_changes_nothing(archive, folder):
    run(archive, folder(logs()), store=lambda batch: inbox.drop(archive.path, batch))
    (file, _) = inbox.waiting(archive.path)
    copy = file.read_bytes()
    inbox.ingest(archive, most=10)
    file.write_bytes(copy)  # as if killed between the commit and the removal
    ((_, tally),) = inbox.ingest(archive)
    assert (tally.new, tally.there) == (0, 60)
    assert archive.counters()[LEMI]["duplicate"] == 0


def test_failed_store_leaves_the_batch_in_the_inbox(archive, folder):
    run(archive, folder(logs()), store=lambda batch: inbox.drop(archive.path, batch))

    def full(batch):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        inbox.ingest(archive, full)
    assert len(inbox.waiting(archive.path)) == 2


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: b"x" + data, lambda data: b""])
def test_damaged_batch_is_set_aside_and_the_next_one_taken(archive, folder, spoil):
    run(archive, folder(logs()), store=lambda batch: inbox.drop(archive.path, batch))
    first, _ = inbox.waiting(archive.path)
    first.write_bytes(spoil(first.read_bytes()))
    assert len(inbox.ingest(archive, most=2)) == 1
    assert first.with_name(first.name + ".bad").exists()
    assert inbox.waiting(archive.path) == []


# ---- the command


def test_command_fills_says_so_file_by_file_and_ends_with_1_when_a_file_fails(archive, folder):
    place = folder({**logs(), "broken.obs": b"x"})
    path = archive.path
    archive.close()
    told = CliRunner().invoke(app, ["archive", "backfill", str(path), "--from", str(place)])
    assert told.exit_code == 1
    lines = told.stdout.splitlines()
    assert f"{daylog.name_of(LEMI, T0_S * NS)}: 60 new, 60 already there" in lines
    assert lines[-1] == "3 files, 2 read, 1 failed: 120 new samples into the archive"
    with open_archive(path) as opened:
        assert seconds_of(opened, LEMI) == list(range(N))
        late = opened.counters()[LEMI]["late"]
    assert late >= 60


def test_command_does_not_make_an_archive_of_a_mistyped_path(tmp_path, folder):
    place = folder(logs())
    told = CliRunner().invoke(app, ["archive", "backfill", str(tmp_path / "typo"), "--from", str(place)])
    assert isinstance(told.exception, NoArchiveError)
    assert not (tmp_path / "typo").exists()
