"""The kernels against plain numpy: residuals, sums of stars, their steps, parallax factors."""

import numpy as np
import pytest
from jointfit.small_problems import UNIT, plain_chi2, plain_parallax, plain_residuals, small, unpacked

from obslab.jointfit.projection import MAS, apply, earth, frames, to_plane
from obslab.jointfit.solve.matrices import invert
from obslab.jointfit.solve.problem import MOTION, PARTS, POSITION, NotANumberError, Problem
from obslab.jointfit.solve.residuals import parallax_factors
from obslab.jointfit.solve.solver import Solver

KINDS = [  # star parameters, errors, shift: every pair of choices, with half the kernels to compile
    pytest.param(False, False, False, id="places, round errors"),
    pytest.param(False, True, True, id="places, ellipses, shift"),
    pytest.param(True, False, True, id="motions, round errors, shift"),
    pytest.param(True, True, False, id="motions, ellipses"),
]


def _solver(five, anisotropic, shifted, **options):
    s = small(five=five, anisotropic=anisotropic, **options)
    solver = Solver(s.problem, s.start)
    if shifted:
        solver.shift = np.random.default_rng(5).normal(0, 20 * MAS / UNIT, (2, len(s.problem.u)))
    return solver


def _design(problem, state, shift):
    """(N, 2, n): minus the derivative of the residuals by their own star's parameters."""
    out = []
    for j in range(problem.star_parameters):
        step = 1e-5
        ends = []
        for sign in (1, -1):
            moved = state.copy()
            moved.stars[:, j] += sign * step
            ends.append(plain_residuals(problem, moved, shift))
        out.append(-(ends[0] - ends[1]) / (2 * step))
    return np.stack(out, -1).transpose(1, 0, 2)


def _weights(problem, active):
    w = active.astype(float)
    if len(w) == 1:
        w = np.stack([w[0], 0 * w[0], w[0]])
    return np.stack([w[:2], w[1:]]).transpose(2, 0, 1)


@pytest.mark.parametrize(("five", "anisotropic", "shifted"), KINDS)
def test_residuals_chi2_and_star_steps_are_those_of_plain_algebra(five, anisotropic, shifted):
    solver = _solver(five, anisotropic, shifted)
    p, s = solver.problem, solver.state
    solver.active[:, ::7] = 0  # some rejected
    solver.residuals()
    shift = solver.shift if shifted else 0.0
    want = plain_residuals(p, s, shift)
    # 2e-15 plane units are 4e-9 mas: rounding of some tens of terms of size one; the finite differences of
    # the plain parallax factors leave 1e-10 of 10 mas.
    assert np.abs(solver.residual - want).max() < 2e-15 + five * 1e-15
    chi2 = plain_chi2(p, want, solver.active)
    assert solver.chi2_measured == pytest.approx(chi2.sum(), rel=1e-7)
    assert solver.used == (solver.active[0] > 0).sum()

    solver.solve_stars()
    design, weights = _design(p, s, shift), _weights(p, solver.active)
    full = unpacked(p.prior) * (p.reference_on == 1)[:, None, None]
    for k in range(len(s.stars)):
        mine = p.star == k
        matrix = full[k] + np.einsum("nai,nab,nbj->ij", design[mine], weights[mine], design[mine])
        right = np.einsum("nai,nab,nb->i", design[mine], weights[mine], want.T[mine])
        right -= full[k] @ (s.stars[k] - p.prior_at[k])
        error = np.sqrt(np.diag(np.linalg.inv(matrix)))
        # The parallax factors' own change with the star's place, 1e-5 of the step, is left out of the kernel.
        assert np.allclose(
            solver.star_step[k] / error, np.linalg.solve(matrix, right) / error, rtol=1e-5, atol=1e-4
        )
        scaled = solver.inverse[k] / error / error[:, None]
        assert np.allclose(scaled, np.linalg.inv(matrix) / error / error[:, None], atol=1e-5)


