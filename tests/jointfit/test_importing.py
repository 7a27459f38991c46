"""Plain tables with a WCS, times, airmass and parallactic angle of headers from elsewhere."""

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, Angle, EarthLocation, SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from jointfit.catalogues import DETECTORS, EXPOSURES, LATITUDE, header, size_of_image, stars

from obslab.jointfit.catalogue import CatalogueError, import_catalogues
from obslab.jointfit.catalogue.exposures import mid_exposure
from obslab.jointfit.catalogue.pointing import airmass, parallactic_angle
from obslab.jointfit.projection import frames, from_plane, sky

NAMES = {
    "ID": "id",
    "X": "x",
    "Y": "y",
    "SIGMA": "sigma",
    "FLUX": "flux",
    "FLUXERR": "flux_error",
    "FLAGS": "flags",
}


def write_text(path, cards):
    path.write_text("\n".join(card.image for card in cards.cards) + "\nEND\n")


def write_json(path, cards):
    path.write_text(json.dumps(dict(cards)))


def write_image(path, cards):
    fits.PrimaryHDU(np.zeros((2048, 2048), np.int8), cards).writeto(path)


def write_extension(path, cards):
    image = fits.ImageHDU(np.zeros((2048, 2048), np.int8), cards)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)


@pytest.mark.parametrize(
    ("suffix", "beside", "writer"),
    [
        (".csv", ".hdr", write_text),
        (".csv", ".json", write_json),
        (".ecsv", ".head", write_text),
        (".csv", ".fits", write_image),
        (".ecsv", ".fits", write_extension),
        (".dat", ".wcs", write_text),
        (".cat", ".hdr", write_text),
        (".fits", ".hdr", write_text),
    ],
)
def test_plain_tables_with_headers_beside_them_are_a_dataset(tmp_path, suffix, beside, writer):
    paths = []
    for e in EXPOSURES:
        for d in DETECTORS:
            path = tmp_path / f"image{e}{d}{suffix}"
            kind = {".csv": "ascii.csv", ".dat": "ascii.basic", ".cat": "ascii.basic"}.get(suffix)
            Table(stars(e, d)).write(path, format=kind)
            writer(path.with_suffix(beside), size_of_image(header(e, d)))
            paths.append(path)
    measured, _, exposures = import_catalogues(paths)
    assert measured.name.values.tolist() == ["e003_c01", "e003_c02", "e007_c01", "e007_c02"]
    for theirs, ours in NAMES.items():
        np.testing.assert_allclose(measured[ours].values[:30], stars(3, 1)[theirs], rtol=1e-6)
    assert measured.half.values.tolist() == [[1024, 1024]] * 4
    assert exposures.band.values.tolist() == ["r", "r"]


def test_a_fits_table_may_have_the_wcs_itself_and_files_can_be_named(tmp_path):
    inside = tmp_path / "one.fits"
    # The column of unsigned integers is a scaled one: astropy reads this file, and says NAXIS2 too.
    table = fits.BinTableHDU(Table({**stars(), "MASK": np.zeros(30, np.uint16)}))
    table.header.update(header())
    table.writeto(inside)
    measured = import_catalogues([inside]).measured
    assert measured.crval.values[0, 0] == header()["CRVAL1"]
    assert measured.half.values[0, 0] == np.ceil(stars()["X"].max()) / 2, "NAXIS1 of a table is no image size"

    alone, elsewhere = tmp_path / "two.csv", tmp_path / "solution.txt"
    Table(stars()).write(alone)
    write_text(elsewhere, header(7, 2))
    assert import_catalogues([alone], headers=[elsewhere]).measured.name.item() == "e007_c02"
    with pytest.raises(
        CatalogueError, match=r"two\.csv has no WCS; put a header beside it, such as two\.hdr"
    ):
        import_catalogues([alone])
    with pytest.raises(CatalogueError, match="1 headers for 2 catalogues"):
        import_catalogues([alone, inside], headers=[elsewhere])


def test_pixels_counted_from_zero_are_moved_by_one(tmp_path):
    Table(stars()).write(tmp_path / "one.csv")
    write_text(tmp_path / "one.hdr", header())
    measured = import_catalogues([tmp_path / "one.csv"], first_pixel=0).measured
    np.testing.assert_allclose(measured.x, stars()["X"] + 1)


def test_magnitudes_serve_as_fluxes_and_one_error_for_all_positions(tmp_path):
    columns = {
        "x": stars()["X"],
        "y": stars()["Y"],
        "mag": np.linspace(15, 20, 30),
        "magerr": np.full(30, 0.01),
    }
    Table(columns).write(tmp_path / "one.csv")
    write_text(tmp_path / "one.hdr", header())
    measured = import_catalogues([tmp_path / "one.csv"], minimum_error_pixel=0.1).measured
    # An error of 0.01 mag is one of 0.921 % (2.5 / ln 10 = 1.0857).
    np.testing.assert_allclose(measured.flux_error / measured.flux, 0.01 / 1.0857, rtol=1e-4)
    np.testing.assert_allclose(-2.5 * np.log10(measured.flux[0] / measured.flux[-1]), -5, rtol=1e-6)
    assert set(measured.sigma.values) == {np.float32(0.1)}
    assert measured.id.values.tolist() == list(range(1, 31))


def test_masked_values_are_kept_as_unknown(tmp_path):
    table = Table(stars(), masked=True)
    table["X"].mask[4] = table["FLUX"].mask[5] = True
    table.write(tmp_path / "one.ecsv")
    write_text(tmp_path / "one.hdr", header())
    measured = import_catalogues([tmp_path / "one.ecsv"]).measured
    assert np.flatnonzero(np.isnan(measured.x.values)).tolist() == [4]
    assert np.flatnonzero(np.isnan(measured.flux.values)).tolist() == [5]


