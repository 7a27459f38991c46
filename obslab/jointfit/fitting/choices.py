"""What a user chose about stars, errors and terms, and the error for what a fit cannot be made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from obslab.errors import ObslabError
from obslab.jointfit.fitting.motion import FLOOR_MAS
from obslab.jointfit.mapping.terms import Term


class FitError(ObslabError, ValueError):
    """Data or options that a joint fit cannot be made of."""


@dataclass(frozen=True)
class Choices:
    """What the user chose about stars, errors and terms; ``fit`` documents each."""

    motion: Any = "auto"
    parallax: Any = "auto"
    refraction: str | None = None
    terms: tuple[Term, ...] = ()
    floor_mas: Any = 0.0
    reference_error_mas: float | None = None
    reference_floor_mas: float = FLOOR_MAS
    projector: str = "gnomonic"
    gauge_arcsec: float | None = None
