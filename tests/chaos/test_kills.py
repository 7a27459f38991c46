"""SIGKILL of broker, station and collector at random moments: nothing is lost, nothing is there twice."""

import time

import pytest
from chaos.harness import check, check_journal, recording

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

SPEED = 400  # samples of each of two instruments in a second
KINDS = ("broker", "station", "collector")


def test_any_part_may_be_killed_at_any_moment(observatory, rng):
    """The embedded broker is the worst of all: killed, it forgets sessions, queues and retained messages."""
    site = observatory(recording(24 * SPEED), speed=SPEED)
    site.begin()
    victims = [*KINDS * 5]
    rng.shuffle(victims)
    for kind in victims:
        time.sleep(rng.uniform(0.05, 2.0))
        site.kill(kind)
        time.sleep(rng.choice([0, 0, 0.5]))
        site.again(kind)
    site.settle(120)
    check(site)
    check_journal(site)


def test_two_or_all_parts_may_die_together(observatory, rng):
    site = observatory(recording(16 * SPEED), speed=SPEED)
    site.begin()
    for _ in range(5):
        time.sleep(rng.uniform(0.5, 3.0))
        together = rng.sample(KINDS, rng.choice([2, 2, 3]))
        for kind in together:
            site.kill(kind)
        rng.shuffle(together)
        for kind in together:
            time.sleep(rng.choice([0, 0.3]))
            site.again(kind)
    site.settle(120)
    check(site)
    check_journal(site)
