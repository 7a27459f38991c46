"""Reference catalogues as Gaia's archive, VizieR and SCAMP give them."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from jointfit.catalogues import header_cell, reference, write_dataset, write_ldac

from obslab.jointfit.catalogue import CatalogueError, load, read_reference
from obslab.jointfit.datasets import REFERENCE

GAIA = {
    "RA": "ra", "DEC": "dec", "RA_ERR": "ra_error", "DEC_ERR": "dec_error", "PMRA": "pmra", "PMDEC": "pmdec",
    "PMRA_ERR": "pmra_error", "PMDEC_ERR": "pmdec_error", "PLX": "parallax", "PLX_ERR": "parallax_error",
    "MAG": "phot_g_mean_mag", "COLOR": "bp_rp", "EPOCH": "ref_epoch",
}  # fmt: skip


def gaia():
    """Rows as the archive gives them; the last has two parameters only, so no motion, parallax or color."""
    table = Table({theirs: reference()[ours] for ours, theirs in GAIA.items()}, masked=True)
    table["source_id"] = np.arange(20) + 4_000_000_000_000_000_000
    table["designation"] = [f"Gaia DR3 {n}" for n in range(20)]
    for name in ("pmra", "pmdec", "pmra_error", "pmdec_error", "parallax", "parallax_error", "bp_rp"):
        table[name].mask[-1] = True
    units = {"ra": "deg", "dec": "deg", "ra_error": "mas", "pmra": "mas / yr", "parallax": "mas"}
    for name, unit in units.items():
        table[name].unit = unit
    return table


def write_votable(table, path):
    """By hand: the writer of astropy 8.0.2 corrupts memory now and then (its issue 20419)."""
    names = [name for name in table.colnames if table[name].dtype.kind == "f"]
    units = {name: f' unit="{table[name].unit.to_string("vounit")}"' for name in names if table[name].unit}
    fields = "".join(f'<FIELD name="{name}" datatype="double"{units.get(name, "")}/>' for name in names)
    cells = [["" if row[name] is np.ma.masked else repr(row[name].item()) for name in names] for row in table]
    rows = "".join("<TR>" + "".join(f"<TD>{cell}</TD>" for cell in row) + "</TR>" for row in cells)
    path.write_text(
        '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f"<RESOURCE><TABLE>{fields}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )


@pytest.mark.parametrize(
    "file", ["gaia.csv", "gaia.ecsv", "gaia.fits", "gaia.vot", "gaia.csv.gz", "gaia.fits.gz"]
)
def test_a_table_of_the_gaia_archive_is_read_in_every_format(tmp_path, file):
    table = gaia()
    if file.endswith(".vot"):
        write_votable(table, tmp_path / file)
    elif file.endswith(".csv.gz"):
        table.write(tmp_path / "plain.csv", format="ascii.csv")
        (tmp_path / file).write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    else:
        table.write(tmp_path / file)
    made = read_reference(tmp_path / file)
    REFERENCE.check(made)
    own = load(write_dataset(tmp_path / "set")).reference
    for name in made.variables:
        np.testing.assert_allclose(made[name].values[:-1], own[name].values[:-1], rtol=1e-12)
    assert np.isnan(made.pm_ra.values[-1])
    assert np.isnan(made.color.values[-1])
    assert made.ra.values[-1] == own.ra.values[-1]


def test_scamps_reference_catalogue_is_in_degrees(tmp_path):
    ours, mas = reference(), 1 / 3.6e6
    columns = [
        fits.Column("X_WORLD", "D", unit="deg", array=ours["RA"]),
        fits.Column("Y_WORLD", "D", unit="deg", array=ours["DEC"]),
        fits.Column("ERRA_WORLD", "D", unit="deg", array=ours["RA_ERR"] * mas),
        fits.Column("ERRB_WORLD", "D", unit="deg", array=ours["DEC_ERR"] * mas),
        fits.Column("ERRTHETA_WORLD", "E", unit="deg", array=np.zeros(20)),
        fits.Column("PMALPHA_J2000", "D", unit="deg/yr", array=ours["PMRA"] * mas),
        fits.Column("PMDELTA_J2000", "D", array=ours["PMDEC"] * mas),
        fits.Column("MAG", "E", array=ours["MAG"]),
        fits.Column("OBSDATE", "D", unit="yr", array=ours["EPOCH"]),
    ]
    table = fits.BinTableHDU.from_columns(columns).data
    path = write_ldac(tmp_path / "ref.cat", [(header_cell(fits.Header([("BITPIX", 16)])), table)])
    made = read_reference(path)
    np.testing.assert_array_equal(made.ra, ours["RA"])
    np.testing.assert_allclose(made.ra_error, ours["RA_ERR"])
    np.testing.assert_allclose(made.dec_error, ours["DEC_ERR"])
    np.testing.assert_allclose(made.pm_ra, ours["PMRA"])
    np.testing.assert_allclose(made.pm_dec, ours["PMDEC"])
    np.testing.assert_array_equal(made.epoch, 2016.0)
    assert np.isnan(made.parallax).all()


def test_an_error_ellipse_of_the_sky_is_turned(tmp_path):
    columns = {
        "X_WORLD": [1.0, 1.0],
        "Y_WORLD": [2.0, 2.0],
        "ERRA_WORLD": [3e-6, 3e-6],
        "ERRB_WORLD": [1e-6, 1e-6],
    }
    Table({**columns, "ERRTHETA_WORLD": [0.0, 90.0], "OBSDATE": [2015.5, 2015.5]}).write(tmp_path / "t.fits")
    made = read_reference(tmp_path / "t.fits")
    np.testing.assert_allclose(made.ra_error, [10.8, 3.6])
    np.testing.assert_allclose(made.dec_error, [3.6, 10.8])


def usno(**columns):
    return Table(
        {"RAJ2000": reference()["RA"], "DEJ2000": reference()["DEC"], "R1mag": reference()["MAG"], **columns}
    )


def test_positions_alone_need_an_epoch_and_an_error(tmp_path):
    usno().write(tmp_path / "usno.csv")
    with pytest.raises(CatalogueError, match=r"usno\.csv .*--position-error"):
        read_reference(tmp_path / "usno.csv", epoch=2000)
    with pytest.raises(CatalogueError, match=r"usno\.csv .*--epoch"):
        read_reference(tmp_path / "usno.csv", position_error_mas=200)
    made = read_reference(tmp_path / "usno.csv", epoch=2000, position_error_mas=200)
    assert set(made.ra_error.values) == set(made.dec_error.values) == {200.0}
    assert set(made.epoch.values) == {2000.0}
    np.testing.assert_array_equal(made.mag, reference()["MAG"])
    assert np.isnan(made.pm_ra).all()


def test_the_mean_epoch_of_plates_is_not_that_of_the_positions(tmp_path):
    usno(Epoch=np.full(20, 1978.2)).write(tmp_path / "usno.csv")
    with pytest.raises(CatalogueError, match="--epoch"):
        read_reference(tmp_path / "usno.csv", position_error_mas=200)
    made = read_reference(tmp_path / "usno.csv", epoch=2000, position_error_mas=200)
    assert set(made.epoch.values) == {2000.0}


def test_sexagesimal_positions_and_errors_in_arcsec_are_understood(tmp_path):
    table = usno(e_RAJ2000=np.where(np.arange(20) < 19, 0.25, np.nan), e_DEJ2000=np.full(20, 0.25))
    table["RAJ2000"], table["DEJ2000"] = ["10 00 00.0"] * 20, ["-02 30 00"] * 20
    table["e_RAJ2000"].unit = table["e_DEJ2000"].unit = "arcsec"
    table.write(tmp_path / "usno.ecsv")
    made = read_reference(tmp_path / "usno.ecsv", epoch=2000, position_error_mas=400)
    np.testing.assert_allclose(made.ra, 150.0)
    np.testing.assert_allclose(made.dec, -2.5)
    np.testing.assert_allclose(made.ra_error, [250.0] * 19 + [400.0])


def test_an_epoch_cannot_be_given_against_the_tables_own(tmp_path):
    gaia().write(tmp_path / "gaia.fits")
    with pytest.raises(
        CatalogueError, match=r"epochs of its own, 2016\.00 to 2016\.00; leave --epoch 2000 out"
    ):
        read_reference(tmp_path / "gaia.fits", epoch=2000)
    assert read_reference(tmp_path / "gaia.fits", epoch=2016).epoch.values[0] == 2016


def test_columns_are_chosen_by_hand_and_unknown_ones_refused(tmp_path):
    table = gaia()
    table["jmag"] = 11.0
    table.write(tmp_path / "gaia.fits")
    assert set(read_reference(tmp_path / "gaia.fits", names={"mag": "jmag"}).mag.values) == {11.0}
    with pytest.raises(CatalogueError, match="no column 'hmag' for mag"):
        read_reference(tmp_path / "gaia.fits", names={"mag": "hmag"})
    with pytest.raises(CatalogueError, match="'magnitude' is nothing"):
        read_reference(tmp_path / "gaia.fits", names={"magnitude": "jmag"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ref_epoch": 57388.0}, "its epoch is 57388, wanted a Julian year"),
        ({"ra_error": 0.0}, "positions without errors"),
        ({"ra": None}, "no columns ra and dec"),
        ({"ref_epoch": np.nan}, "--epoch"),
    ],
)
def test_a_reference_that_makes_no_sense_is_refused(tmp_path, change, said):
    table = gaia()[:-1].filled()
    for name, value in change.items():
        if value is None:
            del table[name]
        else:
            table[name] = value
    table.write(tmp_path / "gaia.fits")
    with pytest.raises(CatalogueError, match=said):
        read_reference(tmp_path / "gaia.fits")
