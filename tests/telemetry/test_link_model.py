"""The modelled link: each sample as late as latency, rate and outages make it, and none lost."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry.makers import NS, T0_S

from obslab.telemetry.station.link_model import (
    LIVE_FIRST,
    MESSAGE_BYTES,
    PRESETS,
    Preset,
    arrivals,
    outages,
)

T0 = T0_S * NS
PLAIN = Preset(latency_s=0.3, jitter_s=0.0, outages_per_day=0.0, outage_s=0.0)


def seconds(n):
    return T0 + np.arange(n, dtype=np.int64) * NS


def latency_s(time_ns, preset, seed=1, **options):
    return (arrivals(time_ns, preset, np.random.default_rng(seed), **options) - time_ns) / NS


def test_quiet_link_gives_the_instruments_delay_alone():
    np.testing.assert_allclose(latency_s(seconds(100), PRESETS["quiet"]), 0.3)
    np.testing.assert_allclose(latency_s(seconds(100), PRESETS["quiet"], delay_s=0.0), 0.0)


def test_mean_and_spread_are_as_stated_and_sending_is_part_of_it():
    found = latency_s(seconds(50_000), replace(PLAIN, jitter_s=0.05, bits_per_s=56_000.0), delay_s=0.0)
    assert found.mean() == pytest.approx(0.3, abs=5 * 0.05 / np.sqrt(50_000))
    assert found.std() == pytest.approx(0.05, rel=0.02)
    assert found.min() >= 0.15


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.floats(1e3, 1e6), st.integers(2, 400), st.floats(50.0, 20_000.0))
def test_messages_go_one_after_the_other_while_the_link_is_up(seed, bits_per_s, n, per_day):
    """Against a loop over the messages that looks at the link each time."""
    preset = Preset(0.0, 0.0, per_day, 20.0, bits_per_s=bits_per_s)
    time_ns = seconds(n)
    down = (outages(preset, T0, int(time_ns[-1]) + 1, np.random.default_rng(seed)) - T0) / NS
    each_s, free_s, truth = MESSAGE_BYTES * 8 / bits_per_s, 0.0, []
    for ready_s in np.arange(n) + 0.3:
        free_s, left_s = max(free_s, ready_s), each_s
        for begin_s, end_s in down:
            if free_s < begin_s and free_s + left_s > begin_s:  # cut off in the middle, it goes on later
                left_s -= begin_s - free_s
                free_s = end_s
            elif begin_s <= free_s < end_s:
                free_s = end_s
        free_s += left_s
        truth.append(free_s)
    found = (arrivals(time_ns, preset, np.random.default_rng(seed)) - T0) / NS
    np.testing.assert_allclose(found, truth, atol=1e-5)


def test_outages_are_apart_in_order_and_as_many_as_stated():
    days = 365 * 4
    found = outages(PRESETS["pea"], T0, T0 + days * 86_400 * NS, np.random.default_rng(1))
    length_s = (found[:, 1] - found[:, 0]) / NS
    assert np.all(found[1:, 0] > found[:-1, 1])
    short = length_s < 3600
    assert len(found) - short.sum() == 1
    assert length_s[~short] == pytest.approx([2 * 86_400], abs=20)
    assert short.sum() == pytest.approx(days / 3, abs=2)  # one may lie in the two days
    assert length_s.min() >= 2.0
    # 2 s and an exponential of 2 s more: a few seconds.
    assert length_s[short].mean() == pytest.approx(4.0, abs=5 * 2.0 / np.sqrt(short.sum()))


def test_long_backlog_comes_in_blocks_behind_what_is_live():
    preset = replace(PLAIN, long_outage_at_s=1000.0, long_outage_s=5000.0, bits_per_s=56_000.0)
    found = latency_s(seconds(8000), preset)
    out = slice(1000, 6000 - 1)
    assert found[out].min() > 0.5
    came_s = np.arange(8000)[out] + found[out]
    assert came_s.min() >= 6000.0
    assert np.all(np.diff(came_s) >= 0)
    assert LIVE_FIRST < 5000
    # 5,000 samples of 3 bytes: 2.2 s of the link; a live sample waits 0.6 s for a block at most.
    assert came_s.max() < 6000 + 2.5 + 0.6
    assert found[6000:].max() <= 0.6 + 0.59
    np.testing.assert_allclose(found[6010:], 0.6, atol=1e-6)
    np.testing.assert_allclose(found[:999], 0.6, atol=1e-6)


def test_short_backlog_goes_in_order_at_the_links_rate():
    preset = replace(PLAIN, long_outage_at_s=1000.0, long_outage_s=280.0, bits_per_s=56_000.0)
    time_ns = seconds(3000)
    came = arrivals(time_ns, preset, np.random.default_rng(1))
    assert np.all(np.diff(came) > 0)
    # 280 messages of 69 bytes are 2.8 s of the link, and those that come meanwhile.
    late = (came - time_ns) / NS > 1.0
    assert 280 <= late.sum() <= 284


def test_same_generator_gives_the_same_arrivals_and_outages():
    time_ns = seconds(40_000)
    assert latency_s(time_ns, PRESETS["demo"], 5).tolist() == latency_s(time_ns, PRESETS["demo"], 5).tolist()
    assert latency_s(time_ns, PRESETS["demo"], 5).tolist() != latency_s(time_ns, PRESETS["demo"], 6).tolist()


def test_nothing_sent_gives_nothing():
    none = np.empty(0, np.int64)
    assert arrivals(none, PRESETS["pea"], np.random.default_rng(1)).size == 0
