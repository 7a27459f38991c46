"""SExtractor's FITS_LDAC with .head and .ahead files, imported: the DATASET of the same stars."""

import numpy as np
import pytest
from jointfit.catalogues import (
    DETECTORS,
    EXPOSURES,
    header,
    header_cell,
    sextractor,
    size_of_image,
    stars,
    write_dataset,
    write_ldac,
)

from obslab.jointfit.catalogue import CatalogueError, import_catalogues, load, save
from obslab.jointfit.headers import HeaderError


def cell(exposure=3, detector=1, end=True, **changes):
    return header_cell(size_of_image(header(exposure, detector, **changes)), end=end)


@pytest.fixture
def catalogues(tmp_path):
    return [
        write_ldac(tmp_path / f"exp{e}.cat", [(cell(e, d), sextractor(e, d)) for d in DETECTORS])
        for e in EXPOSURES
    ]


def head(exposure=3, detector=1, **cards):
    """One header of a .head file: what SCAMP writes, among it a solution."""
    made = header(exposure, detector, **cards)
    lines = [
        "COMMENT   (c) 2010-2018 Sorbonne Universit\u00e9/CNRS",
        *(card.image for card in made.cards),
        "END     ",
    ]
    return "\n".join(lines) + "\n"


def test_catalogues_become_the_dataset_of_the_same_images(catalogues, tmp_path):
    imported = import_catalogues(catalogues)
    folder = load(write_dataset(tmp_path / "set", IMAGEW=2048, IMAGEH=2048))
    for name in folder.measured.variables:
        np.testing.assert_array_equal(imported.measured[name].values, folder.measured[name].values, name)
    for name in set(folder.exposures.variables) - {"mjd", "epoch"}:
        np.testing.assert_array_equal(imported.exposures[name].values, folder.exposures[name].values, name)
    # MJD-OBS of an image is the beginning of its 30 s, of a dataset the middle.
    np.testing.assert_allclose(imported.exposures.mjd - folder.exposures.mjd, 15 / 86_400, atol=1e-9)
    np.testing.assert_allclose(
        imported.exposures.epoch - folder.exposures.epoch, 15 / 86_400 / 365.25, atol=1e-11
    )
    assert imported.reference is None
    again = load(save(imported, tmp_path / "again"))
    np.testing.assert_array_equal(again.measured.x, imported.measured.x)
    np.testing.assert_array_equal(again.exposures.mjd, imported.exposures.mjd)


def test_a_header_without_END_or_in_latin_1_is_read(tmp_path):
    text = cell(end=False).replace(b"FILTER  = 'r       '", b"FILTER  = 'r\xe9      '")
    assert b"\xe9" in text
    for n, ending in enumerate(
        (b"", b"END".ljust(80), b" " * 160, b"END".ljust(80) + b"REQNUM  = 9".ljust(80))
    ):
        made = import_catalogues([write_ldac(tmp_path / f"{n}.cat", [(text + ending, sextractor())])])
        assert made.exposures.band.item() == "r\u00e9"
        assert made.measured.crval.values[0, 0] == header()["CRVAL1"]
        assert "request" not in made.exposures


def test_a_head_file_replaces_the_wcs_and_an_ahead_file_overrides_cards(catalogues):
    before = import_catalogues(catalogues[:1]).measured
    solution = {"CRVAL1": 150.5, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "PV1_1": 1.001, "PV2_1": 1.0}
    quadratic = {"PV1_4": 1e-3, "PV2_4": 2e-3}
    catalogues[0].with_suffix(".head").write_text(
        "".join(head(3, d, **solution, **quadratic) for d in DETECTORS)
    )
    after = import_catalogues(catalogues[:1]).measured
    assert after.sizes["term"] == 6
    assert after.crval.values[:, 0].tolist() == [150.5, 150.5]
    # xi at CRPIX + (1 deg) in x of the solution: 1.001 x + 1e-3 x2
    x, y = before.start.values[0]
    np.testing.assert_allclose(after.start.values[0, 0, 3], 1e-3 * x[1] ** 2, rtol=1e-12)
    np.testing.assert_allclose(after.start.values[0, 1, 5], 2e-3 * y[2] ** 2, rtol=1e-12)

    catalogues[0].with_suffix(".head").unlink()
    crpix = "".join(f"CRPIX1  = {10.0 * d}\nFILTER  = 'g'\nEND\n" for d in DETECTORS)
    catalogues[0].with_suffix(".ahead").write_text(crpix)
    both = import_catalogues(catalogues)
    np.testing.assert_allclose(both.measured.start.values[0, :, 1:], before.start.values[0, :, 1:])
    moved = (both.measured.start.values[0, :, 0] - before.start.values[0, :, 0]) / 1e-5
    np.testing.assert_allclose(moved, np.array([-7.3077540355523, -8.99e-4]) * (3189.27 - 10.0), rtol=1e-9)
    assert both.exposures.band.values.tolist() == ["g", "r"]


