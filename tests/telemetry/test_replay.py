"""Replay: the recorded values at the right time, and after a restart the next sample, none twice."""

import numpy as np
import pytest
from telemetry.makers import NS, T0_S, scalar_meta, vector_meta

from obslab.errors import ConfigError, MetadataError
from obslab.telemetry import codec
from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.sample import Stream, as_datetime
from obslab.telemetry.station.recording import Recording, Track
from obslab.telemetry.station.replay import Replay
from obslab.times import as_ns

LENGTH = 20
NOW_S = T0_S + 1_000_000  # when "now" is in these tests
VECTOR, SCALAR = Stream("WIC", "lemi"), Stream("WIC", "gsm")
HALF_SECOND_NS = NS // 2


def recording(length=LENGTH, begin_s=T0_S, tweak=None):
    """Sample n of the vector is (n, -n, 2 n) nT, of the scalar n nT."""
    time_ns = (begin_s + np.arange(length)) * NS
    n = np.arange(length, dtype=float)
    values = np.stack([n, -n, 2 * n], axis=1)
    if tweak:
        tweak(values)
    begin = as_datetime(begin_s * NS)
    return Recording(
        (
            Track(VECTOR, vector_meta(valid_from=begin), time_ns, values),
            Track(SCALAR, scalar_meta(valid_from=begin), time_ns, n[:, None]),
        )
    )


def replay(given=None, **options):
    return Replay(given or recording(), wall_ns=NOW_S * NS + HALF_SECOND_NS, **options)


