"""Products of an archive: minutes, K, and files that come back through the readers as they went out."""

import json

import numpy as np
import pytest
import xarray as xr
from commands import failure
from telemetry.observatory import (
    ADJ,
    DAY_NS,
    GP20,
    LEMI,
    NOON,
    NS,
    VECTOR,
    baseline,
    fill,
    raw,
    samples,
    seconds,
    truth,
    values,
)
from typer.testing import CliRunner

from obslab.cli import app
from obslab.errors import CodecError, ConfigError, NoStreamError, RecordingError
from obslab.telemetry import iaga2002, imagcdf, impf
from obslab.telemetry.archive.batch import Batch
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.filters import COEFFICIENTS
from obslab.telemetry.processing.adjusting import adjust_archive
from obslab.telemetry.processing.export import export
from obslab.telemetry.processing.merging import merged
from obslab.telemetry.processing.minutes import minute
from obslab.telemetry.sample import Stream
from obslab.times import as_ns, from_ns, to_ns

MIDNIGHT = as_ns("2024-05-11")
TIME = seconds(1200, MIDNIGHT - 600 * NS)  # ten minutes of each of two days
FIRST = TIME[TIME < MIDNIGHT]
# Half a count of 0.001 nT in h and e, turned into x and y, half a count of these, and what the fit leaves.
SAME_NT = 0.0013


def keep(path, time_ns=TIME):
    with open_archive(path, write=True) as archive:
        fill(archive, time_ns)
        adjust_archive(archive, archive.add, "WIC", "lemi036", baseline())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "archive"
    keep(path)
    with open_archive(path) as archive:
        yield archive


def cut(dataset, time_ns=FIRST):
    """Rows of these times, and that the others are missing."""
    inside = np.isin(to_ns(dataset.time.values), time_ns)
    for name in dataset.data_vars:
        assert np.isnan(dataset[name].values[~inside]).all()
    return dataset.isel(time=inside)


# ---- merged and minutes


def test_merged_has_the_scalar_as_s_on_the_times_of_the_vector(archive):
    fill(archive, TIME[:10])
    archive.add(Batch(arrivals=[samples(LEMI, VECTOR, TIME[10:20], raw(TIME[10:20]))]))
    for scalar in (None, "gp20s3"):
        found = merged(archive, "WIC", "lemi036", scalar)
        assert found.sizes["time"] == 20
        assert found.s.attrs["units"] == "nT"
        np.testing.assert_array_equal(np.isnan(found.s.values), np.arange(20) >= 10)
        np.testing.assert_allclose(found.s.values[:10], archive.dataset("WIC", "gp20s3").f.values)
    with pytest.raises(NoStreamError, match="no scalar stream WIC gsm90 sec"):
        merged(archive, "WIC", "lemi036", "gsm90")


def test_merged_without_a_scalar_instrument_leaves_s_out(archive):
    archive.add(Batch(arrivals=[samples(LEMI, VECTOR, TIME, raw(TIME))], metas={LEMI.meta_topic: (VECTOR,)}))
    assert "s" not in merged(archive, "WIC", "lemi036")


def test_minutes_are_intermagnets_filter_of_the_seconds_over_midnight_too(kept):
    found = minute(kept, "WIC", "lemi036-adj")
    at = from_ns([MIDNIGHT])[0]
    window = MIDNIGHT + np.arange(-45, 46) * NS
    wanted = (COEFFICIENTS[:, None] * truth(window)).sum(axis=0) / COEFFICIENTS.sum()
    np.testing.assert_allclose(values(found.sel(time=[at]))[0], wanted, atol=SAME_NT)
    assert found.sizes["time"] == 20
    assert found.attrs["samplerate"] == "min"
    assert np.isfinite(found.s.values[1:]).all()
    assert np.isnan(found.x.values[0])  # half of its window is before the first sample


