import json
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry.makers import NS, T0_S, scalar_meta, vector_meta

from obslab.errors import MetadataError, TopicError
from obslab.telemetry.sample import (
    FORMAT,
    Clock,
    Stream,
    as_datetime,
    decode_meta,
    encode_meta,
    valid_at,
)
from obslab.times import as_ns

STATIONS = st.from_regex(r"[A-Z][A-Z0-9]{2}", fullmatch=True)
INSTRUMENTS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True)
RATES = st.sampled_from(["sec", "min", "hour"]) | st.integers(1, 9999).map("{}hz".format)


@given(STATIONS, INSTRUMENTS, RATES)
def test_a_stream_and_its_topic_are_the_same_thing(station, instrument, rate):
    stream = Stream(station, instrument, rate)
    assert stream.topic == f"{station.lower()}/{instrument}/{rate}"
    assert Stream.parse(stream.topic) == stream
    assert stream.meta_topic == f"{station.lower()}/{instrument}/$meta"


@given(st.text() | st.lists(st.text(max_size=4), min_size=3, max_size=3).map("/".join))
def test_any_text_is_a_topic_or_is_named_in_the_refusal(topic):
    try:
        assert Stream.parse(topic).topic == topic
    except TopicError as refusal:
        assert any(
            repr(part) in str(refusal) for part in (topic, topic.split("/")[0].upper(), *topic.split("/"))
        )


@pytest.mark.parametrize(
    ("topic", "named"),
    [
        ("", "''"),
        ("pea/lemi0001", "'pea/lemi0001'"),
        ("pea/lemi0001/sec/more", "'pea/lemi0001/sec/more'"),
        ("PEA/lemi0001/sec", "'PEA/lemi0001/sec'"),
        ("peak/lemi0001/sec", "'PEAK'"),
        ("pea/LEMI/sec", "'LEMI'"),
        ("pea/lemi0001/second", "'second'"),
        ("pea/lemi0001/0hz", "'0hz'"),
        ("ßa/lemi0001/sec", "'ßa/lemi0001/sec'"),  # 'ß' in upper case is 'SS'
        ("pea/lemi0001/sec\n", "'sec\\n'"),
    ],
)
def test_a_bad_topic_is_named_in_the_refusal(topic, named):
    with pytest.raises(TopicError) as refusal:
        Stream.parse(topic)
    assert named in str(refusal.value)


def test_cadence_and_block_follow_from_the_samplerate():
    assert [Stream("PEA", "a", rate).cadence_s for rate in ("sec", "min", "hour", "10hz")] == [
        1,
        60,
        3600,
        0.1,
    ]
    assert [Stream("PEA", "a", rate).block for rate in ("sec", "min", "1hz", "10hz")] == [1, 1, 1, 10]


def test_metadata_survive_json():
    versions = (
        vector_meta(orientation="HEZ", latitude_deg=-65.2, units=("nT", "nT", "arcmin")),
        vector_meta(
            valid_from=as_datetime(T0_S * NS + 1000),
            delay_s=0.36,
            clock=Clock(as_datetime(T0_S * NS), as_datetime(0), 30.0, as_datetime(NS)),
        ),
    )
    assert decode_meta(encode_meta(versions)) == versions
    assert decode_meta(encode_meta(versions[::-1])) == versions  # oldest first, whatever the order


def test_a_single_object_is_metadata_too():
    meta = scalar_meta()
    assert decode_meta(msgspec.json.encode(meta)) == (meta,)


