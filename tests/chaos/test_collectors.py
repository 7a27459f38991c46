"""Two collectors after another, on one archive and on two."""

import time

import numpy as np
import pytest
from chaos.harness import check, check_journal, recording, wait_for

from obslab.telemetry.archive.store import open_archive
from obslab.times import to_ns

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

SPEED = 300


def test_collectors_that_relieve_each_other_leave_one_whole_archive(observatory, rng):
    site = observatory(recording(14 * SPEED), speed=SPEED)
    site.begin()
    for _ in range(3):
        time.sleep(rng.uniform(0.5, 2.5))
        assert site.end("collector") == 0
        time.sleep(rng.choice([0, 2.0]))
        site.start("collector")
    site.settle(120)
    check(site)
    check_journal(site)


def test_an_archive_that_was_away_while_another_collected_is_whole_in_the_end(observatory, rng, tmp_path):
    """The other does not confirm: it is not the one that the journal is kept for."""
    site = observatory(recording(14 * SPEED), speed=SPEED)
    site.begin()
    time.sleep(rng.uniform(1, 3))
    assert site.end("collector") == 0
    first, other = site.commands["collector"], tmp_path / "other"
    site.plan("collector", "collect", "--broker", site.broker.url, "--archive", other)
    site.start("collector")
    wait_for(lambda: site.stored(other) > 0, 30, "a sample in the other archive")
    time.sleep(rng.uniform(1, 3))
    assert site.end("collector") == 0
    site.commands["collector"] = first
    site.start("collector")
    site.settle(120)
    check(site)
    check_journal(site)
    with open_archive(other) as opened:
        for track in site.sent.tracks:
            found = to_ns(opened.dataset(track.stream.station, track.stream.instrument).time.values)
            assert np.unique(found).size == found.size > 0
            assert np.isin(found, track.time_ns).all()
