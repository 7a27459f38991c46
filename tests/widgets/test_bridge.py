import asyncio
import gc
import logging
import threading
import time
import weakref

import numpy as np
import pytest
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure
from obslab_widgets.bridge import Bridge
from obslab_widgets.bridge.library import BokehLibrary
from widgets.fake_comm import snapshot, use_fake_comms


@pytest.fixture(autouse=True)
def fake_comms(monkeypatch):
    use_fake_comms(monkeypatch)
    monkeypatch.setattr(BokehLibrary, "_shared", None)


def plot(*columns):
    source = ColumnDataSource({name: [] for name in columns or ("x", "y")})
    shown = figure(name="trace", x_range=Range1d(0, 1), y_range=Range1d(0, 1))
    shown.line("x", "y", source=source)
    return shown, source


def make(**kw):
    shown, source = plot()
    return Bridge(shown, **kw), source


def pair(value):
    return {"x": np.array([float(value)]), "y": np.array([float(value)])}


def range_event(question, **values):
    return {
        "k": "events",
        "page": "p",
        "question": question,
        "events": [{"name": "range", "on": "trace", **values}],
    }


# Frames


def test_many_puts_become_few_frames_and_silence_when_idle():
    bridge, source = make()
    for i in range(2000):
        bridge.put(source, **pair(i))
        time.sleep(0.0005)
    bridge.comm.wait_for(lambda frames: frames[-1].value(source, "y") == [1999])
    sent = len(bridge.comm.frames)
    assert sent < 200
    assert [frame.head["seq"] for frame in bridge.comm.frames] == list(range(1, sent + 1))
    time.sleep(0.5)
    assert len(bridge.comm.frames) == sent == bridge.frames_sent


def test_the_last_value_wins_and_the_callers_buffer_may_be_reused():
    bridge, source = make()
    buffer = np.zeros(3)
    for i in range(50):
        buffer[:] = i
        bridge.put(source, x=buffer, y=buffer)
    buffer[:] = -1
    bridge.comm.wait_for(lambda frames: frames and frames[-1].value(source, "x") == [49, 49, 49])


def test_a_frame_holds_only_what_changed():
    shown, source = plot()
    bridge = Bridge(shown)
    bridge.put(source, **pair(1))
    bridge.flush()
    bridge.put(shown.x_range, start=3, end=4)
    bridge.flush()
    frame = bridge.comm.frames[-1]
    assert frame.head["models"] == {shown.x_range.id: {"start": 3, "end": 4}}
    assert "document" not in frame.head


def test_a_new_page_is_given_what_was_put_even_before_the_flush():
    bridge, source = make()
    bridge.put(source, **pair(7))
    page = snapshot(bridge)
    assert page.value(source, "y") == [7]
    assert page.head["whole"] and source.id in page.head["document"]


def test_a_gap_is_answered_with_everything():
    bridge, source = make()
    bridge.put(source, **pair(1))
    bridge.flush()
    bridge.comm.receive(k="sync")
    answer = bridge.comm.frames[-1]
    assert answer.head["whole"] and answer.head["document"]
    assert answer.value(source, "x") == [1]


def test_a_frame_that_could_not_be_sent_is_followed_by_a_whole_one():
    bridge, source = make()
    bridge.comm.broken = True
    bridge.put(source, **pair(1))
    with pytest.raises(OSError):
        bridge.flush()
    bridge.comm.broken = False
    bridge.touch()
    frame = bridge.comm.wait_for(lambda frames: [f for f in frames if f.value(source, "y") == [1]])[0]
    assert frame.head["whole"]


def test_show_replaces_the_document_and_forgets_the_old_one():
    bridge, old_source = make()
    bridge.put(old_source, **pair(1))
    bridge.flush()
    shown, source = plot()
    source.data = pair(5)
    bridge.show(column(shown))
    bridge.put(source, **pair(6))
    bridge.flush()
    # The pump may have drawn in between: then the document and the newest values came in two frames.
    frames = [frame for frame in bridge.comm.frames if frame.head.get("edition") == 2]
    assert any(source.id in frame.head.get("document", "") for frame in frames)
    assert frames[-1].value(source, "y") == [6]
    assert all(frame.value(old_source, "y") is None for frame in frames)
    assert snapshot(bridge).value(old_source, "y") is None
    with pytest.raises(ValueError, match="not in the shown document"):
        bridge.put(old_source, **pair(2))


