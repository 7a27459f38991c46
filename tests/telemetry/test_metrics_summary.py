"""Day summaries: what is condensed is what was there, in few bytes, and comes back from them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta

from obslab.errors import CodecError
from obslab.telemetry.metrics.day import DaySummary
from obslab.telemetry.metrics.histogram import EDGES_S, HIGH_S, LOW_S, RATIO, bin_of, quantiles
from obslab.telemetry.metrics.summary import summarise
from obslab.telemetry.metrics.targets import LATE_S
from obslab.telemetry.sample import Clock, Stream, as_datetime

DAY_NS = 86_400 * NS
DAY = T0_S * NS // DAY_NS * DAY_NS
LATE_NS = int(LATE_S * NS)


def day_of(seconds, latency_s, *, stream=LEMI, metas=None):
    """The summary of samples at these seconds of the day, each with its latency."""
    time_ns = DAY + np.rint(np.asarray(seconds, float) * 1e9).astype(np.int64)
    latency_ns = np.rint(np.broadcast_to(np.asarray(latency_s, float), time_ns.shape) * 1e9).astype(np.int64)
    metas = (vector_meta(),) if metas is None else metas
    return summarise(stream, metas, DAY, time_ns, time_ns + latency_ns)


def satellite_day(missing=0):
    rng = np.random.default_rng(1)
    seconds = np.delete(np.arange(86_400), rng.choice(86_400, missing, replace=False))
    return day_of(seconds, np.round(0.45 + rng.gamma(9, 0.15 / 9, seconds.size), 3))


@pytest.mark.parametrize(
    "summary",
    [
        satellite_day(missing=40),
        day_of([], []),
        day_of([86_399], [3e6]),
        day_of([10, 11, 12], [5.0, -2e5, 0.1]),
        day_of(np.arange(0, 60, 0.1), 0.2, stream=Stream("PEA", "coil", "10hz")),
        day_of([3600, 7200], [9e4, 1.0], stream=Stream("PEA", "didd", "abs"),
               metas=(scalar_meta(schedule=("01:00", "02:30"), schedule_tolerance_s=60.0),)),
    ],
    ids=["satellite", "empty", "last second, a month late", "clock ahead", "10hz", "abs"],
)  # fmt: skip
def test_summary_comes_back_from_its_bytes(summary):
    back = DaySummary.decode(summary.encode())
    for name in ("minutes", "times_ns"):
        np.testing.assert_array_equal(getattr(back, name), getattr(summary, name))
    for part in ("hours", "gaps", "late"):
        for name, column in vars(getattr(summary, part)).items():
            np.testing.assert_array_equal(vars(getattr(back, part))[name], column, err_msg=f"{part}.{name}")
    plain = {name: value for name, value in vars(summary).items() if not hasattr(value, "__dict__")}
    for name in plain.keys() - {"minutes", "times_ns"}:
        assert getattr(back, name) == getattr(summary, name), name
    assert back.encode() == summary.encode()


def test_day_of_a_satellite_takes_less_than_five_kilobytes():
    assert len(satellite_day(missing=40).encode()) < 5_000


@given(st.binary(max_size=60))
def test_bytes_that_are_no_summary_are_refused(junk):
    with pytest.raises(CodecError, match="day summary"):
        DaySummary.decode(junk)


def test_damaged_or_cut_summary_is_refused():
    good = satellite_day().encode()
    for bad in (good[:-3], good[:50] + bytes([good[50] ^ 255]) + good[51:], b"\x07" + good[1:]):
        with pytest.raises(CodecError, match="make it anew"):
            DaySummary.decode(bad)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 86_399), st.floats(-100.0, 1e6, allow_nan=False)),
        unique_by=lambda one: one[0],
        max_size=60,
    ),
    st.sampled_from([0.0, 0.3]),
)
def test_summary_counts_what_a_loop_over_the_samples_counts(samples, delay_s):
    samples = sorted(samples)
    summary = day_of(
        [second for second, _ in samples],
        [latency for _, latency in samples],
        metas=(vector_meta(delay_s=delay_s),),
    )
    rows = [(second, round(latency * 1e9) / 1e9) for second, latency in samples]
    for hour in range(24):
        of_hour = [latency for second, latency in rows if second // 3600 == hour]
        assert summary.hours.n[hour] == len(of_hour)
        assert summary.hours.within_target[hour] == sum(latency <= 30.0 for latency in of_hour)
        assert summary.hours.sum_s[hour] == pytest.approx(sum(of_hour), abs=1e-6)
        if of_hour:
            assert summary.hours.max_s[hour] == max(of_hour)
            assert summary.hours.delay_s[hour] == pytest.approx(delay_s)
        assert summary.hours.count[summary.hours.hour == hour].sum() == len(of_hour)
    for minute in {second // 60 for second, _ in samples}:
        assert summary.minutes[minute] == sum(second // 60 == minute for second, _ in samples)
    assert summary.minutes.sum() == summary.n == len(samples)
    seconds = [second for second, _ in samples]
    steps = [(a, b) for a, b in pairwise(seconds) if b - a > 1]
    gaps = summary.gaps
    found = zip((gaps.begin_ns - DAY) // NS, (gaps.end_ns - DAY) // NS, gaps.lost, strict=True)
    assert list(found) == [(a + 1, b, b - a - 1) for a, b in steps]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), max_size=40))
def test_late_runs_are_the_stretches_that_a_loop_finds(late):
    latency_s = np.where(late, 100.0 - np.arange(len(late)) / 2, 0.2)
    summary = day_of(np.arange(len(late)), latency_s)
    came_s = np.arange(len(late)) + latency_s
    runs, begin = [], None
    for place, is_late in enumerate([*late, False]):
        if is_late and begin is None:
            begin = place
        elif not is_late and begin is not None:
            back = came_s[place] if place < len(late) else None
            came = came_s[begin:place]
            runs.append((begin, place - 1, place - begin, came.min(), came.max(), back))
            begin = None
    run = summary.late
    found = zip(
        (run.begin_ns - DAY) / NS,
        (run.last_ns - DAY) / NS,
        run.n,
        (run.first_arrival_ns - DAY) / NS,
        (run.last_arrival_ns - DAY) / NS,
        [None if back == 0 else (back - DAY) / NS for back in run.back_ns],
        strict=True,
    )
    assert list(found) == runs


def test_late_is_told_from_the_way_without_the_instruments_own_delay():
    metas = (vector_meta(delay_s=2.0),)
    late = day_of(np.arange(3), [2.9, 3.1, 2.9], metas=metas).late
    assert ((late.begin_ns - DAY) // NS).tolist() == [1]


def test_jitter_of_up_to_half_a_cadence_is_no_gap():
    summary = day_of([0.0, 1.4, 2.0, 3.45, 4.0], 0.1)
    assert summary.gaps.lost.tolist() == []
    assert day_of([0.0, 1.6], 0.1).gaps.lost.tolist() == [1]


def test_ten_hertz_has_no_gaps_between_its_blocks_and_one_where_a_block_is_missing():
    coil = Stream("PEA", "coil", "10hz")
    seconds = np.concatenate([np.arange(0, 5, 0.1), np.arange(6, 8, 0.1)])
    summary = day_of(seconds, 0.2, stream=coil)
    assert summary.gaps.lost.tolist() == [10]
    assert (summary.gaps.begin_ns - DAY).tolist() == [5 * NS]


def test_three_hertz_whose_times_are_no_whole_nanoseconds_has_no_gap():
    stream = Stream("PEA", "coil", "3hz")
    time_ns = DAY + np.arange(3 * 3600, dtype=np.int64) * NS // 3
    summary = summarise(stream, (vector_meta(),), DAY, time_ns, time_ns)
    assert summary.gaps.lost.size == 0
    assert summary.minutes[:60].tolist() == [180] * 60


def test_samples_at_the_same_place_in_the_cadence_count_once():
    """Two clocks of a station that was restarted gave some seconds twice, 0.2 s apart."""
    seconds = np.sort(np.concatenate([np.arange(120), np.arange(30, 40) + 0.2]))
    summary = day_of(seconds, 0.1)
    assert summary.n == 130
    assert summary.minutes[:3].tolist() == [60, 60, 0]


def test_arrivals_are_read_off_the_stations_own_clock():
    """A replay at 60 times the speed: a second on the way is a minute of station time, and not late."""
    wall_ns = T0_S * NS + 7 * DAY_NS
    clock = Clock(as_datetime(DAY), as_datetime(wall_ns), 60.0)
    time_ns = DAY + np.arange(0, 600, 60, dtype=np.int64) * NS
    arrival_ns = wall_ns + (time_ns - DAY) // 60 + 500_000_000
    summary = summarise(LEMI, (vector_meta(clock=clock),), DAY, time_ns, arrival_ns)
    assert summary.hours.max_s[0] == pytest.approx(30.0, abs=1e-6)
    assert summary.late.n.size == 0
    assert summary.clock == clock
    slow = summarise(LEMI, (vector_meta(clock=clock),), DAY, time_ns, arrival_ns + 600_000_000)
    assert slow.late.n.tolist() == [10]


def test_each_sample_has_the_delay_of_the_metadata_in_force_at_its_time():
    metas = (vector_meta(delay_s=0.3), vector_meta(valid_from=as_datetime(DAY + 1800 * NS), delay_s=0.5))
    summary = day_of(np.arange(3600), 1.0, metas=metas)
    assert summary.hours.delay_s[0] == pytest.approx(0.4)
    bins = summary.hours.bin
    assert [round(LOW_S[one], 1) <= 0.7 <= HIGH_S[one] + 0.2 for one in bins] == [True, True]
    assert summary.hours.count.tolist() == [1800, 1800]


def test_sample_from_before_any_metadata_has_no_delay():
    meta = vector_meta(valid_from=as_datetime(DAY + 5 * NS), delay_s=0.3)
    assert day_of([0], [1.0], metas=(meta,)).hours.delay_s[0] == 0.0
    assert day_of([0], [1.0], metas=()).hours.delay_s[0] == 0.0


def test_irregular_stream_keeps_its_times_and_schedule_instead_of_gaps():
    meta = scalar_meta(schedule=("06:30", "12:00"), schedule_tolerance_s=600.0)
    summary = day_of([23_500, 43_000], [4e4, 1e5], stream=Stream("PEA", "didd", "abs"), metas=(meta,))
    assert (summary.times_ns - DAY).tolist() == [23_500 * NS, 43_000 * NS]
    assert (summary.schedule, summary.schedule_tolerance_s) == (("06:30", "12:00"), 600.0)
    assert summary.gaps.lost.size == summary.late.n.size == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e7, allow_nan=False), min_size=1, max_size=50),
    st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]),
)
def test_quantile_of_a_histogram_is_within_its_bin_of_the_exact_one(values, fraction):
    values = np.array(values)
    bins, count = np.unique(bin_of(values), return_counts=True)
    found = quantiles(np.zeros(bins.size, np.int64), LOW_S[bins], HIGH_S[bins], count, (fraction,))
    exact = np.quantile(values, fraction, method="inverted_cdf")
    assert found.shape == (1, 1)
    assert abs(found[0, 0] - exact) <= max(0.001, (RATIO - 1) * abs(exact)) * (1 + 1e-9)


def test_bins_are_a_millisecond_or_two_percent_wide_up_to_a_century():
    positive = EDGES_S[EDGES_S >= 0]
    width = np.diff(positive)
    assert np.all(width <= np.maximum(0.001, 0.02 * positive[:-1]) * (1 + 1e-9))
    assert positive[-1] > 100 * 365 * 86_400
    np.testing.assert_allclose(EDGES_S, -EDGES_S[::-1])
    inside = np.array([-1e9, -0.3, -1e-6, 0.0, 0.0004, 0.3, 4e8])
    bins = bin_of(inside)
    assert np.all((LOW_S[bins] <= inside) & (inside < HIGH_S[bins]))


def test_summary_says_whose_it_is():
    summary = day_of([1], [0.1], stream=GSM, metas=(scalar_meta(),))
    assert (summary.stream, summary.day_ns) == (GSM, DAY)
    assert DaySummary.decode(summary.encode()).stream == GSM
