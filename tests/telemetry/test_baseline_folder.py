"""The folder of adopted baselines: nothing overwritten, nothing half there, the newest adoption holds."""

import os

import numpy as np
import pytest
from telemetry.spot_tables import at_days, drifting, simulated, spot_table

from obslab.errors import BaselineError, NoBaselineError
from obslab.telemetry import ibfv
from obslab.telemetry.baseline import Baseline, Baselines, fit
from obslab.times import as_utc


def adopted(
    begin=0, end=100, now="2024-06-01", seed=1, instrument="lemi036", author="A. Observer", **options
):
    """A baseline valid from and to so many days after BEGIN."""
    table, _ = simulated(np.random.default_rng(seed), count=20, span=100.0)
    found = fit(table.assign_attrs(instrument=instrument), begin=at_days(begin), end=at_days(end), **options)
    return found.baseline.adopted(author, "for the yearbook", now)


def test_what_is_adopted_is_found_again(tmp_path):
    baselines, one = Baselines(tmp_path / "baselines"), adopted()
    path = baselines.adopt(one)
    assert path.name == f"WIC-lemi036-20240101-{one.id[:8]}.json"
    assert Baseline.from_json(path.read_bytes()) == one
    assert baselines.all() == [one] == list(Baselines(path.parent))
    assert baselines.at("WIC", "lemi036", at_days(50)) == one
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.stem}-2024.blv"}


def test_the_year_file_has_the_spots_and_the_curve(tmp_path):
    table, days = simulated(np.random.default_rng(1), count=40, step_day=200, step=1.0)
    step = at_days(200.75)
    found = fit(table, steps=[step], begin=at_days(10.25), end=at_days(390))
    one = found.baseline.adopted("Müller Дмитрий", "jährlich", "2025-06-01")
    path = Baselines(tmp_path).adopt(one)
    year, next_year = (ibfv.read(path.with_name(f"{path.stem}-{number}.blv")) for number in (2024, 2025))
    assert (year.station, year.year, year.components) == ("WIC", 2024, "HDZ")
    assert (year.mean_h_nt, year.mean_f_nt) == (21_000, 48_800)
    scale = np.array([1.0, 60.0, 1.0])
    used = found.spots.used.values & (days >= 10.25) & (days < 366)
    assert np.array_equal(year.observed_day, table.time.values[used].astype("datetime64[D]"))
    # Two decimals, of nT and minutes of arc.
    assert year.observed[:, :3] == pytest.approx(table.base.values[used] * scale, abs=0.00501)
    there = np.isfinite(year.adopted[:, :3]).all(axis=1)
    noon = year.adopted_day[there].astype("datetime64[ns]") + np.timedelta64(12, "h")
    noon[0] = at_days(10.625)  # the middle of what the interval has of its first day
    days_2024 = np.arange("2024-01-11", "2025-01-01", dtype="datetime64[D]")
    assert np.array_equal(year.adopted_day[there], days_2024)
    assert year.adopted[there, :3] == pytest.approx(one.values(noon) * scale, abs=0.00501)
    after = at_days(201).astype("datetime64[D]")  # the first day whose noon is after the step
    assert year.adopted_day[year.discontinuous].tolist() == [after.item()]
    assert next_year.adopted_day[np.isfinite(next_year.adopted[:, 0])].size == 390 - 366
    told = " ".join(year.comments)
    assert "Muller ???????" in told and "jahrlich" in told and "Step at 2024-07-19T18:00:00Z" in told
    assert Baselines(tmp_path).all()[0].author == "Müller Дмитрий"


@pytest.mark.parametrize("frame", ["xyz", "dif", "hdz"])
def test_the_year_file_is_of_the_frame(tmp_path, frame):
    days = np.arange(10.0)
    table = spot_table(at_days(days), drifting(days), frame=frame)
    path = Baselines(tmp_path).adopt(fit(table).baseline.adopted("A", "b", "2025-01-01"))
    year = ibfv.read(next(tmp_path.glob("*.blv")))
    assert year.components == frame.upper()
    units = Baseline.from_json(path.read_bytes()).units
    scale = np.array([60.0 if unit == "deg" else 1.0 for unit in units])
    assert year.observed[:, :3] == pytest.approx(table.base.values * scale, abs=0.00501)


def test_the_newest_adoption_holds_where_they_overlap(tmp_path):
    baselines = Baselines(tmp_path)
    first = adopted(0, 60, "2024-06-01", seed=1)
    second = adopted(20, 40, "2024-06-02", seed=2)
    other = adopted(0, 100, "2024-06-03", instrument="lemi025")
    for one in (second, other, first):
        baselines.adopt(one)
    assert baselines.all() == [first, second, other]
    found = baselines.covering("WIC", "lemi036", at_days(10), at_days(80))
    edges = [at_days(day) for day in (10, 20, 40, 60)]
    assert found == list(zip(edges[:-1], edges[1:], [first, second, first], strict=True))
    assert baselines.at("WIC", "lemi036", at_days(20)) == second
    assert baselines.at("WIC", "lemi036", at_days(40)) == first
    assert baselines.gaps("WIC", "lemi036", at_days(-5), at_days(80)) == [
        (at_days(-5), at_days(0)),
        (at_days(60), at_days(80)),
    ]
    assert baselines.gaps("WIC", "lemi036", at_days(5), at_days(15)) == []
    assert baselines.covering("WIC", "lemi036", at_days(90), at_days(95)) == []


