"""Adjusted components and delta-F of a live source: as samples come, late ones too, each computed once."""

import threading

import numpy as np
import pytest
from telemetry import observatory
from telemetry.makers import wait_for
from telemetry.observatory import ADJ, DAY_NS, GP20, LEMI, NOON, NS, PIER_NT, baseline, seconds, truth

from obslab import conrad
from obslab.telemetry.baseline.folder import Baselines
from obslab.telemetry.datasets import samples_dataset, samples_schema
from obslab.telemetry.live.derived import DerivedSource
from obslab.telemetry.live.ring import Ring
from obslab.telemetry.live.sources import source_of
from obslab.telemetry.readings import Readings
from obslab.telemetry.sample import Stream
from obslab.times import from_ns

ALL = (-(2**63), 2**63 - 1)
DELTA = Stream("WIC", "delta-f")
SAME_NT = 0.002  # the archive keeps 0.001 nT, the scalar 0.01


@pytest.fixture
def follow(archive):
    """Starts a source of the test's archive, and stops it after the test."""
    started = []

    def run(baselines=None, window_s=3600.0):
        source = DerivedSource(source_of(archive), baselines)
        source.reach(window_s)
        source.start(lambda: None)
        started.append(source)
        return source

    yield run
    for source in started:
        source.stop()


def ring_of(source, stream):
    return next((ring for ring in source.rings() if ring.stream == stream), None)


def held(source, stream=ADJ):
    ring = ring_of(source, stream)
    return ring.between(*ALL) if ring else None


def count(source, stream=ADJ):
    readings = held(source, stream)
    return 0 if readings is None else readings.time_ns.size


def test_history_opens_adjusted_and_with_delta_f(archive, follow):
    observatory.fill(archive, seconds(100))
    source = follow(baseline())
    adjusted, delta = held(source), held(source, DELTA)
    np.testing.assert_allclose(adjusted.values, truth(adjusted.time_ns), atol=SAME_NT)
    assert (adjusted.components, adjusted.units) == (("x", "y", "z"), ("nT",) * 3)
    # Scalar plus pier difference is the field itself: to the scalar's resolution nothing is left.
    np.testing.assert_allclose(delta.values, 0.0, atol=0.01)
    assert delta.components == ("delta_f",) and delta.time_ns.size == 100


def test_samples_that_come_are_adjusted_once_and_late_ones_too(archive, follow, monkeypatch):
    observatory.fill(archive, seconds(50))
    source = follow(baseline())
    computed = []
    made_of = type(source._recipes[ADJ]).made_of

    def noted(recipe, readings):
        computed.extend(readings[0].time_ns.tolist())
        return made_of(recipe, readings)

    monkeypatch.setattr(type(source._recipes[ADJ]), "made_of", noted)
    observatory.fill(archive, seconds(10, NOON + 60 * NS))
    wait_for(lambda: count(source) == 60, what="new samples")
    observatory.fill(archive, seconds(10, NOON + 50 * NS))
    wait_for(lambda: count(source) == 70 and count(source, DELTA) == 70, what="late samples")
    assert sorted(computed) == (NOON + np.arange(50, 70) * NS).tolist()
    adjusted = held(source)
    np.testing.assert_allclose(adjusted.values, truth(adjusted.time_ns), atol=SAME_NT)


def test_history_comes_when_the_window_grows(archive, follow):
    observatory.fill(archive, seconds(500))
    source = follow(baseline(), window_s=10.0)
    assert count(source) == 11
    source.reach(300.0)
    assert count(source) == count(source, DELTA) == 301


def test_without_a_baseline_delta_f_is_of_the_raw_field_and_its_median_is_known(archive, follow):
    """The median of S - F(H, E, Z) in the storm is -11.7 nT (the research note on these data)."""
    vector, scalar = conrad.day("2024-05-10").tracks
    datasets = [
        samples_schema(dict.fromkeys(names, "nT")).build(
            {"station": "WIC", "instrument": track.stream.instrument, "samplerate": "sec"},
            time=from_ns(track.time_ns),
            **dict(zip(names, track.values.T, strict=True)),
        )
        for track, names in ((vector, "hez"), (scalar, "f"))
    ]
    source = DerivedSource(source_of(datasets))
    source.reach(60.0)
    assert np.nanmedian(held(source, DELTA).values) == pytest.approx(-11.7, abs=0.05)
    assert ring_of(source, Stream("WIC", "lemi036-adj")) is None


