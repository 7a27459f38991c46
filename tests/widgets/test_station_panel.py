"""The station panel as a notebook uses it, without a browser: a real archive, real brokers, a fake comm."""

import os
import pwd
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from obslab_widgets import StationPanel
from obslab_widgets.bridge.library import BokehLibrary
from obslab_widgets.station_panel.model import COLUMNS, Order, condition, rows, stations
from obslab_widgets.station_panel.state import State
from small_station import UNIT, wait
from widgets.fake_comm import use_fake_comms

from obslab.config import Broker, broker_at
from obslab.errors import BrokerError, ConfigError
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.broker.brokers import IotcoreBroker, free_port, mosquitto_program
from obslab.telemetry.broker.folders import Plan, write
from obslab.telemetry.broker.link import Link
from obslab.telemetry.protocol import COMMAND, Command, Status, Unit, decode, encode

NS = 1_000_000_000
NOW_NS = 1_715_360_700 * NS
GOOD = Status(
    journal="j1",
    driver="lemi25",
    journal_entries=1234,
    journal_bytes=56_000,
    journal_oldest_s=NOW_NS / NS - 90,
    disk_free_bytes=12_000_000_000,
    clock_offset_s=-0.012,
    round_trip_s=0.6,
)


@pytest.fixture(autouse=True)
def fake_comms(monkeypatch):
    use_fake_comms(monkeypatch)
    monkeypatch.setattr(BokehLibrary, "_shared", None)


@pytest.fixture
def path(tmp_path):
    """An archive that has heard of two units just now."""
    folder = tmp_path / "archive"
    with open_archive(folder, write=True) as archive:
        archive.book.keep_unit("PEA lemi0001", "j1", encode(GOOD), time.time_ns())
        archive.book.keep_unit("WIC gsm90", "j2", encode(Status(journal="j2", paused=True)), time.time_ns())
    return folder


@pytest.fixture
def panels():
    shown = []

    def show(*args, **kw):
        shown.append(StationPanel(*args, **kw))
        return shown[-1]

    yield show
    for panel in shown:
        panel.close()


@pytest.fixture
def broker():
    broker = IotcoreBroker()
    broker.start()
    yield broker
    broker.stop()


def told(panel, part):
    found = [frame.head["parts"].get(part) for frame in panel.bridge.comm.frames if frame.head.get("parts")]
    return found[-1] if found else None


def said(panel):
    return (told(panel, "status") or {"text": ""})["text"]


def listen(address, unit, received):
    link = Link(
        address,
        "listener",
        topics=(unit.topic(COMMAND),),
        on_message=lambda message, _: received.append(decode(message.payload, Command)),
    )
    link.start()
    link.require(10)
    return link


def units(status, *, came_ns=NOW_NS):
    return stations({"PEA lemi0001": ("j1", encode(status), came_ns)}, State())


def test_a_row_has_what_a_unit_says_of_itself():
    (row,) = rows(units(GOOD), {}, NOW_NS + 5 * NS, may_ask=True)
    assert dict(zip(COLUMNS, row, strict=True)) == {
        "Unit": "PEA lemi0001",
        "Link": "online",
        "Driver": "lemi25",
        "Journal": "1,234",
        "Oldest": "95.0 s",
        "Free disk": "12 GB",
        "Clock": "-12 ± 300 ms",
        "Heard": "5.0 s ago",
        "Trouble": "none",
        "Pause": {"button": "Pause", "name": "pause PEA lemi0001", "label": "Pause PEA lemi0001"},
        "Restart": {"button": "Restart", "name": "restart PEA lemi0001", "label": "Restart PEA lemi0001"},
    }


def test_what_is_paused_can_be_resumed():
    (row,) = rows(units(Status(journal="j1", paused=True)), {}, NOW_NS, may_ask=True)
    assert row[1] == "paused" and row[2]["button"] == "Resume"


