"""The rule for outliers: on single stars at fixed mappings, and over a whole fit."""

import numpy as np
import pytest
from jointfit.small_problems import UNIT, small

from obslab.jointfit.polynomial import basis
from obslab.jointfit.projection import MAS
from obslab.jointfit.solve.newton import Control, minimise
from obslab.jointfit.solve.problem import MOTION, PARALLAX, POSITION, Problem, State
from obslab.jointfit.solve.solver import Solver

EXPOSURES = 12
SIGMA = 5 * MAS / UNIT
FILL = 150


def _field(stars, five=False, anisotropic=False):
    """A solver for ``stars``: dicts of ``off`` (n, 2) and ``sigma`` (n,), in errors of 5 mas, and perhaps
    ``reference`` (its offset and its sigma); one measurement on each of the first n exposures. Many good
    stars are with them."""
    rng = np.random.default_rng(8)
    given = [dict(s) for s in stars]
    given += [{"off": rng.normal(size=(6, 2))} for _ in range(FILL)]
    size = 5 if five else 2
    rows, prior = [], np.zeros((len(given), size * (size + 1) // 2))
    place = rng.uniform(-0.8, 0.8, (len(given), 2))
    at = np.zeros((len(given), size))
    at[:, :2] = place
    for k, star in enumerate(given):
        off = np.atleast_2d(np.asarray(star["off"], float))
        sigma = np.broadcast_to(star.get("sigma", 1.0), len(off))
        rows += [(e, k, *(place[k] + SIGMA * off[e]), sigma[e]) for e in range(len(off))]
        if five:
            prior[k, [9, 12, 14]] = 1 / (20 * MAS / UNIT) ** 2
        if "reference" in star:
            away, error = star["reference"]
            at[k, :2] += np.asarray(away) * SIGMA
            prior[k, [0, size]] = 1 / (error * SIGMA) ** 2
    image, star, u, v, sigma = (np.array(c) for c in zip(*sorted(rows), strict=True))
    count = len(image)
    weight = 1 / (sigma * SIGMA) ** 2
    weight = np.stack([weight, 0.3 * weight, weight] if anisotropic else [weight]).astype(np.float32)
    where = np.arange(EXPOSURES, dtype=np.int32)
    one = basis(1)
    problem = Problem(
        one,
        one,
        where * 0,
        where * 0,
        where,
        np.searchsorted(image, np.arange(EXPOSURES + 1)).astype(np.int64),
        u,
        v,
        weight,
        star.astype(np.uint32),
        np.concatenate([[0], np.cumsum(np.bincount(star))]).astype(np.int64),
        np.argsort(star, kind="stable").astype(np.int32),
        np.broadcast_to(np.eye(3), (EXPOSURES, 3, 3)).copy(),
        prior,
        at,
        np.full(len(given), POSITION | (MOTION | PARALLAX if five else 0), np.uint8),
        np.zeros((1, 3), bool),
        np.zeros((1, 3), bool),
        np.linspace(-1, 1, EXPOSURES),
        np.zeros((EXPOSURES, 3)),
        np.radians(UNIT),
        UNIT,
        prior.any(1).astype(np.uint8),
        np.array(["reference" in s for s in given]),
    )
    start = np.zeros((len(given), size))
    start[:, :2] = place
    assert count == len(u)
    return Solver(problem, State(one.identity()[None], one.identity()[None], start, np.zeros(0)))


def _verdicts(stars, **options):
    """For each star its measurements' verdicts, and that over its reference: None, 0, or 1 if it counts."""
    solver = _field(stars, **options)
    done, cut = minimise(solver, Control())
    assert cut == pytest.approx(25, rel=0.25)
    assert done[-1].changed == 0 and len(done) < 12
    p = solver.problem
    out = []
    for k, star in enumerate(stars):
        mine = p.members[p.star_first[k] : p.star_first[k + 1]]
        counts = (solver.active[0, mine] > 0).astype(int).tolist()
        out.append((counts, int(p.reference_on[k] == 1)) if "reference" in star else counts)
    filled = solver.active[0, p.star >= len(stars)] > 0
    assert filled.all()  # the good stars lose nothing
    return out


def _scatter(count, outliers=(), seed=0):
    off = np.clip(np.random.default_rng(seed).normal(size=(count, 2)), -1.5, 1.5)
    for at, size in outliers:
        off[at] += size
    return off


@pytest.mark.parametrize("anisotropic", [False, True], ids=["round", "ellipses"])
@pytest.mark.parametrize("count", [3, 4, 10])
@pytest.mark.parametrize("size", [12.0, 60.0, 1e4])
def test_one_gross_outlier_is_rejected_and_nothing_else(count, size, anisotropic):
    stars = [{"off": _scatter(count, [(count // 2, (size, 0.0))], seed)} for seed in range(5)]
    want = [1] * count
    want[count // 2] = 0
    assert _verdicts(stars, anisotropic=anisotropic) == [want] * 5


@pytest.mark.parametrize("second", [(-500.0, 30.0), (0.0, 40.0), (12.0, 0.0)], ids=["far", "less", "small"])
def test_two_outliers_of_six_go_whatever_their_sizes(second):
    stars = [{"off": _scatter(6, [(1, (80.0, 0.0)), (4, second)], seed)} for seed in range(5)]
    assert _verdicts(stars) == [[1, 0, 1, 1, 0, 1]] * 5


def test_of_two_measurements_that_disagree_neither_is_believed():
    stars = [
        {"off": [(0, 0), (30.0, 0)]},
        {"off": [(0, 0), (3.0, 0)]},
        {"off": [(0, 0), (1e4, 1e4)], "sigma": [1, 30]},
    ]
    found = _verdicts(stars)
    assert found == [[0, 0], [1, 1], [0, 0]]
    solver = _field(stars)
    before = solver.state.stars[[0, 2]].copy()
    for _ in range(4):  # a star that lost everything stays where it is: rounding must not throw it about
        solver.residuals(12.5)
        solver.solve_stars(25.0)
        assert not solver.star_step[[0, 2]].any() and not solver.inverse[[0, 2]].any()
        solver.accept(np.zeros(len(solver.free)), solver.star_step)
    assert np.array_equal(solver.state.stars[[0, 2]], before)


def test_a_wrong_reference_is_rejected_and_a_right_one_decides_between_two():
    stars = [
        {"off": _scatter(4), "reference": ((40.0, 0.0), 0.1)},
        {"off": _scatter(4), "reference": ((0.0, 0.0), 0.1)},
        {"off": _scatter(2, [(1, (30.0, 0.0))]), "reference": ((0.0, 0.0), 0.1)},
        {"off": _scatter(1), "reference": ((0.3, 0.0), 0.1)},
    ]
    assert _verdicts(stars) == [([1] * 4, 0), ([1] * 4, 1), ([1, 0], 1), ([1], 1)]


@pytest.mark.parametrize("size", [6.5, 8.0, 10.0])
def test_an_outlier_that_outweighs_its_star_is_found(size):
    # With a tenth of the others' errors it pulls the star onto itself, and each of the others stays below 5
    # sigma. ``size`` is how far, in sigma of its difference from the others, it is off.
    others = 1 / np.sqrt(9)
    away = size * np.hypot(others, 0.1)
    off = np.zeros((10, 2))
    off[0, 0] = away
    stars = [{"off": off, "sigma": [0.1] + [1] * 9}]
    off = np.zeros((10, 2))
    stars += [{"off": off, "reference": ((0.0, size * np.hypot(np.sqrt(0.1), 0.1)), 0.1)}]
    assert _verdicts(stars) == [[0] + [1] * 9, ([1] * 10, 0)]


def test_with_motions_an_outlier_that_bends_the_star_is_found():
    # Three or four measurements and five parameters: each pulls the star to most of its way.
    stars = [{"off": _scatter(count, [(1, (0.0, 200.0))], seed)} for count in (4, 5, 8) for seed in range(3)]
    found = _verdicts(stars, five=True)
    assert all(verdicts[1] == 0 for verdicts in found[3:])
    assert all(sum(verdicts) == len(verdicts) - 1 for verdicts in found[6:])


def test_what_was_rejected_comes_back_when_it_fits_again():
    # Rejected unjustly, as under a bad first mapping: one of a star, and everything of a star.
    stars = [
        {"off": _scatter(5)},
        {"off": _scatter(3, seed=1)},
        {"off": _scatter(2, seed=2), "reference": ((0, 0), 1.0)},
    ]
    solver = _field(stars)
    p = solver.problem
    one, three, both = (p.members[p.star_first[k] : p.star_first[k + 1]] for k in range(3))
    for rows in (one[2:3], three, both):
        solver.active[:, rows] = 0
    p.reference_on[2] = 2
    solver.residuals()
    solver.solve_stars()
    minimise(solver, Control())
    assert np.all(solver.active[0, np.concatenate([one, three, both])] > 0)
    assert p.reference_on[2] == 1
    # Not so in late iterations.
    solver.active[:, one[2]] = 0
    solver.residuals(12.5)
    solver.solve_stars(25.0, 0.0)
    assert solver.active[0, one[2]] == 0 and solver.changed == 0
    solver.solve_stars(25.0)
    assert solver.active[0, one[2]] > 0 and solver.changed == 1


def test_changes_are_counted_and_do_not_cancel():
    stars = [
        {"off": _scatter(5)},
        {"off": _scatter(5, [(1, (50.0, 0))])},
        {"off": _scatter(4), "reference": ((60, 0), 0.1)},
    ]
    solver = _field(stars)
    p = solver.problem
    good = p.members[p.star_first[0]]
    solver.active[:, good] = 0  # comes back
    solver.residuals(12.5)
    used = solver.used
    solver.solve_stars(25.0)
    assert solver.changed == 3  # one came back, one went, a reference went
    assert solver.used == used
    chi2 = solver.chi2_measured
    solver.residuals()
    assert solver.used == used
    assert solver.chi2_measured == pytest.approx(chi2, rel=1e-6)


@pytest.mark.parametrize("five", [False, True], ids=["places", "motions"])
def test_verdicts_on_the_edge_come_to_rest(five):
    # Outliers of just five sigma, everywhere: verdicts and mappings follow each other.
    for seed in range(6):
        s = small(five=five, stars=100, exposures=5, seed=seed)
        rng = np.random.default_rng(seed)
        p = s.problem
        bad = rng.choice(len(p.u), len(p.u) // 8, False)
        angle = rng.uniform(0, 2 * np.pi, len(bad))
        size = rng.uniform(4.5, 6.5, len(bad)) / np.sqrt(p.weight[0, bad])
        p.u[bad] += size * np.cos(angle)
        p.v[bad] += size * np.sin(angle)
        solver = Solver(p, s.start)
        done, cut = minimise(solver, Control())
        assert len(done) < 12 and done[-1].changed == 0
        active = solver.active.copy()
        again, _ = minimise(solver, Control(), cut=cut)
        # A fit from the solution may let some back in, and is at rest at once again.
        assert len(again) <= 6
        assert np.mean((solver.active[0] > 0) != (active[0] > 0)) < 0.02


def test_gross_outliers_are_found_over_a_whole_fit_and_hardly_anything_else():
    s = small(stars=300, exposures=6)
    rng = np.random.default_rng(4)
    p = s.problem
    bad = rng.uniform(size=len(p.u)) < 0.04
    p.u[bad] += rng.choice([-1, 1], bad.sum()) * rng.uniform(80, 2000, bad.sum()) * MAS / UNIT
    solver = Solver(p, s.start)
    minimise(solver, Control())
    rejected = solver.active[0] == 0
    several = np.bincount(p.star[~bad], minlength=len(s.start.stars))[p.star] >= 2
    assert np.all(rejected[bad & several])
    # Of stars measured twice, one of them wrongly, both may go.
    assert np.mean(rejected[~bad & several]) < 2e-3
