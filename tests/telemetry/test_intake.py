import logging
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta, vector_payload

from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.sample import Clock, Stream, as_datetime, encode_meta
from obslab.times import as_ns

NOW_NS = as_ns("2026-11-22T12:00:00Z")
NOW_S = NOW_NS // NS


def intake(**metas):
    known = {LEMI.meta_topic: (vector_meta(),), GSM.meta_topic: (scalar_meta(),)}
    return Intake({**known, **metas})


def message(payload, topic=LEMI.topic, arrival_ns=NOW_NS):
    return Message(topic, payload, arrival_ns)


def only_refusal(batch):
    assert not batch.arrivals
    (refusal,) = batch.refusals
    return refusal


GOOD = vector_payload(NOW_S)
META = encode_meta([vector_meta()])
BAD = [
    (LEMI.topic, GOOD[:15], ["PEA lemi0001 sec", "15 bytes", "has 16", "kind in pea/lemi0001/$meta"]),
    (LEMI.topic, GOOD + b"x", ["17 bytes", "has 16"]),
    (LEMI.topic, b"", ["PEA lemi0001 sec", "fewer than 4 bytes", "check what sends it"]),
    (GSM.topic, GOOD, ["PEA gsm0001 sec", "16 bytes", "a scalar has 8"]),
    (LEMI.topic, vector_payload(NOW_S + 61), ["2026-11-22T12:01:01Z", "in the future", "check the station"]),
    (LEMI.topic, vector_payload(0), ["1970-01-01T00:00:00Z", "before 1990", "GPS"]),
    (LEMI.topic, vector_payload(2**32 - 1), ["2106-02-07T06:28:15Z", "in the future"]),
    ("impf/pea/pt1s/1/xyzs", b"{}", ["'impf/pea/pt1s/1/xyzs'", "as in pea/lemi0001/sec"]),
    ("pea/lemi0001/fast", b"1234", ["'fast'", "sec, min, hour"]),
    (LEMI.meta_topic, b"{", ["metadata is not understood"]),
    ("pea/LEMI/$meta", META, ["'LEMI'"]),
    (LEMI.meta_topic, META.replace(b"obslab/1", b"obslab/9"), ["'obslab/9'", "upgrade obslab"]),
    (LEMI.meta_topic, META.replace(b"0.001", b"NaN"), ["metadata is not understood"]),
]


@pytest.mark.parametrize(("topic", "payload", "named"), BAD)
def test_what_is_not_a_sample_keeps_its_bytes_and_gets_a_reason(topic, payload, named):
    refusal = only_refusal(intake().sort([message(payload, topic)]))
    assert (refusal.topic, refusal.payload, refusal.arrival_ns) == (topic, payload, NOW_NS)
    assert not refusal.waiting
    for words in named:
        assert words in refusal.reason


