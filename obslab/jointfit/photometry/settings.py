"""What is to be fitted, and how; checked before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from obslab.errors import ObslabError

Model = Literal["magnitude", "flux"]
ZeroPoint = Literal["exposure", "image"]
ColorTerms = Literal["band", "detector"] | None
Progress = Callable[[dict[str, Any]], object]


class PhotometryError(ObslabError, ValueError):
    """A photometric fit that cannot be made as asked; the message says what is wrong and what to ask for."""


@dataclass(frozen=True)
class Settings:
    """The arguments of ``fit_photometry`` that describe the model and the solver."""

    model: Model = "magnitude"
    zero_point: ZeroPoint = "exposure"
    detectors: bool = True
    illumination_degree: int = 2
    color_terms: ColorTerms = None
    terms_per_band: bool = True
    bands: Sequence[str] | Literal["all"] | None = None
    reference_use: bool = True
    reference_band: str | None = None
    reference_error_mag: float = 0.01
    clip: float = 5.0
    floor_mag: float | None = None
    holdout: float = 0.1
    minimum_stars: int = 5
    maximum_iterations: int = 20

    def __post_init__(self) -> None:
        _one_of("model", self.model, ("magnitude", "flux"))
        _one_of("zero_point", self.zero_point, ("exposure", "image"))
        _one_of("color_terms", self.color_terms, (None, "band", "detector"))
        _within("illumination_degree", self.illumination_degree, 0, 7)
        _within("reference_error_mag", self.reference_error_mag, 1e-4, 1)
        _within("clip", self.clip, 2, float("inf"))
        _within("floor_mag", 0.0 if self.floor_mag is None else self.floor_mag, 0, 1)
        _within("holdout", self.holdout, 0, 0.5)
        _within("minimum_stars", self.minimum_stars, 1, float("inf"))
        _within("maximum_iterations", self.maximum_iterations, 1, float("inf"))


def _one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        wanted = ", ".join(map(repr, known))
        raise PhotometryError(f"{name} is {value!r}, wanted one of {wanted}", setting=name, value=value)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise PhotometryError(f"{name} is {value!r}, wanted {low:g} to {high:g}", setting=name, value=value)
