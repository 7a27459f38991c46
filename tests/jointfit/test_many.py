"""Many fits at once, here and on a cluster's workers."""

import json

import pytest
from jointfit.simulated_fits import small

from obslab.jointfit import fit, fit_many
from obslab.jointfit.catalogue import Loaded
from obslab.jointfit.many import ManyError
from obslab.jointfit.simulate import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(small(bands=("r", "i")), tmp_path_factory.mktemp("many") / "night")


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def bands(folder):
    return {
        "r": (folder, {"bands": ["r"]}),
        "i": (folder, {"bands": ["i"]}),
        "missing": folder.parent / "nothing",
    }


def without_times(report):
    """What does not depend on the machine."""
    kept = {k: v for k, v in report.items() if k not in ("seconds", "peak_mb", "history")}
    return json.loads(json.dumps(kept, default=str))


def test_workers_give_the_reports_that_fits_here_do(folder, client, tmp_path):
    work = bands(folder)
    there = fit_many(work, client=client, out=tmp_path / "out")
    here = fit_many(work)
    assert list(there) == ["r", "i", "missing"]
    for name in ("r", "i"):
        assert without_times(there[name]) == without_times(here[name])
        assert (tmp_path / "out" / name / "fit.json").exists()
    for reports in (there, here):
        assert set(reports["missing"]) == {"error"} and "nothing" in reports["missing"]["error"]


def test_the_same_names_again_are_fitted_again(folder, client):
    first = fit_many({"r": (folder, {"bands": ["r"]})}, client=client)
    second = fit_many({"r": (folder, {"bands": ["r"]})}, client=client, model="simple")
    assert (first["r"]["model"], second["r"]["model"]) == ("constrained", "simple")


def test_a_fit_that_breaks_is_an_error_of_its_own(folder):
    loaded = small().loaded
    reports = fit_many({"good": Loaded(*loaded), "bad": (loaded[0], loaded[1], None)}, holdout=0)
    assert "chi2_per_degree" in reports["good"] and list(reports["bad"]) == ["error"]


def test_entries_that_are_none_are_refused(folder, tmp_path):
    with pytest.raises(ManyError, match="'x' is int, wanted a dataset folder"):
        fit_many({"x": 3})
    with pytest.raises(ManyError, match="no name of a folder"):
        fit_many({"../x": folder}, out=tmp_path)


def test_tables_can_be_sent_instead_of_folders(client):
    loaded = Loaded(*small(detectors=(1, 1), stars_per_detector=200).loaded)
    there = fit_many({"a": loaded}, client=client)
    assert there["a"]["chi2"] == pytest.approx(fit(*loaded).report["chi2"], rel=1e-9)
