"""The watch over real archives: once, again after a restart, and whatever fails in between."""

import json
import logging
import os
import signal
import socket
import sqlite3
import sys
import threading
from dataclasses import replace

import commands
import numpy as np
import pytest
from small_station import STREAM, Station
from telemetry import observatory
from telemetry.makers import GSM, LEMI, NS, T0_S, arrivals, batch, scalar_meta, vector_meta
from telemetry.watch_servers import Hooks

from obslab.errors import TableError
from obslab.telemetry.archive.book import ClockReading, Event
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.processing.adjusting import adjust_archive
from obslab.telemetry.protocol import Status, encode
from obslab.telemetry.sample import Stream
from obslab.telemetry.watch import conditions, rulesfile, watcher
from obslab.telemetry.watch.memory import Memory
from obslab.telemetry.watch.rules import DeltaF, Value
from obslab.telemetry.watch.snapshot import Reader
from obslab.telemetry.watch.watcher import Watcher
from obslab.times import from_ns

T0_NS = T0_S * NS
HK = Stream("PEA", "lemi0001-hk", "min")


def filled(path, seconds=10):
    """An archive of two streams and housekeeping up to T0, and what its collector writes beside them."""
    with open_archive(path, write=True) as archive:
        hk = vector_meta(components=("t_sensor", "t_box", "u_supply"), units=("degC", "degC", "V"))
        values = b"".join(count.to_bytes(4, "little", signed=True) for count in (21_500, 70_000, 12_250))
        archive.add(
            batch(
                arrivals(range(T0_S - seconds, T0_S)),
                arrivals([T0_S - 40], [b"\0" * 4], stream=GSM),
                arrivals([T0_S - 60], [values], stream=HK),
                metas={
                    LEMI.meta_topic: (vector_meta(),),
                    GSM.meta_topic: (scalar_meta(),),
                    HK.meta_topic: (hk,),
                },
            )
        )
        book = archive.book
        book.note(Event(T0_NS - 900 * NS, "link", "PEA lemi0001", False, "will"))
        book.note(Event(T0_NS - 90 * NS, "bridge", "pea-centre", False))
        status = Status(journal="j", online=False, disk_free_bytes=10**8, journal_entries=5)
        book.keep_unit("PEA lemi0001", "j", encode(status), T0_NS - 5 * NS)
        book.add_hole(LEMI.topic, T0_NS - 7200 * NS, T0_NS - 3600 * NS, "not received", T0_NS - 100 * NS)
        book.add_clock(ClockReading("PEA lemi0001", T0_NS - 60 * NS, 3600.2, 0.6))


EVERYTHING = """
[[rule]]
kind = "stale"
[[rule]]
kind = "gap"
[[rule]]
kind = "disk"
unit_below_gb = 1
archive_below_gb = 1e9
[[rule]]
kind = "clock"
[[rule]]
kind = "temperature"
max = 60
[[rule]]
name = "battery"
kind = "value"
component = "u_supply"
min = 12
[[rule]]
kind = "link"
[[rule]]
kind = "collector"
"""
STALE = '[[rule]]\nkind = "stale"\nafter_s = 60\nstreams = ["pea/lemi0001/sec"]\n'


class Setup:
    """An archive, rules that call a webhook, and a watcher that can be restarted; seconds count from T0."""

    def __init__(self, folder, url, text):
        self.folder, self.archive, self._now = folder, folder / "archive", None
        self.rules = folder / "watch.toml"
        self.rules.write_text(text + f'[action.chat]\nkind = "webhook"\nurl = "{url}"\ntimeout_s = 5\n')

    def restart(self):
        self.stop()
        self.memory = Memory(self.folder / "state" / "watch.json")
        self.watcher = self._now = Watcher(self.archive, rulesfile.load(self.rules), self.memory)
        return self.watcher

    def stop(self):
        if self._now is not None:
            self.memory.close()

    def at(self, *seconds):
        return [notice.what for s in seconds for notice in self.watcher.round(T0_NS + round(s * NS))]


@pytest.fixture
def hooks():
    with Hooks().serving() as hooks:
        yield hooks


@pytest.fixture
def setup(tmp_path, hooks):
    filled(tmp_path / "archive")
    made = []

    def make(text=STALE):
        made.append(Setup(tmp_path, hooks.url, text))
        made[0].restart()
        return made[0]

    yield make
    for one in made:
        one.stop()


