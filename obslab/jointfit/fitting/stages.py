"""Stages: which parameters are fitted, one after the other, by name.

    mappings  mappings:detectors  mappings:exposures  mappings:images  positions  pm  parallax  refraction
    templates

A stage joins names with "+"; a fit is a list of stages. jointcal's sequence is
["mappings:exposures", "mappings:detectors", "positions", "mappings+positions"].
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from obslab.errors import ObslabError
from obslab.jointfit.mapping.layout import Layout
from obslab.jointfit.mapping.refraction import BoundRefraction, Refraction
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


def check(
    stages: Iterable[frozenset[str]], layout: Layout, terms: Iterable[object], motion: bool, parallax: bool
) -> None:
    """Refuse stages that name what the model has not, or leave out what was asked for by another option."""
    named = frozenset().union(*stages)
    simple = layout.model == "simple"
    absent = {"mappings:detectors", "mappings:exposures"} if simple else {"mappings:images"}
    for name in sorted(named & absent):
        raise StageError(
            f"stage {name!r} does not suit the {layout.model} model, whose mappings are of "
            f"{'images' if simple else 'detectors and exposures'}: name 'mappings'",
            stage=name,
        )
    wanted = {"pm": motion, "parallax": parallax, "refraction": False, "templates": False}
    for term in terms:
        wanted[stage_of(term)] |= not getattr(term, "fixed", False)
    for name, asked in wanted.items():
        if asked and name not in named:
            raise StageError(
                f"{name} is asked for and no stage fits it: add {name!r} to one, such as the last", stage=name
            )


def stage_of(term: object) -> str:
    """The name in a stage that lets a term, bound or not, be fitted."""
    return "refraction" if isinstance(term, BoundRefraction | Refraction) else "templates"


def star_bits(stages: Iterable[frozenset[str]]) -> np.uint8:
    """Bits of what the stages fit of a star, all together."""
    names = frozenset().union(*stages)
    return np.uint8(
        POSITION * ("positions" in names) | MOTION * ("pm" in names) | PARALLAX * ("parallax" in names)
    )


def label(names: frozenset[str], solver: Solver) -> str:
    """What a stage really fits, in the order of NAMES: the default one names everything there could be."""
    p = solver.problem
    moving = int(np.bitwise_or.reduce(p.star_free)) if len(p.star_free) else 0
    kinds = {stage_of(term) for term in p.terms}
    idle = {"pm": not moving & MOTION, "parallax": not moving & PARALLAX}
    idle |= {kind: kind not in kinds for kind in ("refraction", "templates")}
    return "+".join(name for name in NAMES if name in names and not idle.get(name, False))


def apply(
    names: frozenset[str],
    solver: Solver,
    layout: Layout,
    star_free: NDArray[np.uint8],
    gone: NDArray[np.bool_],
) -> None:
    """Let the solver move what the stage names. ``star_free``: what each star may at most; ``gone`` (outer
    mappings): those without data, which stay."""
    p = solver.problem
    simple = layout.model == "simple"
    every = "mappings" in names
    inner = every or "mappings:detectors" in names or ("mappings:images" in names and simple)
    outer = every or "mappings:exposures" in names
    p.inner_free[:] = (inner & ~layout.held_inner)[:, None]
    p.outer_free[:] = (outer & ~layout.held_outer & ~gone)[:, None]
    p.star_free[:] = star_free & star_bits([names])
    free = []
    for term in p.terms:
        free.append(np.asarray(term.free, bool) & (stage_of(term) in names))
    solver.terms.free = np.concatenate([np.zeros(0, bool), *free])
    solver.factor = None
