"""`obslab absolutes reduce`: sheets in, a table out."""

import json

import numpy as np
import pytest
from telemetry import observatory
from telemetry.theodolites import DATA
from typer.testing import CliRunner

from obslab import cli, conrad
from obslab.cli.absolutes import _dms
from obslab.errors import ConfigError, NoVariometerError
from obslab.telemetry import absolutes

SHEETS = [str(path) for path in reversed(conrad.sheets())]
SERIES = str(conrad.variometer())


def run(*arguments):
    return CliRunner().invoke(cli.app, ["absolutes", "reduce", *map(str, arguments)])


def test_sheets_come_out_as_a_table_in_order_of_time():
    done = run(*SHEETS, "--variometer", SERIES)
    assert done.exit_code == 0
    title, first, second = done.stdout.splitlines()
    assert title.split()[:3] == ["time", "D", "deg"]
    assert first.startswith("2018-08-29T07:16:00Z  4.34670  4 20 48.1")
    assert second.startswith("2018-08-29T07:42:00Z  4.34328  4 20 35.8")
    assert "48622.79" in second
    assert second.endswith("residual")


def test_json_has_every_value_and_errors_in_arcsec():
    done = run(SHEETS[0], "--variometer", SERIES, "--pier-difference", 1.5, "--json")
    told = json.loads(done.stdout)
    assert told["station"] == "WIC"
    (row,) = told["measurements"]
    assert row["f"] == pytest.approx(48624.29, abs=0.01)
    assert row["i_dms"] == "64 22 13.7"
    assert 0.5 < row["i_error_arcsec"] < 2
    assert row["used"] is True


def test_autodif_without_f_has_null_for_it():
    done = run(DATA / "dou20200801.abs", "--json")
    rows = json.loads(done.stdout)["measurements"]
    assert done.exit_code == 0
    assert [row["f"] for row in rows] == [None] * 6
    assert rows[0]["d"] == pytest.approx(1.67251, abs=1e-5)


def test_azimuth_may_be_given():
    plain, other = (
        json.loads(run(DATA / "dou20200801.abs", "--json", *more).stdout)["measurements"][0]
        for more in ([], ["--azimuth", "-6.38389"])
    )
    assert other["d"] - plain["d"] == pytest.approx(1.0)


def test_measurement_without_data_is_shown_and_ends_with_1(tmp_path):
    lines = (conrad.variometer()).read_text().splitlines(keepends=True)
    (tmp_path / "late.sec").write_text("".join(line for line in lines if not "07:1" < line[11:15] < "07:4"))
    done = run(*SHEETS, "--variometer", tmp_path / "late.sec")
    assert done.exit_code == 1
    _, first, second = done.stdout.splitlines()
    assert "not corrected for variations" in first
    assert second.endswith("residual")
    alone = run(SHEETS[1], "--variometer", tmp_path / "late.sec")
    assert isinstance(alone.exception, NoVariometerError)


def test_files_of_a_variometer_are_joined(tmp_path):
    text = (conrad.variometer()).read_text()
    head = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("2018"))
    rows = [line for line in text.splitlines(keepends=True) if line.startswith("2018")]
    for name, part in (("a", rows[:2000]), ("b", rows[2000:])):
        (tmp_path / f"{name}.sec").write_text(head + "".join(part))
    both = [word for name in "ba" for word in ("--variometer", tmp_path / f"{name}.sec")]
    found, wanted = (
        json.loads(run(*SHEETS, *series, "--json").stdout)["measurements"]
        for series in (both, ["--variometer", SERIES])
    )
    assert found == wanted


def test_variations_may_come_out_of_an_archive(archive, tmp_path):
    observatory.fill(archive, observatory.seconds(1800))
    made = absolutes.simulate(
        observatory.truth, observatory.NOON + 300 * observatory.NS, offset_nt=5.0, station="WIC"
    )
    sheet = absolutes.write_sheet(made, tmp_path / "sheet.txt")
    done = run(
        *[sheet, "--archive", archive.path, "--station", "wic", "--instrument", "lemi036"],
        *["--scalar", "gp20s3", "--pier-difference", observatory.PIER_NT, "--json"],
    )
    (row,) = json.loads(done.stdout)["measurements"]
    x, y, z = observatory.truth(np.array([made.begin_ns]))[0]
    # The bases of this observatory move by 1e-4 degrees and 0.01 nT during a measurement.
    assert row["d"] == pytest.approx(np.degrees(np.arctan2(y, x)), abs=5e-5)
    assert row["i"] == pytest.approx(np.degrees(np.arctan2(z, np.hypot(x, y))), abs=5e-5)
    assert row["f"] == pytest.approx(np.sqrt(x * x + y * y + z * z), abs=0.02)
    alike = run(sheet, "--archive", archive.path, "--pier-difference", observatory.PIER_NT, "--json")
    assert alike.stdout == done.stdout  # the only vector and the only scalar that there are
    old = run(SHEETS[0], "--archive", archive.path).exception
    assert isinstance(old, NoVariometerError)
    assert "WIC lemi036 sec has no samples in the interval; it has 2024-05-10T12:00:00Z to" in old.message
    assert (
        "no vector stream lemi037"
        in run(sheet, "--archive", archive.path, "--instrument", "lemi037").exception.message
    )
    assert "has no absolute measurements" in run("--archive", archive.path).exception.message


def test_what_to_reduce_must_be_said_once():
    assert "give FILE, a DI sheet" in run("--json").exception.message
    told = run(SHEETS[0], "--variometer", SERIES, "--archive", "a").exception
    assert isinstance(told, ConfigError)
    assert "not both" in told.message


@pytest.mark.parametrize(
    ("degrees", "text"),
    [(4.343285, "4 20 35.8"), (-0.5, "-0 30 00.0"), (64.99999, "65 00 00.0"), (np.nan, "")],
)
def test_angles_in_degrees_minutes_seconds(degrees, text):
    assert _dms(degrees) == text
