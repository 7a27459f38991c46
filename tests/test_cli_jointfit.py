"""`obslab jointfit` as a user has it: real processes on folders and catalogues."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from commands import failure
from commands import run as in_process
from jointfit.catalogues import header, header_cell, sextractor, size_of_image, write_ldac
from jointfit.simulated_fits import small
from typer.testing import CliRunner

from obslab import cli
from obslab.errors import ObslabError
from obslab.jointfit.catalogue import load
from obslab.jointfit.simulate import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(small(bands=("r", "i")), tmp_path_factory.mktemp("cli") / "dataset")


def told(*arguments):
    """The command in this process: what it says, or the error that the process would end with."""
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def report(*arguments):
    """fit.json as --json prints it."""
    return json.loads(told("jointfit", "run", *arguments, "--json", "--no-tables"))


def catalogues(simulated, folder, exposures=range(6)):
    """SExtractor's files of the simulated images, with their rough WCS as TAN headers."""
    m, paths = simulated.measured, []
    for i in np.flatnonzero(np.isin(m.exposure.values, list(exposures))):
        rows = m.image.values == i
        e, d = int(m.exposure.values[i]), int(m.detector.values[i])
        cd = m.start.values[i, :, 1:3] / m.half.values[i]
        at = m.mid.values[i] - np.linalg.solve(cd, m.start.values[i, :, 0])
        cards = header(
            e,
            d,
            CRVAL1=m.crval.values[i, 0],
            CRVAL2=m.crval.values[i, 1],
            CRPIX1=at[0],
            CRPIX2=at[1],
            CD1_1=cd[0, 0],
            CD1_2=cd[0, 1],
            CD2_1=cd[1, 0],
            CD2_2=cd[1, 1],
            QRUNID="one",
            **{"MJD-OBS": float(simulated.exposures.mjd.values[e])},
        )
        columns = sextractor(
            NUMBER=m.id.values[rows].astype(np.int32),
            XWIN_IMAGE=m.x.values[rows],
            YWIN_IMAGE=m.y.values[rows],
            ERRAWIN_IMAGE=m.sigma.values[rows],
            ERRBWIN_IMAGE=m.sigma.values[rows],
            ERRTHETAWIN_IMAGE=np.zeros(rows.sum(), np.float32),
            FLUX_AUTO=m.flux.values[rows],
            FLUXERR_AUTO=m.flux_error.values[rows],
            FLAGS=np.zeros(rows.sum(), np.int16),
            IMAFLAGS_ISO=np.zeros(rows.sum(), np.int32),
        )
        paths.append(
            write_ldac(folder / f"e{e:03}_c{d:02}.cat", [(header_cell(size_of_image(cards)), columns)])
        )
    return paths


def test_catalogues_become_a_dataset_that_fits(folder, tmp_path):
    simulated = small(bands=("r", "i"))
    paths = catalogues(simulated, tmp_path)
    said = told(
        "jointfit", "import", *paths, "--out", tmp_path / "set", "--reference", folder / "refcat.fits"
    )
    assert "24 images of 6 exposures" in said
    measured = load(tmp_path / "set").measured
    assert sorted(measured.x.values) == pytest.approx(sorted(simulated.measured.x.values), abs=1e-6)
    said = report(tmp_path / "set", "--out", tmp_path / "out")
    direct = report(folder, "--out", tmp_path / "direct")
    assert said["chi2_per_degree"] == pytest.approx(direct["chi2_per_degree"], abs=0.02)
    assert said["stars"] == pytest.approx(direct["stars"], abs=20)


def test_run_writes_headers_report_and_tables(folder, tmp_path):
    done = in_process("jointfit", "run", folder, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "10 mappings: 4 of degree 4 for detectors" in done.stdout
    assert f"written to {tmp_path}" in done.stdout
    said = json.loads((tmp_path / "fit.json").read_text())
    assert said["mappings"] == 10 and said["converged"] is True
    with xr.open_dataset(tmp_path / "residuals.nc") as table:
        assert table.sizes["measured"] == small(bands=("r", "i")).measured.sizes["measured"]
    assert len(list(tmp_path.glob("e00?_c0?*"))) == 24


def test_json_is_the_report_and_nothing_else(folder, tmp_path):
    said = report(folder, "--out", tmp_path)
    assert said == json.loads((tmp_path / "fit.json").read_text())
    assert not list(tmp_path.glob("*.nc"))


def test_stages_are_fitted_in_order(folder, tmp_path):
    wanted = ["mappings:exposures", "mappings+positions"]
    said = report(folder, "--out", tmp_path, "--stage", wanted[0], "--stage", wanted[1])
    assert said["stages"] == wanted
    assert {i["stage"] for i in said["history"]} == {*wanted, "with held-out stars"}


def test_the_simple_model_and_subsets(folder, tmp_path):
    said = report(folder, "--out", tmp_path, "--model", "simple", "--degree", "2", "--band", "r")
    assert said["mappings"] == 12 and "degree 2 for each image" in said["mappings_are"]


def test_image_to_image_writes_transforms(folder, tmp_path):
    said = report(folder, "--out", tmp_path, "--image-to-image", "--held", "1")
    assert said["unit"] == "pixel"
    transforms = json.loads((tmp_path / "transforms.json").read_text())
    assert transforms["held"].startswith("e001") and len(transforms["transforms"]) == 23


def test_what_cannot_be_fitted_is_one_line_or_left_out(folder, tmp_path):
    simulated = small(bands=("r", "i"))
    wrong = simulated.measured.copy(deep=True)
    wrong.crval.values[wrong.exposure.values == 3] += [0.0, 1.0]
    other = write(replace(simulated, measured=wrong), tmp_path / "wrong")
    said = failure("jointfit", "run", other, "--out", tmp_path / "out")
    assert "exposure 3 cannot be aligned" in said
    assert not (tmp_path / "out" / "fit.json").exists()
    left = report(other, "--out", tmp_path / "out", "--exclude-troubled")
    assert any("exposure 3" in note for note in left["notes"])
    assert not list((tmp_path / "out").glob("e003*")) and list((tmp_path / "out").glob("e002*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--stage", "mapings"], "names mapings"),
        (["--model", "cubic"], "there is no model 'cubic'"),
        (["--refraction", "sec z"], "'tan z' or 'constant'"),
        (["--floor", "much"], "floor_mas 'much' is not known"),
        (["--floor", "nan"], "wanted a number from 0 up"),
        (["--held", "99"], "exposure 99 cannot be held"),
        (["--wcs", "zpn"], "zpn"),
        (["--model", "simple", "--stage", "mappings:detectors"], "does not suit the simple model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_make_no_sense_are_one_line(folder, tmp_path, arguments, said):
    with pytest.raises(ObslabError) as caught:
        report(folder, "--out", tmp_path, *arguments)
    assert said in caught.value.message and "\n" not in caught.value.message


def test_a_folder_that_is_no_dataset_is_one_line(tmp_path):
    assert str(tmp_path) in failure("jointfit", "run", tmp_path, "--out", tmp_path / "out")