def play(player, wall_s):
    """What is due at a second of UTC, as (topic, seconds since 1970, values)."""
    metas = {stream.topic: meta for stream, meta in player.metas()}
    return [
        (topic, at // NS, codec.unpack(metas[topic], payload[4:])[0][0].tolist())
        for topic, at, payload in player.due(player.clock.at(wall_s * NS))
    ]


def numbers(messages, topic=VECTOR.topic):
    """Which samples of the recording these messages are."""
    return [round(values[0]) for one, _, values in messages if one == topic]


def run(player, journal, seconds):
    """As a station does it, one step for each second of UTC."""
    played = []
    for second in seconds:
        for stream, meta in player.metas():
            journal.add_meta(stream.meta_topic, meta)
        due = player.due(player.clock.at(second * NS))
        journal.append(due)
        played += due
    return played


def test_shifted_replay_begins_now_and_original_keeps_its_time():
    shifted, original = replay(), replay(shifted=False)
    for player, begin_s in ((shifted, NOW_S), (original, T0_S)):
        messages = play(player, NOW_S + 2)
        assert [at for topic, at, _ in messages if topic == VECTOR.topic] == [
            begin_s,
            begin_s + 1,
            begin_s + 2,
        ]
        assert messages[2] == (VECTOR.topic, begin_s + 1, [1.0, -1.0, 2.0])
        assert messages[3] == (SCALAR.topic, begin_s + 1, [1.0])
        assert player.clock.recorded == as_datetime(T0_S * NS)
        assert player.clock.wall == as_datetime(NOW_S * NS)  # a whole second, so that samples are on one


def test_nothing_is_due_before_its_time_nor_a_second_time():
    player = replay()
    assert play(player, NOW_S - 1) == []
    assert player.next_ns() == NOW_S * NS
    assert numbers(play(player, NOW_S)) == [0]
    assert numbers(play(player, NOW_S)) == []
    assert player.next_ns() == (NOW_S + 1) * NS
    assert numbers(play(player, NOW_S + 100)) == list(range(1, LENGTH))
    assert player.next_ns() is None


def test_speed_makes_recorded_time_pass_faster_and_keeps_the_cadence_of_sample_times():
    player = replay(speed=5.0)
    messages = play(player, NOW_S + 2)
    assert numbers(messages) == list(range(11))
    assert [at - NOW_S for topic, at, _ in messages if topic == VECTOR.topic] == list(range(11))


def test_begin_is_a_recorded_time_and_is_cut_to_its_second():
    player = replay(begin_ns=(T0_S + 7) * NS + 123)
    assert numbers(play(player, NOW_S + 1)) == [7, 8]
    assert player.clock.recorded == as_datetime((T0_S + 7) * NS)


def test_samples_between_whole_seconds_are_played_between_whole_seconds():
    given = recording()
    offset = [
        Track(one.stream, meta, one.time_ns + HALF_SECOND_NS, one.values)
        for one, meta in zip(
            given.tracks, (vector_meta(offset_s=0.5), scalar_meta(offset_s=0.5)), strict=True
        )
    ]
    for shifted in (True, False):
        player = replay(Recording(offset), shifted=shifted)
        due = player.due(player.clock.at((NOW_S + 2) * NS))
        assert [at % NS for _, at, _ in due] == [HALF_SECOND_NS] * 4
        assert player.unsendable == []


def test_an_instruments_own_delay_holds_its_samples_back_but_not_their_time():
    tracks = list(recording().tracks)
    tracks[0] = Track(VECTOR, vector_meta(delay_s=0.3), tracks[0].time_ns, tracks[0].values)
    player = replay(Recording(tuple(tracks)))
    first = player.due((NOW_S + 1) * NS)
    assert [topic for topic, _, _ in first] == [VECTOR.topic, SCALAR.topic, SCALAR.topic]
    (late,) = player.due((NOW_S + 1) * NS + 3 * NS // 10)
    assert late[:2] == (VECTOR.topic, (NOW_S + 1) * NS)


def test_loop_goes_on_without_a_gap_while_recorded_time_jumps_back():
    player = replay(loop=True)
    messages, clocks = [], {player.clock}
    for second in range(2 * LENGTH + 5):
        messages += play(player, NOW_S + second)
        clocks.add(player.clock)
    times = [at for topic, at, _ in messages if topic == VECTOR.topic]
    assert times == list(range(NOW_S, NOW_S + 2 * LENGTH + 5))
    assert numbers(messages) == [n % LENGTH for n in range(2 * LENGTH + 5)]
    first, second, third = sorted(clocks, key=lambda clock: clock.station)
    assert second.station == as_datetime((NOW_S + LENGTH) * NS)
    assert first.recorded == second.recorded == third.recorded == as_datetime(T0_S * NS)
    # One and the same line: a receiver with an old version computes the same latency.
    assert {clock.at((NOW_S + 3) * NS) for clock in clocks} == {(NOW_S + 3) * NS}
    assert {meta.valid_from for _, meta in player.metas()} == {third.station}  # a version of its own


def test_loop_begins_anew_at_the_first_sample_even_if_it_began_in_the_middle():
    player = replay(loop=True, begin_ns=(T0_S + 15) * NS)
    played = [n for second in range(10) for n in numbers(play(player, NOW_S + second))]
    assert played == [15, 16, 17, 18, 19, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("before", [1, 7, LENGTH - 1, LENGTH, LENGTH + 1, 2 * LENGTH + 6])
def test_restart_keeps_the_clock_and_goes_on_with_the_next_sample(journal, shifted, before):
    """Also after the recording has begun anew, and just as it does."""
    options = {"shifted": shifted, "loop": True, "speed": 1.0}
    first = replay(**options)
    played = run(first, journal, range(NOW_S, NOW_S + before))

    later_s = NOW_S + before + 30  # it was down for half a minute
    second = Replay(recording(), wall_ns=later_s * NS, **options)
    second.resume(journal)
    assert second.clock.at(later_s * NS) == first.clock.at(later_s * NS)
    assert second.clock in {meta.clock for meta in journal.metas()[VECTOR.meta_topic]}
    played += run(second, journal, range(later_s, later_s + 4))

    begin_s = NOW_S if shifted else T0_S
    for stream in (VECTOR, SCALAR):
        times = [at // NS for topic, at, _ in played if topic == stream.topic]
        assert times == list(range(begin_s, begin_s + len(times)))
        assert len(times) >= before
    assert len(played) == journal.last_seq()


def test_replay_that_had_come_to_its_end_has_nothing_more_to_do(journal):
    run(replay(), journal, [NOW_S + 100])
    again = Replay(recording(), wall_ns=(NOW_S + 200) * NS)
    again.resume(journal)
    assert again.next_ns() is None
    assert again.due(again.clock.at((NOW_S + 300) * NS)) == []


def test_restart_before_the_scalars_first_sample_loses_none_of_it(journal):
    given = recording()
    scalar = Track(SCALAR, given.tracks[1].meta, given.tracks[1].time_ns[5:], given.tracks[1].values[5:])
    tracks = Recording((given.tracks[0], scalar))
    first = replay(tracks)
    played = run(first, journal, [NOW_S + 2])
    second = Replay(tracks, wall_ns=(NOW_S + 9) * NS)
    second.resume(journal)
    played += run(second, journal, [NOW_S + 9])
    assert [at // NS - NOW_S for topic, at, _ in played if topic == SCALAR.topic] == [5, 6, 7, 8, 9]


def test_next_days_file_goes_into_the_same_journal(journal):
    run(replay(shifted=False), journal, [NOW_S + 100])
    tomorrow = Replay(recording(begin_s=T0_S + 86_400), shifted=False, wall_ns=(NOW_S + 101) * NS)
    tomorrow.resume(journal)
    assert numbers(play(tomorrow, NOW_S + 101)) == [0]  # at once, not when yesterday's clock gets there
    assert tomorrow.next_ns() == (T0_S + 86_400 + 1) * NS


@pytest.mark.parametrize(
    "options", [{"speed": 3.0}, {"shifted": False}, {"given": recording(begin_s=T0_S - 86_400)}], ids=str
)
def test_other_options_on_the_same_journal_are_refused_when_they_would_contradict_it(journal, options):
    run(replay(speed=30.0), journal, [NOW_S + 100])
    given = options.pop("given", recording())
    other = Replay(given, wall_ns=NOW_S * NS, **options)
    with pytest.raises(ConfigError, match=r"up to 2024-.*--journal") as caught:
        other.resume(journal)
    assert str(journal.folder) in caught.value.message


def test_value_out_of_range_is_kept_aside_and_the_rest_is_sent():
    def too_strong(values):
        values[3, 1] = 3e6  # 2^31 counts of 0.001 nT are 2.1 mT

    player = replay(recording(tweak=too_strong))
    messages = play(player, NOW_S + 5)
    assert numbers(messages) == [0, 1, 2, 4, 5]
    assert numbers(messages, SCALAR.topic) == [0, 1, 2, 3, 4, 5]
    (kept,) = player.unsendable
    assert (kept.time_ns, kept.topic) == ((NOW_S + 3) * NS, VECTOR.topic)
    assert kept.reading == "[3.0, 3000000.0, 6.0]"
    assert "3e+06 nT does not fit" in kept.reason


def test_latency_counts_on_the_stations_clock():
    """What the collector's rules say of a replay of old data at speed 30, arriving 50 ms after it is due."""
    player = replay(speed=30.0, shifted=False)
    intake = Intake({stream.meta_topic: (meta,) for stream, meta in player.metas()})
    arrival_ns = NOW_S * NS + NS // 2
    due = player.due(player.clock.at(arrival_ns - NS // 20))
    batch = intake.sort([Message(topic, payload, arrival_ns) for topic, _, payload in due])
    assert batch.refusals == []
    for arrivals in batch.arrivals:
        latency_s = (player.clock.at(arrival_ns) - arrivals.time_ns) / NS
        # The newest was due at most a cadence before it was taken: 50 ms are 1.5 s of this clock.
        assert 1.5 <= latency_s[-1] < 2.5
        assert not arrivals.late.any()


@pytest.mark.parametrize("speed", [0.0, -1.0, 1e7, float("nan"), float("inf")])
def test_speed_that_is_none_is_refused(speed):
    with pytest.raises(MetadataError, match="clock speed"):
        replay(speed=speed)


def test_clock_of_a_replay_is_in_what_it_publishes():
    player = replay(speed=30.0)
    for _, meta in player.metas():
        assert meta.clock == player.clock
        assert meta.valid_from == player.clock.station
        assert meta.station_time((NOW_S + 1) * NS) == as_ns(player.clock.station) + 30 * NS