def test_detectors_with_tangent_points_of_their_own_share_one_in_their_middle(tmp_path):
    for d, ra in zip(DETECTORS, (149.9, 150.1), strict=True):
        Table(stars(3, d)).write(tmp_path / f"{d}.csv")
        cards = size_of_image(header(3, d, CRVAL1=ra, CRPIX1=1024.5, CRPIX2=1024.5))
        write_text(tmp_path / f"{d}.hdr", cards)
    measured, _, exposures = import_catalogues([tmp_path / f"{d}.csv" for d in DETECTORS])
    crval = measured.crval.values
    middle = sky(from_plane(frames(crval[:, 0], crval[:, 1]), *measured.start.values[:, :, 0].T))
    np.testing.assert_allclose(middle[0], [149.9, 150.1])
    np.testing.assert_allclose(exposures.ra.item(), 150.0, atol=1e-9)
    np.testing.assert_allclose(exposures.dec.item(), 2.2, atol=1e-5)


@pytest.mark.parametrize(
    ("cards", "mjd"),
    [
        ({"MJD-OBS": 60000.0, "EXPTIME": 86.4}, 60000.0005),
        ({"MJD-OBS": "60000.0"}, 60000.0),
        ({"MJD-AVG": 60000.5, "MJD-OBS": 60000.0, "EXPTIME": 86.4}, 60000.5),
        ({"DATE-OBS": "2023-02-25T06:00:00.000", "EXPTIME": 86.4}, 60000.2505),
        ({"DATE-OBS": "2023-02-25", "TIME-OBS": "06:00:00.0"}, 60000.25),
        ({"DATE-OBS": "2023-02-25T06:00:00Z", "XPOSURE": 0}, 60000.25),
        ({"DATE-AVG": "2023-02-25T06:00:00", "EXPTIME": 86.4}, 60000.25),
    ],
)
def test_the_middle_of_an_exposure_is_found(cards, mjd):
    assert mid_exposure(cards, "one") == pytest.approx(mjd, abs=1e-9)


@pytest.mark.parametrize("cards", [{}, {"DATE-OBS": "2023-02-25"}, {"DATE-OBS": "25/02/98"}, {"EXPTIME": 3}])
def test_an_exposure_without_time_of_day_is_refused(cards):
    with pytest.raises(CatalogueError, match=r"one: .*MJD-OBS"):
        mid_exposure(cards, "one")


def seen_from_chile():
    """A star two hours and a half past the meridian, by astropy."""
    site = EarthLocation(lat=LATITUDE * u.deg, lon=-70.8 * u.deg, height=0 * u.m)
    time = Time("2024-01-15T04:00:00")
    lst = time.sidereal_time("apparent", longitude=site.lon)
    star = SkyCoord((lst - 2.5 * u.hourangle).deg * u.deg, 12 * u.deg, frame="cirs", obstime=time)
    return site, time, star, lst


def test_airmass_and_parallactic_angle_are_those_of_astropy():
    site, time, _, lst = seen_from_chile()
    # True-of-date coordinates as the header's, so that no precession enters.
    star = SkyCoord(
        (lst - 2.5 * u.hourangle).to(u.deg), 12 * u.deg, frame="tete", obstime=time, location=site
    )
    seen = star.transform_to(AltAz(obstime=time, location=site))
    zenith = SkyCoord(0 * u.deg, 90 * u.deg, frame=AltAz(obstime=time, location=site)).transform_to(
        star.frame
    )
    angle = star.position_angle(zenith).wrap_at(180 * u.deg).deg
    cards = {
        "CRVAL1": star.ra.deg,
        "CRVAL2": star.dec.deg,
        "LST": lst.to_string(unit=u.hour, sep=":", precision=3),
        "SITELAT": Angle(LATITUDE, u.deg).to_string(sep=":", precision=1),
    }
    # astropy adds diurnal aberration and polar motion, less than an arcsec; the latitude is geodetic in both.
    assert airmass(cards, "one") == pytest.approx(float(seen.secz), abs=1e-4)
    assert parallactic_angle(cards, "one") == pytest.approx(angle, abs=0.01)
    by_hour_angle = {**cards, "HA": "2:30:00", "LST": "?", "SITELAT": LATITUDE}
    assert parallactic_angle(by_hour_angle, "one") == pytest.approx(angle, abs=0.01)
    east = {**cards, "HA": "-02:30:00"}
    assert parallactic_angle(east, "one") == pytest.approx(-angle, abs=0.01)


def test_what_a_header_says_counts_and_what_it_leaves_open_is_unknown():
    assert airmass({"AIRMASS": 1.3}, "one") == 1.3
    assert parallactic_angle({"PARANG": -170.0}, "one") == -170.0
    for cards in ({}, {"HA": 37.5, "SITELAT": -30.0, "CRVAL2": 2.0}, {"AIRMASS": 0.0}, {"LST": "4:00:00"}):
        assert np.isnan(airmass(cards, "one"))
        assert np.isnan(parallactic_angle(cards, "one"))


def test_nothing_to_import_is_an_error(tmp_path):
    with pytest.raises(CatalogueError, match="no catalogues to import"):
        import_catalogues([])
    with pytest.raises(CatalogueError, match=r"none\.cat cannot be read: No such file"):
        import_catalogues([tmp_path / "none.cat"])
    (tmp_path / "bad.csv").write_text("this is\nno,table,of\nanything")
    with pytest.raises(CatalogueError, match=r"bad\.csv"):
        import_catalogues([tmp_path / "bad.csv"])