def test_a_time_without_a_baseline_says_what_there_is(tmp_path):
    baselines = Baselines(tmp_path / "none")
    with pytest.raises(NoBaselineError, match=r"none of this instrument.*obslab baseline adopt"):
        baselines.at("WIC", "lemi036", at_days(1))
    baselines.adopt(adopted(0, 60))
    with pytest.raises(
        NoBaselineError, match=r"2024-03-31T00:00:00Z .it has 2024-01-01T00:00:00Z to 2024-03-01"
    ):
        baselines.at("WIC", "lemi036", at_days(90))
    with pytest.raises(BaselineError, match="is not before"):
        baselines.covering("WIC", "lemi036", at_days(9), at_days(9))


def test_nothing_is_overwritten(tmp_path):
    baselines, one = Baselines(tmp_path), adopted()
    path = baselines.adopt(one)
    before = path.stat().st_mtime_ns
    assert baselines.adopt(one) == path  # the same again changes nothing
    assert path.stat().st_mtime_ns == before
    path.write_bytes(path.read_bytes().replace(b"yearbook", b"year book"))
    with pytest.raises(BaselineError, match="is there already with other content"):
        baselines.adopt(one)
    assert b"year book" in path.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_nothing_half_there(tmp_path, monkeypatch):
    baselines = Baselines(tmp_path)

    def full(source, target):
        if str(target).endswith(".json"):
            raise OSError(28, "No space left on device")
        return link(source, target)

    link = os.link
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(BaselineError, match=r"cannot be stored .*No space left"):
        baselines.adopt(adopted())
    assert not [file for file in tmp_path.iterdir() if file.suffix != ".blv"]
    assert baselines.all() == []


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def refused(source, target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    baselines, one = Baselines(tmp_path), adopted()
    baselines.adopt(one)
    assert baselines.all() == [one]


@pytest.mark.parametrize("content", [b"", b"{}", b"cut"])
def test_a_damaged_file_is_named_and_hinders_only_its_own_instrument(tmp_path, content, caplog):
    baselines = Baselines(tmp_path)
    path = baselines.adopt(adopted())
    other = adopted(instrument="lemi025")
    baselines.adopt(other)
    path.write_bytes(path.read_bytes()[:-100] if content == b"cut" else content)
    assert baselines.all() == [other]
    assert [error.path for error in baselines.damaged()] == [path]
    assert str(path) in baselines.damaged()[0].message and str(path) in caplog.text
    assert baselines.at("WIC", "lemi025", at_days(5)) == other
    for question in (baselines.at, lambda *words: baselines.covering(*words, at_days(9))):
        with pytest.raises(BaselineError, match=path.name):
            question("WIC", "lemi036", at_days(5))
    path.unlink()
    assert baselines.damaged() == []


def test_what_was_read_once_is_read_anew_only_when_it_changed(tmp_path, monkeypatch):
    baselines = Baselines(tmp_path)
    baselines.adopt(adopted())
    read = []
    monkeypatch.setattr(
        Baseline, "from_json", classmethod(lambda cls, payload, name: read.append(name) or one), raising=True
    )
    one = adopted(seed=2)
    baselines.all()
    baselines.all()
    assert len(read) == 1
    baselines.adopt(adopted(seed=3, now="2024-07-01"))
    baselines.all()
    assert len(read) == 2


def test_only_what_was_adopted_is_stored(tmp_path):
    table, _ = simulated(np.random.default_rng(1))
    draft = fit(table).baseline
    with pytest.raises(BaselineError, match="adopted by nobody"):
        Baselines(tmp_path).adopt(draft)
    (tmp_path / "draft.json").write_bytes(draft.to_json())
    assert "nobody adopted" in Baselines(tmp_path).damaged()[0].message


@pytest.mark.parametrize("facts", [{"station": ""}, {"instrument": "../lemi"}, {"instrument": ""}])
def test_a_baseline_without_a_proper_name_is_not_stored(tmp_path, facts):
    table, _ = simulated(np.random.default_rng(1))
    one = fit(table.assign_attrs(facts)).baseline.adopted("A", "b", as_utc("2024-06-01"))
    with pytest.raises(BaselineError, match="wanted an IAGA code"):
        Baselines(tmp_path / "in").adopt(one)
    assert not (tmp_path / "in").exists()
