"""Gradient, reduced matrix, step and iterations against finite differences and dense algebra."""

import logging

import numpy as np
import pytest
from jointfit.small_problems import UNIT, plain_residuals, small, unpacked

from obslab.jointfit.mapping.refraction import Refraction
from obslab.jointfit.mapping.templates import Template
from obslab.jointfit.projection import MAS
from obslab.jointfit.solve import dense, stepping
from obslab.jointfit.solve.newton import CancelledError, Control, DivergedError, minimise
from obslab.jointfit.solve.problem import MOTION, PARALLAX, POSITION
from obslab.jointfit.solve.solver import Solver

EDGE = Template("edge", "x", (0.0, 500.0, 1500.0, 2001.0), (0.3, 0.0, 0.0, -0.2), each=True)
RINGS = Template(
    "rings", "r", (200.0, 600.0, 1000.0, 1400.0), (0.1, -0.1, 0.1, -0.1), centre=(-100.0, -100.0)
)
TERMS = (Refraction(), EDGE, RINGS)
STRENGTHS = (30.0, 1.0, 0.7)
NO_CLIP = Control(clip_sigma=0.0, tolerance_sigma=1e-4)


def _settled(solver):
    """The objective at the solver's mappings, each star at its own best."""
    for _ in range(4):
        solver.residuals()
        solver.solve_stars()
        solver.accept(np.zeros(len(solver.free)), solver.star_step)
    solver.residuals()
    return solver.objective


def _explicit(solver):
    """The whole J'WJ over coefficients, terms and stars, by central differences of the plain residuals."""
    p, s = solver.problem, solver.state
    first = np.concatenate([s.inner.ravel(), s.outer.ravel(), s.extra])
    weights = np.sqrt(solver.active[0].astype(float))
    steps = np.r_[np.full(s.inner.size + s.outer.size, 1e-5), np.full(len(s.extra), 1e-2)]
    columns = []
    for j, step in enumerate(steps):
        ends = []
        for sign in (1, -1):
            change = np.zeros(len(first))
            change[j] = sign * step
            ends.append(plain_residuals(p, s.moved(change, 0.0)))
        columns.append((weights * (ends[0] - ends[1])).ravel() / (2 * step))
    count = len(first)
    size = p.star_parameters
    jacobian = np.zeros((2 * len(p.u), count + s.stars.size))
    jacobian[:, :count] = np.stack(columns, -1)
    for j in range(size):
        ends = []
        for sign in (1, -1):
            change = np.zeros_like(s.stars)
            change[:, j] = sign * 1e-5
            ends.append(plain_residuals(p, s.moved(np.zeros(count), change)))
        by = weights * (ends[0] - ends[1]) / 2e-5
        for axis in range(2):
            rows = axis * len(p.u) + np.arange(len(p.u))
            jacobian[rows, count + size * p.star.astype(int) + j] = by[axis]
    whole = jacobian.T @ jacobian
    full = unpacked(p.prior) * (p.reference_on == 1)[:, None, None]
    for k, information in enumerate(full):
        mine = slice(count + size * k, count + size * (k + 1))
        whole[mine, mine] += information
    if p.gauge is not None:
        for axis in p.axes:
            whole[axis, axis] += p.gauge
    return whole, count


def _solver(five=False, converged=True, **options):
    s = small(five=five, **options)
    solver = Solver(s.problem, s.start)
    if converged:
        minimise(solver, NO_CLIP)
    solver.residuals()
    solver.linearise()
    solver.solve_stars()
    solver.terms.linearise(solver)
    return solver


CASES = [
    pytest.param({}, id="places"),
    pytest.param(
        {"five": True, "kinds": TERMS, "strengths": STRENGTHS, "gauge": 0.5}, id="motions, terms, gauge"
    ),
]


