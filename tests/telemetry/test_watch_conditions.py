"""Rules judged by snapshots, and alarms over simulated time."""

import json
import math
from dataclasses import replace

import pytest
from telemetry.makers import GSM, LEMI, NS, T0_S

from obslab.telemetry.archive.book import ClockReading, Event, Hole
from obslab.telemetry.collect.report import Report
from obslab.telemetry.protocol import Status
from obslab.telemetry.sample import Stream
from obslab.telemetry.watch.alarms import advance
from obslab.telemetry.watch.conditions import Finding, judge
from obslab.telemetry.watch.notice import span
from obslab.telemetry.watch.rules import (
    Clock,
    Collector,
    DeltaF,
    Disk,
    Gap,
    Link,
    Rule,
    Stale,
    Temperature,
    Trouble,
    Value,
)
from obslab.telemetry.watch.snapshot import Difference, Newest, Snapshot, UnitNow

T0_NS = T0_S * NS
HK = Stream("PEA", "lemi0001-hk", "min")
ADJ = Stream("PEA", "lemi0001-adj")
EMPTY = Snapshot(T0_NS)


def newest(stream, age_s, **more):
    return Newest(stream, T0_NS - round(age_s * NS), T0_NS, **more)


def bad(rule, snapshot, standing=frozenset()):
    """What the rule says of each subject."""
    return {finding.subject: finding.bad for finding in judge(rule, snapshot, standing)}


def hole(minutes, state="open", changed_s=0, topic=LEMI.topic):
    return Hole(1, topic, T0_NS, T0_NS + minutes * 60 * NS, state, "not received", 0, T0_NS - changed_s * NS)


def unit(**status):
    return UnitNow("PEA lemi0001", Status(journal="j", **status), T0_NS - 3600 * NS)


# ---- conditions


def test_stale_is_measured_against_intermagnets_targets_and_one_cadence():
    rule = Stale(name="stale")
    for stream, fine_s, late_s in [
        (LEMI, 30.9, 31.1),
        (HK, 179, 181),
        (Stream("PEA", "a", "10hz"), 30, 30.2),
    ]:
        assert bad(rule, replace(EMPTY, streams=(newest(stream, fine_s),))) == {stream.topic: False}
        assert bad(rule, replace(EMPTY, streams=(newest(stream, late_s),))) == {stream.topic: True}


def test_stale_is_measured_by_the_stations_clock():
    at_a_day_later = Newest(LEMI, T0_NS - 86_400 * NS, T0_NS - 86_400 * NS)
    assert bad(Stale(name="stale"), replace(EMPTY, streams=(at_a_day_later,))) == {LEMI.topic: False}


def test_stale_says_of_a_stream_by_name_that_it_never_came():
    rule = Stale(name="stale", streams=("pea/gsm0001/sec", "pea/lemi0001/sec"), after_s=60)
    assert bad(rule, replace(EMPTY, streams=(newest(LEMI, 1),))) == {GSM.topic: True, LEMI.topic: False}


@pytest.mark.parametrize(
    ("newest_at", "now", "stale"),
    [
        ("09:00", "11:29", False),  # the sample due at 11:00 may come until 11:30
        ("09:00", "11:31", True),
        ("10:40", "11:31", False),  # half an hour before is within the tolerance
        ("11:10", "13:59", False),
        ("11:10", "23:00", True),  # nothing came of what was due at 14:00
    ],
)
def test_an_irregular_stream_is_stale_when_its_schedule_was_not_kept(newest_at, now, stale):
    def at(clock):
        return T0_NS // (86_400 * NS) * 86_400 * NS + (int(clock[:2]) * 60 + int(clock[3:])) * 60 * NS

    stream = Stream("PEA", "di", "abs")
    one = Newest(stream, at(newest_at), at(now), schedule=("09:00", "11:00", "14:00"), tolerance_s=1800)
    assert bad(Stale(name="stale"), replace(EMPTY, streams=(one,))) == {stream.topic: stale}


def test_an_irregular_stream_without_schedule_is_never_stale_by_itself():
    one = newest(Stream("PEA", "di", "abs"), 1e6)
    assert bad(Stale(name="stale"), replace(EMPTY, streams=(one,))) == {}
    assert bad(Stale(name="stale", after_s=10), replace(EMPTY, streams=(one,))) == {"pea/di/abs": True}


def test_what_is_computed_of_other_streams_is_stale_only_when_its_instrument_is_named():
    """Definitive data end with the year they were made for; adjusted ones are followed, or not."""
    now = replace(EMPTY, streams=(newest(LEMI, 1), newest(ADJ, 1e6)))
    assert bad(Stale(name="stale"), now) == {LEMI.topic: False}
    assert bad(Stale(name="stale", streams=("pea/+/sec",)), now) == {LEMI.topic: False}
    assert bad(Stale(name="stale", streams=("pea/lemi0001-adj/#",)), now) == {ADJ.topic: True}


