"""Adjusted data, delta-F, absolutes and flags in the stream viewer, without a browser."""

import json

import numpy as np
import pytest
from obslab_widgets import StreamViewer
from obslab_widgets.bridge.library import BokehLibrary
from obslab_widgets.stream_viewer.model import frame
from obslab_widgets.stream_viewer.state import Selection, State
from obslab_widgets.stream_viewer.tracks import look
from small_station import wait
from telemetry import observatory
from telemetry.observatory import DAY_NS, NOON, NS, baseline, seconds, truth
from telemetry.spot_tables import absolute_table
from widgets.fake_comm import use_fake_comms

from obslab.errors import ConfigError, FlagError
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.flags import FlagBook
from obslab.times import from_ns

COUNT = 1200
SPIKE, SPIKE_NT = 700, 50.0
H = "WIC lemi036 h"


@pytest.fixture(autouse=True)
def fake_comms(monkeypatch):
    use_fake_comms(monkeypatch)
    monkeypatch.setattr(BokehLibrary, "_shared", None)


@pytest.fixture
def archive(tmp_path):
    """Twenty minutes of a simulated observatory, with a spike in H and one in F."""
    with open_archive(tmp_path / "archive", write=True) as archive:
        time_ns = seconds(COUNT)
        values = observatory.raw(time_ns)
        values[SPIKE, 0] += SPIKE_NT
        vector = observatory.samples(observatory.LEMI, observatory.VECTOR, time_ns, values)
        total = observatory.scalar(time_ns)
        total[300] -= SPIKE_NT
        scalar = observatory.samples(observatory.GP20, observatory.SCALAR, time_ns, total)
        metas = {
            observatory.LEMI.meta_topic: (observatory.VECTOR,),
            observatory.GP20.meta_topic: (observatory.SCALAR,),
        }
        archive.add(observatory.Batch(arrivals=[vector, scalar], metas=metas))
        yield archive


@pytest.fixture
def datasets(archive):
    return [archive.dataset("WIC", "lemi036"), archive.dataset("WIC", "gp20s3")]


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
def viewer(viewers, datasets, tmp_path):
    book = tmp_path / "flags.db"
    return viewers(datasets, baselines=baseline(), flags=book, author="ana", label="storm")


def drawn(viewer):
    """What a page would be shown now."""
    tracks = look(viewer._source, viewer._state, viewer_now())
    tracks, marks = viewer._flagged(tracks)
    return frame(viewer._state, tracks, viewer._source.condition(), viewer_now(), marks=marks)


def viewer_now():
    return NOON + COUNT * NS


def panels(viewer):
    return {panel.name: panel for group in drawn(viewer).groups for panel in group.panels}


def mark(viewer, first, last):
    viewer.change(selection=Selection("WIC", NOON + first * NS, NOON + last * NS))


# ---- adjusted data, delta-F, absolutes


def test_with_baselines_the_adjusted_field_and_delta_f_are_shown_and_raw_ones_for_the_asking(viewer):
    assert list(panels(viewer)) == [
        "WIC gp20s3 f",
        *("WIC lemi036-adj x", "WIC lemi036-adj y", "WIC lemi036-adj z"),
        "WIC delta-f delta_f",
    ]
    x = viewer.dataset["wic_lemi036-adj_x"].values
    np.testing.assert_allclose(x[:SPIKE], truth(seconds(SPIKE))[:, 0], atol=0.002)
    viewer.change(level="raw")
    assert list(panels(viewer)) == [
        "WIC gp20s3 f",
        H,
        "WIC lemi036 e",
        "WIC lemi036 z",
        "WIC delta-f delta_f",
    ]
    assert "adjusted" not in viewer.summary()
    viewer.undo()
    assert "adjusted data" in viewer.summary()


def test_delta_f_has_its_sign_in_the_label_and_is_near_zero(viewer):
    panel = panels(viewer)["WIC delta-f delta_f"]
    assert panel.label == "\N{GREEK CAPITAL LETTER DELTA}F (nT)"
    assert np.nanmedian(np.abs(panel.traces[0].value)) < 0.01


