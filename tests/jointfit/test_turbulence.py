import pickle
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from jointfit.turbulent_sky import Waves, correlation, observed, rms, tensor
from scipy.fft import irfft2, rfft2
from scipy.integrate import quad
from scipy.special import j0

from obslab.jointfit.turbulence import (
    FewStarsError,
    TurbulenceError,
    VonKarman,
    expected_error,
    fit_field,
    fit_fields,
    from_displacement,
)
from obslab.jointfit.turbulence.grid import Grid, gather, grid_over, scatter
from obslab.jointfit.turbulence.hyper import _chosen, _Likelihood
from obslab.jointfit.turbulence.process import _solve, _spectra

KERNEL = VonKarman((100.0, 100.0), 1 / 6)


def both(field, places):
    return np.stack(field.predict(places[:, 0], places[:, 1]), axis=-1)


def test_correlation_is_the_transform_of_the_power_spectrum():
    for apart in (0.01, 0.05, 0.2):
        transform, _ = quad(
            lambda k, r=apart: 2 * np.pi * k * j0(2 * np.pi * k * r) * KERNEL.power(k, 0.0),
            0,
            2000,
            limit=4000,
        )
        assert KERNEL.correlation(np.array(apart), np.array(0.0)) == pytest.approx(transform, abs=2e-5)


def test_tabulated_correlation_is_scipys():
    apart = np.geomspace(1e-5, 1, 500)
    assert KERNEL.correlation(apart, 0 * apart) == pytest.approx(correlation(apart, 1 / 6), abs=2e-6)


def test_shear_stretches_the_correlation_and_turns_with_it():
    east = VonKarman((1, 1), 0.2, (0.3, 0.0))
    assert east.correlation(0.1 * np.sqrt(1.3 / 0.7), 0.0) == pytest.approx(correlation(0.1, 0.2), abs=1e-5)
    assert east.correlation(0.0, 0.1 * np.sqrt(0.7 / 1.3)) == pytest.approx(correlation(0.1, 0.2), abs=1e-5)
    diagonal = VonKarman((1, 1), 0.2, (0.0, 0.3))
    side = 0.1 * np.sqrt(1.3 / 0.7 / 2)
    assert diagonal.correlation(side, side) == pytest.approx(correlation(0.1, 0.2), abs=1e-5)
    # where the field is long its waves are too: less power at the same k
    assert east.power(10.0, 0.0) < east.power(0.0, 10.0)


def test_scatter_is_the_transpose_of_gather_and_weights_sum_to_one():
    rng = np.random.default_rng(1)
    x, y = rng.uniform(1, 17, (2, 200))
    grid, values, image = rng.normal(size=(2, 20, 21)), rng.normal(size=(200, 2)), np.empty((200, 2))
    gather(x, y, grid, image)
    onto = np.empty_like(grid)
    scatter(x, y, values, onto)
    assert (image * values).sum() == pytest.approx((onto * grid).sum(), rel=1e-12)
    gather(x, y, np.ones_like(grid), image)
    assert image == pytest.approx(1, abs=1e-14)


def dense(kernel, positions, residual, error, places, sheared):
    """The same process by Cholesky's textbook way, each axis by itself."""

    def covariance(a, b):
        d = (a[:, None] - b[None]) @ sheared
        return correlation(np.hypot(d[..., 0], d[..., 1]), kernel.outer_scale_deg)

    columns = []
    for axis, variance in enumerate(kernel.variance):
        among = variance * covariance(positions, positions) + np.diag(error**2 + kernel.white)
        weight = np.linalg.solve(among, residual[:, axis])
        columns.append(variance * covariance(places, positions) @ weight)
    return np.stack(columns, axis=-1)


def test_prediction_equals_the_dense_process_within_the_grids_error():
    rng = np.random.default_rng(2)
    positions, residual, error = observed(rng, Waves(rng), 300)
    places = rng.uniform(-0.23, 0.23, (400, 2))
    kernel = VonKarman((120.0, 70.0), 1 / 6, (0.2, 0.0), 4.0)
    shear = np.diag([np.sqrt(0.8 / 1.2), np.sqrt(1.2 / 0.8)])
    exact = dense(kernel, positions, residual, error, places, shear)
    # the step it chooses leaves 2 % of the field's own error, 6 mas
    assert (
        rms(both(fit_field(positions, residual, error, hyper=kernel, tolerance=1e-6), places) - exact) < 0.12
    )
    # and as the grid gets finer the two meet
    left = []
    for step in (0.008, 0.004, 0.002):
        grid = grid_over(positions, step, 0.4)
        noise = np.repeat(error[:, None] ** 2, 2, axis=1) + kernel.white + np.array(kernel.unresolved(step))
        coefficients, _ = _solve(kernel, grid, positions, residual, noise, 1e-7)
        values = np.empty((400, 2))
        gather(*grid.cells(*places.T), coefficients, values)
        left.append(rms(values - exact))
    assert left[1] < left[0] / 2 and left[2] < left[1] / 2 and left[2] < 0.01


