"""A real instrument: at a pseudo terminal with all that happens to a serial line, and on standard input."""

import contextlib
import itertools
import os
import pty
import re
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import tty
from datetime import UTC, datetime

import commands
import pytest
from telemetry.makers import NS, T0_S, wait_for

from obslab.config import broker_at
from obslab.errors import ConfigError, NoLabError
from obslab.telemetry.protocol import Command, Status, Unit, decode, encode
from obslab.telemetry.sample import Stream, as_datetime, decode_meta
from obslab.telemetry.station import acquisition, ports
from obslab.telemetry.station import instrument as instrument_module
from obslab.telemetry.station.dayfile import DayFiles
from obslab.telemetry.station.drivers.gsm90 import Gsm90
from obslab.telemetry.station.drivers.lemi25 import Lemi25
from obslab.telemetry.station.equipment import instruments_from
from obslab.telemetry.station.instrument import Instrument
from obslab.telemetry.station.journal import Journal
from obslab.telemetry.station.liaison import Liaison
from obslab.telemetry.station.ports import StdinPort
from obslab.telemetry.station.publisher import Publisher
from obslab.telemetry.station.run import Station
from obslab.telemetry.station.serial import SerialPort

NOWHERE = "mqtt://127.0.0.1:9"
GPS = "1390.0 7156.99400 S 02321.00100 E 9 2 0"
LEMI, HK = "pea/lemi0001/sec", "pea/lemi0001-hk/min"
GSM = "pea/gsm90001/sec"


def lemi(second, *values):
    at = datetime.fromtimestamp(T0_S + second, UTC)
    three = " ".join(f"{value:.3f}" for value in values or (second, -second, 1000 + second))
    return f"{at:%Y %m %d %H %M %S} {three} -12.00 18.00 12.60 {GPS}\r\n".encode()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Tries again at once what a station tries after a while."""
    monkeypatch.setattr(ports, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(ports, "_LONGEST_WAIT_S", 0.1)
    monkeypatch.setattr(acquisition, "_FIRST_WAIT_S", 0.05)


def opened(station, since_ns=0):
    """Wait for the port to be open: pyserial throws away what came before."""
    reader = station.instruments._acquisition.reader
    wait_for(lambda: (reader.heard_ns or 0) > since_ns, what="an open port")


class Cable:
    """An instrument's end of a serial line: `say` sends bytes, `pull` and `plug` are what hands do to it."""

    def __init__(self, path):
        self.path = path
        self.plug()

    def plug(self):
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._theirs))

    def say(self, *data):
        for one in data:
            os.write(self._ours, one)

    def pull(self):
        self.path.unlink(missing_ok=True)  # first: the system gives the terminal's number to somebody else
        for descriptor in (self._ours, self._theirs):
            if descriptor is not None:
                os.close(descriptor)
        self._ours = self._theirs = None

    @property
    def plugged(self):
        return self._ours is not None


@pytest.fixture
def cable(tmp_path):
    cable = Cable(tmp_path / "port")
    yield cable
    cable.pull()


@pytest.fixture
def run(journal, tmp_path, cable):
    """Runs a station with an instrument at the cable; returns it."""
    running = []

    def start(kind=Lemi25, port=None, facts=None, days=None):
        instrument = Instrument(port or SerialPort(str(cable.path)), kind, "PEA", facts=facts)
        instrument.resume(journal)
        publisher = Publisher(journal, broker_at(NOWHERE, {}), Liaison(journal, Unit("PEA", "lemi0001")))
        station = Station(instrument, journal, publisher, days)
        ending = threading.Event()
        thread = threading.Thread(target=station.run, args=(ending,), daemon=True)
        thread.start()
        station.end = lambda: (ending.set(), thread.join(20))
        station.thread = thread
        running.append(station)
        if cable.plugged:
            opened(station)
        return station

    yield start
    for station in running:
        station.end()


