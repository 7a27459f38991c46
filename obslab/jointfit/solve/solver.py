"""Solver: residuals, star equations, gradient and one Gauss-Newton step of a Problem at a State.

Stars are eliminated; what remains, over all mapping coefficients and terms, is solved by preconditioned conjugate
gradients, and by the exact dense matrix when those do not get there.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.polynomial import chebyshev_grid
from obslab.jointfit.solve import dense, normal, precondition
from obslab.jointfit.solve.problem import PARTS, Problem, State
from obslab.jointfit.solve.residuals import BINS, SUMS, median_chi2, residual_kernel
from obslab.jointfit.solve.stars import COME_BACK, settle_kernel, star_kernel
from obslab.jointfit.solve.termset import TermSet

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
CG_TOLERANCE = 1e-3
"""Reduction of the residual in a step: more accuracy would be lost to the next linearisation."""
CG_SMALL_SIGMA = 1e-3
CG_MOST = {"SharedFactor": 60, "BlockFactor": 400}


class Solver:
    """Holds what the passes share; ``state`` changes by ``accept``."""

    def __init__(self, problem: Problem, state: State) -> None:
        self.problem, self.state = problem, state
        count, stars = len(problem.u), len(state.stars)
        ns = problem.star_parameters
        self.active = problem.weight.copy()
        self.residual = np.empty((2, count))
        self.moved = np.empty((2, count))
        self.image_of = problem.image_of
        self.sums = np.empty((PARTS, stars, SUMS[ns]))
        self.star_sums = self.sums.reshape(-1)[: PARTS * stars * ns].reshape(PARTS, stars, ns)
        self.inverse = np.zeros((stars, ns, ns))
        self.star_step = np.zeros((stars, ns))
        self.settled = np.zeros((stars, ns))
        self.suspect = np.zeros(stars, np.uint8)
        self.terms = TermSet(problem)
        self.shift: Floats | None = None  # displacement from outside, plane units: a turbulence field
        self.factor: precondition.SharedFactor | precondition.BlockFactor | None = None
        self.start_coefficients = self._coefficients(state)
        self.products = 0
        self.exact_steps = 0

    # ---------------------------------------------------------------- residuals and stars
    def residuals(self, suspect_above: float = np.inf) -> None:
        """Residuals of all measurements at the state, chi2 of the active ones, and the stars' sums."""
        p, s = self.problem, self.state
        self.u, self.v = self.terms.moved_pixels(s.extra)
        shift = self._shift()
        kernel = residual_kernel(p.star_parameters, p.anisotropic, shift is not None)
        histogram = np.zeros((PARTS, BINS + 2))
        self.suspect[:] = 0
        pool.run(
            kernel, PARTS, self.u, self.v, p.weight, self.active, p.star, p.first, p.part_first, p.inner, p.outer,
            p.exposure, s.inner, s.outer, p.homography, s.stars, p.delta_yr, p.earth, p.radian,
            shift if shift is not None else np.zeros((2, 0)), suspect_above, p.inner_basis.parent,
            p.inner_basis.by_v, p.outer_basis.parent, p.outer_basis.by_v, self.residual, self.sums, self.suspect,
            histogram,
        )  # fmt: skip
        total = histogram.sum(0)
        self.median = median_chi2(total)
        self.used, self.chi2_measured = int(total[BINS]), float(total[BINS + 1])
        self.chi2_reference = reference_chi2(p, s)
        self.changed = 0

    def solve_stars(self, cut: float = 0.0, come_back: float = COME_BACK) -> None:
        """Each star's inverse matrix and step at fixed mappings; with a cut, its outliers are judged first."""
        p, s = self.problem, self.state
        report = np.zeros((PARTS, 4))
        if not hasattr(self, "projection"):
            self.linearise()
        pool.run(
            star_kernel(p.star_parameters, p.anisotropic), PARTS, PARTS, self.sums, p.prior, p.prior_at,
            p.reference_on, p.star_free, s.stars, p.star_first, p.members, self.image_of, p.exposure, self.projection,
            p.delta_yr, p.earth, p.radian, self.residual, p.weight, self.active, self.suspect, cut, come_back,
            self.inverse, self.star_step, report,
        )  # fmt: skip
        total = report.sum(0)
        self.references, self.chi2_reference = int(total[0]), float(total[1])
        self.changed = int(total[2])
        self.used += self.changed
        self.chi2_measured += float(total[3])

    @property
    def objective(self) -> float:
        """What is minimised: chi2 of measurements, reference and gauge."""
        extra = 0.0
        if self.problem.gauge is not None:
            gauge = self.problem.gauge
            change = self._coefficients(self.state) - self.start_coefficients
            extra = sum(float(gauge @ change[axis] ** 2) for axis in precondition.axes_of(self.problem))
        return self.chi2_measured + self.chi2_reference + extra

    @property
    def chi2(self) -> float:
        """chi2 of the measurements and of the reference, without the wide priors, which nobody measured."""
        p = self.problem
        return self.chi2_measured + reference_chi2(p, self.state, (p.reference_on == 1) & p.measured_prior)

    @property
    def degrees_of_freedom(self) -> int:
        """Numbers measured less numbers fitted, for what is active."""
        alive = self.inverse[:, 0, 0] > 0
        return round(2 * self.used - float(self.star_freedom()[alive].sum()) - int(self.free.sum()))

    def star_freedom(self) -> Floats:
        """Numbers fitted for each star (K,), less those its prior gives.

        A reference gives a number for each parameter that may move. The wide priors of other stars count by the part
        of the answer that is theirs: the trace of their information and the star's covariance.
        """
        p = self.problem
        free = p.star_free
        per_star = 2.0 * (free & 1 > 0)
        if p.star_parameters == 5:
            per_star = per_star + 2 * (free & 2 > 0) + 1 * (free & 4 > 0)
        diagonal = np.cumsum([0, *range(p.star_parameters, 1, -1)])
        theirs = (p.prior[:, diagonal] * np.einsum("kii->ki", self.inverse)).sum(1)
        given = np.where(p.measured_prior, per_star, theirs)
        return np.asarray(per_star - np.where(p.reference_on == 1, given, 0.0))

    # ---------------------------------------------------------------- one step
    @property
    def free(self) -> NDArray[np.bool_]:
        """Which coefficients of all mappings, and which terms, may move."""
        p = self.problem
        return np.concatenate(
            [
                np.repeat(p.inner_free[:, None], 2, 1).ravel(),
                np.repeat(p.outer_free[:, None], 2, 1).ravel(),
                self.terms.free,
            ]
        )

    def linearise(self) -> None:
        """What the simplified matrix needs of the state: per image two small Jacobians, per inner mapping the outer
        basis in terms of the inner one."""
        p, s = self.problem, self.state
        centre = s.inner[p.inner][:, :, 0]
        at = p.outer_basis(centre[:, 0], centre[:, 1])
        self.by_x, self.by_y = p.outer_basis.derivatives(s.outer)
        self.jacobian = np.stack(
            [np.einsum("bk,bik->bi", at, self.by_x[p.outer]), np.einsum("bk,bik->bi", at, self.by_y[p.outer])], -1
        )
        place = np.einsum("bk,bik->bi", at, s.outer[p.outer])
        matrix = p.homography[p.exposure]
        back = np.einsum("bij,bj->bi", np.linalg.inv(matrix), np.c_[place, np.ones(len(place))])
        depth = np.einsum("bj,bj->b", matrix[:, 2], back / back[:, 2:])
        self.projection = (matrix[:, :2, :2] - place[:, :, None] * matrix[:, 2:, :2]) / depth[:, None, None]
        u, v = chebyshev_grid(max(8, p.inner_basis.degree + 2))
        grid = p.inner_basis(u, v)
        focal = np.einsum("nk,cik->cin", grid, s.inner)
        seen = p.outer_basis(focal[:, 0], focal[:, 1])
        self.seen = np.ascontiguousarray(np.einsum("kn,cnj->ckj", np.linalg.pinv(grid), seen))

    def gradient(self) -> Floats:
        """Half the gradient of chi2 by all coefficients and terms, the stars at their own optimum."""
        p, s = self.problem, self.state
        keep = self.terms.count > 0
        self.kept = np.empty((2, len(p.u))) if keep else np.zeros((2, 0))
        inner_moments = np.empty((len(p.inner), 2, len(p.inner_basis)))
        outer_moments = np.empty((len(p.inner), 2, len(p.outer_basis)))
        pool.run(
            normal.gradient_kernel(p.star_parameters, p.anisotropic, keep), PARTS, self.u, self.v, p.star, p.first,
            p.part_first, p.inner, p.outer, p.exposure, s.inner, s.outer, self.by_x, self.by_y, self.projection,
            s.stars, self.star_step, p.delta_yr, p.earth, p.radian, p.inner_basis.parent, p.inner_basis.by_v,
            p.outer_basis.parent, p.outer_basis.by_v, self.active, self.residual, inner_moments, outer_moments,
            self.kept,
        )  # fmt: skip
        inner, outer = np.zeros(s.inner.shape), np.zeros(s.outer.shape)
        np.add.at(inner, p.inner, inner_moments)
        np.add.at(outer, p.outer, outer_moments)
        mappings = np.concatenate([inner.ravel(), outer.ravel()])
        if p.gauge is not None:
            change = self._coefficients(s) - self.start_coefficients
            for axis in precondition.axes_of(p):
                mappings[axis] += p.gauge * change[axis]
        whole = np.concatenate([mappings, self.terms.moments(self.kept)])
        whole[~self.free] = 0
        return whole

    def forward(self, step: Floats) -> None:
        """What a step moves measurements by, and how the stars follow: ``settled``."""
        p = self.problem
        change = np.empty((len(p.inner), 2, len(p.inner_basis)))
        normal.fold(
            step, p.inner, p.outer, self.jacobian, self.seen, len(p.inner_free), len(p.inner_basis),
            len(p.outer_basis), change,
        )  # fmt: skip
        columns = self.terms.count > 0
        extra = self.terms.displacement(step[len(step) - self.terms.count :]) if columns else np.zeros((2, 0))
        pool.run(
            normal.forward_kernel(p.star_parameters, p.anisotropic, columns), PARTS, self.u, self.v, self.active,
            p.star, p.first, p.part_first, p.exposure, change, self.projection, self.state.stars, p.delta_yr, p.earth,
            p.radian, p.inner_basis.parent, p.inner_basis.by_v, extra, self.moved, self.star_sums,
        )  # fmt: skip
        pool.run(settle_kernel(p.star_parameters), PARTS, PARTS, self.star_sums, self.inverse, self.settled)

    def product(self, step: Floats) -> Floats:
        """The reduced matrix times a vector."""
        p = self.problem
        self.forward(step)
        keep = self.terms.count > 0
        kept = self.kept if keep else np.zeros((2, 0))
        image_moments = np.empty((len(p.inner), 2, len(p.inner_basis)))
        pool.run(
            normal.backward_kernel(p.star_parameters, p.anisotropic, keep), PARTS, self.u, self.v, self.active,
            p.star, p.first, p.part_first, p.exposure, self.projection, self.state.stars, self.settled, p.delta_yr,
            p.earth, p.radian, self.moved, p.inner_basis.parent, p.inner_basis.by_v, image_moments, kept,
        )  # fmt: skip
        out = np.zeros(len(step))
        mappings = out[: len(out) - self.terms.count]
        normal.unfold(
            image_moments, p.inner, p.outer, self.jacobian, self.seen, len(p.inner_free), len(p.inner_basis),
            len(p.outer_basis), mappings,
        )  # fmt: skip
        if p.gauge is not None:
            for axis in precondition.axes_of(p):
                mappings[axis] += p.gauge * step[axis]
        if keep:
            out[len(mappings) :] = self.terms.moments(kept)
        out[~self.free] = 0
        self.products += 1
        return out

    def step(self) -> tuple[Floats, Floats, float, int]:
        """One Gauss-Newton step from the current residuals and star steps.

        -> step of coefficients and terms, step of the stars, its size in sigma of all parameters together, products.
        """
        self.terms.linearise(self)
        right = -self.gradient()
        free = self.free
        if not free.any():
            return right * 0, self.star_step.copy(), self._star_sigma(), 0
        if self.factor is None or len(self.factor.free) != len(precondition.free_half(self.problem)):
            self.factor = precondition.make(self.problem, self.seen, self.active, self.inverse)
        most = CG_MOST[type(self.factor).__name__]
        x = np.zeros(len(right))
        rest = right
        z = self._precondition(rest, free)
        size = first = float(np.sqrt(max(rest @ z, 0)))
        direction, rz, turns = z, float(rest @ z), 0
        while size > max(CG_TOLERANCE * first, CG_SMALL_SIGMA) and turns < most:
            image = self.product(direction)
            curvature = float(direction @ image)
            if curvature <= 0:
                break
            along = rz / curvature
            x = x + along * direction
            rest = rest - along * image
            z = self._precondition(rest, free)
            rz, before = float(rest @ z), rz
            size = float(np.sqrt(max(rz, 0)))
            direction = z + rz / before * direction
            turns += 1
        if size > max(0.1 * first, CG_SMALL_SIGMA):
            log.info("conjugate gradients did not converge in %d products: exact dense step", turns)
            x = self._exact(right, free)
        self.forward(x)
        return x, self.star_step + self.settled, first, turns

    def accept(self, step: Floats, stars: Floats, size: float = 1.0) -> None:
        """Move the state."""
        self.state = self.state.moved(step, stars, size)

    # ---------------------------------------------------------------- pieces
    def _precondition(self, right: Floats, free: NDArray[np.bool_]) -> Floats:
        assert self.factor is not None
        count = self.terms.count
        masked = np.where(free, right, 0)
        mappings = self.factor.solve(masked[: len(right) - count])
        out = np.concatenate([mappings, masked[len(right) - count :] * self.terms.inverse_diagonal])
        out[~free] = 0
        return out

    def _exact(self, right: Floats, free: NDArray[np.bool_]) -> Floats:
        from scipy import linalg

        self.exact_steps += 1
        matrix = self.reduced()[np.ix_(free, free)]
        norm = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        scaled = matrix / norm[:, None] / norm + 1e-12 * np.eye(len(norm))
        out = np.zeros(len(right))
        out[free] = linalg.solve(scaled, right[free] / norm, assume_a="pos") / norm
        return out

    def reduced(self) -> Floats:
        """The exact reduced matrix with the gauge, over all coefficients and terms."""
        columns = (self.terms.index, self.terms.value) if self.terms.count else None
        matrix = dense.reduced(self.problem, self.state, self.active, self.inverse, columns)
        if self.problem.gauge is not None:
            for axis in precondition.axes_of(self.problem):
                matrix[axis, axis] += self.problem.gauge
        return matrix

    def _star_sigma(self) -> float:
        """Size of the stars' own steps, in sigma, when nothing else moves."""
        p, sums = self.problem, self.star_step
        variance = np.einsum("kii->ki", self.inverse)
        ratio = np.where(variance > 0, sums**2 / np.maximum(variance, 1e-300), 0.0)
        return float(np.sqrt(ratio.sum() / max(p.star_parameters, 1)))

    def _shift(self) -> Floats | None:
        plane = self.terms.plane_shift(self.state.extra)
        if plane is None or self.shift is None:
            return self.shift if plane is None else plane
        return plane + self.shift

    def _coefficients(self, state: State) -> Floats:
        return np.concatenate([state.inner.ravel(), state.outer.ravel()])


def reference_chi2(problem: Problem, state: State, which: NDArray[np.bool_] | None = None) -> float:
    """chi2 of the stars' places, motions and parallaxes against the priors that count."""
    size = problem.star_parameters
    which = problem.reference_on == 1 if which is None else which
    away = np.where(which[:, None], state.stars - problem.prior_at, 0.0)
    rows, columns = np.triu_indices(size)
    twice = np.where(rows == columns, 1.0, 2.0)
    return float(np.einsum("kp,kp,kp,p->", problem.prior, away[:, rows], away[:, columns], twice))