@pytest.mark.parametrize("options", CASES)
def test_the_gradient_is_that_of_the_objective_with_stars_at_their_best(options):
    solver = _solver(converged=False, off_arcsec=0.05, **options)
    _settled(solver)
    solver.linearise()
    solver.solve_stars()
    solver.terms.linearise(solver)
    gradient = solver.gradient()
    start = solver.state.copy()
    count = start.inner.size + start.outer.size
    rng = np.random.default_rng(3)
    chosen = np.concatenate(
        [rng.choice(np.flatnonzero(solver.free[:count]), 25, False), np.arange(count, len(gradient))]
    )
    for j in chosen:
        ends = []
        step = 1e-6 if j < count else 0.3
        for size in (1, -1, 2, -2):
            change = np.zeros(len(gradient))
            change[j] = size * step
            solver.state = start.moved(change, 0.0)
            ends.append(_settled(solver))
        numeric = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * step)
        # The stars stop within rounding of their best; measured against how much this parameter matters at
        # all.
        assert 2 * gradient[j] == pytest.approx(numeric, rel=1e-5, abs=1e-6 * np.abs(gradient).max()), j


@pytest.mark.parametrize("five", [False, True], ids=["places", "motions"])
def test_the_gradient_is_exact_while_stars_still_have_a_way_to_go(five):
    solver = _solver(five, converged=False, off_arcsec=20.0)
    p, s = solver.problem, solver.state
    none = np.zeros(len(solver.free))

    def along(step, stars):
        """How residuals change along a step."""
        ends = [plain_residuals(p, s.moved(step, stars, sign * 1e-5)) for sign in (1, -1)]
        return (ends[0] - ends[1]) / 2e-5

    left = plain_residuals(p, s) + along(
        none, solver.star_step
    )  # when the stars are at their best, in first order
    gradient = solver.gradient()
    rng = np.random.default_rng(5)
    for _ in range(5):
        step = np.where(solver.free, rng.normal(size=len(none)), 0)
        change = along(step, 0 * s.stars)
        size = np.sqrt((p.weight[0] * left**2).sum() * (p.weight[0] * change**2).sum())
        assert gradient @ step == pytest.approx(
            (p.weight[0] * left * change).sum(), rel=1e-6, abs=1e-7 * size
        )


@pytest.mark.parametrize("options", CASES)
def test_the_dense_reduced_matrix_is_the_schur_complement_of_the_whole(options):
    solver = _solver(**options)
    whole, count = _explicit(solver)
    stars = whole[count:, count:]
    schur = whole[:count, :count] - whole[:count, count:] @ np.linalg.solve(stars, whole[count:, :count])
    reduced = solver.reduced()
    norm = np.sqrt(np.diag(whole)[:count])
    # Stars five parameters strong: the kernel leaves out how parallax factors change with the place, 1e-6 of
    # it.
    assert np.abs((reduced - schur) / norm / norm[:, None]).max() < 1e-6
    assert np.array_equal(reduced, reduced.T)