def test_minutes_that_are_stored_are_there_once_and_new_when_a_gap_is_filled(archive):
    gap = np.setdiff1d(TIME, TIME[300:400])
    fill(archive, gap)
    minute(archive, "WIC", "lemi036", store=archive.add)
    derived = Stream("WIC", "lemi036-min", "min")
    before = archive.readings(derived, 0, 2**62)
    # The first minute lacks half of its window; two more lack more than a tenth of their weight by the gap.
    assert before.time_ns.size == 20 - 1 - 2
    minute(archive, "WIC", "lemi036", store=lambda batch: pytest.fail("nothing is new"))
    fill(archive, TIME[300:400])
    minute(archive, "WIC", "lemi036", store=archive.add)
    assert archive.readings(derived, 0, 2**62).time_ns.size == 19
    assert archive.readings(LEMI, 0, 2**62).time_ns.size == 1200


# ---- files


def test_iaga2002_is_a_file_a_day_that_reads_back(kept, tmp_path):
    files = export(kept, "iaga2002", tmp_path, instrument="lemi036-adj")
    assert [file.name for file in files] == ["wic20240510psec.sec", "wic20240511psec.sec"]
    found = iaga2002.read(files[0])
    assert found.sizes["time"] == 86_400
    assert found.attrs["station"] == "WIC"
    found = cut(found[["x", "y", "z", "s"]])
    np.testing.assert_allclose(values(found), truth(FIRST), atol=0.005 + SAME_NT)  # the format has 0.01 nT
    scalar = kept.dataset("WIC", "gp20s3").f.values[:600]
    np.testing.assert_allclose(found.s.values, scalar, atol=0.0051)


def test_imagcdf_is_a_file_a_day_that_reads_back(kept, tmp_path):
    files = export(kept, "imagcdf", tmp_path, instrument="lemi036", level=2)
    assert [file.name for file in files] == ["wic_20240510_pt1s_2.cdf", "wic_20240511_pt1s_2.cdf"]
    found = imagcdf.read(files[0])
    assert found.attrs["publication_level"] == 2
    stored = kept.dataset("WIC", "lemi036-adj", "2024-05-10", "2024-05-11")
    np.testing.assert_allclose(values(cut(found[["x", "y", "z"]])), values(stored), atol=1e-9)


def test_raw_data_of_a_variometer_go_out_as_variation_data(kept, tmp_path):
    (file,) = export(kept, "imagcdf", tmp_path, level=1, begin="2024-05-11", end="2024-05-12")
    assert file.name == "wic_20240511_pt1s_1.cdf"
    np.testing.assert_allclose(
        values(cut(imagcdf.read(file)[["h", "e", "z"]], TIME[600:]), "hez"), raw(TIME[600:]), atol=SAME_NT
    )
    (file,) = export(kept, "iaga2002", tmp_path, begin="2024-05-11")
    assert file.name == "wic20240511vsec.sec"


def test_impf_is_a_line_for_each_message_with_its_topic(kept, tmp_path):
    files = export(kept, "impf", tmp_path, instrument="lemi036-adj")
    assert [file.name for file in files] == [
        "wic_20240510_pt1s_2_impf.jsonl",
        "wic_20240511_pt1s_2_impf.jsonl",
    ]
    lines = [json.loads(line) for line in files[0].read_text().splitlines()]
    assert [line["topic"] for line in lines] == ["impf/wic/pt1s/2/xyzs"] * 2
    vector, scalar = (
        impf.decode(line["topic"], json.dumps(line["payload"]).encode()).records[0] for line in lines
    )
    np.testing.assert_array_equal(vector.time_ns, FIRST)
    np.testing.assert_allclose(vector.values, truth(FIRST), atol=SAME_NT)
    assert scalar.meta.components == ("s",)
    assert vector.meta.site == "Conrad Observatory"


def test_impf_of_a_variometers_own_axes_is_refused(kept, tmp_path):
    with pytest.raises(CodecError, match="transform them first"):
        export(kept, "impf", tmp_path / "out", instrument="lemi036")
    assert not any((tmp_path / "out").iterdir())


