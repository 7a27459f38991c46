"""Association against the truth of a simulated field."""

import numpy as np
import pytest
from jointfit.star_field import ARCSEC, PIXELS, project, star_field

from obslab.errors import ConfigError, SchemaError
from obslab.jointfit.association import AssociationError, associate
from obslab.jointfit.projection import to_plane, unit_vectors


def check(found):
    """What holds for any Association."""
    stars = len(found.reference)
    rows = np.repeat(np.arange(stars), np.diff(found.first))
    assert (found.star[found.members] == rows).all()
    assert len(found.members) == (found.star >= 0).sum() == found.counts["associated"]
    in_star = np.diff(found.members)
    assert (in_star[np.diff(rows) == 0] > 0).all()  # rows in their order
    assert (np.diff(found.members[found.first[:-1]]) > 0).all()  # stars by their first row
    counts = found.counts
    parts = ("associated", "alone", "ambiguous", "too_few", "not_offered")
    assert sum(counts[part] for part in parts) == counts["measured"] == len(found.star)
    used = found.reference[found.reference >= 0]
    assert len(np.unique(used)) == len(used) == counts["stars_with_reference"]
    return found


def with_pair(field, exposure, star, arcsec):
    """The field with one more measurement, so far from a star in one exposure, and its row."""
    row = np.flatnonzero((field.truth == star) & (exposure_of(field) == exposure))[0]
    field = field.with_rows(np.insert(np.arange(len(field.truth)), row, row))
    x = field.measured.x.values.copy()
    x[row] += arcsec
    return replace_x(field, x), row


def replace_x(field, x):
    field.measured = field.measured.assign(x=("measured", x, field.measured.x.attrs))
    return field


def exposure_of(field):
    return field.measured.exposure.values[field.measured.image.values]


def everywhere(field):
    """A star that all exposures measured, far from the others, with a reference star, and one without."""
    count = np.bincount(field.truth[field.truth >= 0], minlength=len(field.ra))
    good = np.flatnonzero(count == len(field.exposures.exposure))
    place = np.stack(project(field.ra, field.dec, field.ra[0], field.dec[0]), -1)
    apart = np.array([np.sort(np.hypot(*(place - place[s]).T))[1] for s in good]) > 20 * ARCSEC
    good = good[apart]
    has = np.isin(good, field.reference_star)
    return good[has][0], good[~has][0]


def test_stars_are_those_of_the_truth():
    field = star_field(offset_arcsec={1: (5.0, -3.0)}, turn_deg={2: 0.01})
    found = check(associate(*field.loaded))
    assert field.found(found.star) > 0.998
    first = field.truth[found.members[found.first[:-1]]]
    real = first >= 0
    wrong = field.truth[found.members] != np.repeat(first, np.diff(found.first))
    assert wrong.sum() <= 2  # spurious detections within half an arcsecond of a star
    assert (field.truth[found.members][wrong] == -1).all()
    known = real & (found.reference >= 0)
    assert (field.reference_star[found.reference[known]] == first[known]).all()
    # All stars of the truth that were measured and have a reference star got it.
    assert known.sum() > 0.995 * np.isin(field.reference_star, field.truth).sum()


def test_first_positions_are_those_of_the_stars():
    field = star_field(offset_arcsec={1: (5.0, -3.0)})
    found = associate(*field.loaded)
    star = field.truth[found.members[found.first[:-1]]]
    true = np.stack(to_plane(found.frame, unit_vectors(field.ra[star], field.dec[star])), -1)
    away = np.hypot(*(found.position - true)[star >= 0].T) / ARCSEC
    assert (
        np.median(away) < 0.02 and np.quantile(away, 0.99) < 0.1
    )  # noise of 0.02 arcsec and 5 mas of affine
    assert found.epoch == pytest.approx(2025.0) and found.radius_arcsec == 0.5
    assert found.frames.shape == (4, 3, 3) and found.affine.shape == (4, 2, 3)


def test_the_order_of_rows_in_an_image_changes_no_star():
    field = star_field()
    found = associate(*field.loaded)
    rng = np.random.default_rng(2)
    order = np.lexsort([rng.random(len(field.truth)), field.measured.image.values])
    shuffled = field.with_rows(order)
    other = check(associate(*shuffled.loaded))
    assert other.counts == found.counts
    members = [
        {tuple(np.sort(rows)) for rows in np.split(index[a.members], a.first[1:-1])}
        for a, index in ((found, np.arange(len(order))), (other, order))
    ]
    assert members[0] == members[1]
    np.testing.assert_allclose(np.sort(found.position, 0), np.sort(other.position, 0), rtol=0, atol=1e-12)


