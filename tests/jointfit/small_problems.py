"""Problems of a few exposures whose truth is known, and a plain evaluation of what the kernels compute."""

from dataclasses import dataclass

import numpy as np

from obslab.jointfit.mapping.terms import Points
from obslab.jointfit.polynomial import basis, terms
from obslab.jointfit.projection import MAS, apply, frames, homography
from obslab.jointfit.solve.problem import MOTION, PARALLAX, POSITION, Problem, State

UNIT = 0.5  # degrees
HALF, MID = 1000.0, 1000.5
YEARS = 3.0


@dataclass
class Small:
    """``start`` is off the ``truth`` by an arcsecond or so; ``points`` is what terms are bound to."""

    problem: Problem
    truth: State
    start: State
    points: Points


def small(
    *, five=False, anisotropic=False, exposures=4, detectors=2, stars=90, inner_degree=3, outer_degree=2,
    kinds=(), strengths=(), references=0.4, gauge=None, noise=1.0, center=(150.0, 2.2), turn_deg=0.0,
    off_arcsec=1.0, errors=(3, 9), seed=0,
):  # fmt: skip
    """Stars over a field of a degree; detectors side by side, one exposure held, errors of some mas."""
    rng = np.random.default_rng(seed)
    inner_basis, outer_basis = basis(inner_degree), basis(outer_degree)
    frame = frames(*center)
    tilt = rng.uniform(-0.1, 0.1, (exposures, 2)) / [np.cos(np.radians(center[1])), 1]
    own = frames(*(np.array(center) + tilt).T)
    turn = np.radians(turn_deg * np.arange(exposures))
    cos, sin = np.cos(turn), np.sin(turn)
    scale = np.array([UNIT, UNIT, 1.0])
    plane = homography(own, frame) * scale[None, :] / scale[:, None]
    size = 5 if five else 2
    place = np.zeros((stars, size))
    place[:, :2] = rng.uniform(-0.9, 0.9, (stars, 2))
    delta = np.linspace(-YEARS / 2, YEARS / 2, exposures) + rng.uniform(-0.2, 0.2, exposures)
    earth = np.zeros((exposures, 3))
    if five:
        place[:, 2:4] = rng.normal(0, 20, (stars, 2)) * MAS / UNIT
        place[:, 4] = rng.exponential(10, stars) * MAS / UNIT
        around = 2 * np.pi * delta
        tip = np.radians(23.4)
        sun = [np.cos(around), np.sin(around) * np.cos(tip), np.sin(around) * np.sin(tip)]
        earth = np.stack(sun, -1) @ frame.T
    # Detectors side by side: each covers 2/3 of the field, so that dithered stars are on both.
    inner = np.zeros((detectors, 2, len(inner_basis)))
    inner[:, 0, 0] = np.linspace(-0.35, 0.35, detectors) if detectors > 1 else 0.0
    inner[:, 0, 1] = inner[:, 1, 2] = 1.0 if detectors == 1 else 0.65
    inner[:, 1, 2] = 1.0
    high = 3e-4 * rng.normal(size=inner.shape)
    high[:, :, :3] *= 0.3
    inner += high
    outer = np.zeros((exposures, 2, len(outer_basis)))
    outer[:, 0, 1], outer[:, 0, 2], outer[:, 1, 1], outer[:, 1, 2] = cos, -sin, sin, cos
    outer[1:] += 1e-4 * rng.normal(size=outer[1:].shape)

    exposure = np.repeat(np.arange(exposures), detectors)
    detector = np.tile(np.arange(detectors), exposures)
    rows = []
    for i, (e, d) in enumerate(zip(exposure, detector, strict=True)):
        x, y = place[:, :2].T
        if five:
            p, q = plain_parallax(x, y, earth[e])
            x, y = x + delta[e] * place[:, 2] + p * place[:, 4], y + delta[e] * place[:, 3] + q * place[:, 4]
        u, v = _back(inner_basis, inner[d], outer_basis, outer[e], *apply(plane[e], x, y))
        seen = np.flatnonzero((np.abs(u) < 1) & (np.abs(v) < 1))
        rows += [(i, k, u[k], v[k]) for k in rng.permutation(seen)]
    image, star, u, v = (np.array(column) for column in zip(*rows, strict=True))
    # Only stars measured twice are fitted.
    twice = np.bincount(star, minlength=stars) > 1
    number = np.cumsum(twice) - 1
    keep = twice[star]
    image, star, u, v = image[keep], number[star[keep]], u[keep], v[keep]
    place, stars = place[twice], int(twice.sum())

    count = len(u)
    covariance = _covariances(rng, count, errors, anisotropic) * (MAS / UNIT) ** 2
    inverse = np.linalg.inv(covariance)
    weight = np.stack([inverse[:, 0, 0], inverse[:, 0, 1], inverse[:, 1, 1]])
    weight = (weight if anisotropic else weight[:1]).astype(np.float32)
    moved = noise * np.einsum("nij,nj->ni", np.linalg.cholesky(covariance), rng.normal(size=(count, 2)))
    stretch = np.stack([inner[detector[image], 0, 1], inner[detector[image], 1, 2]], -1)
    at_plane = moved @ np.eye(2)
    back = np.stack([cos[exposure[image]], sin[exposure[image]]], -1)
    moved = np.stack(
        [
            back[:, 0] * at_plane[:, 0] + back[:, 1] * at_plane[:, 1],
            -back[:, 1] * at_plane[:, 0] + back[:, 0] * at_plane[:, 1],
        ],
        -1,
    )
    u, v = u + moved[:, 0] / stretch[:, 0], v + moved[:, 1] / stretch[:, 1]
    points = Points(
        u * HALF + MID,
        v * HALF + MID,
        np.full((count, 2), HALF),
        exposure[image],
        detector[image],
        tuple(range(1, detectors + 1)),
        rng.normal(1, 0.6, stars)[star],
        tuple("gr"[e % 2] for e in range(exposures)),
        rng.uniform(1.05, 1.8, exposures),
        rng.uniform(-180, 180, exposures),
        UNIT,
    )
    bound = tuple(kind.bind(points) for kind in kinds)
    for term, strength in zip(bound, strengths, strict=False):
        by = term.value(np.broadcast_to(np.asarray(strength, float), (len(term.names),)))
        sign = -1.0  # measured where the mapping, after the displacement, meets the star
        if term.where == "plane":
            by, sign = np.stack([by[0] / stretch[:, 0], by[1] / stretch[:, 1]]), 1.0
        u, v = u + sign * by[0], v + sign * by[1]
    extra = np.concatenate([np.zeros(0)] + [np.where(t.free, 0.0, 1.0) for t in bound])

    free = np.full(stars, POSITION | (MOTION | PARALLAX if five else 0), np.uint8)
    has = rng.uniform(size=stars) < references
    prior, prior_at = _priors(rng, place, has, five)
    problem = Problem(
        inner_basis,
        outer_basis,
        detector.astype(np.int32),
        exposure.astype(np.int32),
        exposure.astype(np.int32),
        np.concatenate([[0], np.cumsum(np.bincount(image, minlength=len(exposure)))]).astype(np.int64),
        np.ascontiguousarray(u),
        np.ascontiguousarray(v),
        weight,
        star.astype(np.uint32),
        np.concatenate([[0], np.cumsum(np.bincount(star, minlength=stars))]).astype(np.int64),
        np.argsort(star, kind="stable").astype(np.int32),
        plane,
        prior,
        prior_at,
        free,
        np.ones(inner.shape[::2], bool),
        np.repeat(np.arange(exposures)[:, None] > 0, len(outer_basis), 1),
        delta,
        earth,
        np.radians(UNIT),
        UNIT,
        prior.any(1).astype(np.uint8),
        has,
        None
        if gauge is None
        else np.full(inner[:, 0].size + outer[:, 0].size, 1 / (gauge / 3600 / UNIT) ** 2),
        bound,
    )
    truth = State(inner, outer, place, extra)
    start = truth.copy()
    off = off_arcsec / 3600 / UNIT
    start.inner += off * rng.normal(size=inner.shape) / 3
    start.outer[1:] += off * rng.normal(size=outer[1:].shape) / 3
    start.stars[:, :2] += off * rng.normal(size=(stars, 2)) / 3
    if five:
        start.stars[:, 2:] = prior_at[:, 2:]
    return Small(problem, truth, start, points)


