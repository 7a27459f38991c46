"""The simulated station: the same again for the same seed and time, over a link as the paper measured it."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from telemetry.makers import NS, T0_S

from obslab.errors import ConfigError
from obslab.telemetry import codec
from obslab.telemetry.sample import Clock, as_datetime
from obslab.telemetry.station.journal import Entry
from obslab.telemetry.station.simulate import PRESETS, Satellite, Simulator, preset_named

DAY_S = 86_400


def simulator(**options):
    return Simulator(wall_ns=T0_S * NS, **options)


def satellite(preset, *, seed=1):
    return Satellite(Clock(as_datetime(T0_S * NS), as_datetime(T0_S * NS)), PRESETS[preset], seed=seed)


def test_same_seed_and_time_give_the_same_bytes():
    due = [simulator(seed=7).due((T0_S + 60) * NS) for _ in range(2)]
    assert due[0] == due[1]
    assert len(due[0]) == 2 * 60  # the LEMI hands out the 60th second only 0.3 s later
    assert simulator(seed=8).due((T0_S + 60) * NS) != due[0]


def test_started_later_it_gives_the_same_bytes_for_the_same_second():
    early = simulator().due((T0_S + 60) * NS)
    late = Simulator(wall_ns=(T0_S + 40) * NS).due((T0_S + 60) * NS)
    assert late == early[2 * 40 :]


def test_restart_keeps_the_clock_and_repeats_no_second(journal):
    first = Simulator(speed=10.0)
    for stream, meta in first.metas():
        journal.add_meta(stream.meta_topic, meta)
    ahead_ns = first.clock.at(time.time_ns()) + 3600 * NS  # journalled up to an hour ahead
    journal.append([(first.vector.topic, ahead_ns // NS * NS, b"")])

    second = Simulator(speed=10.0)
    second.resume(journal)
    assert second.clock == first.clock
    assert second.due(ahead_ns) == []
    assert second.due(ahead_ns + 2 * NS)[0][1] == ahead_ns // NS * NS + NS


def test_other_speed_on_the_same_journal_is_refused_when_it_would_go_back(journal):
    first = simulator(speed=10.0)
    for stream, meta in first.metas():
        journal.add_meta(stream.meta_topic, meta)
    journal.append(first.due((T0_S + 60) * NS))
    with pytest.raises(ConfigError, match="choose another --journal"):
        simulator().resume(journal)
    Simulator(wall_ns=(T0_S + 61) * NS).resume(journal)  # later than all there is: no contradiction


def test_scalar_agrees_with_the_vector_within_their_noise():
    device = simulator()
    metas = {stream.topic: meta for stream, meta in device.metas()}
    messages = device.due((T0_S + 3600) * NS)
    values = {
        topic: codec.unpack(
            metas[topic], b"".join(payload[4:] for one, _, payload in messages if one == topic)
        )
        for topic in metas
    }
    vector, scalar = (values[stream.topic][0] for stream in (device.vector, device.scalar))
    difference = scalar[:, 0] - np.linalg.norm(vector, axis=1)
    # Noise of 0.01 nT along F and of 0.02 nT of the scalar, and rounding to 0.01 nT.
    sigma = math.sqrt(0.01**2 + 0.02**2 + 0.01**2 / 12)
    assert difference.std() == pytest.approx(sigma, rel=4 / math.sqrt(2 * len(difference)))
    assert abs(difference.mean()) < 4 * sigma / math.sqrt(len(difference))
    assert 30_000 < scalar.mean() < 50_000
    assert set(values[device.scalar.topic][1]) <= set(range(95, 100))  # the GSM-90's quality figure


def test_samples_come_as_late_as_the_lemi_hands_them_out():
    device = simulator()
    assert device.due(T0_S * NS + 299_000_000) == []
    assert len(device.due(T0_S * NS + 300_000_000)) == 2
    (_, vector), (_, scalar) = device.metas()
    assert (vector.delay_s, scalar.delay_s) == (0.3, 0.3)  # both are handed out together


def test_names_of_station_and_instruments_are_the_users():
    device = simulator(station="ABC", instruments=("v", "s"))
    assert [topic for topic, _, _ in device.due((T0_S + 1) * NS)] == ["abc/v/sec", "abc/s/sec"]


def test_latency_over_pea_has_the_papers_mean_and_the_presets_spread():
    link = satellite("pea")
    n = 20_000
    latency_s = np.array([link.latency_s(seq) for seq in range(n)])
    # 300 ms on average, as Bracke et al. (2017) measured over a month; five standard errors.
    assert latency_s.mean() == pytest.approx(0.3, abs=5 * 0.05 / math.sqrt(n))
    # The variance of a variance of a gamma distribution of shape 9 is (2 + 6 / 9) / n.
    assert latency_s.std() == pytest.approx(0.05, rel=5 * math.sqrt((2 + 6 / 9) / n) / 2)
    assert latency_s.min() >= 0.15  # light needs time to a geostationary satellite
    assert [link.latency_s(seq) for seq in range(5)] == latency_s[:5].tolist()


@pytest.mark.parametrize(
    ("stated", "every_s", "step_s"),
    [
        (PRESETS["demo"], 180, 1.0),
        # Ten in a month, as at PEA; made longer, since 4 s in three days are not found by looking.
        (replace(PRESETS["pea"], outage_s=21_600.0), 3 * DAY_S, 3600.0),
    ],
    ids=["demo", "pea"],
)
def test_outages_come_at_the_stated_rate_and_last_as_long_as_stated(stated, every_s, step_s):
    n = 200
    link = Satellite(Clock(as_datetime(T0_S * NS), as_datetime(T0_S * NS)), stated)
    out = np.array([link.is_out(round((T0_S + s) * NS)) for s in np.arange(0, n * every_s, step_s)])
    # One in each interval, of exponential length; one shorter than a step may fall between two.
    missed = 1 - math.exp(-step_s / stated.outage_s)
    begins = np.count_nonzero(out[1:] & ~out[:-1]) + out[0]
    assert n * (1 - missed) - 5 * math.sqrt(n * missed) <= begins <= n
    mean_s = np.count_nonzero(out) * step_s / n
    assert mean_s == pytest.approx(stated.outage_s, abs=5 * stated.outage_s / math.sqrt(n))


def test_quiet_link_holds_nothing_back():
    link = satellite("quiet")
    assert link.latency_s(1) == 0.0
    assert not any(link.is_out((T0_S + hour * 3600) * NS) for hour in range(1000))


def test_order_is_kept_whatever_the_latencies(monkeypatch):
    """A message that had luck on the way waits for the one before it."""
    link = satellite("pea")
    entries = [Entry(seq, "pea/lemi0001/sec", T0_S * NS + seq * 10_000_000, b"") for seq in range(1, 400)]
    free_ns = [entry.time_ns + round((0.3 + link.latency_s(entry.seq)) * NS) for entry in entries]
    assert free_ns != sorted(free_ns)  # without the rule, some would overtake
    now_ns, released_ns, waiting = T0_S * NS, [], list(entries)
    monkeypatch.setattr("obslab.telemetry.station.simulate.time.time_ns", lambda: now_ns)
    while waiting:
        now_ns += 1_000_000
        while waiting and link(waiting[0]):
            waiting.pop(0)
            released_ns.append(now_ns)
    # Each goes within a step of a millisecond after the latest that it or one before it had to wait for.
    delay_ns = np.array(released_ns) - np.maximum.accumulate(free_ns)
    assert (delay_ns >= 0).all()
    assert (delay_ns <= 1_000_000).all()


def test_nothing_goes_while_the_link_is_out_and_all_of_it_afterwards(monkeypatch):
    link = satellite("demo", seed=3)
    out_s = next(s for s in range(180) if link.is_out((T0_S + s) * NS))
    back_s = next(s for s in range(out_s, 360) if not link.is_out((T0_S + s) * NS))
    entry = Entry(1, "pea/lemi0001/sec", (T0_S + out_s - 10) * NS, b"")
    now_s = out_s
    monkeypatch.setattr("obslab.telemetry.station.simulate.time.time_ns", lambda: (T0_S + now_s) * NS)
    assert not link(entry)
    now_s = back_s
    assert link(entry)


def test_link_is_up_before_its_clock_begins():
    """A wall clock that is set back must not end the publisher's thread."""
    assert satellite("demo").is_out((T0_S - 100) * NS) in (True, False)


def test_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="'mars' is none of pea, demo, quiet"):
        preset_named("mars")
