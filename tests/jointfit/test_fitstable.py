"""Our reader of FITS tables, against files that astropy writes."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from jointfit.catalogues import header, image_hdus, stars

from obslab.jointfit.catalogue import fitstable
from obslab.jointfit.catalogue.cards import Cards, of_json, of_text
from obslab.jointfit.catalogue.fitstable import CatalogueError, read, read_all
from obslab.jointfit.catalogue.fitswriting import write


@pytest.fixture
def no_astropy(monkeypatch):
    def refuse(path):
        raise AssertionError(f"{path} was left to astropy")

    monkeypatch.setattr(fitstable, "_by_astropy", refuse)


@pytest.fixture
def asked_astropy(monkeypatch):
    asked, original = [], fitstable._by_astropy
    monkeypatch.setattr(fitstable, "_by_astropy", lambda path: asked.append(path) or original(path))
    return asked


def test_tables_are_read_as_astropy_wrote_them(tmp_path, no_astropy):
    paths = []
    for e in range(3):
        paths.append(tmp_path / f"{e}.fits")
        image_hdus(stars(e, 1, rows=10 * e), header(e)).writeto(paths[-1])
    for e, file in enumerate(read_all(paths)):
        table = file.table("CAT")
        assert list(table.rows.dtype.names) == list(stars())
        for name, values in stars(e, 1, rows=10 * e).items():
            np.testing.assert_array_equal(table.rows[name], values)
        assert file.header["FILTER"] == "r"
        assert float(file.header["MJD-OBS"]) == fits.getheader(paths[e])["MJD-OBS"]


def test_vectors_texts_and_several_tables_are_read(tmp_path, no_astropy):
    columns = {
        "flux_aper": np.arange(12.0).reshape(3, 4),
        "Name": np.array(["a", "bcd", ""]),
        "good": [True, False, True],
    }
    hdus = [
        fits.PrimaryHDU(),
        fits.BinTableHDU(Table(columns), name="ONE"),
        fits.BinTableHDU(Table(stars()), name="TWO"),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "t.fits")
    file = read(tmp_path / "t.fits")
    assert [table.name for table in file.tables] == ["ONE", "TWO"]
    np.testing.assert_array_equal(file.tables[0].rows["FLUX_APER"], columns["flux_aper"])
    assert file.tables[0].rows["NAME"].tolist() == [b"a", b"bcd", b""]
    np.testing.assert_array_equal(file.tables[1].rows["X"], stars()["X"])


def test_units_are_known(tmp_path, no_astropy):
    table = fits.BinTableHDU.from_columns([fits.Column("pmra", "D", unit="mas/yr", array=np.zeros(2))])
    table.writeto(tmp_path / "t.fits")
    assert read(tmp_path / "t.fits").tables[0].units == {"PMRA": "mas/yr"}


@pytest.mark.parametrize("what", ["image", "scaled", "variable", "continued", "image before"])
def test_what_only_astropy_knows_is_left_to_it(tmp_path, asked_astropy, what):
    hdus = image_hdus(stars(), header())
    if what == "image":
        hdus[0].data = np.zeros((4, 5), np.float32)
    elif what == "scaled":
        hdus[1] = fits.BinTableHDU.from_columns(
            [*hdus[1].columns, fits.Column("N", "I", bzero=32768, array=np.full(30, 40_000, np.uint16))],
            name="CAT",
        )
    elif what == "variable":
        ragged = np.array([np.arange(n % 3) for n in range(30)], object)
        hdus[1] = fits.BinTableHDU.from_columns(
            [*hdus[1].columns, fits.Column("V", "PJ()", array=ragged)], name="CAT"
        )
    elif what == "continued":
        hdus[0].header["OBSID"] = "long " * 30
    else:
        hdus.insert(1, fits.ImageHDU(np.zeros((3, 3), np.int16)))
    path = tmp_path / "t.fits"
    hdus.writeto(path)
    file = read(path)
    assert asked_astropy == [path]
    np.testing.assert_array_equal(file.table("CAT").rows["X"], stars()["X"])
    np.testing.assert_array_equal(file.table("CAT").rows["FLAGS"], stars()["FLAGS"])
    assert float(file.header["MJD-OBS"]) == header()["MJD-OBS"]
    if what == "scaled":
        assert set(file.table("CAT").rows["N"]) == {40_000}
    if what == "continued":
        assert file.header["OBSID"].strip() == ("long " * 30).strip()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:6000], "cut off: table CAT has 30 rows, the file ends in row"),
        (lambda data: data[:4000], "cut off within a header"),
        (lambda data: data[:1000], "cut off within a header"),
        (lambda data: b"", "no FITS file"),
        (lambda data: b"<html>not found</html>" * 300, "no FITS file"),
        (lambda data: data[:2880], "no table, wanted CAT"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage, said):
    path = tmp_path / "e001_c02.fits"
    image_hdus(stars(), header()).writeto(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CatalogueError) as caught:
        read(path).table("CAT")
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_that_astropy_gets_is_named_too(tmp_path):
    path = tmp_path / "e001_c02.fits"
    hdus = image_hdus(stars(), header())
    hdus[0].data = np.zeros((50, 50))
    hdus.writeto(path)
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(CatalogueError, match="e001_c02"):
        read(path)
    with pytest.raises(CatalogueError, match=r"missing\.fits cannot be read: No such file"):
        read(tmp_path / "missing.fits")


def test_what_we_write_astropy_reads(tmp_path):
    columns = {**stars(), "NAME": np.array(["x" * (n % 4) for n in range(30)]), "BIG": np.arange(30) + 2**40}
    cards = {
        "FILTER": "it's r",
        "MJD-OBS": 60000.123456789012,
        "EXPNUM": 7,
        "OK": True,
        "AIRMASS": float("nan"),
    }
    write(tmp_path / "t.fits", "CAT", columns, {"X": "pixel"}, cards)
    with fits.open(tmp_path / "t.fits") as hdus:
        hdus.verify("exception")
        for name, values in columns.items():
            np.testing.assert_array_equal(hdus["CAT"].data[name], values)
        assert hdus["CAT"].columns["X"].unit == "pixel"
        assert {key: hdus[0].header[key] for key in cards if key != "AIRMASS"} == {
            key: value for key, value in cards.items() if key != "AIRMASS"
        }
        assert "AIRMASS" not in hdus[0].header


def test_cards_are_what_astropy_makes_of_them():
    made = fits.Header()
    made["FILTER"] = ("it's 'r' / wide", "a comment / with a slash")
    made["EMPTY"] = ""
    made["NUMBER"] = (-1.5e-7, "comment")
    made["HISTORY"] = "FILTER  = 'nothing'"
    made["COMMENT"] = "words"
    made["FLAG"] = True
    cards = Cards(made.tostring(sep="", endcard=False, padding=False).encode())
    assert dict(cards) == {"FILTER": "it's 'r' / wide", "EMPTY": "", "NUMBER": "-1.5E-07", "FLAG": "T"}
    assert cards.get("AIRMASS") is None
    assert "HISTORY" not in cards


def test_text_headers_end_with_END_or_not_at_all():
    image = [card.image for card in header().cards]
    unpadded = [line.rstrip() for line in image]
    for text in (
        "\n".join([*image, "END", *image, "END", ""]),
        "\r\n".join([*unpadded, "END     ", "", *unpadded]),
    ):
        first, second = of_text(text)
        assert dict(first) == dict(second)
        assert float(first["CRPIX1"]) == header()["CRPIX1"]
    (dumped,) = of_text("".join(image) + "END".ljust(80))
    assert float(dumped["CRPIX1"]) == header()["CRPIX1"]
    assert of_json('{"CRPIX1": 2}') == [{"CRPIX1": 2}]