def test_the_same_models_may_be_shown_in_another_layout():
    shown, source = plot()
    bridge = Bridge(shown)
    bridge.show(column(shown))
    bridge.put(source, **pair(3))
    assert snapshot(bridge).value(source, "x") == [3]


def test_a_bridge_may_start_without_a_document():
    bridge = Bridge()
    assert snapshot(bridge).head["document"] is None
    shown, source = plot()
    bridge.show(shown)
    bridge.put(source, **pair(1))
    assert snapshot(bridge).head["document"]


def test_a_feed_may_show_a_new_document_and_fill_it():
    shown, source = plot()

    def feed():
        bridge.show(shown)
        yield source, pair(4)

    bridge = Bridge(feed=feed)
    bridge.touch()
    frame = bridge.comm.wait_for(lambda frames: frames and frames[-1])
    assert frame.head["document"] and frame.value(source, "y") == [4]


def test_what_a_feed_says_of_a_document_replaced_meanwhile_is_left_out():
    bridge, old_source = make()
    shown, source = plot()

    def feed():
        yield old_source, pair(1)
        bridge.show(shown)
        yield old_source, pair(2)
        yield source, pair(3)

    bridge._feed = feed
    bridge.draw()
    frame = bridge.comm.frames[-1]
    assert frame.errors == {} and list(frame.head["models"]) == [source.id]


def test_a_feed_that_puts_and_tells_does_not_keep_the_pump_awake():
    calls = []

    def feed():
        calls.append(None)
        bridge.put(source, **pair(len(calls)))
        bridge.tell(status={"level": "ok", "text": str(len(calls))})

    bridge, source = make(feed=feed)
    bridge.touch()
    bridge.comm.wait_for(lambda frames: frames)
    time.sleep(0.5)
    assert len(calls) == 1


# Values


def test_bad_values_raise_in_the_caller_and_name_the_column():
    bridge, source = make()
    source.name = "samples"
    with pytest.raises(TypeError, match=r"ColumnDataSource samples: column 'y' cannot be sent.*object"):
        bridge.put(source, x=np.zeros(1), y=np.array([object()]))
    with pytest.raises(TypeError, match="column 'x' must be an array or a list"):
        bridge.put(source, x=object())
    with pytest.raises(ValueError, match="samples: columns differ in length: 'x' has 2, 'y' has 3"):
        bridge.put(source, x=np.zeros(2), y=np.zeros(3))
    with pytest.raises(ValueError, match="column 'x' must have one dimension"):
        bridge.put(source, x=np.zeros((2, 2)))
    assert snapshot(bridge).head["models"] == {}


def test_bad_properties_raise_in_the_caller_and_name_the_property():
    shown, _ = plot()
    bridge = Bridge(shown)
    with pytest.raises(ValueError, match=r"Range1d .*: property 'begin' does not exist"):
        bridge.put(shown.x_range, begin=1)
    with pytest.raises(ValueError, match="property 'start' cannot be 'left'"):
        bridge.put(shown.x_range, start="left")
    with pytest.raises(ValueError, match="property 'start' must be finite"):
        bridge.put(shown.x_range, start=float("nan"))


@pytest.mark.parametrize(
    ("value", "dtype", "read"),
    [
        (np.array([True, False]), "uint8", [1, 0]),
        (np.array([1, 2**40]), "float64", [1.0, 2.0**40]),
        (np.array([1, 2], ">f4"), "float32", [1.0, 2.0]),
        (np.arange(4, dtype="int32")[::2], "int32", [0, 2]),
        ([0.5, np.float64(1)], "float64", [0.5, 1.0]),
        # Bokeh's axes count milliseconds since 1970.
        (np.array(["1970-01-01T00:00:01", "1970-01-02"], "M8[ns]"), "float64", [1000.0, 86400000.0]),
    ],
)
def test_columns_travel_as_arrays_that_a_browser_has(value, dtype, read):
    bridge, source = make()
    bridge.put(source, x=value, y=value)
    page = snapshot(bridge)
    assert page.head["models"][source.id]["x"]["d"] == dtype
    assert page.value(source, "x") == read


