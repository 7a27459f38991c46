import json
from collections import Counter

import numpy as np
import pytest
from telemetry.makers import LEMI, NS, batch
from telemetry.test_sealed import ALL, METAS, at, chunks, day, hot_rows, seconds
from typer.testing import CliRunner

from obslab.cli import app
from obslab.errors import TableError
from obslab.telemetry.archive import repair
from obslab.telemetry.archive.store import open_archive

DAYS = 4


@pytest.fixture
def sealed_days(archive):
    """Four sealed days of a hundred samples."""
    archive.add(batch(*(day(number, 100) for number in range(DAYS)), metas=METAS))
    archive.seal(at(30))
    return archive


def file_of(archive, number):
    return next(archive.path / row.file for row in chunks(archive) if row.day_ns == at(number))


def cut(archive, file):
    file.write_bytes(file.read_bytes()[:-7])


def cut_to_nothing(archive, file):
    file.write_bytes(b"")


def lengthen(archive, file):
    file.write_bytes(file.read_bytes() + b"\0")


def flip_in(part):
    def flip(archive, file):
        content = bytearray(file.read_bytes())
        place = {"magic": 1, "checksum": 5, "length": 9, "head": 20, "samples": len(content) - 30}[part]
        content[place] ^= 0x10
        file.write_bytes(bytes(content))

    flip.__name__ = f"flip_in_{part}"
    return flip


def exchange(archive, file):
    file.write_bytes(file_of(archive, 0).read_bytes())


def remove(archive, file):
    file.unlink()


