"""Simulated exposures: what is measured is the truth with the noise it tells of, and each effect is there."""

import hashlib
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from obslab.errors import ConfigError
from obslab.jointfit import datasets
from obslab.jointfit.catalogue import load
from obslab.jointfit.polynomial import basis
from obslab.jointfit.projection import MAS, earth, frames, from_plane, homography, to_plane, unit_vectors
from obslab.jointfit.simulate import score, simulate, write
from obslab.jointfit.simulate.atmosphere import turbulence

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# Of the maker that peers were compared with in November 2026.
CHECKSUM = "4cc97b130034bd4327043ca8714cdec5bdee7f046b7f5966f47689498a583b20"
SMALL = {"detectors": (2, 2), "exposures": 4, "stars_per_detector": 150}
CLEAN = {"outliers": 0.0, "spurious": 0.0, "missing": 0.0}


@lru_cache
def small(**options):
    if isinstance(options.get("refraction_mas"), tuple):  # a mapping that can be a key of the cache
        options["refraction_mas"] = dict([options["refraction_mas"]])
    return simulate(**{**SMALL, **options})


def rows(simulated, good=True):
    """Exposure, detector and star of the measurements that are no outliers, and which these are."""
    measured, truth = simulated.measured, simulated.truth
    kept = np.flatnonzero(~truth.outlier) if good else np.arange(measured.sizes["measured"])
    image = measured.image.values[kept]
    return kept, measured.exposure.values[image], measured.detector.values[image], truth.star[kept]


def residuals_pixel(simulated):
    """Measured minus true position, east and north, in pixels, by the true mapping and the true stars."""
    kept, exposure, detector, star = rows(simulated)
    truth, measured = simulated.truth, simulated.measured
    x, y = measured.x.values[kept], measured.y.values[kept]
    frame = truth.pointings.frame[exposure]
    there = to_plane(frame, unit_vectors(*truth.position(star, exposure)))
    seen = to_plane(frame, unit_vectors(*truth.sky(exposure, detector, x, y)))
    return (np.array(seen) - there) / truth.camera.scale_deg


# ---- measurements


def test_the_tables_are_as_declared():
    simulated = small(measured_color=True, elongation=1.5)
    datasets.MEASURED.check(simulated.measured)
    datasets.EXPOSURES.check(simulated.exposures)
    datasets.REFERENCE.check(simulated.reference)


def test_measurements_are_ordered_by_image_and_images_by_exposure_then_detector():
    measured = small().measured
    assert (np.diff(measured.image.values) >= 0).all()
    image = measured.exposure.values * 4 + measured.detector.values
    assert image.tolist() == list(range(16))
    assert measured.name.values[5] == "e001_c01"


def test_the_same_seed_gives_the_same_and_another_seed_something_else():
    first, again, other = small(), simulate(**SMALL), simulate(**SMALL, rng=1)
    for one, two in zip(first.loaded, again.loaded, strict=True):
        xr.testing.assert_identical(one, two)
    assert not first.truth.stars.equals(other.truth.stars)


def test_a_generator_goes_on_from_one_simulation_to_the_next():
    rng = np.random.default_rng(5)
    first, second = (simulate(**SMALL, rng=rng) for _ in range(2))
    assert not first.truth.stars.equals(second.truth.stars)


def test_an_effect_leaves_stars_and_camera_as_they_are():
    plain, rich = small(), small(turbulence_mas=10.0, refraction_mas=20.0, proper_motion=True)
    for name in ("ra", "dec", "mag", "color"):
        np.testing.assert_array_equal(plain.truth.stars[name], rich.truth.stars[name])
    np.testing.assert_array_equal(plain.truth.camera.warp, rich.truth.camera.warp)
    np.testing.assert_array_equal(plain.exposures.ra, rich.exposures.ra)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"turbulence_mas": 15.0},
        {"proper_motion": True},
        {"edge_pixel": 0.3, "ring_pixel": 0.1, "instruments": 2},
        {"center": (0.001, 88.5)},
    ],
    ids=["plain", "turbulence", "moving stars", "edges and rings", "pole and ra 0"],
)
def test_measurements_scatter_about_the_truth_as_their_sigma_says(options):
    simulated = small(**options)
    kept, *_ = rows(simulated)
    pull = residuals_pixel(simulated) / simulated.measured.sigma.values[kept]
    assert pull.shape[1] > 2000
    # 3 standard errors of the mean and of the standard deviation of so many normal numbers
    assert abs(pull.mean(1)).max() < 3 / np.sqrt(pull.shape[1])
    assert pull.std(1) == pytest.approx(1, abs=3 / np.sqrt(2 * pull.shape[1]))


