"""The metrics as one asks an archive for them: in Python and on the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from telemetry.makers import GSM, LEMI, NS, T0_S, arrivals, batch, scalar_meta, vector_meta
from typer.testing import CliRunner

from obslab.cli import archive as archive_commands
from obslab.errors import ConfigError, NoStreamError
from obslab.telemetry import protocol
from obslab.telemetry.archive.batch import Refusal
from obslab.telemetry.archive.book import ClockReading, Event
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.metrics import measures as module
from obslab.telemetry.metrics.measures import Measures, window_seconds
from obslab.telemetry.sample import Clock, Stream, as_datetime

BEGIN_S = T0_S // 3600 * 3600  # 2024-05-10T17:00Z
NOW = (BEGIN_S + 2000) * NS
LATENCY_S = 0.5


@pytest.fixture
def folder(tmp_path):
    """Half an hour of two instruments, the first without 17:10:00 to 17:11:40, while its link was down."""
    path = tmp_path / "archive"
    seconds = BEGIN_S + np.arange(1800)
    with open_archive(path, write=True) as archive:
        metas = {LEMI.meta_topic: (vector_meta(delay_s=0.3),), GSM.meta_topic: (scalar_meta(),)}
        there = seconds[(seconds < BEGIN_S + 600) | (seconds >= BEGIN_S + 700)]
        groups = []
        for stream, those, width in ((LEMI, there, 12), (GSM, seconds, 4)):
            one = arrivals(those.tolist(), [bytes(width)] * those.size, stream=stream)
            groups.append(replace(one, arrival_ns=one.time_ns + round(LATENCY_S * NS)))
        archive.add(batch(*groups, metas=metas))
        for at_s, up in ((600, False), (700, True)):
            archive.book.note(Event((BEGIN_S + at_s) * NS, "link", "PEA board", up))
        status = protocol.Status(journal="j", streams=(LEMI.topic,))
        archive.book.keep_unit("PEA board", "j", protocol.encode(status), NOW)
        archive.book.add_clock(ClockReading("PEA board", BEGIN_S * NS, 0.02, 0.6))
        archive.book.add_clock(ClockReading("ABC other", BEGIN_S * NS, 0.5, 0.6))
    return path


@pytest.fixture
def archive(folder):
    with open_archive(folder) as opened:
        yield opened


def asked(archive, *names, now=NOW, **options):
    return Measures(archive, *names, now=now, **options)


def test_gap_of_an_archive_has_the_cause_that_its_book_tells(archive):
    found = asked(archive).gaps()
    rows = zip(found.stream.values, found.lost.values, found.cause.values, strict=True)
    # Of what is younger than 30 s nothing is said; since 17:30 nothing came of either.
    silent = 2000 - 1800 - 30
    assert list(rows) == [
        ("PEA gsm0001 sec", silent, "unknown"),
        ("PEA lemi0001 sec", 100, "link"),
        ("PEA lemi0001 sec", silent, "unknown"),
    ]


def test_gap_of_rejected_messages_says_so(folder):
    came = [(BEGIN_S + 600 + second) * NS for second in range(100)]
    with open_archive(folder, write=True) as archive:
        refusals = [Refusal(at_ns, GSM.topic, bytes([n]), "9 bytes") for n, at_ns in enumerate(came)]
        refusals += [Refusal(at_ns, LEMI.topic, bytes([n]), "9 bytes") for n, at_ns in enumerate(came)]
        archive.add(batch(refusals=refusals))
        found = asked(archive, "PEA", "lemi0001", end=(BEGIN_S + 1800) * NS).gaps()
    assert found.cause.values.tolist() == ["rejected"]


def test_latency_in_windows_of_summaries_and_of_samples(archive):
    hour = asked(archive, "pea", "lemi0001").latency()
    assert hour.n.values.tolist() == [1700]
    assert hour.mean_s.values == pytest.approx([LATENCY_S])
    assert hour.transport_p50_s.values == pytest.approx([0.2], rel=0.02)
    minutes = asked(archive, "PEA", "lemi0001").latency("10min")
    assert minutes.n.values.tolist() == [600, 500, 600]
    assert minutes.p99_s.values == pytest.approx([LATENCY_S] * 3)
    whole = asked(archive).latency("all", exact=True)
    assert whole.n.values.tolist() == [1800, 1700]
    assert asked(archive).distribution().n.values.sum() == 3500


def test_completeness_outages_and_losses_of_an_archive(archive):
    end = (BEGIN_S + 1800) * NS
    found = asked(archive, instrument="lemi0001", end=end).completeness("minute")
    assert found.present.values.sum() == 1700
    assert (~found.ok.values).nonzero()[0].tolist() == [10, 11]
    out = asked(archive, end=end).outages()
    assert (out.lost.values.tolist(), out.cause.values.tolist()) == ([100], ["link"])
    assert out.duration_s.values == pytest.approx([100.5])
    assert asked(archive, end=end).losses().losses.values.tolist() == [0, 1]
    assert asked(archive, end=end).losses(at_least_s=101).losses.values.tolist() == [0, 0]


def test_clocks_and_ages_of_an_archive(archive):
    assert asked(archive).clocks().unit.values.tolist() == ["PEA board"]
    assert asked(archive, begin=BEGIN_S * NS + 1).clocks().sizes["reading"] == 0
    ages = asked(archive).ages()
    assert ages.age_s.values.tolist() == [201.0, 201.0]
    assert not ages.ok.values.any()
    assert asked(archive, now=(BEGIN_S + 1810) * NS).ages().ok.values.all()


def test_replaying_station_is_asked_for_its_own_present(tmp_path):
    wall_s = T0_S + 900 * 86_400
    clock = Clock(as_datetime(BEGIN_S * NS), as_datetime(wall_s * NS), 10.0)
    with open_archive(tmp_path, write=True) as archive:
        one = arrivals([BEGIN_S + n for n in range(100)], stream=LEMI, arrival_ns=wall_s * NS)
        archive.add(batch(one, metas={LEMI.meta_topic: (vector_meta(clock=clock),)}))
        measures = asked(archive, now=(wall_s + 20) * NS)
        assert measures.gaps().lost.values.tolist() == [200 - 100 - 30]
        assert measures.ages().age_s.values.tolist() == [101.0]


def test_days_whose_samples_were_deleted_are_still_told_of(tmp_path):
    minute = Stream("PEA", "lemi0001", "min")
    day_s = BEGIN_S // 86_400 * 86_400
    now_ns = (day_s + 10 * 86_400) * NS
    seconds = [day_s + 60 * n for n in range(3 * 1440) if n not in range(500, 520)]
    with open_archive(tmp_path, write=True) as archive:
        one = arrivals(seconds, stream=minute)
        one = replace(one, arrival_ns=one.time_ns + NS)
        archive.add(batch(one, metas={minute.meta_topic: (vector_meta(),)}))
        assert archive.seal(now_ns, after_days=1.0, settle_s=0.0) == 3
        assert archive.retain(8.0, now_ns)["chunks"] == 2
        for begin in (None, day_s * NS):
            measures = asked(archive, begin=begin, end=(day_s + 3 * 86_400) * NS, now=now_ns)
            assert measures.gaps().lost.values.tolist() == [20]
            assert measures.completeness("day").present.values.tolist() == [1420, 1440, 1440]
            assert measures.latency("1d").n.values.tolist() == [1420, 1440, 1440]
        archive.retain(1.0, now_ns)  # now there is no sample left at all
        measures = asked(archive, end=(day_s + 3 * 86_400) * NS, now=now_ns)
        assert measures.gaps().lost.values.tolist() == [20]


def test_empty_archive_answers_with_empty_tables(tmp_path):
    with open_archive(tmp_path, write=True) as archive:
        measures = asked(archive)
        for table in (measures.latency(), measures.latency("1min"), measures.gaps(), measures.outages(),
                      measures.completeness(), measures.losses(), measures.clocks(), measures.ages(),
                      measures.distribution()):  # fmt: skip
            assert set(table.sizes.values()) == {0}


def test_stream_that_is_not_there_is_told_with_those_that_are(archive):
    with pytest.raises(NoStreamError, match="no stream PEA nosuch; it has PEA gsm0001 sec, PEA lemi0001 sec"):
        asked(archive, "PEA", "nosuch")


def test_exact_latency_is_read_day_by_day(archive, monkeypatch):
    spans = []
    stored = type(archive).stored

    def noted(self, stream, begin_ns, end_ns):
        spans.append((end_ns - begin_ns) / NS)
        return stored(self, stream, begin_ns, end_ns)

    monkeypatch.setattr(type(archive), "stored", noted)
    measures = asked(archive, "PEA", "gsm0001", begin=(BEGIN_S - 2 * 86_400) * NS)
    assert measures.latency("30min").n.values.tolist() == [1800]
    assert max(spans) <= 86_400
    assert len(spans) == 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30.0), ("10min", 600.0), ("1h", 3600.0), ("1.5 h", 5400.0), ("7d", 604_800.0), (60, 60.0)],
)
def test_window_is_read_as_people_write_it(text, seconds):
    assert window_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1 week", "0s", "-1h", -5.0, float("nan"), "1e99h"])
def test_window_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="none such as"):
        window_seconds(text)


# ---- the command line

RUNNER = CliRunner()


def run(folder, command, *options):
    done = RUNNER.invoke(archive_commands.app, [command, str(folder), *options])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


HALF = ("--end", "2024-05-10T17:30:00Z")


def test_command_gaps_prints_a_table_and_json(folder):
    head, *lines = run(folder, "gaps", *HALF).splitlines()
    assert head.split() == ["stream", "begin", "end", "duration_s", "lost", "cause", "state"]
    assert [line.split()[3:] for line in lines] == [
        ["2024-05-10T17:10:00Z", "2024-05-10T17:11:40Z", "100", "100", "link", "open"]
    ]
    (row,) = json.loads(run(folder, "gaps", *HALF, "--json"))
    assert row == {
        "stream": "PEA lemi0001 sec",
        "begin": "2024-05-10T17:10:00Z",
        "end": "2024-05-10T17:11:40Z",
        "duration_s": 100.0,
        "lost": 100,
        "cause": "link",
        "state": "open",
    }


def test_command_latency_tells_the_split_into_delay_and_transport(folder):
    (row,) = json.loads(run(folder, "latency", "--instrument", "lemi0001", "--day", "2024-05-10", "--json"))
    assert (row["n"], row["delay_s"], row["within_target"]) == (1700, 0.3, 1.0)
    assert row["mean_s"] == pytest.approx(0.5)
    exact = json.loads(run(folder, "latency", "--window", "10min", "--exact", "--json"))
    assert [one["n"] for one in exact] == [600] * 3 + [600, 500, 600]


def test_command_completeness_and_outages(folder):
    rows = json.loads(run(folder, "completeness", "--by", "hour", *HALF, "--json"))
    assert [(row["expected"], row["present"], row["ok"]) for row in rows] == [
        (1800, 1800, True), (1800, 1700, True)
    ]  # fmt: skip
    assert "yes" in run(folder, "completeness", *HALF)
    (row,) = json.loads(run(folder, "outages", *HALF, "--json"))
    assert (row["lost"], row["end"]) == (100, "2024-05-10T17:11:40.5Z".replace(".5Z", ".500Z"))
    by_month = json.loads(run(folder, "outages", "--by-month", *HALF, "--json"))
    assert [(one["stream"], one["losses"]) for one in by_month] == [
        ("PEA gsm0001 sec", 0), ("PEA lemi0001 sec", 1)
    ]  # fmt: skip


def test_command_says_none_when_nothing_is_missing(folder):
    assert run(folder, "gaps", "--instrument", "gsm0001", *HALF) == "none\n"


def test_what_has_no_end_yet_is_null_in_json(folder, monkeypatch):
    monkeypatch.setattr(module, "now_ns", lambda: NOW)
    rows = json.loads(run(folder, "outages", "--instrument", "gsm0001", "--json"))
    assert [(row["end"], row["duration_s"]) for row in rows] == [(None, None)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--day", "2024-05-10", "--end", "2024-05-11"), "leave out --begin and --end"),
        (("--begin", "2024-05-11", "--end", "2024-05-10"), "is not before"),
    ],
)
def test_interval_that_makes_no_sense_is_refused(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        run(folder, "gaps", *options)


def test_unknown_interval_of_completeness_is_refused(folder):
    with pytest.raises(ConfigError, match="none of minute, hour, day, month"):
        run(folder, "completeness", "--by", "week")