def more(setup, *seconds):
    """New samples of the vector, at seconds from T0."""
    with open_archive(setup.archive, write=True) as archive:
        archive.add(batch(arrivals([T0_S + second for second in seconds])))


def test_a_snapshot_has_all_that_an_archive_says(tmp_path):
    filled(tmp_path / "a")
    now = Reader(tmp_path / "a").read(T0_NS)
    assert now.problems == {}
    assert {one.stream: one.age_s for one in now.streams} == {LEMI: 1, GSM: 40, HK: 60}
    values = {one.stream: one.values for one in now.streams}
    assert values[HK] == {"t_sensor": (21.5, "degC"), "t_box": (70.0, "degC"), "u_supply": (12.25, "V")}
    assert [(one.topic, one.status.online) for one in now.units] == [("pea/lemi0001", False)]
    assert {(one.kind, one.at_ns) for one in now.links} == {
        ("link", T0_NS - 900 * NS),
        ("bridge", T0_NS - 90 * NS),
    }
    assert [(one.unit, one.offset_s) for one in now.clocks] == [("PEA lemi0001", 3600.2)]
    assert [(one.topic, one.state) for one in now.holes] == [(LEMI.topic, "open")]
    stat = os.statvfs(tmp_path)
    assert abs(now.disk_free_bytes - stat.f_bavail * stat.f_frsize) < 1e9
    assert now.report is None


def test_a_link_that_comes_up_between_two_snapshots_is_up(tmp_path):
    filled(tmp_path / "a")
    reader = Reader(tmp_path / "a")
    reader.read(T0_NS)
    with open_archive(tmp_path / "a", write=True) as archive:
        archive.book.note(Event(T0_NS - 10 * NS, "link", "PEA lemi0001", True))
        archive.book.note(Event(T0_NS + 10 * NS, "bridge", "second", True))
    links = {(one.name, one.up) for one in reader.read(T0_NS + 7200 * NS).links}
    assert links == {("PEA lemi0001", True), ("pea-centre", False), ("second", True)}


def test_every_kind_of_rule_calls_once_over_a_real_archive(setup, hooks):
    here = setup(EVERYTHING)
    here.at(0, 30, 60, 90)
    told = {(one["rule"], one["subject"]) for one in hooks.came}
    assert len(told) == len(hooks.came)
    assert told == {
        ("stale", "pea/lemi0001/sec"),
        ("stale", "pea/gsm0001/sec"),
        ("gap", "pea/lemi0001/sec"),
        ("disk", "archive disk"),
        ("disk", "PEA lemi0001 disk"),
        ("clock", "PEA lemi0001"),
        ("temperature", "pea/lemi0001-hk/min/t_box"),
        ("link", "PEA lemi0001"),
        ("collector", "collector"),
    }
    assert "70 degC, above 60" in next(one["text"] for one in hooks.came if one["rule"] == "temperature")


def test_an_alarm_is_told_once_over_restarts_and_cleared_after_them(setup, hooks):
    here = setup()
    assert here.at(0, 30, 58) == []
    assert here.at(60, 90) == ["alarm"]
    here.restart()
    assert here.at(120, 3000) == []
    assert [alarm.subject for alarm in here.watcher.standing] == ["pea/lemi0001/sec"]
    more(here, 3010, 3060)
    here.restart()
    assert here.at(3020) == []  # a minute has to be well
    here.restart()
    assert here.at(3079, 3080, 3100) == ["all-clear"]
    assert [one["what"] for one in hooks.came] == ["alarm", "all-clear"]
    assert "samples come again (it lasted 49 min)" in hooks.came[1]["text"]
    here.restart()
    assert here.watcher.standing == []


def test_many_streams_that_fall_silent_together_are_one_message(setup, hooks):
    here = setup('[[rule]]\nkind = "stale"\nafter_s = 60\nclear_s = 0\n')
    streams = [Stream("WIC", f"lemi{n}") for n in range(20)]

    def come(second):
        with open_archive(here.archive, write=True) as archive:
            metas = {stream.meta_topic: (vector_meta(),) for stream in streams}
            archive.add(batch(*[arrivals([T0_S + second], stream=one) for one in streams], metas=metas))

    come(0)
    here.at(0, 100)
    (told,) = hooks.came
    assert told["text"].startswith("ALARM stale: 23 at once: PEA gsm0001 sec: no sample for ")
    assert told["facts"]["count"] == len(here.watcher.standing) == 23
    assert "wic/lemi19/sec" in told["facts"]["subjects"]
    come(110)
    here.at(120)
    assert [(one["what"], one["facts"]["count"]) for one in hooks.came[1:]] == [("all-clear", 20)]
    assert len(here.watcher.standing) == 3


