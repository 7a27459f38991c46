"""What an archive knows beside samples."""

import pytest

from obslab.errors import TableError
from obslab.telemetry.archive.book import Book, ClockReading, Event

TOPIC = "pea/lemi0001/sec"


@pytest.fixture
def book(tmp_path):
    book = Book(tmp_path, readonly=False)
    yield book
    book.close()


def test_only_changes_are_events(book):
    told = [True, True, False, False, True]
    news = [book.note(Event(at, "link", "PEA lemi0001", up)) for at, up in enumerate(told)]
    assert news == [True, False, True, False, True]
    assert [event.at_ns for event in book.events()] == [0, 2, 4]
    assert [event.at_ns for event in book.events(1, 4)] == [2]
    assert book.state_of("link", "PEA lemi0001").up
    assert book.state_of("bridge", "PEA lemi0001") is None


def test_a_hole_is_noted_once_until_it_is_filled(book):
    hole = book.add_hole(TOPIC, 10, 20, "gap", 1)
    assert book.add_hole(TOPIC, 12, 18, "gap", 2) is None
    assert book.add_hole(TOPIC, 5, 18, "gap", 2) is not None  # reaches beyond it
    assert book.add_hole("pea/gsm0001/sec", 12, 18, "gap", 2) is not None
    book.set_hole(hole, 3, state="filled", filled=10)
    assert book.add_hole(TOPIC, 18, 20, "gap", 4) is not None


def test_what_is_lost_at_source_is_asked_for_again_only_on_demand(book):
    hole = book.add_hole(TOPIC, 10, 20, "gap", 1)
    book.set_hole(hole, 2, state="lost")
    assert book.add_hole(TOPIC, 10, 20, "gap", 3) is None
    assert book.add_hole(TOPIC, 10, 20, "asked by hand", 3, again=True) is not None


def test_holes_are_found_by_time_topic_and_state(book):
    early, late = book.add_hole(TOPIC, 10, 20, "gap", 1), book.add_hole(TOPIC, 30, 40, "gap", 1)
    book.add_hole("pea/gsm0001/sec", 10, 20, "gap", 1)
    late = book.set_hole(late, 2, state="asked", begin_ns=35)
    assert book.holes(TOPIC) == [early, late]
    assert book.holes(TOPIC, 20, 35) == []
    assert book.holes(TOPIC, 19, 36) == [early, late]
    assert book.holes(states=("asked",)) == [late]


def test_marks_never_go_back(book):
    book.set_marks("j", {TOPIC: 5})
    book.set_marks("j", {TOPIC: 3})
    assert book.marks("j") == {TOPIC: 5}
    assert book.marks("another") == {}


def test_units_and_clocks_are_kept(book):
    book.keep_unit("PEA lemi0001", "j", b"{}", 7)
    book.keep_unit("PEA lemi0001", "k", b"{}", 8)
    assert book.units() == {"PEA lemi0001": ("k", b"{}", 8)}
    reading = ClockReading("PEA lemi0001", 9, 0.25, 0.6)
    book.add_clock(reading)
    assert book.clocks() == [reading]
    assert book.clocks(10) == []


def test_a_reader_sees_what_is_written_and_may_not_write(tmp_path, book):
    reader = Book(tmp_path, readonly=True)
    book.note(Event(1, "bridge", "centre", False))
    assert [event.name for event in reader.events()] == ["centre"]
    with pytest.raises(TableError, match=r"book.db is open for reading only"):
        reader.note(Event(2, "bridge", "centre", True))


def test_an_archive_without_a_book_has_nothing_to_tell(tmp_path):
    reader = Book(tmp_path / "old", readonly=True)
    assert (reader.events(), reader.holes(), reader.units(), reader.clocks()) == ([], [], {}, [])