@pytest.mark.parametrize("curl", [0.0, 0.2])
def test_gradient_field_equals_the_dense_process_of_both_axes(curl):
    rng = np.random.default_rng(3)
    positions, residual, error = observed(rng, Waves(rng, curl=0), 200)
    places = rng.uniform(-0.23, 0.23, (200, 2))
    among = 100 * tensor(positions, positions, 1 / 6, curl).reshape(400, 400) + np.diag(np.tile(error**2, 2))
    to_places = 100 * tensor(places, positions, 1 / 6, curl).reshape(400, 400)
    exact = (to_places @ np.linalg.solve(among, residual.T.ravel())).reshape(2, 200).T
    found = both(
        fit_field(positions, residual, error, hyper=replace(KERNEL, curl=curl), tolerance=1e-6), places
    )
    independent = both(fit_field(positions, residual, error, hyper=KERNEL, tolerance=1e-6), places)
    assert rms(found - exact) < 0.2  # mas, the grid's error: 3 % of the field's own
    assert rms(independent - exact) > 1


def test_knowing_that_a_field_is_a_gradient_helps():
    rng = np.random.default_rng(4)
    field = Waves(rng, curl=0)
    positions, residual, error = observed(rng, field, 1500)
    places = rng.uniform(-0.23, 0.23, (1000, 2))
    left = [
        rms(
            both(fit_field(positions, residual, error, hyper=replace(KERNEL, curl=curl)), places)
            - field(places)
        )
        for curl in (0.5, 0.0)
    ]
    assert left[1] < 0.93 * left[0]


@pytest.mark.long
def test_field_of_4000_stars_leaves_3_of_10_mas():
    rng = np.random.default_rng(5)
    places = rng.uniform(-0.23, 0.23, (1000, 2))
    left, there = [], []
    for _ in range(3):
        field = Waves(rng)
        positions, residual, error = observed(rng, field, 4200)
        found = fit_field(positions, residual, error)
        left.append(both(found, places) - field(places))
        there.append(field(places))
        best = both(fit_field(positions, residual, error, hyper=KERNEL), places) - field(places)
        assert rms(left[-1]) < 1.03 * rms(best)  # the hyperparameters estimated cost 3 % at most
    assert rms(there) > 8
    assert rms(left) < 3


@pytest.mark.long
def test_expected_errors_are_those_found():
    rng = np.random.default_rng(6)
    places = rng.uniform(-0.25, 0.25, (60, 2))
    pulls = []
    for _ in range(8):
        field = Waves(rng)
        positions, residual, error = observed(rng, field, 1000)
        found = both(fit_field(positions, residual, error, hyper=KERNEL), places)
        expected = np.stack(expected_error(KERNEL, positions, error, *places.T), axis=-1)
        pulls.append((found - field(places)) / expected)
    assert rms(pulls) == pytest.approx(1, abs=0.08)  # 960 of them, of which some 250 are independent


def test_expected_error_of_the_nearest_stars_is_that_of_all():
    rng = np.random.default_rng(7)
    positions, _, error = observed(rng, Waves(rng), 600)
    place = np.array([[0.02, -0.05]])
    all_of_them = expected_error(KERNEL, positions, error, *place.T, neighbours=600)
    assert expected_error(KERNEL, positions, error, *place.T)[0] == pytest.approx(all_of_them[0], rel=0.01)


def test_white_is_as_good_as_larger_errors():
    rng = np.random.default_rng(20)
    positions, residual, error = observed(rng, Waves(rng), 300)
    white, larger = replace(KERNEL, white=36.0), np.hypot(error, 6)
    place = np.array([[0.02, -0.05]])
    told = expected_error(white, positions, error, *place.T)
    assert told[0] == pytest.approx(expected_error(KERNEL, positions, larger, *place.T)[0], rel=1e-9)
    found = both(fit_field(positions, residual, error, hyper=white), positions)
    as_good = both(fit_field(positions, residual, larger, hyper=KERNEL), positions)
    assert rms(found - as_good) < 0.05  # mas: the one chooses a slightly finer grid


def test_covariance_of_a_gradient_field_is_symmetric_on_a_grid_of_even_size():
    grid = Grid(0.0, 0.0, 0.02, (16, 20))
    rng = np.random.default_rng(21)
    one, other = rng.normal(size=(2, 16, 20))
    _, _, cross = _spectra(replace(KERNEL, curl=0.0), grid)
    there, back = (irfft2(cross * rfft2(values), s=grid.shape) for values in (one, other))
    assert (there * other).sum() == pytest.approx((one * back).sum(), rel=1e-12)