DAMAGES = [
    cut,
    cut_to_nothing,
    lengthen,
    *map(flip_in, ("magic", "checksum", "length", "head", "samples")),
    exchange,
    remove,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_a_damaged_chunk_is_named_quarantined_and_filled_again(sealed_days, damage):
    whole = seconds(sealed_days)
    file = file_of(sealed_days, 2)
    damage(sealed_days, file)
    with open_archive(sealed_days.path) as reader:
        with pytest.raises(
            TableError, match=r"2024-05-12\.1\.obc is damaged \(.*archive info .* --repair"
        ) as told:
            reader.dataset("PEA", "lemi0001")
        assert told.value.path == file
        assert reader.dataset("PEA", "lemi0001", at(3), at(4)).sizes["time"] == 100
        ((found),) = reader.verify()
        assert (found.file, found.chunk.day_ns) == (file, at(2))
        assert [one.n for one in reader.days(LEMI, *ALL)] == [100] * DAYS  # summaries are kept apart
    assert sealed_days.repair(at(40)) == Counter(quarantined=1)
    assert not file.exists()
    aside = list((sealed_days.path / "quarantine").glob("*"))
    assert [path.name for path in aside] == (
        [] if damage is remove else ["pea-lemi0001-sec-2024-05-12.1.obc"]
    )
    (hole,) = sealed_days.book.holes()
    assert (hole.topic, hole.state, hole.why) == (LEMI.topic, "open", "chunk quarantined")
    assert (hole.begin_ns, hole.end_ns) == (at(2), at(2, 100))
    assert sealed_days.missing(LEMI, hole.begin_ns, hole.end_ns) == [(hole.begin_ns, hole.end_ns)]
    assert len(seconds(sealed_days)) == 300
    assert [one.n for one in sealed_days.days(LEMI, *ALL)] == [100] * (DAYS - 1)
    # What the station has of it comes again, as any samples do.
    assert sealed_days.add(batch(day(2, 100))) == Counter(unique=100, out_of_order=100)
    assert sealed_days.seal(at(50)) == 1
    assert (seconds(sealed_days), hot_rows(sealed_days)) == (whole, 0)
    assert sealed_days.verify() == []
    assert file_of(sealed_days, 2).name == "2024-05-12.2.obc"


def test_samples_that_come_for_a_damaged_day_are_not_lost(sealed_days, caplog):
    cut(sealed_days, file_of(sealed_days, 1))
    assert sealed_days.add(batch(day(1, 120)))["unique"] == 120  # nobody can tell that they are there
    assert "cannot compare with what is sealed" in caplog.text
    assert sealed_days.tidy(at(40)) == Counter(quarantined=1)
    assert sealed_days.tidy(at(40)) == Counter(sealed=1)
    assert len(seconds(sealed_days)) == 420
    assert sealed_days.verify() == []


def test_the_keeper_looks_at_each_chunk_once_a_month(sealed_days):
    lengthen(sealed_days, file_of(sealed_days, 3))
    done = [sealed_days.tidy(at(61, 100 * number)) for number in range(6)]
    assert sum(done, Counter()) == Counter(checked=3, quarantined=1)
    assert len(sealed_days.book.holes()) == 1
    assert sealed_days.tidy(at(62)) == Counter()


def test_what_a_crash_left_is_removed_by_the_next_keeper(tmp_path):
    with open_archive(tmp_path, write=True) as archive:
        archive.add(batch(day(0), metas=METAS))
        archive.seal(at(30))
        folder = file_of(archive, 0).parent
        left = [folder / "2024-05-11.1.obc", folder / "2024-05-11.1.tmp"]
        for path in left:
            path.write_bytes(b"half")
        assert repair.orphans(archive._hot) == left
    with open_archive(tmp_path, write=True) as archive:
        archive.tidy(at(31))
        assert repair.orphans(archive._hot) == []
        assert len(seconds(archive)) == 10


def test_retention_deletes_the_samples_of_old_days_and_keeps_what_is_known_of_them(sealed_days):
    before = [one.encode() for one in sealed_days.days(LEMI, *ALL)]
    files = [file_of(sealed_days, number) for number in range(DAYS)]
    size = sum(path.stat().st_size for path in files[:2])
    assert sealed_days.retain(30, at(32)) == Counter(chunks=2, samples=200, bytes=size)
    assert [path.exists() for path in files] == [False, False, True, True]
    assert sealed_days.span(LEMI) == (at(2), at(3, 99))
    assert seconds(sealed_days)[0] == at(2) // NS
    assert [one.encode() for one in sealed_days.days(LEMI, *ALL)] == before
    assert sealed_days.missing(LEMI, at(0), at(0, 100)) == []  # it was there: nobody asks for it again
    assert sealed_days.add(batch(day(1, 110))) == Counter(retired=110)
    assert sealed_days.counters()[LEMI]["retired"] == 110
    assert hot_rows(sealed_days) == 0
    assert sealed_days.retain(30, at(32)) == Counter()
    assert sealed_days.verify() == []


def test_the_forecast_is_free_space_over_growth(sealed_days, monkeypatch):
    class Usage:
        free = 10_000_000

    monkeypatch.setattr(repair.shutil, "disk_usage", lambda _: Usage)
    sizes = [
        file_of(sealed_days, number).stat().st_size + len(summary.encode())
        for number, summary in enumerate(sealed_days.days(LEMI, *ALL))
    ]
    info = sealed_days.info()
    assert info["disk"]["sealed_bytes"] == sum(sizes)
    assert info["disk"]["full_in_days"] == pytest.approx(10_000_000 / np.mean(sizes))
    assert info["streams"][0]["bytes_per_sample"] == pytest.approx(sum(sizes) / 400)
    assert info["disk"]["hot_bytes"] >= (sealed_days.path / "hot.db").stat().st_size


def run(*arguments):
    done = CliRunner().invoke(app, [str(one) for one in ("archive", *arguments)])
    return done.exit_code, done.stdout


def test_the_command_line_verifies_and_repairs(tmp_path):
    with open_archive(tmp_path, write=True) as archive:
        archive.add(batch(day(0, 100), day(1, 100), metas=METAS))
        archive.seal(at(30))
        file = file_of(archive, 1)
    code, text = run("info", tmp_path, "--verify")
    assert code == 0
    assert "2 days sealed" in text
    assert "all 2 sealed days are as they were written" in text
    file.write_bytes(file.read_bytes()[:50])
    code, text = run("info", tmp_path, "--verify")
    assert code == 1
    assert f"damaged: {file} of 2024-05-11: it has 50 bytes, written were" in text
    code, text = run("info", tmp_path, "--repair", "--json")
    assert code == 0
    told = json.loads(text)
    assert told["repaired"] == {"quarantined": 1, "removed": 0}
    assert told["damaged"][0]["file"] == str(file)
    assert told["disk"]["chunks"] == {"sealed": 1, "old": 0, "damaged": 1, "retired": 0}
    assert "in quarantine: 1 chunks" in run("info", tmp_path, "--verify")[1]


def test_a_running_collector_is_asked_to_repair(sealed_days):
    lengthen(sealed_days, file_of(sealed_days, 3))
    sealed_days.tidy(at(31))
    code, text = run("info", sealed_days.path, "--repair")
    assert code == 0
    assert "a collector has the archive open: it repairs what is damaged within a minute" in text
    assert sealed_days.tidy(at(31, 60)) == Counter(quarantined=1)


def test_the_command_line_deletes_old_days(tmp_path):
    with open_archive(tmp_path, write=True) as archive:
        archive.add(batch(day(0, 100), metas=METAS))
        archive.seal(at(30))
    code, text = run("retain", tmp_path, "--keep-days", 10, "--json")
    assert code == 0
    assert json.loads(text)["samples"] == 100
    assert "deleted 0 days of a stream" in run("retain", tmp_path, "--keep-days", 10)[1]
