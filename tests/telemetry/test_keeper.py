"""A station and an archive in conversation, without a broker between them: words are handed over by hand."""

import random
import struct
import time

import numpy as np
import pytest
from telemetry.makers import GSM, LEMI, NS, T0_S, scalar_meta, vector_meta, vector_payload

from obslab.errors import TopicError
from obslab.telemetry import protocol
from obslab.telemetry.collect import asking, comparing, keeper
from obslab.telemetry.collect.intake import Intake, Message
from obslab.telemetry.collect.keeper import Keeper
from obslab.telemetry.collect.words import apart
from obslab.telemetry.pack import pack_columns, pack_payloads
from obslab.telemetry.protocol import (
    Block,
    Command,
    Confirm,
    Ledger,
    Page,
    Status,
    Unit,
    Want,
    decode,
    encode,
)
from obslab.telemetry.sample import Stream, encode_meta
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.liaison import Liaison

UNIT = Unit("PEA", "lemi0001")
NOW_NS = (T0_S + 10**6) * NS  # by the clocks of both


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(comparing, "GRACE_S", -1.0)
    monkeypatch.setattr(comparing, "AGAIN_S", (0.0, 0.0))
    monkeypatch.setattr(asking, "_PATIENCE_S", -1.0)
    monkeypatch.setattr(keeper, "_SCAN_S", 0.0)
    monkeypatch.setattr("obslab.telemetry.station.liaison.time.time_ns", lambda: NOW_NS)


class Talk:
    """Both ends, and a link that loses words when told."""

    def __init__(self, journal, archive, *, loses=lambda topic: False, **options):
        self.journal, self.archive, self.loses = journal, archive, loses
        self.commands = []
        self.liaison = Liaison(journal, UNIT, on_command=self.commands.append, **options)
        self.intake = Intake(archive.all_metas())
        self.keeper = Keeper(archive, "main", self._to_station)
        self.said = []
        for topic, versions in journal.metas().items():
            self.to_archive(topic, encode_meta(versions))

    def _to_station(self, topic, payload, _retain):
        self.said.append((topic.rpartition("/")[2], payload))
        if not self.loses(topic):
            self.liaison.hear(topic, payload, self.now_ns)

    now_ns = T0_S * NS
    arrival_ns = NOW_NS

    def to_archive(self, topic, payload):
        if not self.loses(topic):
            self._store([Message(topic, payload, self.arrival_ns)])

    def _store(self, messages):
        samples, words, damaged = apart(messages)
        batch = self.intake.sort(samples)
        batch.refusals += damaged
        self.archive.add(batch)
        self.keeper.heed(words)

    def send_samples(self, after=0):
        sent = [entry for entry in self.journal.after(after, 10**6) if not self.loses(entry.topic)]
        self._store([Message(entry.topic, entry.payload, NOW_NS) for entry in sent])

    def round(self):
        """The unit says what is due, the archive acts, the unit answers."""
        self.liaison.connected()
        for topic, payload, _ in self.liaison.due(self.journal.last_seq(), 0):
            self.to_archive(topic, payload)
        self.keeper.tick()
        self.liaison.attend()
        while block := self.liaison.next_block():
            self.to_archive(UNIT.topic(protocol.BLOCK), block)
        self.liaison.attend()

    def heard(self, word, kind):
        return [decode(payload, kind) for name, payload in self.said if name == word]


def write(journal, seconds, topic=LEMI.topic, **values):
    journal.append([(topic, second * NS, vector_payload(second, **values)) for second in seconds])


@pytest.fixture
def talk(journal, archive):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    return Talk(journal, archive)


def seconds_of(archive, stream=LEMI):
    times = archive.dataset(stream.station, stream.instrument).time.values.astype("datetime64[s]")
    return times.astype(int).tolist()


def test_what_is_stored_is_confirmed_and_freed(talk, journal):
    write(journal, range(T0_S, T0_S + 100))
    talk.send_samples()
    talk.round()
    assert journal.topics() == []
    assert talk.heard(protocol.WANT, Want) == []
    assert talk.heard(protocol.CONFIRM, Confirm)[-1].marks == {LEMI.topic: 100}


