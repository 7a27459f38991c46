"""The words between stations and archives on the wire."""

import numpy as np
import pytest

from obslab.errors import MetadataError, TopicError
from obslab.telemetry.protocol import (
    Block,
    Command,
    Confirm,
    Ledger,
    Page,
    Status,
    Unit,
    Want,
    checksum,
    decode,
    encode,
)

UNIT = Unit("PEA", "lemi0001")
MESSAGES = [
    Status(journal="j", streams=("pea/lemi0001/sec",), trouble="no GPS", clock_offset_s=-0.2),
    Ledger(journal="j", sent_ns=5, pages={"pea/lemi0001/sec": [Page(7, 1, 9, 3, 123)]}),
    Confirm(archive="main", id="a", journal="j", marks={"pea/lemi0001/sec": 7}),
    Want(id="w", archive="main", journal="j", topic="pea/lemi0001/sec", begin_ns=1, end_ns=9),
    Block("w", "j", "pea/lemi0001/sec", 1, 9, b"\x00\xff", True),
    Command(do="pause", by="ann"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_word_comes_back_as_it_was(message):
    assert decode(encode(message), type(message)) == message


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"\xff\xfe", b'{"journal": 1}'])
def test_what_is_not_a_status_is_told(payload):
    with pytest.raises(MetadataError, match="status is not understood"):
        decode(payload, Status)


def test_a_command_is_one_of_three():
    with pytest.raises(MetadataError, match=r"command is not understood: .*'reboot'"):
        decode(b'{"do": "reboot"}', Command)


def test_unit_and_word_of_a_topic():
    assert Unit.parse("pea/lemi0001/$status") == (UNIT, "$status")
    assert UNIT.topic("$want") == "pea/lemi0001/$want"
    assert str(UNIT) == "PEA lemi0001"


@pytest.mark.parametrize(
    "topic", ["pea/$status", "PEA/lemi0001/$status", "pea/lemi0001/sec", "a/b/c/$status"]
)
def test_topics_that_are_no_words_are_refused(topic):
    with pytest.raises(TopicError, match="is not iagacode/unit"):
        Unit.parse(topic)


def test_checksums_differ_when_a_time_a_body_or_the_order_differs():
    times, bodies = np.array([10, 20]), [b"aaaa", b"bbbb"]
    one = checksum(times, bodies)
    assert one == checksum(times, b"aaaabbbb")
    assert (
        len({one, checksum(times + 1, bodies), checksum(times, bodies[::-1]), checksum(times[::-1], bodies)})
        == 4
    )
