"""The dashboard as a notebook uses it, without a browser: a real archive, a fake comm."""

import json
import threading
import time

import numpy as np
import pytest
import xarray as xr
from obslab_widgets import LatencyDashboard, StreamViewer, link
from obslab_widgets.bridge.library import BokehLibrary
from obslab_widgets.latency_dashboard import answer as answers
from obslab_widgets.latency_dashboard import asking
from obslab_widgets.latency_dashboard.instants import interval_of
from obslab_widgets.latency_dashboard.listing import COLUMNS
from obslab_widgets.latency_dashboard.view import TABLES
from obslab_widgets.selection import Selection
from small_station import Station, wait
from widgets.fake_comm import use_fake_comms
from widgets.observatory import HOUSE, LEMI, NS, fill

from obslab.errors import ConfigError, NoArchiveError, TableError
from obslab.telemetry.archive.requests import taken, waiting
from obslab.telemetry.archive.store import open_archive
from obslab.times import as_ns

END_NS = as_ns("2024-05-12T00:00:00Z")
OUT = as_ns("2024-05-11T06:30:00Z"), as_ns("2024-05-11T09:00:00Z")
DAY = interval_of("2024-05-11")


@pytest.fixture(autouse=True)
def fake_comms(monkeypatch):
    use_fake_comms(monkeypatch)
    monkeypatch.setattr(BokehLibrary, "_shared", None)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("archive"), END_NS, 1.25, streams=(LEMI, HOUSE), missing=(OUT,))


@pytest.fixture
def widgets():
    shown = []

    def show(kind, *args, **kw):
        shown.append(kind(*args, **kw))
        return shown[-1]

    yield show
    for widget in shown:
        widget.close()


@pytest.fixture
def dashboard(path, widgets):
    shown = widgets(LatencyDashboard, path)
    shown.change(custom=DAY)
    return shown


def told(dashboard, part):
    """What the page was told last of this part."""
    found = [
        frame.head["parts"].get(part) for frame in dashboard.bridge.comm.frames if frame.head.get("parts")
    ]
    return found[-1] if found else None


def status(dashboard):
    return (told(dashboard, "status") or {"text": ""})["text"]


def drawn(dashboard):
    """The picture shows what was asked for."""
    wait(lambda: status(dashboard) and "computing" not in status(dashboard))
    assert dashboard.bridge._picture.errors == {}


def page(dashboard, question, name, on, **values):
    events = [{"name": name, "on": on, **values}]
    dashboard.bridge.comm.receive(k="events", page="p", question=question, events=events)


def test_it_draws_says_how_old_streams_are_and_lists_gaps(dashboard):
    drawn(dashboard)
    assert "old (target" in status(dashboard)
    table = told(dashboard, "table")
    assert [row[:2] for row in table["rows"]] == [
        ["PEA house min", "2024-05-11 06:30:00"],
        ["PEA lemi0001 sec", "2024-05-11 06:30:00"],
    ]


def test_it_is_responsive_while_the_archive_is_asked(path, widgets, monkeypatch):
    release, real = threading.Event(), answers.ask

    def slow(*args):
        release.wait(20)
        return real(*args)

    monkeypatch.setattr(answers, "ask", slow)
    dashboard = widgets(LatencyDashboard, path)
    wait(lambda: "computing" in status(dashboard))
    dashboard.change(custom=DAY)  # returns, though the archive has not answered
    assert dashboard._drawing is not None  # the axes are there
    release.set()
    drawn(dashboard)
    wait(lambda: dashboard._drawn and dashboard._drawn.state == dashboard._state.question)


def test_only_the_newest_of_many_choices_is_answered(path, widgets, monkeypatch):
    asked, real = [], answers.ask

    def noted(archive, state, wall_ns):
        asked.append(state)
        time.sleep(0.3)
        return real(archive, state, wall_ns)

    monkeypatch.setattr(answers, "ask", noted)
    dashboard = widgets(LatencyDashboard, path)
    for length_s in range(3600, 90_000, 3600):
        dashboard.change(period_s=float(length_s))
    wait(lambda: dashboard._drawn and dashboard._drawn.state == dashboard._state.question)
    assert len(asked) <= 4


def test_an_empty_archive_says_what_to_do(tmp_path, widgets):
    open_archive(tmp_path, write=True).close()
    dashboard = widgets(LatencyDashboard, tmp_path)
    wait(lambda: "no stream has come yet; is `obslab collect` running" in status(dashboard))
    assert dashboard.summary() == "no streams yet"
    assert dashboard.dataset.sizes["window"] == 0


def test_a_folder_that_is_no_archive_is_refused(tmp_path):
    with pytest.raises(NoArchiveError, match="obslab collect"):
        LatencyDashboard(tmp_path)