def test_the_toggle_is_there_when_there_are_both(viewer, viewers, datasets):
    wait(lambda: viewer._controls.level.layout.display == "flex")
    viewer._controls.level.value = "raw"
    assert viewer.state()["level"] == "raw"
    plain = viewers(datasets)
    wait(lambda: len(plain._controls.traces.options) > 0)
    assert plain._controls.level.layout.display == "none" and plain.state()["level"] == "raw"


def test_the_new_choices_are_saved_and_restored(viewer, viewers, datasets):
    viewer.change(level="raw", target=H.replace(" h", " sec h"))
    saved = json.loads(json.dumps(viewer.state()))
    assert saved["level"] == "raw" and saved["target"] == "WIC lemi036 sec h"
    other = viewers(datasets, baselines=baseline())
    other.restore(saved)
    assert other.state() == saved and "'target': 'WIC lemi036 sec h'" in other.code()


def test_absolutes_of_a_table_are_points_beside_the_adjusted_angle(viewers, datasets):
    time_ns = NOON + np.array([100, 900, 10 * COUNT]) * NS  # the last is not in the window
    x, y, z = truth(time_ns).T
    d, i = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
    table = absolute_table(from_ns(time_ns), d, i, np.sqrt(x**2 + y**2 + z**2))
    table = table.assign(instrument=("measurement", np.full(3, "Zeiss 010B")))
    # So that no other measurement lengthens the window.
    viewer = viewers(datasets, baselines=baseline(), absolutes=table.isel(measurement=[0, 1]))
    shown = panels(viewer)
    points, line = shown["WIC zeiss-010b d"].traces
    assert points.value == pytest.approx(d[:2]) and points.words[0].startswith(f"D {d[0]:.4f} deg, I ")
    assert line.name == "WIC lemi036-adj d" and not line.words
    # The absolutes are on the line: 0.0001 deg is what half the resolution of 0.001 nT makes, and more.
    at = np.searchsorted(line.time_ms, points.time_ms)
    assert line.value[at] == pytest.approx(points.value, abs=1e-4)
    assert shown["WIC zeiss-010b i"].traces[0].value == pytest.approx(i[:2])


def test_absolutes_that_are_not_in_the_window_leave_no_empty_panel(viewers, datasets):
    table = absolute_table(from_ns([NOON - DAY_NS]), 4.0, 64.0, 48_000.0)
    viewer = viewers(datasets, window_s=600.0, absolutes=table)
    assert not [name for name in panels(viewer) if " di " in name]
    assert ("WIC", "di") in {row[:2] for row in drawn(viewer).table}


def test_something_that_is_no_table_of_absolutes_is_refused(datasets):
    with pytest.raises(ConfigError, match="absolutes is True, False, or a table"):
        StreamViewer(datasets, absolutes=datasets[0])


def test_an_archive_with_flags_and_baselines_of_its_own_needs_no_paths(archive, viewers):
    from obslab.telemetry.baseline.folder import Baselines

    Baselines(archive.path / "baselines").adopt(baseline())
    viewer = viewers(str(archive.path), baselines=True, flags=True, window_s=600.0)
    viewer.change(until_ns=NOON + COUNT * NS)
    assert "WIC lemi036-adj x" in panels(viewer)
    viewer.flag("test", begin=NOON, end=NOON + NS, stream="WIC lemi036 sec")
    with FlagBook(archive.path / "flags.db", readonly=True) as book:
        assert book.flags().sizes["flag"] == 1


def test_a_window_that_left_the_rings_is_adjusted_from_the_archive(archive, viewers):
    viewer = viewers(str(archive.path), baselines=baseline(), window_s=10.0)
    viewer.change(until_ns=NOON + 300 * NS, window_s=100.0)
    values = viewer.dataset["wic_lemi036-adj_z"].values
    np.testing.assert_allclose(values, truth(seconds(100, NOON + 200 * NS))[:, 2], atol=0.002)


def test_no_baseline_is_told_in_the_status_and_nothing_is_blank(viewers, datasets, tmp_path):
    viewer = viewers(datasets, baselines=tmp_path / "none")
    assert "no baseline was adopted for WIC lemi036: raw only" in drawn(viewer).status
    assert H in panels(viewer)


# ---- flags


