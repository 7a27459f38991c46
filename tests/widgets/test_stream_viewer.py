"""The viewer as a notebook uses it, without a browser: real broker, real archive, a fake comm."""

import json
import time

import numpy as np
import pytest
from obslab_widgets import StreamViewer
from obslab_widgets.bridge.library import BokehLibrary
from obslab_widgets.stream_viewer.state import Selection
from small_station import Station, wait
from widgets.fake_comm import use_fake_comms

from obslab.errors import ConfigError
from obslab.telemetry.archive.store import open_archive

NS = 1_000_000_000


@pytest.fixture(autouse=True)
def fake_comms(monkeypatch):
    use_fake_comms(monkeypatch)
    monkeypatch.setattr(BokehLibrary, "_shared", None)


@pytest.fixture
def viewers():
    shown = []

    def show(*args, **kw):
        shown.append(StreamViewer(*args, **kw))
        return shown[-1]

    yield show
    for viewer in shown:
        viewer.close()


@pytest.fixture
def station(tmp_path):
    with Station(tmp_path) as station:
        yield station


def status(viewer):
    """What the page is told, in its newest frame that says so."""
    told = [frame.head["parts"]["status"] for frame in viewer.bridge.comm.frames if frame.head.get("parts")]
    return told[-1]["text"] if told else ""


def test_a_view_of_an_archive_opens_filled_and_follows(station, viewers):
    station.send(50)
    viewer = viewers(str(station.path))
    assert viewer.dataset.sizes["time"] == 50
    station.send(10)
    wait(lambda: viewer.dataset.sizes["time"] == 60)
    assert viewer.dataset.pea_lemi0001_x.values[-1] == pytest.approx(1.0, abs=0.0005)


def test_a_view_of_a_broker_is_filled_from_the_archive_without_doubles(station, viewers):
    station.send(50)
    viewer = viewers(station.url, topics=("pea/#",), history=str(station.path))
    assert viewer.dataset.sizes["time"] == 50
    wait(lambda: "connected to" in status(viewer) and "disconnected" not in status(viewer))
    station.send(10)
    wait(lambda: viewer.dataset.sizes["time"] == 60)


def test_a_marked_interval_keeps_its_samples_when_it_has_left_the_window(station, viewers):
    station.send(60)
    viewer = viewers(str(station.path))
    begin_ns, end_ns = viewer.dataset.time.values[[10, 20]].astype("int64").tolist()
    viewer.change(selection=Selection("PEA", begin_ns, end_ns))
    viewer.change(window_s=1.0, until_ns=None)
    assert viewer.dataset.sizes["time"] == 10


def test_a_view_of_a_broker_says_that_it_is_disconnected_and_recovers(station, viewers):
    station.send(5)
    viewer = viewers(station.url, history=str(station.path))
    wait(lambda: status(viewer).startswith("connected"))
    station.broker.kill()
    wait(lambda: status(viewer).startswith("disconnected"))
    station.broker.start()
    wait(lambda: status(viewer).startswith("connected"), 30)
    station.send(5)
    wait(lambda: viewer.dataset.sizes["time"] == 10)


def test_a_broker_that_is_not_there_is_named_in_the_status(viewers):
    viewer = viewers("mqtt://127.0.0.1:9")
    wait(lambda: "no broker answers at mqtt://127.0.0.1:9" in status(viewer))
    assert viewer.summary().startswith("0 of 0 traces: none yet")


def test_a_dataset_is_shown_whole(station, viewers):
    station.send(100)
    with open_archive(station.path) as archive:
        dataset = archive.dataset("PEA", "lemi0001")
    viewer = viewers(dataset)
    assert viewer.dataset.sizes["time"] == 100
    traces, how = viewer.summary().splitlines()
    assert traces == "3 of 3 traces: PEA lemi0001 x, PEA lemi0001 y, PEA lemi0001 z"
    assert how == "stacked axes, autoscale, window 100 s, not live"


def test_something_that_is_no_source_is_refused():
    with pytest.raises(ConfigError, match="a int is no source"):
        StreamViewer(5)


def test_what_was_chosen_is_undone_redone_saved_and_restored(station, viewers):
    station.send(5)
    viewer = viewers(str(station.path))
    viewer.change(axes="common")
    viewer.change(span=20.0)
    saved = viewer.state()
    viewer.undo()
    assert (viewer.state()["span"], viewer.state()["axes"]) == (None, "common")
    viewer.undo()
    assert viewer.state()["axes"] == "stacked"
    viewer.redo()
    viewer.redo()
    assert viewer.state() == saved
    other = viewers(str(station.path))
    other.restore(json.loads(json.dumps(saved)))
    assert other.state() == saved
    assert "'span': 20.0" in other.code() and "'axes': 'common'" in other.code()


def test_a_drag_is_one_step_to_undo(station, viewers):
    viewer = viewers(str(station.path))
    for length in (500.0, 400.0, 300.0):
        viewer.drag(window_s=length, until_ns=NS)
    viewer.undo()
    assert viewer.state()["window_s"] == 600.0


def test_two_clicks_are_two_steps_to_undo_however_quick(station, viewers):
    viewer = viewers(str(station.path))
    viewer.change(span=10.0)
    viewer.change(span=20.0)
    viewer.undo()
    assert viewer.state()["span"] == 10.0


