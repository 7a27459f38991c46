"""Gaps and completeness: from summaries the same as by looking for every single sample."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta

from obslab.errors import ConfigError
from obslab.telemetry.metrics.causes import Known
from obslab.telemetry.metrics.completeness import completeness
from obslab.telemetry.metrics.gaps import gaps
from obslab.telemetry.metrics.summary import summarise
from obslab.telemetry.metrics.targets import judged
from obslab.telemetry.sample import Clock, Stream, as_datetime

DAY_NS = 86_400 * NS
DAY = T0_S * NS // DAY_NS * DAY_NS
MIDNIGHT = DAY + DAY_NS
MINUTE_NS = 60 * NS
ABS = Stream("PEA", "didd", "abs")


@dataclass(frozen=True)
class Down:
    at_ns: int
    kind: str
    name: str
    up: bool = False


@dataclass(frozen=True)
class Missing:
    topic: str
    begin_ns: int
    end_ns: int
    state: str


def days_of(stream, time_ns, metas=None):
    """Summaries of all days that have samples."""
    time_ns = np.asarray(time_ns, np.int64)
    metas = (vector_meta(),) if metas is None else metas
    day = time_ns // DAY_NS
    return [
        summarise(stream, metas, one * DAY_NS, time_ns[day == one], time_ns[day == one] + NS // 3)
        for one in np.unique(day)
    ]


def seconds(*ranges):
    """Times at whole seconds after midnight of the second day; negative ones lie in the first."""
    return MIDNIGHT + np.concatenate([np.arange(begin, end) for begin, end in ranges]) * NS


def rows(found, *names):
    return list(zip(*(found[name].values.tolist() for name in names), strict=True))


def found_gaps(stream, time_ns, begin_ns, end_ns, known=None, metas=None):
    return gaps({stream: days_of(stream, time_ns, metas)}, {stream: (begin_ns, end_ns)}, known)


GRIDS = [
    (LEMI, NS, 1, 0),
    (LEMI, NS, 1, 300_000_000),
    (Stream("PEA", "coil", "10hz"), NS, 10, 0),
    (Stream("PEA", "coil", "3hz"), NS, 3, 0),
    (Stream("PEA", "lemi0001", "min"), MINUTE_NS, 1, 0),
    (Stream("PEA", "lemi0001", "min"), MINUTE_NS, 1, 30 * NS),
    (Stream("PEA", "lemi0001", "hour"), 60 * MINUTE_NS, 1, 0),
]


@st.composite
def patterns(draw):
    """A regular stream around midnight with samples missing, and an interval that is asked for."""
    stream, frame_ns, block, phase_ns = draw(st.sampled_from(GRIDS))
    half = draw(st.integers(1, 200))
    slot = np.arange(-half, half)
    grid = MIDNIGHT + phase_ns + (slot * frame_ns) // block
    absent = draw(st.lists(st.tuples(st.integers(0, 2 * half), st.integers(1, 30)), max_size=8))
    there = np.ones(grid.size, bool)
    for begin, length in absent:
        there[begin : begin + length] = False
    span = grid[-1] - grid[0]
    begin, end = sorted(draw(st.tuples(st.integers(0, 1000), st.integers(0, 1000))))
    on_minutes = draw(st.booleans())
    begin_ns, end_ns = (int(grid[0] + span * one // 1000) for one in (begin, end))
    if on_minutes:
        begin_ns, end_ns = (one // MINUTE_NS * MINUTE_NS for one in (begin_ns, end_ns))
    return stream, grid, there, max(begin_ns, int(grid[0])), end_ns


def asked(stream, grid, there, begin_ns, end_ns):
    """Truth, slot by slot: rows begin, end, lost of what is missing of [begin, end)."""
    truth, run = [], []
    for time_ns, is_there in zip(grid.tolist(), there.tolist(), strict=True):
        if not begin_ns <= time_ns < end_ns:
            continue
        if not is_there:
            run.append(time_ns)
        elif run:
            truth.append((run[0], time_ns, len(run)))
            run = []
    if run:
        after = [one for one in grid[there].tolist() if one > run[-1]]
        truth.append((run[0], min([end_ns, *after[:1]]), len(run)))
    return truth


@settings(max_examples=150, deadline=None)
@given(patterns())
def test_gaps_are_what_a_look_at_every_slot_finds(pattern):
    stream, grid, there, begin_ns, end_ns = pattern
    if not there.any():
        return
    found = found_gaps(stream, grid[there], begin_ns, end_ns)
    truth = asked(*pattern)
    assert [lost for *_, lost in truth] == found.lost.values.tolist()
    # Where a cadence is no whole number of ns, times are right to one of them.
    for name, column in (("begin", 0), ("end", 1)):
        times = found[name].values.astype(np.int64)
        np.testing.assert_allclose(times - MIDNIGHT, [row[column] - MIDNIGHT for row in truth], atol=1)


@settings(max_examples=150, deadline=None)
@given(patterns(), st.sampled_from(["minute", "hour", "day", "month"]))
def test_completeness_is_what_a_look_at_every_slot_finds(pattern, by):
    stream, grid, there, begin_ns, end_ns = pattern
    if not there.any():
        return
    found = completeness({stream: days_of(stream, grid[there])}, {stream: (begin_ns, end_ns)}, by=by)
    begins, ends = (found[name].values.astype(np.int64) for name in ("begin", "end"))
    if begins.size:
        assert (begins[0], ends[-1]) == (begin_ns, end_ns)
        np.testing.assert_array_equal(begins[1:], ends[:-1])
        # Inside one minute, hour, day or month each, and no two in the same.
        unit = f"datetime64[{ {'minute': 'm', 'hour': 'h', 'day': 'D', 'month': 'M'}[by] }]"
        of_begin = begins.astype("datetime64[ns]").astype(unit)
        np.testing.assert_array_equal(of_begin, (ends - 1).astype("datetime64[ns]").astype(unit))
        assert np.unique(of_begin).size == begins.size
    for row, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        inside = (grid >= begin) & (grid < end)
        assert found.expected.values[row] == inside.sum()
        assert found.present.values[row] == (inside & there).sum()
        assert found.ok.values[row] == (not inside.any() or there[inside].mean() >= 0.9 - 1e-12)


@settings(max_examples=50, deadline=None)
@given(patterns())
def test_lost_and_present_samples_add_up_to_the_expected_ones(pattern):
    stream, grid, there, begin_ns, end_ns = pattern
    if not there.any():
        return
    days, reach = {stream: days_of(stream, grid[there])}, {stream: (begin_ns, end_ns)}
    counted = completeness(days, reach, by="hour")
    assert counted.expected.values.sum() - counted.present.values.sum() == gaps(days, reach).lost.values.sum()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_jitter_of_a_fifth_of_a_cadence_changes_no_count(data):
    _, grid, there, *_ = data.draw(patterns().filter(lambda one: one[0] == LEMI and one[2].sum() > 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    times = grid[there]
    jittered = times + rng.integers(-NS // 5, NS // 5, times.size)
    whole = (int(times[0]), int(times[-1]) + 1)
    shaken = (int(jittered[0]), int(jittered[-1]) + 1)
    truth = found_gaps(LEMI, times, *whole)
    assert found_gaps(LEMI, jittered, *shaken).lost.values.tolist() == truth.lost.values.tolist()


def test_gap_over_midnight_and_over_days_without_samples_is_one():
    found = found_gaps(LEMI, seconds((-20, -10), (3 * 86_400, 3 * 86_400 + 5)), *seconds((-20, -19)),
                       MIDNIGHT + 3 * DAY_NS + 5 * NS)  # fmt: skip
    assert rows(found, "stream", "lost", "duration_s") == [
        ("PEA lemi0001 sec", 3 * 86_400 + 10, 3 * 86_400.0 + 10)
    ]


def test_stream_without_any_sample_in_the_interval_is_one_gap():
    days = days_of(LEMI, seconds((-20, 0)))
    found = gaps({LEMI: days}, {LEMI: (MIDNIGHT + 10 * NS, MIDNIGHT + 70 * NS)})
    assert rows(found, "begin", "lost") == [(MIDNIGHT + 10 * NS, 60)]
    assert gaps({}, {LEMI: (MIDNIGHT, MIDNIGHT + 60 * NS)}).lost.values.tolist() == [60]
    empty = completeness({}, {LEMI: (MIDNIGHT, MIDNIGHT + 60 * NS)}, by="minute")
    assert rows(empty, "expected", "present", "ok") == [(60, 0, False)]


def test_nothing_asked_gives_empty_tables():
    assert gaps({}, {}).sizes["gap"] == 0
    assert completeness({}, {}).sizes["interval"] == 0
    assert gaps({}, {LEMI: (5, 5)}).sizes["gap"] == 0
    assert completeness({}, {LEMI: (5, 5)}).sizes["interval"] == 0


def test_before_its_first_sample_a_stream_has_no_gap():
    first, last = MIDNIGHT, MIDNIGHT + 99 * NS
    metas = (vector_meta(),)
    assert judged(LEMI, metas, (first, last), DAY, 2 * MIDNIGHT) == (first, last + NS)
    assert judged(LEMI, metas, None, DAY, MIDNIGHT) == (DAY, DAY)


@pytest.mark.parametrize(
    ("stream", "grace_s"),
    [
        (LEMI, 30),
        (Stream("PEA", "coil", "10hz"), 30),
        (Stream("PEA", "lemi0001", "min"), 120),
        (Stream("PEA", "lemi0001", "hour"), 7200),
    ],
    ids=str,
)
def test_newest_samples_are_not_missed_before_a_grace(stream, grace_s):
    span, now_ns = (MIDNIGHT, MIDNIGHT + 7200 * NS), MIDNIGHT + 3 * 7200 * NS
    reach = judged(stream, (vector_meta(),), span, DAY, 2 * MIDNIGHT, now_ns)
    assert reach == (MIDNIGHT, now_ns - grace_s * NS)


def test_present_of_a_replaying_station_is_by_its_own_clock():
    clock = Clock(as_datetime(MIDNIGHT), as_datetime(MIDNIGHT + 900 * DAY_NS), 10.0)
    now_ns = MIDNIGHT + 900 * DAY_NS + 100 * NS
    reach = judged(LEMI, (vector_meta(clock=clock),), (MIDNIGHT, MIDNIGHT + 1), 0, 2**62, now_ns)
    assert reach == (MIDNIGHT, MIDNIGHT + 1000 * NS - 30 * NS)


def test_stream_that_fell_silent_has_an_open_gap_up_to_the_grace():
    time_ns = seconds((0, 100))
    reach = judged(LEMI, (), (time_ns[0], time_ns[-1]), 0, 2**62, MIDNIGHT + 200 * NS)
    found = gaps({LEMI: days_of(LEMI, time_ns)}, {LEMI: reach})
    assert rows(found, "begin", "end", "lost") == [(MIDNIGHT + 100 * NS, MIDNIGHT + 170 * NS, 70)]


def test_54_of_60_seconds_are_enough_and_53_are_not():
    """INTERMAGNET's rule of 90 %."""
    time_ns = seconds((0, 54), (60, 113), (120, 180))
    found = completeness({LEMI: days_of(LEMI, time_ns)}, {LEMI: (MIDNIGHT, MIDNIGHT + 180 * NS)}, by="minute")
    assert rows(found, "present", "ok") == [(54, True), (53, False), (60, True)]
    assert found.fraction.values.tolist() == pytest.approx([0.9, 53 / 60, 1.0])


