"""How far a fitted mapping is from the true one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from obslab.jointfit.projection import MAS, to_plane, unit_vectors
from obslab.jointfit.simulate.simulating import Simulated

_POINTS = 8


def score(simulated: Simulated, mapper: Callable[..., Any], *, margin_pixel: float = 64) -> float:
    """Per-axis RMS in mas of ``mapper(exposure, detector, x, y) -> ra, dec`` against the truth.

    On 8 x 8 places of every image, ``margin_pixel`` from the edges and nearer to the middle. The mapper may
    be a fit's ``sky``, where refraction is fitted ``partial(result.sky, color=truth.color_zero)``; it is
    asked for one image at a time.
    """
    truth = simulated.truth
    nodes = np.linspace(margin_pixel, truth.camera.pixels - margin_pixel, _POINTS)
    x, y = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
    squares = []
    images = np.stack([simulated.measured.exposure.values, simulated.measured.detector.values], -1)
    for exposure, detector in images.tolist():
        ra, dec = mapper(exposure, detector, x, y)
        xi, eta = to_plane(truth.pointings.frame[exposure], unit_vectors(ra, dec))
        true_xi, true_eta = truth.plane(exposure, detector, x, y)
        squares.append((xi - true_xi) ** 2 + (eta - true_eta) ** 2)
    return float(np.sqrt(np.mean(squares) / 2) / MAS)