def seconds(journal, topic=LEMI):
    return [entry.time_ns // NS - T0_S for entry in journal.after(0, 10**6) if entry.topic == topic]


def reasons(journal):
    return [one.reason for one in journal.unsendable()]


# ---- through a pseudo terminal


def test_readings_of_a_serial_port_are_journalled_with_the_instruments_time(run, journal, cable):
    station = run()
    cable.say(*(lemi(second) for second in range(10)))
    wait_for(lambda: seconds(journal) == list(range(10)), what="ten readings")
    entry = journal.after(0, 1)[0]
    assert struct.unpack("<Iiii", entry.payload) == (T0_S, 0, 0, 1_000_000)
    (version,) = journal.metas()["pea/lemi0001/$meta"]
    assert version.valid_from == as_datetime(T0_S // 86_400 * 86_400 * NS)
    assert version.clock is None
    known = station.health()
    assert known["driver"] == "lemi25"
    # The data are of 2024, so the instrument's clock and ours differ, which is what is told.
    assert known["trouble"] == "its clock is more than a minute from this computer's"


def test_garbage_and_half_lines_cost_themselves_and_are_kept(run, journal, cable):
    station = run()
    cable.say(lemi(0), b"\xff\x00\xfe###\r\n", lemi(1)[:30], b"\n", lemi(2)[:50])
    wait_for(lambda: seconds(journal) == [0], what="the whole line")
    cable.say(lemi(2)[50:], b"z" * 2000, b"\n", lemi(3))
    wait_for(lambda: seconds(journal) == [0, 2, 3], what="the lines around the garbage")
    wait_for(lambda: len(reasons(journal)) == 3, what="the bad lines")
    assert reasons(journal) == [
        "it is not ASCII",
        "8 fields where a LEMI has 12, or 20 with GPS",
        "the line is too long",
    ]
    assert journal.unsendable()[1].reading == lemi(1)[:30].decode().strip()
    assert station.instruments.not_understood == 3
    assert "lines come that are not understood" in station.health()["trouble"]


def test_disconnect_in_the_middle_of_a_line_and_a_new_port_under_the_same_name(run, journal, cable, caplog):
    station = run()
    for round_ in range(3):
        cable.say(lemi(10 * round_), lemi(10 * round_ + 1)[:60])
        wait_for(lambda: seconds(journal)[-1:] == [10 * round_], what="a reading")  # noqa: B023
        cable.pull()
        wait_for(lambda: str(cable.path) in station.health()["trouble"], what="a told disconnect")
        wait_for(lambda: len(reasons(journal)) == round_ + 1, what="the half line")  # noqa: B023
        pulled_ns = time.time_ns()
        cable.plug()
        opened(station, pulled_ns)
    cable.say(lemi(30)[60:], lemi(31))  # as if the line went on: it must not be glued to its first half
    wait_for(lambda: seconds(journal) == [0, 10, 20, 31], what="the reading after it")
    assert reasons(journal)[:3] == ["the line was cut off"] * 3
    assert str(cable.path) not in station.health()["trouble"]
    assert station.thread.is_alive()
    told = [record.message for record in caplog.records if "trying again" in record.message]
    assert 3 <= len(told) <= 6  # of each disconnect once or twice (gone; no such file), not at every try


def test_port_that_is_not_there_yet_is_waited_for(run, journal, cable):
    cable.pull()
    station = run()
    wait_for(lambda: "No such file" in station.health()["trouble"], what="the missing port")
    cable.plug()
    opened(station)
    cable.say(lemi(0))
    wait_for(lambda: seconds(journal) == [0], what="a reading")
    assert "No such file" not in station.health()["trouble"]


def test_paused_station_lets_the_port_go_and_takes_it_again(run, journal, cable):
    station = run()
    cable.say(lemi(0))
    wait_for(lambda: seconds(journal) == [0], what="a reading")
    station.command(Command(do="pause", by="me"))
    assert station.health()["paused"]

    def free():
        port = SerialPort(str(cable.path))  # asks for it alone, so it fails while the station has it
        try:
            port.open()
        except OSError:
            return False
        port.close()
        return True

    wait_for(free, what="a free port")
    resumed_ns = time.time_ns()
    station.command(Command(do="resume"))
    opened(station, resumed_ns)
    assert not free()
    cable.say(lemi(9))
    wait_for(lambda: seconds(journal) == [0, 9], what="a reading after the pause")
    assert not station.health()["paused"]


def test_restart_makes_a_new_driver_and_loses_no_line(run, journal, cable):
    station = run()
    cable.say(*(lemi(second) for second in range(3)))
    wait_for(lambda: seconds(journal) == [0, 1, 2], what="three readings")
    restarted_ns = time.time_ns()
    station.command(Command(do="restart"))
    # What the old driver held of this minute comes at once.
    wait_for(lambda: seconds(journal, HK) == [0], what="the mean so far")
    opened(station, restarted_ns)
    cable.say(*(lemi(second) for second in range(3, 62)))
    wait_for(lambda: seconds(journal) == list(range(62)), what="the rest")
    station.end()
    # The minute that was sent already is not sent anew with another mean.
    assert seconds(journal, HK) == [0, 60]


def test_station_told_to_end_writes_what_has_come_and_the_minute_so_far(run, journal, cable):
    station = run()
    cable.say(*(lemi(second) for second in range(5)))
    wait_for(lambda: seconds(journal) == list(range(5)), what="five readings")
    station.end()
    (housekeeping,) = [entry for entry in journal.after(0, 100) if entry.topic == HK]
    assert struct.unpack("<Iiii", housekeeping.payload) == (T0_S, 18_000, -12_000, 12_600)


def test_silent_instrument_is_told(run, cable, monkeypatch):
    monkeypatch.setattr(acquisition, "_SILENT_NS", 100_000_000)
    station = run(Gsm90)
    wait_for(lambda: "no data since 20" in station.health()["trouble"], what="the silence")


# ---- a driver that raises, and readings that cannot be sent


class Stumbling(Gsm90):
    """Does not survive a line with quality 13."""

    name = "stumbling"

    def line(self, text, now_ns):
        if text.endswith(" 13"):
            raise KeyError("13")
        return super().line(text, now_ns)


def gsm(second, rest="48622.79 99"):
    return f"{datetime.fromtimestamp(T0_S + second, UTC):%H%M%S}.0 {rest}\n".encode()


def of_day(journal):
    """Seconds after T0 of the readings, whatever the day: a GSM-90 has no date."""
    return [(entry.time_ns // NS - T0_S) % 86_400 for entry in journal.after(0, 10**6) if entry.topic == GSM]


def test_driver_that_raises_is_made_anew_and_only_its_line_is_set_aside(run, journal, cable, caplog):
    station = run(Stumbling)
    cable.say(gsm(0), gsm(1, "48622.79 13"), gsm(2), gsm(3, "48622.79 13"), gsm(4))
    wait_for(lambda: of_day(journal) == [0, 2, 4], what="the other lines")
    wait_for(lambda: len(reasons(journal)) == 2, what="the two lines")
    assert reasons(journal) == ["driver stumbling raised KeyError: '13'"] * 2
    assert journal.unsendable()[0].reading == gsm(1, "48622.79 13").decode()
    assert station.thread.is_alive()
    assert "raised KeyError" in caplog.text


class Dead(Gsm90):
    name = "dead"

    def feed(self, data, now_ns):
        raise RuntimeError("no\nmore")


def test_driver_that_always_raises_is_told_and_every_line_is_kept_in_the_end(run, journal, cable):
    station = run(Dead)
    lines = [gsm(second) for second in range(6)]
    cable.say(*lines)
    wait_for(lambda: "driver dead raised RuntimeError: no more" in station.health()["trouble"], what="it")
    wait_for(lambda: station.instruments._acquisition.reader.empty, what="the lines to be read")
    station.end()
    assert [one.reading.encode() for one in journal.unsendable()] == lines
    assert of_day(journal) == []


class Unborn(Gsm90):
    name = "unborn"
    made = 0

    def __init__(self):
        super().__init__()
        type(self).made += 1
        if 3 <= self.made <= 4:  # the first two are the instrument's own
            raise OSError("the device is busy")

    def line(self, text, now_ns):
        if text.endswith(" 13"):
            raise KeyError("13")
        return super().line(text, now_ns)


def test_driver_that_cannot_be_made_again_at_once_is_tried_until_it_can(run, journal, cable):
    run(Unborn)
    cable.say(gsm(0), gsm(1, "48622.79 13"), gsm(2))
    wait_for(lambda: of_day(journal) == [0, 2], what="the lines around it")
    assert Unborn.made == 5


def test_readings_that_do_not_fit_are_kept_with_the_reason(run, journal, cable):
    run(Gsm90)
    cable.say(gsm(0), gsm(0, "48000.00 99"), b"170501.5 48622.79 99\n", gsm(2))
    wait_for(lambda: of_day(journal) == [0, 2], what="the others")
    same, half = reasons(journal)
    assert re.fullmatch(r"PEA gsm90001 sec: another reading at \d{4}-\d\d-\d\dT17:05:00Z", same)
    assert "is not a whole second plus offset_s=0" in half


def test_flood_of_bad_lines_is_counted_but_not_all_kept(run, journal, cable, monkeypatch):
    monkeypatch.setattr(instrument_module, "_KEPT", 5)
    station = run(Gsm90)
    cable.say(*[b"noise\n"] * 50, gsm(0))
    wait_for(lambda: of_day(journal) == [0], what="the good line")
    assert station.instruments.not_understood == 50
    assert len(journal.unsendable()) == 5


# ---- metadata


def restarted(tmp_path, facts, *lines, kind=Lemi25):
    """One run of a station on these lines, to their end; the journal's metadata of the main stream."""
    ours, theirs = os.pipe()
    os.write(theirs, b"".join(lines))
    os.close(theirs)
    journal = Journal(tmp_path / "again")
    instrument = Instrument(StdinPort(ours), kind, "PEA", facts=facts)
    instrument.resume(journal)
    liaison = Liaison(journal, Unit("PEA", "lemi0001"))
    Station(instrument, journal, Publisher(journal, broker_at(NOWHERE, {}), liaison)).run(threading.Event())
    os.close(ours)
    known, times = journal.metas(), seconds(journal)
    journal.close()
    return known["pea/lemi0001/$meta"], times


def test_metadata_goes_on_over_a_restart_and_changes_from_the_first_reading_after_a_change(tmp_path):
    (first,), _ = restarted(tmp_path, {"orientation": "XYZ"}, lemi(0), lemi(1))
    same, _ = restarted(tmp_path, {"orientation": "XYZ"}, lemi(2))
    assert same == (first,)
    facts = {"orientation": "HEZ", "components": ["h", "e", "z"], "latitude_deg": "-71.95"}
    (old, new), times = restarted(tmp_path, facts, lemi(3))
    assert old == first
    assert new.valid_from == as_datetime((T0_S + 3) * NS)
    assert (new.orientation, new.components, new.latitude_deg) == ("HEZ", ("h", "e", "z"), -71.95)
    assert times == [0, 1, 2, 3]


def test_reading_before_the_first_metadata_is_kept_as_text(tmp_path):
    """The instrument's clock was wrong by days at its first reading."""
    (version,), times = restarted(tmp_path, {}, lemi(0), lemi(-200_000), lemi(1))
    assert times == [0, 1]
    assert version.valid_from == as_datetime(T0_S // 86_400 * 86_400 * NS)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"scale": 1.0}, "'scale' is none of site"),
        ({"latitude_deg": "south"}, "latitude_deg"),
        ({"components": ["x"]}, "a vector has 3"),
        ({"offset_s": "99999999"}, "offset_s"),
    ],
)
def test_facts_that_are_none_are_refused(facts, told):
    with pytest.raises(ConfigError, match=told):
        Instrument(StdinPort(), Lemi25, "PEA", facts=facts)


# ---- options

OPTIONS = {
    "replay": None, "simulate": False, "station": "PEA", "instruments": [], "speed": 1.0, "time": "shifted",
    "begin": None, "loop": False, "seed": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"stdin": True, "simulate": True}, "choose one of"),
        ({"stdin": True}, "--driver NAME is wanted"),
        ({"stdin": True, "driver": "lemi52"}, "is none of"),
        ({"stdin": True, "driver": "lemi25", "station": None}, "--iaga CODE is wanted"),
        ({"stdin": True, "driver": "lemi25", "speed": 2.0}, "a real instrument has its own"),
        ({"stdin": True, "driver": "lemi25", "facts": ["orientation"]}, "is not NAME=VALUE"),
        ({"simulate": True, "driver": "lemi25"}, "--driver and --fact are for"),
    ],
)
def test_options_that_make_no_instrument_are_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        instruments_from(**{**OPTIONS, **options})


