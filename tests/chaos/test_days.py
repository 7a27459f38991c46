"""Days of data in a minute, with everything going wrong on the way."""

import time

import pytest
from chaos.harness import check, check_journal, recording

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

DAY_S = 86_400
SPEED = 2000


def test_a_day_of_two_instruments_is_whole_after_a_bad_day(observatory, rng):
    """86,400 of 86,400, none twice, for vector and scalar: kills, a broken and a silent link."""
    site = observatory(recording(DAY_S), speed=SPEED)
    site.begin()
    troubles = ["broker", "station", "collector", "cut", "freeze", "broker", "station", "collector"]
    rng.shuffle(troubles)
    for trouble in troubles:
        time.sleep(rng.uniform(1.0, 4.0))
        if trouble in ("cut", "freeze"):
            site.relay.cut() if trouble == "cut" else site.relay.freeze()
            time.sleep(rng.uniform(1.0, 5.0))
            site.relay.restore()
        else:
            site.kill(trouble)
            time.sleep(rng.choice([0, 1.0]))
            site.again(trouble)
    site.settle(200)
    check(site)
    check_journal(site)