def test_without_a_baseline_a_vector_of_variations_has_no_delta_f(archive, follow):
    observatory.fill(archive, seconds(50))
    datasets = [archive.dataset("WIC", "lemi036"), archive.dataset("WIC", "gp20s3")]
    datasets[0] = datasets[0].assign(h=datasets[0].h - datasets[0].h.mean(), z=datasets[0].z * 0.001)
    source = DerivedSource(source_of(datasets))
    source.reach(60.0)
    assert held(source, DELTA) is None


def test_the_pier_difference_of_the_baseline_counts(archive, follow):
    observatory.fill(archive, seconds(50))
    source = follow(baseline(pier_difference_nt=PIER_NT + 5.0))
    np.testing.assert_allclose(held(source, DELTA).values, 5.0, atol=0.01)


def test_samples_without_a_baseline_are_missing_and_the_status_says_so(archive, follow):
    observatory.fill(archive, seconds(20))
    half = baseline(end=str(from_ns([NOON + 10 * NS])[0]) + "Z")
    source = follow(half)
    missing = np.isnan(held(source).values).all(axis=1)
    assert missing.tolist() == [False] * 10 + [True] * 10
    assert "no baseline of WIC lemi036 is valid now, only from 2024-05-01" in source.condition().text


def test_a_station_without_any_baseline_is_shown_raw_and_the_status_says_so(archive, follow, tmp_path):
    observatory.fill(archive, seconds(20))
    source = follow(tmp_path / "baselines")
    assert held(source) is None and count(source, LEMI) == 20
    assert "no baseline was adopted for WIC lemi036: raw only" in source.condition().text


def test_a_baseline_adopted_meanwhile_counts_for_all_that_is_shown(archive, follow, tmp_path, monkeypatch):
    monkeypatch.setattr("obslab.telemetry.live.derived._LOOK_S", 0.05)
    folder = Baselines(tmp_path / "baselines")
    folder.adopt(baseline())
    observatory.fill(archive, seconds(50))
    source = follow(folder.folder)
    np.testing.assert_allclose(held(source).values, truth(seconds(50)), atol=SAME_NT)
    folder.adopt(baseline(more=(0.0, 0.0, 7.0), adopted="2024-06-03"))
    wanted = truth(seconds(50)) + np.array([0.0, 0.0, 7.0])
    wait_for(lambda: count(source) == 50 and np.allclose(held(source).values, wanted, atol=SAME_NT))


def test_a_damaged_baseline_is_told_and_raw_samples_go_on(archive, follow, tmp_path):
    folder = Baselines(tmp_path / "baselines")
    folder.adopt(baseline()).write_text("{}")
    observatory.fill(archive, seconds(20))
    source = follow(folder.folder)
    assert "not adjusted:" in source.condition().text and count(source, LEMI) == 20


def test_a_stored_adjusted_stream_is_taken_as_it_is(archive, follow):
    observatory.fill(archive, seconds(20))
    meta = observatory.VECTOR.__class__(
        kind="vector", components=("x", "y", "z"), scale=0.001, publication_level=2, **observatory.FACTS
    )
    stored = truth(seconds(20)) + 3.0
    batch = observatory.Batch(
        arrivals=[observatory.samples(ADJ, meta, seconds(20), stored)], metas={ADJ.meta_topic: (meta,)}
    )
    archive.add(batch)
    source = follow(baseline())
    assert set(source._recipes) == {DELTA}
    np.testing.assert_allclose(held(source).values, stored, atol=SAME_NT)
    lengths = np.sqrt((stored**2).sum(axis=1)) - np.sqrt((truth(seconds(20)) ** 2).sum(axis=1))
    np.testing.assert_allclose(held(source, DELTA).values[:, 0], -lengths, atol=0.01)