def test_netcdf_is_one_file_with_times_units_and_station(kept, tmp_path):
    (file,) = export(
        kept,
        "netcdf",
        tmp_path / "new" / "wic.nc",
        instrument="lemi036-adj",
        begin=from_ns(TIME[0]),
        end=from_ns(TIME[-1]),
    )
    assert file == tmp_path / "new" / "wic.nc"
    with xr.open_dataset(file) as found:
        assert found.attrs["baseline"] == baseline().id
        assert (found.attrs["station"], found.attrs["publication_level"]) == ("WIC", 2)
        np.testing.assert_array_equal(to_ns(found.time.values), TIME[:-1])
        np.testing.assert_allclose(values(found), truth(TIME[:-1]), atol=SAME_NT)
        assert found.x.attrs["units"] == found.s.attrs["units"] == "nT"
    with xr.open_dataset(file, decode_cf=False) as plain:
        assert plain.time.attrs["units"] == "seconds since 1970-01-01"
        assert plain.time.values[0] == TIME[0] // NS


def test_minutes_are_filtered_for_an_export(kept, tmp_path):
    (file,) = export(
        kept, "iaga2002", tmp_path, instrument="lemi036-adj", samplerate="min", begin="2024-05-11"
    )
    assert file.name == "wic20240511pmin.min"
    found = iaga2002.read(file)
    assert found.sizes["time"] == 1440
    wanted = minute(kept, "WIC", "lemi036-adj", begin="2024-05-11")
    np.testing.assert_allclose(found.x.values[:9], wanted.x.values[:9], atol=0.0051)
    assert np.isnan(found.x.values[11:]).all()


def test_minutes_for_an_export_are_those_of_the_baseline_that_holds_now(tmp_path):
    keep(tmp_path / "archive")
    with open_archive(tmp_path / "archive", write=True) as archive:
        minute(archive, "WIC", "lemi036-adj", store=archive.add)
        before = minute(archive, "WIC", "lemi036-adj", begin="2024-05-11").x.values[:9]
        adjust_archive(
            archive, archive.add, "WIC", "lemi036", baseline(more=(5.0, 0.0, 0.0), adopted="2024-06-03")
        )
        (file,) = export(
            archive, "netcdf", tmp_path, instrument="lemi036-adj", samplerate="min", begin="2024-05-11"
        )
    with xr.open_dataset(file) as found:
        assert np.nanmin(np.abs(found.x.values[:9] - before)) > 4


def test_part_of_a_day_has_its_time_in_the_name_of_an_imagcdf_file(kept, tmp_path):
    span = {"begin": "2024-05-11T00:01Z", "end": "2024-05-11T00:02Z"}
    (file,) = export(kept, "imagcdf", tmp_path, **span)
    assert file.name == "wic_20240511_000100_pt1s_1.cdf"


def test_a_file_that_is_there_stays_unless_forced_and_nothing_else_is_written(kept, tmp_path):
    (tmp_path / "wic20240511vsec.sec").write_text("mine")
    with pytest.raises(ConfigError, match=r"wic20240511vsec\.sec is there already; --force"):
        export(kept, "iaga2002", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["wic20240511vsec.sec"]
    export(kept, "iaga2002", tmp_path, force=True)
    assert (tmp_path / "wic20240511vsec.sec").stat().st_size > 86_400 * 70


@pytest.mark.parametrize("format", ["iaga2002", "imagcdf", "impf", "netcdf"])
def test_a_writer_that_fails_leaves_no_file_and_not_the_old_one_damaged(kept, tmp_path, monkeypatch, format):
    options = {"instrument": "lemi036-adj", "begin": "2024-05-11"}
    (file,) = export(kept, format, tmp_path, **options)
    before = file.read_bytes()

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fails)
    with pytest.raises(RecordingError, match="No space left"):
        export(kept, format, tmp_path, **options, force=True)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


# ---- the commands


def told(*arguments):
    return CliRunner().invoke(app, ["archive", *map(str, arguments)])