def test_the_sums_over_stars_are_those_of_plain_algebra():
    solver = _solver(True, True, False)
    p = solver.problem
    solver.residuals()
    assert solver.sums.shape[0] == PARTS
    total = solver.sums.sum(0)
    design, weights = _design(p, solver.state, 0.0), _weights(p, solver.active)
    information = np.einsum("nai,nab,nbj->nij", design, weights, design)
    rows = [(0, 0), (0, 1), (1, 1)]  # where the first sums stand in the matrix
    rows += [
        None,
        None,
        (0, 2),
        (0, 3),
        (1, 3),
        (2, 2),
        (2, 3),
        (3, 3),
        (0, 4),
        (1, 4),
        (2, 4),
        (3, 4),
        (4, 4),
    ]
    for at, place in enumerate(rows):
        if place is not None:
            want = np.bincount(p.star, information[:, place[0], place[1]], len(total))
            assert np.allclose(total[:, at], want, rtol=1e-5, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize(("ra", "dec"), [(150.0, 2.2), (0.0, 60.0), (359.999, -30.0), (10.0, 89.9)])
def test_parallax_factors_are_those_of_astropy(ra, dec):
    from astropy import units
    from astropy.coordinates import GCRS, ICRS, CartesianRepresentation, SkyCoord
    from astropy.time import Time

    mjd = 60000 + np.array([0.0, 100.0, 250.0])
    frame, at = frames(ra, dec), np.array([0.6, -0.9])
    radian = np.radians(UNIT)
    place = earth(mjd) @ frame.T
    far = np.sqrt(1 + (at * radian) @ (at * radian))
    direction = (frame.T @ np.array([*(at * radian), 1.0])) / far
    for n, when in enumerate(mjd):
        # A star of parallax 100 mas and the Earth, in three dimensions; astropy's observer is the Earth's
        # centre.
        star = direction * (1 / 0.1) * units.pc
        seen = SkyCoord(CartesianRepresentation(star.to(units.au)), frame=ICRS())
        observer = GCRS(obstime=Time(when, format="mjd"))
        # GCRS includes aberration and deflection: they are the same for a star at the same direction far
        # away.
        distant = SkyCoord(CartesianRepresentation((direction * 1e9 * units.pc).to(units.au)), frame=ICRS())
        near, beyond = (c.transform_to(observer).cartesian.xyz.value for c in (seen, distant))
        near, beyond = near / np.linalg.norm(near), beyond / np.linalg.norm(beyond)
        moved = np.array(to_plane(frame, near)) - np.array(to_plane(frame, beyond))
        want = np.array(parallax_factors(*at, place[n], radian)) * 100 * MAS
        # Aberration turns the shift by 1e-4 of it and stretches it as much.
        assert np.allclose(moved, want, atol=3e-4 * 100 * MAS)
        assert np.allclose(
            want, np.array(plain_parallax(*at, place[n])) * 100 * MAS, rtol=0, atol=1e-8 * 100 * MAS
        )


def test_a_matrix_is_inverted_over_its_free_and_determined_parameters_only():
    rng = np.random.default_rng(2)
    root = rng.normal(size=(5, 5))
    matrix = root @ root.T
    out, lower, keep = np.empty((5, 5)), np.empty((5, 5)), np.empty(5, np.uint8)
    invert(matrix, 7, lower, keep, out)
    assert np.allclose(out, np.linalg.inv(matrix), rtol=1e-9)
    invert(matrix, POSITION | MOTION, lower, keep, out)
    assert np.allclose(out[:4, :4], np.linalg.inv(matrix[:4, :4]), rtol=1e-9)
    assert not out[4].any() and not out[:, 4].any()
    matrix[3] = matrix[2]
    matrix[:, 3] = matrix[:, 2]  # the fourth says what the third says
    invert(matrix, 7, lower, keep, out)
    rest = [0, 1, 2, 4]
    assert np.allclose(out[np.ix_(rest, rest)], np.linalg.inv(matrix[np.ix_(rest, rest)]), rtol=1e-6)
    assert not out[3].any()
    invert(np.zeros((5, 5)), 7, lower, keep, out)
    assert not out.any()


def test_images_and_exposures_without_measurements_and_stars_without_weight_do_no_harm():
    s = small()
    p = s.problem
    second = slice(p.first[1], p.first[2])
    p.weight[:, second] = 0
    p.weight[:, p.star == 3] = 0
    whole = Solver(p, s.start)
    whole.residuals()
    whole.solve_stars()
    moved, stars, sigma, _ = whole.step()
    # The same with those rows gone: an image of no rows, and nothing of exposure 2 either.
    keep = np.ones(len(p.u), bool)
    keep[second] = False
    number = np.cumsum(keep) - 1
    image = p.image_of[keep]
    members = p.members[keep[p.members]]
    count = np.bincount(p.star[keep], minlength=len(s.start.stars))
    fewer = Problem(**{
        **{name: getattr(p, name) for name in p.__dataclass_fields__ if name != "part_first"},
        "first": np.concatenate([[0], np.cumsum(np.bincount(image, minlength=len(p.inner)))]),
        "u": p.u[keep], "v": p.v[keep], "weight": p.weight[:, keep].copy(), "star": p.star[keep],
        "star_first": np.concatenate([[0], np.cumsum(count)]), "members": number[members].astype(np.int32),
    })  # fmt: skip
    less = Solver(fewer, s.start)
    less.residuals()
    less.solve_stars()
    again, again_stars, again_sigma, _ = less.step()
    assert less.used == whole.used
    assert np.abs(less.residual - whole.residual[:, keep]).max() < 1e-15
    # A hundredth of a sigma: what conjugate gradients leave.
    assert again_sigma == pytest.approx(sigma, rel=1e-6)
    assert np.abs(moved - again).max() < 1e-3 * np.abs(moved).max()
    assert np.all(np.isfinite(again_stars)) and np.all(np.isfinite(stars))
    alone = np.flatnonzero(whole.inverse[:, 0, 0] == 0)
    assert set(alone) <= {3} and not stars[alone].any()


@pytest.mark.parametrize("name", ["u", "v", "weight", "prior", "homography"])
def test_values_that_are_no_numbers_are_refused_by_name(name):
    from dataclasses import fields

    p = small(stars=20).problem
    values = getattr(p, name).copy()
    values.reshape(-1)[5] = np.nan if name != "weight" else np.inf  # 1 / error2 of an error of 1e-25
    given = {f.name: getattr(p, f.name) for f in fields(p) if f.init}
    with pytest.raises(NotANumberError, match=f"values of {name} are not finite"):
        Problem(**{**given, name: values})


def test_places_go_through_the_homography_as_directions_do():
    p = small(five=True).problem
    x, y = np.array([0.5, -0.9]), np.array([0.1, 0.9])
    own, common = frames(151.0, 2.0), frames(150.0, 2.2)
    from obslab.jointfit.projection import from_plane, homography

    want = to_plane(own, from_plane(common, x, y))
    assert np.abs(np.array(apply(homography(own, common), x, y)) - np.array(want)).max() < 1e-14
    assert p.homography.shape == (4, 3, 3)
