"""Exposures brought onto the reference, or onto each other, and those that cannot be."""

import re

import numpy as np
import pytest
from jointfit.star_field import ARCSEC, PIXELS, project, sky_of, star_field

from obslab.errors import ObslabError
from obslab.jointfit.association import AlignmentError, associate
from obslab.jointfit.association.planes import Planes, Rows, common_positions, rough_positions
from obslab.jointfit.datasets import ALIGNMENT


def refused(field, reference=None, **options):
    with pytest.raises(AlignmentError) as caught:
        associate(field.measured, reference, field.exposures, **options)
    assert isinstance(caught.value, (ObslabError, ValueError)) and "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("own_crval", [False, True])
def test_rough_positions_are_astropys(own_crval):
    field = star_field(own_crval=own_crval, turn_deg={1: 2.0}, spurious=0)
    rows, planes = Rows.of(field.measured, field.exposures), Planes.of(field.exposures)
    m, count = field.measured, field.measured.sizes["measured"]
    xi, eta = np.empty(count), np.empty(count)
    rough_positions(m, rows, planes, xi, eta)
    image = m.image.values
    u, v = ((m[name].values - (PIXELS + 1) / 2) / (PIXELS / 2) for name in "xy")
    for n in range(m.sizes["image"]):
        here = image == n
        powers = [u[here] ** (d - j) * v[here] ** j for d in range(4) for j in range(d + 1)]
        terms = m.sizes["term"]
        ra, dec = sky_of(m.start.values[n] @ powers[:terms], m.crval.values[n])
        e = m.exposure.values[n]
        there = project(ra, dec, field.exposures.ra.values[e], field.exposures.dec.values[e])
        # 1e-6 mas: rounding of astropy's degrees around 150.
        np.testing.assert_allclose(np.stack([xi[here], eta[here]]), there, rtol=0, atol=1e-6 * ARCSEC / 1000)
    common_positions(rows, np.zeros((4, 2, 3)), planes, xi, eta)
    seen = field.truth != -1
    centre = (
        np.degrees(np.arctan2(planes.frame[2, 1], planes.frame[2, 0])),
        np.degrees(np.arcsin(planes.frame[2, 2])),
    )
    there = np.stack(project(field.ra[field.truth], field.dec[field.truth], *centre), -1)
    straight = seen & (m.exposure.values[image] != 1)
    assert np.abs(np.stack([xi, eta], -1) - there)[straight].max() < 0.2 * ARCSEC  # noise of 0.02 arcsec


def test_offsets_and_turns_are_absorbed():
    wrong = {0: (5.0, 0.0), 1: (-5.0, 5.0), 2: (9.0, -9.0), 3: (0.0, 0.0)}
    turns = {0: 0.0, 1: 0.01, 2: -0.01, 3: 0.01}
    field = star_field(offset_arcsec=wrong, turn_deg=turns)
    found = associate(*field.loaded)
    ALIGNMENT.check(found.alignment)
    corners = np.array([[-1, -1, 1, 1], [-1, 1, -1, 1]]) * PIXELS
    for e in range(4):
        turn = np.radians(turns[e])
        rough = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ corners
        rough += np.array(wrong[e])[:, None]
        a = found.affine[e]
        # 0.02 arcsec of noise on 300 stars: the corners are known to some 3 mas.
        np.testing.assert_allclose(rough + a[:, :1] / ARCSEC + a[:, 1:] @ rough, corners, atol=0.012)
        assert found.alignment.rotation.values[e] == pytest.approx(-np.radians(turns[e]) * 3600, abs=0.03)
    assert field.found(found.star) > 0.998


@pytest.mark.parametrize("turn", [0.05, -0.1])
def test_turns_that_smear_the_histogram_are_found_by_trying(turn):
    field = star_field(turn_deg={2: turn}, offset_arcsec={2: (4.0, -3.0)})
    found = associate(*field.loaded)
    assert found.alignment.rotation.values[2] == pytest.approx(-np.radians(turn) * 3600, abs=0.03)
    assert found.alignment.rms.values[2] < 0.05


def test_reference_stars_are_taken_to_the_exposures_epoch():
    # 1.5 arcsec a year for all stars since 2016: the field of 2024 is 12 arcsec off that of the catalogue.
    field = star_field(motion_mas=(1200.0, -900.0))
    found = associate(*field.loaded)
    assert np.abs(found.alignment.xi.values).max() < 0.02
    still = field.reference.assign(
        pm_ra=field.reference.pm_ra * np.nan, pm_dec=field.reference.pm_dec * np.nan
    )
    with pytest.raises(AlignmentError):
        associate(field.measured, still, field.exposures)


