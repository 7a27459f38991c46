"""TAN-SIP headers against the mapping they stand for, read by astropy."""

import numpy as np
import pytest
from astropy.wcs import WCS
from jointfit.mapped_images import HALF, MID, PIXELS, camera

from obslab.jointfit.projection import MAS, frames, unit_vectors
from obslab.jointfit.wcs import Mapped, NoWCSError, fit_sip, headers

# 1e-6 pixel is 3e-4 mas; what astropy and we lose in double precision is 1e-10 pixel.
PIXEL = 1e-6


@pytest.fixture(scope="module")
def true():
    return camera(3, 2)


@pytest.fixture(scope="module")
def sip(true):
    return fit_sip(true.mapped())


def pixels(count=400, seed=3):
    return np.random.default_rng(seed).uniform(0.5, PIXELS + 0.5, (2, count))


def distance_mas(one, other):
    apart = unit_vectors(*one) - unit_vectors(*other)
    return np.degrees(np.linalg.norm(apart, axis=-1)) / MAS


def corners(images):
    """Every image, where a polynomial is worst."""
    for image in images:
        yield image, np.array([[0.5, 0.5, MID, PIXELS + 0.5], [0.5, PIXELS + 0.5, 0.5, PIXELS + 0.5]])


def test_astropy_finds_the_sky_of_the_full_mapping_within_the_stated_error(true, sip):
    made = headers(sip)
    for image in range(18):
        x, y = pixels()
        header, wcs = made.header(image), made.wcs(image)
        off = distance_mas(wcs.all_pix2world(x, y, 1), true.sky(*divmod(image, 9), x, y))
        # Doubles of 150 deg resolve 1e-4 mas / 1000; astropy goes through them twice.
        assert off.max() < header["OBSLEMAX"] + 2e-6
        assert header["OBSLERMS"] <= header["OBSLEMAX"] < 1e-6


def test_a_low_degree_says_honestly_how_much_it_misses(true):
    made = headers(fit_sip(true.mapped(), degree=2))
    for image, (x, y) in corners(range(18)):
        header = made.header(image)
        stated = header["OBSLEMAX"]
        off = distance_mas(made.wcs(image).all_pix2world(x, y, 1), true.sky(*divmod(image, 9), x, y))
        # a polynomial's worst points are at the edges: the corners come near the largest error stated
        assert 3 < stated < 100 and 0.5 * stated < off.max() < 1.01 * stated
        x, y = pixels(5000)
        off = distance_mas(made.wcs(image).all_pix2world(x, y, 1), true.sky(*divmod(image, 9), x, y))
        # nine points along an axis are few for an average
        assert 0.85 < np.sqrt((off**2).mean()) / header["OBSLERMS"] < 1.1


@pytest.mark.parametrize("degree, wanted_mas", [(3, 0.25), (4, 1e-5), (5, 1e-7)])
def test_degree_reaches_what_its_documentation_says(true, degree, wanted_mas):
    assert fit_sip(true.mapped(), degree).error.max_mas.max() < wanted_mas


def test_crval_is_the_sky_of_crpix(true, sip):
    for image in range(18):
        off = distance_mas(true.sky(*divmod(image, 9), *sip.crpix[image]), sip.crval[image])
        assert off < sip.error.max_mas[image] + 1e-7


def test_inverse_polynomials_come_back_to_the_pixel(sip):
    made = headers(sip)
    for image in range(18):
        wcs, header = made.wcs(image), made.header(image)
        x, y = pixels()
        back = wcs.sip_foc2pix(*wcs.sip_pix2foc(x, y, 1), 1)
        off = np.hypot(back[0] - x, back[1] - y).max()
        # the header's own figure is of a grid that includes the corners
        assert off < header["OBSLIPIX"] + 1e-11 < 1e-7
        scale_mas = np.sqrt(abs(np.linalg.det(sip.cd[image]))) / MAS
        assert header["OBSLIMAS"] == pytest.approx(header["OBSLIPIX"] * scale_mas, rel=1e-2)


@pytest.mark.parametrize("degree, wanted_pixel", [(4, 3e-5), (5, 3e-7), (6, 1e-8)])
def test_inverse_degree_reaches_what_its_documentation_says(true, degree, wanted_pixel):
    assert fit_sip(true.mapped(), inverse_degree=degree).inverse_max_pixel.max() < wanted_pixel