def test_samples_more_than_expected_count_as_complete_at_most():
    time_ns = MIDNIGHT + np.arange(0, 120) * (NS // 2)
    found = completeness({LEMI: days_of(LEMI, time_ns)}, {LEMI: (MIDNIGHT, MIDNIGHT + 60 * NS)}, by="minute")
    assert rows(found, "expected", "present", "fraction") == [(60, 60, 1.0)]


def test_months_are_months_of_the_calendar():
    minute = Stream("PEA", "lemi0001", "min")
    begin, end = (np.datetime64(day, "ns").astype(np.int64) for day in ("2024-01-31", "2024-03-02"))
    time_ns = np.arange(begin, end, MINUTE_NS)
    found = completeness({minute: days_of(minute, time_ns)}, {minute: (int(begin), int(end))}, by="month")
    assert found.expected.values.tolist() == [1440, 29 * 1440, 1440]
    assert found.present.values.tolist() == found.expected.values.tolist()


def test_unknown_interval_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="by='week' is none of minute, hour, day, month"):
        completeness({}, {}, by="week")


def test_streams_are_told_apart_and_in_order():
    days = {stream: days_of(stream, seconds((0, 10), (20, 30))) for stream in (LEMI, GSM)}
    found = gaps(days, dict.fromkeys(days, (MIDNIGHT, MIDNIGHT + 30 * NS)))
    assert rows(found, "stream", "lost") == [("PEA gsm0001 sec", 10), ("PEA lemi0001 sec", 10)]


