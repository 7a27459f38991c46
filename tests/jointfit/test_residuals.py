"""The tables of a fit: as declared, and as astropy finds them."""

import astropy.units as u
import numpy as np
import pytest
import xarray as xr
from astropy.coordinates import SkyCoord
from jointfit.simulated_fits import base, fooled, rms, small

from obslab.jointfit import datasets, fit
from obslab.jointfit.output import write

STATES = list(datasets.STATES)


def used(result):
    return result.residuals.state.values == STATES.index("used")


def test_the_tables_are_as_declared():
    for result in (base()[1], fit(*small(proper_motion=True, exposures=8).loaded)):
        datasets.RESIDUALS.check(result.residuals)
        datasets.FITTED.check(result.fitted)
        datasets.REFERENCE_RESIDUALS.check(result.reference_residuals)
        assert result.residuals.sizes["measured"] == result.measured.sizes["measured"]


def test_every_measurement_has_one_state():
    simulated, result = base()
    states = np.bincount(result.residuals.state.values, minlength=len(STATES))
    said = dict(zip(STATES, states.tolist(), strict=True))
    counts, report = result.association.counts, result.report
    assert states.sum() == simulated.measured.sizes["measured"]
    assert said["used"] + said["rejected"] == report["measurements"]
    assert said["rejected"] == report["rejected"]
    assert said["alone"] == counts["alone"] and said["ambiguous"] == counts["ambiguous"]
    assert said["unselected"] == counts["not_offered"] and said["excluded"] == 0
    assert result.fitted.used.values.sum() == said["used"]
    assert result.fitted.measurements.values.sum() == said["used"] + said["rejected"]


def test_residuals_are_mapped_measurement_minus_projected_star_by_astropy():
    _simulated, result = base()
    table, mine = result.residuals, used(result)
    exposures = result.exposures
    for e in range(6):
        rows = mine & (table.exposure.values == e)
        tangent = SkyCoord(exposures.ra.values[e], exposures.dec.values[e], unit="deg")
        star = SkyCoord(table.ra.values[rows], table.dec.values[rows], unit="deg")
        away = star.transform_to(tangent.skyoffset_frame())
        # the gnomonic projection of spherical offsets
        lon, lat = away.lon.radian, away.lat.radian
        xi = np.degrees(np.tan(lon))
        eta = np.degrees(np.tan(lat) / np.cos(lon))
        assert (table.xi.values[rows] - xi) * 3.6e6 == pytest.approx(table.xi_residual.values[rows], abs=1e-4)
        assert (table.eta.values[rows] - eta) * 3.6e6 == pytest.approx(
            table.eta_residual.values[rows], abs=1e-4
        )
    # and the mapped measurement is where the image's WCS puts it, to the error that its header states
    rows = mine & (table.exposure.values == 2) & (table.detector.values == 1)
    wcs = result.wcs(2, 1)
    ra, dec = wcs.all_pix2world(table.x.values[rows], table.y.values[rows], 1)
    ours = result.sky(2, 1, table.x.values[rows], table.y.values[rows])
    apart = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(*ours, unit="deg")).to_value(u.mas)
    assert apart.max() < 0.05


def test_stars_of_residuals_are_the_fitted_ones_moved_to_the_exposure():
    simulated = small(proper_motion=True, exposures=8)
    result = fit(*simulated.loaded, parallax=False)
    table, stars = result.residuals, result.fitted
    rows = np.flatnonzero(table.star.values >= 0)[::7]
    s = table.star.values[rows]
    years = table.delta_epoch.values[rows].astype(float)
    start = SkyCoord(
        stars.ra.values[s] * u.deg,
        stars.dec.values[s] * u.deg,
        pm_ra_cosdec=np.nan_to_num(stars.pm_ra.values[s]) * u.mas / u.yr,
        pm_dec=np.nan_to_num(stars.pm_dec.values[s]) * u.mas / u.yr,
    )
    dec = start.dec.radian
    moved_ra = stars.ra.values[s] + start.pm_ra_cosdec.value * years / np.cos(dec) / 3.6e6
    moved_dec = stars.dec.values[s] + start.pm_dec.value * years / 3.6e6
    # the catalogue's parallaxes, up to 4 mas, are what is not in there
    assert (table.dec.values[rows] - moved_dec) * 3.6e6 == pytest.approx(0, abs=5)
    assert rms((table.ra.values[rows] - moved_ra) * np.cos(dec) * 3.6e6) < 1


