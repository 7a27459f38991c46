"""KINDS: an example of every term there is.

One test goes through it and compares each one's derivatives with finite differences, alone and through the
solver. A new term is in that test once it is listed here.
"""

from __future__ import annotations

from collections.abc import Callable

from obslab.jointfit.mapping.refraction import Refraction
from obslab.jointfit.mapping.templates import Template
from obslab.jointfit.mapping.terms import Term

KINDS: dict[str, Callable[[], Term]] = {
    "refraction": Refraction,
    "refraction, constant": lambda: Refraction(constant=True),
    "template along x": lambda: Template("edge", "x", (0.0, 100.0, 1900.0, 2001.0), (0.3, 0.0, 0.0, -0.3)),
    "template along y": lambda: Template("rows", "y", (0.0, 1000.0, 2001.0), (0.0, 0.2, 0.0), detectors=(1,)),
    "template of rings": lambda: Template(
        "rings", "r", (0.0, 500.0, 1000.0, 3000.0), (0.0, 0.1, -0.1, 0.0), centre=(-150.0, -80.0)
    ),
    "template with a strength for each detector": lambda: Template(
        "warp", "x", (0.0, 1000.0, 2001.0), (0.1, -0.1, 0.1), each=True
    ),
    "fixed template": lambda: Template("known", "y", (0.0, 2001.0), (-0.2, 0.2), fixed=True),
}
