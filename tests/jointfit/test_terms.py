"""Every model of ``MODELS`` and every term of ``KINDS``: derivatives against finite differences, and what
they do."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray as xr
from jointfit.small_problems import HALF, UNIT, plain_residuals, small

from obslab.jointfit.mapping.kinds import KINDS
from obslab.jointfit.mapping.layout import MODELS, layout
from obslab.jointfit.mapping.refraction import Refraction
from obslab.jointfit.mapping.templates import Template, strengths
from obslab.jointfit.mapping.terms import TermError
from obslab.jointfit.polynomial import basis
from obslab.jointfit.projection import MAS
from obslab.jointfit.solve.newton import Control, minimise
from obslab.jointfit.solve.problem import State
from obslab.jointfit.solve.solver import Solver


@dataclass
class Swirl:
    """A term that is not linear, as a user would write one: an angle and a size of a turn about the
    middle."""

    def bind(self, points):
        away = np.stack([points.x - 1000, points.y - 1000]) / points.half.T
        return BoundSwirl("pixel", ("size", "angle"), np.ones(2, bool), away)


@dataclass
class BoundSwirl:
    where: str
    names: tuple[str, ...]
    free: np.ndarray
    away: np.ndarray

    def value(self, parameters):
        size, angle = parameters
        return 1e-3 * size * np.stack([np.cos(angle) * self.away[1], -np.sin(angle) * self.away[0]])

    def derivatives(self, parameters):
        size, angle = parameters
        by_size = 1e-3 * np.stack([np.cos(angle) * self.away[1], -np.sin(angle) * self.away[0]])
        by_angle = 1e-3 * size * np.stack([-np.sin(angle) * self.away[1], -np.cos(angle) * self.away[0]])
        index = np.broadcast_to(np.arange(2), (self.away.shape[1], 2))
        return index, np.stack([by_size, by_angle], -1)


EVERY = {**{f"model {name}": name for name in MODELS}, **KINDS, "a user's own term": Swirl}


def _case(name):
    """A problem with this model or this term, away from its solution, its stars fixed."""
    if name.startswith("model "):
        s = small(stars=60)
        problem, state = _modelled(s, EVERY[name])
    else:
        s = small(stars=60, kinds=[EVERY[name]()])
        problem, state = s.problem, s.start
    problem.star_free[:] = 0
    rng = np.random.default_rng(6)
    state.extra[:] = rng.uniform(0.5, 1.5, len(state.extra))
    return Solver(problem, state)


def _modelled(s, model):
    p = s.problem
    images = xr.Dataset(
        {"exposure": ("image", p.exposure + 10), "detector": ("image", p.inner + 1),
         "name": ("image", np.array([f"image {n}" for n in range(len(p.inner))]))}
    )  # fmt: skip
    count = len(p.delta_yr)
    exposures = xr.Dataset(
        {"exposure": ("exposure", np.arange(count) + 10), "instrument": ("exposure", np.array(["a"] * count))}
    )
    weight = np.bincount(p.exposure[p.image_of], minlength=count)
    plan = layout(model, images, exposures, weight, degree=3, device_degree=3, exposure_degree=2)
    inner_basis, outer_basis = basis(plan.inner_degree), basis(plan.outer_degree)
    rng = np.random.default_rng(1)
    inner = np.repeat(inner_basis.identity()[None], len(plan.inner_names), 0)
    outer = np.repeat(outer_basis.identity()[None], len(plan.outer_names), 0)
    inner += 1e-2 * rng.normal(size=inner.shape)
    outer[~plan.held_outer] += 1e-2 * rng.normal(size=outer[~plan.held_outer].shape)
    problem = replace(
        p, inner_basis=inner_basis, outer_basis=outer_basis, inner=plan.inner, outer=plan.outer,
        inner_free=np.repeat(~plan.held_inner[:, None], len(inner_basis), 1),
        outer_free=np.repeat(~plan.held_outer[:, None], len(outer_basis), 1),
    )  # fmt: skip
    return problem, State(inner, outer, s.start.stars, np.zeros(0))


@pytest.mark.parametrize("name", EVERY)
def test_derivatives_are_those_of_finite_differences(name):
    solver = _case(name)
    problem, start = solver.problem, solver.state.copy()
    # Alone: the term's displacement.
    for term in problem.terms:
        index, value = term.derivatives(start.extra)
        assert index.shape == value.shape[1:] and value.shape[:2] == (2, len(problem.u))
        assert index.min() >= 0 and index.max() < len(term.names) == len(set(term.names)) == len(term.free)
        for j in range(len(term.names)):
            ends = []
            for sign in (1, -1):
                parameters = start.extra.copy()
                parameters[j] += sign * 1e-4
                ends.append(term.value(parameters))
            want = (ends[0] - ends[1]) / 2e-4
            assert np.allclose(
                (value * (index == j)).sum(2), want, rtol=1e-6, atol=1e-8 * np.abs(value).max()
            )
    # Through mapping, projection and weights: residuals as plain algebra has them, and the slope of chi2.
    solver.residuals()
    assert np.abs(solver.residual - plain_residuals(problem, start)).max() < 1e-14
    solver.solve_stars()
    solver.terms.linearise(solver)
    gradient = solver.gradient()
    free = solver.free
    assert not gradient[~free].any()
    mappings = np.flatnonzero(free[: start.inner.size + start.outer.size])
    rng = np.random.default_rng(2)
    for _ in range(6 if len(mappings) else 0):
        step = np.zeros(len(free))
        step[mappings] = rng.normal(size=len(mappings))
        _check_slope(solver, start, gradient, 1e-6 * step)
    for j in np.flatnonzero(free)[np.flatnonzero(free) >= start.inner.size + start.outer.size]:
        step = np.zeros(len(free))
        step[j] = 1e-2
        _check_slope(solver, start, gradient, step)


def _check_slope(solver, start, gradient, step):
    ends = []
    for size in (1, -1, 2, -2):
        solver.state = start.moved(step, 0.0 * start.stars, size)
        solver.residuals()
        ends.append(solver.objective)
    numeric = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / 12
    rounding = 1e-13 * ends[0]
    assert 2 * gradient @ step == pytest.approx(numeric, rel=1e-6, abs=rounding)


@pytest.mark.parametrize("name", [n for n in KINDS if n != "fixed template"])
def test_a_fit_finds_the_strength_that_was_put_in(name):
    strength = 25.0 if "refraction" in name else 1.3
    s = small(stars=150, exposures=6, inner_degree=2, kinds=[KINDS[name]()], strengths=[strength])
    solver = Solver(s.problem, s.start)
    minimise(solver, Control())
    solver.residuals()
    solver.solve_stars()
    solver.terms.linearise(solver)
    free = solver.free
    error = np.sqrt(np.diag(np.linalg.inv(solver.reduced()[np.ix_(free, free)])))[-solver.terms.count :]
    assert np.all(np.abs(solver.state.extra - strength) < 4 * error)
    assert np.all(error < 0.2 * strength)
    assert abs(solver.chi2 / solver.degrees_of_freedom - 1) < 4 * np.sqrt(2 / solver.degrees_of_freedom)


def test_a_fixed_template_is_applied_as_it_is():
    s = small(stars=100, kinds=[KINDS["fixed template"]()], strengths=[1.0])
    assert s.start.extra.tolist() == [1.0]
    with_it, without = Solver(s.problem, s.start.copy()), Solver(replace(s.problem, terms=()), s.start.copy())
    without.state.extra = np.zeros(0)
    for solver in (with_it, without):
        solver.problem.inner_free[:] = False
        solver.problem.outer_free[:] = False
        solver.state.inner, solver.state.outer = s.truth.inner.copy(), s.truth.outer.copy()
        minimise(solver, Control(clip_sigma=0))
    assert with_it.state.extra.tolist() == [1.0]
    assert with_it.chi2 / with_it.degrees_of_freedom == pytest.approx(1, abs=0.2)
    assert without.chi2 > 5 * with_it.chi2  # 0.2 pixel of 1.8 arcsec


def test_refraction_moves_stars_of_another_color_towards_the_zenith():
    points = small(stars=40).points
    angle = np.array([0.0, 90.0, 180.0, -90.0])
    points = replace(points, airmass=np.full(4, np.sqrt(2)), parallactic_angle=angle)  # tan z = 1
    bound = Refraction().bind(points)
    assert bound.names == ("refraction g", "refraction r")
    color = points.color - points.color.mean()
    moved = bound.value(np.array([10.0, 10.0])) * UNIT / MAS  # mas
    north = np.array([1, 0, -1, 0])[points.exposure]
    east = np.array([0, 1, 0, -1])[points.exposure]
    assert np.allclose(moved, 10 * np.stack([east * color, north * color]), atol=1e-9)
    colors = bound.mean_color + np.array([0, 2, np.nan])
    moved = bound.displacement_mas(np.array([10.0, 20.0]), 1, colors)
    assert np.allclose(moved, [[0, 40, 0], [0, 0, 0]], atol=1e-9)
    # Without a color a star is of the mean one.
    some = points.color.copy()
    some[::3] = np.nan
    assert not Refraction().bind(replace(points, color=some)).value(np.ones(2))[:, ::3].any()


def test_refraction_says_what_it_lacks():
    points = small(stars=20).points
    with pytest.raises(TermError, match="no star has a color"):
        Refraction().bind(replace(points, color=points.color * np.nan))
    with pytest.raises(TermError, match=r"rows \[2\] have no airmass"):
        Refraction().bind(replace(points, airmass=np.array([1.1, 1.2, 0.9, 1.3])))
    missing = replace(points, parallactic_angle=np.array([0.0, np.nan, 0.0, 0.0]))
    with pytest.raises(TermError, match=r"rows \[1\]"):
        Refraction().bind(missing)
    with pytest.raises(TermError, match=r"rows \[1\]"):
        Refraction(constant=True).bind(missing)
    Refraction(constant=True).bind(replace(points, airmass=np.full(4, np.nan)))  # does not ask for it


def test_templates_are_linear_between_rows_and_zero_outside():
    edge = Template("edge", "x", (10.0, 20.0), (1.0, 3.0))
    assert edge.displacement([5, 10, 15, 20, 25], np.zeros(5)).tolist() == [[0, 1, 2, 3, 0], [0] * 5]
    rings = Template("rings", "r", (0.0, 5.0, 10.0), (0.0, 1.0, 0.0), centre=(100.0, 100.0))
    moved = rings.displacement([103.0, 100.0, 94.0], [104.0, 100.0, 92.0])
    assert np.allclose(moved, [[0.6, 0, 0], [0.8, 0, 0]])
    assert np.all(np.isfinite(moved))


def test_templates_act_on_their_detectors_only():
    points = small(stars=30).points
    bound = Template("one", "x", (0.0, 2001.0), (1.0, 1.0), detectors=(2,)).bind(points)
    value = bound.value(np.array([2.0]))
    assert np.allclose(value[0], np.where(points.detector == 1, 2 / HALF, 0)) and not value[1].any()
    each = Template("each", "x", (0.0, 2001.0), (1.0, 1.0), each=True).bind(points)
    assert each.names == ("each detector 1", "each detector 2")
    assert np.allclose(each.value(np.array([1.0, 3.0]))[0], np.where(points.detector == 0, 1, 3) / HALF)
    with pytest.raises(TermError, match="detectors \\(7,\\), of which none is here"):
        Template("none", "x", (0.0, 1.0), (0.0, 0.0), detectors=(7,)).bind(points)


def test_strengths_are_told_by_detector():
    kinds = (
        Template("all", "x", (0.0, 2001.0), (1.0, 1.0)),
        Template("each", "y", (0.0, 2001.0), (1.0, 1.0), each=True),
        Template("two", "y", (0.0, 2001.0), (0.0, 1.0), detectors=(2,)),
        Refraction(),
    )
    s = small(stars=30, kinds=kinds)
    s.start.extra[:] = np.arange(1, len(s.start.extra) + 1)
    solver = Solver(s.problem, s.start)
    assert [(t.name, x) for t, x in strengths(kinds, None, solver, 1)] == [("all", 1.0), ("each", 2.0)]
    assert [(t.name, x) for t, x in strengths(kinds, None, solver, 2)] == [
        ("all", 1.0),
        ("each", 3.0),
        ("two", 4.0),
    ]


@pytest.mark.parametrize(("at", "pixels"), [((0.0,), (1.0,)), ((0.0, 1.0), (1.0,)), ((1.0, 1.0), (0.0, 1.0))])
def test_tables_that_are_none_are_refused(at, pixels):
    with pytest.raises(TermError, match="template 'bad' has"):
        Template("bad", "x", at, pixels)
