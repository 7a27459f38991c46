"""The two preconditioners: near enough to the matrix that few products are needed, and no matter what,
converging."""

import numpy as np
import pytest
from jointfit.small_problems import UNIT, small

from obslab.jointfit.projection import MAS
from obslab.jointfit.solve import precondition, shared
from obslab.jointfit.solve.blockwise import BlockFactor
from obslab.jointfit.solve.newton import Control, DivergedError, minimise
from obslab.jointfit.solve.shared import SharedFactor
from obslab.jointfit.solve.solver import Solver
from obslab.jointfit.solve.squares import mirror, subtract_square

NO_CLIP = Control(clip_sigma=0.0, tolerance_sigma=1e-3)


def _ready(s):
    solver = Solver(s.problem, s.start.copy())
    solver.residuals()
    solver.solve_stars()
    return solver


def _seen_by(factor, solver):
    """Eigenvalues of the preconditioned matrix over the free coefficients; one each, were it the inverse."""
    free = np.flatnonzero(solver.free)
    applied = np.zeros((len(free), len(free)))
    for column, j in enumerate(free):
        unit = np.zeros(len(solver.free))
        unit[j] = 1
        applied[:, column] = factor.solve(unit)[free]
    assert np.allclose(applied, applied.T, rtol=1e-6, atol=1e-9 * np.abs(applied).max())
    matrix = solver.reduced()[np.ix_(free, free)]
    root = np.linalg.cholesky(matrix)
    return np.linalg.eigvalsh(root.T @ applied @ root)


@pytest.mark.parametrize("options", [{}, {"five": True, "gauge": 0.5}], ids=["places", "motions, gauge"])
def test_the_shared_factor_is_nearly_the_inverse_of_the_reduced_matrix(options):
    solver = _ready(small(inner_degree=4, exposures=5, off_arcsec=0.1, **options))
    factor = SharedFactor(solver.problem, solver.linear.seen, solver.active, solver.inverse)
    values = _seen_by(factor, solver)
    # Parallaxes are left out of it, and the cross terms of the reference's errors.
    assert values.min() > 0.1 and values.max() < 2.0
    assert factor.ridge == shared.RIDGES[0]


def test_block_factors_are_the_blocks_of_the_matrix_before_stars_tie_them():
    solver = _ready(small(inner_degree=2, off_arcsec=0.1, gauge=0.5))
    factor = BlockFactor(solver.problem, solver.linear.seen, solver.active, solver.inverse)
    values = _seen_by(factor, solver)
    assert values.min() > 0 and values.max() < 20
    assert np.median(values) == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("five", [False, True], ids=["places", "motions"])
def test_both_lead_to_the_same_solution_without_the_dense_matrix(five, monkeypatch):
    found, products = [], []
    for largest in (5000, 0):
        monkeypatch.setattr(precondition, "LARGEST", largest)
        s = small(five=five, exposures=6, stars=120)
        solver = Solver(s.problem, s.start)
        minimise(solver, NO_CLIP)
        assert isinstance(solver.factor, SharedFactor if largest else BlockFactor)
        assert solver.exact_steps == 0
        found.append(solver.state)
        products.append(solver.products)
    # A thousandth of a sigma of all parameters together; a star's sigma is some mas.
    assert np.abs(found[0].stars - found[1].stars)[:, :2].max() * UNIT / MAS < 0.02
    assert products[0] < products[1]
    assert products[0] < 60


def test_a_sample_of_stars_serves_as_well_as_all(monkeypatch):
    s = small(stars=1500, exposures=5, inner_degree=2)
    products = []
    for stars in (8000, 300):
        monkeypatch.setattr(shared, "STARS", stars)
        solver = Solver(s.problem, s.start.copy())
        minimise(solver, NO_CLIP)
        assert solver.exact_steps == 0
        products.append(solver.products)
    assert products[1] < 4 * products[0]
    chosen, scale = shared._sample(s.problem, s.problem.weight)
    assert 250 < len(chosen) < 350
    # Whatever is chosen stands for the rest: the information in all is kept.
    information = np.bincount(s.problem.star, s.problem.weight[0])
    assert (information[chosen] * scale).sum() == pytest.approx(information.sum(), rel=0.05)


@pytest.mark.parametrize("options", [
    pytest.param({"turn_deg": 90.0}, id="camera turned by 90 degrees"),
    pytest.param({"turn_deg": 37.0, "anisotropic": True}, id="turned by 37 degrees, ellipses"),
    pytest.param({"inner_degree": 1, "outer_degree": 4, "detectors": 1}, id="exposures of a higher degree"),
    pytest.param({"references": 0.0, "gauge": 0.5}, id="no reference"),
    pytest.param({"stars": 25}, id="hardly any stars"),
    pytest.param({"center": (0.0, 89.95)}, id="at the pole"),
    pytest.param({"center": (359.99, -60.0)}, id="across RA 0"),
])  # fmt: skip
def test_unusual_problems_converge_and_fit_to_their_errors(options):
    s = small(**{"inner_degree": 2, "exposures": 5, **options})
    solver = Solver(s.problem, s.start)
    done, _ = minimise(solver, NO_CLIP)
    assert len(done) < 12
    solver.residuals()
    solver.solve_stars()
    spread = np.sqrt(2 / solver.degrees_of_freedom)
    assert abs(solver.chi2 / solver.degrees_of_freedom - 1) < 4 * spread


def test_what_nothing_holds_is_refused_unless_a_gauge_holds_it():
    held = small(stars=60, gauge=0.5)
    held.problem.outer_free[:] = True  # what detectors gain exposures can lose
    solver = Solver(held.problem, held.start)
    minimise(solver, NO_CLIP)
    solver.residuals()
    solver.solve_stars()
    assert solver.chi2 / solver.degrees_of_freedom == pytest.approx(1, abs=0.2)
    assert np.abs(solver.state.inner - held.start.inner).max() * UNIT * 3600 < 5  # arcsec
    loose = small(stars=60)
    loose.problem.outer_free[:] = True
    loose.problem.reference_on[:] = 0
    with pytest.raises(DivergedError, match="do the data determine every mapping"):
        minimise(Solver(loose.problem, loose.start), NO_CLIP)


def test_a_mapping_without_measurements_stays_where_it_is(monkeypatch):
    for largest in (5000, 0):
        monkeypatch.setattr(precondition, "LARGEST", largest)
        s = small()
        p = s.problem
        p.weight[:, p.outer[p.image_of] == 2] = 0
        solver = Solver(p, s.start)
        minimise(solver, NO_CLIP)
        assert np.array_equal(solver.state.outer[2], s.start.outer[2])
        assert np.all(np.isfinite(solver.state.stars))


def test_squares_are_subtracted_in_strips(monkeypatch):
    from obslab.jointfit.solve import squares

    monkeypatch.setattr(squares, "STRIP", 7)
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(30, 25))
    matrix = np.tril(rng.normal(size=(25, 25)))
    want = matrix + np.tril(matrix, -1).T - rows.T @ rows
    subtract_square(matrix, rows)
    mirror(matrix)
    assert np.allclose(matrix, want, rtol=0, atol=1e-13)