# ---- irregular streams


def absolutes(*clock_times, day=0):
    """Times of measurements, each ``HH:MM`` of a day after midnight."""
    return [MIDNIGHT + day * DAY_NS + (int(one[:2]) * 60 + int(one[3:])) * MINUTE_NS for one in clock_times]


FIVE = ("06:30", "09:00", "12:00", "15:00", "18:30")


def plan(**changes):
    return (scalar_meta(**{"schedule": FIVE, "schedule_tolerance_s": 1800.0, **changes}),)


def test_each_scheduled_measurement_that_was_not_made_is_a_gap():
    time_ns = absolutes("06:41", "11:45", "12:20", "18:30") + absolutes("06:30", "09:29", day=2)
    end_ns = MIDNIGHT + 2 * DAY_NS + 11 * 60 * MINUTE_NS
    found = found_gaps(ABS, time_ns, time_ns[0], end_ns, metas=plan())
    # 09:00 and 15:00 of the first day, all of the second; the extra one at 12:20 replaces none of them.
    missed = absolutes("09:00", "15:00") + absolutes(*FIVE, day=1)
    assert found.begin.values.astype(np.int64).tolist() == missed
    assert found.lost.values.tolist() == [1] * 7
    assert found.end.values.astype(np.int64).tolist() == [
        time_ns[1], time_ns[3], *[time_ns[4]] * 5
    ]  # fmt: skip