def test_sky_is_brought_back_to_the_pixel(true, sip):
    for image in (0, 4, 17):
        x, y = pixels(100)
        back = headers(sip).wcs(image).all_world2pix(*true.sky(*divmod(image, 9), x, y), 1, tolerance=1e-9)
        assert np.hypot(back[0] - x, back[1] - y).max() < PIXEL


@pytest.mark.parametrize("ra, dec", [(0.0, 0.0), (359.99, -60.0), (120.0, 89.95), (10.0, -89.99)])
def test_sky_near_the_poles_and_at_ra_zero_is_as_good(ra, dec):
    true = camera(2, 1, ra=ra, dec=dec)
    made = headers(fit_sip(true.mapped()))
    for image in range(4):
        x, y = pixels(50)
        off = distance_mas(made.wcs(image).all_pix2world(x, y, 1), true.sky(0, image, x, y))
        assert off.max() < 1e-4


def test_pixels_that_are_not_square_in_the_image_are_normalised_each_by_its_own():
    """A detector of 2048 x 4096 pixels."""

    def plane(u, v):
        xi, eta = -0.07 * u + 0.01 * v + 1e-5 * v * v, 0.15 * v + 0.02 * u + 1e-5 * u * v - 2e-6 * v**3
        return np.stack([xi, eta], -1)

    mapped = one_image(plane, mid=(1024.5, 2048.5), half=(1024.0, 2048.0))
    wcs = headers(fit_sip(mapped)).wcs(0)
    x, y = np.array([1.0, 2048.0, 700.0]), np.array([1.0, 4096.0, 3000.0])
    xi, eta = plane((x - 1024.5) / 1024, (y - 2048.5) / 2048).T
    tangent = WCS(header={"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 0.0, "CRVAL2": 0.0})
    ra, dec = tangent.all_pix2world(xi, eta, 1)  # CRPIX is 0
    assert distance_mas(wcs.all_pix2world(x, y, 1), (ra, dec)).max() < 1e-4
    assert np.abs(np.array(wcs.sip_foc2pix(*wcs.sip_pix2foc(x, y, 1), 1)) - [x, y]).max() < PIXEL


def one_image(plane, name="e000_c00", mid=(MID, MID), half=(HALF, HALF)):
    return Mapped.sample(
        lambda images, u, v: np.repeat(plane(u, v)[None], len(images), 0),
        frames=frames([0.0], [0.0]),
        mid=np.array([mid]),
        half=np.array([half]),
        names=[name],
    )


@pytest.mark.parametrize(
    "plane, why",
    [
        (lambda u, v: np.stack([u, np.nan * v], -1), "is not finite"),
        (lambda u, v: np.stack([u + v, u + v], -1) * 0.07, "brings its pixels onto a line"),
        (lambda u, v: np.zeros((len(u), 2)), "brings its pixels onto a line"),
        (lambda u, v: np.stack([0.07 * (u - 0.6 * u * u), 0.07 * v], -1), "folds the sky"),
    ],
)
def test_a_mapping_that_no_header_can_hold_is_an_error_that_names_the_image(plane, why):
    with pytest.raises(NoWCSError, match=f"e003_c07.*{why}") as caught:
        fit_sip(one_image(plane, "e003_c07"))
    assert caught.value.images == ("e003_c07",)


def test_a_mapping_that_is_finite_on_the_nodes_only_is_an_error():
    plane = one_image(lambda u, v: np.stack([u, v], -1) * 0.07)
    broken = Mapped(**{**vars(plane), "evaluate": lambda images, u, v: np.full((1, len(u), 2), np.inf)})
    with pytest.raises(NoWCSError, match="e000_c00 is not finite"):
        fit_sip(broken)


@pytest.mark.parametrize("degree", [1, 10])
def test_a_degree_that_sip_does_not_have_is_refused(true, degree):
    with pytest.raises(NoWCSError, match=f"{degree} is not from 2 to 9"):
        fit_sip(true.mapped(), degree)


def test_positions_off_the_common_grid_are_refused(true):
    whole = true.mapped()
    with pytest.raises(NoWCSError, match="square number"):
        Mapped(**{**vars(whole), "positions": whole.positions[:, :-1]})
    with pytest.raises(NoWCSError, match=r"half has shape \(1,\)"):
        Mapped(**{**vars(whole), "half": np.ones(1)})