def test_nan_travels_in_arrays_and_strings_travel_in_lists():
    bridge, source = make()
    bridge.put(source, x=["a", "b"], y=np.array([1.0, np.nan]))
    page = snapshot(bridge)
    assert page.value(source, "x") == ["a", "b"]
    assert np.isnan(page.value(source, "y")[1])


def test_an_image_travels_as_an_array_inside_a_list():
    bridge, source = make()
    bridge.put(source, x=[np.zeros((2, 3), "u1")], y=[1])
    assert snapshot(bridge).head["models"][source.id]["x"] == [{"$": 0, "d": "uint8", "s": [2, 3]}]


# Text beside the plot


def test_tell_travels_until_it_is_taken_back():
    bridge, _ = make()
    table = {"columns": ["station", "latency_s"], "rows": [["WNG", 0.2], ["NGK", np.nan]]}
    bridge.tell(status={"level": "ok", "text": "live"}, table=table)
    bridge.flush()
    assert bridge.comm.frames[-1].head["parts"] == {
        "status": {"level": "ok", "text": "live"},
        "table": {"columns": ["station", "latency_s"], "rows": [["WNG", 0.2], ["NGK", None]]},
    }
    bridge.tell(table=None)
    assert list(snapshot(bridge).head["parts"]) == ["status"]


def test_tell_refuses_what_no_page_could_draw():
    bridge, _ = make()
    with pytest.raises(ValueError, match="status level must be one of ok, busy, off, got 'fine'"):
        bridge.tell(status={"level": "fine", "text": ""})
    with pytest.raises(ValueError, match="has 1 cells for 2 columns"):
        bridge.tell(table={"columns": ["a", "b"], "rows": [[1]]})
    with pytest.raises(ValueError, match="cannot tell 'footer'"):
        bridge.tell(footer="x")


def test_an_error_is_told_once_and_heals(caplog):
    bridge, _ = make()
    with caplog.at_level(logging.WARNING):
        bridge.fail("collector", "broker refused the connection")
        bridge.fail("collector", "broker refused the connection")
    assert len(caplog.records) == 1
    assert snapshot(bridge).errors == {"collector": "broker refused the connection"}
    bridge.heal("collector")
    assert snapshot(bridge).errors == {}


def test_a_feeds_error_is_told_and_heals():
    faulty = threading.Event()
    faulty.set()

    def feed():
        if faulty.is_set():
            raise ValueError("variometer went away")
        return [(source, pair(1))]

    bridge, source = make(feed=feed)
    bridge.touch()
    bridge.comm.wait_for(
        lambda frames: frames and "variometer went away" in frames[-1].errors.get("feed", "")
    )
    faulty.clear()
    bridge.touch()
    bridge.comm.wait_for(lambda frames: frames[-1].errors == {} and frames[-1].value(source, "x") == [1])


# Events


def test_handlers_run_on_the_loop_and_the_latest_event_wins():
    async def scenario():
        bridge, _ = make()
        seen = []
        bridge.on("range", lambda event: seen.append((event, threading.current_thread())))
        pages = threading.Thread(
            target=lambda: [bridge.comm.receive(**range_event(i, x0=i)) for i in range(1, 21)]
        )
        pages.start()
        pages.join()  # the loop is not free in between
        assert seen == []
        await asyncio.sleep(0)
        assert seen == [({"on": "trace", "x0": 20}, threading.main_thread())]
        assert bridge.comm.frames[-1].head["answered"] == {"p": 20}

    asyncio.run(scenario())


def test_a_gesture_is_answered_only_after_its_handler_ran():
    async def scenario():
        bridge, _ = make()
        bridge.on("range", lambda event: None)
        bridge.comm.receive(**range_event(1))
        assert snapshot(bridge).head["answered"] == {}
        await asyncio.sleep(0)
        assert snapshot(bridge).head["answered"] == {"p": 1}

    asyncio.run(scenario())