def test_a_reminder_comes_each_day_and_a_restart_does_not_bring_one(setup, hooks):
    here = setup()
    told = []
    for hour in range(50):
        here.restart()
        told += here.at(3600 * hour)
    assert told == ["alarm", "reminder", "reminder"]


def test_what_could_not_be_sent_is_sent_after_a_restart_in_order_and_once(setup, hooks):
    hooks.codes[:] = [503]
    here = setup()
    assert here.at(60) == ["alarm"]
    assert here.watcher.waiting == 1
    more(here, 70, 130, 190)
    assert here.at(75, 140) == ["all-clear"]
    here.restart()
    assert (here.watcher.waiting, hooks.came) == (2, [])
    hooks.codes[:] = [200]
    here.restart()
    assert here.at(201, 205) == []
    assert [one["what"] for one in hooks.came] == ["alarm", "all-clear"]


def test_a_watcher_killed_between_judging_and_sending_still_sends(setup, hooks, monkeypatch):
    here = setup()

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("obslab.telemetry.watch.outbox.Outbox.deliver", kill)
        with pytest.raises(Killed):
            here.at(60)
    assert hooks.came == []
    here.restart()
    assert here.at(61, 62, 63) == []
    assert [one["what"] for one in hooks.came] == ["alarm"]


def test_an_action_that_fails_is_told_of_by_the_others(setup, hooks, tmp_path):
    here = setup(STALE + '[action.bell]\nkind = "command"\nargv = ["/bin/false"]\n')
    told = here.at(60, 100, 200, 500, 600)
    assert told == ["alarm", "alarm"]
    assert [(one["rule"], one["subject"]) for one in hooks.came] == [
        ("stale", "pea/lemi0001/sec"),
        ("watch", "action bell"),
    ]
    assert "'/bin/false' ended with code 1; 4 tries" in hooks.came[1]["text"]


def test_a_rule_that_crashes_is_told_and_does_not_end_the_others(setup, hooks, monkeypatch, caplog):
    here = setup(STALE + '[[rule]]\nkind = "gap"\n')
    honest = conditions.judge

    def judge(rule, *rest):
        if rule.name == "stale":
            raise ZeroDivisionError("a bug")
        return honest(rule, *rest)

    monkeypatch.setattr(watcher, "judge", judge)
    here.at(0, 30, 60, 90)
    assert [(one["rule"], one["subject"]) for one in hooks.came] == [
        ("gap", "pea/lemi0001/sec"),
        ("watch", "rule stale"),
    ]
    assert sum("rule 'stale' failed" in message for message in caplog.messages) == 1
    monkeypatch.setattr(watcher, "judge", honest)
    here.at(120, 150, 180)
    assert [(one["what"], one["rule"]) for one in hooks.came[2:]] == [
        ("alarm", "stale"),
        ("all-clear", "watch"),
    ]


def test_an_archive_that_goes_and_comes_back_is_told_and_holds_the_alarms(setup, hooks):
    here = setup()
    here.at(60)
    here.archive.rename(here.folder / "away")
    here.at(90, 120, 150, 180)
    (here.folder / "away").rename(here.archive)
    here.at(210, 240, 270)
    assert [(one["what"], one["subject"]) for one in hooks.came] == [
        ("alarm", "pea/lemi0001/sec"),
        ("alarm", "reading archive"),
        ("all-clear", "reading archive"),
    ]
    assert "is not an archive" in hooks.came[1]["text"]


def test_a_damaged_archive_ends_nothing(setup, hooks):
    here = setup()
    for name in ("hot.db", "hot.db-wal", "hot.db-shm"):
        (here.archive / name).unlink(missing_ok=True)
    (here.archive / "hot.db").write_bytes(b"no database" * 500)
    here.at(0, 60)
    assert [one["subject"] for one in hooks.came] == ["reading archive"]


def test_one_state_has_one_watcher(setup):
    here = setup()
    with pytest.raises(TableError, match="is in use by another process"):
        Memory(here.memory.file)


def test_a_damaged_state_is_kept_aside_and_told(setup, caplog):
    here = setup()
    here.at(60)
    here.memory.file.write_bytes(b'{"alarms": {"st')
    here.restart()
    assert "is damaged" in caplog.text
    assert (here.memory.file.parent / "watch.damaged").read_bytes() == b'{"alarms": {"st'
    assert here.at(90) == ["alarm"]