def test_hidden_scatter_comes_on_top_of_sigma():
    simulated = small(floor_mas=10.0, **CLEAN)
    hidden = residuals_pixel(simulated).var() - np.mean(simulated.measured.sigma.values**2)
    assert np.sqrt(hidden) * 263 == pytest.approx(10, rel=0.05)


def test_elongated_errors_are_told_with_their_covariance():
    simulated = small(elongation=2.0, **CLEAN)
    measured = simulated.measured
    var_x, var_y = measured.sigma_x.values**2, measured.sigma_y.values**2
    cov = measured.covariance_xy.values
    east, north = residuals_pixel(simulated)
    dx, dy = -east, north  # the camera's x points west, but for a rotation of 5 mrad
    chi2 = (dx**2 * var_y - 2 * dx * dy * cov + dy**2 * var_x) / (var_x * var_y - cov**2)
    assert chi2.mean() == pytest.approx(2, abs=0.1)
    without = dx**2 / var_x + dy**2 / var_y
    assert without.std() > chi2.std()  # two variances alone do not describe them
    np.testing.assert_allclose(measured.sigma, (measured.sigma_x + measured.sigma_y) / 2, rtol=1e-6)


def test_the_asked_fractions_are_outliers_spurious_and_missing():
    everything = small(**CLEAN).measured.sizes["measured"]
    bad = small(outliers=0.1, spurious=0.2, missing=0.3)
    stars = bad.truth.star >= 0
    assert stars.sum() / everything == pytest.approx(0.7, abs=0.03)
    assert (~stars).sum() / stars.sum() == pytest.approx(0.2, abs=0.03)
    assert bad.truth.outlier[stars].mean() == pytest.approx(0.1, abs=0.03)
    assert bad.truth.outlier[~stars].all()


def test_outliers_are_off_by_tenths_of_a_pixel_to_some_pixels():
    simulated, clean = small(outliers=1.0, spurious=0.0, missing=0.0), small(**CLEAN)
    off = np.hypot(simulated.measured.x - clean.measured.x, simulated.measured.y - clean.measured.y)
    assert off.min() > 0.2 - 1e-9 and off.max() < 4 + 1e-9


# ---- mapping


def test_turbulence_has_its_rms_no_curl_and_is_smooth():
    rng = np.random.default_rng(2)
    g = np.linspace(-0.2, 0.2, 81)
    plane = np.stack(np.meshgrid(g, g))
    fields = np.stack([turbulence(rng, 10.0, 0.4, 10.0, 1.0)(plane) for _ in range(12)])
    assert np.sqrt(np.mean(fields**2)) / MAS == pytest.approx(10, rel=0.2)
    # A gradient: d(xi shift)/d eta = d(eta shift)/d xi; steps of 18 arcsec blur both by the same little.
    step = np.s_[1:-1]
    curl = (fields[:, 0, 2:, step] - fields[:, 0, :-2, step]) - (
        fields[:, 1, step, 2:] - fields[:, 1, step, :-2]
    )
    shear = (fields[:, 0, 2:, step] - fields[:, 0, :-2, step]) + (
        fields[:, 1, step, 2:] - fields[:, 1, step, :-2]
    )
    assert curl.std() < 0.1 * shear.std()


def test_turbulence_reaches_farther_along_the_wind():
    def shape(elongation):
        rng = np.random.default_rng(3)
        g = np.linspace(-0.2, 0.2, 41)
        ratios = []
        for _ in range(8):
            field = turbulence(rng, 10.0, 0.4, 10.0, elongation)(np.stack(np.meshgrid(g, g)))
            by_x, by_y = np.gradient(field, axis=2), np.gradient(field, axis=1)
            tensor = np.array(
                [[(by_x**2).sum(), (by_x * by_y).sum()], [(by_x * by_y).sum(), (by_y**2).sum()]]
            )
            ratios.append(np.divide(*np.linalg.eigvalsh(tensor)[::-1]))
        return np.median(ratios)

    assert shape(4.0) > 2 * shape(1.0)


def test_turbulence_is_part_of_the_true_mapping_and_differs_between_exposures():
    plain, blurred = small().truth, small(turbulence_mas=10.0).truth
    x = np.linspace(100, 1900, 7)
    shift = [
        np.array(blurred.plane(e, 1, x, 700.0)) - np.array(plain.plane(e, 1, x, 700.0)) for e in range(2)
    ]
    assert np.abs(shift[0] - shift[1]).max() > 1 * MAS
    assert np.abs(shift).max() < 100 * MAS


