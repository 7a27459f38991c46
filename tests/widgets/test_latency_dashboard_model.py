"""What a latency dashboard draws, without a browser and without a toolkit."""

from dataclasses import replace

import numpy as np
import pytest
from obslab_widgets import wording
from obslab_widgets.latency_dashboard.answer import ask, nothing, window_for
from obslab_widgets.latency_dashboard.calendar import (
    ENOUGH,
    LESS,
    NOTHING,
    WHOLE,
    calendar,
    hour_at,
    month_at,
)
from obslab_widgets.latency_dashboard.curves import bars, curves, levels, limits, ticks_s
from obslab_widgets.latency_dashboard.instants import interval_of, text_of
from obslab_widgets.latency_dashboard.listing import COLUMNS, PAGE, listing, rows
from obslab_widgets.latency_dashboard.model import frame, status, summary
from obslab_widgets.latency_dashboard.state import Interval, State
from obslab_widgets.latency_dashboard.timeline import timeline
from obslab_widgets.selection import Selection
from widgets.observatory import DAY_NS, GSM, HOUSE, LEMI, NS, fill

from obslab.errors import BadTimeError
from obslab.telemetry.archive.book import Event
from obslab.telemetry.archive.requests import ask as request
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.metrics.datasets import GAPS
from obslab.times import as_ns

HOUR_NS = 3600 * NS
END_NS = as_ns("2024-05-12T00:00:00Z")
# Two hours and a half of the second day, six minutes of the first.
LONG = as_ns("2024-05-11T06:30:00Z"), as_ns("2024-05-11T09:00:00Z")
SHORT = as_ns("2024-05-10T20:30:00Z"), as_ns("2024-05-10T20:36:00Z")
WEEK = State(period_s=604_800.0)
NOW_NS = END_NS + 10 * NS


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    return fill(folder, END_NS, 2.25, streams=(LEMI, HOUSE), missing=(SHORT, LONG), detail="fibre cut")


@pytest.fixture
def archive(path):
    with open_archive(path) as archive:
        yield archive


def answer(archive, state=WEEK, now_ns=NOW_NS):
    return ask(archive, state, now_ns)


def day(begin="2024-05-10"):
    return replace(WEEK, custom=interval_of(begin))


def test_one_stream_has_its_quantiles_and_several_the_latency_that_99_percent_keep(archive):
    one = curves(answer(archive, replace(WEEK, scope="PEA lemi0001 sec")))
    assert [curve.name for curve in one] == ["half within", "90 % within", "99 % within"]
    assert len({curve.dash for curve in one}) == 3
    # 0.3 s of the instrument and 0.3 s, give or take 0.05 s, on the way: the figures of the link model.
    half, most = np.nanmedian(one[0].value_s), np.nanmedian(one[2].value_s)
    assert half == pytest.approx(0.6, abs=0.03) and most == pytest.approx(0.6 + 2.33 * 0.05, abs=0.05)
    several = curves(answer(archive))
    assert [curve.name for curve in several] == ["PEA house min", "PEA lemi0001 sec"]


def test_lines_break_where_no_sample_came_and_a_lone_window_is_a_dot(archive):
    state = replace(day("2024-05-11"), scope="PEA lemi0001 sec")
    curve = curves(answer(archive, state))[0]
    inside = (curve.time_ms * 1e6 > LONG[0]) & (curve.time_ms * 1e6 < LONG[1])
    assert np.isnan(curve.value_s).sum() == 1 and not np.isfinite(curve.value_s[inside]).any()
    assert not np.isfinite(curve.lone_s).any()


def test_targets_are_those_of_the_streams_and_the_delay_that_of_one_instrument():
    assert [(level.at_s, level.name) for level in levels((LEMI, HOUSE), 0.3)] == [
        (30.0, "target for 1 s data: 30 s"),
        (120.0, "target for 1 min data: 2 min"),
    ]
    assert levels((LEMI,), 0.3)[-1].name == "known delay of the instrument: 0.30 s"
    assert levels((LEMI,), 0.0) == levels((GSM,), 0.0)


def test_axes_hold_all_that_is_drawn(archive):
    drawn = frame(answer(archive))
    values = np.concatenate([curve.y_s for curve in drawn.curves])
    assert drawn.low_s < np.nanmin(values) and np.nanmax(values) < drawn.high_s
    assert drawn.low_s <= drawn.bars.low_s[0] and drawn.bars.high_s[-1] <= drawn.high_s
    assert all(drawn.low_s < level.at_s < drawn.high_s for level in drawn.levels)


