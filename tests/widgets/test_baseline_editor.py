"""The baseline editor as a notebook uses it, without a browser: a fake comm, a real folder and archive."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from obslab_widgets import BaselineEditor, StreamViewer, link
from obslab_widgets.baseline_editor.drawing import DELTA_F
from obslab_widgets.baseline_editor.model import frame
from obslab_widgets.baseline_editor.state import State
from obslab_widgets.bridge.library import BokehLibrary
from obslab_widgets.selection import Selection
from small_station import wait
from widgets.fake_comm import snapshot, use_fake_comms
from widgets.pillar import BEGIN_NS, DAY_NS, PIER_NT, STEP_NS, four_months, one_day

from obslab import conrad
from obslab.errors import BaselineError, ConfigError, SheetError
from obslab.telemetry import iaga2002
from obslab.telemetry.baseline import Baselines
from obslab.times import as_ns, to_ns

BEGINNING = {**asdict(State()), "pier_difference_nt": PIER_NT}


@pytest.fixture(scope="module", autouse=True)
def fake_comms():
    with pytest.MonkeyPatch.context() as patch:
        use_fake_comms(patch)
        patch.setattr(BokehLibrary, "_shared", None)
        yield


@pytest.fixture(scope="module")
def pillar():
    return four_months(count=48)


@pytest.fixture
def editors():
    shown = []

    def show(*args, **kw):
        shown.append(BaselineEditor(*args, **kw))
        return shown[-1]

    yield show
    for editor in shown:
        editor.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("adopted")


@pytest.fixture(scope="module")
def open_editor(pillar, folder):
    """One for the module: its figures take a second to make."""
    samples = (pillar.vector, pillar.scalar)
    editor = BaselineEditor(samples, pillar.absolutes, folder=folder, pier_difference_nt=PIER_NT)
    yield editor
    editor.close()


@pytest.fixture
def editor(open_editor):
    yield open_editor
    open_editor.restore(BEGINNING)


def told(editor, part):
    """What the page was told last of this part."""
    return snapshot(editor.bridge).head["parts"].get(part) or {"level": "", "text": ""}


def drawn(editor):
    """The picture shows what was chosen."""
    wait(lambda: editor._worker.work and editor._worker.work.state == editor._state.question)
    wait(lambda: told(editor, "status")["text"] and "computing" not in told(editor, "status")["text"])
    wait(lambda: editor._drawing.structure == frame_of(editor).structure)
    assert editor.bridge._picture.errors == {}


def frame_of(editor):
    return frame(editor._state, editor._worker.work, editor._knots_shown())


def page(editor, name, on, **values):
    editor._asked = getattr(editor, "_asked", 0) + 1
    events = [{"name": name, "on": on, **values}]
    editor.bridge.comm.receive(k="events", page="p", question=editor._asked, events=events)


def box(begin_ns, end_ns, low=-1e9, high=1e9):
    return {"type": "rect", "x0": begin_ns / 1e6, "x1": end_ns / 1e6, "y0": low, "y1": high}


def test_it_draws_tells_the_table_and_flags_drift_and_jump(editor):
    drawn(editor)
    assert [row[0] for row in told(editor, "table")["rows"]] == ["H0", "D0", "Z0"]
    wait(lambda: "a step?" in told(editor, "status")["text"])
    assert "H0 drifts" in told(editor, "status")["text"]
    assert editor.summary().startswith("WIC lemi036: 4")


def test_spots_are_excluded_and_included_in_every_way_and_undone(editor):
    times = to_ns(editor.spots["time"].values)
    editor.exclude([1, -1])
    assert editor.state()["excluded"] == [times[1], times[-1]]
    assert editor.dataset["kind"].values[[0, 1, -1]].tolist() == ["used", "excluded", "excluded"]
    editor.exclude("2024-02-20", "2024-03-01")
    within = (times >= as_ns("2024-02-20")) & (times < as_ns("2024-03-01"))
    assert len(editor.state()["excluded"]) == 2 + within.sum()
    editor.include(1)
    editor.mark([-1])
    assert to_ns(editor.selection).tolist() == [times[-1]]
    editor.include()
    assert len(editor.state()["excluded"]) == within.sum() and editor.selection.size == 0
    for _ in range(5):
        editor.undo()
    assert editor.state()["excluded"] == []
    editor.redo()
    assert editor.state()["excluded"] == [times[1], times[-1]]
    with pytest.raises(ConfigError, match="there are 48 spots, from 0 to 47"):
        editor.exclude([48])


def test_steps_and_knots_are_added_moved_and_removed(editor):
    editor.add_step("2024-03-20")
    editor.move_step(0, "2024-04-01T12:00Z")
    assert editor.state()["steps"] == [STEP_NS]
    editor.change(knots=2)
    editor.add_knot("2024-03-01")
    assert len(editor.state()["knots"]) == 3
    editor.move_knot(2, "2024-02-20")
    assert editor.state()["knots"][0] == as_ns("2024-02-20")
    editor.remove("knot 0")
    assert len(editor.state()["knots"]) == 2
    assert editor.baseline.how.steps == ("2024-04-01T12:00:00Z",)
    editor.change(at_ns=None)
    with pytest.raises(ConfigError, match="say where"):
        editor.add_step()


def test_a_pulled_step_moves_the_curve_and_is_one_step_to_undo(editor):
    editor.add_step(STEP_NS - 20 * DAY_NS)
    drawn(editor)
    before = editor.residuals["fitted"].values[:, 0]
    for days in (15, 10, 5, 0):
        page(editor, "drag", "step 0", at=(STEP_NS - days * DAY_NS) / 1e6 + 7e3)
    assert editor.state()["steps"] == [STEP_NS]  # to whole minutes
    assert np.abs(editor.residuals["fitted"].values[:, 0] - before).max() > 2.0
    drawn(editor)
    editor.undo()
    assert editor.state()["steps"] == [STEP_NS - 20 * DAY_NS]


def test_a_line_pulled_too_far_is_put_back_on_the_page(editor):
    editor.add_step(STEP_NS)
    drawn(editor)
    last_ns = int(to_ns(editor.spots["time"].values).max())
    for _ in range(2):  # the second changes nothing, and must be answered all the same
        before = len(editor.bridge.comm.frames)
        page(editor, "drag", "step 0", at=(last_ns + 30 * DAY_NS) / 1e6)
        at_ns = editor.state()["steps"][0]
        assert at_ns < last_ns
        grip = editor._drawing._grips["step"][0]

        def put_back(frames, before=before, grip=grip, at_ns=at_ns):
            return any(frame.value(grip, "location") == at_ns / 1e6 for frame in frames[before:])

        editor.bridge.comm.wait_for(put_back)
        drawn(editor)


def test_pulling_one_of_some_knots_puts_them_all_by_hand(editor):
    editor.change(knots=3)
    drawn(editor)
    placed = editor._desk.knots(editor._state)
    page(editor, "drag", "knot 1", at=placed[1] / 1e6 + 86_400_000)
    moved = editor.state()["knots"]
    assert moved[0] == placed[0] and moved[2] == placed[2]
    assert abs(moved[1] - placed[1] - DAY_NS) < 60_000_000_000


def test_boxes_mark_spots_clicks_point_and_a_box_on_delta_f_is_its_period(editor):
    drawn(editor)
    times = to_ns(editor.spots["time"].values)
    page(editor, "select", "z", geometry=box(times[4] - 1, times[6] + 1))
    assert editor.selection.astype(np.int64).tolist() == times[4:7].tolist()
    page(editor, "select", "h", geometry=None)
    assert editor.selection.size == 0
    page(editor, "resize", "h", x0=0.0, x1=120 * 86_400_000.0, y0=0, y1=1, width=900, height=100)
    page(editor, "select", "d", geometry={"type": "point", "x": (BEGIN_NS + DAY_NS) / 1e6, "y": 4.2})
    assert editor.state()["at_ns"] == BEGIN_NS + DAY_NS
    editor.add_step()
    page(editor, "select", "d", geometry={"type": "point", "x": (BEGIN_NS + 1.5 * DAY_NS) / 1e6, "y": 4.2})
    assert (editor.state()["picked"], editor.state()["at_ns"]) == ("step 0", BEGIN_NS + DAY_NS)
    page(editor, "select", DELTA_F, geometry=box(STEP_NS + 10**9, STEP_NS + DAY_NS // 2))
    assert editor.marked == Selection("WIC", STEP_NS, STEP_NS + DAY_NS // 2)
    assert editor.effect.sizes["time"] == 720


def test_adopting_writes_the_baseline_which_is_then_the_one_before(editor, folder):
    editor.add_step(STEP_NS)
    drawn(editor)
    with pytest.raises(BaselineError, match="enter the author and the reason"):
        editor.adopt()
    path = editor.adopt("NN", "the sensor was levelled")
    assert path.exists() and path.with_suffix(".json") == path
    (found,) = Baselines(folder).all()
    assert (found.author, found.reason) == ("NN", "the sensor was levelled")
    time_ns = to_ns(editor.spots["time"].values)
    assert np.array_equal(found.values(time_ns), editor.baseline.values(time_ns))
    assert np.allclose(editor.effect["before"], editor.effect["after"], atol=1e-9)
    wait(lambda: "before (adopted" in frame_of(editor).delta.title)


def test_the_button_tells_what_lacks_and_what_was_written(editor):
    controls = editor._controls
    controls.adopt.click()
    assert controls.told.value.startswith("not adopted: a baseline is adopted with an author and a reason")
    controls.author.value, controls.reason.value = "NN", "$$x$$ <b>drift</b>"
    controls.adopt.click()
    assert controls.told.value.startswith("adopted: ") and ".json" in controls.told.value
    assert editor.state()["author"] == "NN"


def test_controls_change_the_state_and_show_it(editor):
    controls = editor._controls
    controls.method.value = "polynomial"
    controls.degree.value = 1
    controls.knots.value = "2"
    controls.sigma.value = 3.0
    controls.validity.value = "2024-02-01/2024-07-01"
    controls.period.value = "2024-03-05"
    chosen = editor.state()
    assert (chosen["method"], chosen["degree"], chosen["knots"], chosen["reject_sigma"]) == (
        "polynomial", 1, 2, 3.0,
    )  # fmt: skip
    assert str(editor.baseline.end)[:10] == "2024-07-01"
    assert editor.effect["time"].values[0] == np.datetime64("2024-03-05")
    controls.at.value = "2024-04-01T12:00"
    controls.add_step.click()
    assert editor.state()["steps"] == [STEP_NS] and controls.picked.value == "step 0"
    controls.at.value = "2024-04-02"
    assert editor.state()["steps"] == [as_ns("2024-04-02")]
    controls.remove.click()
    assert editor.state()["steps"] == [] and controls.remove.disabled
    controls.undo.click()
    assert controls.picked.value == "step 0"


def test_what_cannot_be_read_is_told_and_the_control_shows_what_is(editor):
    controls = editor._controls
    for control, text in ((controls.smoothing, "long"), (controls.validity, "soon"), (controls.at, "noon")):
        control.value = text
        assert repr(text)[1:-1] in controls.told.value
        assert control.value == ""
    controls.validity.value = "2024-05-01/2024-04-01"
    assert "does not end after it begins" in controls.told.value
    controls.degree.value = 0  # a spline wants 2
    wait(lambda: "degree 0 is none of 2 to 5" in told(editor, "status")["text"])
    assert told(editor, "status")["level"] == "off"
    controls.degree.value = 3
    drawn(editor)


def test_the_button_estimates_the_pier_difference(editor):
    editor.change(steps=(STEP_NS,), pier_difference_nt=0.0)
    editor._controls.estimate.click()
    assert editor.state()["pier_difference_nt"] == pytest.approx(PIER_NT, abs=0.5)
    assert editor._controls.pier.value == editor.state()["pier_difference_nt"]


def test_a_state_goes_through_json_into_another_editor(editor, editors, pillar, folder):
    editor.add_step(STEP_NS)
    editor.change(knots=3)
    editor.add_knot("2024-03-03")
    editor.exclude([2, 3])
    editor.change(period=None, residuals="d", smoothing=30.0)
    editor.select(Selection("WIC", BEGIN_NS, BEGIN_NS + DAY_NS))
    other = editors((pillar.vector, pillar.scalar), pillar.absolutes, folder=folder)
    other.restore(json.loads(json.dumps(editor.state())))
    assert other.state() == editor.state() and other.summary() == editor.summary()
    third = editors((pillar.vector, pillar.scalar), pillar.absolutes)
    exec(editor.code(), {"editor": third})
    assert third.state() == editor.state()
    with pytest.raises(ConfigError, match="has no setting colour"):
        other.restore({"colour": "red"})


def test_the_table_is_exported(editor, tmp_path):
    editor.exclude([5])
    text = editor.export(tmp_path / "spots.csv").read_text()
    assert text.count("excluded by hand") == 3  # a row for each component
    assert editor.export(tmp_path / "spots.nc").exists()


def test_the_period_is_shared_with_a_stream_viewer(editor, pillar):
    viewer = StreamViewer(pillar.vector)
    with_viewer = link(editor, viewer)
    try:
        viewer.select(Selection("WIC", STEP_NS, STEP_NS + DAY_NS))
        assert editor.marked == Selection("WIC", STEP_NS, STEP_NS + DAY_NS)
        editor.change(period=None)
        assert viewer.marked is None
        editor.select(Selection("PEA", STEP_NS, STEP_NS + DAY_NS))  # of another station
        assert editor.marked is None
    finally:
        with_viewer.close()
        viewer.close()


def test_without_absolutes_it_says_so_over_the_plot(pillar, editors):
    editor = editors((pillar.vector, pillar.scalar))
    wait(lambda: editor.bridge._picture.errors)
    (message,) = editor.bridge._picture.errors.values()
    assert message.startswith("there are no absolute measurements of WIC") and "\n" not in message
    assert told(editor, "status") == {"level": "off", "text": message}
    wait(lambda: editor._drawing is not None)  # axes there are
    assert editor.summary().endswith(message)
    with pytest.raises(SheetError, match="no absolute measurements"):
        _ = editor.baseline


def test_an_archive_gives_samples_and_holds_the_adopted(editors, tmp_path):
    path, absolutes = one_day(tmp_path)
    editor = editors(path, absolutes)
    assert editor._controls.instrument.options == (("lemi036", "lemi036"),)
    assert editor._controls.scalar.options == (("gp20s3", "gp20s3"),)
    assert editor.spots["used"].values.all()
    assert editor.effect.sizes["time"] > 1400  # minutes of the day
    written = editor.adopt("NN", "a day")
    assert written.parent == path / "baselines"


def test_sheets_are_read_and_reduced_to_the_bases_that_magpy_finds(editors):
    editor = editors(iaga2002.read(conrad.variometer()), list(conrad.sheets()))
    spots = editor._desk.spots(editor._state)
    # MagPy 2.0.2 of example6a.txt with example5.sec; it takes no variation within the measurement.
    expected = [25.430, 4.24991, -19.374]
    found = spots["base"].values[np.argmin(np.abs(spots["base"].values - expected).sum(axis=1))]
    assert np.allclose(found, expected, atol=[0.01, 0.0005, 0.01])
    wait(lambda: "too few spots" in told(editor, "status")["text"])


def test_it_has_a_name_and_closes(pillar):
    editor = BaselineEditor((pillar.vector, pillar.scalar), pillar.absolutes, label="wic")
    assert repr(editor) == "<BaselineEditor 'wic'>"
    editor.close()
    assert not editor._worker._thread.is_alive()