def test_completeness_of_measurements_counts_the_scheduled_ones():
    time_ns = absolutes("06:30", "09:00", "12:00", "12:10", "15:29", "18:00") + absolutes("12:00", day=1)
    days = {ABS: days_of(ABS, time_ns, plan())}
    found = completeness(days, {ABS: (MIDNIGHT, MIDNIGHT + 2 * DAY_NS)}, by="day")
    assert rows(found, "expected", "present", "ok") == [(5, 5, True), (5, 1, False)]
    hours = completeness(days, {ABS: (MIDNIGHT, MIDNIGHT + 12 * 60 * MINUTE_NS)})
    assert hours.expected.values.tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]


def test_measurement_a_little_before_midnight_serves_one_scheduled_after_it():
    metas = plan(schedule=("00:10",))
    time_ns = [*absolutes("00:05"), *absolutes("23:55"), *absolutes("00:20", day=2)]
    found = found_gaps(ABS, time_ns, time_ns[0], MIDNIGHT + 2 * DAY_NS + 3600 * NS, metas=metas)
    assert found.sizes["gap"] == 0
    from_there = found_gaps(ABS, time_ns, MIDNIGHT + DAY_NS, MIDNIGHT + 3 * DAY_NS, metas=metas)
    assert from_there.sizes["gap"] == 0


def test_scheduled_measurement_is_not_missed_before_its_tolerance_is_over():
    time_ns = absolutes("06:30")
    for now, missed in (("09:29", 0), ("09:31", 1)):
        (now_ns,) = absolutes(now)
        reach = judged(ABS, plan(), (time_ns[0], time_ns[0]), 0, 2**62, now_ns)
        assert found_gaps(ABS, time_ns, *reach, metas=plan()).sizes["gap"] == missed


def test_irregular_stream_without_a_schedule_has_no_gaps_and_is_complete():
    time_ns = absolutes("06:30", "12:00")
    days, reach = {ABS: days_of(ABS, time_ns, plan(schedule=()))}, {ABS: (MIDNIGHT, MIDNIGHT + DAY_NS)}
    assert gaps(days, reach).sizes["gap"] == 0
    found = completeness(days, reach, by="day")
    assert rows(found, "expected", "ok") == [(0, True)]
    assert np.isnan(found.fraction.values[0])


# ---- causes

GAP = seconds((0, 100), (400, 500))
GAP_BEGIN, GAP_END = MIDNIGHT + 100 * NS, MIDNIGHT + 400 * NS


def cause_of(**known):
    """Cause and state of the one gap, of five minutes."""
    found = found_gaps(LEMI, GAP, GAP[0], int(GAP[-1]) + NS, Known(**known))
    assert found.lost.values.tolist() == [300]
    return found.cause.values[0], found.state.values[0]