def test_a_head_file_takes_a_sip_distortion_away(tmp_path):
    sip = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-6}
    path = write_ldac(tmp_path / "one.cat", [(cell(**sip), sextractor())])
    assert import_catalogues([path]).measured.start.values[0, :, 3:].any()
    path.with_suffix(".head").write_text(head())
    assert import_catalogues([path]).measured.sizes["term"] == 3


def test_the_matrix_of_an_ahead_file_counts_however_it_is_written(tmp_path):
    old = {"CD1_1": None, "CD1_2": None, "CD2_1": None, "CD2_2": None, "CDELT1": -1e-4, "CDELT2": 1e-4}
    path = write_ldac(tmp_path / "one.cat", [(cell(**old), sextractor())])
    half = 1024
    np.testing.assert_allclose(import_catalogues([path]).measured.start.values[0, 0, 1], -1e-4 * half)
    path.with_suffix(".ahead").write_text("CD1_1   = -2E-4\nCD2_2   = 2E-4\nEND\n")
    np.testing.assert_allclose(import_catalogues([path]).measured.start.values[0, 0, 1], -2e-4 * half)
    path = write_ldac(tmp_path / "two.cat", [(cell(), sextractor())])
    path.with_suffix(".ahead").write_text("CDELT1  = -3E-4\nCDELT2  = 3E-4\nEND\n")
    np.testing.assert_allclose(import_catalogues([path]).measured.start.values[0, 0, 1], -3e-4 * half)


def test_a_head_file_for_other_detectors_is_refused(catalogues):
    catalogues[0].with_suffix(".head").write_text(head() * 3)
    with pytest.raises(CatalogueError, match=r"exp3\.head holds 3 headers for 2 images"):
        import_catalogues(catalogues)