def test_a_marked_interval_is_flagged_shaded_and_taken_out_of_adjusted_data(viewer):
    mark(viewer, 700, 710)
    number = viewer.flag("a tractor")
    (flag,) = viewer.flags.id.values
    assert flag == number
    facts = {name: viewer.flags[name].values[0] for name in ("stream", "component", "state", "author")}
    assert facts == {"stream": "WIC lemi036 sec", "component": "", "state": "confirmed", "author": "ana"}
    (shade,) = panels(viewer)["WIC lemi036-adj x"].shades
    assert (shade.left, shade.right) == ((NOON + 700 * NS) / 1e6, (NOON + 710 * NS) / 1e6)
    assert shade.confirmed and "a tractor (ana)" in shade.words
    assert not panels(viewer)["WIC gp20s3 f"].shades
    viewer.select(None)
    assert np.flatnonzero(np.isnan(viewer.dataset["wic_lemi036-adj_y"].values)).tolist() == [*range(700, 710)]
    assert np.flatnonzero(np.isnan(viewer.dataset["wic_delta-f_delta_f"].values)).tolist() == [
        *range(700, 710)
    ]
    viewer.change(level="raw")  # what was recorded stays in sight
    assert not np.isnan(viewer.dataset["wic_lemi036_h"].values).any()
    viewer.undo_flag()
    viewer.change(level="adjusted")
    assert not np.isnan(viewer.dataset["wic_lemi036-adj_y"].values).any()


def test_what_the_detectors_find_is_proposed_and_confirmed_by_a_person(viewer):
    numbers = viewer.propose()
    found = viewer.flags
    assert set(found.state.values) == {"proposed"} and set(found.author.values) == {"find_spikes"}
    streams = dict(zip(found.stream.values.tolist(), found["size"].values.tolist(), strict=True))
    assert streams["WIC lemi036 sec"] == pytest.approx(SPIKE_NT, abs=0.1) and len(numbers) == 2
    assert not np.isnan(viewer.dataset["wic_lemi036-adj_x"].values).any()
    viewer.confirm(numbers[0], "looked at it")
    assert viewer.summary().endswith("2 flags (1 confirmed)")
    viewer.withdraw(numbers)
    assert viewer.flags.sizes["flag"] == 0 and viewer.propose() == []
    viewer.undo_flag()
    assert viewer.flags.sizes["flag"] == 2
    viewer.redo_flag()
    assert viewer.flags.sizes["flag"] == 0


def test_components_and_other_streams_can_be_flagged(viewer):
    viewer.change(level="raw")
    mark(viewer, 10, 20)
    viewer.flag("x", component="z", kind="step")
    viewer.flag("x", stream="WIC gp20s3 sec")
    viewer.change(target="WIC lemi036 sec e")
    viewer.flag("x")
    told = list(zip(viewer.flags.stream.values, viewer.flags.component.values, strict=True))
    assert told == [("WIC lemi036 sec", "z"), ("WIC gp20s3 sec", ""), ("WIC lemi036 sec", "e")]
    shown = panels(viewer)
    assert [len(shown[name].shades) for name in (H, "WIC lemi036 e", "WIC lemi036 z")] == [0, 1, 1]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda viewer: viewer.flag("x"), "no interval is marked"),
        (lambda viewer: viewer.flag("", begin=NOON, end=NOON + NS), "needs a reason"),
        (lambda viewer: viewer.flag("x", stream="WIC what sec"), "nothing to flag is called 'WIC what sec'"),
        (lambda viewer: viewer.confirm(7), "no flag has the number 7"),
        (lambda viewer: viewer.undo_flag(), "nothing to undo"),
    ],
)
def test_what_cannot_be_done_says_why(viewer, action, words):
    with pytest.raises(FlagError, match=words):
        action(viewer)


def test_a_viewer_without_flags_says_how_to_get_them(viewers, datasets):
    with pytest.raises(FlagError, match=r"StreamViewer\(source, flags=True\)"):
        viewers(datasets).propose()
    with pytest.raises(ConfigError, match="there is no archive"):
        viewers(datasets, flags=True)
    with pytest.raises(ConfigError, match="a int is no flag book"):
        viewers(datasets, flags=5)