@pytest.mark.long
def test_hyperparameters_come_back():
    rng = np.random.default_rng(8)
    kernels = []
    for _ in range(6):
        field = Waves(rng, variance=64.0, outer_scale_deg=0.12, g=0.3)
        kernels.append(fit_field(*observed(rng, field, 3000)).kernel)
    # one exposure holds few of its longest waves, so each scatters by a third; the mean of six is asked
    assert np.mean([np.log(k.variance) for k in kernels]) == pytest.approx(np.log(64), abs=0.3)
    assert np.mean([np.log(k.outer_scale_deg) for k in kernels]) == pytest.approx(np.log(0.12), abs=0.3)
    assert np.mean([k.shear for k in kernels], axis=0) == pytest.approx([0.3, 0.0], abs=0.1)


def test_slope_of_the_likelihood_is_that_of_finite_differences():
    rng = np.random.default_rng(9)
    positions, residual, error = observed(rng, Waves(rng), 100)
    likelihood = _Likelihood(*_chosen(positions, residual, np.repeat(error[:, None], 2, 1), 100), positions)
    at = likelihood.start + np.array([0.1, -0.2, 0.3, 0.1, -0.15, 0.2])
    slope = likelihood(at)[1]
    for n in range(6):
        step = 0.01 * np.eye(6)[n]
        difference = (likelihood(at + step)[0] - likelihood(at - step)[0]) / 0.02
        assert slope[n] == pytest.approx(difference, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize(("seed", "extra"), [(0, 8.0), (1, 16.0)])
def test_unknown_noise_is_found_as_white_not_as_turbulence(seed, extra):
    rng = np.random.default_rng(seed)
    field = Waves(rng)
    positions, residual, error = observed(rng, field, 3000)
    places = rng.uniform(-0.23, 0.23, (500, 2))
    residual += rng.normal(0, extra, residual.shape)
    found = fit_field(positions, residual, error)
    assert found.kernel.white == pytest.approx(extra**2, rel=0.4)
    best = both(fit_field(positions, residual, np.hypot(error, extra), hyper=KERNEL), places)
    assert rms(both(found, places) - field(places)) < 1.05 * rms(best - field(places))


def test_without_turbulence_there_is_next_to_no_field():
    rng = np.random.default_rng(11)
    positions = rng.uniform(0, 0.5, (3000, 2))
    found = fit_field(positions, rng.normal(0, 5, (3000, 2)), np.full(3000, 5.0))
    assert rms(both(found, positions)) < 0.5


def test_outliers_do_not_spoil_the_hyperparameters():
    rng = np.random.default_rng(12)
    positions, residual, error = observed(rng, Waves(rng), 3000)
    spoiled = residual.copy()
    spoiled[::50] += rng.normal(0, 500, (60, 2))
    clean, found = (fit_field(positions, r, error).kernel for r in (residual, spoiled))
    assert found.variance == pytest.approx(clean.variance, rel=0.3)
    assert found.white < 10


def test_field_fades_away_from_the_stars_and_is_nan_where_positions_are():
    rng = np.random.default_rng(13)
    found = fit_field(*observed(rng, Waves(rng), 500), hyper=KERNEL)
    d_xi, d_eta = found.predict([[0.0, 5.0], [np.nan, 0.35]], 0.0)
    assert d_xi.shape == (2, 2) and d_xi[0, 1] == d_eta[0, 1] == 0
    assert np.isnan(d_xi[1, 0]) and np.isnan(d_eta[1, 0])
    assert abs(d_xi[1, 1]) < 3  # 7 arcmin beyond the last star, where 10 mas of turbulence were in the field


def test_field_survives_a_pickle_and_a_netcdf_file(tmp_path):
    rng = np.random.default_rng(14)
    positions, residual, error = observed(rng, Waves(rng), 500)
    found = fit_field(positions, residual, error)
    pickled = pickle.loads(pickle.dumps(found))
    assert np.array_equal(both(pickled, positions), both(found, positions))
    displacement = found.displacement
    displacement.to_netcdf(tmp_path / "field.nc")
    with xr.open_dataset(tmp_path / "field.nc") as stored:
        again = from_displacement(stored.load())
    assert again.kernel == found.kernel and again.measured == 500
    assert both(again, positions) == pytest.approx(both(found, positions), abs=1e-4)
    # what is drawn, the nodes, is the field itself
    xi, eta = np.meshgrid(displacement.xi[3:-3], displacement.eta[3:-3])
    assert displacement.d_xi.values[3:-3, 3:-3] == pytest.approx(found.predict(xi, eta)[0], abs=1e-4)


def some_exposures(rng, counts):
    parts = [observed(rng, Waves(rng), count) for count in counts]
    exposure = np.repeat(np.arange(len(counts)) + 7, counts)
    return exposure, *(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def test_exposures_are_fitted_each_by_itself_on_any_number_of_threads(monkeypatch):
    rng = np.random.default_rng(15)
    exposure, positions, residual, error = some_exposures(rng, (600, 800, 700))
    order = rng.permutation(len(exposure))
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("OBSLAB_THREADS", threads)
        results.append(fit_fields(exposure, positions, residual, error))
    shuffled = fit_fields(*(array[order] for array in (exposure, positions, residual, error)))
    one, three = (np.stack(result.predict(exposure, *positions.T)) for result in results)
    assert np.array_equal(one, three)
    assert rms(np.stack(shuffled.predict(exposure, *positions.T)) - one) < 1e-2  # mas: CG stops at 1e-3
    alone = fit_field(positions[exposure == 8], residual[exposure == 8], error[exposure == 8])
    assert np.array_equal(both(alone, positions[:100]), both(results[0].fields[8], positions[:100]))
    assert results[0].table.measured.values.tolist() == [600, 800, 700]


def test_hyperparameters_of_an_earlier_round_are_kept():
    rng = np.random.default_rng(16)
    data = some_exposures(rng, (300, 300))
    found = fit_fields(*data, hyper={7: KERNEL})
    assert found.fields[7].kernel == KERNEL != found.fields[8].kernel


def test_earlier_field_is_a_start_that_saves_iterations_and_changes_nothing():
    rng = np.random.default_rng(19)
    positions, residual, error = observed(rng, Waves(rng), 2000)
    before = fit_field(positions, residual, error, hyper=KERNEL)
    residual += np.sin(20 * positions)  # 1 mas that the mappings took up meanwhile
    cold = fit_field(positions, residual, error, hyper=KERNEL)
    warm = fit_field(positions, residual, error, hyper=KERNEL, start=before)
    assert warm.iterations < 0.6 * cold.iterations
    assert rms(both(warm, positions) - both(cold, positions)) < 0.02  # mas
    one = np.zeros(2000, int)
    rounds = fit_fields(one, positions, residual, error, hyper={0: KERNEL})
    again = fit_fields(one, positions, residual, error, hyper=rounds.kernels, start=rounds)
    assert again.fields[0].iterations < rounds.fields[0].iterations / 2


def test_no_stars_at_all_make_no_field():
    none = fit_fields(np.zeros(0, int), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    assert not none.fields and none.table.sizes == {"exposure": 0}
    assert none.predict(np.zeros(0, int), np.zeros(0), np.zeros(0))[0].shape == (0,)


def test_exposure_with_too_few_stars_is_named_and_has_no_displacement():
    rng = np.random.default_rng(17)
    exposure, positions, residual, error = some_exposures(rng, (300, 49))
    found = fit_fields(exposure, positions, residual, error)
    assert list(found.fields) == [7]
    assert found.without == {8: "49 stars are too few for a turbulence field, wanted 50"}
    assert "8: 49 stars" in found.table.attrs["without"]
    assert not np.any(found.predict(exposure, *positions.T)[0][exposure == 8])
    with pytest.raises(FewStarsError, match="49 stars are too few"):
        fit_field(positions[exposure == 8], residual[exposure == 8], error[exposure == 8])


def test_bad_rows_are_refused_by_name():
    rng = np.random.default_rng(18)
    positions, residual, error = observed(rng, Waves(rng), 100)
    residual[[17, 30], 1] = np.nan
    with pytest.raises(
        TurbulenceError, match=r"residual of row 17 is \[.*nan\], and 2 of 100 rows"
    ) as caught:
        fit_field(positions, residual, error)
    assert caught.value.rows.tolist() == [17, 30]
    residual = np.nan_to_num(residual)
    with pytest.raises(TurbulenceError, match=r"error of row 3 is \[-1.0, -1.0\] mas, wanted more than 0"):
        fit_field(positions, residual, np.where(np.arange(100) == 3, -1.0, error))
    with pytest.raises(TurbulenceError, match=r"residual has shape \(99, 2\), wanted \(100, 2\)"):
        fit_field(positions, residual[1:], error)
    with pytest.raises(FewStarsError, match="all 100 stars are at"):
        fit_field(0 * positions, residual, error)


def test_grid_is_wide_enough_that_the_edges_do_not_see_each_other():
    positions = np.array([[0.0, 0.0], [0.5, 0.3]])
    grid = grid_over(positions, 0.01, 0.2)
    xi, eta = grid.axes()
    assert isinstance(grid, Grid) and grid.shape == (len(eta), len(xi))
    assert len(xi) * 0.01 - 0.5 >= 0.2 and len(eta) * 0.01 - 0.3 >= 0.2
    assert xi[0] < 0 and xi[-1] > 0.5 and eta[0] < 0 and eta[-1] > 0.3
