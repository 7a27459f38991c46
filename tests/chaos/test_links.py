"""Links that go silent, break, or are as poor as a satellite's."""

import time

import pytest
from chaos.harness import check, check_journal, recording

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


def test_a_frozen_link_accepts_and_never_answers(observatory, rng):
    """No end of the connection hears of it, for shorter and longer than the keep-alive of 10 s."""
    site = observatory(recording(30 * 200), speed=200)
    site.begin()
    for silence_s in (rng.uniform(1, 4), rng.uniform(9, 11)):
        site.relay.freeze()
        time.sleep(silence_s)
        site.relay.restore()
        time.sleep(rng.uniform(1, 4))
    site.settle(120)
    check(site)
    check_journal(site)


def test_a_link_may_break_again_and_again_in_the_middle_of_recovery(observatory, rng):
    site = observatory(recording(20 * 400), speed=400, latency_s=0.05)
    site.begin()
    for _ in range(6):
        time.sleep(rng.uniform(0.3, 2.0))
        site.relay.cut()
        time.sleep(rng.choice([0.1, 0.5, 4.0]))
        site.relay.restore()
    site.settle(120)
    check(site)
    check_journal(site)


def test_a_satellite_of_56_kbit_s_with_600_ms_and_lost_segments_after_an_outage(observatory, rng):
    """600 ms one way; the outage leaves more than goes again as live samples, so packed blocks bring it."""
    speed = 40
    site = observatory(
        recording(36 * speed), speed=speed, latency_s=0.6, loss=0.01, bits_per_s=56_000,
        seed=rng.randrange(2**31),
    )  # fmt: skip
    site.begin()
    site.relay.cut()
    time.sleep(16)
    site.relay.restore()
    site.settle(120)
    check(site)
    check_journal(site)
    assert site.relay.up.lost > 0