def test_command_exports_and_says_what(kept, tmp_path):
    done = told("export", kept.path, "--format", "imagcdf", "--out", tmp_path, "--day", "2024-05-10")
    assert done.stdout == f"{tmp_path}/wic_20240510_pt1s_1.cdf\n"
    done = told("export", kept.path, "--format", "impf", "--out", tmp_path, "--level", 2, "--json")
    assert [name.rsplit("/", 1)[1] for name in json.loads(done.stdout)["files"]] == [
        "wic_20240510_pt1s_2_impf.jsonl",
        "wic_20240511_pt1s_2_impf.jsonl",
    ]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--format", "gif"], "--format 'gif' is none of iaga2002, imagcdf, impf, netcdf"),
        (
            ["--format", "impf", "--scalar", "gsm90"],
            "has no scalar stream WIC gsm90 sec; it has WIC gp20s3",
        ),
        (
            ["--format", "iaga2002", "--level", 4],
            "WIC lemi036-adj sec: `obslab archive adjust --level 4` makes it",
        ),
        (["--format", "iaga2002", "--out", "/dev/null/x"], "--out /dev/null/x cannot be made: Not a"),
        (["--format", "iaga2002", "--day", "2020-01-01"], "WIC lemi036 sec has no samples in the interval"),
        (["--format", "iaga2002", "--samplerate", "hour"], "--samplerate 'hour' is neither sec nor min"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_command_says_in_one_line_what_is_wrong(kept, tmp_path, arguments, wanted):
    assert wanted in failure("archive", "export", kept.path, "--out", tmp_path, *arguments)
    assert not any(tmp_path.iterdir())


def test_minute_command_prints_or_stores(tmp_path):
    path = tmp_path / "archive"
    keep(path)
    shown = json.loads(told("minute", path, "--instrument", "lemi036-adj", "--json").stdout)
    assert len(shown) == 20
    assert shown[0]["x"] is None
    assert {"time", "x", "y", "z", "s"} == shown[0].keys()
    head, row = told("minute", path).stdout.splitlines()[::5][:2]  # without names the vector, not its scalar
    assert head.split() == ["time", "h", "e", "z", "s"]
    assert [len(word.partition(".")[2]) for word in row.split()[1:]] == [2, 2, 2, 2]
    done = told("minute", path, "--instrument", "lemi036-adj", "--store")
    assert done.stdout == "WIC lemi036-adj: 20 minutes into the archive\n"
    with open_archive(path) as archive:
        assert archive.dataset("WIC", "lemi036-adj", samplerate="min").sizes["time"] == 19
        assert Stream("WIC", "lemi036-adj", "min") in archive.streams()
        assert ADJ in archive.streams()
        assert GP20 in archive.streams()


def test_k_is_made_of_minutes_where_there_are_no_seconds(tmp_path):
    stream, time_ns = Stream("WIC", "lemi036", "min"), MIDNIGHT + 60 * NS * np.arange(3 * 1440)
    with open_archive(tmp_path, write=True) as archive:
        arrivals = [samples(stream, VECTOR, time_ns, raw(time_ns))]
        archive.add(Batch(arrivals=arrivals, metas={stream.meta_topic: (VECTOR,)}))
    shown = json.loads(told("k", tmp_path, "--day", "2024-05-12", "--json").stdout)
    assert len(shown) == 8
    assert all(0 <= row["k"] <= 3 for row in shown)


def test_k_command_prints_three_hours_a_line(tmp_path):
    path = tmp_path / "archive"
    days = seconds(3 * 86_400, as_ns("2024-05-09"))[::1]
    with open_archive(path, write=True) as archive:
        field = raw(days)
        stormy = (days >= NOON) & (days < NOON + DAY_NS // 8)
        field[stormy, 0] += 300 * np.sin(2 * np.pi * (days[stormy] - NOON) / (1800 * NS))
        archive.add(Batch(arrivals=[samples(LEMI, VECTOR, days, field)], metas={LEMI.meta_topic: (VECTOR,)}))
    shown = json.loads(told("k", path, "--day", "2024-05-10", "--json").stdout)
    assert [row["time"][11:13] for row in shown] == ["00", "03", "06", "09", "12", "15", "18", "21"]
    # A range of 600 nT is above 500, the limit of K = 9; the other hours are quiet.
    assert shown[4]["k"] == 9
    assert max(row["k"] for row in shown if row is not shown[4]) <= 3
    assert [
        row["k"] for row in json.loads(told("k", path, "--day", "2024-05-10", "--k9", 1500, "--json").stdout)
    ][4] == 7
    assert len(told("k", path, "--day", "2024-05-10").stdout.splitlines()) == 9