def test_what_got_lost_is_asked_for_filled_and_only_then_freed(talk, journal, archive):
    write(journal, range(T0_S, T0_S + 100))
    for entry in journal.after(0, 1000):
        if not 20 <= entry.seq < 50:
            talk.to_archive(entry.topic, entry.payload)
    talk.round()
    (want,) = talk.heard(protocol.WANT, Want)
    assert (want.begin_ns, want.end_ns) == ((T0_S + 19) * NS, (T0_S + 49) * NS)
    assert seconds_of(archive) == list(range(T0_S, T0_S + 100))
    assert journal.topics() == []
    (hole,) = archive.book.holes()
    assert (hole.state, hole.filled) == ("filled", 30)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_words_are_lost_the_archive_is_whole_in_the_end(journal, archive, seed):
    rng = random.Random(seed)
    for stream, meta in ((LEMI, vector_meta()), (GSM, vector_meta())):
        journal.add_meta(stream.meta_topic, meta)
    losses = {"share": 0.3}
    talk = Talk(journal, archive)
    talk.loses = lambda topic: rng.random() < losses["share"]
    second = T0_S
    for _ in range(6):
        n, before = rng.randrange(1, 3000), journal.last_seq()
        for stream in (LEMI, GSM):
            write(journal, range(second, second + n), stream.topic, x=rng.randrange(10**6))
        second += n
        if rng.random() < 0.7:
            talk.send_samples(before)
        talk.round()
    for _ in range(12):
        talk.round()
    losses["share"] = 0.0
    for _ in range(12):
        talk.round()
    for stream in (LEMI, GSM):
        assert seconds_of(archive, stream) == list(range(T0_S, second))
    assert journal.topics() == []
    counts = archive.counters()
    assert counts[LEMI]["unique"] == counts[GSM]["unique"] == second - T0_S