def test_refraction_shifts_by_color_towards_the_zenith():
    bent = small(refraction_mas=("r", 20.0), **CLEAN)
    east, north = residuals_pixel(bent) * bent.truth.camera.scale_deg / MAS
    _, exposure, _, star = rows(bent)
    color = bent.truth.stars.color.values[star]
    for number in range(4):
        at = exposure == number
        q = np.radians(bent.exposures.parallactic_angle.values[number])
        tan_z = np.sqrt(bent.exposures.airmass.values[number] ** 2 - 1)
        towards = east[at] * np.sin(q) + north[at] * np.cos(q)
        across = east[at] * np.cos(q) - north[at] * np.sin(q)
        weight = 1 / bent.measured.sigma.values[at]
        # 0.6 mas is the error of the slopes
        assert np.polyfit(color[at] - 0.8, towards, 1, w=weight) == pytest.approx([20 * tan_z, 0], abs=2)
        assert np.polyfit(color[at] - 0.8, across, 1, w=weight) == pytest.approx([0, 0], abs=2)


def test_refraction_of_one_band_leaves_the_other_alone():
    truth = small(refraction_mas=("g", 30.0), bands=("g", "r")).truth
    assert truth.refraction_mas.tolist() == [30.0, 0.0, 30.0, 0.0]


def test_a_polynomial_of_degree_4_on_each_detector_follows_the_camera():
    truth = small().truth
    nodes = np.linspace(-1, 1, 21)
    u, v = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
    for detector in range(4):
        focal = truth.focal(0, detector, u * 1024 + 1024.5, v * 1024 + 1024.5)
        errors = []
        for degree in (3, 4):
            values = basis(degree)(u, v)
            errors.append(focal.T - values @ np.linalg.lstsq(values, focal.T, rcond=None)[0])
        assert np.abs(errors[1]).max() < 0.02 * MAS
        assert np.abs(errors[0]).max() > np.abs(errors[1]).max()


def test_from_the_focal_plane_an_exposure_is_of_degree_2():
    truth = small().truth
    rng = np.random.default_rng(1)
    focal = rng.uniform(-0.15, 0.15, (2, 50))
    for exposure in range(4):
        plane = truth.pointings.plane(exposure, focal)
        values = basis(2)(*focal)
        found = np.linalg.lstsq(values, plane.T, rcond=None)[0]
        assert np.abs(values @ found - plane.T).max() < 1e-6 * MAS
        # A mirrored sky, turned a little: east is where x is small.
        assert found[1, 0] == pytest.approx(-1, abs=1e-3) and found[2, 1] == pytest.approx(1, abs=1e-3)


def test_numbers_may_be_scalars_or_arrays():
    truth = small(turbulence_mas=5.0, ring_pixel=0.05).truth
    many = truth.sky(np.array([0, 1]), np.array([2, 3]), np.array([10.0, 20.0]), np.array([30.0, 40.0]))
    one = truth.sky(1, 3, 20.0, 40.0)
    assert np.shape(one) == (2,)
    assert [axis[1] for axis in many] == pytest.approx(one, abs=1e-13)


def test_another_instrument_epoch_moves_the_detectors():
    truth = small(instruments=2).truth
    assert truth.instrument.tolist() == [0, 0, 1, 1]
    assert small(instruments=2).exposures.instrument.values.tolist() == ["run1", "run1", "run2", "run2"]
    moved = (truth.focal(2, 0, 1024.5, 1024.5) - truth.focal(1, 0, 1024.5, 1024.5)) / truth.camera.scale_deg
    assert 0.1 < np.hypot(*moved) < 20
    assert np.array_equal(truth.focal(1, 0, 9.0, 9.0), truth.focal(0, 0, 9.0, 9.0))


def test_edges_and_rings_are_what_their_tables_say():
    plain = small().truth
    x = np.linspace(1.0, 2048.0, 200)
    edge = small(edge_pixel=0.3).truth
    distance, table = edge.camera.edge_table()
    wanted = np.interp(x - 0.5, distance, table) - np.interp(2048.5 - x, distance, table)
    got = (edge.focal(0, 0, x, 1024.5) - plain.focal(0, 0, x, 1024.5)) / plain.camera.scale_deg
    assert got[0] == pytest.approx(wanted, abs=2e-3)  # other terms turn and stretch it by 1e-3
    rings = small(ring_pixel=0.1).truth
    distance, table = rings.camera.ring_table()
    away = np.stack([x, np.full(200, 900.0)]) - rings.camera.ring_center[0][:, None]
    radius = np.hypot(*away)
    got = (rings.focal(0, 0, x, 900.0) - plain.focal(0, 0, x, 900.0)) / plain.camera.scale_deg
    assert got == pytest.approx(away / radius * np.interp(radius, distance, table), abs=2e-3)


