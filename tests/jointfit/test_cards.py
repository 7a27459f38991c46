"""Cards, header files and .head files as astropy reads them."""

import os
import re
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from jointfit.mapped_images import PIXELS, camera

from obslab.jointfit.wcs import Card, CardError, NoImageError, NoWCSError, fit_sip, fit_tpv, headers
from obslab.jointfit.wcs.cards import texts
from obslab.whole import WriteError

EXTRA = [
    Card("EXPNUM", np.repeat([1001, 1002], 4), "Exposure"),
    Card("CCDNUM", np.tile(np.arange(4, dtype=np.int16), 2)),
    Card("FILTER", ["r", "r", "r", "r", "i", "i", "i", "i"]),
    Card("MJD-OBS", 60000 + np.arange(8) / 7, "[d] Middle of the exposure, UTC"),
    Card("AIRMASS", np.array([1.1, 1.2, np.nan, 1.4, 1.5, 1.6, 1.7, 1.8])),
    Card("OBSID", np.array(["a", "it's 100 %", "", "d", "e", "f", "g", "h"])),
    Card("REQNUM", [7, None, 7, 7, 7, 7, 7, 7]),
    Card("GAIN", np.float32(1.1)),
    Card("NOTE", "50 %", "100 %"),
    Card("TRIMMED", [True, False] * 4),
    Card("TINY", 1e-300),
    Card(
        "HISTORY", "A long remark that does not fit into a single card of eighty characters, so it takes two."
    ),
]


@pytest.fixture(scope="module")
def true():
    return camera(2, 2)


@pytest.fixture(scope="module")
def sip(true):
    return fit_sip(true.mapped())


@pytest.fixture(scope="module", params=["sip", "tpv"])
def solution(request, true, sip):
    return sip if request.param == "sip" else fit_tpv(true.mapped(), exposure_tangent=True)