@pytest.mark.parametrize(
    ("state", "words"),
    [({"colour": 1}, "has no setting colour"), ({"axes": "round"}, "cannot take this state")],
)
def test_a_state_that_does_not_fit_is_refused(station, viewers, state, words):
    viewer = viewers(str(station.path))
    with pytest.raises(ConfigError, match=words):
        viewer.restore(state)
    assert viewer.state()["axes"] == "stacked"


def test_controls_show_what_code_changed_and_change_what_is_shown(station, viewers):
    viewer = viewers(str(station.path))
    controls = viewer._controls
    viewer.change(axes="common", window_s=1234.0)
    assert controls.axes.value == "common" and controls.window.label == "20 min 34 s"
    controls.axes.value = "stacked"
    controls.fixed.value = True
    controls.span.value = 40.0
    controls.pause.value = True
    state = viewer.state()
    assert (state["axes"], state["span"]) == ("stacked", 40.0) and state["until_ns"] is not None
    viewer.follow()
    assert controls.pause.value is False


def test_traces_are_hidden_with_the_list(station, viewers):
    station.send(5)
    viewer = viewers(str(station.path))
    wait(lambda: len(viewer._controls.traces.options) == 3)
    viewer._controls.traces.value = ("PEA lemi0001 x",)
    assert viewer.summary().startswith("1 of 3 traces: PEA lemi0001 x")
    assert "pea_lemi0001_z" not in viewer.dataset


def test_a_pan_in_the_browser_pauses_and_a_reset_follows(station, viewers):
    station.send(5)
    viewer = viewers(str(station.path))
    wait(lambda: viewer._drawing is not None and viewer._drawing.group_of)
    now_ms = time.time() * 1000
    page(viewer, 1, "range", x0=now_ms - 90_000, x1=now_ms - 30_000)
    wait(lambda: viewer.state()["window_s"] == pytest.approx(60.0))
    assert viewer.state()["until_ns"] == pytest.approx((now_ms - 30_000) * 1e6, abs=1e6)
    page(viewer, 2, "reset")
    wait(lambda: viewer.state()["until_ns"] is None)


def test_a_box_in_the_browser_marks_an_interval(station, viewers):
    station.send(60)
    viewer = viewers(str(station.path))
    wait(lambda: viewer._drawing is not None and viewer._drawing.group_of)
    first, last = viewer.dataset.time.values[[10, 20]].astype("datetime64[ms]").astype(float)
    page(viewer, 1, "select", geometry={"x0": last, "x1": first, "y0": 0, "y1": 1})
    wait(lambda: viewer.selection is not None)
    assert viewer.dataset.sizes["time"] == 10
    page(viewer, 2, "select", geometry=None)
    wait(lambda: viewer.selection is None)


def page(viewer, question, name, **values):
    events = [{"name": name, "on": "PEA lemi0001 x", **values}]
    viewer.bridge.comm.receive(k="events", page="p", question=question, events=events)


@pytest.mark.parametrize("name", ["samples.nc", "samples.csv"])
def test_what_is_shown_can_be_exported(station, viewers, tmp_path, name):
    station.send(20)
    viewer = viewers(str(station.path))
    written = viewer.export(tmp_path / name)
    if name.endswith(".nc"):
        import xarray as xr

        with xr.open_dataset(written) as again:
            assert np.array_equal(again.pea_lemi0001_z.values, viewer.dataset.pea_lemi0001_z.values)
    else:
        lines = written.read_text().splitlines()
        assert lines[0].startswith("time,pea_lemi0001_arrival,pea_lemi0001_x") and len(lines) == 21


def test_an_unknown_kind_of_export_is_refused(station, viewers, tmp_path):
    with pytest.raises(ConfigError, match=r"'samples\.doc'"):
        viewers(str(station.path)).export(tmp_path / "samples.doc")


def test_a_spike_reaches_the_page_though_points_are_thinned_out(tmp_path, viewers):
    from obslab.telemetry.datasets import samples_schema

    values = np.zeros(50_000)
    values[31_234] = 9.5
    dataset = samples_schema({"x": "nT"}).build(
        {"station": "PEA", "instrument": "lemi0001", "samplerate": "sec"},
        time=np.datetime64("2024-05-10", "ns") + np.arange(50_000) * np.timedelta64(1, "s"),
        arrival=np.datetime64("2024-05-10", "ns") + np.arange(50_000) * np.timedelta64(1, "s"),
        x=values,
    )
    viewer = viewers(dataset)
    wait(lambda: viewer._drawing is not None and viewer._drawing.group_of)
    source = viewer._drawing._sources["PEA lemi0001 x"]
    drawn = viewer.bridge.comm.wait_for(
        lambda frames: next(
            (f.value(source, "value") for f in reversed(frames) if f.value(source, "value")), None
        )
    )
    assert max(drawn) == 9.5 and len(drawn) <= 2 * 1000


def test_closing_ends_its_threads(station, viewers):
    import threading

    viewer = viewers(str(station.path))
    viewer.close()
    wait(lambda: not any(thread.name == "obslab-follow" for thread in threading.enumerate()))


def test_repr_is_stable(station, viewers):
    assert repr(viewers(str(station.path), label="storm")) == "<StreamViewer 'storm'>"
