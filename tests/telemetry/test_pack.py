"""Packing: what goes in comes out, and damage is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from obslab.errors import CodecError
from obslab.telemetry.pack import pack_columns, pack_payloads, unpack_columns, unpack_payloads
from obslab.telemetry.station.simulate import Simulator

NS = 1_000_000_000
columns = st.integers(0, 60).flatmap(
    lambda rows: st.lists(arrays.arrays(np.int64, rows), min_size=1, max_size=4)
)
messages = st.integers(0, 40).flatmap(
    lambda size: st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=50)
)


@given(columns)
def test_columns_of_any_integers_come_back(table):
    back = unpack_columns(pack_columns(table))
    assert len(back) == len(table)
    for one, other in zip(table, back, strict=True):
        np.testing.assert_array_equal(one, other)


@given(messages)
def test_messages_of_any_bytes_come_back(payloads):
    assert unpack_payloads(pack_payloads(payloads)) == payloads


def test_messages_of_different_lengths_are_not_packed_together():
    with pytest.raises(CodecError, match="different lengths"):
        pack_payloads([b"12345678", b"1"])


def simulated(name, seconds):
    instruments = Simulator(wall_ns=1_700_000_000 * NS)
    due = instruments.due((1_700_000_000 + seconds) * NS)
    return [payload for topic, _, payload in due if name in topic]


def test_a_block_of_4_kb_holds_20_minutes_of_vectors_and_50_of_scalars():
    """The entropy of 10 pT of noise in three components of 1 pT is 3 x 5.4 bits, of 0.02 nT in 0.01 nT and
    five quality figures 3 + 2.3: 2.0 and 0.7 bytes a second at best."""
    assert len(pack_payloads(simulated("lemi", 1200))) < 4096
    assert len(pack_payloads(simulated("gsm", 3000))) < 4096


@given(st.data())
def test_damaged_bytes_are_refused_or_read_but_never_end_in_another_error(data):
    packed = bytearray(pack_payloads(simulated("lemi", 30)))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(packed)))
    try:
        unpack_payloads(bytes(packed[:cut]))
    except CodecError as error:
        assert "damaged" in error.message


def test_a_few_bytes_cannot_fill_the_memory():
    bomb = pack_columns([np.zeros(1_000_000, dtype=np.int64)])
    lying = bomb[:1] + b"\x00\x00\x00" + bomb[4:]  # announces fewer rows than it holds
    with pytest.raises(CodecError, match="damaged"):
        unpack_columns(lying)