def test_an_offset_beyond_the_search_is_refused_and_named():
    field = star_field(offset_arcsec={1: (15.0, 0.0)})
    error = refused(field, field.reference)
    assert error.exposures == (1,)
    assert "exposure 1 cannot be aligned" in str(error)
    assert "(-15, 0) arcsec" in str(error) and "search_arcsec=20" in str(error)
    found = associate(*field.loaded, search_arcsec=20)
    assert found.alignment.xi.values[1] == pytest.approx(-15, abs=0.01)


def test_a_wcs_off_by_a_degree_says_where_it_points():
    field = star_field(offset_arcsec={2: (0.0, 3600.0)})
    error = refused(field, field.reference)
    assert error.exposures == (2,)
    assert "there is no overlap" in str(error) and re.search(
        r"(0\.9|1\.0)\d deg from the middle of the ref", str(error)
    )


def test_a_wcs_off_by_part_of_the_field_is_no_match_by_chance():
    field = star_field(offset_arcsec={2: (400.0, 300.0)}, stars=6000)
    error = refused(field, field.reference)
    assert error.exposures == (2,) and "stands out" in str(error)


def test_a_reference_of_another_field_names_all_exposures():
    field = star_field(exposures=7)
    error = refused(field, field.reference.assign(dec=field.reference.dec + 2))
    assert error.exposures == tuple(range(7))
    assert "and 2 more like these" in str(error) and len(error.problems) == 7


def test_an_exposure_with_too_few_measurements_is_refused_by_their_number():
    field = star_field()
    keep = np.flatnonzero(field.measured.exposure.values[field.measured.image.values] != 3)
    few = field.with_rows(np.concatenate([keep, np.arange(-6, 0) + len(field.truth)]))
    assert "has 6 usable measurements, wanted at least 8" in str(refused(few, few.reference))
    none = field.with_rows(keep)
    found = associate(*none.loaded)  # not there at all is no failure
    assert np.isnan(found.alignment.rms.values[3]) and found.excluded_exposures == ()


def test_exclusion_leaves_out_what_it_names():
    field = star_field(offset_arcsec={1: (15.0, 0.0)})
    found = associate(*field.loaded, on_failure="exclude")
    exposure = field.measured.exposure.values[field.measured.image.values]
    assert found.excluded_exposures == (1,) and found.counts["excluded_exposures"] == 1
    assert (found.star[exposure == 1] == -4).all() and (found.star[exposure != 1] != -4).all()
    assert (found.affine[1] == 0).all() and "exposure 1" in found.reasons[0]
    all_wrong = star_field(offset_arcsec=dict.fromkeys(range(4), (30.0, 0.0)))
    assert refused(all_wrong, all_wrong.reference, on_failure="exclude").exposures == (0, 1, 2, 3)


def test_an_image_with_another_wcs_than_its_exposure_is_named():
    field = star_field()
    start = field.measured.start.copy()
    start[6, 0, 0] += 7 * ARCSEC
    field.measured["start"] = start
    error = refused(field, field.reference)
    assert error.images == (6,) and "image e001_c02 differs from the rest of exposure 1" in str(error)
    found = associate(*field.loaded, on_failure="exclude")
    image = field.measured.image.values
    assert found.excluded_images == (6,) and found.excluded_exposures == ()
    assert (found.star[image == 6] == -4).all() and (found.star[image != 6] != -4).all()


def test_exposures_without_a_reference_are_aligned_on_each_other():
    wrong = {0: (5.0, 0.0), 1: (-3.0, 4.0), 2: (2.0, -6.0), 3: (0.0, 0.0)}
    field = star_field(offset_arcsec=wrong, turn_deg={1: 0.02})
    found = associate(field.measured, None, field.exposures)
    shift = np.stack([found.alignment.xi.values, found.alignment.eta.values], -1)
    apart = shift + np.array([wrong[e] for e in range(4)])  # the same for all: the anchor's own error
    assert np.abs(apart - apart[3]).max() < 0.05
    assert (found.reference == -1).all()
    assert field.found(found.star, with_reference=False) > 0.998


def test_a_row_of_exposures_is_aligned_link_by_link():
    # Each exposure overlaps with its neighbours only: 1500 arcsec apart, 2000 wide.
    wrong = {n: (3.0 * (-1) ** n, 2.0 * n) for n in range(4)}
    field = star_field(stars=4000, pointings_arcsec=[(1500 * n, 0) for n in range(4)], offset_arcsec=wrong)
    found = associate(field.measured, None, field.exposures)
    apart = found.alignment.eta.values + 2.0 * np.arange(4)
    assert np.ptp(apart) < 0.05 and field.found(found.star, with_reference=False) > 0.998


def test_an_exposure_without_overlap_is_named():
    field = star_field(offset_arcsec={2: (0.0, 3600.0)})
    error = refused(field)
    assert error.exposures == (2,) and "on the other exposures: there is no overlap" in str(error)


def test_the_larger_set_of_exposures_wins():
    # Exposure 0 has the most measurements, but stands alone.
    field = star_field(offset_arcsec={0: (0.0, 3600.0)})
    assert refused(field).exposures == (0,)