def plain_parallax(x, y, earth):
    """Shift in the plane per unit of parallax: the difference of two directions, in three dimensions."""
    small = 1e-6
    a, b = x * np.radians(UNIT), y * np.radians(UNIT)
    star = np.stack([a, b, np.ones_like(a)]) / np.sqrt(1 + a * a + b * b)
    there, here = (star + sign * small / 2 * earth.reshape(3, *[1] * a.ndim) for sign in (-1, 1))
    by = (there[:2] / there[2] - here[:2] / here[2]) / small
    return by[0], by[1]


def plain_residuals(problem, state, shift=0.0):
    """(2, N): outer(inner(u, v)) + shift - P(star), in powers and plain algebra."""
    p, s = problem, state
    image = p.image_of
    e = p.exposure[image]
    u, v = p.u.copy(), p.v.copy()
    at = 0
    for term in p.terms:
        value = term.value(s.extra[at : at + len(term.names)])
        at += len(term.names)
        if term.where == "pixel":
            u, v = u + value[0], v + value[1]
        else:
            shift = shift - value
    focal = _powers(p.inner_basis.degree, u, v, s.inner[p.inner[image]])
    mapped = _powers(p.outer_basis.degree, *focal, s.outer[p.outer[image]])
    x, y = s.stars[p.star, :2].T
    if p.star_parameters == 5:
        dx, dy, far = s.stars[p.star, 2:].T
        t = p.delta_yr[e]
        factors = np.array([plain_parallax(a, b, p.earth[n]) for a, b, n in zip(x, y, e, strict=True)]).T
        x, y = x + t * dx + far * factors[0], y + t * dy + far * factors[1]
    return mapped + shift - np.stack(apply(p.homography[e], x, y))