def test_what_the_station_never_had_is_lost_at_source_and_not_asked_for_again(talk, journal, archive):
    write(journal, [*range(T0_S, T0_S + 100), *range(T0_S + 150, T0_S + 300)])
    talk.send_samples()
    for _ in range(4):
        talk.round()
    wants = talk.heard(protocol.WANT, Want)
    assert [(want.begin_ns // NS - T0_S, want.end_ns // NS - T0_S) for want in wants] == [(100, 150)]
    assert [(hole.state, hole.why) for hole in archive.book.holes(states=("lost",))] == [
        ("lost", "lost at source")
    ]
    assert journal.topics() == []


def test_day_files_answer_when_the_journal_has_been_freed(journal, archive):
    journal.add_meta(LEMI.meta_topic, vector_meta())

    def history(_stream, begin_ns, end_ns):
        return [
            (second * NS, vector_payload(second))
            for second in range(T0_S, T0_S + 300)
            if begin_ns <= second * NS < end_ns
        ]

    talk = Talk(journal, archive, history=history)
    write(journal, range(T0_S + 200, T0_S + 300))
    talk.send_samples()
    talk.to_archive(LEMI.topic, vector_payload(T0_S))
    for _ in range(3):
        talk.round()
    assert seconds_of(archive) == list(range(T0_S, T0_S + 300))


def test_contradicting_samples_do_not_keep_the_journal_from_being_freed(talk, journal, archive):
    write(journal, range(T0_S, T0_S + 10))
    talk.send_samples()
    write(journal, range(T0_S + 5, T0_S + 8), x=77)  # a clock that was set back
    talk.send_samples(10)
    for _ in range(3):
        talk.round()
    assert journal.topics() == []
    assert archive.counters()[LEMI]["contradiction"] >= 3
    assert seconds_of(archive) == list(range(T0_S, T0_S + 10))


def test_messages_nobody_understands_are_kept_as_rejected_and_freed(talk, journal, archive):
    journal.append([(LEMI.topic, T0_S * NS, b"short"), ("pea/other/sec", T0_S * NS, vector_payload(T0_S))])
    write(journal, range(T0_S + 1, T0_S + 5))
    for _ in range(3):
        talk.round()
    assert journal.topics() == []
    assert seconds_of(archive) == list(range(T0_S + 1, T0_S + 5))
    assert sorted(archive.rejected().topic.values) == [LEMI.topic, "pea/other/sec"]


def test_a_refused_sample_among_good_ones_is_recorded_and_freed(talk, journal, archive):
    """A time stamp a year ahead, written by an instrument for one second."""
    year = T0_S + 366 * 86_400
    write(journal, [*range(T0_S, T0_S + 50), year, *range(T0_S + 51, T0_S + 200)])
    talk.send_samples()
    for _ in range(4):
        talk.round()
    assert journal.topics() == []
    assert seconds_of(archive) == [*range(T0_S, T0_S + 50), *range(T0_S + 51, T0_S + 200)]
    assert "in the future" in str(archive.rejected().reason.values[0])
    asked = len(talk.heard(protocol.WANT, Want))
    for _ in range(4):
        talk.round()
    assert len(talk.heard(protocol.WANT, Want)) == asked
    lost = archive.book.holes(states=("lost",))
    assert [(hole.begin_ns // NS - T0_S, hole.end_ns // NS - T0_S) for hole in lost] == [(50, 51)]


def test_a_page_that_differs_is_not_asked_for_again_and_again(journal, archive, monkeypatch):
    """The archive's clock is behind: all samples are in its future, and refused."""
    monkeypatch.setattr(comparing, "AGAIN_S", (10.0, 600.0))
    journal.add_meta(LEMI.meta_topic, vector_meta())
    talk = Talk(journal, archive)
    write(journal, range(T0_S + 10**6 + 3600, T0_S + 10**6 + 3700))
    for _ in range(20):
        talk.round()
    assert len(talk.heard(protocol.WANT, Want)) == 1
    assert archive.book.holes(states=("lost",)) == []


def test_only_the_archive_named_and_met_before_frees_a_journal(talk, journal):
    write(journal, range(T0_S, T0_S + 10))
    marks = {LEMI.topic: 10}

    def confirm(**facts):
        known = {"archive": "main", "id": "one", "journal": journal.id, "marks": marks}
        talk.liaison.hear(UNIT.topic(protocol.CONFIRM), encode(Confirm(**(known | facts))), 0)
        talk.liaison.attend()
        return journal.extent()[0]

    assert confirm(archive="copy") == 10
    assert confirm(journal="another") == 10
    assert confirm(marks={}) == 10  # the first word of "main": it is known by its id from now on
    assert confirm(id="two") == 10
    (status,) = [
        decode(payload, Status)
        for topic, payload, _ in talk.liaison.due(10, 0)
        if topic.endswith(protocol.STATUS)
    ]
    assert "not the one that confirmed before" in status.trouble
    assert "--trust-new-archive" in status.trouble
    assert confirm() == 0


def test_another_archive_is_trusted_when_told(tmp_path, journal):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    journal.set_fact("archive", "old")
    write(journal, range(T0_S, T0_S + 10))
    liaison = Liaison(journal, UNIT, trust_new_archive=True)
    word = Confirm(archive="main", id="new", journal=journal.id, marks={LEMI.topic: 10})
    liaison.hear(UNIT.topic(protocol.CONFIRM), encode(word), 0)
    liaison.attend()
    assert journal.topics() == []
    assert journal.fact("archive") == "new"


def test_an_archive_that_follows_fills_its_gaps_and_confirms_nothing(journal, archive):
    journal.add_meta(LEMI.meta_topic, vector_meta())
    talk = Talk(journal, archive)
    talk.keeper = Keeper(archive, "copy", talk._to_station, confirms=False)
    write(journal, range(T0_S, T0_S + 100))
    for _ in range(2):
        talk.round()
    assert seconds_of(archive) == list(range(T0_S, T0_S + 100))
    assert journal.extent()[0] == 100
    assert talk.heard(protocol.CONFIRM, Confirm) == []


def test_the_clocks_of_unit_and_archive_are_compared(talk, journal, monkeypatch):
    """The unit is 5 s ahead; 0.2 s there, 0.4 s back: the estimate is good to half the difference."""
    sent_ns = (T0_S + 5) * NS
    word = Confirm(
        archive="main",
        id="one",
        journal=journal.id,
        ledger_sent_ns=sent_ns,
        ledger_came_ns=T0_S * NS + 200_000_000,
        sent_ns=T0_S * NS + 300_000_000,
    )
    talk.liaison.hear(UNIT.topic(protocol.CONFIRM), encode(word), sent_ns + 700_000_000)
    talk.liaison.attend()
    status = decode(talk.liaison.due(0, 0)[0][1], Status)
    assert status.round_trip_s == pytest.approx(0.6)
    assert status.clock_offset_s == pytest.approx(5.0, abs=0.1 + 1e-9)


def test_status_becomes_events_and_the_last_will_keeps_what_was_said(talk, archive):
    name = str(UNIT)
    talk.to_archive(UNIT.topic("$status"), encode(Status(journal="j", disk_free_bytes=5)))
    talk.to_archive(UNIT.topic("$status"), encode(Status(journal="j", trouble="no GPS", disk_free_bytes=4)))
    talk.to_archive(UNIT.topic("$status"), encode(Status(journal="j", online=False)))
    talk.to_archive(UNIT.topic("$status"), encode(Status(journal="j", disk_free_bytes=3)))
    events = [(event.kind, event.up, event.detail) for event in archive.book.events() if event.name == name]
    assert events == [
        ("link", True, ""),
        ("driver", True, ""),
        ("driver", False, "no GPS"),
        ("link", False, ""),
        ("link", True, ""),
        ("driver", True, ""),
    ]
    talk.to_archive(UNIT.topic("$status"), encode(Status(journal="j", online=False)))
    last = decode(archive.book.units()[name][1], Status)
    assert (last.online, last.disk_free_bytes) == (False, 3)


def test_two_stations_of_one_name_are_told(talk):
    for journal in ("a", "b"):  # a new journal alone is no trouble
        talk.to_archive(UNIT.topic("$status"), encode(Status(journal=journal)))
    assert talk.keeper.trouble == ""
    talk.to_archive(UNIT.topic("$status"), encode(Status(journal="a")))
    assert "two stations publish as PEA lemi0001 (journals b and a)" in talk.keeper.trouble
    assert "--unit" in talk.keeper.trouble


def test_bridges_are_events(talk, archive):
    for state in (b"1", b"1", b"0"):
        talk.to_archive("$SYS/broker/connection/pea-to-centre/state", state)
    assert [(event.kind, event.name, event.up) for event in archive.book.events()] == [
        ("bridge", "pea-to-centre", True),
        ("bridge", "pea-to-centre", False),
    ]


def test_words_that_are_damaged_are_passed_over_and_blocks_kept_as_rejected(talk, archive, caplog):
    for word in (protocol.STATUS, protocol.LEDGER):
        talk.to_archive(UNIT.topic(word), b"{")
    talk.to_archive(UNIT.topic(protocol.BLOCK), b"\x00")
    assert sum("passed over" in record.message for record in caplog.records) == 2
    assert "it is asked for again" in str(archive.rejected().reason.values[0])


def test_a_journal_at_its_bound_says_what_it_gave_up(journal, archive, caplog):
    talk = Talk(journal, archive, keep_days=100 / 86_400)
    journal.add_meta(LEMI.meta_topic, vector_meta())
    write(journal, range(T0_S, T0_S + 300))
    talk.liaison.bound()
    status = decode(talk.liaison.due(300, 0)[0][1], Status)
    assert (status.expired, status.journal_entries) == (200, 100)
    assert "200 messages of pea/lemi0001/sec went unconfirmed" in caplog.text


def test_commands_reach_the_station(talk):
    talk.liaison.hear(UNIT.topic("$cmd"), encode(Command(do="pause", by="ann")), 0)
    talk.liaison.hear(UNIT.topic("$cmd"), b'{"do": "format"}', 0)
    talk.liaison.attend()
    assert talk.commands == [Command(do="pause", by="ann")]


def test_a_scalar_is_confirmed_too(journal, archive):
    journal.add_meta(GSM.meta_topic, scalar_meta())
    talk = Talk(journal, archive)
    journal.append(
        [(GSM.topic, s * NS, s.to_bytes(4, "little") + b"\x63\x01\x02\x03") for s in range(T0_S, T0_S + 50)]
    )
    talk.send_samples()
    talk.round()
    assert journal.topics() == []


def test_the_journal_survives_a_restart_between_word_and_answer(tmp_path, archive):
    journal = Journal(tmp_path / "restarted")
    journal.add_meta(LEMI.meta_topic, vector_meta())
    talk = Talk(journal, archive)
    write(journal, range(T0_S, T0_S + 5000))
    talk.liaison.connected()
    for topic, payload, _ in talk.liaison.due(5000, 0):
        talk.to_archive(topic, payload)
    talk.keeper.tick()
    talk.liaison.attend()
    talk.to_archive(UNIT.topic(protocol.BLOCK), talk.liaison.next_block())  # the first, then it is killed
    journal.close()
    again = Journal(tmp_path / "restarted")
    other = Talk(again, archive)
    for _ in range(3):
        other.round()
    assert seconds_of(archive) == list(range(T0_S, T0_S + 5000))
    assert again.topics() == []
    again.close()


def test_blocks_are_no_faster_than_allowed(journal, archive, monkeypatch):
    """Behind a station's own broker the acknowledgements come at once, whatever the link behind it."""
    now_s = [1000.0]
    monkeypatch.setattr("obslab.telemetry.station.liaison.time.monotonic", lambda: now_s[0])
    liaison = Liaison(journal, UNIT, blocks_bits_per_s=8000)
    rng = random.Random(1)
    seconds = range(T0_S, T0_S + 10_000)
    journal.append([(LEMI.topic, s * NS, vector_payload(s, x=rng.randrange(10**6))) for s in seconds])
    want = Want(
        id="w",
        archive="main",
        journal=journal.id,
        topic=LEMI.topic,
        begin_ns=T0_S * NS,
        end_ns=(T0_S + 10_000) * NS,
    )
    liaison.hear(UNIT.topic(protocol.WANT), encode(want), 0)
    liaison.attend()
    sent = 0
    while now_s[0] < 1010:
        if block := liaison.next_block():
            sent += len(block)
        now_s[0] += 0.1
    assert 9_000 < sent <= 10_000 + protocol.BLOCK_BYTES  # 1000 bytes a second for ten seconds


# ---- words that somebody made up, or that came from elsewhere


def block(journal, **facts):
    known = {"want": "w", "journal": journal.id, "topic": LEMI.topic, "begin_ns": 0, "end_ns": 9}
    return encode(Block(**(known | {"packed": b"", "last": True} | facts)))


@pytest.mark.parametrize(
    "packed",
    [
        struct.pack("<BHI", 1, 16, 50_000_000) + pack_columns([np.zeros(1, dtype=np.int64)]),
        struct.pack("<BHI", 0, 0, 50_000_000),
        struct.pack("<BHI", 1, 16, 3) + b"\x00" * 5,
        b"\x07",
    ],
    ids=["announces more", "announces nothings", "no columns", "cut off"],
)
def test_a_poisoned_block_is_kept_as_rejected_and_storing_goes_on(talk, journal, archive, packed):
    talk.to_archive(UNIT.topic(protocol.BLOCK), block(journal, packed=packed))
    write(journal, [T0_S])
    talk.send_samples()
    assert archive.rejected().sizes["message"] == 1
    assert seconds_of(archive) == [T0_S]


def test_numbers_too_large_for_a_database_are_no_ledger(talk, journal, caplog):
    page = (
        b'{"journal": "j", "sent_ns": 1, "pages": {"pea/lemi0001/sec": [[99999999999999999999, 1, 2, 3, 4]]}}'
    )
    talk.to_archive(UNIT.topic(protocol.LEDGER), page)
    assert "passed over" in caplog.text


def test_a_unit_speaks_for_its_own_station_only(talk, journal, archive, caplog):
    """Access rules let it write below its own code."""
    payload = pack_payloads([vector_payload(T0_S)])
    talk.to_archive(UNIT.topic(protocol.BLOCK), block(journal, topic="wic/lemi036/sec", packed=payload))
    assert "of another station" in str(archive.rejected().reason.values[0])
    page = Page(1, T0_S * NS, T0_S * NS + 1, 1, 0)
    strange = Ledger(journal=journal.id, sent_ns=NOW_NS, pages={"wic/lemi036/sec": [page]})
    talk.to_archive(UNIT.topic(protocol.LEDGER), encode(strange))
    assert "lists streams of another station: wic/lemi036/sec" in caplog.text
    assert archive.book.holes() == []


def test_the_answer_of_a_station_with_our_name_frees_nothing(talk, journal, archive, tmp_path):
    """It has none of our samples, and says so."""
    write(journal, range(T0_S, T0_S + 100))
    talk.liaison.connected()
    for topic, payload, _ in talk.liaison.due(100, 0):
        talk.to_archive(topic, payload)
    talk.keeper.tick()
    (want,) = talk.heard(protocol.WANT, Want)
    other = Journal(tmp_path / "other")
    assert Liaison(other, UNIT)._take_want(want) is None
    talk.to_archive(
        UNIT.topic(protocol.BLOCK),
        block(other, want=want.id, begin_ns=want.begin_ns, end_ns=want.end_ns),
    )
    talk.liaison._heard.clear()  # the station itself has not answered yet
    assert talk.heard(protocol.CONFIRM, Confirm)[-1].marks == {}
    assert journal.extent()[0] == 100
    for _ in range(3):
        talk.round()
    assert seconds_of(archive) == list(range(T0_S, T0_S + 100))
    other.close()


def test_while_clocks_differ_nothing_is_given_up(talk, journal, archive, monkeypatch):
    """The archive's clock is an hour behind: it refuses everything, and has it when its clock is right."""
    begin = T0_S + 10**6 + 3600
    monkeypatch.setattr("obslab.telemetry.station.liaison.time.time_ns", lambda: NOW_NS + 3600 * NS)
    write(journal, range(begin - 100, begin))
    for _ in range(5):
        talk.round()
    assert journal.extent()[0] == 100
    assert "3600 s ahead of ours: its samples are refused and stay in its journal" in talk.keeper.trouble
    talk.arrival_ns = NOW_NS + 3600 * NS
    for _ in range(5):
        talk.round()
    assert seconds_of(archive) == list(range(begin - 100, begin))
    assert journal.topics() == []


def test_a_dead_clock_does_not_keep_the_journal(talk, journal, archive):
    """After each start it begins at the same time: pages that begin alike are pages of their own."""
    for start in range(3):
        write(journal, range(T0_S, T0_S + 50), x=start)
    for _ in range(8):
        talk.round()
    assert journal.topics() == []
    assert archive.counters()[LEMI]["contradiction"] >= 100


def test_fast_streams_are_filled_too(journal, archive):
    fast = Stream("PEA", "fast", "200hz")
    journal.add_meta(fast.meta_topic, vector_meta())
    talk = Talk(journal, archive)
    body = np.arange(600, dtype="<i4").tobytes()
    journal.append([(fast.topic, s * NS, s.to_bytes(4, "little") + body) for s in range(T0_S, T0_S + 5)])
    for _ in range(3):
        talk.round()
    assert archive.counters()[fast]["unique"] == 1000
    assert journal.topics() == []


def test_a_question_asked_again_takes_the_place_of_the_old_one(talk, journal):
    write(journal, range(T0_S, T0_S + 10))
    asked = {"archive": "main", "journal": journal.id, "topic": LEMI.topic, "end_ns": (T0_S + 10) * NS}
    for number in range(30):  # they waited at the broker while the link was down
        word = Want(id=str(number), begin_ns=T0_S * NS, **asked)
        talk.liaison.hear(UNIT.topic(protocol.WANT), encode(word), 0)
    talk.liaison.attend()
    answers = []
    while payload := talk.liaison.next_block():
        answers.append(decode(payload, Block))
    assert [answer.want for answer in answers] == ["29"]


def test_an_archive_that_never_answers_is_told_once(talk, journal, monkeypatch, caplog):
    write(journal, range(T0_S, T0_S + 10))
    talk.liaison.connected()
    later_s = time.monotonic() + 200
    monkeypatch.setattr("obslab.telemetry.station.liaison.time.monotonic", lambda: later_s)
    for _ in range(3):
        talk.liaison.due(10, 0)
    told = [
        record.message
        for record in caplog.records
        if "no archive named 'main' has answered" in record.message
    ]
    assert len(told) == 1
    assert "may this user write to pea/#" in told[0]


def test_a_unit_has_a_name_that_fits_into_a_topic():
    for name in ("X Y", "a/b", "#", ""):
        with pytest.raises(TopicError, match="is not a name of small letters"):
            Unit("PEA", name)
