"""Outages, losses, clocks and ages; and the paper's figures, recovered from its simulated link."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import GSM, LEMI, NS, scalar_meta, vector_meta

from obslab.telemetry.archive.book import ClockReading, Event, Hole
from obslab.telemetry.metrics.causes import Known
from obslab.telemetry.metrics.clocks import ages, clocks
from obslab.telemetry.metrics.completeness import completeness
from obslab.telemetry.metrics.day import DaySummary
from obslab.telemetry.metrics.gaps import gaps
from obslab.telemetry.metrics.latency import latency
from obslab.telemetry.metrics.outages import losses, outages
from obslab.telemetry.metrics.summary import summarise
from obslab.telemetry.sample import Stream
from obslab.telemetry.station import link_model
from obslab.telemetry.station.link_model import PRESETS

DAY_NS = 86_400 * NS
MAY = int(np.datetime64("2024-05-01", "ns").astype(np.int64))
MIDNIGHT = MAY + DAY_NS


def days_of(stream, time_ns, arrival_ns, metas):
    """Summaries, each stored and read again, as an archive does."""
    day = time_ns // DAY_NS
    starts, places = np.unique(day, return_index=True)
    parts = zip(starts, np.split(time_ns, places[1:]), np.split(arrival_ns, places[1:]), strict=True)
    return [DaySummary.decode(summarise(stream, metas, one * DAY_NS, *part).encode()) for one, *part in parts]


def found_outages(seconds, latency_s, begin_s=None, end_s=None, known=None, **options):
    """Of samples at whole seconds after midnight; negative ones lie in the day before."""
    time_ns = MIDNIGHT + np.asarray(seconds, np.int64) * NS
    arrival_ns = time_ns + np.rint(np.asarray(latency_s, float) * 1e9).astype(np.int64)
    begin_ns = time_ns[0] if begin_s is None else MIDNIGHT + begin_s * NS
    end_ns = time_ns[-1] + NS if end_s is None else MIDNIGHT + end_s * NS
    days = {LEMI: days_of(LEMI, time_ns, arrival_ns, (vector_meta(),))}
    return outages(days, {LEMI: (int(begin_ns), int(end_ns))}, known, **options)


def rows(found):
    """Begin and end in s after midnight, late, lost."""
    begin, end = (
        [None if np.isnat(at) else (at.astype(np.int64) - MIDNIGHT) / NS for at in found[name].values]
        for name in ("begin", "end")
    )
    return list(zip(begin, end, found.late.values.tolist(), found.lost.values.tolist(), strict=True))


@pytest.mark.parametrize("shift", [10, -20, -23, -26])
def test_samples_held_back_and_sent_together_are_one_outage_also_over_midnight(shift):
    seconds = np.arange(shift, shift + 60)
    came = seconds + 0.3
    came[20:30] = shift + 30.1  # out for ten seconds, then all at once
    found = found_outages(seconds, came - seconds)
    # The last sample of it came only 1.1 s after its time, and the one after it in time.
    assert rows(found) == [(shift + 20, pytest.approx(shift + 30.1), 10, 0)]
    assert found.cause.values.tolist() == ["link"]
    assert found.duration_s.values == pytest.approx([10.1])


def test_live_samples_that_overtake_the_backlog_end_the_outage():
    latency_s = np.full(100, 0.3)
    latency_s[20:40] = 500.0
    assert rows(found_outages(np.arange(100), latency_s)) == [(20, pytest.approx(40.3), 20, 0)]


def test_what_is_still_missing_belongs_to_the_outage_around_it():
    seconds = np.concatenate([np.arange(30), np.arange(35, 80)])
    latency_s = np.full(seconds.size, 0.3)
    latency_s[(seconds >= 20) & (seconds < 50)] = 60.0
    assert rows(found_outages(seconds, latency_s)) == [(20, pytest.approx(50.3), 25, 5)]


def test_gap_at_the_end_is_an_outage_without_an_end():
    found = found_outages(np.arange(50), np.full(50, 0.3), 0, 90)
    assert rows(found) == [(50, None, 0, 40)]
    assert np.isnan(found.duration_s.values).all()


def test_gap_over_days_is_one_outage_from_whichever_end_one_asks():
    seconds = np.concatenate([np.arange(-50, -10), np.arange(86_400 * 2, 86_400 * 2 + 50)])
    whole = [(-10, pytest.approx(86_400 * 2 + 0.3), 0, 86_400 * 2 + 10)]
    for begin_s, end_s in ((-50, 86_400 * 2 + 50), (86_400, 86_400 * 2 + 50)):
        assert rows(found_outages(seconds, np.full(90, 0.3), begin_s, end_s)) == whole
    assert rows(found_outages(seconds, np.full(90, 0.3), 86_400 * 2 + 1, 86_400 * 2 + 50)) == []


def test_short_outages_can_be_left_out():
    latency_s = np.full(100, 0.3)
    latency_s[20], latency_s[40:60] = 1.5, 30.0
    assert len(rows(found_outages(np.arange(100), latency_s))) == 2
    assert rows(found_outages(np.arange(100), latency_s, at_least_s=5.0)) == [
        (40, pytest.approx(60.3), 20, 0)
    ]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["in time", "late", "missing"]), st.integers(1, 9)), min_size=1),
    st.integers(-60, 5),
)
def test_outages_are_the_stretches_that_a_loop_finds(pattern, shift):
    how = [kind for kind, length in pattern for _ in range(length)]
    how = ["in time", *how, "in time"]
    there = [(shift + place, 0.3 if kind == "in time" else 200.0) for place, kind in enumerate(how)
             if kind != "missing"]  # fmt: skip
    truth, begin = [], None
    for place, kind in enumerate(how):
        if kind != "in time" and begin is None:
            begin = place
        elif kind == "in time" and begin is not None:
            those = how[begin:place]
            end = pytest.approx(shift + place + 0.3)
            truth.append((shift + begin, end, those.count("late"), those.count("missing")))
            begin = None
    assert rows(found_outages(*zip(*there, strict=True))) == truth


def test_events_and_holes_of_the_archives_book_tell_the_cause():
    latency_s = np.full(400, 0.3)
    latency_s[100:200] = 100.0
    begin_ns, end_ns = MIDNIGHT + 100 * NS, MIDNIGHT + 200 * NS
    # A driver that was down cannot explain samples that it made after all: there it is the link.
    for kind, cause in (("broker", "broker"), ("bridge", "bridge"), ("link", "link"), ("driver", "link")):
        events = [Event(begin_ns, kind, "PEA lemi0001", False), Event(end_ns, kind, "PEA lemi0001", True)]
        known = Known(events=events)
        assert found_outages(np.arange(400), latency_s, known=known).cause.values.tolist() == [cause]
    seconds = np.delete(np.arange(400), slice(100, 200))
    known = Known(holes=[Hole(1, LEMI.topic, begin_ns, end_ns, "lost", "page")])
    found = found_outages(seconds, np.full(300, 0.3), known=known)
    assert found.cause.values.tolist() == ["lost at source"]


def test_losses_are_counted_by_month_without_those_of_the_station():
    june = (31 - 1) * 86_400  # seconds from MIDNIGHT, 2 May
    seconds = np.concatenate([np.arange(0, 100), np.arange(june, june + 100)])
    latency_s = np.full(200, 0.3)
    latency_s[[10, 11, 30, 31, 32, 150]] = 20.0
    seconds = np.delete(seconds, slice(60, 70))
    latency_s = np.delete(latency_s, slice(60, 70))
    driver = [Event(MIDNIGHT + 60 * NS, "driver", "PEA lemi0001", False),
              Event(MIDNIGHT + 70 * NS, "driver", "PEA lemi0001", True)]  # fmt: skip
    silent = [Hole(1, LEMI.topic, MIDNIGHT + 100 * NS, MIDNIGHT + june * NS, "lost", "page")]
    found = found_outages(seconds, latency_s, known=Known(events=driver, holes=silent))
    assert found.cause.values.tolist() == ["link", "link", "station", "lost at source", "link"]
    reach = {LEMI: (MIDNIGHT, MIDNIGHT + (june + 40 * 86_400) * NS)}
    table = losses(found, reach)
    assert table.month.values.astype("datetime64[M]").astype(str).tolist() == [
        "2024-05",
        "2024-06",
        "2024-07",
    ]
    assert table.losses.values.tolist() == [2, 1, 0]
    assert table.out_s.values == pytest.approx([2.3 + 3.3, 1.3, 0.0])
    assert losses(outages({}, {}), {}).sizes["month"] == 0


def test_irregular_streams_have_no_outages():
    stream = Stream("PEA", "didd", "abs")
    time_ns = MIDNIGHT + np.array([0, 3600]) * NS
    days = {stream: days_of(stream, time_ns, time_ns + DAY_NS, (scalar_meta(schedule=("06:30",)),))}
    assert outages(days, {stream: (MAY, MIDNIGHT + DAY_NS)}).sizes["outage"] == 0


def test_clock_readings_come_by_unit_and_time():
    readings = [
        ClockReading("PEA b", MAY, 0.5, 0.6),
        ClockReading("PEA a", MAY + NS, -0.1, 0.02),
        ClockReading("PEA a", MAY, 0.2, 0.03),
    ]
    found = clocks(readings)
    assert found.unit.values.tolist() == ["PEA a", "PEA a", "PEA b"]
    assert found.offset_s.values.tolist() == [0.2, -0.1, 0.5]
    assert found.round_trip_s.values.tolist() == [0.03, 0.02, 0.6]
    assert found.time.values.astype(np.int64).tolist() == [MAY, MAY + NS, MAY]
    assert clocks([]).sizes["reading"] == 0


def test_ages_are_held_against_intermagnets_targets():
    minute, hour = (Stream("PEA", "lemi0001", samplerate) for samplerate in ("min", "hour"))
    newest = dict.fromkeys((LEMI, GSM, minute, hour), MAY)
    now = {LEMI: MAY + 30 * NS, GSM: MAY + 31 * NS, minute: MAY + 120 * NS, hour: MAY + 9999 * NS}
    found = ages(newest, now)
    of = {name: found.sel(stream=name) for name in found.stream.values}
    assert [bool(of[str(stream)].ok) for stream in (LEMI, GSM, minute, hour)] == [True, False, True, True]
    assert of[str(minute)].age_s == 120.0
    assert of[str(LEMI)].target_s == 30.0
    assert np.isnan(of[str(hour)].target_s)


# ---- the paper's link


@dataclass(frozen=True)
class Simulated:
    days: dict
    reach: dict
    truth: np.ndarray


@pytest.fixture(scope="module")
def pea():
    """60 days of the LEMI-25 at 1 Hz over the preset ``pea``, as an archive would have stored them."""
    time_ns = MAY + np.arange(60 * 86_400) * NS
    arrival_ns = link_model.arrivals(time_ns, PRESETS["pea"], np.random.default_rng(2017))
    truth = link_model.outages(PRESETS["pea"], MAY, int(time_ns[-1]) + 1, np.random.default_rng(2017))
    days = {LEMI: days_of(LEMI, time_ns, arrival_ns, (vector_meta(delay_s=0.3),))}
    return Simulated(days, {LEMI: (MAY, int(time_ns[-1]) + NS)}, truth)  # fmt: skip


def test_the_papers_mean_latency_of_300_ms_is_recovered(pea):
    by_hour = latency(pea.days, *pea.reach[LEMI])
    # Hours that an outage touches are left out, as the paper did with its two days.
    quiet = by_hour.isel(window=by_hour.max_s.values < 1.0)
    assert quiet.sizes["window"] > 0.9 * 58 * 24
    transport_s = np.average(quiet.mean_s - quiet.delay_s, weights=quiet.n)
    # 5 million samples with 50 ms of spread: the standard error is 0.02 ms.
    assert transport_s == pytest.approx(0.300, abs=0.0002)
    np.testing.assert_allclose(quiet.delay_s, 0.3)
    # The median of a gamma tail of shape 9 lies a third of its scale below its mean.
    assert float(quiet.transport_p50_s.median()) == pytest.approx(0.3 - 0.15 / 9 / 3, rel=0.02)
    whole = latency(pea.days, *pea.reach[LEMI], None)
    assert whole.transport_p50_s.values == pytest.approx([0.295], rel=0.02)
    # All but the two days of 60 are within INTERMAGNET's 30 s.
    assert whole.within_target.values == pytest.approx([58 / 60], abs=1e-4)


def test_the_papers_ten_losses_a_month_and_its_two_day_outage_are_recovered(pea):
    found = outages(pea.days, pea.reach)
    begin_s, end_s = ((found[name].values.astype(np.int64) - MAY) / NS for name in ("begin", "end"))
    truth_s = (pea.truth - MAY) / NS
    assert found.sizes["outage"] == len(truth_s)
    # A sample is handed out 0.3 s after its time, once a second; the first one back needs half a second more.
    assert np.all(np.abs(begin_s - (truth_s[:, 0] + 0.2)) <= 0.51)
    assert np.all(np.abs(end_s - (truth_s[:, 1] + 0.6)) <= 0.6)
    assert found.lost.values.tolist() == [0] * len(truth_s)
    assert set(found.cause.values) == {"link"}

    long = found.duration_s.values > 3600
    assert found.duration_s.values[long] == pytest.approx([2 * 86_400], abs=2)
    assert found.late.values[long] == pytest.approx([2 * 86_400], abs=2)
    short = found.duration_s.values[~long]
    assert 1 < np.median(short) < 8

    by_month = losses(found, pea.reach)
    per_month = by_month.losses.values.sum() / 2
    assert per_month == pytest.approx(10, abs=1)  # one lies somewhere in every three days
    assert by_month.losses.values[:2] == pytest.approx([10, 10], abs=2)


def test_everything_is_there_after_the_recovery(pea):
    assert gaps(pea.days, pea.reach).sizes["gap"] == 0
    for by in ("hour", "day"):
        found = completeness(pea.days, pea.reach, by=by)
        assert found.fraction.values.min() == 1.0
        assert found.present.values.sum() == 60 * 86_400


def test_two_days_come_over_56_kbit_in_a_minute_and_live_samples_meanwhile_in_time(pea):
    """The backlog of 172,800 samples, 3 bytes each when packed, is 74 s of the whole link."""
    long = np.argmax(pea.truth[:, 1] - pea.truth[:, 0])
    end_ns = int(pea.truth[long, 1])
    runs = [day.late for day in pea.days[LEMI] if (day.late.n > 30_000).any()]
    recovered_s = (max(int(run.last_arrival_ns.max()) for run in runs) - end_ns) / NS
    least_s = 2 * 86_400 * 3 * 8 / 56_000
    assert least_s < recovered_s < 1.1 * least_s
    # What is live then waits for one block of 4 kB at most: 0.6 s beside its own way.
    day = next(day for day in pea.days[LEMI] if day.day_ns == end_ns // DAY_NS * DAY_NS)
    after = day.late.begin_ns > end_ns
    assert day.late.n[after].sum() == 0