def test_each_frame_repeats_the_answer_so_a_lost_one_is_made_good():
    async def scenario():
        bridge, source = make()
        bridge.comm.receive(**range_event(3))
        await asyncio.sleep(0)
        bridge.put(source, **pair(1))
        bridge.flush()
        assert [frame.head["answered"] for frame in bridge.comm.frames[-2:]] == [{"p": 3}, {"p": 3}]

    asyncio.run(scenario())


def test_a_handlers_error_is_told_and_heals():
    async def scenario():
        bridge, _ = make()
        bridge.on("range", lambda event: 1 / event["x0"])
        bridge.comm.receive(**range_event(1, x0=0))
        await asyncio.sleep(0)
        assert "ZeroDivisionError" in bridge.comm.frames[-1].errors["on range"]
        bridge.comm.receive(**range_event(2, x0=1))
        await asyncio.sleep(0)
        assert bridge.comm.frames[-1].errors == {}

    asyncio.run(scenario())


def test_a_page_is_told_which_events_are_wanted():
    bridge, _ = make()
    assert snapshot(bridge).head["handled"] == []
    assert bridge.on("reset", print).on("range", print) is bridge
    assert snapshot(bridge).head["handled"] == ["range", "reset"]
    with pytest.raises(
        ValueError, match="no event 'click'; one of drag, press, range, reset, resize, select"
    ):
        bridge.on("click", print)


# Silence


async def _produce(bridge, source, seconds, blocking=False):
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        bridge.put(source, **pair(0))
        time.sleep(0.01) if blocking else await asyncio.sleep(0.01)


def _count_frames_while_silent(blocking, make_bridge):
    async def scenario():
        bridge, source = make_bridge()
        bridge._audience.AHEAD = 3
        await _produce(bridge, source, 1.5, blocking)
        silent = bridge.frames_sent
        bridge.comm.receive(k="ack")
        bridge.put(source, **pair(9))
        bridge.comm.wait_for(lambda frames: frames[-1].value(source, "y") == [9])
        return silent, bridge.frames_held

    return asyncio.run(scenario())


def test_sending_pauses_when_no_page_listens_and_resumes_when_one_does():
    sent, held = _count_frames_while_silent(blocking=False, make_bridge=make)
    assert sent <= 5 and held > 0


def test_sending_goes_on_while_a_cell_blocks_the_main_loop():
    sent, held = _count_frames_while_silent(blocking=True, make_bridge=make)
    assert sent > 5 and held == 0


def test_a_bridge_made_without_a_running_loop_finds_it_with_the_first_message():
    bridge, source = make()  # as in a plain thread or script: no loop runs here

    def greet():
        bridge.comm.receive(k="ack")
        return bridge, source

    sent, held = _count_frames_while_silent(blocking=False, make_bridge=greet)
    assert sent <= 5 and held > 0


# The end


def test_close_during_a_flush_waits_for_it_and_later_values_are_ignored():
    bridge, source = make()
    comm, sending, go_on = bridge.comm, threading.Event(), threading.Event()

    def slowly():
        sending.set()
        go_on.wait(5)

    comm.sending = slowly
    bridge.put(source, **pair(1))
    assert sending.wait(5)
    closer = threading.Thread(target=bridge.close)
    closer.start()
    assert not comm.closed
    go_on.set()
    closer.join(5)
    assert comm.closed and comm.frames[-1].value(source, "x") == [1]
    bridge.put(source, **pair(2))
    bridge.touch()
    bridge.draw()
    bridge.close()
    assert len(comm.frames) == 1


def test_a_closed_bridge_is_collected():
    bridge, source = make(feed=lambda: None)
    bridge.on("range", bridge.put)
    bridge.put(source, **pair(1))
    bridge.comm.wait_for(lambda frames: frames)
    reference = weakref.ref(bridge)
    bridge.close()
    del bridge
    for _ in range(100):
        gc.collect()
        if reference() is None:
            return
        time.sleep(0.05)
    raise AssertionError(f"still held by {gc.get_referrers(reference())}")


def test_bridges_share_one_library():
    assert make()[0].library is make()[0].library


def test_repr_and_summary_are_stable():
    bridge, source = make(label="Wingst")
    bridge.put(source, x=np.ones(3), y=np.ones(3))
    assert repr(bridge) == "<Bridge 'Wingst'>"
    assert bridge.summary() == "Wingst: 1 models, 6 values"