def as_wcs(header):
    """Without the warnings that there is no image (NAXIS is 0) and no DATE-OBS beside MJD-OBS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header)


def test_files_obey_the_standard(solution, tmp_path):
    paths = headers(solution, extra=EXTRA, leaves_out=["color", "turbulence"]).write(tmp_path)
    assert [path.name for path in paths] == [f"{name}.fits" for name in solution.names]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        assert path.stat().st_size % 2880 == 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(path) as file:
                file.verify("exception")
                for card in file[0].header.cards:
                    card.verify("exception")
                assert len(file) == 1 and file[0].data is None


def test_values_come_back_to_a_millionth_of_a_pixel(solution, tmp_path):
    """Fourteen digits of each coefficient are written."""
    for image, path in enumerate(headers(solution).write(tmp_path)):
        header = fits.getheader(path)
        written = {card.keyword: card.value for card in solution.cards()}
        written |= {f"CRVAL{i + 1}": solution.crval[:, i] for i in (0, 1)}
        written |= {f"CRPIX{i + 1}": solution.crpix[:, i] for i in (0, 1)}
        written |= {f"CD{i + 1}_{j + 1}": solution.cd[:, i, j] for i in (0, 1) for j in (0, 1)}
        for keyword, value in written.items():
            value = value if isinstance(value, int) else value[image]
            digits = 1e-5 if keyword.startswith("OBSL") else 1e-13
            assert header[keyword] == pytest.approx(value, rel=digits, abs=1e-89), keyword


def test_a_file_has_the_wcs_of_the_arrays_before_they_were_written(sip, tmp_path):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0.5, PIXELS + 0.5, (2, 200))
    for image, path in enumerate(headers(sip).write(tmp_path)):
        p = np.stack([x, y]) - sip.crpix[image][:, None]
        powers = [(i - j, j) for i in range(6) for j in range(i + 1)]
        bent = p + sip.forward[image] @ [p[0] ** i * p[1] ** j for i, j in powers]
        read = as_wcs(fits.getheader(path)).sip_pix2foc(x, y, 1)
        assert np.abs(np.stack(read) - bent).max() < 1e-6


def test_astropy_has_nothing_to_say_about_a_wcs(solution):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert headers(solution, extra=EXTRA).wcs("e001_c02").naxis == 2


def test_extra_cards_pass_through(sip):
    header = headers(sip, extra=EXTRA).header("e001_c01")
    assert (header["EXPNUM"], header["CCDNUM"], header["FILTER"]) == (1002, 1, "i")
    assert header["MJD-OBS"] == 60000 + 5 / 7 and header.comments["EXPNUM"] == "Exposure"
    assert header["GAIN"] == 1.1 and header["TRIMMED"] is False and header["TINY"] == 1e-300
    assert headers(sip, extra=EXTRA).header(1)["OBSID"] == "it's 100 %"
    assert "OBSID   = 'it''s 100 %'" in headers(sip, extra=EXTRA).texts[1]
    assert header["NOTE"] == "50 %" and header.comments["NOTE"] == "100 %"
    assert "".join(header["HISTORY"]).startswith("A long remark") and len(header["HISTORY"]) == 2


def test_a_missing_value_leaves_its_card_out_of_that_header_only(sip):
    made = headers(sip, extra=EXTRA)
    assert ["AIRMASS" in made.header(n) for n in range(8)] == [True, True, False, *[True] * 5]
    assert ["REQNUM" in made.header(n) for n in range(8)] == [True, False, *[True] * 6]
    assert not any("nan" in text.lower() for text in made.texts)


def test_headers_say_what_they_leave_out_and_how_pixels_count(solution):
    header = headers(solution, leaves_out=["color", "turbulence"]).header(0)
    assert header["OBSLOMIT"] == "color, turbulence"
    assert any("color" in line for line in header["COMMENT"])
    assert "first one is 1" in header.comments["CRPIX1"]
    assert headers(solution).header(0)["OBSLOMIT"] == "nothing"


@pytest.mark.parametrize(
    "card, why",
    [
        (Card("crval", 1), "no keyword"),
        (Card("TOOLONGKEY", 1), "no keyword"),
        (Card("END", 1), "no keyword"),
        (Card("CRVAL1", 1.0), "CRVAL1 is given twice"),
        (Card("A_2_0", 1.0), "A_2_0 is given twice"),
        (Card("OBJECT", "x" * 69), "at most 68"),
        (Card("OBJECT", "caf\u00e9"), "printable ASCII"),
        (Card("OBJECT", "line\nbreak"), "printable ASCII"),
        (Card("OBJECT", "x", "caf\u00e9"), "printable ASCII"),
        (Card("GAIN", np.inf), "finite"),
        (Card("GAIN", 1j), "wanted text"),
        (Card("EXPNUM", [1, 2]), "2 values for 8 images"),
        (Card("HISTORY", 3), "printable ASCII"),
    ],
)
def test_a_card_that_no_header_can_hold_is_refused(sip, card, why):
    with pytest.raises(CardError, match=why):
        headers(sip, extra=[card])


@pytest.mark.parametrize("bad", [np.nan, -np.inf, 1e99])
def test_a_coefficient_that_cannot_be_printed_is_refused(bad):
    with pytest.raises(CardError, match=f"A_2_0 of image e1 is {re.escape(str(bad))}"):
        texts([Card("A_2_0", np.array([1.0, bad]), form="%20.13E")], ["e0", "e1"])


@pytest.mark.parametrize("value", [1e-95, -1e-200, 0.0, -1.2345678901234e-89, 8.8e88])
def test_every_coefficient_has_room(value):
    (text,) = texts([Card("A_2_0", np.array([value]), form="%20.13E")], ["e0"])
    read = fits.Card.fromstring(text)
    read.verify("exception")
    assert len(text) == 80 and read.value == pytest.approx(value, abs=1e-89)


def test_head_files_have_a_block_for_each_image_of_an_exposure(true, tmp_path):
    tpv = fit_tpv(true.mapped(), exposure_tangent=True)
    paths = headers(tpv, extra=EXTRA).write_heads(tmp_path, [name[:4] for name in tpv.names])
    assert [path.name for path in paths] == ["e000.head", "e001.head"]
    for exposure, path in enumerate(paths):
        text = path.read_text()
        assert all(len(line) <= 80 for line in text.splitlines())
        blocks = text.split("END     \n")
        assert len(blocks) == 5 and not blocks[-1]
        for detector, block in enumerate(blocks[:-1]):
            header = fits.Header.fromstring(block, sep="\n")
            assert (header["EXPNUM"], header["CCDNUM"]) == (1001 + exposure, detector)
            x, y = np.array([1.0, 1000.0, 2048.0]), np.array([2048.0, 3.0, 1500.0])
            ra, dec = true.sky(exposure, detector, x, y)
            back = as_wcs(header).all_world2pix(ra, dec, 1)
            assert np.hypot(back[0] - x, back[1] - y).max() < 1e-6


def test_forms_have_their_names(true):
    mapped = true.mapped()
    ctypes = {form: headers(mapped, form).header(0)["CTYPE1"] for form in ("sip", "tpv", "scamp")}
    assert ctypes == {"sip": "RA---TAN-SIP", "tpv": "RA---TPV", "scamp": "RA---TPV"}
    assert headers(mapped, "scamp").header(0)["CRVAL1"] == pytest.approx(true.tangent[0, 0], abs=1e-12)
    with pytest.raises(NoWCSError, match="'tan' is none of sip, tpv, scamp"):
        headers(mapped, "tan")


def test_head_files_want_an_exposure_for_each_image(sip, tmp_path):
    with pytest.raises(CardError, match="1 exposures for 8 images"):
        headers(sip).write_heads(tmp_path, ["e000"])


def test_an_unknown_image_is_an_error_that_names_one_it_has(sip):
    with pytest.raises(NoImageError, match="'e009_c00'; one is 'e000_c00'"):
        headers(sip).wcs("e009_c00")


def test_old_headers_are_replaced(sip, tmp_path):
    headers(sip).write(tmp_path)
    headers(sip, extra=[Card("EXPNUM", 5)]).write(tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    assert fits.getheader(tmp_path / "e001_c03.fits")["EXPNUM"] == 5


def test_a_full_disk_leaves_no_half_header(sip, tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:2880]))
    with pytest.raises(WriteError, match=r"e000_c00.fits cannot be written: No space left"):
        headers(sip).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(sip, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file"):
        headers(sip).write(tmp_path / "file" / "wcs")


@pytest.mark.parametrize("names", [["a", "a"], ["a", "../b"]])
def test_images_that_would_share_a_file_or_leave_the_folder_are_refused(names, tmp_path):
    from obslab.jointfit.wcs import Headers

    with pytest.raises(WriteError, match="different names"):
        Headers(names, ["", ""]).write(tmp_path)


def test_number_of_threads_does_not_matter(sip, tmp_path, monkeypatch):
    many = headers(camera_of_many())
    for threads in ("1", "3"):
        monkeypatch.setenv("OBSLAB_THREADS", threads)
        many.write(tmp_path / threads)
    one, three = (sorted((tmp_path / threads).iterdir()) for threads in ("1", "3"))
    assert len(one) == 200 and [a.read_bytes() for a in one] == [b.read_bytes() for b in three]


def camera_of_many():
    return fit_sip(camera(2, 50).mapped(), 3, 3)
