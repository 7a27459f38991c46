"""Clocks that are set by an hour, forth and back, at the station and at the archive."""

import threading
import time
from datetime import UTC, datetime
from types import MappingProxyType

import pytest
from chaos.harness import check, check_journal, recording, wait_for

from obslab.telemetry.station.recording import Recording

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

HOUR_S = 3600.0
PER_S = 30  # lines in a second
GPS = "1390.0 7156.99400 S 02321.00100 E 9 2 0"


def lines(sent):
    """What a LEMI with GPS sends: the sample's time is its own, whatever the computer's clock shows."""
    (track,) = sent.tracks
    for time_ns, (x, y, z) in zip(track.time_ns.tolist(), track.values.tolist(), strict=True):
        at = datetime.fromtimestamp(time_ns // 10**9, UTC)
        yield f"{at:%Y %m %d %H %M %S} {x:.3f} {y:.3f} {z:.3f} -12.31 18.40 12.63 {GPS}\r\n".encode()


@pytest.fixture(params=[28])
def site(request, observatory, tmp_path):
    """A station that reads a LEMI on its standard input; its samples are of the last minutes."""
    seconds = request.param * PER_S
    both = recording(seconds, int(time.time()) - seconds)
    site = observatory(Recording(both.tracks[:1]), speed=1)
    site.plan("station", "station", "run", "--stdin", "--driver", "lemi25", "--iaga", "PEA",
              "--instrument", "lemi0001", "--broker", site.relay.url, "--journal", tmp_path / "journal",
              "--patience", 90)  # fmt: skip
    return site


def feed(site, wrong=MappingProxyType({})):
    """The instrument: all its lines at an even pace, then the end; before the n-th one with ``wrong[n]``."""
    pipe = site.processes["station"].stdin

    def write():
        for n, line in enumerate(lines(site.sent)):
            pipe.write(wrong.get(n, b"") + line)
            pipe.flush()
            time.sleep(1 / PER_S)
        pipe.close()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def begin(site, **how):
    site.start("collector")
    site.wait_collector()
    site.start("station")
    thread = feed(site, **how)
    wait_for(lambda: site.stored() > 0, 30, "the first sample in the archive")
    return thread


def step(site, part, rng):
    """An hour ahead, right, an hour behind, right; each long enough for a ledger or not."""
    for ahead_s in (HOUR_S, 0.0, -HOUR_S, 0.0):
        site.controls[part].set_clock(ahead_s)
        time.sleep(rng.choice([1.0, 14.0]) if ahead_s > 0 else 14.0 if ahead_s < 0 else 1.0)


def end(site, feeding, *, rejected=False):
    feeding.join()
    site.settle(120)
    check(site, rejected=rejected)
    check_journal(site)


def test_a_station_s_clock_may_be_set_by_an_hour(site, rng):
    feeding = begin(site)
    step(site, "station", rng)
    end(site, feeding)


def test_an_archive_s_clock_may_be_set_by_an_hour(site, rng):
    """Behind by an hour it takes all that comes for the future; when it is right again it has it all."""
    feeding = begin(site)
    step(site, "collector", rng)
    end(site, feeding, rejected=True)


@pytest.mark.parametrize("site", [6], indirect=True)
def test_a_time_stamp_from_the_future_is_recorded_and_holds_nothing_up(site):
    """A GPS that is a year ahead for one line: refused, on record, and no reason to keep the journal."""
    wrong = {
        n: line.replace(line[:4], b"%d" % (int(line[:4]) + 1), 1)
        for n, line in enumerate(lines(site.sent))
        if n == 100
    }
    feeding = begin(site, wrong=wrong)
    end(site, feeding, rejected=True)
