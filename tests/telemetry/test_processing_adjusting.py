"""Adjusted data in an archive: a stream of its own, new versions, nothing half-done, nobody asked for it."""

import json
import zlib
from dataclasses import asdict, replace

import msgspec
import numpy as np
import pytest
from commands import failure
from telemetry.observatory import (
    ADJ,
    DAY_NS,
    GP20,
    LEMI,
    NOON,
    NS,
    PIER_NT,
    VECTOR,
    baseline,
    fill,
    raw,
    samples,
    seconds,
    truth,
    values,
)
from typer.testing import CliRunner

from obslab.cli import app
from obslab.errors import ConfigError, NoBaselineError, NoStreamError
from obslab.telemetry.adjusted import delta_f
from obslab.telemetry.archive import seal
from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.baseline import Baselines
from obslab.telemetry.collect import inbox
from obslab.telemetry.collect.choosing import Lacks
from obslab.telemetry.collect.inbox import Outlet, drop, ingest
from obslab.telemetry.collect.news import Tally
from obslab.telemetry.collect.report import Report
from obslab.telemetry.flags import FlagBook
from obslab.telemetry.processing.adjusting import adjust_archive
from obslab.telemetry.processing.merging import chosen, merged
from obslab.telemetry.sample import Stream
from obslab.times import as_ns, from_ns, iso, now_ns

TIME = seconds(600)
# Half a count of 0.001 nT in h and e, turned into x and y, half a count of these, and what the fit leaves.
SAME_NT = 0.0013


@pytest.fixture
def filled(archive):
    fill(archive, TIME)
    return archive


@pytest.fixture
def adjust(filled):
    def adjust(*baselines, **options):
        return adjust_archive(
            filled, options.pop("store", filled.add), "WIC", "lemi036", list(baselines), **options
        )

    return adjust


@pytest.fixture
def book(tmp_path):
    with FlagBook(tmp_path / "flags.db") as book:
        yield book


def flag(book, begin_s, end_s, stream=LEMI, **more):
    times = (NOON + begin_s * NS, NOON + end_s * NS)
    return book.set(stream, *times, author="me", reason="a car", **more)


def adjusted(archive, instrument="lemi036-adj"):
    return archive.dataset("WIC", instrument)


def test_adjusted_samples_lie_in_a_stream_of_their_own_beside_the_raw_ones(filled, adjust):
    before = filled.stored(LEMI, 0, 2**62).bodies
    done = adjust(baseline())
    assert (done.samples, done.new, done.revised, done.missing, done.outside) == (600, 600, 0, 0, 0)
    found = adjusted(filled)
    np.testing.assert_allclose(values(found), truth(TIME), atol=SAME_NT)
    assert filled.stored(LEMI, 0, 2**62).bodies == before
    facts = {
        "publication_level": 2,
        "baseline": baseline().id,
        "orientation": "XYZ",
        "site": VECTOR.site,
        "latitude_deg": VECTOR.latitude_deg,
        "k9_limit_nt": 500.0,
        "samplerate": "sec",
    }
    assert facts.items() <= found.attrs.items()


def test_delta_f_out_of_the_archive_is_zero(filled, adjust):
    adjust(baseline())
    whole = merged(filled, "WIC", "lemi036-adj", "gp20s3")
    found = delta_f(whole, whole, pier_difference_nt=PIER_NT)
    assert found.sizes["time"] == 600
    # The scalar is kept to 0.01 nT.
    np.testing.assert_allclose(found.delta_f.values, 0, atol=0.006)


def test_the_same_again_stores_nothing(filled, adjust):
    adjust(baseline())
    counters = filled.counters()
    done = adjust(baseline(), store=lambda batch: pytest.fail("nothing is new"))
    assert (done.new, done.revised) == (0, 0)
    assert filled.counters() == counters


