"""TPV headers against the mapping they stand for, read by astropy."""

import numpy as np
import pytest
from jointfit.mapped_images import MID, PIXELS, camera

from obslab.jointfit.polynomial import substituted
from obslab.jointfit.projection import MAS, frames, from_plane, sky, unit_vectors
from obslab.jointfit.wcs import Mapped, NoWCSError, fit_tpv, headers
from obslab.jointfit.wcs.tpv import numbers


@pytest.fixture(scope="module")
def true():
    return camera(3, 2)


def pixels(count=300, seed=3):
    return np.random.default_rng(seed).uniform(0.5, PIXELS + 0.5, (2, count))


def distance_mas(one, other):
    apart = unit_vectors(*one) - unit_vectors(*other)
    return np.degrees(np.linalg.norm(apart, axis=-1)) / MAS


@pytest.mark.parametrize("exposure_tangent", [False, True])
@pytest.mark.parametrize("degree", [2, 5, 7])
def test_astropy_finds_the_sky_of_the_full_mapping_within_the_stated_error(true, degree, exposure_tangent):
    made = headers(fit_tpv(true.mapped(), degree, exposure_tangent))
    for image in range(18):
        x, y = pixels()
        header = made.header(image)
        off = distance_mas(made.wcs(image).all_pix2world(x, y, 1), true.sky(*divmod(image, 9), x, y))
        assert off.max() < header["OBSLEMAX"] + 2e-6
        assert header["OBSLEMAX"] < (100 if degree == 2 else 1e-6)
        assert degree > 2 or off.max() > 0.5 * header["OBSLEMAX"]


@pytest.mark.parametrize("exposure_tangent", [False, True])
def test_sky_is_brought_back_to_the_pixel(true, exposure_tangent):
    made = headers(fit_tpv(true.mapped(), exposure_tangent=exposure_tangent))
    for image in range(18):
        x, y = pixels(100)
        back = made.wcs(image).all_world2pix(*true.sky(*divmod(image, 9), x, y), 1)
        assert np.hypot(back[0] - x, back[1] - y).max() < 1e-6


def test_images_of_an_exposure_share_its_tangent_point_where_that_is_asked_for(true):
    tpv = fit_tpv(true.mapped(), exposure_tangent=True)
    assert np.allclose(tpv.crval, np.repeat(true.tangent, 9, 0), rtol=0, atol=1e-12)
    assert (np.abs(tpv.crpix[0] - MID) > PIXELS / 2).any()  # outside of a corner detector


def test_about_its_own_middle_the_polynomial_begins_with_the_identity(true):
    table = fit_tpv(true.mapped()).table
    # 1e-12 deg: what rounding leaves of the constant; slopes are one and zero by choice of CD
    assert np.allclose(table[:, 0, :3], [0, 1, 0], rtol=0, atol=1e-12)
    assert np.allclose(table[:, 1, :3], [0, 0, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("exposure_tangent", [False, True])
def test_detectors_may_be_longer_than_wide(exposure_tangent):
    mid, half = np.array([1024.5, 2048.5]), np.array([1024.0, 2048.0])

    def evaluate(images, u, v):
        xi = 0.3 - 0.07 * u + 0.01 * v + 1e-5 * v * v
        eta = 0.2 + 0.15 * v + 0.02 * u + 1e-5 * u * v
        return np.repeat(np.stack([xi, eta], -1)[None], len(images), 0)

    mapped = Mapped.sample(
        evaluate, frames=frames([40.0], [30.0]), mid=mid[None], half=half[None], names=["a"]
    )
    x, y = np.array([1.0, 2048.0, 700.0]), np.array([1.0, 4096.0, 3000.0])
    xi, eta = evaluate([0], (x - mid[0]) / half[0], (y - mid[1]) / half[1])[0].T
    wanted = sky(from_plane(frames(40.0, 30.0), xi, eta))
    wcs = headers(fit_tpv(mapped, exposure_tangent=exposure_tangent)).wcs(0)
    assert distance_mas(wcs.all_pix2world(x, y, 1), wanted).max() < 1e-4


def test_terms_have_the_numbers_of_the_convention():
    """As in https://fits.gsfc.nasa.gov/registry/tpvwcs/tpv.html: x goes first for PV1, y for PV2."""
    from obslab.jointfit.polynomial import terms

    first = {number: terms(7)[n] for number, n in numbers(0, 7)}
    second = {number: terms(7)[n] for number, n in numbers(1, 7)}
    assert set(first) == set(second) == set(range(40)) - {3, 11, 23, 39}
    assert [first[n] for n in (0, 1, 2, 4, 5, 6, 8, 10)] == [
        *[(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1), (0, 3)]
    ]
    assert (first[12], first[22], first[24], first[38]) == ((4, 0), (0, 5), (6, 0), (0, 7))
    assert all(second[n] == first[n][::-1] for n in first)


def test_substituted_polynomials_have_the_same_values():
    from obslab.jointfit.polynomial import basis

    rng = np.random.default_rng(1)
    coefficients, linear, offset = (
        rng.normal(size=(4, 2, 28)),
        rng.normal(size=(4, 2, 2)),
        rng.normal(size=(4, 2)),
    )
    x, y = rng.uniform(-1, 1, (2, 50))
    new = substituted(coefficients, linear, offset)
    for image in range(4):
        u, v = offset[image][:, None] + linear[image] @ [x, y]
        wanted = coefficients[image] @ basis(6)(u, v).T
        assert np.allclose(new[image] @ basis(6)(x, y).T, wanted, rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("degree", [0, 8])
def test_a_degree_that_tpv_does_not_have_is_refused(true, degree):
    with pytest.raises(NoWCSError, match=f"{degree} is not from 1 to 7"):
        fit_tpv(true.mapped(), degree)