def test_a_distortion_that_cannot_be_inverted_is_refused():
    with pytest.raises(ConfigError, match="too strong"):
        simulate(**SMALL, edge_pixel=50.0)


def test_the_rough_wcs_is_off_by_the_same_in_all_images_of_an_exposure():
    simulated = small(wcs_error_arcsec=3.0)
    measured, truth = simulated.measured, simulated.truth
    start = measured.start.values @ basis(1)(0.0, 0.0)
    off = start - np.stack(
        truth.plane(measured.exposure.values, measured.detector.values, 1024.5, 1024.5), -1
    )
    off_arcsec = off.reshape(4, 4, 2) * 3600
    # 0.1 arcsec: a plane does not follow the distortion, and the rotation moves outer detectors
    assert off_arcsec == pytest.approx(np.repeat(truth.wcs_offset_arcsec[:, None], 4, 1), abs=0.1)
    assert np.abs(truth.wcs_offset_arcsec).max() > 1
    exact = small(wcs_error_arcsec=0.0, wcs_rotation_deg=0.0)
    start = exact.measured.start.values @ basis(1)(0.0, 0.0)
    place = exact.truth.plane(measured.exposure.values, measured.detector.values, 1024.5, 1024.5)
    assert start == pytest.approx(np.stack(place, -1), abs=0.1 / 3600)


def test_exposures_may_be_pointed_at_will():
    offsets = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, -0.5], [0.01, 0.02]])
    simulated = simulate(**SMALL, dither_deg=offsets)
    frame = simulated.truth.pointings.frame
    to = to_plane(frame[0], unit_vectors(simulated.exposures.ra.values, simulated.exposures.dec.values))
    assert np.stack(to, -1) == pytest.approx(offsets, abs=1e-9)
    assert simulated.measured.exposure.values[simulated.measured.image.values].max() == 3
    assert np.isfinite(homography(frame[1], frame[0])).all()


def test_exposures_are_dithered_within_bounds():
    exposures = simulate(**{**SMALL, "exposures": 12, "stars_per_detector": 10}, dither_deg=0.05).exposures
    xi, eta = to_plane(frames(150.0, 2.2), unit_vectors(exposures.ra.values, exposures.dec.values))
    assert 0.03 < np.abs([xi, eta]).max() < 0.05
    assert len(np.unique(np.round(xi, 6))) == 12


# ---- stars, reference, photometry


def test_stars_move_as_erfa_says():
    import erfa

    simulated = small(proper_motion=True)
    truth, stars = simulated.truth, simulated.truth.stars
    star, exposure = np.arange(stars.sizes["star"]), np.full(stars.sizes["star"], 3)
    ra, dec = truth.position(star, exposure)
    at = simulated.exposures.isel(exposure=3)
    mas = np.radians(MAS)
    direction = erfa.pmpx(
        np.radians(stars.ra.values),
        np.radians(stars.dec.values),
        stars.pm_ra.values * mas / np.cos(np.radians(stars.dec.values)),
        stars.pm_dec.values * mas,
        stars.parallax.values / 1000,
        0.0,
        at.epoch.item() - stars.attrs["epoch"],
        earth(at.mjd.item()),
    )
    # erfa adds the light time across the Earth's orbit, 8 minutes of proper motion: 1e-3 mas at 60 mas/yr
    assert np.abs(unit_vectors(ra, dec) - direction).max() < 2e-3 * mas
    assert stars.parallax.values.max() > 1 and np.abs(stars.pm_ra.values).max() > 20


def test_the_reference_scatters_about_the_stars_as_its_errors_say():
    simulated = small(proper_motion=True, stars_per_detector=400)
    reference, stars = simulated.reference, simulated.truth.stars
    nearest = np.searchsorted(np.sort(stars.mag.values), reference.mag.values)
    star = np.argsort(stars.mag.values)[nearest]
    cos = np.cos(np.radians(stars.dec.values[star]))
    pulls = {
        "ra": (reference.ra.values - stars.ra.values[star]) * cos / MAS / reference.ra_error.values,
        "dec": (reference.dec.values - stars.dec.values[star]) / MAS / reference.dec_error.values,
    }
    for name in ("pm_ra", "pm_dec", "parallax"):
        pulls[name] = (reference[name].values - stars[name].values[star]) / reference[f"{name}_error"].values
    for name, pull in pulls.items():
        assert pull.std() == pytest.approx(1, abs=0.1), name
        assert abs(pull.mean()) < 0.15, name
    assert reference.mag.values.max() < 20.5
    assert reference.ra_error.values.min() == pytest.approx(0.03, abs=0.01)


