"""Latency: from summaries the same as from every sample, within the width of a bin; and the paper's link."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta

from obslab.errors import ConfigError
from obslab.telemetry.metrics.histogram import RATIO
from obslab.telemetry.metrics.latency import distribution, exact_latency, latency, latency_dataset
from obslab.telemetry.metrics.summary import summarise
from obslab.telemetry.sample import Clock, Stream, as_datetime

DAY_NS = 86_400 * NS
DAY = T0_S * NS // DAY_NS * DAY_NS
HOUR_NS = 3600 * NS
QUANTILES = {"p50_s": 0.5, "p90_s": 0.9, "p99_s": 0.99}


def days_of(stream, time_ns, arrival_ns, metas):
    day = time_ns // DAY_NS
    return [
        summarise(stream, metas, one * DAY_NS, time_ns[day == one], arrival_ns[day == one])
        for one in np.unique(day)
    ]


def sampled(second, latency_s):
    time_ns = DAY + np.asarray(second, np.int64) * NS
    return time_ns, time_ns + np.rint(np.asarray(latency_s, float) * 1e9).astype(np.int64)


def within_a_bin(found, exact):
    """As far apart as the width of a bin of transport time, which is no wider than one of total latency."""
    return abs(found - exact) <= max(0.001, (RATIO - 1) * abs(exact)) * (1 + 1e-6) + 1e-9


samples = st.lists(
    st.tuples(
        st.integers(0, 3 * 86_400 - 1),
        st.one_of(st.floats(0.31, 2.0), st.floats(-5.0, 1e6, allow_nan=False)),
    ),
    min_size=1,
    max_size=80,
    unique_by=lambda one: one[0],
).map(sorted)


@settings(max_examples=60, deadline=None)
@given(samples, st.sampled_from([3600.0, 7200.0, 86_400.0, None]), st.booleans())
def test_summaries_and_samples_give_the_same_latency(rows, window_s, delay_changes):
    time_ns, arrival_ns = sampled(*zip(*rows, strict=True))
    metas = [vector_meta(delay_s=0.3)]
    if delay_changes:
        metas.append(vector_meta(valid_from=as_datetime(DAY + 30 * HOUR_NS), delay_s=0.1))
    begin_ns, end_ns = DAY, DAY + 3 * DAY_NS
    found = latency({LEMI: days_of(LEMI, time_ns, arrival_ns, metas)}, begin_ns, end_ns, window_s)
    delay_s = np.where((time_ns >= DAY + 30 * HOUR_NS) & delay_changes, 0.1, 0.3)
    total_s = (arrival_ns - time_ns) / 1e9
    window = np.zeros(time_ns.size) if window_s is None else time_ns // round(window_s * 1e9)
    assert found.sizes["window"] == np.unique(window).size
    for row, one in enumerate(np.unique(window)):
        mine = window == one
        part = found.isel(window=row)
        assert part.n == mine.sum()
        assert part.mean_s == pytest.approx(total_s[mine].mean(), abs=1e-6)
        assert part.max_s == total_s[mine].max()
        assert part.delay_s == pytest.approx(delay_s[mine].mean())
        assert part.within_target == pytest.approx((total_s[mine] <= 30.0).mean())
        assert part.begin.values.astype(np.int64) <= time_ns[mine].min()
        assert part.end.values.astype(np.int64) > time_ns[mine].max()
        for name, fraction in QUANTILES.items():
            way_s = np.quantile((total_s - delay_s)[mine], fraction, method="inverted_cdf")
            assert within_a_bin(part[f"transport_{name}"], way_s)
            if not delay_changes:
                assert within_a_bin(part[name] - 0.3, way_s)
            else:  # bins shifted by different delays overlap: two of them may be mixed up
                whole_s = np.quantile(total_s[mine], fraction, method="inverted_cdf")
                assert abs(part[name] - whole_s) <= 2 * max(0.001, (RATIO - 1) * (abs(whole_s) + 0.3))


@settings(max_examples=50, deadline=None)
@given(samples, st.sampled_from([60.0, 600.0, 3600.0, None]))
def test_exact_latency_is_numpys(rows, window_s):
    time_ns, arrival_ns = sampled(*zip(*rows, strict=True))
    begin_ns, end_ns = DAY + 1800 * NS, DAY + 2 * DAY_NS
    metas = (vector_meta(delay_s=0.3),)
    found = latency_dataset([exact_latency(LEMI, metas, time_ns, arrival_ns, begin_ns, end_ns, window_s)])
    inside = (time_ns >= begin_ns) & (time_ns < end_ns)
    total_s = (arrival_ns - time_ns)[inside] / 1e9
    window = np.zeros(inside.sum()) if window_s is None else time_ns[inside] // round(window_s * 1e9)
    assert found.n.values.sum() == inside.sum()
    for row, one in enumerate(np.unique(window)):
        part, mine = found.isel(window=row), total_s[window == one]
        assert (part.n, part.max_s) == (mine.size, mine.max())
        assert part.mean_s == pytest.approx(mine.mean())
        for name, fraction in QUANTILES.items():
            exact = np.quantile(mine, fraction, method="inverted_cdf")
            assert part[name] == exact
            assert part[f"transport_{name}"] == pytest.approx(exact - 0.3, abs=1e-9)


def test_exact_rows_of_days_join_to_the_rows_of_all():
    """As Dask computes them: each day for itself."""
    rng = np.random.default_rng(1)
    time_ns, arrival_ns = sampled(np.arange(0, 2 * 86_400, 40), rng.gamma(2, 0.2, 2 * 86_400 // 40))
    metas, end_ns = (vector_meta(delay_s=0.3),), DAY + 2 * DAY_NS
    whole = latency_dataset([exact_latency(LEMI, metas, time_ns, arrival_ns, DAY, end_ns, 600.0)])
    parts = []
    for begin_ns in (DAY + DAY_NS, DAY):
        mine = time_ns // DAY_NS == begin_ns // DAY_NS
        piece = (time_ns[mine], arrival_ns[mine], begin_ns, begin_ns + DAY_NS)
        parts.append(exact_latency(LEMI, metas, *piece, 600.0))
    assert latency_dataset(parts).identical(whole)


def test_hours_at_the_edges_are_whole_and_the_rows_say_so():
    time_ns, arrival_ns = sampled(np.arange(86_400), np.full(86_400, 0.5))
    days = {LEMI: days_of(LEMI, time_ns, arrival_ns, (vector_meta(),))}
    found = latency(days, DAY + 90 * 60 * NS, DAY + 150 * 60 * NS)
    assert found.n.values.tolist() == [3600, 3600]
    assert (found.begin.values.astype(np.int64) - DAY).tolist() == [HOUR_NS, 2 * HOUR_NS]
    one = latency(days, DAY + 90 * 60 * NS, DAY + 150 * 60 * NS, None)
    assert one.n.values.tolist() == [7200]
    assert (one.end.values.astype(np.int64) - DAY).tolist() == [3 * HOUR_NS]
    day = latency(days, DAY + 90 * 60 * NS, DAY + 150 * 60 * NS, 86_400.0)
    assert (day.begin.values.astype(np.int64) - DAY).tolist() == [HOUR_NS]


@pytest.mark.parametrize("window_s", [60.0, 5400.0, 0.0, -3600.0])
def test_window_that_is_no_whole_number_of_hours_is_refused_with_the_way_out(window_s):
    with pytest.raises(ConfigError, match="exact=True"):
        latency({}, DAY, DAY + DAY_NS, window_s)


def test_nothing_gives_an_empty_table():
    assert latency({}, DAY, DAY + DAY_NS).sizes["window"] == 0
    assert latency({LEMI: []}, DAY, DAY + DAY_NS).sizes["window"] == 0
    none = np.empty(0, np.int64)
    empty = [summarise(LEMI, (), DAY, none, none)]
    assert latency({LEMI: empty}, DAY, DAY + DAY_NS).sizes["window"] == 0
    rows = exact_latency(LEMI, (), none, none, DAY, DAY + DAY_NS, 60.0)
    assert latency_dataset([rows]).sizes["window"] == 0
    assert distribution({}, DAY, DAY + DAY_NS).sizes["bin"] == 0


@pytest.mark.parametrize(
    ("samplerate", "target_s"), [("sec", 30.0), ("min", 120.0), ("10hz", 30.0), ("hour", None), ("abs", None)]
)
def test_targets_are_intermagnets(samplerate, target_s):
    stream = Stream("PEA", "lemi0001", samplerate)
    time_ns, arrival_ns = sampled([0, 3600 * 2], [30.0, 120.0])
    found = latency({stream: days_of(stream, time_ns, arrival_ns, ())}, DAY, DAY + DAY_NS, None)
    exact = latency_dataset([exact_latency(stream, (), time_ns, arrival_ns, DAY, DAY + DAY_NS, None)])
    want = [np.nan] if target_s is None else [0.5 if target_s == 30.0 else 1.0]
    np.testing.assert_array_equal(found.within_target.values, want)
    np.testing.assert_array_equal(exact.within_target.values, want)


def test_replayed_samples_are_as_late_as_the_stations_clock_says():
    clock = Clock(as_datetime(DAY), as_datetime(DAY + 900 * DAY_NS), 10.0)
    meta = vector_meta(clock=clock, delay_s=0.3)
    time_ns = DAY + np.arange(100) * NS
    arrival_ns = DAY + 900 * DAY_NS + np.arange(100) * NS // 10 + 60_000_000
    found = latency({LEMI: days_of(LEMI, time_ns, arrival_ns, (meta,))}, DAY, DAY + DAY_NS)
    assert found.max_s.values == pytest.approx([0.6], abs=1e-6)
    assert found.transport_p50_s.values == pytest.approx([0.3], abs=0.02 * 0.3)


def test_distribution_counts_all_samples_where_they_are():
    time_ns, arrival_ns = sampled(np.arange(1000), np.repeat([0.5, 40.0], 500))
    days = {
        LEMI: days_of(LEMI, time_ns, arrival_ns, (vector_meta(delay_s=0.3),)),
        GSM: days_of(GSM, time_ns, arrival_ns, (scalar_meta(),)),
    }
    found = distribution(days, DAY, DAY + DAY_NS)
    assert found.n.values.sum() == 2000
    for value, n in ((0.5, 1000), (40.0, 1000)):
        near = (found.low_s < value * 1.03) & (found.high_s > value * 0.97)
        assert found.n.values[near.values].sum() == n
    np.testing.assert_allclose(found.low_s[1:], found.high_s[:-1])