def test_a_bad_message_costs_none_of_its_neighbours():
    good = [vector_payload(NOW_S - n) for n in (3, 2, 1)]
    bad = [vector_payload(5), b"", good[0] + b"x", vector_payload(NOW_S + 1000)]
    mixed = [good[0], bad[0], good[1], bad[1], bad[2], good[2], bad[3]]
    batch = intake().sort([message(payload) for payload in mixed])
    (found,) = batch.arrivals
    assert (found.time_ns // NS).tolist() == [NOW_S - 3, NOW_S - 2, NOW_S - 1]
    assert found.bodies == b"".join(payload[4:] for payload in good)
    assert sorted(refusal.payload for refusal in batch.refusals) == sorted(bad)


def test_a_minute_ahead_is_still_believed():
    (found,) = intake().sort([message(vector_payload(NOW_S + 60))]).arrivals
    assert found.time_ns.tolist() == [(NOW_S + 60) * NS]


def test_missing_values_are_data():
    (found,) = intake().sort([message(vector_payload(NOW_S, -(2**31), -(2**31), -(2**31)))]).arrivals
    assert found.bodies == b"\0\0\0\x80" * 3


def test_a_sample_without_metadata_waits_for_them():
    other = Stream("WIC", "lemi0007")
    refusal = only_refusal(intake().sort([message(vector_payload(NOW_S), other.topic)]))
    assert refusal.waiting
    assert "no metadata yet for WIC lemi0007 sec" in refusal.reason
    assert "wic/lemi0007/$meta" in refusal.reason


def test_a_sample_from_before_its_first_metadata_waits_too():
    late = {LEMI.meta_topic: (vector_meta(valid_from=as_datetime(NOW_NS)),)}
    refusal = only_refusal(intake(**late).sort([message(vector_payload(NOW_S - 1))]))
    assert refusal.waiting
    assert "valid from 2026-11-22T12:00:00Z" in refusal.reason


def test_metadata_are_read_before_the_samples_they_came_after():
    fresh = Intake({})
    batch = fresh.sort(
        [message(vector_payload(NOW_S)), message(encode_meta([vector_meta()]), LEMI.meta_topic)]
    )
    assert len(batch.arrivals) == 1
    assert not batch.refusals
    assert batch.metas == {LEMI.meta_topic: (vector_meta(),)}
    again = fresh.sort([message(encode_meta([vector_meta()]), LEMI.meta_topic)])
    assert not again.metas  # known already


def test_versions_of_metadata_add_up():
    later = vector_meta(valid_from=as_datetime(NOW_NS), scale=0.01)
    batch = intake().sort([message(encode_meta([later]), LEMI.meta_topic)])
    assert batch.metas == {LEMI.meta_topic: (vector_meta(), later)}


def test_the_version_in_force_at_the_sample_s_time_says_how_long_a_message_is():
    versions = (vector_meta(), scalar_meta(valid_from=as_datetime(NOW_NS)))
    sorter = intake(**{LEMI.meta_topic: versions})
    batch = sorter.sort([message(vector_payload(NOW_S - 1)), message(struct.pack("<II", NOW_S, 0))])
    assert [found.width for found in batch.arrivals] == [12, 4]
    assert not batch.refusals


def test_a_replayed_storm_is_neither_late_nor_in_the_future_by_its_own_clock():
    clock = Clock(as_datetime(T0_S * NS), as_datetime(NOW_NS), 30.0)
    sorter = intake(**{LEMI.meta_topic: (vector_meta(clock=clock),)})
    arrival_ns = NOW_NS + 10 * NS  # the station's clock shows T0 + 300 s
    seconds = [T0_S + 290, T0_S + 260, T0_S + 300 + 30 * 60, T0_S + 300 + 30 * 60 + 1]
    batch = sorter.sort([message(vector_payload(second), arrival_ns=arrival_ns) for second in seconds])
    (found,) = batch.arrivals
    assert (found.time_ns // NS).tolist() == seconds[:3]
    assert found.late.tolist() == [False, True, False]  # the target is 30 s
    assert "in the future" in batch.refusals[0].reason


@pytest.mark.parametrize(
    ("rate", "age_s", "late"),
    [("sec", 30, False), ("sec", 31, True), ("min", 119, False), ("min", 121, True)],
)
def test_late_is_older_than_intermagnet_s_target(rate, age_s, late):
    stream = Stream("PEA", "lemi0001", rate)
    (found,) = intake().sort([message(vector_payload(NOW_S - age_s), stream.topic)]).arrivals
    assert found.late.tolist() == [late]


def test_a_block_above_one_hertz_becomes_its_samples():
    stream = Stream("PEA", "lemi0001", "10hz")
    body = np.arange(30, dtype="<i4").tobytes()
    (found,) = intake().sort([message(NOW_S.to_bytes(4, "little") + body, stream.topic)]).arrivals
    assert (found.time_ns - NOW_NS).tolist() == [n * NS // 10 for n in range(10)]
    assert (found.width, found.bodies) == (12, body)
    assert found.arrival_ns.tolist() == [NOW_NS] * 10


def test_the_log_names_each_kind_of_trouble_once(caplog):
    sorter = intake()
    with caplog.at_level(logging.WARNING):
        for n in range(5):
            sorter.sort([message(vector_payload(n)), message(b"x" * 5), message(b"?", f"pea/{n}")])
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if "before 1990" in line]) == 1
    assert len([line for line in lines if "5 bytes where" in line]) == 1
    assert len([line for line in lines if "is not iagacode" in line]) == 5  # five topics


TOPICS = st.text(max_size=9) | st.sampled_from(
    [LEMI.topic, GSM.topic, LEMI.meta_topic, "pea/new/sec", "pea/new/$meta", "#", "pea//sec"]
)
PAYLOADS = (
    st.binary(max_size=20)
    | st.integers(0, 2**32 - 1).map(vector_payload)
    | st.sampled_from([encode_meta([vector_meta()]), encode_meta([scalar_meta(offset_s=-86_400.0)])])
)


@given(st.lists(st.tuples(TOPICS, PAYLOADS), max_size=20))
def test_every_message_becomes_a_sample_metadata_or_a_refusal(messages):
    batch = intake().sort([message(payload, topic) for topic, payload in messages])
    samples = sum(found.time_ns.size for found in batch.arrivals)
    metas = sum(topic.endswith("/$meta") for topic, _ in messages)
    refused = len(batch.refusals)
    assert len(messages) - metas <= samples + refused <= len(messages)
    assert not any("please report" in refusal.reason for refusal in batch.refusals)