@pytest.mark.parametrize("options", CASES)
def test_the_product_is_that_of_the_reduced_matrix(options):
    solver = _solver(**options)
    reduced = solver.reduced()
    free = solver.free
    solver.gradient()
    norm = np.where(free, np.sqrt(np.maximum(np.diag(reduced), 1e-300)), 1.0)
    rng = np.random.default_rng(4)
    scaled = reduced[np.ix_(free, free)] / norm[free] / norm[free][:, None]
    _, vectors = np.linalg.eigh(scaled)
    for vector in (rng.normal(size=free.sum()), vectors[:, -1], vectors[:, len(vectors) // 2]):
        step = np.zeros(len(free))
        step[free] = vector / norm[free]
        exact = reduced @ step / norm
        # One Jacobian of projection and outer mapping for each image: right to the distortion, some 1e-3.
        assert np.abs(solver.product(step) / norm - exact)[free].max() < 5e-3 * np.abs(exact[free]).max()
    assert not solver.product(rng.normal(size=len(free)))[~free].any()


@pytest.mark.parametrize("options", CASES)
def test_the_step_of_conjugate_gradients_is_the_dense_step(options, monkeypatch):
    monkeypatch.setattr(stepping, "CG_TOLERANCE", 1e-9)
    solver = _solver(converged=False, off_arcsec=0.3, **options)
    solver.small_sigma = 1e-9
    step, stars, sigma, _ = solver.step()
    assert not solver.exact_steps
    right, free = -solver.gradient(), solver.free
    matrix = solver.reduced()[np.ix_(free, free)]
    exact = np.zeros(len(free))
    exact[free] = np.linalg.solve(matrix, right[free])
    size = np.sqrt(exact[free] @ matrix @ exact[free])  # in sigma of all parameters together
    away = (step - exact)[free]
    assert np.sqrt(away @ matrix @ away) < 5e-3 * size
    assert sigma == pytest.approx(size, rel=0.5)  # the preconditioner is near the matrix
    # The stars follow: their step solves their own equations at the new mappings.
    solver.accept(step, stars)
    solver.residuals()
    solver.solve_stars()
    error = np.sqrt(np.maximum(np.einsum("kii->ki", solver.inverse), 1e-300))
    assert np.abs(solver.star_step / error).max() < 1e-2 * size


def test_conjugate_gradients_cut_short_give_way_to_the_dense_step(monkeypatch):
    s = small()
    plain, cut_short = Solver(s.problem, s.start), Solver(s.problem, s.start)
    minimise(plain, NO_CLIP)
    assert plain.exact_steps == 0
    monkeypatch.setattr(stepping, "CG_MOST", {"SharedFactor": 1, "BlockFactor": 1})
    monkeypatch.setattr(stepping, "CG_TOLERANCE", 1e-12)
    crude = cut_short
    crude.residuals()
    crude.solve_stars()
    crude.factor = _NoFactor(s.problem)
    minimise(crude, NO_CLIP)
    assert crude.exact_steps > 0
    assert np.abs(crude.state.stars - plain.state.stars).max() * UNIT / MAS < 1e-3  # mas; errors are some mas
    # Too large for a dense matrix: the step that there is still goes downhill.
    monkeypatch.setattr(dense, "LARGEST", 10)
    small_step = Solver(s.problem, s.start)
    small_step.factor = _NoFactor(s.problem)
    minimise(small_step, Control(clip_sigma=0, most=3))
    small_step.solve_stars()
    assert small_step.exact_steps == 0
    assert small_step.objective < 0.1 * _first_chi2(s)


class _NoFactor:
    """A preconditioner that knows the scale of the matrix and nothing else."""

    def __init__(self, problem):
        self.free = problem.half_free

    def solve(self, right):
        return right * 1e-12


_NoFactor.__name__ = "BlockFactor"


def _first_chi2(s):
    solver = Solver(s.problem, s.start)
    solver.residuals()
    return solver.objective


@pytest.mark.parametrize("five", [False, True], ids=["places", "motions"])
def test_chi2_per_degree_of_freedom_is_one_on_clean_data(five):
    chi2 = degrees = 0.0
    for seed in range(6):
        s = small(five=five, stars=700, exposures=6, detectors=4, inner_degree=2, seed=seed)
        solver = Solver(s.problem, s.start)
        _, cut = minimise(solver, Control())
        assert cut > 0
        solver.residuals()
        solver.solve_stars()
        chi2 += solver.chi2
        degrees += solver.degrees_of_freedom
    # Three sigma of chi2 over so many degrees of freedom.
    assert degrees > 25000 - 5000 * five
    assert abs(chi2 / degrees - 1) < 3 * np.sqrt(2 / degrees)
    assert 3 * np.sqrt(2 / degrees) < 0.02


def test_what_is_found_lies_within_the_errors_of_the_truth():
    s = small(five=True, stars=150, exposures=6, kinds=TERMS, strengths=STRENGTHS)
    solver = Solver(s.problem, s.start)
    minimise(solver, NO_CLIP)
    solver.residuals()
    solver.solve_stars()
    solver.terms.linearise(solver)
    free = solver.free
    covariance = np.linalg.inv(solver.reduced()[np.ix_(free, free)])
    extra = np.sqrt(np.diag(covariance)[-solver.terms.count :])
    truth = np.concatenate(
        [np.full(len(t.names), x) for t, x in zip(s.problem.terms, STRENGTHS, strict=True)]
    )
    assert np.all(np.abs(solver.state.extra - truth) < 4 * extra)
    assert np.all(extra[:2] < 10)  # refraction: mas per mag
    away = (solver.state.stars - s.truth.stars)[s.problem.measured_prior]
    error = np.sqrt(np.einsum("kii->ki", solver.inverse))[s.problem.measured_prior]
    assert np.sqrt(np.mean((away / error) ** 2)) < 1.5


def test_what_is_frozen_does_not_move():
    s = small(five=True, kinds=TERMS)
    p = s.problem
    p.inner_free[0] = False
    p.inner_free[1, :3] = False
    p.outer_free[2, 4] = False
    p.star_free[::2] = POSITION
    p.star_free[1::4] = POSITION | MOTION
    p.star_free[5] = 0
    solver = Solver(p, s.start.copy())
    solver.terms.free[:3] = False
    minimise(solver, Control())
    moved = solver.state
    assert np.array_equal(moved.inner[0], s.start.inner[0])
    assert np.array_equal(moved.inner[1, :, :3], s.start.inner[1, :, :3])
    assert np.array_equal(moved.outer[0], s.start.outer[0])
    assert np.array_equal(moved.outer[2, :, 4], s.start.outer[2, :, 4])
    assert np.array_equal(moved.extra[:3], s.start.extra[:3])
    assert np.array_equal(moved.stars[::2, 2:], s.start.stars[::2, 2:])
    assert np.array_equal(moved.stars[1::4, 4], s.start.stars[1::4, 4])
    assert np.array_equal(moved.stars[5], s.start.stars[5])
    # And the rest does.
    assert np.all(moved.inner[1, :, 3:] != s.start.inner[1, :, 3:])
    assert moved.extra[3:].all()
    free = (p.star_free & PARALLAX > 0) & (solver.inverse[:, 4, 4] > 0)
    assert np.all(moved.stars[free, 2:] != s.start.stars[free, 2:])


def test_only_stars_move_when_all_mappings_are_frozen():
    s = small()
    s.problem.inner_free[:] = False
    s.problem.outer_free[:] = False
    solver = Solver(s.problem, s.start.copy())
    done, _ = minimise(solver, NO_CLIP)
    assert len(done) <= 4
    assert np.array_equal(solver.state.inner, s.start.inner)
    solver.residuals()
    solver.solve_stars()
    assert np.abs(solver.star_step).max() * UNIT / MAS < 1e-3


def _with_outliers(seed=7):
    s = small(five=True, stars=120, exposures=6, seed=seed)
    rng = np.random.default_rng(seed)
    bad = rng.choice(len(s.problem.u), len(s.problem.u) // 25, False)
    s.problem.u[bad] += rng.normal(0, 300, len(bad)) * MAS / UNIT
    return s


def _bytes(solver):
    state = solver.state
    arrays = (
        state.inner,
        state.outer,
        state.stars,
        solver.active,
        solver.problem.reference_on,
        solver.residual,
    )
    return b"".join(a.tobytes() for a in arrays)


def test_results_are_the_same_to_the_bit_with_any_number_of_threads(monkeypatch):
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setenv("OBSLAB_THREADS", str(threads))
        s = _with_outliers()
        solver = Solver(s.problem, s.start)
        minimise(solver, Control())
        solver.solve_stars()
        found.append(_bytes(solver) + solver.reduced().tobytes())
    assert found[0] == found[1] == found[2]


def test_the_order_of_the_rows_does_not_matter():
    s = _with_outliers()
    p = s.problem
    rng = np.random.default_rng(1)
    order = np.concatenate(
        [rng.permutation(np.arange(a, b)) for a, b in zip(p.first[:-1], p.first[1:], strict=True)]
    )
    back = np.argsort(order)
    from dataclasses import fields, replace

    shuffled = replace(
        p, u=p.u[order], v=p.v[order], weight=p.weight[:, order].copy(), star=p.star[order],
        members=back[p.members].astype(np.int32), reference_on=p.reference_on.copy(),
    )  # fmt: skip
    assert {f.name for f in fields(p) if not f.init} == {"part_first"}
    one, two = Solver(p, s.start), Solver(shuffled, s.start)
    control = Control(tolerance_sigma=1e-3)
    minimise(one, control)
    minimise(two, control)
    assert np.array_equal((one.active[0] > 0)[order], two.active[0] > 0)
    assert (one.active[0] == 0).sum() > 15
    # 1e-9 mas are 6e-16 plane units, five units in the last place of a position; mappings with their freedom
    # get less.
    assert np.abs(one.residual[:, order] - two.residual).max() * UNIT / MAS < 1e-8
    assert np.abs(one.state.stars - two.state.stars)[:, :2].max() * UNIT / MAS < 1e-7


@pytest.mark.parametrize("off_arcsec", [60.0, 900.0])
def test_a_wrong_start_converges_or_is_refused(off_arcsec):
    fine = 0
    for seed in range(5):
        s = small(off_arcsec=off_arcsec, seed=seed)
        best = Solver(s.problem, s.truth)
        minimise(best, NO_CLIP)
        solver = Solver(s.problem, s.start)
        try:
            done, _ = minimise(solver, NO_CLIP)
        except DivergedError as error:
            assert "chi2" in str(error)
            continue
        if len(done) < NO_CLIP.most:
            fine += 1
            assert solver.chi2 == pytest.approx(best.chi2, rel=1e-6)
    assert fine == 5 or off_arcsec > 60


def test_a_step_too_far_is_halved_until_chi2_falls(monkeypatch):
    s = small()
    solver = Solver(s.problem, s.start)
    plain = solver.step

    def far():
        step, stars, sigma, products = plain()
        return 5 * step, 5 * stars, sigma, products

    monkeypatch.setattr(solver, "step", far)
    done, _ = minimise(solver, Control(clip_sigma=0, most=2))
    assert done[0].halvings == 2  # 5, 2.5 and 1.25 times the way; two or more times leads uphill
    monkeypatch.setattr(solver, "step", lambda: tuple(-1.0 * np.asarray(x) for x in plain()))
    before = solver.state
    with pytest.raises(DivergedError, match=r"got worse along its own direction: chi2 .* at iteration 0"):
        minimise(solver, Control(clip_sigma=0))
    assert solver.state is before  # the best there was


@pytest.mark.parametrize("what", ["inner", "stars"])
def test_a_start_that_is_no_number_is_refused(what):
    s = small(stars=40)
    getattr(s.start, what)[0, 0] = np.nan
    with pytest.raises(DivergedError, match="iteration 0"):
        minimise(Solver(s.problem, s.start), Control())


def test_a_fit_that_runs_out_of_iterations_says_so(caplog):
    s = small(off_arcsec=30.0)
    with caplog.at_level(logging.WARNING):
        done, _ = minimise(Solver(s.problem, s.start), Control(most=1))
    assert len(done) == 1
    assert "did not converge in 1 iterations" in caplog.text


def test_progress_hears_of_each_iteration_and_may_stop_the_fit():
    s = small(stars=40)
    heard = []

    def listen(iteration):
        heard.append(iteration)
        return len(heard) < 2

    with pytest.raises(CancelledError):
        minimise(Solver(s.problem, s.start), Control(), stage="all", progress=listen)
    assert [h.number for h in heard] == [0, 1]
    assert heard[0].asdict()["stage"] == "all"
    assert heard[1].chi2 < heard[0].chi2 * 1.001


def test_stars_can_be_solved_again_after_a_step():
    # The step's own sums stand in the same memory.
    solver = _solver(converged=False)
    before = solver.star_step.copy()
    solver.step()
    solver.solve_stars()
    assert np.array_equal(solver.star_step, before)


def test_a_problem_without_measurements_is_no_trouble():
    s = small(stars=20)
    p = s.problem
    p.weight[:] = 0
    p.reference_on[:] = 0
    solver = Solver(p, s.start)
    done, _ = minimise(solver, Control())
    assert solver.used == 0 and np.array_equal(solver.state.inner, s.start.inner)
    assert done[-1].chi2 == 0
