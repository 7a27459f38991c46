"""Exposures, detectors, bands, nights and fields chosen out of a dataset."""

import numpy as np
import pytest
from jointfit.catalogues import MJD, STARS, stars, write_dataset

from obslab.jointfit.catalogue import NothingLeftError, fields_of, load, nights_of, subset
from obslab.jointfit.datasets import EXPOSURES, MEASURED


@pytest.fixture
def loaded(tmp_path):
    return load(write_dataset(tmp_path / "set"))


def test_a_subset_is_a_dataset_again(loaded):
    part = subset(loaded, detectors=[2])
    MEASURED.check(part.measured)
    EXPOSURES.check(part.exposures)
    assert part.measured.name.values.tolist() == ["e003_c02", "e007_c02"]
    np.testing.assert_array_equal(part.measured["image"], np.repeat([0, 1], STARS))
    np.testing.assert_array_equal(part.measured.x.values[STARS:], stars(7, 2)["X"])
    np.testing.assert_array_equal(part.measured.mid.values, loaded.measured.mid.values[1::2])
    assert part.exposures.sizes["exposure"] == 2
    assert part.reference is loaded.reference
    assert loaded.measured.sizes["image"] == 4, "what was given is not changed"


def test_choices_are_combined(loaded):
    loaded.exposures["band"] = ("exposure", np.array(["g", "r"]))
    assert subset(loaded, bands=["r"]).exposures.exposure.values.tolist() == [7]
    assert subset(loaded, bands="r", detectors=[1]).measured.name.values.tolist() == ["e007_c01"]
    assert subset(loaded, exposures=[3, 99]).measured.sizes["image"] == 2
    with pytest.raises(
        NothingLeftError, match=r"bands \['g'\] of \['g', 'r'\] and detectors \[4\] of \[1, 2\]"
    ):
        subset(loaded, bands=["g"], detectors=[4])


def test_a_night_is_named_for_the_noon_before_it(loaded):
    # MJD 60000.25 is 2023-02-25 06:00, MJD 60001.30 the 26th 07:12: morning hours of the nights of 24 and 25.
    assert nights_of(loaded.exposures).astype(str).tolist() == ["2023-02-24", "2023-02-25"]
    assert subset(loaded, nights=["2023-02-25"]).exposures.exposure.values.tolist() == [7]
    chosen = subset(loaded, nights=np.array(["2023-02-24"], "datetime64[D]"))
    assert chosen.exposures.exposure.values.tolist() == [3]


def test_with_a_longitude_noon_is_local(loaded):
    exposures = loaded.exposures.copy()
    # In Hawaii, 155.5 deg west, 10:00 to 14:00 UTC are 23:38 to 03:38: one night, which UTC would cut.
    exposures["mjd"] = ("exposure", 60_000 + np.array([10.0, 14.0]) / 24)
    assert len(set(nights_of(exposures).tolist())) == 2
    assert set(nights_of(exposures, longitude_deg=-155.5).astype(str)) == {"2023-02-24"}


def test_fields_are_exposures_that_overlap(tmp_path, monkeypatch):
    for n in range(5):
        monkeypatch.setitem(MJD, n, 60_000.0 + n)
    loaded = load(write_dataset(tmp_path / "five", exposures=range(5)))
    ra = {0: 150.0, 1: 170.0, 2: 150.3, 3: 190.0, 4: 150.6}  # 0-2 and 2-4 overlap, 0-4 only through 2
    measured, exposures = loaded.measured, loaded.exposures
    measured.crval[:, 0] = [ra[e] for e in measured.exposure.values]
    exposures["ra"] = ("exposure", np.array(list(ra.values())))
    assert fields_of(measured, exposures).tolist() == [0, 1, 0, 2, 0]
    assert subset(loaded, fields=[0]).exposures.exposure.values.tolist() == [0, 2, 4]