def test_fields_of_a_later_writer_are_passed_over():
    fields = json.loads(msgspec.json.encode(vector_meta()))
    assert decode_meta(json.dumps({**fields, "pier": "E2"}).encode()) == (vector_meta(),)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format": "obslab/2"}, "'obslab/2'"),
        ({"valid_from": "2024-05-10T17:05:00"}, "time zone"),
        ({"valid_from": "9999-01-01T00:00:00Z"}, "9999"),
        ({"valid_from": "yesterday"}, "valid_from"),
        ({"kind": "tensor"}, "'tensor'"),
        ({"components": ["x", "y"]}, "3 component(s), not 2"),
        ({"components": ["x", "y", "x"]}, "name one twice"),
        ({"components": ["x", "y", "Z!"]}, "'Z!'"),
        ({"components": ["x", "y", "time"]}, "'time'"),
        ({"units": ["nT", "nT"]}, "('nT', 'nT')"),
        ({"scale": 0}, "0.0"),
        ({"scale": -0.001}, "-0.001"),
        ({"scale": "0.001"}, "scale"),
        ({"offset_s": 1e300}, "1e+300"),
        ({"clock": {"station": "2024-05-10T00:00:00", "wall": "2026-01-01T00:00:00Z"}}, "time zone"),
        (
            {"clock": {"station": "2024-05-10T00:00:00Z", "wall": "2026-01-01T00:00:00Z", "speed": 0}},
            "speed 0.0",
        ),
        (
            {"clock": {"station": "2024-05-10T00:00:00Z", "wall": "2026-01-01T00:00:00Z", "speed": 1e9}},
            "1e+06",
        ),
    ],
)
def test_bad_metadata_are_refused_with_the_value_named(change, named):
    fields = json.loads(msgspec.json.encode(vector_meta()))
    with pytest.raises(MetadataError) as refusal:
        decode_meta(json.dumps({**fields, **change}).encode())
    assert named in str(refusal.value)


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b"[3]", b'"text"', b"1e999"]
)
def test_what_is_not_metadata_is_refused(payload):
    with pytest.raises(MetadataError):
        decode_meta(payload)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_not_a_number_is_refused_in_metadata(number):
    text = encode_meta([vector_meta()]).replace(b"0.001", number.encode())
    with pytest.raises(MetadataError):
        decode_meta(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_metadata_or_are_refused(payload):
    with pytest.raises(MetadataError):
        decode_meta(payload)


def test_a_version_holds_from_its_beginning_to_the_next():
    first, second = (
        vector_meta(valid_from=as_datetime(1000)),
        vector_meta(valid_from=as_datetime(5000), scale=1.0),
    )
    found = [valid_at((first, second), ns) for ns in (999, 1000, 4999, 5000, 10**18)]
    assert found == [None, first, first, second, second]
    assert valid_at((), 0) is None


@given(st.integers(-(10**17), 10**17))
def test_a_clock_of_thirty_times_the_speed_is_inverted_within_a_microsecond(since_ns):
    clock = Clock(datetime(2024, 5, 10, 17, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC), 30.0)
    wall_ns = as_ns(clock.wall) + since_ns
    assert abs(clock.wall_at(clock.at(wall_ns)) - wall_ns) < 1000
    # float64 holds 3e18 ns to 512 ns, which is what both forms may differ by.
    assert abs(int(clock.times_at(np.array([wall_ns]))[0]) - clock.at(wall_ns)) <= 512


def test_a_clock_shows_its_epoch_and_runs_at_its_speed():
    clock = Clock(as_datetime(T0_S * NS), as_datetime(NS), 30.0)
    assert clock.at(NS) == T0_S * NS
    assert clock.at(NS + NS) == (T0_S + 30) * NS
    assert clock.wall_at((T0_S + 30) * NS) == 2 * NS
    assert vector_meta(clock=clock).station_time(NS) == T0_S * NS
    assert vector_meta().station_time(5) == 5


@given(st.integers(0, 4 * 10**18))
def test_nanoseconds_become_a_datetime_cut_to_microseconds(time_ns):
    assert as_ns(as_datetime(time_ns)) == time_ns // 1000 * 1000
    assert as_datetime(time_ns).utcoffset() == timedelta(0)


def test_the_format_is_the_one_that_is_documented():
    assert FORMAT == "obslab/1"