def test_delta_f_is_judged_by_its_size_and_by_its_change():
    rule = DeltaF(name="df", vector=ADJ.topic, scalar=GSM.topic, above_nt=3, change_nt=1)
    size, change = f"{ADJ.topic} delta-F", f"{ADJ.topic} change of delta-F"

    def found(*medians, standing=frozenset()):
        return bad(rule, replace(EMPTY, differences={"df": Difference(*medians)}), standing)

    assert found(2.9, 2.0) == {size: False, change: False}
    assert found(-3.1, -3.0) == {size: True, change: False}
    assert found(0.6, -0.6) == {size: False, change: True}
    assert found(2.9, 2.0, standing={size}) == {size: True, change: False}  # well again 10 % below the limit
    assert found(2.0, math.nan) == {size: False, change: None}
    assert found() == {size: None, change: None}
    assert judge(rule, replace(EMPTY, differences=None)) is None
    (finding,) = judge(rule, replace(EMPTY, differences={"df": Difference(why="no stream")}))
    assert finding.bad
    assert finding.text == "delta-F of pea/gsm0001/sec less pea/lemi0001-adj/sec: no stream"


def test_gaps_are_told_by_stream_when_long_and_lost_ones_for_a_day():
    rule = Gap(name="gap", longer_than_s=120)
    assert bad(rule, replace(EMPTY, holes=(hole(1), hole(1, topic=GSM.topic)))) == {}
    two = (hole(5, "asked"), hole(60, "lost", changed_s=3600))
    (finding,) = judge(rule, replace(EMPTY, holes=two))
    assert finding.bad
    assert finding.text == (
        "pea/lemi0001/sec: 2 gaps, the longest of 1 h from 2024-05-10T17:05:00Z; 1 of 2 lost at source"
    )
    assert finding.facts["longest_s"] == 3600
    assert bad(rule, replace(EMPTY, holes=(hole(60, "lost", changed_s=90_000),))) == {}


def test_disk_and_journal_have_limits_and_some_way_back():
    rule = Disk(name="disk", archive_below_gb=5, unit_below_gb=1, journal_above=1000)
    now = replace(
        EMPTY, disk_free_bytes=5_100_000_000, units=(unit(disk_free_bytes=900_000_000, journal_entries=950),)
    )
    subjects = ("archive disk", "PEA lemi0001 disk", "PEA lemi0001 journal")
    assert bad(rule, now) == dict(zip(subjects, (False, True, False), strict=True))
    # Standing, 10 % more is wanted before it is well: 5.5 GB, 909 entries.
    assert bad(rule, now, set(subjects)) == dict(zip(subjects, (True, True, True), strict=True))


def test_a_unit_that_is_gone_says_nothing_of_its_journal_and_its_trouble():
    gone = replace(EMPTY, units=(unit(online=False),))
    assert bad(Disk(name="d", journal_above=10), gone) == {"PEA lemi0001 journal": None}
    assert bad(Trouble(name="t"), gone) == {"PEA lemi0001": None}


def test_trouble_is_what_the_unit_says():
    assert bad(Trouble(name="t"), replace(EMPTY, units=(unit(),))) == {"PEA lemi0001": False}
    (finding,) = judge(Trouble(name="t"), replace(EMPTY, units=(unit(trouble="port is gone"),)))
    assert (finding.bad, finding.text) == (True, "PEA lemi0001: port is gone")
    assert bad(Trouble(name="t", units=("wic/#",)), replace(EMPTY, units=(unit(trouble="x"),))) == {}


@pytest.mark.parametrize(
    ("offset_s", "round_trip_s", "told"),
    [(0.5, 0.6, False), (-1.5, 0.6, True), (1.5, 0.6, True), (1.5, 2.0, None), (3600.0, 0.6, True)],
)
def test_a_clock_is_judged_only_as_far_as_the_round_trip_lets_tell(offset_s, round_trip_s, told):
    reading = ClockReading("PEA lemi0001", T0_NS, offset_s, round_trip_s)
    assert bad(Clock(name="c", above_s=1), replace(EMPTY, clocks=(reading,))) == {"PEA lemi0001": told}


def test_a_unit_with_a_clock_alarm_that_falls_silent_is_not_well_for_that():
    assert bad(Clock(name="c"), EMPTY, {"PEA lemi0001"}) == {"PEA lemi0001": None}


def test_temperatures_are_known_by_their_unit_and_have_a_margin():
    values = {"t_sensor": (41.0, "degC"), "t_electronics": (39.5, "degC"), "u_supply": (99.0, "V")}
    now = replace(EMPTY, streams=(newest(HK, 60, values=values),))
    rule = Temperature(name="t", min=-20, max=40)
    one, other = f"{HK.topic}/t_sensor", f"{HK.topic}/t_electronics"
    assert bad(rule, now) == {one: True, other: False}
    assert bad(rule, now, {other}) == {one: True, other: True}  # well again at 39
    assert bad(replace(rule, component="t_electronics"), now) == {other: False}