@pytest.mark.parametrize("sealed", [False, True])
def test_a_new_baseline_makes_new_versions_and_the_old_ones_are_kept(filled, adjust, sealed):
    first, second = baseline(), baseline(more=(2.0, 0.0, -3.0), adopted="2024-06-03")
    adjust(first)
    old = filled.stored(ADJ, 0, 2**62).bodies
    if sealed:
        (day,) = {time // DAY_NS * DAY_NS for time in TIME.tolist()}
        assert seal.seal_day(filled._hot, ADJ, day, NOON + 30 * DAY_NS)
    done = adjust(first, second)
    assert (done.new, done.revised) == (0, 600)
    off = values(adjusted(filled)) - truth(TIME)
    np.testing.assert_allclose(off[:, 2], -3, atol=SAME_NT)
    kept = filled._hot.rows("SELECT body FROM contradiction ORDER BY time_ns")
    assert b"".join(bytes(body) for (body,) in kept) == old
    assert filled.counters()[ADJ]["revised"] == 600
    assert adjusted(filled).attrs["baseline"] == second.id


def test_metadata_say_of_each_time_by_which_baseline_it_was_adjusted(filled, adjust):
    first = baseline()
    adjust(first)
    between = (from_ns(NOON + 200 * NS), from_ns(NOON + 300 * NS))
    second = baseline(*between, more=(1.0, 0.0, 0.0), adopted="2024-06-03")
    adjust(first, second)
    versions = filled.metas(ADJ)
    said = {
        at: next(meta.baseline for meta in reversed(versions) if meta.valid_from_ns <= NOON + at * NS)
        for at in (0, 199, 200, 299, 300, 599)
    }
    assert said == {at: second.id if at in (200, 299) else first.id for at in said}


def test_what_was_not_adjusted_again_keeps_the_word_of_its_baseline(filled, adjust):
    first, second = baseline(), baseline(more=(1.0, 0.0, 0.0), adopted="2024-06-03")
    adjust(first)
    adjust(first, second, begin=from_ns(NOON + 200 * NS), end=from_ns(NOON + 300 * NS))
    edges = [(meta.valid_from_ns - NOON) // NS for meta in filled.metas(ADJ)]
    assert edges == [0, 200, 300]
    assert [meta.baseline for meta in filled.metas(ADJ)] == [first.id, second.id, first.id]
    off = np.abs(values(adjusted(filled)) - truth(TIME)).max(axis=1)
    np.testing.assert_array_equal(off > 0.5, (TIME[200] <= TIME) & (TIME[300] > TIME))


def test_a_sample_that_is_flagged_becomes_missing_and_comes_back_when_the_flag_goes(filled, adjust, book):
    adjust(baseline())
    number = flag(book, 100, 110)
    done = adjust(baseline(), flags=book)
    assert (done.revised, done.missing) == (10, 10)
    missing = np.isnan(values(adjusted(filled))).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(missing), np.arange(100, 110))
    assert adjusted(filled).sizes["time"] == 600
    book.withdraw(number, "me", "no car")
    assert adjust(baseline(), flags=book).revised == 10
    np.testing.assert_allclose(values(adjusted(filled)), truth(TIME), atol=SAME_NT)


def test_one_component_that_is_flagged_leaves_the_others(filled, adjust, book):
    adjust(baseline())
    flag(book, 5, 6, component="z")
    adjust(baseline(), flags=book)
    missing = np.argwhere(np.isnan(values(adjusted(filled))))
    assert missing.tolist() == [[5, 2]]


def test_a_null_from_outside_still_overwrites_nothing(filled, adjust):
    """As IMPF wants it: only what is computed anew is made whole."""
    adjust(baseline())
    nulls = samples(ADJ, filled.metas(ADJ)[0], TIME[:1], [[np.nan, 1.0, np.nan]], revises=True)
    filled.add(Batch(arrivals=[nulls]))
    x, y, z = values(adjusted(filled))[0]
    assert (x, z) == pytest.approx(truth(TIME)[0, [0, 2]], abs=SAME_NT)
    assert y == 1.0


def test_levels_lie_side_by_side(filled, adjust):
    for level, name in ((2, "adj"), (3, "qd"), (4, "def")):
        adjust(baseline(more=(0.0, 0.0, float(level))), level=level)
        found = adjusted(filled, f"lemi036-{name}")
        assert found.attrs["publication_level"] == level
        np.testing.assert_allclose(found.z.values - truth(TIME)[:, 2], level, atol=SAME_NT)


def test_raw_samples_that_are_missing_are_missing_in_adjusted_data(archive):
    read = raw(TIME)
    read[7] = np.nan
    archive.add(Batch(arrivals=[samples(LEMI, VECTOR, TIME, read)], metas={LEMI.meta_topic: (VECTOR,)}))
    assert adjust_archive(archive, archive.add, "WIC", "lemi036", baseline()).missing == 1
    assert np.flatnonzero(np.isnan(adjusted(archive).x.values)).tolist() == [7]


# ---- what is refused


def test_without_a_baseline_for_all_of_it_nothing_is_stored(filled, adjust):
    short = baseline(end=from_ns(NOON + 300 * NS))
    with pytest.raises(
        NoBaselineError, match="no adopted baseline of WIC lemi036 is valid at 2024-05-10T12:05"
    ):
        adjust(short)
    assert ADJ not in filled.streams()
    done = adjust(short, outside="missing")
    assert (done.new, done.outside) == (300, 300)
    with pytest.raises(NoBaselineError):
        adjust(baseline("2023-01-01", "2023-02-01"), outside="missing")


def test_names_that_are_none_are_refused(filled, adjust):
    for station, instrument in (("PEA", "lemi036"), ("WIC", "lemi025"), ("WIC", "gp20s3")):
        with pytest.raises(
            NoStreamError, match=f"no vector stream {station} {instrument}; it has WIC gp20s3 sec"
        ):
            adjust_archive(filled, filled.add, station, instrument, baseline())
    adjust(baseline())
    with pytest.raises(ConfigError, match="is computed from WIC lemi036 sec already"):
        adjust_archive(filled, filled.add, "WIC", "lemi036-adj", baseline())
    with pytest.raises(ConfigError, match="publication level 1 is none of 2"):
        adjust(baseline(), level=1)
    with pytest.raises(NoStreamError, match="no samples in the interval; it has 2024-05-10T12:00:00Z to"):
        adjust(baseline(), begin="2024-05-11")


def test_without_names_the_only_vector_that_was_recorded_is_meant(filled, adjust):
    adjust(baseline())
    assert chosen(filled, None, None, kinds=("vector",)) == LEMI
    fill_other = samples(Stream("PEA", "lemi1"), VECTOR, TIME, raw(TIME))
    filled.add(Batch(arrivals=[fill_other], metas={"pea/lemi1/$meta": (VECTOR,)}))
    with pytest.raises(ConfigError, match="PEA lemi1 sec, WIC lemi036 sec: choose with --station"):
        chosen(filled, None, None, kinds=("vector",))


# ---- by the inbox of a collector


def test_revisions_and_nulls_come_through_the_inbox(filled, adjust, book):
    adjust(baseline())
    flag(book, 100, 110)
    wrong = baseline(more=(0.0, 0.0, 1.0), adopted="2024-06-03")
    done = adjust(wrong, flags=book, store=lambda batch: drop(filled.path, batch, "adjust"))
    assert (done.revised, filled.counters()[ADJ]["revised"]) == (600, 0)
    ((_, tally),) = ingest(filled)
    assert tally == Tally(revised=600, routine=True)
    found = values(adjusted(filled))
    assert np.isnan(found[100:110]).all()
    np.testing.assert_allclose(found[:100, 2] - truth(TIME)[:100, 2], 1, atol=SAME_NT)


def test_inbox_of_the_version_before_is_read(filled, tmp_path, monkeypatch):
    """A part had a topic, a width and columns only; its samples are late, and contradict."""
    later = TIME + 600 * NS
    drop(filled.path, Batch(arrivals=[samples(LEMI, VECTOR, later, raw(later))]))
    (file,) = inbox.waiting(filled.path)
    data = file.read_bytes()[len(inbox._HEAD) : -4]
    source, metas, parts = msgspec.msgpack.decode(data)
    old = inbox._HEAD + msgspec.msgpack.encode([source, metas, [part[:3] for part in parts]])
    file.write_bytes(old + zlib.crc32(old).to_bytes(4, "little"))
    ((_, tally),) = ingest(filled)
    assert (tally.new, tally.routine) == (600, False)
    assert filled.counters()[LEMI]["late"] == 600


def test_samples_that_were_in_time_are_not_late_for_having_come_by_the_inbox(filled):
    later = TIME + 600 * NS
    group = samples(LEMI, VECTOR, later, raw(later))
    group.late[[3, 599]] = True
    drop(filled.path, Batch(arrivals=[group]))
    ingest(filled)
    assert filled.counters()[LEMI]["late"] == 2


def test_outlet_stores_at_once_unless_a_collector_has_the_archive(tmp_path):
    path = tmp_path / "archive"
    with open_archive(path, write=True) as archive:
        fill(archive, TIME)
    outlet = Outlet(path)
    later = TIME + 600 * NS
    outlet(Batch(arrivals=[samples(LEMI, VECTOR, later, raw(later))]))
    with open_archive(path) as archive:
        assert archive.span(LEMI)[1] == later[-1]
    assert outlet.ready()
    with open_archive(path, write=True) as held:
        again = later + 600 * NS
        outlet(Batch(arrivals=[samples(LEMI, VECTOR, again, raw(again))]))
        assert not outlet.ready()
        ingest(held)
        assert outlet.ready()
        assert held.span(LEMI)[1] == again[-1]


def test_what_a_collector_that_ended_left_in_the_inbox_is_stored_by_the_outlet(tmp_path):
    """A collector says that it lives until it ends: for ten seconds more nobody may take its lock."""
    path = tmp_path / "archive"
    with open_archive(path, write=True) as archive:
        fill(archive, TIME)
    said = Report("mqtt://x", True, "", now_ns() / NS, 0.0, 0)
    (path / "collector.json").write_text(json.dumps(asdict(said)))
    outlet, later = Outlet(path), TIME + 600 * NS
    outlet(Batch(arrivals=[samples(LEMI, VECTOR, later, raw(later))]))
    assert not outlet.ready()
    (path / "collector.json").write_text(json.dumps(asdict(replace(said, at_s=said.at_s - 11))))
    assert outlet.ready()
    with open_archive(path) as archive:
        assert archive.span(LEMI)[1] == later[-1]


# ---- derived streams beside others


def test_nobody_is_asked_for_what_derived_streams_lack(filled, adjust):
    """They have an end, and gaps where no baseline is: neither is told unless they are named."""
    adjust(baseline(), end=from_ns(NOON + 100 * NS))
    now = iso(NOON + 7200 * NS)
    assert filled.counters()[ADJ]["late"] == 0  # however long after it was computed
    names = {str(name) for name in filled.gaps(now=now).stream.values}
    assert names == {str(LEMI), str(GP20)}
    assert set(filled.completeness(by="day", now=now).stream.values) == {str(LEMI), str(GP20)}
    assert set(filled.latency(window="all").stream.values) == {str(LEMI), str(GP20)}
    assert set(filled.ages(now=now).stream.values) == {str(LEMI), str(GP20)}
    assert filled.outages(now=now).sizes == filled.outages("WIC", now=now).sizes
    named = filled.gaps("WIC", "lemi036-adj", now=now)
    assert named.sizes["gap"] == 0
    assert filled.completeness("WIC", "lemi036-adj", by="day", now=now).fraction.values.tolist() == [1.0]


def test_a_derived_stream_does_not_keep_a_station_from_being_whole(archive):
    time_ns = np.arange(-60, 1, dtype=np.int64) * NS + now_ns() // NS * NS
    fill(archive, time_ns)
    old = seconds(10)
    archive.add(
        Batch(
            arrivals=[samples(ADJ, VECTOR, old, raw(old))],
            metas={ADJ.meta_topic: (VECTOR,)},
        )
    )
    assert archive.wait_whole("WIC", timeout_s=1.0)


def test_an_exchange_file_fills_the_recorded_stream_though_an_adjusted_one_fits_too(archive):
    fill(archive, TIME)
    adjust_archive(archive, archive.add, "WIC", "lemi036", baseline())
    assert Lacks(archive, (), NOON).streams("WIC", "sec") == [GP20, LEMI]
    assert Lacks(archive, ("lemi036-adj",), NOON).streams("WIC", "sec") == [ADJ]


def test_a_damaged_day_of_adjusted_data_is_made_again(filled, adjust):
    adjust(baseline())
    day = NOON // DAY_NS * DAY_NS
    chunk = seal.seal_day(filled._hot, ADJ, day, NOON + 30 * DAY_NS)
    (filled.path / chunk.file).write_bytes(b"")
    assert filled.repair(NOON + 31 * DAY_NS)["quarantined"] == 1
    assert len(filled.book.holes(ADJ.topic, states=("open",))) == 1
    assert adjust(baseline(), settle=True).new == 600
    assert filled.book.holes(ADJ.topic, states=("open", "asked")) == []


# ---- the command


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "archive"
    with open_archive(path, write=True) as archive:
        fill(archive, TIME)
    Baselines(path / "baselines").adopt(baseline())
    return path


def told(*arguments):
    return CliRunner().invoke(app, ["archive", *map(str, arguments)])


def test_command_adjusts_with_the_baselines_and_flags_of_the_archive(folder):
    with FlagBook(folder) as book:
        flag(book, 100, 110)
    done = told("adjust", folder, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts == {
        "source": "WIC lemi036 sec",
        "stream": "WIC lemi036-adj sec",
        "samples": 600,
        "new": 600,
        "revised": 0,
        "missing": 10,
        "outside": 0,
        "baselines": [baseline().id],
        "in_inbox": False,
    }
    with open_archive(folder) as archive:
        assert np.isnan(adjusted(archive).x.values).sum() == 10
    assert told("adjust", folder).stdout == (
        "WIC lemi036 sec to WIC lemi036-adj sec: 600 samples, 0 new, 10 missing into the archive\n"
    )


def test_command_leaves_it_to_the_collector_that_has_the_archive(folder):
    with open_archive(folder, write=True) as held:
        done = told("adjust", folder, "--day", "2024-05-10", "--level", 4)
        assert done.stdout.endswith("600 new into the inbox of the collector that has the archive open\n")
        ingest(held)
        assert adjusted(held, "lemi036-def").sizes["time"] == 600


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ["--day", "2024-05-11"],
            "WIC lemi036 sec has no samples in the interval; it has 2024-05-10T12:00:00Z",
        ),
        (
            ["--baselines", "elsewhere"],
            "--baselines elsewhere is no folder; `obslab baseline adopt --folder`",
        ),
        (["--station", "PEA"], "has no vector stream PEA; it has WIC gp20s3 sec, WIC lemi036 sec"),
        (["--follow", "--day", "2024-05-10"], "--follow goes on for ever; leave out --day"),
        (["--day", "2024-05-10", "--begin", "2024-05-10"], "--day 2024-05-10 is an interval already"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_command_says_in_one_line_what_is_wrong(folder, arguments, wanted):
    assert wanted in failure("archive", "adjust", folder, *arguments)


def test_command_refuses_a_day_that_the_baseline_does_not_cover(folder):
    with open_archive(folder, write=True) as archive:
        fill(archive, seconds(10, as_ns("2024-06-02")))
    line = failure("archive", "adjust", folder, "--day", "2024-06-02")
    assert "no adopted baseline of WIC lemi036 is valid at 2024-06-02T00:00:00Z" in line
    assert told("adjust", folder).stdout.endswith("into the archive; 10 samples have no baseline\n")