def test_one_that_is_offline_has_no_buttons():
    (row,) = rows(units(Status(journal="j1", online=False, paused=True)), {}, NOW_NS, may_ask=True)
    assert row[1] == "offline" and row[2:4] == ["", ""]


def test_without_a_broker_there_are_no_buttons():
    (row,) = rows(units(GOOD), {}, NOW_NS, may_ask=False)
    assert row[2:4] == ["", ""]


@pytest.mark.parametrize(
    ("status", "late_s", "level", "words"),
    [
        (GOOD, 0, "ok", "PEA lemi0001 is online"),
        (Status(journal="j1", online=False), 0, "off", "PEA lemi0001 is offline"),
        (GOOD, 300, "off", "PEA lemi0001 was last heard 5 min ago"),
        (Status(journal="j1", trouble="no line for 10 s"), 0, "off", "PEA lemi0001: no line for 10 s"),
        (
            Status(journal="j1", disk_free_bytes=(1e8).__int__()),
            0,
            "off",
            "PEA lemi0001: 100 MB of disk left",
        ),
        (Status(journal="j1", clock_offset_s=3600.0), 0, "off", "PEA lemi0001: clock is off by +3600.00 s"),
        (Status(journal="j1", paused=True), 0, "busy", "paused: PEA lemi0001"),
    ],
)
def test_the_worst_is_said_in_one_line(status, late_s, level, words):
    assert condition(units(status), {}, NOW_NS + late_s * NS) == (level, words)


def test_an_archive_without_units_says_what_to_do():
    assert "`obslab collect`" in condition([], {}, NOW_NS)[1]


def test_a_status_that_is_not_understood_is_a_row_that_says_so():
    found = stations({"PEA lemi0001": ("j1", b"{", NOW_NS)}, State())
    assert rows(found, {}, NOW_NS, may_ask=True)[0][4] == "status is not understood"
    assert condition(found, {}, NOW_NS)[1] == "PEA lemi0001: its status is not understood"


def test_a_refusal_outweighs_other_news():
    orders = {"PEA lemi0001": Order("pause", NOW_NS, "refused", "the broker refused it")}
    assert condition(units(GOOD), orders, NOW_NS) == ("off", "the broker refused it")
    assert rows(units(GOOD), orders, NOW_NS, may_ask=True)[0][1] == "online, pause refused"


def test_a_panel_shows_units_as_the_book_has_them(path, panels):
    panel = panels(path)
    wait(lambda: told(panel, "table"))
    assert [row[:2] for row in told(panel, "table")["rows"]] == [
        ["PEA lemi0001", "online"],
        ["WIC gsm90", "paused"],
    ]
    assert panel.summary() == "PEA lemi0001: online\nWIC gsm90: paused"
    assert panel.dataset.journal_entries.values.tolist() == [1234.0, 0.0]
    assert panel.dataset.paused.values.tolist() == [False, True]
    with open_archive(path, write=True) as archive:
        archive.book.keep_unit(
            "PEA lemi0001", "j1", encode(Status(journal="j1", online=False)), time.time_ns()
        )
    wait(lambda: "PEA lemi0001 is offline" in said(panel))


def test_stations_are_chosen_and_the_choice_is_saved(path, panels):
    panel = panels(path)
    panel.change(stations=("WIC",))
    assert panel.summary() == "WIC gsm90: paused"
    other = panels(path)
    other.restore(panel.state())
    assert other.selection == ("WIC",) and "'stations': ['WIC']" in other.code()
    other.undo()
    assert other.selection == ()


def test_a_command_reaches_the_unit_and_no_other(path, panels, broker):
    received, others = [], []
    links = [
        listen(broker_at(broker.url, {}), Unit("PEA", "lemi0001"), received),
        Link(
            broker_at(broker.url, {}),
            "other",
            topics=("wic/gsm90/$cmd",),
            on_message=lambda *_: others.append(1),
        ),
    ]
    links[1].start()
    links[1].require(10)
    panel = panels(path, broker.url)
    assert panel.ask("PEA lemi0001", "pause").word == "sent"
    wait(lambda: received)
    assert received[0].do == "pause" and received[0].by
    panel.bridge.comm.receive(
        k="events", page="p", question=1, events=[{"name": "press", "on": "restart PEA lemi0001"}]
    )
    wait(lambda: [command.do for command in received] == ["pause", "restart"])
    wait(lambda: told(panel, "table")["rows"][0][1] == "online, restart sent")
    assert others == []
    for link in links:
        link.stop()


