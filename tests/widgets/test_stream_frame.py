"""What the stream viewer draws, without a browser and without a toolkit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from obslab_widgets.parts import PALETTE
from obslab_widgets.stream_viewer.model import COLUMNS, frame
from obslab_widgets.stream_viewer.state import Selection, State
from obslab_widgets.stream_viewer.tracks import Track, in_window, trace_names
from obslab_widgets.wording import duration

from obslab.telemetry.live.source import Condition
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Clock, Stream
from obslab.times import as_ns

NS = 1_000_000_000
NOW_NS = as_ns("2024-05-10T17:10:00Z")
FINE = Condition("ok", "connected to mqtt://127.0.0.1:1883")


def track(station="PEA", instrument="lemi0001", components=("x", "y", "z"), clock=None, seconds=600, **how):
    end_ns = clock.at(NOW_NS) if clock else NOW_NS
    time_ns = end_ns - np.arange(seconds, 0, -1, dtype=np.int64) * NS
    values = np.stack([1000.0 * i + np.sin(time_ns / NS / 50) for i in range(len(components))], axis=1)
    readings = Readings(
        Stream(station, instrument),
        components,
        ("nT",) * len(components),
        time_ns,
        time_ns,
        values,
        np.zeros(seconds, dtype=np.uint8),
    )
    return replace(Track(readings, clock, "", end_ns, int(time_ns[-1]), 1.0, 0.3), **how)


def fast_clock():
    wall = datetime(2024, 5, 10, 17, 9, tzinfo=UTC)
    return Clock(wall + timedelta(hours=1), wall, 30.0, datetime(2024, 5, 10, 16, 50, tzinfo=UTC))


def test_stacked_axes_have_one_panel_for_each_trace():
    drawn = frame(State(), [track(), track(instrument="gsm90001", components=("f",))], FINE, NOW_NS)
    (group,) = drawn.groups
    assert [panel.label for panel in group.panels] == ["X (nT)", "Y (nT)", "Z (nT)", "F (nT)"]
    assert [panel.traces[0].name for panel in group.panels][-1] == "PEA gsm90001 f"
    assert len({panel.traces[0].colour for panel in group.panels}) == 4


def test_common_axes_show_traces_from_their_medians_and_keep_their_values():
    drawn = frame(State(axes="common"), [track()], FINE, NOW_NS)
    (panel,) = drawn.groups[0].panels
    for trace, offset in zip(panel.traces, (0, 1000, 2000), strict=True):
        assert np.median(trace.value) == pytest.approx(offset, abs=1.0)
        assert np.median(trace.y) == pytest.approx(0.0, abs=1e-9)
    assert panel.y0 < min(trace.y.min() for trace in panel.traces)
    assert panel.y1 > max(trace.y.max() for trace in panel.traces)


def test_stations_with_different_clocks_have_time_axes_of_their_own():
    drawn = frame(State(window_s=60), [track(), track("WIC", "lemi036", clock=fast_clock())], FINE, NOW_NS)
    ends = {group.name: group.end_ns for group in drawn.groups}
    # The replay's clock ran 30 times as fast for one minute, from an hour ahead.
    assert ends == {"PEA": NOW_NS, "WIC": as_ns("2024-05-10T18:39:00Z")}
    assert all(group.end_ns - group.begin_ns == 60 * NS for group in drawn.groups)
    wic = next(group for group in drawn.groups if group.name == "WIC")
    assert "30 x" in wic.title and "2024-05-10 17:20 UTC" in wic.title


def test_hidden_traces_are_not_drawn_and_others_keep_their_colours():
    shown = frame(State(), [track()], FINE, NOW_NS).groups[0].panels
    less = frame(State(hidden=("PEA lemi0001 x",)), [track()], FINE, NOW_NS).groups[0].panels
    assert [panel.name for panel in less] == ["PEA lemi0001 y", "PEA lemi0001 z"]
    assert [panel.traces[0].colour for panel in less] == [panel.traces[0].colour for panel in shown[1:]]


def test_autoscale_holds_all_samples_and_stands_still_while_they_creep():
    first = frame(State(), [track()], FINE, NOW_NS).groups[0].panels[0]
    values = track().readings.values
    assert first.y0 < values[:, 0].min() and first.y1 > values[:, 0].max()
    moved = track()
    moved.readings.values[:, 0] += 0.001
    again = frame(State(), [moved], FINE, NOW_NS).groups[0].panels[0]
    assert (again.y0, again.y1) == (first.y0, first.y1)


def test_a_fixed_span_is_the_same_height_for_every_panel():
    panels = frame(State(span=50.0), [track()], FINE, NOW_NS).groups[0].panels
    assert {round(panel.y1 - panel.y0, 9) for panel in panels} == {50.0}
    assert all(panel.y0 < panel.traces[0].y[0] < panel.y1 for panel in panels)


def test_structure_changes_with_traces_and_not_with_time():
    one = frame(State(), [track()], FINE, NOW_NS)
    later = frame(State(), [track()], FINE, NOW_NS + NS)
    more = frame(State(), [track(), track(instrument="gsm90001", components=("f",))], FINE, NOW_NS)
    assert one.structure == later.structure != more.structure


def test_the_table_gives_age_rate_and_lag_of_every_stream():
    (row,) = frame(State(), [track(latest_ns=NOW_NS - 200 * NS)], FINE, NOW_NS).table
    assert dict(zip(COLUMNS, row, strict=True)) == {
        "Station": "PEA",
        "Instrument": "lemi0001",
        "Samples/s": "1.0",
        "Age": "3 min 20 s",
        "Lag": "0.30 s",
        "Newest sample (UTC)": "2024-05-10T17:06:40Z",
        "Clock": "UTC",
    }


def test_an_age_is_told_by_the_clock_of_the_station():
    clock = fast_clock()
    (row,) = frame(State(), [track("WIC", "lemi036", clock=clock)], FINE, NOW_NS).table
    assert row[3] == "1.0 s"


def test_the_status_says_connection_lag_dropped_and_rejected():
    drawn = frame(State(), [track()], Condition("ok", "connected to x", 3, 4), NOW_NS)
    assert (drawn.level, drawn.status) == ("ok", "connected to x · lag 0.3 s · 3 dropped · 4 rejected")


def test_a_viewer_without_samples_says_so_and_is_not_blank():
    drawn = frame(State(), [], Condition("off", "disconnected: no broker answers"), NOW_NS)
    assert drawn.groups == () and drawn.level == "off"
    assert drawn.status.startswith("disconnected: no broker answers · no samples yet")


def test_a_marked_interval_is_drawn_on_its_own_group_only():
    marked = Selection("WIC", NOW_NS - 10 * NS, NOW_NS)
    drawn = frame(State(selection=marked), [track(), track("WIC", "a", clock=fast_clock())], FINE, NOW_NS)
    assert {group.name: group.marked for group in drawn.groups} == {
        "PEA": None,
        "WIC": ((NOW_NS - 10 * NS) / 1e6, NOW_NS / 1e6),
    }


def test_the_dataset_is_what_the_window_shows():
    dataset = in_window([track(seconds=600)], State(window_s=100, hidden=("PEA lemi0001 z",)))
    assert list(dataset) == ["pea_lemi0001_arrival", "pea_lemi0001_x", "pea_lemi0001_y"]
    assert dataset.sizes["time"] == 100
    assert dataset.pea_lemi0001_x.attrs["units"] == "nT"


def test_the_dataset_of_a_marked_interval_is_that_interval():
    marked = Selection("PEA", NOW_NS - 30 * NS, NOW_NS - 20 * NS)
    dataset = in_window([track()], State(selection=marked))
    assert dataset.time.values[0] == np.datetime64(marked.begin_ns, "ns")
    assert dataset.sizes["time"] == 10


def test_names_of_traces_are_station_instrument_component():
    assert trace_names([track()]) == ["PEA lemi0001 x", "PEA lemi0001 y", "PEA lemi0001 z"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.21, "3.2 s"), (320, "5 min 20 s"), (600, "10 min"), (7500, "2 h 05 min"), (356_400, "4 d 3 h")],
)
def test_lengths_of_time_are_told_for_people(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize("paper", ["#ffffff", "#111111"])
def test_every_colour_can_be_seen_on_light_and_dark(paper):
    # WCAG 2.1, 1.4.11: graphics need a contrast of 3:1 with what is around them.
    for colour in PALETTE:
        light, dark = sorted((_luminance(colour), _luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, colour


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
