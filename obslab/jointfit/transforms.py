"""Transforms between images: pixels of one to pixels of another, as polynomials that a file can hold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.fitting.choices import FitError
from obslab.jointfit.polynomial import basis, chebyshev_grid
from obslab.jointfit.projection import apply, homography
from obslab.whole import unfinished

if TYPE_CHECKING:
    from obslab.jointfit.result import FitResult

Floats = NDArray[np.float64]
GRID = 14
DEGREE = 5
ROUNDS = 30
SETTLED = 1e-11
"""Of (u, v): a hundred-millionth of a pixel."""


class TransformError(ObslabError, ValueError):
    """A file that holds no transform."""


@dataclass(frozen=True)
class Transform:
    """Pixels of image ``source`` to pixels of image ``target``, FITS pixels both.

    x' = sum of x_coefficients[n] u^i v^j over (i, j) in ``powers``, with u = (x - mid[0]) / half[0] and
    v = (y - mid[1]) / half[1]; y' likewise. ``error_pixel`` is the largest difference from the fitted
    mappings over the source image.
    """

    source: str
    target: str
    mid: tuple[float, float]
    half: tuple[float, float]
    powers: tuple[tuple[int, int], ...]
    x_coefficients: tuple[float, ...]
    y_coefficients: tuple[float, ...]
    error_pixel: float

    def __call__(self, x: Any, y: Any) -> tuple[Floats, Floats]:
        u = (np.asarray(x, np.float64) - self.mid[0]) / self.half[0]
        v = (np.asarray(y, np.float64) - self.mid[1]) / self.half[1]
        monomials = np.stack([u**i * v**j for i, j in self.powers], -1)
        return monomials @ np.array(self.x_coefficients), monomials @ np.array(self.y_coefficients)

    def to_json(self) -> str:
        return json.dumps({"convention": "FITS pixels, the first is 1", **asdict(self)}, indent=1)

    def write(self, path: Path | str) -> None:
        with unfinished(path, durable=False, folders=True) as part:
            part.write_text(self.to_json() + "\n", encoding="utf-8")


def read_transform(path: Path | str) -> Transform:
    """A Transform that ``write`` wrote."""
    try:
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        facts.pop("convention", None)
        pairs = {key: tuple(value) for key, value in facts.items() if isinstance(value, list)}
        pairs["powers"] = tuple((int(i), int(j)) for i, j in facts["powers"])
        return Transform(**{**facts, **pairs})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise TransformError(
            f"{path} holds no transform: {error}; wanted what Transform.write writes"
        ) from error


def between(result: FitResult, source: int, target: int, degree: int = DEGREE) -> Transform:
    """The transform between two images, by their positions along dimension image."""
    m = result.measured
    u, v = chebyshev_grid(GRID)
    x, y = pixels(result, source, target, u, v)
    values = basis(degree)(u, v)
    coefficients = np.linalg.lstsq(values, np.stack([x, y], -1), rcond=None)[0]
    # Off the nodes, where it was not fitted.
    side = np.linspace(-1, 1, 21)
    check_u, check_v = (z.ravel() for z in np.meshgrid(side, side))
    exact = np.stack(pixels(result, source, target, check_u, check_v), -1)
    error = float(np.abs(basis(degree)(check_u, check_v) @ coefficients - exact).max())
    mid, half = m.mid.values[source].tolist(), m.half.values[source].tolist()
    return Transform(
        str(m.name.values[source]), str(m.name.values[target]), (mid[0], mid[1]), (half[0], half[1]),
        basis(degree).powers, tuple(coefficients[:, 0].tolist()), tuple(coefficients[:, 1].tolist()), error,
    )  # fmt: skip


def pixels(result: FitResult, source: int, target: int, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Where normalised positions of ``source`` fall on ``target``, in its pixels, by the fitted mappings."""
    place = result.plane([source], u, v)[0]
    exposure = result.assembled.problem.exposure
    if result.choices.projector != "identity" and exposure[source] != exposure[target]:
        frames = result.assembled.frames
        place = np.stack(apply(homography(frames[exposure[target]], frames[exposure[source]]), *place.T), -1)
    mid, half = result.measured.mid.values[target], result.measured.half.values[target]
    back = invert(result, target, place)
    return back[:, 0] * half[0] + mid[0], back[:, 1] * half[1] + mid[1]


def invert(result: FitResult, image: int, place: Floats) -> Floats:
    """(n, 2): the (u, v) that an image's mapping puts at ``place`` (n, 2), by Newton's method."""
    p, s = result.assembled.problem, result.outcome.solver.state
    inner, outer = s.inner[p.inner[image]], s.outer[p.outer[image]]
    by_u, by_v = p.inner_basis.derivatives(inner)
    by_x, by_y = p.outer_basis.derivatives(outer)
    at = np.zeros((len(place), 2))
    for _ in range(ROUNDS):
        away = result.plane([image], at[:, 0], at[:, 1])[0] / p.unit - place / p.unit
        phi = p.inner_basis(at[:, 0], at[:, 1])
        focal = phi @ inner.T
        psi = p.outer_basis(focal[:, 0], focal[:, 1])
        outer_jacobian = np.stack([psi @ by_x.T, psi @ by_y.T], -1)
        inner_jacobian = np.stack([phi @ by_u.T, phi @ by_v.T], -1)
        step = np.linalg.solve(outer_jacobian @ inner_jacobian, away[:, :, None])[:, :, 0]
        at -= np.clip(step, -1, 1)
        if np.abs(step).max(initial=0) < SETTLED:
            return at
    raise FitError(
        f"image {result.measured['name'].values[image]} cannot be reached: its mapping has no inverse there, "
        f"{np.abs(at).max():.1f} half sizes from its middle; do the two images overlap?"
    )