def test_axes_of_an_empty_archive_are_there(tmp_path):
    open_archive(tmp_path, write=True).close()
    with open_archive(tmp_path) as archive:
        known = answer(archive)
        drawn = frame(known)
        assert (drawn.low_s, drawn.high_s) == limits((), (), bars(known.histogram)) == (0.01, 100.0)
        assert drawn.titles[0] == "Latency: no stream has come yet" and drawn.table is None
        level, text = status(known, NOW_NS)
        assert level == "off" and "`obslab collect`" in text
        assert summary(known) == "no streams yet"


def test_what_is_computing_says_so():
    assert frame(nothing(State(), NOW_NS), computing=True).titles[0] == "Latency: computing ..."


def test_the_distribution_has_every_sample_once(archive):
    known = answer(archive, replace(WEEK, scope="PEA lemi0001 sec"))
    assert bars(known.histogram).n.sum() == known.latency.n.values.sum()


def test_the_distribution_of_a_marked_minute_has_its_samples(archive):
    begin_ns = as_ns("2024-05-10T05:10:30Z")
    marked = Selection("PEA", begin_ns, begin_ns + 60 * NS)
    known = answer(archive, replace(day(), scope="PEA lemi0001 sec", selection=marked))
    assert bars(known.histogram).n.sum() == 60


def test_written_latencies_are_apart():
    assert ticks_s(0.1, 100.0, 0.1) == [0.1, 1.0, 10.0, 60.0]
    chosen = np.log10(ticks_s(0.001, 1e6, 0.14)) / 9
    assert np.diff(chosen).min() >= 0.14


