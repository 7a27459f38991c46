"""`obslab baseline ...`: from sheets or an archive to an adopted baseline, against a field that is known."""

import json

import numpy as np
import pytest
from telemetry.observatory import DAY_NS, NOON, NS, PIER_NT, bases, fill, truth
from telemetry.test_autodif import meta
from typer.testing import CliRunner

from obslab import cli
from obslab.errors import BaselineError, ConfigError, NoStreamError
from obslab.telemetry.absolutes import simulate, to_record, write_sheet
from obslab.telemetry.archive.batch import Arrivals, Batch
from obslab.telemetry.archive.store import open_archive
from obslab.telemetry.baseline import Baselines
from obslab.telemetry.sample import Stream
from obslab.times import iso

ABS = Stream("WIC", "autodif01", "abs")
TIMES = NOON + np.arange(0, 12, 2) * DAY_NS
WHAT = ("--station", "wic", "--instrument", "lemi036", "--method", "polynomial", "--degree", "1")
WHO = ("--author", "A. Observer", "--reason", "for the yearbook")
PIER = ("--pier-difference", str(PIER_NT))


@pytest.fixture(scope="module")
def measured():
    """Six measurements of the simulated observatory, two days apart, the last of them 0.2 degrees wrong."""
    rng = np.random.default_rng(1)
    noise = {"circle_noise_arcsec": 1.0, "rng": rng, "station": "WIC"}
    made = [simulate(truth, int(time), method="autodif", azimuth_deg=251.372, **noise) for time in TIMES[:-1]]
    return [*made, simulate(truth, int(TIMES[-1]), method="autodif", azimuth_deg=251.572, **noise)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory, measured):
    path = tmp_path_factory.mktemp("archive")
    seconds = np.concatenate([np.arange(time - 120 * NS, time + 1500 * NS, NS) for time in TIMES])
    with open_archive(path, write=True) as opened:
        fill(opened, seconds)
        records = [to_record(one) for one in measured]
        time_ns = np.array([time for time, _ in records])
        bodies = [body for _, body in records]
        group = Arrivals(
            ABS, time_ns, time_ns + NS, len(bodies[0]), b"".join(bodies), np.zeros(len(bodies), bool)
        )
        opened.add(Batch(arrivals=[group], metas={ABS.meta_topic: (meta(),)}))
    return path


