import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta

from obslab.errors import CodecError
from obslab.telemetry import codec
from obslab.telemetry.sample import Stream

SECONDS = st.integers(0, 2**32 - 1)
COUNTS = st.none() | st.integers(-(2**31) + 1, 2**31 - 1)
FIELD = st.none() | st.integers(0, 0xFFFFFE)
HERTZ = st.sampled_from([1, 10, 128])


def decode(stream, meta, payload):
    times, bodies = codec.split(stream, meta, [payload])
    return times, *codec.unpack(meta, bodies)


def value(count, scale):
    return math.nan if count is None else count * scale


def test_a_vector_sample_has_the_documented_sixteen_bytes():
    payload = codec.encode(LEMI, vector_meta(), T0_S * NS, [21_000.5, -0.001, math.nan])
    assert payload == bytes.fromhex("bc533e66" "34714001" "ffffffff" "00000080")  # fmt: skip
    assert struct.unpack("<Iiii", payload) == (T0_S, 21_000_500, -1, -(2**31))


def test_a_scalar_sample_has_the_documented_eight_bytes():
    payload = codec.encode(GSM, scalar_meta(), T0_S * NS, [48_622.79], quality=99)
    assert payload == bytes.fromhex("bc533e66" "6347314a")  # fmt: skip
    assert int.from_bytes(payload[4:], "little") == (4_862_279 << 8) | 99


def test_a_missing_scalar_is_all_ones_beside_its_quality():
    assert codec.encode(GSM, scalar_meta(), T0_S * NS, [math.nan], quality=7)[4:] == b"\x07\xff\xff\xff"


@given(SECONDS, st.tuples(COUNTS, COUNTS, COUNTS), st.sampled_from([0.001, 0.01, 0.1]))
def test_a_vector_comes_back_within_half_a_count(second, counts, scale):
    meta = vector_meta(scale=scale)
    values = [value(count, scale) for count in counts]
    payload = codec.encode(LEMI, meta, second * NS, values)
    times, found, quality = decode(LEMI, meta, payload)
    assert len(payload) == codec.message_size(LEMI, meta) == 16
    assert times.tolist() == [second * NS]
    assert quality.tolist() == [0]
    np.testing.assert_allclose(found[0], values, rtol=0, atol=scale / 2)  # and NaN where NaN was


@given(SECONDS, FIELD, st.integers(0, 255))
def test_a_scalar_comes_back_within_half_a_count_with_its_quality(second, field, quality):
    meta = scalar_meta()
    payload = codec.encode(GSM, meta, second * NS, [value(field, 0.01)], quality)
    times, found, figures = decode(GSM, meta, payload)
    assert len(payload) == codec.message_size(GSM, meta) == 8
    assert (times[0], figures[0]) == (second * NS, quality)
    np.testing.assert_allclose(found[0], [value(field, 0.01)], rtol=0, atol=0.005)


@given(st.floats(-2e6, 2e6))
def test_a_value_between_two_counts_goes_to_the_nearest(nanotesla):
    _, found, _ = decode(LEMI, vector_meta(), codec.encode(LEMI, vector_meta(), 0, [nanotesla, 0, 0]))
    # Half of 1 pT, and the rounding of a float of this size.
    assert abs(found[0, 0] - nanotesla) <= 0.0005 + 1e-9