def test_normalised_residuals_are_normal():
    simulated, result = base()
    table = result.residuals
    good = used(result) & ~simulated.truth.outlier & (table.measurements.values >= 4)
    good &= ~fooled(simulated, result)[np.maximum(table.star.values, 0)]
    pulls = np.r_[
        table.xi_residual.values[good] / table.xi_error.values[good],
        table.eta_residual.values[good] / table.eta_error.values[good],
    ]
    # what the star's own place takes: one of the four measurements and more, unless a reference holds it
    assert 0.75 < rms(pulls) < 1
    chi2 = (table.xi_residual / table.xi_error) ** 2 + (table.eta_residual / table.eta_error) ** 2
    assert table.chi2.values[good] == pytest.approx(chi2.values[good], rel=1e-4)


def test_the_rough_wcs_was_as_wrong_as_it_was_made():
    simulated, result = base()
    table, offset = result.residuals, simulated.truth.wcs_offset_arcsec
    for e in range(6):
        rows = used(result) & (table.exposure.values == e)
        # the rough WCS is a straight line through optics that bend by some 0.1 arcsec, and turned by 0.001
        # deg
        assert np.median(table.xi_start_residual.values[rows]) / 1000 == pytest.approx(offset[e, 0], abs=0.2)
        assert np.median(table.eta_start_residual.values[rows]) / 1000 == pytest.approx(offset[e, 1], abs=0.2)


def test_reference_residuals_have_normal_pulls():
    simulated = small(reference_error_mas=5.0)
    result = fit(*simulated.loaded)
    table = result.reference_residuals
    stars = table.star.values
    on = table.used.values
    assert on.sum() == result.report["references"]
    # fitted star minus reference: of their two variances, the star's is partly the reference's own
    variance = table.xi_error.values[on] ** 2 - result.fitted.ra_error.values[stars[on]] ** 2
    good = variance > 0.1
    pulls = table.xi_residual.values[on][good] / np.sqrt(variance[good])
    assert good.sum() > 100 and rms(pulls) == pytest.approx(1, abs=0.15)
    assert table.ra.values == pytest.approx(result.reference.ra.values[table.reference.values], abs=1e-9)


def test_chi2_of_the_stars_adds_up_to_that_of_the_fit():
    _, result = base()
    assert result.fitted.chi2.values.sum() == pytest.approx(result.report["chi2"], rel=1e-6)


def test_variables_say_their_jointcal_names():
    _, result = base()
    for name, table in (("measured", result.residuals), ("reference", result.reference_residuals)):
        for ours, theirs in datasets.JOINTCAL[name].items():
            assert table[ours].attrs["jointcal"] == theirs
        assert all(variable.attrs["description"] for variable in table.data_vars.values())


def test_files_hold_what_the_tables_do(tmp_path):
    _, result = base()
    write(result, tmp_path)
    for name, table in (
        ("residuals", result.residuals),
        ("fitted", result.fitted),
        ("reference_residuals", result.reference_residuals),
    ):
        with xr.open_dataset(tmp_path / f"{name}.nc") as read:
            assert set(read.variables) == set(table.variables)
            for variable in table.data_vars:
                assert np.array_equal(read[variable].values, table[variable].values, equal_nan=True)
                assert read[variable].attrs.get("units") == table[variable].attrs.get("units")
            assert read.attrs["epoch"] == pytest.approx(table.attrs["epoch"])


def test_places_with_no_number_keep_their_rows():
    simulated = small()
    measured = simulated.measured.copy(deep=True)
    measured.x.values[[5, 6]] = np.nan, np.inf
    table = fit(measured, simulated.reference, simulated.exposures).residuals
    assert np.isnan(table.xi.values[[5, 6]]).all() and set(table.state.values[[5, 6]]) == {
        STATES.index("unselected")
    }
    assert np.isnan(table.chi2.values[[5, 6]]).all()
