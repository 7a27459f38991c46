"""A DATASET folder written by astropy is loaded, saved and loaded again; what is wrong in one is named."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from jointfit.catalogues import (
    DETECTORS,
    EXPOSURES,
    MJD,
    PIXELS,
    SCALE,
    STARS,
    exposure_table,
    header,
    image_hdus,
    reference,
    stars,
    write_dataset,
)

from obslab.jointfit.catalogue import CatalogueError, Loaded, NoDatasetError, load, save
from obslab.jointfit.datasets import EXPOSURES as EXPOSURES_SCHEMA
from obslab.jointfit.datasets import MEASURED, REFERENCE


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "set")


def rewrite(path, change):
    """Change the HDUs of a file in place."""
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(path, overwrite=True)


def replace_table(path, columns, name="CAT"):
    with fits.open(path) as hdus:
        fits.HDUList([hdus[0], fits.BinTableHDU(Table(columns), name=name)]).writeto(path, overwrite=True)


def assert_same(one, other):
    """Equal to the last bit, but for the rough WCS, which cards hold to a rounding (1e-14 deg, 4e-8 mas)."""
    for mine, theirs in zip(one, other, strict=True):
        assert set(mine.variables) == set(theirs.variables)
        for name in mine.variables:
            assert mine[name].dtype == theirs[name].dtype, name
            if name == "start":
                np.testing.assert_allclose(mine[name], theirs[name], rtol=0, atol=1e-14)
            else:
                np.testing.assert_array_equal(mine[name].values, theirs[name].values, name)


def test_a_folder_is_three_datasets_that_obey_their_schemas(dataset):
    measured, ref, exposures = load(dataset)
    MEASURED.check(measured)
    REFERENCE.check(ref)
    EXPOSURES_SCHEMA.check(exposures)
    assert measured.sizes == {"measured": 4 * STARS, "image": 4, "axis": 2, "term": 3}
    assert measured.name.values.tolist() == ["e003_c01", "e003_c02", "e007_c01", "e007_c02"]
    assert measured.exposure.values.tolist() == [3, 3, 7, 7]
    assert measured.detector.values.tolist() == [1, 2, 1, 2]
    np.testing.assert_array_equal(measured["image"], np.repeat(range(4), STARS))
    third = measured["image"].values == 2
    for ours, theirs in (
        ("id", "ID"),
        ("x", "X"),
        ("sigma", "SIGMA"),
        ("flux_error", "FLUXERR"),
        ("flags", "FLAGS"),
    ):
        np.testing.assert_array_equal(measured[ours].values[third], stars(7, 1)[theirs])
    for ours, theirs in (
        ("ra", "RA"),
        ("pm_dec_error", "PMDEC_ERR"),
        ("parallax", "PLX"),
        ("epoch", "EPOCH"),
    ):
        np.testing.assert_array_equal(ref[ours], reference()[theirs])
    assert exposures.exposure.values.tolist() == list(EXPOSURES)
    np.testing.assert_array_equal(exposures.mjd, list(MJD.values()))
    assert exposures.band.values.tolist() == ["r", "r"]
    assert exposures.instrument.values.tolist() == ["1", "1"]
    assert "request" not in exposures


def test_the_rough_wcs_is_that_of_the_header(dataset):
    measured, _, exposures = load(dataset)
    cards = header(7, 2)
    u = (100.0 - measured.mid.values[3]) / measured.half.values[3]
    xi = measured.start.values[3] @ [1, u[0], u[1]]
    cd = np.array([[cards["CD1_1"], cards["CD1_2"]], [cards["CD2_1"], cards["CD2_2"]]])
    np.testing.assert_allclose(xi, cd @ [100 - cards["CRPIX1"], 100 - cards["CRPIX2"]], rtol=1e-13)
    np.testing.assert_array_equal(measured.crval.values[3], [exposures.ra.values[1], exposures.dec.values[1]])


def test_normalisation_is_one_for_all_images_of_a_detector(dataset):
    measured = load(dataset).measured
    x = {d: np.concatenate([stars(e, d)["X"] for e in EXPOSURES]) for d in DETECTORS}
    for n, detector in enumerate(measured.detector.values):
        last = np.ceil(x[detector].max())
        assert measured.mid.values[n, 0] == (last + 1) / 2
        assert measured.half.values[n, 0] == last / 2


def test_normalisation_is_by_the_size_of_the_image_where_it_is_known(tmp_path):
    folder = write_dataset(tmp_path / "set", IMAGEW=PIXELS, IMAGEH=2 * PIXELS)
    measured = load(folder).measured
    assert measured.mid.values.tolist() == [[1024.5, 2048.5]] * 4
    assert measured.half.values.tolist() == [[1024, 2048]] * 4


def test_what_is_saved_is_loaded_as_it_was(dataset, tmp_path):
    first = load(dataset)
    assert_same(load(save(first, tmp_path / "again")), first)
    fits.open(tmp_path / "again/images/e003_c01.fits").verify("exception")


def test_everything_optional_is_saved_too(dataset, tmp_path):
    rng = np.random.default_rng(3)
    first = load(dataset)
    rows, count = first.measured.sizes["measured"], 2
    start = np.zeros((4, 2, 15))
    start[:, :, :3] = first.measured.start
    start[:, :, 3:] = rng.normal(0, 1e-6, (4, 2, 12))
    columns = {name: first.measured[name].values for name in first.measured.variables}
    columns |= {
        name: rng.uniform(0.01, 0.02, rows).astype("f4") for name in ("sigma_x", "sigma_y", "covariance_xy")
    }
    columns |= {"color": np.where(rng.random(rows) < 0.5, np.nan, 1.0).astype("f4"), "start": start}
    table = {name: first.exposures[name].values for name in first.exposures.variables}
    table |= {"request": np.array([12345678901, -1]), "observation": np.array(["obs-7", ""])}
    table |= {"instrument": np.array(["run1", "after repair"]), "airmass": np.array([1.1, np.nan])}
    rich = Loaded(MEASURED.build(**columns), None, EXPOSURES_SCHEMA.build(**table))
    again = load(save(rich, tmp_path / "again"))
    assert again.reference is None
    assert_same(again[::2], rich[::2])
    assert count == again.exposures.sizes["exposure"]


def test_nothing_is_overwritten_and_nothing_left_half_written(dataset, tmp_path):
    with pytest.raises(CatalogueError, match="not empty"):
        save(load(dataset), dataset)
    loaded = load(dataset)
    loaded.measured["name"] = ("image", np.array(["no/such/folder"] * 4))
    with pytest.raises(FileNotFoundError):
        save(loaded, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_optional_columns_of_some_images_are_filled_in_for_the_others(dataset):
    columns = stars(3, 1)
    sigma = columns.pop("SIGMA")
    columns |= {
        "XERR": sigma,
        "YERR": 2 * sigma,
        "XYCOV": 0.1 * sigma**2,
        "COLOR": np.full(STARS, 0.7, np.float32),
    }
    replace_table(dataset / "images/e003_c01.fits", columns)
    measured = load(dataset).measured
    with_it = measured["image"].values == 0
    np.testing.assert_allclose(measured.sigma.values[with_it], sigma * np.sqrt(2.5), rtol=1e-6)
    np.testing.assert_array_equal(measured.sigma_y.values[with_it], 2 * sigma)
    np.testing.assert_array_equal(measured.color.values[with_it], np.float32(0.7))
    assert np.isnan(measured.color.values[~with_it]).all()
    np.testing.assert_array_equal(measured.sigma_x.values[~with_it], measured.sigma.values[~with_it])
    assert not measured.covariance_xy.values[~with_it].any()


def test_bad_rows_are_kept_and_an_empty_image_is_one(dataset):
    columns = stars(3, 2)
    columns["X"][3], columns["SIGMA"][4], columns["FLUX"][5] = np.nan, -1, np.nan
    columns["X"][6] = 2047.9
    replace_table(dataset / "images/e003_c02.fits", columns)
    replace_table(dataset / "images/e007_c01.fits", {name: values[:0] for name, values in stars().items()})
    measured = load(dataset).measured
    assert measured.sizes["measured"] == 3 * STARS
    assert measured.sizes["image"] == 4
    np.testing.assert_array_equal(measured.x.values[STARS : 2 * STARS], columns["X"])
    assert measured.sigma.values[STARS + 4] == -1
    assert measured.mid.values[1::2, 0].tolist() == [1024.5, 1024.5], "by 2047.9, which is beside a NaN"
    assert np.isfinite(measured.mid).all()
    assert measured.mid.values[0].tolist() == measured.mid.values[2].tolist()


def test_headers_serve_where_there_is_no_table_of_exposures(dataset):
    with_table = load(dataset)
    (dataset / "exposures.fits").unlink()
    assert_same([load(dataset).exposures], [with_table.exposures])


def test_a_request_and_an_observation_come_from_the_headers(tmp_path):
    folder = write_dataset(tmp_path / "set", REQNUM=4711, OBSID="lsc1m005-e")
    exposures = load(folder).exposures
    assert exposures.request.values.tolist() == [4711, 4711]
    assert exposures.observation.values.tolist() == ["lsc1m005-e"] * 2


def test_instrument_epochs_come_from_a_card_only_when_asked(dataset):
    assert set(load(dataset).exposures.instrument.values) == {"1"}
    assert load(dataset, instrument_key="QRUNID").exposures.instrument.values.tolist() == ["run3", "run7"]


def test_a_column_of_instruments_counts(dataset):
    table = exposure_table()
    table["INSTRUMENT"] = ["before", "after"]
    table.write(dataset / "exposures.fits", overwrite=True)
    assert load(dataset).exposures.instrument.values.tolist() == ["before", "after"]


def test_no_reference_is_none(dataset):
    (dataset / "refcat.fits").unlink()
    assert load(dataset).reference is None


def duplicate(folder):
    image_hdus(stars(), header(3, 1)).writeto(folder / "images/e004_c01.fits")


def other_time(folder):
    rewrite(folder / "images/e007_c02.fits", lambda hdus: hdus[0].header.update({"MJD-OBS": 60_009.0}))


def other_time_in_table(folder):
    table = exposure_table()
    table["MJD"] += [0, 3]
    table["EPOCH"] += [0, 3 / 365.25]
    table.write(folder / "exposures.fits", overwrite=True)


def other_epoch(folder):
    table = exposure_table()
    table["EPOCH"] = 2016.0
    table.write(folder / "exposures.fits", overwrite=True)


def exposure_missing(folder):
    exposure_table()[:1].write(folder / "exposures.fits", overwrite=True)


def exposure_twice(folder):
    table = exposure_table()
    table["EXP"] = 3
    table.write(folder / "exposures.fits", overwrite=True)


def other_band(folder):
    rewrite(folder / "images/e007_c02.fits", lambda hdus: hdus[0].header.update(FILTER="g"))


def no_epoch_of_reference(folder):
    Table({name: values for name, values in reference().items() if name != "EPOCH"}).write(
        folder / "refcat.fits", overwrite=True
    )


def no_column(folder):
    replace_table(folder / "images/e003_c01.fits", {n: v for n, v in stars().items() if n != "SIGMA"})


def no_time(folder):
    (folder / "exposures.fits").unlink()
    for path in (folder / "images").iterdir():
        rewrite(path, lambda hdus: hdus[0].header.remove("MJD-OBS"))


def no_wcs(folder):
    rewrite(folder / "images/e003_c02.fits", lambda hdus: hdus[0].header.remove("CTYPE1"))


def cut_off(folder):
    path = folder / "images/e003_c02.fits"
    path.write_bytes(path.read_bytes()[:6000])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (duplicate, ["exposure 3 detector 1", "e003_c01.fits", "e004_c01.fits"]),
        (other_time, ["exposure 7", "e007_c01.fits", "e007_c02.fits", "60009.0"]),
        (other_time_in_table, ["exposures.fits", "exposure 7", "60004.3", "60001.3"]),
        (other_epoch, ["exposures.fits", "exposure 3 has EPOCH 2016"]),
        (exposure_missing, ["exposures.fits has no exposure 7"]),
        (exposure_twice, ["lists an exposure twice"]),
        (other_band, ["exposure 7 has band 'r' in", "'g' in", "e007_c02.fits"]),
        (no_epoch_of_reference, ["refcat.fits", "--epoch"]),
        (no_column, ["e003_c01.fits", "no column SIGMA"]),
        (no_time, ["exposure 3 no MJD-OBS"]),
        (no_wcs, ["e003_c02.fits", "CTYPE"]),
        (cut_off, ["e003_c02.fits is cut off"]),
    ],
)
def test_what_is_wrong_is_named(dataset, damage, said):
    damage(dataset)
    with pytest.raises(ValueError) as caught:
        load(dataset)
    for words in said:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_images_is_no_dataset(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(NoDatasetError, match="obslab jointfit import"):
            load(path)


def test_only_the_images_asked_for_are_loaded(dataset):
    part = load(dataset, exposures=[7], detectors=[2])
    assert part.measured.name.values.tolist() == ["e007_c02"]
    assert part.exposures.exposure.values.tolist() == [7]
    assert load(dataset, nights=["2023-02-24"]).exposures.exposure.values.tolist() == [3]
    with pytest.raises(NoDatasetError, match=r"no image of exposures \[9\]"):
        load(dataset, exposures=[9])


def test_a_pixel_is_as_large_as_the_header_says(dataset):
    measured = load(dataset).measured
    linear = measured.start.values[:, :, 1:] / measured.half.values[:, None]
    np.testing.assert_allclose(np.sqrt(np.abs(np.linalg.det(linear))), SCALE, rtol=1e-3)
