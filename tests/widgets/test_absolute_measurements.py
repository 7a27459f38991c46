"""Streams without a cadence in what was made for those with one: few points a day, minutes old by nature."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from obslab_widgets.envelope import envelope
from obslab_widgets.latency_dashboard.answer import ask
from obslab_widgets.latency_dashboard.curves import curves
from obslab_widgets.latency_dashboard.model import frame
from obslab_widgets.latency_dashboard.state import State as Chosen
from obslab_widgets.stream_viewer.state import State
from obslab_widgets.stream_viewer.tracks import look, whole_length_s
from widgets.observatory import DAY_NS, LEMI, NS, fill

from obslab.telemetry import codec
from obslab.telemetry.absolutes.simulating import LASTING_S
from obslab.telemetry.archive.batch import Arrivals, Batch
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.live.sources import source_of
from obslab.telemetry.sample import Clock, Stream, as_datetime
from obslab.telemetry.station.autodif import Autodif
from obslab.telemetry.station.recording import STORM, Recording
from obslab.times import as_ns

ABS = Stream("PEA", "autodif01", "abs")
END_NS = as_ns("2024-05-12T00:00:00Z")
CLOCK = Clock(as_datetime(END_NS), as_datetime(END_NS))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Two days of a variometer over a satellite, and ten measurements that came a second after each."""
    path = fill(tmp_path_factory.mktemp("archive"), END_NS, 2)
    about = Recording.read(STORM).tracks[0].meta
    field = np.array([13_000.0, -3_000.0, -36_000.0])
    device = Autodif(ABS, lambda time_ns: np.tile(field, (time_ns.size, 1)), about)
    device.resume(END_NS - 2 * DAY_NS, END_NS - 2 * DAY_NS)
    sent = list(device.due(END_NS))
    meta = msgspec.structs.replace(device.meta(CLOCK), valid_from=as_datetime(0), clock=None)
    time_ns, bodies = codec.split(ABS, meta, [payload for _, _, payload in sent])
    arrivals = Arrivals(ABS, time_ns, time_ns + (LASTING_S + 1) * NS, 192, bodies, np.zeros(len(sent), bool))
    with open_archive(path, write=True) as archive:
        archive.add(Batch(arrivals=[arrivals], metas={ABS.meta_topic: (meta,)}))
    return path


@pytest.fixture
def archive(path):
    with open_archive(path) as archive:
        yield archive


def test_points_without_a_cadence_are_joined_by_no_line():
    times = np.array([0, 1, 20_000, 50_000]) * NS
    kept_times, kept = envelope(times, np.arange(4.0), np.inf, 0, 60_000 * NS, 100)
    assert np.flatnonzero(np.isnan(kept)).tolist() == [1, 3, 5]
    assert kept_times[::2].tolist() == times.tolist()
    assert kept[::2].tolist() == [0, 1, 2, 3]


def test_a_window_holds_the_measurements_in_it(archive):
    source = source_of(archive)
    source.reach(2 * 86_400.0)
    by_stream = {
        track.readings.stream: track
        for track in look(source, State(window_s=86_400.0, until_ns=END_NS), END_NS)
    }
    assert by_stream[ABS].readings.time_ns.size == 5
    assert by_stream[LEMI].readings.time_ns.size >= 86_400


def test_the_minutes_that_a_measurement_takes_are_no_lag(archive):
    source = source_of(archive)
    source.reach(2 * 86_400.0)
    newest_ns = archive.span(ABS)[1]
    tracks = look(source, State(), newest_ns + (LASTING_S + 2) * NS)
    lag_s = next(track.lag_s for track in tracks if track.readings.stream == ABS)
    assert lag_s == pytest.approx(1.0)


def test_a_dataset_of_measurements_has_a_window_that_holds_them_all(archive):
    source = source_of(archive.dataset("PEA", "autodif01"))
    length_s = whole_length_s(source)
    assert np.isfinite(length_s)
    (track,) = look(source, State(window_s=length_s), END_NS)
    assert track.readings.time_ns.size == 10


def test_the_dashboard_compares_what_has_a_cadence_and_counts_the_rest(archive):
    state = Chosen(period_s=2 * 86_400.0)
    found = ask(archive, state, END_NS)
    assert [curve.name for curve in curves(found)] == ["half within", "90 % within", "99 % within"]
    assert set(found.latency.stream.values) == {"PEA lemi0001 sec"}
    assert float(found.histogram.high_s.max()) < 300  # no bar of ten minutes
    assert set(found.completeness.stream.values) == {"PEA lemi0001 sec", "PEA autodif01 abs"}
    assert frame(found).calendar.days == 2
    alone = ask(archive, replace(state, scope=str(ABS)), END_NS)
    assert set(alone.latency.stream.values) == {str(ABS)}
    assert frame(alone).curves
    assert int(alone.completeness.present.sum()) == int(alone.completeness.expected.sum()) == 10