def test_instrument_of_the_options_has_their_names_and_facts():
    made = instruments_from(
        **OPTIONS | {"stdin": True, "driver": "lemi25", "instruments": ["lemi7"]},
        facts=["components=h,e,z", "site=Princess Elisabeth"],
    )
    assert [stream.topic for stream in made.streams()] == ["pea/lemi7/sec", "pea/lemi7-hk/min"]
    (_, vector), (_, housekeeping) = made._offered
    assert (vector.components, vector.site) == (("h", "e", "z"), "Princess Elisabeth")
    assert (housekeeping.components[0], housekeeping.site) == ("t_sensor", "Princess Elisabeth")


def test_missing_pyserial_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(NoLabError, match=r"pip install 'obslab\[station\]'"):
        SerialPort("/dev/ttyUSB0")


# ---- the command


def test_lines_on_standard_input_reach_a_broker_and_the_day_files(shared_broker, client, tmp_path):
    received = []
    listener = client(broker_at(shared_broker.url, {}))
    listener.on_message = lambda _client, _data, message: received.append((message.topic, message.payload))
    listener.subscribe("pea/#", 1)
    lines = [lemi(second) for second in range(125)]
    lines[50:50] = [b"\xff\xfe half a li"]
    lines[70:70] = [b"garbage\n"]
    options = ["station", "run", "--stdin", "--driver", "lemi25", "--iaga", "PEA", "--broker"]
    options += [shared_broker.url, "--journal", tmp_path / "j", "--days", tmp_path / "days"]
    done = subprocess.run(
        [*commands.OBSLAB, *map(str, options)], input=b"".join(lines), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    # The garbage before line 50 has no line end of its own, so that line is part of it.
    want = [second for second in range(125) if second != 50]

    def samples(topic):
        return [payload for other, payload in received if other == topic]

    wait_for(lambda: len(samples(LEMI)) >= 124 and len(samples(HK)) >= 3, what="all samples")
    vector = [struct.unpack("<Iiii", payload) for payload in samples(LEMI)]
    assert vector == [(T0_S + n, 1000 * n, -1000 * n, 1_000_000 + 1000 * n) for n in want]
    assert [struct.unpack("<Iiii", one)[0] - T0_S for one in samples(HK)] == [0, 60, 120]
    (meta,) = decode_meta(dict(received)["pea/lemi0001-hk/$meta"])
    assert meta.units == ("degC", "degC", "V")
    days = DayFiles(tmp_path / "days")
    read = list(days.read(Stream("PEA", "lemi0001"), 0, 2**62))
    assert [payload for _, payload in read] == samples(LEMI)
    journal = Journal(tmp_path / "j")
    assert [one.reading for one in journal.unsendable()][1] == "garbage"
    assert len(journal.unsendable()) == 2
    journal.close()


def test_station_at_a_pseudo_terminal_ends_with_0_when_told(tmp_path, cable):
    options = ["station", "run", "--serial", cable.path, "--driver", "gsm90", "--iaga", "PEA"]
    options += ["--broker", NOWHERE, "--journal", tmp_path / "j", "--baud", 19200]
    said = itertools.count()
    with commands.Running(tmp_path / "log", *options) as station:
        wait_for(lambda: (tmp_path / "j" / "journal.db").exists(), what="the journal")
        disk = sqlite3.connect(tmp_path / "j" / "journal.db")  # only what is committed

        def some():
            cable.say(gsm(next(said)))  # what comes before it has opened the port is thrown away
            with contextlib.suppress(sqlite3.OperationalError):  # not there yet
                return disk.execute("SELECT count(*) FROM entry").fetchone()[0] > 3
            return False

        wait_for(some, what="some readings")
        assert station.tell() == 0, station.said
    disk.close()
    journal = Journal(tmp_path / "j")
    times = of_day(journal)
    assert times == list(range(times[0], next(said)))  # to the last one said
    journal.close()


def test_standard_input_cannot_tell_two_things():
    told = commands.failure("station", "run", "--stdin", "--with-parent", "--driver", "lemi25")
    assert "--with-parent listens to standard input, too" in told


def test_operator_pauses_and_resumes_a_running_station_over_mqtt(shared_broker, client, tmp_path):
    told = []
    operator = client(broker_at(shared_broker.url, {}))
    operator.on_message = lambda _client, _data, message: told.append(decode(message.payload, Status))
    unit = Unit("PEA", "paused")
    operator.subscribe(unit.topic("$status"), 1)
    options = ["station", "run", "--stdin", "--driver", "lemi25", "--iaga", "PEA", "--instrument", "paused"]
    options += ["--broker", shared_broker.url, "--journal", tmp_path / "j"]
    with commands.Running(tmp_path / "log", *options, stdin=subprocess.PIPE) as station:
        wait_for(lambda: told and not told[-1].paused, what="a status")
        assert (told[-1].driver, told[-1].disk_free_bytes > 0) == ("lemi25", True)
        operator.publish(unit.topic("$cmd"), encode(Command(do="pause", by="me")), 1)
        wait_for(lambda: told[-1].paused, what="the pause")
        operator.publish(unit.topic("$cmd"), encode(Command(do="resume")), 1)
        wait_for(lambda: not told[-1].paused, what="the end of the pause")
        assert station.tell() == 0, station.said