def test_trouble_with_the_archive_is_shown_and_goes_away(path, widgets, monkeypatch):
    monkeypatch.setattr(asking, "_TROUBLE_S", 0.1)
    dashboard = widgets(LatencyDashboard, path)
    drawn(dashboard)
    real = answers.ask
    monkeypatch.setattr(answers, "ask", lambda *_: (_ for _ in ()).throw(TableError("disk on fire")))
    dashboard.change(custom=DAY)
    wait(lambda: "the archive cannot be read: disk on fire" in status(dashboard))
    monkeypatch.setattr(answers, "ask", real)
    wait(lambda: "disk on fire" not in status(dashboard))


def test_every_table_is_a_dataset_that_can_be_exported(dashboard, tmp_path):
    for name in TABLES:
        with xr.open_dataset(dashboard.export(tmp_path / f"{name}.nc", name)) as again:
            assert set(again.variables) == set(dashboard.table(name).variables), name
    lines = dashboard.export(tmp_path / "gaps.csv", "gaps").read_text().splitlines()
    assert lines[0].startswith("stream,begin,end") and len(lines) == 3
    assert dashboard.dataset.p50_s.values.min() > 0.1
    with pytest.raises(ConfigError, match=r"'a\.doc'"):
        dashboard.export(tmp_path / "a.doc")
    with pytest.raises(ConfigError, match="no table 'holes'"):
        dashboard.table("holes")


def test_what_was_chosen_is_undone_redone_saved_and_restored(dashboard, path, widgets):
    dashboard.change(scope="PEA house min")
    dashboard.mark(interval_of("2024-05-11T07"))
    saved = dashboard.state()
    dashboard.undo()
    assert dashboard.selection is None
    dashboard.undo()
    assert dashboard.state()["scope"] == ""
    dashboard.redo()
    dashboard.redo()
    assert dashboard.state() == saved
    other = widgets(LatencyDashboard, path)
    other.restore(json.loads(json.dumps(saved)))
    assert other.state() == saved and other.summary() == dashboard.summary()
    assert "'scope': 'PEA house min'" in other.code()
    with pytest.raises(ConfigError, match="cannot take this state"):
        other.restore({"order": "oldest"})


def test_a_click_on_an_hour_marks_it_for_everything(dashboard):
    drawn(dashboard)
    page(
        dashboard,
        1,
        "select",
        "completeness",
        geometry={"type": "point", "x": 6.7, "y": as_ns("2024-05-11") / 1e6},
    )
    wait(lambda: dashboard.selection is not None)
    begin, end = dashboard.selection
    assert (str(begin)[:13], (end - begin) / np.timedelta64(1, "h")) == ("2024-05-11T06", 1.0)
    assert dashboard.table("histogram").n.values.sum() == 1800 + 30
    page(dashboard, 2, "select", "latency", geometry=None)
    wait(lambda: dashboard.selection is None)


def test_marking_what_is_not_shown_moves_the_period_there(dashboard):
    dashboard.mark(interval_of("2024-05-10T20"))
    assert dashboard._state.custom == interval_of("2024-05-10")
    dashboard.zoom()
    assert dashboard._state.custom == interval_of("2024-05-10T20")


def test_of_a_year_a_click_shows_the_month(dashboard):
    dashboard.change(custom=interval_of("2023-06-01/2024-06-01"))
    wait(lambda: dashboard._drawn and dashboard._drawn.period == dashboard._state.custom)
    page(
        dashboard,
        1,
        "select",
        "completeness",
        geometry={"type": "point", "x": 3.0, "y": as_ns("2024-05-11") / 1e6},
    )
    wait(lambda: dashboard._state.custom == interval_of("2024-05-01/2024-06-01"))


def test_a_box_marks_and_a_pan_moves_and_a_reset_follows(dashboard):
    drawn(dashboard)
    wait(lambda: dashboard._drawn and dashboard._drawn.period == DAY)
    at_ms = [at_ns / 1e6 for at_ns in OUT]
    page(dashboard, 1, "select", "outages", geometry={"x0": at_ms[1], "x1": at_ms[0], "y0": 0, "y1": 1})
    wait(lambda: dashboard.marked == Selection("PEA", *OUT))
    page(dashboard, 2, "range", "latency", x0=at_ms[0], x1=at_ms[1], y0=0.1, y1=10.0)
    wait(lambda: (dashboard._state.custom.begin_ns, dashboard._state.custom.end_ns) == OUT)
    page(dashboard, 3, "reset", "latency")
    wait(lambda: dashboard._state.custom is None)


def test_moving_the_axis_of_latency_alone_does_not_stop_the_clock(path, widgets):
    dashboard = widgets(LatencyDashboard, path)
    wait(lambda: dashboard._drawn is not None)
    period = dashboard._drawn.period
    ends = {"x0": period.begin_ns / 1e6, "x1": period.end_ns / 1e6}
    page(dashboard, 1, "range", "latency", **ends, y0=0.5, y1=5.0)
    page(dashboard, 2, "range", "completeness", x0=1.0, x1=5.0, y0=0.5, y1=5.0)
    wait(lambda: dashboard.bridge._picture._answered.get("p") == 2)
    assert dashboard._state.custom is None


