"""Pages of the journal, and packed answers out of it."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemetry.makers import GSM, LEMI, NS, T0_S, vector_meta, vector_payload

from obslab.telemetry.pack import unpack_payloads
from obslab.telemetry.protocol import BLOCK_BYTES, Want, checksum, encode
from obslab.telemetry.station.answering import blocks
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.ledger import LedgerKeeper

_numbers = itertools.count()


def fill(journal, seconds, topic=LEMI.topic):
    journal.append([(topic, second * NS, vector_payload(second)) for second in seconds])


@pytest.fixture
def ledgers(journal):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    return LedgerKeeper(journal)


def test_pages_hold_an_hour_and_say_what_an_archive_can_compare(journal, ledgers):
    fill(journal, range(T0_S, T0_S + 5000))
    one, two = ledgers.ledger(5000, 0).pages[LEMI.topic]
    assert (one.seq_to, one.n, two.seq_to, two.n) == (3600, 3600, 5000, 1400)
    assert (one.begin_ns, one.end_ns) == (T0_S * NS, (T0_S + 3599) * NS + 1)
    times = np.arange(T0_S, T0_S + 3600) * NS
    assert one.checksum == checksum(
        times, [vector_payload(second)[4:] for second in range(T0_S, T0_S + 3600)]
    )


def test_pages_reach_no_further_than_told_and_begin_behind_what_is_confirmed(journal, ledgers):
    fill(journal, range(T0_S, T0_S + 100))
    journal.confirm({LEMI.topic: 40})
    (page,) = ledgers.ledger(90, 0).pages[LEMI.topic]
    assert (page.seq_to, page.n, page.begin_ns) == (90, 50, (T0_S + 40) * NS)


def test_a_growing_page_is_told_anew(journal, ledgers):
    fill(journal, range(T0_S, T0_S + 10))
    assert ledgers.ledger(10, 0).pages[LEMI.topic][0].n == 10
    fill(journal, range(T0_S + 10, T0_S + 4000))
    assert [page.n for page in ledgers.ledger(4000, 0).pages[LEMI.topic]] == [3600, 400]


def test_a_clock_that_was_set_back_begins_a_new_page(journal, ledgers):
    fill(journal, [*range(T0_S, T0_S + 10), *range(T0_S - 5, T0_S + 3)])
    pages = ledgers.ledger(18, 0).pages[LEMI.topic]
    assert [(page.seq_to, page.n, page.begin_ns) for page in pages] == [
        (10, 10, T0_S * NS),
        (18, 8, (T0_S - 5) * NS),
    ]


def test_entries_nobody_can_read_are_a_page_to_be_asked_for(journal, ledgers):
    journal.append([(LEMI.topic, T0_S * NS, b"short"), (GSM.topic, T0_S * NS, b"no metadata")])
    pages = ledgers.ledger(2, 0).pages
    assert [page.n for topic in (LEMI.topic, GSM.topic) for page in pages[topic]] == [-1, -1]


def test_two_days_of_two_streams_are_told_in_a_few_kilobytes(journal, ledgers):
    for topic in (LEMI.topic, GSM.topic):
        fill(journal, range(T0_S, T0_S + 2 * 86_400), topic)
    assert len(encode(ledgers.ledger(journal.last_seq(), 0))) < 4096


def want(begin_s, end_s, topic=LEMI.topic):
    interval = {"begin_ns": round(begin_s * NS), "end_ns": round(end_s * NS)}
    return Want(id="w", archive="main", journal="j", topic=topic, **interval)


def answered(answer):
    """Payloads of an answer, after a look at its form."""
    answer = list(answer)
    assert [block.last for block in answer] == [False] * (len(answer) - 1) + [True]
    assert all(one.end_ns == other.begin_ns for one, other in itertools.pairwise(answer))
    assert all(len(encode(block)) <= BLOCK_BYTES for block in answer)
    return [payload for block in answer if block.packed for payload in unpack_payloads(block.packed)]


@given(
    held=st.lists(st.integers(0, 3000), unique=True, max_size=300),
    recorded=st.lists(st.integers(0, 3000), unique=True, max_size=300),
    interval=st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(sorted),
)
def test_an_answer_is_all_that_journal_and_day_files_have(tmp_path_factory, held, recorded, interval):
    journal = Journal(tmp_path_factory.mktemp(f"journal-{next(_numbers)}"))
    fill(journal, [T0_S + second for second in held])

    def history(_stream, begin_ns, end_ns):
        times = sorted((T0_S + second) * NS for second in recorded)
        return [(at, vector_payload(at // NS)) for at in times if begin_ns <= at < end_ns]

    begin, end = interval
    got = answered(blocks(want(T0_S + begin, T0_S + end), journal, history))
    wanted = sorted(second for second in {*held, *recorded} if begin <= second < end)
    assert got == [vector_payload(T0_S + second) for second in wanted]
    journal.close()


def test_an_answer_of_a_day_is_whole(journal):
    fill(journal, range(T0_S, T0_S + 86_400))
    got = answered(blocks(want(T0_S, T0_S + 86_400), journal))
    assert got == [vector_payload(second) for second in range(T0_S, T0_S + 86_400)]


def test_messages_of_different_lengths_come_in_blocks_of_their_own(journal):
    payloads = [b"12345678", b"1234", b"12345678", b"x" * 16]
    journal.append([(LEMI.topic, (T0_S + i) * NS, payload) for i, payload in enumerate(payloads)])
    assert answered(blocks(want(T0_S, T0_S + 10), journal)) == payloads


def test_two_samples_of_one_time_both_go(journal):
    journal.append([(LEMI.topic, T0_S * NS, vector_payload(T0_S, x=x)) for x in (1, 2)])
    assert len(answered(blocks(want(T0_S, T0_S + 1), journal))) == 2


def test_where_there_is_nothing_the_answer_says_so(journal):
    (block,) = blocks(want(T0_S, T0_S + 10), journal)
    assert (block.packed, block.last, block.begin_ns, block.end_ns) == (
        b"",
        True,
        T0_S * NS,
        (T0_S + 10) * NS,
    )
    (block,) = blocks(want(T0_S, T0_S + 10, topic="no topic"), journal)
    assert (block.packed, block.last) == (b"", True)


def test_a_message_of_many_samples_belongs_where_one_of_them_does(journal):
    topic = "pea/fast/10hz"
    journal.append([(topic, (T0_S + i) * NS, b"\x00" * 124) for i in range(3)])
    half = Want(
        id="w",
        archive="main",
        journal="j",
        topic=topic,
        begin_ns=T0_S * NS + NS // 2,
        end_ns=(T0_S + 1) * NS + 1,
    )
    assert len(answered(blocks(half, journal))) == 2
