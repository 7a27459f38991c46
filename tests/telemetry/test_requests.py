import logging
import threading

import pytest
from telemetry.makers import LEMI, NS, T0_S

from obslab.errors import StorageFullError, TableError, TopicError
from obslab.telemetry.archive import requests
from obslab.telemetry.archive.requests import ask, taken, waiting

BEGIN_NS, END_NS = T0_S * NS, (T0_S + 60) * NS


def test_what_was_asked_is_taken_once_in_order(tmp_path):
    ask(tmp_path, LEMI.topic, BEGIN_NS, END_NS)
    ask(tmp_path, "pea/gsm0001/sec", BEGIN_NS + 1, END_NS)
    assert [request.topic for request in waiting(tmp_path)] == [LEMI.topic, "pea/gsm0001/sec"]
    found = taken(tmp_path)
    assert [(request.topic, request.begin_ns, request.end_ns) for request in found] == [
        (LEMI.topic, BEGIN_NS, END_NS),
        ("pea/gsm0001/sec", BEGIN_NS + 1, END_NS),
    ]
    assert all(request.again for request in found)
    assert taken(tmp_path) == [] and waiting(tmp_path) == []


def test_an_archive_that_was_never_asked_has_no_requests(tmp_path):
    assert taken(tmp_path) == [] and waiting(tmp_path / "nowhere") == []
    assert list(tmp_path.iterdir()) == []


def test_several_askers_and_one_taker_lose_none(tmp_path):
    def many(name):
        for place in range(100):
            ask(tmp_path, f"pea/{name}/sec", BEGIN_NS + place, END_NS)

    askers = [threading.Thread(target=many, args=(name,)) for name in ("a", "b", "c")]
    for asker in askers:
        asker.start()
    found = []
    while any(asker.is_alive() for asker in askers):
        found += taken(tmp_path)
    found += taken(tmp_path)
    assert len({(request.topic, request.begin_ns) for request in found}) == len(found) == 300


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b'{"topic": "pea/lemi0001/sec"}',
        b'{"topic": "../../etc", "begin_ns": 1, "end_ns": 2}',
        b'{"topic": "pea/lemi0001/sec", "begin_ns": 2, "end_ns": 1}',
    ],
)
def test_what_makes_no_sense_is_logged_and_gone(tmp_path, content, caplog):
    (tmp_path / requests.FOLDER).mkdir()
    file = tmp_path / requests.FOLDER / "1-a.json"
    file.write_bytes(content)
    assert waiting(tmp_path) == []
    with caplog.at_level(logging.WARNING):
        assert taken(tmp_path) == []
    assert "1-a.json" in caplog.text and not file.exists()


@pytest.mark.parametrize(
    ("topic", "begin_ns", "end_ns"),
    [("pea/lemi0001", 1, 2), ("pea/lemi0001/sec", 2, 2), ("pea/lemi0001/sec", 1, 2**63)],
)
def test_what_nobody_could_answer_is_not_asked(tmp_path, topic, begin_ns, end_ns):
    with pytest.raises(TopicError):
        ask(tmp_path, topic, begin_ns, end_ns)
    assert list(tmp_path.iterdir()) == []


def test_where_nobody_may_write_the_message_says_what_to_do(tmp_path):
    (tmp_path / requests.FOLDER).write_text("a file where the folder should be")
    with pytest.raises(TableError, match="obslab archive backfill"):
        ask(tmp_path, LEMI.topic, BEGIN_NS, END_NS)


def test_requests_that_nobody_takes_do_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(requests, "_MOST", 3)
    for place in range(3):
        ask(tmp_path, LEMI.topic, BEGIN_NS + place, END_NS)
    with pytest.raises(StorageFullError, match="is `obslab collect` running"):
        ask(tmp_path, LEMI.topic, BEGIN_NS, END_NS)
