import numpy as np
import pytest
from telemetry.makers import GSM, LEMI, NS, arrivals, batch, scalar_meta, vector_meta
from telemetry.test_chunk import storm_day
from telemetry.test_sealed import ALL, DAY_S, at, came_after, day

from obslab.errors import NoLabError, TableError
from obslab.telemetry.archive import lazy, sealed
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.datasets import samples_schema
from obslab.telemetry.sample import as_datetime

METAS = {LEMI.meta_topic: (vector_meta(),), GSM.meta_topic: (scalar_meta(),)}


@pytest.fixture
def week(archive):
    """Seven days of a hundred samples: four sealed, one of them with late samples, three hot."""
    archive.add(batch(*(day(number, 100) for number in range(7)), metas=METAS))
    archive.seal(at(7))
    archive.add(batch(came_after(day(2, 5, start=500), 5 * DAY_S)))
    return archive


@pytest.fixture
def opened(monkeypatch):
    """The chunk files that were read."""
    read, load = [], sealed.load

    def noted(folder, row):
        read.append(row.file)
        return load(folder, row)

    monkeypatch.setattr(sealed, "load", noted)
    return read


def test_opening_reads_no_whole_day_and_computing_gives_what_reading_at_once_gives(week, opened):
    dataset = week.dataset("PEA", "lemi0001", lazy=True)
    late_day = [file for file in opened if "2024-05-12" not in file]
    assert late_day == []
    assert dataset.sizes["time"] == 705
    assert dataset.x.chunksizes["time"] == (100, 100, 105, 100, 100, 100, 100)
    samples_schema(dict.fromkeys("xyz", "nT")).check(dataset)
    eager = week.dataset("PEA", "lemi0001")
    opened.clear()
    computed = dataset.compute()
    assert len(opened) == len(set(opened)) == 3  # once each, not once for each variable
    assert computed.equals(eager)
    assert computed.attrs == eager.attrs
    for name in ("x", "arrival"):
        assert computed[name].attrs == eager[name].attrs


def test_an_interval_that_cuts_days_is_cut_exactly(week):
    begin, end = at(1, 50), at(5, 20)
    dataset = week.dataset("PEA", "lemi0001", begin, end, lazy=True)
    assert dataset.compute().equals(week.dataset("PEA", "lemi0001", begin, end))
    assert dataset.sizes["time"] == 50 + 105 + 100 + 100 + 20