def test_backfill_of_a_gap_and_of_all_is_asked_for_once_each(path, dashboard):
    drawn(dashboard)
    wait(lambda: told(dashboard, "table"))
    button = told(dashboard, "table")["rows"][1][-1]
    page(dashboard, 1, "press", button["name"])
    wait(lambda: [row[-2] for row in told(dashboard, "table")["rows"]] == ["open", "requested"])
    assert dashboard.backfill_all() == 1
    asked = taken(path)
    assert {(one.topic, one.begin_ns, one.end_ns, one.again) for one in asked} == {
        ("pea/lemi0001/sec", *OUT, True),
        ("pea/house/min", *OUT, True),
    }
    assert len(asked) == 2 and dashboard.backfill_all() == 2


def test_a_collector_takes_what_was_asked_and_the_station_says_that_it_has_it_not(tmp_path, widgets):
    with Station(tmp_path) as station:
        station.send(40)
        station.sent += 20  # seconds that never were measured
        station.send(40, delivered=False)
        dashboard = widgets(LatencyDashboard, station.path, period_s=600.0)

        def gap():  # below the one that began when the station fell silent
            rows = (told(dashboard, "table") or {"rows": []})["rows"]
            return dict(zip(COLUMNS, rows[-1], strict=True)) if len(rows) == 2 else {}

        wait(lambda: gap().get("State") == "open")
        page(dashboard, 1, "press", gap()["Backfill"]["name"])
        wait(lambda: gap().get("State") == "lost at source", 30)
        assert waiting(station.path) == [] and gap()["Lost"] == 20
        assert gap()["Backfill"]["button"] == "Backfill"  # it may have turned up since


def test_controls_show_what_code_changed_and_change_what_is_shown(dashboard):
    drawn(dashboard)
    controls = dashboard._controls
    wait(lambda: len(controls.scope.options) == 3)
    assert controls.custom.value == "2024-05-11" and controls.period.value == "custom period"
    controls.period.value = 3600.0
    assert dashboard._state.custom is None and dashboard._state.period_s == 3600.0
    controls.marked.value = "2024-05-11T06"
    assert str(dashboard.selection[0])[:13] == "2024-05-11T06"
    controls.marked.value = "soon"
    assert "'soon'" in controls.told.value and controls.marked.value == "2024-05-11T06"
    controls.marked.value = ""
    assert dashboard.selection is None and controls.zoom.disabled
    controls.scope.value = "PEA house min"
    assert dashboard.summary().startswith("PEA house min, 2024-05-11")


def test_what_is_the_same_is_not_sent_again(dashboard):
    drawn(dashboard)
    wait(lambda: dashboard._drawn.state == dashboard._state.question)
    wait(lambda: not dashboard.bridge._picture.news)
    before = dashboard.bridge.bytes_sent
    for _ in range(5):
        dashboard.touch()
        time.sleep(0.15)
    assert (
        dashboard.bridge.bytes_sent - before < 200
    )  # ranges travel as JSON; squares and lines do not travel


def test_linked_widgets_share_what_is_marked(dashboard, path, widgets):
    viewer = widgets(StreamViewer, str(path))
    links = link(dashboard, viewer)
    dashboard.mark(interval_of("2024-05-11T04"))
    assert viewer.selection == dashboard.selection
    assert viewer.dataset.sizes["time"] == 3600  # read from the archive: the ring holds the newest only
    hours = viewer._state.window_s / 3600
    assert hours == 2.0 and viewer._state.until_ns == as_ns("2024-05-11T05:30Z")
    begin_ns = as_ns("2024-05-11T04:10Z")
    viewer.change(selection=Selection("PEA", begin_ns, begin_ns + 60 * NS))
    assert dashboard.selection[0] == np.datetime64("2024-05-11T04:10", "ns")
    dashboard.undo()
    assert viewer.selection == dashboard.selection
    viewer.change(selection=None)
    assert dashboard.selection is None
    links.close()
    dashboard.mark(interval_of("2024-05-11T05"))
    assert viewer.selection is None


def test_what_has_no_marked_time_cannot_be_linked(dashboard):
    with pytest.raises(ConfigError, match="a str has no marked time"):
        link(dashboard, "viewer")
    with pytest.raises(ConfigError, match="two widgets or more"):
        link(dashboard)


def test_closing_ends_its_thread(path):
    dashboard = LatencyDashboard(path)
    wait(lambda: dashboard._drawn is not None)
    dashboard.close()
    wait(lambda: not any(thread.name == "obslab-asker" for thread in threading.enumerate()))
    assert repr(dashboard) == "<LatencyDashboard 'latency and gaps'>"