def down(kind, name, begin_ns=GAP_BEGIN, end_ns=GAP_END):
    return [Down(begin_ns, kind, name), Down(end_ns, kind, name, up=True)]


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ([], "unknown"),
        (down("link", "PEA lemi0001"), "link"),
        (down("link", "PEA other"), "link"),
        (down("link", "ABC lemi0001"), "unknown"),
        (down("driver", "PEA lemi0001"), "station"),
        (down("driver", "PEA gsm0001"), "unknown"),
        (down("broker", "mqtt://localhost:1883"), "broker"),
        (down("bridge", "obslab-pea"), "bridge"),
        (down("driver", "PEA lemi0001") + down("link", "PEA lemi0001"), "station"),
        (down("link", "PEA lemi0001", GAP_BEGIN + 15 * NS, GAP_END), "link"),
        (down("link", "PEA lemi0001", GAP_END - 60 * NS, GAP_END), "unknown"),
        (down("link", "PEA lemi0001", GAP_BEGIN - 900 * NS, GAP_BEGIN - 100 * NS), "unknown"),
        (down("link", "PEA lemi0001", GAP_BEGIN, GAP_BEGIN + 100 * NS)
         + down("link", "PEA lemi0001", GAP_BEGIN + 150 * NS, GAP_END), "link"),
        (down("link", "PEA lemi0001", GAP_BEGIN, GAP_END - 100 * NS)
         + down("broker", "here", GAP_BEGIN, GAP_END), "broker"),
        ([Down(GAP_BEGIN, "link", "PEA lemi0001")], "link"),
        ([Down(GAP_BEGIN, "link", "PEA lemi0001", up=True)], "unknown"),
    ],
    ids=["none", "link", "another unit of the station", "another station", "driver",
         "driver of another instrument", "broker", "bridge", "driver before link", "noticed late",
         "too short", "long before", "twice", "the longer one", "still down", "only came up"],
)  # fmt: skip
def test_cause_is_what_was_down_for_most_of_the_gap(events, cause):
    assert cause_of(events=events) == (cause, "open")


def test_event_of_a_unit_concerns_the_streams_it_carries():
    events = down("link", "PEA board")
    assert cause_of(events=events, units={"PEA board": (LEMI.topic,)})[0] == "link"
    assert cause_of(events=events, units={"PEA board": (GSM.topic,)})[0] == "unknown"
    events = down("driver", "PEA board")
    assert cause_of(events=events, units={"PEA board": (LEMI.topic,)})[0] == "station"


def test_bridge_of_another_known_station_is_not_the_cause():
    units = {"PEA a": ("pea/a/sec",), "ABC b": ("abc/b/sec",)}
    assert cause_of(events=down("bridge", "abc-centre"), units=units)[0] == "unknown"
    assert cause_of(events=down("bridge", "pea-centre"), units=units)[0] == "bridge"
    assert cause_of(events=down("bridge", "main"), units=units)[0] == "bridge"


def test_what_the_station_does_not_have_is_lost_at_source_whatever_the_link_did():
    holes = [Missing(LEMI.topic, GAP_BEGIN, GAP_END, "lost")]
    assert cause_of(holes=holes) == ("lost at source", "lost at source")
    assert cause_of(holes=holes, events=down("link", "PEA lemi0001")) == ("lost at source", "lost at source")
    driver = down("driver", "PEA lemi0001")
    assert cause_of(holes=holes, events=driver) == ("station", "lost at source")
    assert cause_of(holes=[Missing(GSM.topic, GAP_BEGIN, GAP_END, "lost")]) == ("unknown", "open")


def test_gap_that_is_being_filled_says_so():
    for state in ("asked", "open", "filled"):
        holes = [Missing(LEMI.topic, GAP_BEGIN, GAP_END, state)]
        assert cause_of(holes=holes)[1] == ("asked" if state == "asked" else "open")


def test_messages_that_were_rejected_meanwhile_explain_a_gap_if_they_are_enough():
    came_ns = GAP_BEGIN + np.arange(300) * NS + NS // 2
    assert cause_of(rejected={LEMI.topic: came_ns})[0] == "rejected"
    assert cause_of(rejected={LEMI.topic: came_ns[:100]})[0] == "unknown"
    assert cause_of(rejected={GSM.topic: came_ns})[0] == "unknown"
    assert cause_of(rejected={LEMI.topic: came_ns + DAY_NS})[0] == "unknown"


def test_events_are_put_on_the_clock_of_a_replaying_station():
    clock = Clock(as_datetime(MIDNIGHT), as_datetime(MIDNIGHT + 900 * DAY_NS), 10.0)
    events = down("link", "PEA lemi0001", clock.wall_at(GAP_BEGIN), clock.wall_at(GAP_END))
    found = found_gaps(
        LEMI, GAP, GAP[0], int(GAP[-1]) + NS, Known(events=events), (vector_meta(clock=clock),)
    )
    assert found.cause.values.tolist() == ["link"]
