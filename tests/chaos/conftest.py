"""A chosen seed, and an observatory that is taken down after the test.

OBSLAB_CHAOS_SEED=<the number that a failure prints> plays the same choices again.
"""

import logging
import os
import random

import pytest
from chaos.harness import Observatory

log = logging.getLogger(__name__)


@pytest.fixture
def rng():
    seed = int(os.environ.get("OBSLAB_CHAOS_SEED", 0)) or random.SystemRandom().randrange(1, 2**31)
    log.warning("OBSLAB_CHAOS_SEED=%d", seed)  # pytest shows it when the test fails
    return random.Random(seed)


@pytest.fixture
def observatory(tmp_path, state_dir):
    """Makes it: `observatory(recording(n), speed=400, latency_s=0.6)`; the link's options are the relay's."""
    made = []

    def make(sent, **options):
        made.append(Observatory(tmp_path, sent, **options))
        return made[0]

    yield make
    for one in made:
        said = one.said
        one.close()
        log.warning("what the processes said: %s", said[-3000:])