def test_a_state_that_cannot_be_written_stops_nothing_and_is_logged_once(setup, hooks, caplog, monkeypatch):
    here = setup()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert here.at(60, 90, 120) == ["alarm"]
    assert len(hooks.came) == 1
    assert sum("cannot be written" in message for message in caplog.messages) == 1


def test_nothing_is_written_while_nothing_changes(setup):
    here = setup()
    here.at(0)
    before = here.memory.file.stat()
    here.at(10, 20, 30)
    assert here.memory.file.stat().st_ino == before.st_ino  # each write makes a new file


def test_the_loop_survives_a_round_that_fails_and_tells_systemd_that_it_lives(setup, monkeypatch, caplog):
    here, ending, rounds = setup("every_s = 1\n" + STALE), threading.Event(), []

    def fail(at_ns):
        rounds.append(at_ns)
        if len(rounds) == 3:
            ending.set()
        raise MemoryError("for once")

    monkeypatch.setattr(here.watcher, "round", fail)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, caplog.at_level(logging.ERROR):
        systemd.bind(str(here.folder / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(here.folder / "notify"))
        here.watcher.run(ending)
        assert [systemd.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    assert caplog.messages == ["a round of the watch failed"]


def test_a_real_station_that_falls_silent_is_told_and_cleared(tmp_path, hooks):
    with Station(tmp_path) as station:
        station.send(300)
        topic = STREAM.topic
        text = f'[[rule]]\nkind = "stale"\nafter_s = 100\nstreams = ["{topic}"]\nclear_s = 0\n'
        here = Setup(tmp_path, hooks.url, text + '[[rule]]\nkind = "collector"\n')
        here.restart()
        with open_archive(station.path) as archive:
            newest_ns = archive.span(STREAM)[1]
        told = [notice.what for notice in here.watcher.round(newest_ns + 99 * NS) if notice.rule == "stale"]
        told += [notice.what for notice in here.watcher.round(newest_ns + 101 * NS) if notice.rule == "stale"]
        station.send(60)
        told += [notice.what for notice in here.watcher.round(newest_ns + 101 * NS) if notice.rule == "stale"]
        assert told == ["alarm", "all-clear"]
        here.stop()


# ---- the command


def write_rules(folder, url=None, text=STALE):
    more = f'[action.chat]\nkind = "webhook"\nurl = "{url}"\n' if url else ""
    (folder / "watch.toml").write_text(text + more)
    return ["watch", "--archive", folder / "archive", "--rules", folder / "watch.toml"]


def test_once_looks_once_and_its_exit_code_tells(tmp_path, state_dir, hooks):
    filled(tmp_path / "archive")
    arguments = write_rules(tmp_path, hooks.url)
    done = commands.run(*arguments, "--once")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("ALARM stale: PEA lemi0001 sec: no sample for ")
    assert done.stdout.endswith("1 alarms stand\n")
    done = commands.run(*arguments, "--once", "--json")
    told = json.loads(done.stdout)
    assert ([one["subject"] for one in told["alarms"]], told["told"]) == (["pea/lemi0001/sec"], [])
    assert len(hooks.came) == 1
    calm = write_rules(tmp_path, hooks.url, '[[rule]]\nkind = "trouble"\n')
    done = commands.run(*calm, "--once")
    assert (done.returncode, done.stdout) == (0, "no alarm stands\n")


def test_the_test_option_goes_through_every_action(tmp_path, state_dir, hooks):
    text = STALE + f'[action.bell]\nkind = "command"\nargv = ["/bin/sh", "-c", "cat > {tmp_path}/came"]\n'
    done = commands.run(*write_rules(tmp_path, hooks.url, text), "--test")
    assert (done.returncode, done.stdout.count("took the test message")) == (0, 2)
    assert json.loads((tmp_path / "came").read_text())["what"] == hooks.came[0]["what"] == "test"
    hooks.codes[:] = [500]
    done = commands.run(*write_rules(tmp_path, hooks.url, text), "--test", "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["bell"]["ok"], told["chat"]["ok"]) == (True, False)
    assert "answered 500" in told["chat"]["told"]
    assert "the rules have no action to test" in commands.failure(*write_rules(tmp_path), "--test")


def test_the_command_runs_until_told_and_prints_what_it_tells(tmp_path, state_dir, hooks):
    filled(tmp_path / "archive")
    arguments = write_rules(tmp_path, hooks.url, "every_s = 1\n" + STALE)
    with commands.Running(tmp_path / "log", *arguments, "--json") as running:
        commands.wait(lambda: running.said.count("\n") == 1, "an alarm")
        commands.wait(lambda: len(hooks.came) == 1, "a call")
        assert running.tell(signal.SIGTERM) == 0
    assert json.loads(running.said) == hooks.came[0]


def test_mistakes_are_told_in_one_line(tmp_path, state_dir):
    arguments = write_rules(tmp_path, text="[[rule]]\nkind = 'stail'\nx = 1\n")
    assert "line 2: [[rule]] 1: kind 'stail' is unknown; did you mean stale?" in commands.failure(*arguments)
    arguments = write_rules(tmp_path)
    assert "is not an archive" in commands.failure(*arguments, "--once")
    assert "cannot be read: No such file" in commands.failure("watch", "--rules", tmp_path / "no.toml")


def test_an_archive_of_an_older_obslab_has_no_book_and_can_be_watched(setup, hooks):
    here = setup(EVERYTHING)
    for file in here.archive.glob("book.db*"):
        file.unlink()
    here.at(0, 60)
    assert {one["rule"] for one in hooks.came} == {"stale", "disk", "temperature", "collector"}


def test_watching_needs_neither_xarray_nor_a_write(tmp_path):
    filled(tmp_path / "a")
    before = {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir() if file.suffix == ".db"}
    script = (
        "import sys; from pathlib import Path; from obslab.telemetry.watch import watcher, rulesfile\n"
        "from obslab.telemetry.watch.snapshot import Reader\n"
        f"assert Reader(Path({str(tmp_path / 'a')!r})).read({T0_NS}).problems == {{}}\n"
        "print(*{'xarray', 'dask', 'numba', 'pandas'} & set(sys.modules))"
    )
    done = commands.subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")
    after = {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir() if file.suffix == ".db"}
    assert after == before
    with sqlite3.connect(tmp_path / "a" / "hot.db") as book:
        assert book.execute("SELECT count(*) FROM sample").fetchone()[0] == 12


def test_delta_f_is_read_from_adjusted_data_and_the_scalar(tmp_path):
    """15 nT too much in Z, where I is 64 degrees, are -13.5 nT in delta-F; an hour before all was well."""
    now_ns = observatory.NOON
    good, wrong = (now_ns + at * NS + np.arange(-900, 1, dtype=np.int64) * NS for at in (-3600, 0))
    with open_archive(tmp_path / "a", write=True) as archive:
        observatory.fill(archive, np.concatenate([good, wrong]))
        for time_ns, z_nt in ((good, 0.0), (wrong, 15.0)):
            adjusted = observatory.baseline(more=(0.0, 0.0, z_nt), adopted="2024-06-02")
            edges = (from_ns(time_ns[0]), from_ns(time_ns[-1] + 1))
            adjust_archive(archive, archive.add, "WIC", "lemi036", adjusted, *edges)
    rule = DeltaF(
        name="df",
        vector="wic/lemi036-adj/sec",
        scalar="wic/gp20s3/sec",
        above_nt=3,
        change_nt=3,
        before_h=1,
        pier_difference_nt=observatory.PIER_NT,
    )
    snapshot = Reader(tmp_path / "a", [rule, Value(name="x", component="x")]).read(now_ns)
    assert snapshot.problems == {}
    found = snapshot.differences["df"]
    total = np.sqrt((observatory.truth(wrong) ** 2).sum(axis=1))
    expected_nt = np.median(-15 * observatory.truth(wrong)[-600:, 2] / total[-600:])
    assert found.now_nt == pytest.approx(expected_nt, abs=0.01)
    assert found.before_nt == pytest.approx(0, abs=0.006)
    assert all(finding.bad for finding in conditions.judge(rule, snapshot))
    # 8 minutes on there are too few samples of the last ten: nobody can tell.
    later = Reader(tmp_path / "a", [rule]).read(now_ns + 480 * NS)
    assert [finding.bad for finding in conditions.judge(rule, later)] == [None, None]
    lost = replace(rule, scalar="wic/gsm90/sec")
    (finding,) = conditions.judge(lost, Reader(tmp_path / "a", [lost]).read(now_ns))
    assert finding.bad
    assert "has no stream WIC gsm90 sec" in finding.text