@pytest.mark.parametrize("with_reference", [True, False])
def test_the_number_of_threads_changes_no_bit(monkeypatch, with_reference):
    field = star_field(offset_arcsec={1: (5.0, -3.0)}, turn_deg={2: 0.05})
    found = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("OBSLAB_THREADS", threads)
        a = associate(field.measured, field.reference if with_reference else None, field.exposures)
        found.append(
            [part.tobytes() for part in (a.star, a.reference, a.position, a.affine, a.first, a.members)]
        )
    assert found[0] == found[1] == found[2]


def test_a_close_pair_is_ambiguous_and_counted():
    field = star_field(spurious=0)
    star, _ = everywhere(field)
    pair, row = with_pair(field, 1, star, 0.1)
    before, found = associate(*field.loaded), check(associate(*pair.loaded))
    assert found.counts["ambiguous_groups"] == before.counts["ambiguous_groups"] + 1
    assert (found.star[pair.truth == star] == -2).all() and found.star[row] == -2
    assert found.counts["stars"] == before.counts["stars"] - 1


def test_a_wider_pair_is_taken_apart_with_half_the_radius():
    field = star_field(spurious=0)
    star, _ = everywhere(field)
    pair, row = with_pair(field, 1, star, 0.4)
    found = check(associate(*pair.loaded))
    assert found.counts["doubtful_groups"] >= 1
    mine = np.flatnonzero(pair.truth == star)
    assert found.star[row] == -1
    assert (found.star[mine[mine != row]] >= 0).all() and len(set(found.star[mine[mine != row]])) == 1


def test_two_reference_stars_at_one_place_are_ambiguous():
    field = star_field(spurious=0)
    star, _ = everywhere(field)
    twice = field.reference.isel(
        reference=np.append(np.arange(len(field.reference_star)), np.searchsorted(field.reference_star, star))
    )
    found = check(associate(field.measured, twice, field.exposures))
    assert (found.star[field.truth == star] == -2).all()


def test_a_fast_star_keeps_its_measurements_and_its_reference():
    # 2 arcsec a year over two years: up to 2 arcsec from where it is at the mean epoch.
    star, _ = everywhere(star_field(spurious=0))
    field = star_field(spurious=0, fast={star: (1600.0, -1200.0)})
    found = check(associate(*field.loaded))
    mine = found.star[field.truth == star]
    assert (mine >= 0).all() and len(set(mine)) == 1
    assert field.reference_star[found.reference[mine[0]]] == star
    # Its first position is that of the mean epoch: nine years after the catalogue's.
    dec = field.dec[star] - 1.2 * 9 * ARCSEC
    ra = field.ra[star] + 1.6 * 9 * ARCSEC / np.cos(np.radians(field.dec[star]))
    there = np.array(to_plane(found.frame, unit_vectors(ra, dec)))
    assert np.hypot(*(found.position[mine[0]] - there)) < 0.05 * ARCSEC
    still = field.reference.assign(pm_ra=0 * field.reference.pm_ra, pm_dec=0 * field.reference.pm_dec)
    assert (associate(field.measured, still, field.exposures).star[field.truth == star] < 0).any()


def test_rows_that_cannot_be_used_or_were_not_selected_are_left_out():
    field = star_field()
    x, sigma = field.measured.x.values.copy(), field.measured.sigma.values.copy()
    x[10], x[50], sigma[20], sigma[30], sigma[40] = np.nan, np.inf, -1, np.nan, np.inf
    field = replace_x(field, x)
    field.measured = field.measured.assign(sigma=("measured", sigma))
    selected = np.ones(len(x), bool)
    selected[100:150] = False
    found = check(associate(*field.loaded, selected=selected))
    assert (found.star[[10, 20, 30, 40, 50]] == -4).all() and (found.star[100:150] == -4).all()
    assert found.counts["not_offered"] == 55
    assert found.counts["unusable"] == 5 and found.counts["not_selected"] == 50


def test_a_reference_star_counts_as_a_measurement():
    field = star_field(spurious=0, pointings_arcsec=[(0, 0), (1500, 0)], exposures=2, stars=2500)
    found = check(associate(*field.loaded))
    measurements = np.diff(found.first)
    assert (found.reference[measurements == 1] >= 0).all() and (measurements == 1).sum() > 100
    alone = field.truth[found.star == -1]
    assert not np.isin(alone, field.reference_star).any()
    strict = check(associate(*field.loaded, minimum_measurements=3))
    assert (np.diff(strict.first) == 2).all() and (strict.reference >= 0).all()
    assert strict.counts["too_few"] > 500


def test_a_reference_far_larger_than_the_field_changes_nothing():
    field = star_field()
    found = associate(*field.loaded)
    rng = np.random.default_rng(1)
    count = len(field.reference_star)
    large = field.reference.isel(reference=np.tile(np.arange(count), 3))
    ra, dec = rng.uniform(0, 360, 3 * count), np.degrees(np.arcsin(rng.uniform(-1, 1, 3 * count)))
    ra[:count], dec[:count] = field.reference.ra.values, field.reference.dec.values
    large = large.assign(ra=("reference", ra), dec=("reference", dec))
    other = check(associate(field.measured, large, field.exposures))
    np.testing.assert_array_equal(found.star, other.star)
    np.testing.assert_array_equal(found.reference, other.reference)