def test_missing_raw_samples_are_missing(archive, follow):
    values = observatory.raw(seconds(5))
    values[2, 1] = np.nan
    batch = observatory.Batch(
        arrivals=[observatory.samples(LEMI, observatory.VECTOR, seconds(5), values)],
        metas={LEMI.meta_topic: (observatory.VECTOR,)},
    )
    archive.add(batch)
    source = follow(baseline())
    assert np.isnan(held(source).values).any(axis=1).tolist() == [False, False, True, False, False]


def test_what_has_left_the_rings_is_computed_from_the_archive(archive, follow):
    observatory.fill(archive, seconds(100))
    source = follow(baseline(), window_s=5.0)
    older = source.older(ADJ, NOON, NOON + 50 * NS)
    np.testing.assert_allclose(older.values, truth(seconds(50)), atol=SAME_NT)
    assert source.older(DELTA, NOON, NOON + 50 * NS).time_ns.size == 50
    assert source.older(DELTA, NOON - DAY_NS, NOON - DAY_NS // 2) is None


def test_metadata_and_origins_of_computed_streams_are_those_of_their_instruments(archive, follow):
    observatory.fill(archive, seconds(5))
    source = follow(baseline())
    meta = source.meta(ADJ)
    assert (meta.site, meta.components, meta.publication_level) == (
        "Conrad Observatory",
        ("x", "y", "z"),
        2,
    )
    assert source.meta(DELTA).components == ("delta_f",)
    assert source.origins(ADJ) == (LEMI,) and source.origins(DELTA) == (LEMI, GP20)
    assert source.origins(LEMI) == (LEMI,)


def test_two_vectors_have_a_delta_f_each(archive, follow):
    observatory.fill(archive, seconds(20))
    vector = archive.dataset("WIC", "lemi036")
    other = vector.assign_attrs(instrument="spare01")
    source = DerivedSource(source_of([vector, other, archive.dataset("WIC", "gp20s3")]), baseline())
    source.reach(60.0)
    names = {ring.stream.instrument for ring in source.rings()}
    assert {"delta-f", "lemi036-adj", "lemi036", "spare01", "gp20s3"} <= names


# ---- what a ring tells of its news


def readings(*places):
    time_ns = NOON + np.array(places, dtype=np.int64) * NS
    values = np.array(places, dtype=float)[:, None]
    return Readings(GP20, ("f",), ("nT",), time_ns, time_ns, values, np.zeros(time_ns.size, np.uint8))


def test_a_ring_tells_the_times_of_what_was_added_since():
    ring = Ring(GP20, ("f",), ("nT",))
    ring.append(readings(1, 2))
    mark, news = ring.news(0)
    assert ((news - NOON) // NS).tolist() == [1, 2]
    ring.append(readings(9))
    ring.append(readings(5))
    mark, news = ring.news(mark)
    assert ((news - NOON) // NS).tolist() == [9, 5]
    assert ring.news(mark)[1].size == 0


def test_a_ring_that_was_added_too_much_says_look_at_all():
    ring = Ring(GP20, ("f",), ("nT",))
    ring.append(readings(*range(30_000)))
    mark, news = ring.news(0)
    assert news is None and ring.news(mark)[1].size == 0


def test_a_ring_gives_the_samples_of_chosen_times_in_order():
    ring = Ring(GP20, ("f",), ("nT",))
    ring.append(readings(5, 1, 3))
    wanted = NOON + np.array([3, 4, 1, 99, 3]) * NS
    assert ring.at(wanted).values[:, 0].tolist() == [1.0, 3.0]
    assert ring.at(wanted[:0]).time_ns.size == 0


def test_no_thread_of_a_closed_source_remains(archive, follow):
    observatory.fill(archive, seconds(5))
    source = follow(baseline())
    source.stop()
    wait_for(lambda: not any(thread.name == "obslab-follow" for thread in threading.enumerate()))


def test_a_day_is_a_dataset_as_an_archive_gives(archive, follow):
    observatory.fill(archive, seconds(5))
    source = follow(baseline())
    dataset = samples_dataset(held(source), source.meta(ADJ))
    assert dataset.attrs["publication_level"] == 2 and set("xyz") <= set(dataset)
