"""Stages: which parameters are fitted, one after the other, by name.

    mappings  mappings:detectors  mappings:exposures  mappings:images  positions  pm  parallax  refraction  templates

A stage joins names with "+"; a fit is a list of stages. jointcal's sequence is
["mappings:exposures", "mappings:detectors", "positions", "mappings+positions"].
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from obslab.errors import ObslabError
from obslab.jointfit.mapping.layout import Layout
from obslab.jointfit.mapping.refraction import BoundRefraction
from obslab.jointfit.solve.problem import MOTION, PARALLAX, POSITION
from obslab.jointfit.solve.solver import Solver

NAMES = (
    "mappings", "mappings:detectors", "mappings:exposures", "mappings:images", "positions", "pm", "parallax",
    "refraction", "templates",
)  # fmt: skip
DEFAULT = ("mappings+positions+pm+parallax+refraction+templates",)
"""Everything there is, at once."""
JOINTCAL = ("mappings:exposures", "mappings:detectors", "positions", "mappings+positions")


class StageError(ObslabError, ValueError):
    """A stage that names what does not exist."""


def parse(stages: Iterable[str] | str | None) -> tuple[frozenset[str], ...]:
    """The names of each stage; None: one stage with everything."""
    if stages is None:
        stages = DEFAULT
    if isinstance(stages, str):
        stages = [stages]
    parsed = []
    for stage in stages:
        names = frozenset(part.strip() for part in stage.replace(",", "+").split("+") if part.strip())
        unknown = sorted(names - set(NAMES))
        if unknown or not names:
            raise StageError(
                f"stage {stage!r} names {', '.join(unknown) or 'nothing'}; a stage joins with '+' some of "
                f"{', '.join(NAMES)}",
                stage=stage,
            )
        parsed.append(names)
    if not parsed:
        raise StageError("there are no stages; leave them out to fit everything at once")
    return tuple(parsed)


def apply(names: frozenset[str], solver: Solver, layout: Layout, star_free: np.ndarray, gone: np.ndarray) -> None:  # type: ignore[type-arg]
    """Let the solver move what the stage names. ``star_free``: what each star may at most; ``gone`` (outer mappings):
    those without data, which stay."""
    p = solver.problem
    simple = layout.model == "simple"
    every = "mappings" in names
    inner = every or "mappings:detectors" in names or ("mappings:images" in names and simple)
    outer = every or "mappings:exposures" in names
    p.inner_free[:] = (inner & ~layout.held_inner)[:, None]
    p.outer_free[:] = (outer & ~layout.held_outer & ~gone)[:, None]
    mask = POSITION * ("positions" in names) | MOTION * ("pm" in names) | PARALLAX * ("parallax" in names)
    p.star_free[:] = star_free & np.uint8(mask)
    free = []
    for term in p.terms:
        wanted = ("refraction" if isinstance(term, BoundRefraction) else "templates") in names
        free.append(np.asarray(term.free, bool) & wanted)
    solver.terms.free = np.concatenate([np.zeros(0, bool), *free])
    solver.factor = None