def test_a_value_that_is_missing_or_old_says_nothing():
    rule = Value(name="v", component="u_supply", min=11.5, max_age_s=600)
    for volt, age_s, told in [(11.0, 60, True), (12.0, 60, False), (math.nan, 60, None), (11.0, 700, None)]:
        now = replace(EMPTY, streams=(newest(HK, age_s, values={"u_supply": (volt, "V")}),))
        (finding,) = judge(rule, now)
        assert finding.bad is told
        json.dumps(finding.facts, allow_nan=False)


def test_a_link_is_down_since_its_event_and_bridges_count():
    since = T0_NS - 700 * NS
    links = (Event(since, "link", "PEA lemi0001", False), Event(since, "bridge", "pea-centre", False))
    now = replace(EMPTY, units=(unit(online=False),), links=links)
    assert bad(Link(name="l", after_s=600), now) == {"PEA lemi0001": True, "bridge pea-centre": True}
    assert bad(Link(name="l", after_s=800), now) == {"PEA lemi0001": False, "bridge pea-centre": False}
    assert bad(Link(name="l", bridges=False), replace(now, units=(unit(),))) == {"PEA lemi0001": False}


def test_a_collector_is_judged_by_its_report():
    def report(**changes):
        facts = {"connected": True, "detail": "lost broker", "at_s": T0_S, "since_s": T0_S - 100, "losses": 0}
        return replace(EMPTY, report=Report("mqtt://h:1", **facts | changes))

    rule = Collector(name="c", after_s=60)
    assert bad(rule, EMPTY) == {"collector": True}  # it never reported
    for now, told in [
        (report(), False),
        (report(at_s=T0_S - 61), True),
        (report(connected=False), True),
        (report(connected=False, since_s=T0_S - 10), False),
        (report(trouble="disk full"), True),
        (report(notice="two stations publish as PEA lemi0001"), True),
    ]:
        assert bad(rule, now) == {"collector": told}


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        (Stale(name="r"), "streams"),
        (Value(name="r", component="x", min=0), "streams"),
        (Gap(name="r"), "holes"),
        (Trouble(name="r"), "units"),
        (Link(name="r"), "links"),
    ],
)
def test_what_cannot_be_read_is_not_judged(rule, part):
    assert judge(rule, replace(EMPTY, **{part: None})) is None


# ---- alarms

RULE = Rule(name="stale", hold_s=10, clear_s=20, remind_h=1)


class Story:
    """Feeds findings at chosen seconds and tells what was told."""

    def __init__(self, rule=RULE):
        self.rule, self.alarms = rule, {}

    def at(self, second, bad, subject="s"):
        found = [] if bad == "gone" else [Finding(subject, bad, "text", {"n": second})]
        self.alarms, notices = advance(self.alarms, self.rule, "stale", found, T0_NS + second * NS)
        return [notice.what for notice in notices]


def test_an_alarm_is_told_once_after_its_hold_time_and_cleared_once():
    story = Story()
    told = {second: story.at(second, second < 100) for second in range(0, 200, 5)}
    assert {second: what for second, what in told.items() if what} == {10: ["alarm"], 120: ["all-clear"]}
    assert story.alarms == {}


def test_what_does_not_last_is_not_told():
    story = Story()
    assert [story.at(second, bad) for second, bad in [(0, True), (5, False), (9, True), (15, False)]] == [
        []
    ] * 4
    assert story.alarms == {}


def test_flapping_is_one_alarm():
    story = Story()
    told = [what for second in range(0, 300, 5) for what in story.at(second, second % 15 != 0 or second < 20)]
    assert told == ["alarm"]


def test_a_reminder_comes_each_hour_with_the_facts_of_then():
    story = Story()
    told = {second: story.at(second, True) for second in range(0, 8000, 10)}
    assert {s: what for s, what in told.items() if what} == {
        10: ["alarm"],
        3610: ["reminder"],
        7210: ["reminder"],
    }
    assert Story(replace(RULE, remind_h=0)).at(0, True) == []
    assert story.alarms["s"].facts == {"n": 7990}


def test_unknown_changes_nothing_and_a_subject_that_is_gone_is_well():
    story = Story()
    story.at(0, True)
    assert story.at(10, True) == ["alarm"]
    assert [story.at(second, None) for second in (20, 1000)] == [[], []]
    assert [story.at(second, "gone") for second in (1010, 1030)] == [[], ["all-clear"]]


def test_a_clock_put_back_by_an_hour_does_not_delay_what_waits():
    story = Story()
    story.at(3600, True)
    assert [story.at(second, True) for second in (0, 10)] == [[], ["alarm"]]
    assert [story.at(second, False) for second in (-3600, -3580)] == [[], ["all-clear"]]


def test_spans_are_for_people():
    told = [span(s) for s in (0.4, 45, 119, 120, 3599, 3600, 12_000, 172_800, 180_000)]
    assert told == ["0 s", "45 s", "119 s", "2 min", "59 min", "1 h", "3 h 20 min", "2 days", "2 days 2 h"]