def test_a_part_reads_only_its_days(week, opened):
    dataset = week.dataset("PEA", "lemi0001", lazy=True)
    opened.clear()
    np.testing.assert_array_equal(
        dataset.x.isel(time=slice(350, 360)), (np.arange(45, 55) + at(3) // NS) * 0.001
    )
    assert [file[-16:-6] for file in opened] == ["2024-05-13"]


def test_times_can_be_made_an_index_when_wanted(week):
    dataset = week.dataset("PEA", "lemi0001", lazy=True).set_xindex("time")
    assert dataset.sel(time=slice("2024-05-12", "2024-05-12T00:01:00")).sizes["time"] == 61


def test_components_that_change_are_columns_of_their_own(archive):
    turned = vector_meta(valid_from=as_datetime(at(1)), components=("h", "e", "z"), scale=0.1)
    archive.add(batch(day(0), day(1), metas={LEMI.meta_topic: (vector_meta(), turned)}))
    archive.seal(at(30))
    dataset = archive.dataset("PEA", "lemi0001", lazy=True)
    assert dataset.compute().equals(archive.dataset("PEA", "lemi0001"))
    assert np.isnan(dataset.h.values[:10]).all()
    assert np.isfinite(dataset.h.values[10:]).all()


def test_quality_is_there_for_a_scalar_and_only_for_one(archive):
    word = ((4_862_279 << 8) | 99).to_bytes(4, "little")
    archive.add(batch(arrivals([at(0) // NS], [word], stream=GSM), day(0), metas=METAS))
    archive.seal(at(800))
    assert archive.dataset("PEA", "gsm0001", lazy=True).quality.values.tolist() == [99]
    assert "quality" not in archive.dataset("PEA", "lemi0001", lazy=True)


def test_an_empty_interval_is_an_empty_dataset(week):
    dataset = week.dataset("PEA", "lemi0001", at(40), at(41), lazy=True)
    samples_schema(dict.fromkeys("xyz", "nT")).check(dataset)
    assert dataset.sizes["time"] == 0


def test_a_dataset_opened_before_a_day_is_sealed_anew_is_still_what_it_was(week):
    dataset = week.dataset("PEA", "lemi0001", lazy=True)
    before = week.dataset("PEA", "lemi0001")
    week.add(batch(came_after(day(0, 3, start=700), 9 * DAY_S)))
    assert week.seal(at(9)) >= 1
    assert dataset.compute().equals(before)
    assert week.dataset("PEA", "lemi0001", lazy=True).sizes["time"] == 708


def test_a_damaged_day_is_named_when_it_is_computed(week):
    with week._hot.reading() as query:
        row = week._hot.sealed.in_state(query, "sealed")[-1]
    file = week.path / row.file
    file.write_bytes(file.read_bytes()[:-1])
    dataset = week.dataset("PEA", "lemi0001", lazy=True)
    with pytest.raises(TableError, match=r"\.1\.obc is damaged .*archive info .* --repair"):
        dataset.compute()
    file.unlink()
    with pytest.raises(TableError, match="the file is missing"):
        dataset.compute()


def test_without_dask_it_is_told_what_is_missing(week, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *more):
        if name.startswith("dask"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NoLabError, match="needs Dask"):
        lazy.for_each(len, [])


def _answers(archive):
    asked = {"end": at(7), "now": at(7)}
    return [archive.latency(**asked), archive.gaps(**asked), archive.completeness(by="day", **asked)]


@pytest.mark.long
def test_the_same_calls_run_on_a_cluster(week, tmp_path):
    distributed = pytest.importorskip("distributed")
    eager = week.dataset("PEA", "lemi0001")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path / "dask"
        ) as cluster,
        distributed.Client(cluster) as client,
        open_archive(week.path) as reader,
    ):
        assert reader.dataset("PEA", "lemi0001", lazy=True).compute().equals(eager)
        exact = reader.days(LEMI, *ALL, exact=True)
        assert [one.n for one in exact] == [100, 100, 105, *[100] * 4]
        for there, here in zip(client.submit(_answers, reader).result(), _answers(reader), strict=True):
            assert there.identical(here)
        stored = reader.days(LEMI, *ALL)
        assert [one.encode() for one in exact[3:]] == [one.encode() for one in stored[3:]]


@pytest.mark.long
def test_a_year_opens_lazily_and_its_summaries_are_those_of_its_samples(tmp_path):
    """31.5 million samples with arrivals to a millisecond, at most ten bytes each."""
    rng = np.random.default_rng(3)
    with open_archive(tmp_path, write=True) as archive:
        for number in range(365):
            made = storm_day(rng)
            keep = np.flatnonzero(rng.random(len(made)) > 1e-4)
            part = made.take(keep)
            shift = at(number) - made.time_ns[0]
            meta = vector_meta() if number == 0 else None
            archive.import_day(LEMI, meta, part.time_ns + shift, part.arrival_ns + shift, part.bodies)
        size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        dataset = archive.dataset("PEA", "lemi0001", lazy=True)
        n = dataset.sizes["time"]
        assert n > 31_500_000
        assert size / n <= 10
        assert dataset.x.mean().compute() == pytest.approx(20_000, abs=50)  # nT: what the field wanders about
        stored, exact = archive.days(LEMI, *ALL), archive.days(LEMI, *ALL, exact=True)
        assert [one.encode() for one in stored] == [one.encode() for one in exact]
        assert sum(one.n for one in stored) == n