def test_a_catalogue_of_positions_knows_no_motion_and_has_the_error_given():
    reference = small(positions_only=True, reference_error_mas=200.0).reference
    assert np.isnan(reference.pm_ra).all() and np.isnan(reference.parallax_error).all()
    assert (reference.ra_error == 200).all() and (reference.epoch == 2016).all()


def test_zero_points_give_the_magnitudes_back():
    simulated = small(bands=("r", "g"), **CLEAN)
    measured, truth = simulated.measured, simulated.truth
    _, exposure, detector, star = rows(simulated)
    zero = truth.zero_point(exposure, detector, measured.x.values, measured.y.values)
    mag = zero - 2.5 * np.log10(measured.flux.values)
    color = truth.stars.color.values[star] - 0.8
    error = 2.5 / np.log(10) * (measured.flux_error / measured.flux).values
    term = np.where(exposure % 2, 0.6, 0.0)
    pull = (mag - term * color - truth.stars.mag.values[star]) / error
    assert pull.std() == pytest.approx(1, abs=0.05)
    assert abs(pull.mean()) < 0.1
    assert truth.throughput.detector.mean() == pytest.approx(0, abs=1e-12)
    corner = truth.zero_point(0, 0, 1.0, 1.0) - truth.zero_point(0, 0, 2048.0, 2048.0)
    assert corner == pytest.approx(-0.03, abs=0.005)


# ---- around it


def test_the_truth_scores_nothing_and_a_shift_scores_itself():
    simulated = small(turbulence_mas=5.0)
    assert score(simulated, simulated.truth.sky) < 1e-6

    def shifted(exposure, detector, x, y):
        frame = simulated.truth.pointings.frame[exposure]
        xi, eta = simulated.truth.plane(exposure, detector, x, y)
        vectors = from_plane(frame, xi + 3 * MAS, eta - 5 * MAS)
        return np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])), np.degrees(np.arcsin(vectors[:, 2]))

    assert score(simulated, shifted) == pytest.approx(np.sqrt((9 + 25) / 2), abs=1e-3)


def test_what_is_written_is_what_is_read(tmp_path):
    simulated = small(bands=("g", "r"), instruments=2, elongation=1.5, measured_color=True)
    read = load(write(simulated, tmp_path / "field"))
    assert dict(read.measured.sizes) == dict(simulated.measured.sizes)
    for name in set(simulated.measured.variables) - {"start"}:
        np.testing.assert_array_equal(read.measured[name], simulated.measured[name], name)
    np.testing.assert_allclose(read.measured.start, simulated.measured.start, rtol=0, atol=1e-3 * MAS)
    np.testing.assert_array_equal(read.exposures.band, simulated.exposures.band)
    np.testing.assert_array_equal(read.exposures.instrument, simulated.exposures.instrument)
    np.testing.assert_array_equal(read.reference.ra, simulated.reference.ra)


def test_nothing_to_simulate_is_an_error():
    with pytest.raises(ConfigError, match="exposures=0"):
        simulate(exposures=0)


def test_the_maker_of_benchmark_data_gives_the_numbers_it_always_gave(tmp_path):
    maker = BENCHMARKS / "jointfit_data/simulate.py"
    tiny = ["--grid", "2", "--nexp", "2", "--nstar", "30", "--pm", "--dcr", "--turb", "5", "--seed", "7"]
    subprocess.run([sys.executable, maker, tmp_path, *tiny], check=True, capture_output=True)
    with np.load(tmp_path / "measurements.npz") as measured, np.load(tmp_path / "truth/meas.npz") as truth:
        arrays = {**measured, **truth}
    assert len(arrays["x"]) == 240
    # Not the very last digits: other processors may have other sines.
    steps = {"flux": 1e-2, "fluxerr": 1e-2}
    whole = [
        np.rint(array / steps.get(name, 1e-7)).astype(np.int64) for name, array in sorted(arrays.items())
    ]
    assert hashlib.sha256(b"".join(array.tobytes() for array in whole)).hexdigest() == CHECKSUM