def test_the_calendar_tells_hours_by_the_90_percent_rule(archive):
    shown = calendar(answer(archive, replace(WEEK, scope="PEA lemi0001 sec")))
    level = {
        (round(day_ms / 86_400_000) * 24 + int(hour)): kind
        for hour, day_ms, kind in zip(shown.hour, shown.day_ms, shown.level, strict=True)
    }
    first = as_ns("2024-05-11") // HOUR_NS
    assert [level[first + hour] for hour in (5, 6, 7, 8, 9)] == [WHOLE, LESS, NOTHING, NOTHING, WHOLE]
    # 6 of 60 minutes missing is exactly 90 %, which is enough.
    assert level[as_ns("2024-05-10T20:00Z") // HOUR_NS] == ENOUGH
    # Before the first sample nothing is expected.
    assert min(level) == as_ns("2024-05-09T18:00Z") // HOUR_NS


def test_of_several_streams_the_least_complete_is_named(archive):
    known = answer(archive)
    shown = calendar(known)
    place = np.flatnonzero((shown.day_ms == as_ns("2024-05-11") / 1e6) & (shown.hour == 6.5))[0]
    assert shown.percent[place] == pytest.approx(50.0, abs=0.1)
    assert shown.least[place] in ("least: PEA lemi0001 sec", "least: PEA house min")
    assert shown.expected[place] == 3660


def test_a_click_on_the_calendar_finds_the_hour_it_is_in():
    midnight_ms = as_ns("2024-05-11") / 1e6
    assert hour_at(6.2, midnight_ms + 3e6) == interval_of("2024-05-11T06")
    assert hour_at(6.99, midnight_ms - 40e6) == interval_of("2024-05-11T06")
    assert hour_at(24.2, midnight_ms) is None
    assert month_at(midnight_ms) == interval_of("2024-05-01/2024-06-01")


def test_hours_that_are_marked_are_outlined(archive):
    begin_ns = as_ns("2024-05-10T22:30Z")
    state = replace(WEEK, selection=Selection("PEA", begin_ns, begin_ns + 2 * HOUR_NS))
    hour, day_ms = calendar(answer(archive, state)).marked
    marks = [
        f"{np.datetime64(round(ms), 'ms').astype('datetime64[D]')} {h - 0.5:g}"
        for h, ms in zip(hour, day_ms, strict=True)
    ]
    assert marks == ["2024-05-10 22", "2024-05-10 23", "2024-05-11 0"]


def test_the_list_has_each_gap_with_its_samples_and_its_cause(archive):
    found = listing(answer(archive, replace(WEEK, scope="PEA lemi0001 sec"))).gaps
    assert [(gap.begin_ns, gap.end_ns, gap.lost) for gap in found] == [(*LONG, 9000), (*SHORT, 360)]
    assert {gap.cause for gap in found} == {"link"} and all(gap.can_ask for gap in found)
    (first, _) = rows(found)
    assert dict(zip(COLUMNS, first, strict=True)) == {
        "Stream": "PEA lemi0001 sec",
        "Begin (UTC)": "2024-05-11 06:30:00",
        "End (UTC)": "2024-05-11 09:00:00",
        "Length": "2 h 30 min",
        "Lost": 9000,
        "Cause": "link",
        "State": "open",
        "Backfill": {
            "button": "Backfill",
            "name": f"fill pea/lemi0001/sec {LONG[0]} {LONG[1]}",
            "label": "Backfill PEA lemi0001 sec from 2024-05-11 06:30:00 to 2024-05-11 09:00:00",
        },
    }


def test_a_marked_time_lists_the_gaps_that_touch_it(archive):
    marked = Selection("PEA", SHORT[1] - NS, SHORT[1] + NS)
    found = listing(answer(archive, replace(WEEK, selection=marked)))
    assert [gap.begin_ns for gap in found.gaps] == [SHORT[0]] * 2 and found.word.startswith("2 gaps")


def test_a_long_list_is_turned_by_pages_and_sorted_by_length(archive):
    known = answer(archive)
    begin_ns = END_NS - np.arange(30) * HOUR_NS
    length_s = np.arange(1.0, 31.0)
    many = GAPS.build(
        stream=np.full(30, "PEA lemi0001 sec"),
        begin=begin_ns.astype("datetime64[ns]"),
        end=(begin_ns + (length_s * NS).astype(np.int64)).astype("datetime64[ns]"),
        duration_s=length_s,
        lost=length_s.astype(np.int64),
        cause=np.full(30, "unknown"),
        state=np.full(30, "open"),
    )
    known = replace(known, gaps=many, inner=Interval(begin_ns[-1], END_NS + HOUR_NS))
    assert listing(known).gaps[0].begin_ns == END_NS and listing(known).pages == 3
    longest = replace(known, state=replace(known.state, order="longest", page=9))
    assert [gap.lost for gap in listing(longest).gaps] == [6, 5, 4, 3, 2, 1] and listing(longest).page == 2
    assert len(listing(known).gaps) == PAGE


def test_a_backfill_shows_who_has_it_and_how_far_it_is(tmp_path):
    fill(tmp_path, END_NS, 1.25, missing=(LONG,))
    state = replace(WEEK, custom=interval_of("2024-05-11"))

    def line():
        with open_archive(tmp_path) as archive:
            (gap,) = listing(ask(archive, state, NOW_NS)).gaps
        return gap.state, gap.done

    assert line() == ("open", None)
    request(tmp_path, LEMI.topic, *LONG)
    assert line() == ("requested", 0.0)
    with open_archive(tmp_path, write=True) as archive:
        hole = archive.book.add_hole(LEMI.topic, *LONG, "asked for", NOW_NS, again=True)
        assert line() == ("waits for its station", 0.0)
        archive.book.set_hole(hole, NOW_NS, state="asked", filled=1000)
        assert line() == ("being filled, 10 %", pytest.approx(0.1))
        archive.book.set_hole(hole, NOW_NS, state="filled", filled=9000)
    with open_archive(tmp_path) as archive:
        states = [gap.state for gap in listing(ask(archive, state, NOW_NS)).gaps]
        assert "filled, 9,000 came" in states
        later = [gap.state for gap in listing(ask(archive, state, NOW_NS + HOUR_NS)).gaps]
        assert "filled, 9,000 came" not in later


def test_requests_that_nobody_takes_are_told(tmp_path):
    fill(tmp_path, END_NS, 0.5)
    file = request(tmp_path, LEMI.topic, *LONG)
    asked_ns = int(file.name.split("-")[0])
    with open_archive(tmp_path) as archive:
        assert "nobody takes" not in status(ask(archive, WEEK, asked_ns + NS), asked_ns + NS)[1]
        level, text = status(ask(archive, WEEK, asked_ns + 60 * NS), asked_ns + 60 * NS)
        assert level == "off" and "nobody takes 1 request: is `obslab collect` running?" in text


def test_the_timeline_has_a_row_for_each_stream_and_link_and_says_why(archive):
    shown = timeline(answer(archive))
    assert shown.rows == ("PEA house min", "PEA lemi0001 sec", "link PEA lemi0001")
    link = [bar for bar in shown.bars if bar.row == "link PEA lemi0001"]
    assert [(round(bar.begin_ms * 1e6), round(bar.end_ms * 1e6)) for bar in link] == [SHORT, LONG]
    assert {bar.told for bar in link} == {"6 min: fibre cut", "2 h 30 min: fibre cut"}
    lemi = [bar for bar in shown.bars if bar.row == "PEA lemi0001 sec" and bar.end_ms - bar.begin_ms > 60_000]
    assert [round(bar.begin_ms * 1e6) for bar in lemi] == [SHORT[0], LONG[0]]
    assert shown.causes == ("link",)


def test_a_collector_a_bridge_and_a_driver_that_went_down_have_rows_of_their_own(archive):
    at_ns = as_ns("2024-05-10T12:00Z")
    events = tuple(
        Event(at_ns + place * NS, kind, name, False)
        for place, (kind, name) in enumerate(
            [("broker", "main"), ("bridge", "bridge-pea"), ("driver", "PEA lemi0001")]
        )
    )
    shown = timeline(replace(answer(archive), events=events))
    assert shown.rows[2:] == (
        "link PEA lemi0001",
        "bridge bridge-pea",
        "collector main",
        "driver PEA lemi0001",
    )
    told = {
        bar.row: (bar.cause, bar.told.endswith("still down"))
        for bar in shown.bars
        if bar.row in shown.rows[3:]
    }
    assert told == {
        "bridge bridge-pea": ("bridge", True),
        "collector main": ("broker", True),
        "driver PEA lemi0001": ("station", True),
    }


def test_other_stations_links_are_not_shown(archive):
    events = (Event(END_NS - HOUR_NS, "link", "WIC lemi036", False),)
    assert "link WIC lemi036" not in timeline(replace(answer(archive), events=events)).rows


def test_outages_too_close_to_tell_apart_are_one_bar_that_says_how_many(archive):
    known = answer(archive)
    begin_ns = as_ns("2024-05-10T12:00Z")
    events = tuple(
        Event(begin_ns + place * NS, "link", "PEA lemi0001", bool(place % 2)) for place in range(40)
    )
    bars_ = [bar for bar in timeline(replace(known, events=events)).bars if bar.row == "link PEA lemi0001"]
    assert [bar.told for bar in bars_] == ["20 outages close together"]
    assert round((bars_[0].end_ms - bars_[0].begin_ms) / 1e3) == 39


def test_ages_are_told_against_targets(archive):
    known = answer(archive, now_ns=END_NS + 10 * NS)
    level, text = status(known, END_NS + 10 * NS)
    assert level == "ok" and text.startswith("all streams within their target")
    # The answer is old news: ages grow until the next one.
    level, text = status(known, END_NS + 50 * NS)
    assert level == "off" and "PEA lemi0001 sec is 51.0 s old (target 30.0 s)" in text
    assert "1 of 2 streams within their target" in text


def test_windows_are_fine_for_a_day_and_few_for_a_year():
    def windows(length_s, streams=(LEMI,)):
        window_s, exact = window_for(Interval(0, round(length_s * NS)), streams)
        return window_s, exact, length_s / window_s

    assert windows(3600) == (60.0, True, 60)
    assert windows(86_400) == (600.0, True, 144)
    assert windows(86_400, (LEMI, GSM, LEMI))[:2] == (3600.0, False)
    assert all(windows(days * 86_400)[2] <= 400 for days in (2, 7, 30, 90, 365))
    assert windows(365 * 86_400)[1] is False


def test_summary_is_the_same_while_nothing_changes(archive):
    state = replace(WEEK, custom=interval_of("2024-05-10/2024-05-12"))
    first, later = (summary(ask(archive, state, NOW_NS + late * NS)) for late in (0, 7200))
    assert first == later
    assert first.splitlines()[0] == "PEA: all streams, 2024-05-10T00:00:00Z to 2024-05-12T00:00:00Z"
    # 2 h 36 min of seconds and of minutes.
    assert "4 gaps, 9,516 samples missing" in first


@pytest.mark.parametrize(
    ("text", "begin", "length_ns"),
    [
        ("2024-05-10", "2024-05-10", DAY_NS),
        (" 2024-05-10T07 ", "2024-05-10T07:00Z", HOUR_NS),
        ("2024-05-10 07:30/2024-05-10T08:00:30Z", "2024-05-10T07:30Z", 1830 * NS),
        ("2024-05-10/2024-05-12", "2024-05-10", 2 * DAY_NS),
    ],
)
def test_intervals_are_written_as_people_do_and_read_again(text, begin, length_ns):
    interval = interval_of(text)
    assert (interval.begin_ns, interval.end_ns - interval.begin_ns) == (as_ns(begin), length_ns)
    assert interval_of(text_of(interval)) == interval


@pytest.mark.parametrize("text", ["yesterday", "2024-05-10T07:30", "2024-05-10/2024-05-09", "2024-13-01"])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(BadTimeError, match=r"."):
        interval_of(text)


def test_latencies_and_counts_in_words():
    found = [wording.latency(late_s) for late_s in (-0.004, 0.0123, 0.41, 5.2, 75.0, 200.0)]
    assert found == ["-4 ms", "12 ms", "0.41 s", "5.20 s", "75.0 s", "3 min 20 s"]
    assert [wording.count(n, "gap") for n in (0, 1, 3600)] == ["0 gaps", "1 gap", "3,600 gaps"]
