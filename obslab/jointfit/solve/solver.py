"""Solver: residuals, star equations, gradient and one Gauss-Newton step of a Problem at a State.

Stars are eliminated; what remains, over all mapping coefficients and terms, is solved by preconditioned
conjugate gradients, and by the exact dense matrix when those do not get there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from obslab.jointfit import pool
from obslab.jointfit.solve import dense, normal
from obslab.jointfit.solve.blockwise import BlockFactor
from obslab.jointfit.solve.freedom import reference_chi2, star_freedom
from obslab.jointfit.solve.linear import linearise
from obslab.jointfit.solve.problem import PARTS, Problem, State
from obslab.jointfit.solve.residuals import BINS, SUMS, median_chi2, residual_kernel
from obslab.jointfit.solve.shared import SharedFactor
from obslab.jointfit.solve.stars import COME_BACK, settle_kernel, star_kernel
from obslab.jointfit.solve.stepping import SMALL_SIGMA, gauss_newton
from obslab.jointfit.solve.termset import TermSet

Floats = NDArray[np.float64]
SAMPLED = 100_000
"""Measurements above which the median of chi2 is that of every sixteenth one."""


class Solver:
    """Holds what the passes share; ``state`` changes by ``accept``.

    An iteration: ``linearise``, ``residuals``, ``solve_stars``, ``step``, ``accept``. After that ``active``
    (1 or 3, N) are the weights of what counts, ``residual`` (2, N) is in plane units, ``inverse`` (K, n, n)
    and ``star_step`` (K, n) are each star's own covariance and step at fixed mappings.
    """

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
        self.limit = np.ones(stars, np.float32)
        self.weigh = True  # find ``limit`` anew when the stars are solved next
        self.summed = False
        self.terms = TermSet(problem)
        self.shift: Floats | None = None  # displacement from outside, plane units: a turbulence field
        self.factor: SharedFactor | BlockFactor | None = None
        self.start_coefficients = _coefficients(state)
        self.linearise()
        self.small_sigma = SMALL_SIGMA  # what conjugate gradients may leave of a step
        self.dense = False  # whether steps come from the exact matrix
        self.products = 0
        self.exact_steps = 0

    # ---------------------------------------------------------------- residuals and stars
    def residuals(self, suspect_above: float = np.inf) -> None:
        """Residuals of all measurements at the state, chi2 of the active ones, and the stars' sums.

        Stars with a measurement whose chi2 is above ``suspect_above``, half the cut, are judged by
        ``solve_stars``.
        """
        p, s = self.problem, self.state
        self.u, self.v = self.terms.moved_pixels(s.extra)
        shift = self.displacement()
        kernel = residual_kernel(p.star_parameters, p.anisotropic, shift is not None)
        histogram = np.zeros((PARTS, BINS + 2))
        skip = 1 if len(p.u) < SAMPLED else 16
        self.suspect[:] = 0
        pool.run(
            kernel, PARTS, self.u, self.v, p.weight, self.active, p.star, p.first, p.part_first, p.inner,
            p.outer, p.exposure, s.inner, s.outer, p.homography, s.stars, p.delta_yr, p.earth, p.radian, shift
            if shift is not None else np.zeros((2, 0)), suspect_above, self.limit, skip, p.inner_basis.parent,
            p.inner_basis.by_v, p.outer_basis.parent, p.outer_basis.by_v, self.residual, self.sums,
            self.suspect, histogram,
        )  # fmt: skip
        total = histogram.sum(0)
        self.median = median_chi2(total)
        self.used, self.chi2_measured = int(total[BINS]), float(total[BINS + 1])
        self.chi2_reference = reference_chi2(p, s)
        self.changed = 0
        self.summed = True

    def solve_stars(self, cut: float = 0.0, come_back: float = COME_BACK) -> None:
        """Each star's inverse matrix and step at fixed mappings; with a cut, its outliers are judged first.

        ``changed`` is then the number of verdicts that are others than before.
        """
        p, s = self.problem, self.state
        if not self.summed:
            self.residuals(0.5 * cut if cut else np.inf)
        report = np.zeros((PARTS, 4))
        before = (self.active[0] > 0, p.reference_on.copy()) if cut > 0 else None
        pool.run(
            star_kernel(p.star_parameters, p.anisotropic), PARTS, PARTS, self.sums, p.prior, p.prior_at,
            p.reference_on, p.star_free, s.stars, p.star_first, p.members, self.image_of, p.exposure,
            self.linear.projection, p.delta_yr, p.earth, p.radian, self.residual, p.weight, self.active,
            self.suspect, cut, come_back, self.weigh, self.limit, self.inverse, self.star_step, report,
        )  # fmt: skip
        total = report.sum(0)
        self.weigh = False
        self.references, self.chi2_reference = int(total[0]), float(total[1])
        self.changed = 0
        if before is not None:
            self.changed = int(np.count_nonzero((self.active[0] > 0) != before[0]))
            self.changed += int(np.count_nonzero(p.reference_on != before[1]))
        self.used += int(total[2])
        self.chi2_measured += float(total[3])

    @property
    def objective(self) -> float:
        """What is minimised: chi2 of measurements, reference and gauge."""
        extra = 0.0
        if self.problem.gauge is not None:
            gauge = self.problem.gauge
            change = _coefficients(self.state) - self.start_coefficients
            extra = sum(float(gauge @ change[axis] ** 2) for axis in self.problem.axes)
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
        """Numbers fitted for each star (K,), less those its prior gives."""
        return star_freedom(self.problem, self.inverse)

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
        """Bring ``linear``, what the simplified matrix needs of the state, up to date."""
        self.linear = linearise(self.problem, self.state)

    def gradient(self) -> Floats:
        """Half the gradient of chi2 by all coefficients and terms, the stars at their own optimum."""
        p, s = self.problem, self.state
        keep = self.terms.count > 0
        self.kept = np.empty((2, len(p.u))) if keep else np.zeros((2, 0))
        inner_moments = np.empty((len(p.inner), 2, len(p.inner_basis)))
        outer_moments = np.empty((len(p.inner), 2, len(p.outer_basis)))
        pool.run(
            normal.gradient_kernel(p.star_parameters, p.anisotropic, keep), PARTS, self.u, self.v, p.star,
            p.first, p.part_first, p.inner, p.outer, p.exposure, s.inner, s.outer, self.linear.by_x,
            self.linear.by_y, p.homography, s.stars, self.star_step, p.delta_yr, p.earth, p.radian,
            p.inner_basis.parent, p.inner_basis.by_v, p.outer_basis.parent, p.outer_basis.by_v, self.active,
            self.residual, inner_moments, outer_moments, self.kept,
        )  # fmt: skip
        inner, outer = np.zeros(s.inner.shape), np.zeros(s.outer.shape)
        np.add.at(inner, p.inner, inner_moments)
        np.add.at(outer, p.outer, outer_moments)
        mappings = np.concatenate([inner.ravel(), outer.ravel()])
        if p.gauge is not None:
            change = _coefficients(s) - self.start_coefficients
            for axis in p.axes:
                mappings[axis] += p.gauge * change[axis]
        whole = np.concatenate([mappings, self.terms.moments(self.kept)])
        whole[~self.free] = 0
        return whole

    def forward(self, step: Floats) -> None:
        """What a step moves measurements by, and how the stars follow: ``settled``."""
        p, work = self.problem, self.problem.work_basis
        change = np.empty((len(p.inner), 2, len(work)))
        normal.fold(
            step, p.inner, p.outer, self.linear.jacobian, self.linear.seen, len(p.inner_free),
            len(p.inner_basis), len(p.outer_basis), change,
        )  # fmt: skip
        columns = self.terms.count > 0
        extra = self.terms.displacement(step[len(step) - self.terms.count :]) if columns else np.zeros((2, 0))
        pool.run(
            normal.forward_kernel(p.star_parameters, p.anisotropic, columns), PARTS, self.u, self.v,
            self.active, p.star, p.first, p.part_first, p.exposure, change, self.linear.projection,
            self.state.stars, p.delta_yr, p.earth, p.radian, work.parent, work.by_v, extra, self.moved,
            self.star_sums,
        )  # fmt: skip
        self.summed = False  # star_sums are the first part of the same memory
        pool.run(settle_kernel(p.star_parameters), PARTS, PARTS, self.star_sums, self.inverse, self.settled)

    def product(self, step: Floats) -> Floats:
        """The reduced matrix times a vector."""
        p, work = self.problem, self.problem.work_basis
        self.forward(step)
        keep = self.terms.count > 0
        kept = self.kept if keep else np.zeros((2, 0))
        image_moments = np.empty((len(p.inner), 2, len(work)))
        pool.run(
            normal.backward_kernel(p.star_parameters, p.anisotropic, keep), PARTS, self.u, self.v,
            self.active, p.star, p.first, p.part_first, p.exposure, self.linear.projection, self.state.stars,
            self.settled, p.delta_yr, p.earth, p.radian, self.moved, work.parent, work.by_v, image_moments,
            kept,
        )  # fmt: skip
        out = np.zeros(len(step))
        mappings = out[: len(out) - self.terms.count]
        normal.unfold(
            image_moments, p.inner, p.outer, self.linear.jacobian, self.linear.seen, len(p.inner_free),
            len(p.inner_basis), len(p.outer_basis), mappings,
        )  # fmt: skip
        if p.gauge is not None:
            for axis in p.axes:
                mappings[axis] += p.gauge * step[axis]
        if keep:
            out[len(mappings) :] = self.terms.moments(kept)
        out[~self.free] = 0
        self.products += 1
        return out

    def step(self) -> tuple[Floats, Floats, float, int]:
        """One Gauss-Newton step from the current residuals and star steps.

        -> step of coefficients and terms, step of the stars (K, n), its size in sigma of all parameters
        together, products.
        """
        return gauss_newton(self)

    def accept(self, step: Floats, stars: Floats, size: float = 1.0) -> None:
        """Move the state."""
        self.state = self.state.moved(step, stars, size)

    # ---------------------------------------------------------------- pieces
    def reduced(self) -> Floats:
        """The exact reduced matrix with the gauge, over all coefficients and terms."""
        columns = (self.terms.index, self.terms.value) if self.terms.count else None
        matrix = dense.reduced(self.problem, self.state, (self.u, self.v), self.active, self.inverse, columns)
        if self.problem.gauge is not None:
            for axis in self.problem.axes:
                matrix[axis, axis] += self.problem.gauge
        return matrix

    def displacement(self) -> Floats | None:
        """What the terms, and the air, add to mapped places, (2, N) plane units; None: nothing."""
        plane = self.terms.plane_shift(self.state.extra)
        if plane is None or self.shift is None:
            return self.shift if plane is None else plane
        return plane + self.shift


def _coefficients(state: State) -> Floats:
    return np.concatenate([state.inner.ravel(), state.outer.ravel()])