def test_an_error_ellipse_becomes_errors_of_x_and_y(tmp_path):
    rng = np.random.default_rng(0)
    a, b = np.full(30, 0.04, np.float32), np.full(30, 0.01, np.float32)
    angle = rng.uniform(-90, 90, 30).astype(np.float32)
    columns = sextractor(ERRAWIN_IMAGE=a, ERRBWIN_IMAGE=b, ERRTHETAWIN_IMAGE=angle)
    measured = import_catalogues([write_ldac(tmp_path / "one.cat", [(cell(), columns)])]).measured
    for n in range(30):
        turn = np.radians(angle[n])
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        wanted = rotation @ np.diag([a[n] ** 2, b[n] ** 2]) @ rotation.T
        row = measured.isel(measured=n)
        found = [row.sigma_x.item() ** 2, row.covariance_xy.item(), row.sigma_y.item() ** 2]
        np.testing.assert_allclose(found, wanted[[0, 0, 1], [0, 1, 1]], rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(measured.sigma, np.hypot(0.04, 0.01) / np.sqrt(2), rtol=1e-6)


def test_round_errors_stay_one_column_and_are_at_least_the_minimum(tmp_path):
    path = write_ldac(tmp_path / "one.cat", [(cell(), sextractor())])
    measured = import_catalogues([path], minimum_error_pixel=0.03).measured
    assert "sigma_x" not in measured
    np.testing.assert_array_equal(measured.sigma, np.maximum(stars()["SIGMA"], np.float32(0.03)))


def test_an_error_that_is_none_stays_one(tmp_path):
    sigma = stars()["SIGMA"]
    sigma[2], sigma[3] = 0, np.nan
    path = write_ldac(
        tmp_path / "one.cat", [(cell(), sextractor(ERRAWIN_IMAGE=sigma, ERRBWIN_IMAGE=sigma / 2))]
    )
    measured = import_catalogues([path], minimum_error_pixel=0.03).measured
    assert np.flatnonzero(~(measured.sigma.values > 0)).tolist() == [2, 3]


def test_isophotal_positions_have_isophotal_errors(tmp_path):
    other = {name: None for name in sextractor() if "WIN" in name}
    cat = stars()
    other |= {
        "X_IMAGE": cat["X"],
        "Y_IMAGE": cat["Y"],
        "ERRA_IMAGE": cat["SIGMA"],
        "ERRB_IMAGE": cat["SIGMA"],
    }
    other |= {"FLUX_AUTO": None, "FLUX_APER": np.stack([cat["FLUX"], 2 * cat["FLUX"]], 1)}
    other |= {"FLUXERR_AUTO": None, "FLUXERR_APER": np.stack([cat["FLUXERR"], cat["FLUXERR"]], 1)}
    path = write_ldac(tmp_path / "one.cat", [(cell(), sextractor(**other))])
    measured = import_catalogues([path]).measured
    np.testing.assert_array_equal(measured.x, cat["X"])
    np.testing.assert_array_equal(measured.sigma, cat["SIGMA"])
    np.testing.assert_array_equal(measured.flux, cat["FLUX"])


def test_columns_are_chosen_by_name(tmp_path):
    more = {
        "XPSF": stars()["X"] + 1,
        "YPSF": stars()["Y"],
        "FLUX_PSF": stars()["FLUX"] * 3,
        "E_PSF": stars()["FLUXERR"],
    }
    path = write_ldac(tmp_path / "one.cat", [(cell(), sextractor(**more))])
    chosen = {"x": "xpsf", "y": "YPSF", "sigma": "ERRAWIN_IMAGE", "flux": "FLUX_PSF", "flux_error": "E_PSF"}
    measured = import_catalogues([path], columns=chosen).measured
    np.testing.assert_array_equal(measured.x, more["XPSF"])
    np.testing.assert_array_equal(measured.flux, more["FLUX_PSF"])
    with pytest.raises(CatalogueError, match="no column 'XPFS' for x"):
        import_catalogues([path], columns={"x": "XPFS"})
    with pytest.raises(CatalogueError, match="'position' is nothing"):
        import_catalogues([path], columns={"position": "X"})


def test_exposures_and_detectors_without_numbers_are_counted(tmp_path):
    bare = {"EXPNUM": None, "CCDNUM": None}
    paths = [
        write_ldac(tmp_path / f"{name}.cat", [(cell(e, d, **bare), sextractor(e, d)) for d in DETECTORS])
        for name, e in (("b", 7), ("a", 3))
    ]
    imported = import_catalogues(paths)
    assert imported.measured.name.values.tolist() == ["e001_c01", "e001_c02", "e002_c01", "e002_c02"]
    np.testing.assert_array_equal(imported.measured.x.values[:30], stars(7, 1)["X"])
    named = [
        write_ldac(
            tmp_path / "n.cat",
            [(cell(3, d, **bare, EXTNAME=f"ccd{d + 10}a"), sextractor(3, d)) for d in DETECTORS],
        )
    ]
    assert import_catalogues(named).measured.detector.values.tolist() == [11, 12]


def test_other_cards_can_say_what_is_what(tmp_path):
    changes = {"VISIT": 42, "CHIP": 5, "BAND": "i", "EXPNUM": None}
    path = write_ldac(tmp_path / "one.cat", [(cell(**changes), sextractor())])
    keys = {"exposure": "VISIT", "detector": "CHIP", "band": "BAND", "instrument": "QRUNID"}
    imported = import_catalogues([path], keys=keys)
    assert imported.measured.name.item() == "e042_c05"
    assert imported.exposures.band.item() == "i"
    assert imported.exposures.instrument.item() == "run3"


def test_one_image_in_two_files_is_an_error_that_names_both(tmp_path):
    paths = [write_ldac(tmp_path / f"{name}.cat", [(cell(), sextractor())]) for name in "ab"]
    with pytest.raises(CatalogueError, match=r"exposure 3 detector 1 is in .*a\.cat and in .*b\.cat"):
        import_catalogues(paths)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([(cell(), sextractor(XWIN_IMAGE=None))], "has no x"),
        ([(cell(), sextractor(ERRAWIN_IMAGE=None))], "--minimum-error"),
        ([(cell(), sextractor(FLUXERR_AUTO=None))], "no flux with its error"),
        ([(b" " * 160, sextractor())], "is empty"),
        ([(cell(**{"MJD-OBS": None, "DATE-OBS": None}), sextractor())], "no MJD-OBS and no DATE-OBS"),
        ([(cell(EXPNUM=1.5), sextractor())], "EXPNUM is 1.5"),
    ],
)
def test_a_catalogue_that_lacks_something_is_named(tmp_path, made, said):
    path = write_ldac(tmp_path / "one.cat", made)
    with pytest.raises(CatalogueError) as caught:
        import_catalogues([path])
    assert said in str(caught.value)
    assert "one.cat" in str(caught.value)


def test_a_header_without_wcs_is_named_with_its_place(tmp_path):
    path = write_ldac(
        tmp_path / "one.cat", [(cell(3, 1), sextractor()), (cell(3, 2, CTYPE1=None), sextractor(3, 2))]
    )
    with pytest.raises(HeaderError, match=r"one\.cat\[2\]: CTYPE is"):
        import_catalogues([path])


def test_tables_in_another_order_are_refused(tmp_path):
    path = write_ldac(
        tmp_path / "one.cat",
        [(cell(), sextractor())],
        patch=lambda data: data.replace(b"LDAC_OBJECTS", b"LDAC_FIELDS "),
    )
    with pytest.raises(CatalogueError, match="LDAC_IMHEAD and LDAC_OBJECTS in turn"):
        import_catalogues([path])