def plain_chi2(problem, residual, weight):
    """(N,): r' W r."""
    w = weight.astype(float)
    if len(w) == 1:
        return w[0] * (residual**2).sum(0)
    return w[0] * residual[0] ** 2 + 2 * w[1] * residual[0] * residual[1] + w[2] * residual[1] ** 2


def unpacked(packed):
    """(K, n, n) symmetric matrices of upper triangles (K, n (n + 1) / 2)."""
    size = {3: 2, 15: 5}[packed.shape[1]]
    full = np.zeros((len(packed), size, size))
    rows, columns = np.triu_indices(size)
    full[:, rows, columns] = full[:, columns, rows] = packed
    return full


def _powers(degree, u, v, coefficients):
    total = np.zeros((2, len(u)))
    for n, (i, j) in enumerate(terms(degree)):
        total += coefficients[:, :, n].T * u**i * v**j
    return total


def _back(inner_basis, inner, outer_basis, outer, x, y):
    """(u, v) that a mapping puts at (x, y), by iteration; far outside of the detector it need not hold."""
    u, v = np.zeros_like(x), np.zeros_like(y)
    linear = outer[:, 1:3] @ inner[:, 1:3]
    for _ in range(30):
        focal = inner_basis(u, v) @ inner.T
        rest = np.stack([x, y], -1) - outer_basis(focal[:, 0], focal[:, 1]) @ outer.T
        step = np.linalg.solve(linear, rest.T)
        u, v = np.clip(u + step[0], -2, 2), np.clip(v + step[1], -2, 2)
    return u, v


def _covariances(rng, count, errors, anisotropic):
    long = rng.uniform(*errors, count)
    wide = long * rng.uniform(0.6, 1, count) if anisotropic else long
    angle = rng.uniform(0, np.pi, count)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.einsum("ijn,jn,kjn->nik", turn, np.stack([long**2, wide**2]), turn)


def _priors(rng, place, has, five):
    """Gaia-like references of some stars, and for five parameters wide priors of the others."""
    size = place.shape[1]
    errors = np.array([0.8, 0.8, 0.3, 0.3, 0.5])[:size] * MAS / UNIT
    mix = np.eye(size) + 0.2 * rng.uniform(-1, 1, (len(place), size, size))
    covariance = np.einsum("kij,j,klj->kil", mix, errors**2, mix)
    at = place + np.einsum("kij,kj->ki", np.linalg.cholesky(covariance), rng.normal(size=place.shape))
    full = np.linalg.inv(covariance)
    if five:
        wide = np.diag([0, 0, *(1 / (np.array([60, 60, 30]) * MAS / UNIT) ** 2)])
        full[~has] = wide
        at[~has, 2:] = 0
    else:
        full[~has] = 0
    at[~has, :2] = place[~has, :2]
    rows, columns = np.triu_indices(size)
    return np.ascontiguousarray(full[:, rows, columns]), at
