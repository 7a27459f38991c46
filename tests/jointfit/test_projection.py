"""Tangent planes, against astropy's WCS and its coordinates."""

import numpy as np
import pytest

from obslab.jointfit.projection import (
    DEG,
    MAS,
    apply,
    earth,
    frames,
    from_plane,
    homography,
    middle,
    sky,
    to_plane,
    unit_vectors,
)

PLACES = [(150.0, 2.2), (0.0, 0.0), (359.9999, -45.0), (12.0, 89.9), (200.0, -90.0)]


def _wcs(ra, dec):
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [0, 0]
    wcs.wcs.cdelt = [1, 1]  # pixels are degrees of the plane
    return wcs


@pytest.mark.parametrize(("ra", "dec"), PLACES)
def test_the_tangent_plane_is_that_of_fits(ra, dec):
    rng = np.random.default_rng(1)
    xi, eta = rng.uniform(-2, 2, (2, 200))
    want = _wcs(ra, dec).wcs_pix2world(xi, eta, 0 + 0)
    frame = frames(ra, dec)
    # Pixels count from zero there: crpix 0 is pixel -1.
    ours = sky(from_plane(frame, xi + 1, eta + 1))
    assert np.abs(ours[1] - want[1]).max() < 1e-11
    assert np.abs((ours[0] - want[0] + 180) % 360 - 180).max() * np.cos(DEG * min(abs(dec) + 5, 89)) < 1e-10
    back = to_plane(frame, unit_vectors(*ours))
    # A millionth of a mas, 3e-13 deg; next to the pole a right ascension in degrees holds 1e-14 of a circle.
    assert np.abs(np.stack(back) - np.stack([xi + 1, eta + 1])).max() < 1e-12
    assert np.all((ours[0] >= 0) & (ours[0] < 360))


def test_the_other_half_of_the_sky_is_not_in_the_plane():
    frame = frames(10.0, 20.0)
    assert np.isnan(to_plane(frame, unit_vectors(190.0, -20.0))).all()
    assert np.isnan(to_plane(frame, frame[0])).all()  # 90 degrees away
    assert np.allclose(to_plane(frame, unit_vectors(10.0, 20.0)), 0, atol=1e-14)


def test_frames_are_right_handed_with_east_and_north_where_they_belong():
    stack = frames(*np.array(PLACES).T)
    assert stack.shape == (5, 3, 3)
    assert np.allclose(stack @ np.swapaxes(stack, 1, 2), np.eye(3), atol=1e-15)
    assert np.allclose(np.linalg.det(stack), 1)
    step = 1e-6
    for (ra, dec), frame in zip(PLACES[:3], stack, strict=False):
        east = (unit_vectors(ra + step, dec) - unit_vectors(ra - step, dec)) / (
            2 * step * DEG * np.cos(dec * DEG)
        )
        north = (unit_vectors(ra, dec + step) - unit_vectors(ra, dec - step)) / (2 * step * DEG)
        assert np.allclose(frame[:2], [east, north], atol=1e-8)


@pytest.mark.parametrize(("ra", "dec"), PLACES)
def test_a_homography_is_the_way_from_plane_to_sky_to_plane(ra, dec):
    rng = np.random.default_rng(2)
    other = frames(ra + 1.0, np.clip(dec + 0.7, -90, 90))
    own = frames(ra, dec)
    xi, eta = rng.uniform(-1, 1, (2, 100))
    want = to_plane(other, from_plane(own, xi, eta))
    matrix = homography(other, own)
    assert np.abs(np.stack(apply(matrix, xi, eta)) - np.stack(want)).max() * 1 / MAS < 1e-7  # mas
    assert np.allclose(apply(homography(own, other), *apply(matrix, xi, eta)), [xi, eta], rtol=0, atol=1e-13)
    # Many at once.
    stack = homography(np.stack([own, other]), own)
    assert np.allclose(apply(stack[:, None], xi, eta)[0][0], xi, rtol=0, atol=1e-13)


def test_the_middle_of_fields_across_zero_hours_is_between_them():
    ra, dec = middle(frames(np.array([359.0, 1.0]), np.array([10.0, 10.0])))
    assert min(ra, 360 - ra) < 1e-9
    assert dec == pytest.approx(10.0015, abs=1e-3)  # on the great circle
    ra, dec = middle(frames(np.array([0.0, 90.0, 180.0, 270.0]), np.full(4, 89.5)))
    assert dec == pytest.approx(90, abs=1e-9)


def test_the_earth_is_one_au_away_and_comes_round_in_a_year():
    place = earth(60000 + np.arange(0, 366, 30.4375))
    distance = np.linalg.norm(place, axis=-1)
    assert place.shape == (13, 3)
    assert np.all(np.abs(distance - 1) < 0.03)  # from the barycentre, not the Sun
    assert np.linalg.norm(place[-1] - place[0]) < 0.03
    normal = np.cross(place[0], place[3])
    tilt = np.degrees(np.arccos(normal[2] / np.linalg.norm(normal)))
    assert tilt == pytest.approx(23.44, abs=0.1)