def test_flags_of_another_process_appear(viewer, tmp_path, monkeypatch):
    monkeypatch.setattr("obslab_widgets.stream_viewer.flagging._LOOK_S", 0.0)
    with FlagBook(tmp_path / "flags.db") as other:
        other.set("WIC lemi036 sec", NOON, NOON + 9 * NS, author="ben", reason="x")
    assert len(panels(viewer)["WIC lemi036-adj x"].shades) == 1


def test_a_damaged_book_is_told_and_traces_go_on(viewers, datasets, tmp_path):
    path = tmp_path / "flags.db"
    path.write_text("no database at all, only some text that is long enough")
    viewer = viewers(datasets, flags=path)
    assert H in panels(viewer) and "is not a SQLite database" in viewer._flagging.word


# ---- what the page does


def page(viewer, question, name, **values):
    wait(lambda: viewer._drawing is not None and viewer._drawing.group_of)
    viewer.bridge.comm.receive(k="events", page="p", question=question, events=[{"name": name, **values}])


def test_a_box_aims_at_the_trace_it_was_drawn_on(viewer):
    viewer.change(level="raw")
    wait(lambda: viewer._drawing is not None and "WIC lemi036 e" in viewer._drawing.group_of)
    box = {"x0": NOON / 1e6, "x1": NOON / 1e6 + 5000, "y0": 0, "y1": 1}
    page(viewer, 1, "select", on="WIC lemi036 e", geometry=box)
    wait(lambda: viewer.selection is not None)
    assert viewer.state()["target"] == "WIC lemi036 sec e"
    controls = viewer._flag_controls
    assert controls.target.value == "WIC lemi036 sec e"
    controls.reason.value = "a tractor"
    controls.set.click()
    assert viewer.flags.component.values.tolist() == ["e"] and controls.reason.value == ""


def test_an_adjusted_trace_is_flagged_where_it_comes_from(viewer):
    wait(lambda: viewer._drawing is not None and "WIC lemi036-adj x" in viewer._drawing.group_of)
    box = {"x0": NOON / 1e6, "x1": NOON / 1e6 + 5000, "y0": 0, "y1": 1}
    page(viewer, 1, "select", on="WIC lemi036-adj x", geometry=box)
    wait(lambda: viewer.selection is not None)
    assert viewer.state()["target"] == "WIC lemi036 sec"


def test_buttons_work_on_the_flags_chosen_in_the_list(viewer):
    controls = viewer._flag_controls
    controls.detect.click()
    wait(lambda: len(controls.list.options) == 2)
    assert controls.confirm.disabled and controls.redo.disabled and not controls.undo.disabled
    numbers = [number for _, number in controls.list.options]
    controls.list.value = (numbers[0],)
    assert not controls.confirm.disabled
    controls.reason.value = "seen"
    controls.confirm.click()
    wait(lambda: "confirmed" in controls.list.options[0][0])
    assert viewer._flagging.book.history(numbers[0]).reason.values[-1] == "seen"
    controls.withdraw.click()
    wait(lambda: len(controls.list.options) == 1)
    controls.undo.click()
    wait(lambda: len(controls.list.options) == 2 and not controls.redo.disabled)


def test_a_button_that_cannot_do_it_says_so_in_the_status(viewer):
    viewer._flag_controls.set.click()
    assert "no interval is marked" in viewer._flagging.word
    told = [f.head["parts"]["status"]["text"] for f in viewer.bridge.comm.frames if f.head.get("parts")]
    wait(lambda: any("no interval is marked" in text for text in told) or told.extend(texts(viewer)))


def texts(viewer):
    return [f.head["parts"]["status"]["text"] for f in viewer.bridge.comm.frames if f.head.get("parts")]


def test_many_flags_are_drawn_quickly_enough_to_be_listed(viewer):
    for second in range(0, 1000, 2):
        viewer._flagging.book.set(
            "WIC lemi036 sec", NOON + second * NS, NOON + (second + 1) * NS, author="a", reason="b"
        )
    viewer._flagging._looked_s = 0.0
    assert len(panels(viewer)["WIC lemi036-adj x"].shades) == 300  # the newest, and all count
    assert np.isnan(viewer.dataset["wic_lemi036-adj_x"].values).sum() == 500


def test_a_state_without_flags_has_the_old_frame(viewers, datasets):
    assert State() == State(level="raw", target="")
    assert all(not panel.shades for panel in panels(viewers(datasets)).values())