def test_an_image_to_image_association_needs_no_reference():
    field = star_field(offset_arcsec={1: (4.0, 2.0)})
    found = check(associate(field.measured, None, field.exposures))
    assert field.found(found.star, with_reference=False) > 0.998
    assert (found.reference == -1).all() and (np.diff(found.first) >= 2).all()


def test_fitted_positions_take_the_place_of_the_rough_wcs():
    field = star_field(offset_arcsec=dict.fromkeys(range(4), (300.0, 0.0)))  # hopeless to align
    e = exposure_of(field)
    detector = field.measured.detector.values[field.measured.image.values]
    xi = -(field.measured.x.values - 0.5 + (detector % 2 - 1) * PIXELS) * ARCSEC
    eta = (field.measured.y.values - 0.5 + (detector // 2 - 1) * PIXELS) * ARCSEC
    found = check(associate(*field.loaded, positions=(xi, eta)))
    assert field.found(found.star) > 0.998 and found.radius_arcsec == 0.3
    assert (found.affine == 0).all() and np.isnan(found.alignment.rms.values).all()
    assert e.max() == 3


def test_without_alignment_the_match_cut_is_the_radius():
    field = star_field(offset_arcsec={1: (0.8, 0.0)}, stars=500)
    found = check(associate(*field.loaded, align=False))
    assert found.radius_arcsec == 3.0 and field.found(found.star) > 0.9
    tight = associate(*field.loaded, align=False, radius_arcsec=0.3)
    assert not set(tight.star[exposure_of(field) == 1]) & set(tight.star[exposure_of(field) == 0]) - {-1, -2}


def test_a_reference_that_scatters_widens_the_radius():
    field = star_field()
    rng = np.random.default_rng(3)
    scatter = rng.normal(0, 0.3, len(field.reference_star)) * ARCSEC
    field.reference = field.reference.assign(dec=field.reference.dec + scatter)
    found = check(associate(*field.loaded))
    assert 0.6 < found.radius_arcsec < 1.0  # 2.5 times 0.3
    assert found.counts["stars_with_reference"] > 0.95 * np.isin(field.reference_star, field.truth).sum()


def test_one_file_under_two_detectors_is_named():
    field = star_field(spurious=0)
    image = field.measured.image.values
    m = field.measured
    copy = m.isel(measured=np.flatnonzero(image == 4))
    order = np.flatnonzero(image == 5)
    x, y = m.x.values.copy(), m.y.values.copy()
    count = min(len(order), copy.sizes["measured"])
    x[order[:count]], y[order[:count]] = copy.x.values[:count], copy.y.values[:count]
    keep = np.setdiff1d(np.arange(len(x)), order[count:])
    start = m.start.values.copy()
    start[5] = start[4]
    twice = m.assign(x=("measured", x), y=("measured", y), start=(m.start.dims, start)).isel(measured=keep)
    with pytest.raises(
        AssociationError, match="image e001_c01 shows the same stars as image e001_c00"
    ) as caught:
        associate(twice, field.reference, field.exposures)
    assert caught.value.images == (5,)
    found = check(associate(twice, field.reference, field.exposures, on_failure="exclude"))
    assert found.excluded_images == (5,)
    assert (found.star[twice.image.values == 5] == -4).all()
    assert (found.star[twice.image.values == 4] >= 0).mean() > 0.9


@pytest.mark.parametrize(
    "options",
    [
        {"search_arcsec": 0},
        {"radius_arcsec": -1.0},
        {"match_cut_arcsec": np.nan},
        {"minimum_measurements": 1},
        {"on_failure": "ignore"},
        {"selected": np.ones(3, bool)},
        {"selected": [1, 2, 3]},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError):
        associate(*star_field(stars=50).loaded, **options)


def test_tables_that_do_not_fit_are_refused():
    field = star_field(stars=200)
    m, r, e = field.loaded
    with pytest.raises(SchemaError, match="not ordered by image"):
        associate(m.isel(measured=slice(None, None, -1)), r, e)
    with pytest.raises(SchemaError, match=r"exposures \[3\], which exposures lacks"):
        associate(m, r, e.isel(exposure=slice(0, 3)))
    with pytest.raises(SchemaError, match=r"exposures \[2\] have no epoch"):
        associate(m, r, e.assign(epoch=e.epoch.where(e.exposure != 2)))
    with pytest.raises(SchemaError, match="rows of reference have no epoch"):
        associate(m, r.assign(epoch=r.epoch * np.nan), e)
    with pytest.raises(SchemaError, match=r"exposures \[1\] lie more than 60 deg"):
        associate(m, r, e.assign(dec=e.dec.where(e.exposure != 1, -60)))