@given(HERTZ, st.data())
def test_a_block_carries_a_second_of_evenly_spaced_samples(hertz, data):
    stream, meta = Stream("PEA", "lemi0001", f"{hertz}hz"), vector_meta(offset_s=0.25)
    counts = data.draw(st.lists(st.tuples(COUNTS, COUNTS, COUNTS), min_size=hertz, max_size=hertz))
    values = np.array([[value(count, 0.001) for count in row] for row in counts])
    payload = codec.encode(stream, meta, T0_S * NS + NS // 4, values)
    assert len(payload) == 4 + 12 * hertz == codec.message_size(stream, meta)
    times, found, _ = decode(stream, meta, payload)
    np.testing.assert_allclose(found, values, rtol=0, atol=0.0005)
    steps_ns = np.diff(times)
    assert times[0] == T0_S * NS + NS // 4
    assert np.all(np.abs(steps_ns - NS / hertz) <= 1)  # whole nanoseconds


def test_a_scalar_block_has_a_quality_for_each_sample():
    stream, meta = Stream("PEA", "gsm0001", "2hz"), scalar_meta()
    payload = codec.encode(stream, meta, T0_S * NS, [[48_000.0], [48_000.5]], quality=[99, 12])
    times, found, quality = decode(stream, meta, payload)
    assert (np.diff(times) == NS // 2).all()
    assert (found[:, 0].tolist(), quality.tolist()) == ([48_000.0, 48_000.5], [99, 12])


def test_a_sub_second_offset_is_in_the_metadata_and_not_in_the_bytes():
    meta = vector_meta(offset_s=0.36)
    payload = codec.encode(LEMI, meta, T0_S * NS + 360_000_000, [1.0, 2.0, 3.0])
    assert payload[:4] == codec.encode(LEMI, vector_meta(), T0_S * NS, [1.0, 2.0, 3.0])[:4]
    assert decode(LEMI, meta, payload)[0].tolist() == [T0_S * NS + 360_000_000]


@pytest.mark.parametrize(
    ("stream", "meta", "time_ns", "values", "quality", "named"),
    [
        (LEMI, vector_meta(), 0, [2_147_483.648, 0, 0], 0, "2.14748e"),
        (LEMI, vector_meta(), 0, [0, -2_147_483.648, 0], 0, "-2.14748e"),  # would be read as missing
        (LEMI, vector_meta(), 0, [0, 0, math.inf], 0, "inf"),
        (GSM, scalar_meta(), 0, [-0.01], 0, "-0.01"),
        (GSM, scalar_meta(), 0, [167_772.15], 0, "167772"),  # would be read as missing
        (GSM, scalar_meta(), 0, [1.0], 256, "256"),
        (GSM, scalar_meta(), 0, [1.0], -1, "-1"),
        (GSM, scalar_meta(), 0, [1.0], [1, 2], "[1, 2]"),
        (LEMI, vector_meta(), 1, [0, 0, 0], 0, "time 1 ns"),
        (LEMI, vector_meta(), -NS, [0, 0, 0], 0, f"time {-NS} ns"),
        (LEMI, vector_meta(), 2**32 * NS, [0, 0, 0], 0, f"time {2**32 * NS} ns"),
        (LEMI, vector_meta(offset_s=0.5), T0_S * NS, [0, 0, 0], 0, "offset_s=0.5"),
        (LEMI, vector_meta(), 0, [0, 0], 0, "(2,)"),
        (LEMI, vector_meta(), 0, [[0, 0, 0]] * 2, 0, "(2, 3)"),
        (Stream("PEA", "a", "10hz"), vector_meta(), 0, np.zeros((3, 10)), 0, "(3, 10)"),
    ],
)
def test_what_the_layout_cannot_hold_is_refused_by_name(stream, meta, time_ns, values, quality, named):
    with pytest.raises(CodecError) as refusal:
        codec.encode(stream, meta, time_ns, values, quality)
    assert named in str(refusal.value)
    assert str(stream) in str(refusal.value)


@given(st.sampled_from(["vector", "scalar"]), HERTZ, st.data())
def test_any_bytes_of_the_right_length_can_be_read(kind, hertz, data):
    meta = vector_meta() if kind == "vector" else scalar_meta()
    stream = Stream("PEA", "any", f"{hertz}hz")
    size = codec.message_size(stream, meta)
    payloads = data.draw(st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=5))
    times, bodies = codec.split(stream, meta, payloads)
    values, quality = codec.unpack(meta, bodies)
    assert len(times) == len(values) == len(quality) == hertz * len(payloads)
    assert codec.seconds(payloads).tolist() == [int.from_bytes(one[:4], "little") for one in payloads]