def test_what_cannot_be_asked_is_refused_before_it_is_sent(path, panels, broker):
    with pytest.raises(ConfigError, match="has no broker"):
        panels(path).ask("PEA lemi0001", "pause")
    panel = panels(path, broker.url)
    with pytest.raises(ConfigError, match="no unit 'PEA x'; the archive knows PEA lemi0001, WIC gsm90"):
        panel.ask("PEA x", "pause")
    with pytest.raises(ConfigError, match="no command 'stop'"):
        panel.ask("PEA lemi0001", "stop")


def test_a_broker_that_is_not_there_is_told(path, panels):
    panel = panels(path, "mqtt://127.0.0.1:9")
    with pytest.raises(BrokerError, match=r"no broker answers at mqtt://127\.0\.0\.1:9"):
        panel.ask("PEA lemi0001", "pause")
    wait(lambda: "no broker answers" in said(panel))
    assert told(panel, "table")["rows"][0][1] == "online, pause failed"


@pytest.fixture
def guarded():
    """A real Mosquitto with the access list that obslab writes; gives logins by the name of a user."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="obslab-guarded-") as folder:
        out = Path(folder)
        plan = Plan(
            stations=("PEA",),
            kind="station",
            centre_host="127.0.0.1",
            centre_port=free_port(),
            port=free_port(),
            local_port=port,
            make_certificates=True,
        )
        write(plan, out, environ={})
        if os.geteuid() == 0:  # started by root it becomes the user mosquitto
            account = pwd.getpwnam("mosquitto")
            for one in (out, *out.rglob("*")):
                os.chown(one, account.pw_uid, account.pw_gid)
        config = out / "station-pea" / "mosquitto.conf"
        with subprocess.Popen([mosquitto_program(), "-c", str(config)], stderr=subprocess.DEVNULL) as process:
            try:
                yield lambda user: Broker("127.0.0.1", port, user=user, password=_password(out, user))
            finally:
                process.terminate()


def _password(out, user):
    for file in out.glob("logins/*/*.env"):
        lines = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
        if lines.get("OBSLAB_MQTT_USER") == user:
            return lines["OBSLAB_MQTT_PASSWORD"]
    raise AssertionError(f"no login for {user} in {[*out.glob('logins/*/*')]}")


@pytest.mark.mosquitto
def test_the_access_list_lets_an_operator_command_and_says_that_it_refuses_a_viewer(path, panels, guarded):
    received = []
    link = listen(guarded("pea"), UNIT, received)
    viewer = panels(path, guarded("viewer"))
    with pytest.raises(BrokerError, match=r"refused pause of PEA lemi0001 to user 'viewer': Not authorized"):
        viewer.ask("PEA lemi0001", "pause")
    wait(lambda: "role operator" in said(viewer))
    assert told(viewer, "table")["rows"][0][1] == "online, pause refused"
    assert panels(path, guarded("operator")).ask("PEA lemi0001", "resume").word == "sent"
    wait(lambda: received)
    assert [command.do for command in received] == ["resume"]  # the refused one never came
    link.stop()


@pytest.mark.mosquitto
def test_a_wrong_password_is_told(path, panels, guarded):
    link = listen(guarded("pea"), UNIT, [])  # it is up
    address = Broker("127.0.0.1", guarded("pea").port, user="operator", password="guess")
    with pytest.raises(BrokerError, match=r"to user 'operator': Not authorized; check OBSLAB_MQTT_USER"):
        panels(path, address).ask("PEA lemi0001", "pause")
    link.stop()