def told(*arguments, code=0):
    result = CliRunner().invoke(cli.app, ["baseline", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_a_baseline_is_adopted_from_the_measurements_in_the_archive(archive, tmp_path):
    folder = tmp_path / "adopted"
    said = json.loads(told("adopt", archive, *WHAT, *WHO, *PIER, "--folder", folder, "--json"))
    assert (said["used"], said["rejected"]) == (5, 1)
    assert "d is -" in said["spots"][-1]["note"] and not said["spots"][-1]["used"]
    (one,) = Baselines(folder).all()
    assert said["file"] == str(next(folder.glob("*.json"))) and said["id"] == one.id
    assert (one.author, one.reason, one.pier_difference_nt) == ("A. Observer", "for the yearbook", PIER_NT)
    # 1 second of arc of each setting is 0.1 nT of Z and H in one measurement.
    at = TIMES[:-1]
    assert np.abs(one.values(at) - bases(at))[:, ::2].max() < 0.4
    assert np.abs(one.values(at) - bases(at))[:, 1].max() < 0.001
    listed = told("list", folder)
    assert listed.startswith(one.id[:8]) and "A. Observer: for the yearbook" in listed


def test_the_report_is_for_people(archive, tmp_path):
    said = told("adopt", archive, *WHAT, *WHO, *PIER, "--end", "2024-05-25", "--folder", tmp_path)
    assert "residual" in said and "not used: rejected by the fit: d is" in said
    assert "polynomial of degree 1: 5 spots used, 1 rejected by the fit, 6 in all" in said
    assert "drift of h: +" in said and f"adopted: {tmp_path}/WIC-lemi036-20240510-" in said
    assert "a year (+" in said  # D in nT


def test_sheets_do_as_well(archive, measured, tmp_path):
    sheets = []
    for number, time in enumerate(TIMES[:4]):
        one = simulate(truth, int(time), azimuth_deg=251.372, station="WIC")
        sheets += ["--absolutes", write_sheet(one, tmp_path / f"{number}.txt")]
    longer = ("--dry-run", "--json", *PIER)
    said = json.loads(told("adopt", archive, *WHAT, *sheets[:4], *longer, "--degree", "0"))
    assert said["file"] is None and len(said["spots"]) == 2
    assert [spot["base"]["z"] for spot in said["spots"]] == pytest.approx(bases(TIMES[:2])[:, 2], abs=0.05)
    assert not (archive / "baselines").exists()
    few = ("--begin", "2024-05-10", "--end", "2024-05-11", "--margin-days", "0")
    with pytest.raises(BaselineError, match="1 at different times"):
        told("adopt", archive, *WHAT, *sheets, *longer, *few)


def test_options_reach_the_fit(archive):
    step = iso(int(TIMES[2]) - DAY_NS)
    options = ("--step", step, "--restart", "--degree", "0", "--reject-sigma", "inf")
    said = json.loads(told("adopt", archive, *WHAT, *PIER, "--dry-run", "--json", *options))
    assert {one["time"] for one in said["steps"]} == {step}
    assert said["used"] == 6 and said["degree"] == 0


def test_the_only_variometer_need_not_be_named(archive):
    alone = json.loads(told("adopt", archive, *WHAT[4:], *PIER, "--dry-run", "--json"))
    assert alone == json.loads(told("adopt", archive, *WHAT, *PIER, "--dry-run", "--json"))


def test_nobody_adopts_without_a_name_and_a_reason(archive):
    for words in ((), WHO[:2], WHO[2:], (*WHO[:3], " ")):
        with pytest.raises(ConfigError, match="give --author and --reason"):
            told("adopt", archive, *WHAT, *words)
    with pytest.raises(ConfigError, match="not both"):
        told("adopt", archive, *WHAT, *WHO, "--knots", "1", "--knot", "2024-05-12")


def test_what_is_not_there_is_said(archive, tmp_path):
    with pytest.raises(NoStreamError, match="no vector stream PEA lemi036; it has"):
        told("adopt", archive, *WHAT[2:], "--station", "PEA", "--dry-run")
    with pytest.raises(NoStreamError):
        told("adopt", archive, "--station", "WIC", "--instrument", "lemi099", "--dry-run")
    with pytest.raises(BaselineError, match="no absolute measurement of WIC"):
        told("adopt", archive, *WHAT, "--dry-run", "--begin", "2020-01-01", "--end", "2020-02-01")
    stranger = write_sheet(simulate(truth, int(NOON), station="PEA", azimuth_deg=100.0), tmp_path / "a.txt")
    if "PEA" in stranger.read_text():
        with pytest.raises(BaselineError, match="is of PEA, not of WIC"):
            told("adopt", archive, *WHAT, "--dry-run", "--absolutes", stranger)


def test_list_names_what_is_damaged(archive, tmp_path):
    assert "no baseline was adopted" in told("list", archive)
    path = json.loads(told("adopt", archive, *WHAT, *WHO, *PIER, "--json", "--folder", tmp_path))["file"]
    (tmp_path / "WIC-lemi036-20240101-00000000.json").write_text("{}")
    said = told("list", tmp_path, code=1)
    assert "damaged: " in said and "00000000.json" in said and "for the yearbook" in said
    as_json = json.loads(told("list", tmp_path, "--json", code=1))
    assert len(as_json["baselines"]) == len(as_json["damaged"]) == 1
    assert as_json["baselines"][0]["id"][:8] in path
    with pytest.raises(ConfigError, match="is no folder"):
        told("list", tmp_path / "nowhere")
