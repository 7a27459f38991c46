"""Exchange formats against MagPy, each way: it reads what we write, and we read what it writes.

Equal is to the last digit that a format holds: 0.01 nT or arcmin in IAGA-2002, all of a float in ImagCDF.
"""

import numpy as np
import pytest

from obslab.telemetry import iaga2002, ibfv, imagcdf
from obslab.telemetry.datasets import samples_schema

pytestmark = pytest.mark.long

HUNDREDTH = 0.005 + 1e-9
SAME = 1e-9  # nT or arcmin: of degrees and back


@pytest.fixture(scope="module")
def examples(magpy):
    return magpy("oracle_formats.py", "examples")


@pytest.fixture
def seen_by_magpy(magpy, tmp_path):
    """`seen_by_magpy(*paths)`: of each, times, the columns by their letters in our units, and the header."""

    def read(*paths):
        seen = []
        for told in magpy("oracle_formats.py", "read", tmp_path, *paths):
            with np.load(told["out"]) as file:
                degrees = {key for key, unit in told["units"].items() if unit.lower().startswith("deg")}
                columns = {
                    told["letters"][key]: file[key] * (60 if key in degrees else 1) for key in told["letters"]
                }
                seen.append((file["time_ns"].astype("datetime64[ns]"), columns, told["header"]))
        return seen

    return read


def agree(dataset, time, columns, tolerance, letters):
    np.testing.assert_array_equal(dataset.time.values, time)
    assert set(letters) <= set(columns)
    for theirs, ours in letters.items():
        np.testing.assert_allclose(
            dataset[ours].values, columns[theirs], rtol=0, atol=tolerance, err_msg=ours
        )


@pytest.mark.parametrize("example", ["day", "storm"])
def test_magpys_examples_are_read_as_magpy_reads_them(examples, seen_by_magpy, example):
    dataset = {"day": iaga2002, "storm": imagcdf}[example].read(examples[example])
    ((time, columns, header),) = seen_by_magpy(examples[example])
    scalar = {"day": "f", "storm": "s"}[example]
    agree(dataset, time, columns, 0, {letter: letter for letter in ("h", "e", "z", scalar)})
    assert dataset.sizes["time"] == {"day": 86_400, "storm": 345_600}[example]
    assert (dataset.attrs["station"], dataset.attrs["site"]) == ("WIC", "Conrad Observatory")
    assert dataset.attrs["publication_level"] == {"day": 1, "storm": 2}[example]
    assert dataset.attrs["k9_limit_nt"] == float(header["StationK9"]) == 500


def test_storm_has_the_scalar_that_delta_f_is_known_of(examples):
    storm = imagcdf.read(examples["storm"])
    vector = np.sqrt(storm.h.values**2 + storm.e.values**2 + storm.z.values**2)
    assert np.nanmedian(storm.s.values - vector) == pytest.approx(-11.7, abs=0.05)
    assert storm.temperature1.attrs["units"] == "degC"
    assert 6 < float(storm.temperature1.mean()) < 7


@pytest.mark.parametrize("form", ["IAGA", "IMAGCDF"])
def test_what_magpy_writes_is_read(examples, magpy, tmp_path, form):
    day = iaga2002.read(examples["day"])
    path = magpy("oracle_formats.py", "write", examples["day"], form, f"{tmp_path}/")["path"]
    read = {"IAGA": iaga2002, "IMAGCDF": imagcdf}[form].read(path)
    np.testing.assert_array_equal(read.time.values, day.time.values)
    for letter in "hez":
        np.testing.assert_array_equal(read[letter].values, day[letter].values)
    scalar = "s" if "s" in read else "f"
    np.testing.assert_array_equal(read[scalar].values, day.f.values)
    assert read.attrs["station"] == "WIC"
    assert read.attrs["k9_limit_nt"] == 500


def made(letters, step_s=1, count=600):
    rng = np.random.default_rng(5)
    base = {"x": 20000.0, "y": -700.0, "z": 44000.0, "h": 21000.0, "e": 300.0, "d": 270.0, "i": 3900.0}
    values = {letter: base.get(letter, 48700.0) + rng.normal(0, 30, count) for letter in letters}
    values[letters[0]][7] = np.nan
    values[letters[-1]][:20] = np.nan
    time = np.datetime64("2016-12-31T23:55", "ns") + np.arange(count) * np.timedelta64(step_s, "s")
    units = {letter: "arcmin" if letter in "di" else "nT" for letter in letters}
    facts = {
        "station": "WIC",
        "site": "Conrad Observatory",
        "attribution": "GeoSphere Austria",
        "latitude_deg": 47.928,
        "longitude_deg": 15.866,
        "elevation_m": 1087.0,
        "orientation": letters[:3],
        "k9_limit_nt": 500.0,
        "instrument": "lemi036",
        "publication_level": 1,
        "cadence_s": float(step_s),
    }
    return samples_schema(units).build(facts, time=time, **values)


def test_magpy_reads_the_iaga2002_that_we_write(seen_by_magpy, tmp_path):
    cases = [made(letters, step_s) for letters in ("xyzs", "hezs", "hdzs") for step_s in (1, 60)]
    paths = [iaga2002.write(dataset, tmp_path / f"wic{at}.sec") for at, dataset in enumerate(cases)]
    for dataset, (time, columns, header) in zip(cases, seen_by_magpy(*paths), strict=True):
        letters = {name: name for name in dataset.data_vars if name != "s"} | {"f": "s"}
        agree(dataset, time, columns, HUNDREDTH, letters)
        assert header["StationIAGAcode"] == "WIC"
        assert header["StationName"] == "Conrad Observatory"
        assert float(header["DataAcquisitionLatitude"]) == 47.928


def test_magpy_reads_the_imagcdf_that_we_write(seen_by_magpy, tmp_path):
    sets = ("xyzs", "hezs", "hdzs", "xyzf", "xyz")
    cases = [made(letters, step_s) for letters in sets for step_s in (1, 60)]
    paths = [imagcdf.write(dataset, tmp_path / f"wic{at}.cdf") for at, dataset in enumerate(cases)]
    for dataset, (time, columns, header) in zip(cases, seen_by_magpy(*paths), strict=True):
        agree(dataset, time, columns, SAME, {str(name): str(name) for name in dataset.data_vars})
        assert header["StationIAGAcode"] == "WIC"
        assert header["DataPublicationLevel"] == "1"
        assert float(header["DataElevation"]) == 1087


def test_baseline_file_is_read_as_magpy_reads_it_and_what_we_write_too(examples, seen_by_magpy, tmp_path):
    read = ibfv.read(examples["baseline"])
    assert (read.station, read.year, read.components) == ("DOU", 2020, "DIF")
    assert (len(read.observed_day), len(read.adopted_day)) == (205, 366)
    assert read.comments[0].startswith("Measured variometer baselines are fitted")
    written = ibfv.write(read, tmp_path / "dou2020.blv")
    for time, columns, header in seen_by_magpy(examples["baseline"], written):
        # MagPy keeps one of two observations of a day, and dates them at noon.
        day, first = np.unique(read.observed_day, return_index=True)
        there = np.isin(day, time.astype("datetime64[D]"))
        assert there.sum() >= 0.95 * len(day)
        twice = np.isin(day, read.observed_day[np.setdiff1d(np.arange(205), first)])
        assert header["DataComponents"] == "DIF"
        place = np.searchsorted(time.astype("datetime64[D]"), day[there & ~twice])
        theirs = np.stack([columns["d base"], columns["i base"]], axis=1)[place]
        np.testing.assert_allclose(read.observed[first][there & ~twice, :2], theirs, rtol=0, atol=1e-9)
