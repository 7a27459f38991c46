"""Layout: which polynomials the mapping of each image is made of, and which of them hold the gauge.

The mapping of an image is outer(inner(u, v)). A model is a small function from the image table to a Layout,
and ``MODELS`` names the ones there are:

- simple: an inner polynomial for each image, the outer one the identity;
- constrained: an inner one for each detector, an outer one for each exposure. What the one gains the other
  can lose, so one exposure is held: 10 exposures of 36 detectors are 360 mappings with the first model, 46
  with this. Each instrument epoch has detectors, and a held exposure, of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.errors import ObslabError


class ModelError(ObslabError, ValueError):
    """A model that does not exist, or does not suit these images."""


@dataclass(frozen=True)
class Layout:
    """B images; ``inner`` and ``outer`` (B,) number the polynomials they use.

    ``held_outer``: outer mappings that stay as they are, the gauge; ``held_inner`` likewise (fixed maps).
    """

    model: str
    inner_degree: int
    outer_degree: int
    inner: NDArray[np.int32]
    outer: NDArray[np.int32]
    inner_names: tuple[str, ...]
    outer_names: tuple[str, ...]
    held_inner: NDArray[np.bool_]
    held_outer: NDArray[np.bool_]
    exposure_of_outer: NDArray[np.int32]  # exposure of each outer mapping; -1: of all

    @property
    def mappings(self) -> int:
        """Mappings in all, as the note counts them: 360 or 46."""
        return len(self.inner_names) + (len(self.outer_names) if self.model != "simple" else 0)

    def sentence(self) -> str:
        """What there is, in words for a report."""
        if self.model == "simple":
            return f"{self.mappings} mappings: one polynomial of degree {self.inner_degree} for each image"
        held = ", ".join(np.array(self.outer_names)[self.held_outer])
        return (
            f"{self.mappings} mappings: {len(self.inner_names)} of degree {self.inner_degree} for detectors, "
            f"{len(self.outer_names)} of degree {self.outer_degree} for exposures, of which {held} is held"
        )


Model = Callable[..., Layout]


def simple(images: xr.Dataset, exposures: xr.Dataset, weight: Any, *, degree: int = 3, **_: Any) -> Layout:
    """One polynomial for each image, straight to the tangent plane (jointcal: SimplePolyModel)."""
    count = images.sizes["image"]
    return Layout(
        "simple", degree, 1, np.arange(count, dtype=np.int32), np.zeros(count, np.int32),
        tuple(images.name.values.tolist()), ("identity",), np.zeros(count, bool), np.ones(1, bool),
        np.full(1, -1, np.int32),
    )  # fmt: skip


def constrained(
    images: xr.Dataset,
    exposures: xr.Dataset,
    weight: Any,
    *,
    device_degree: int = 4,
    exposure_degree: int = 2,
    held: int | None = None,
    **_: Any,
) -> Layout:
    """One polynomial for each detector of an instrument epoch, composed with one for each exposure.

    ``weight``: measurements of each exposure; the best-measured one of each instrument epoch is held, or the
    one numbered ``held``. jointcal's ConstrainedPolyModel has degrees 1 and 5; warped detectors want 4 and 2.
    """
    numbers = exposures.exposure.values
    outer = np.searchsorted(numbers, images.exposure.values).astype(np.int32)
    instrument = exposures.instrument.values.astype(str)[outer]
    several = len(set(exposures.instrument.values.astype(str))) > 1
    labels = [
        f"{i}/detector {d}" if several else f"detector {d}"
        for i, d in zip(instrument, images.detector.values, strict=True)
    ]
    ordered = sorted(set(labels), key=lambda label: labels.index(label))
    inner = np.array([ordered.index(label) for label in labels], np.int32)
    holds = np.zeros(len(numbers), bool)
    for epoch in dict.fromkeys(exposures.instrument.values.astype(str).tolist()):
        mine = np.flatnonzero(exposures.instrument.values.astype(str) == epoch)
        best = mine[np.argmax(np.asarray(weight)[mine])]
        if held is not None and held in numbers[mine]:
            best = int(np.searchsorted(numbers, held))
        holds[best] = True
    if held is not None and held not in numbers:
        raise ModelError(f"exposure {held} cannot be held: there is none of that number", exposure=held)
    return Layout(
        "constrained", device_degree, exposure_degree, inner, outer, tuple(ordered),
        tuple(f"exposure {n}" for n in numbers), np.zeros(len(ordered), bool), holds,
        np.arange(len(numbers), dtype=np.int32),
    )  # fmt: skip


MODELS: dict[str, Model] = {"simple": simple, "constrained": constrained}


def layout(
    model: str | Model, images: xr.Dataset, exposures: xr.Dataset, weight: Any, **options: Any
) -> Layout:
    """The Layout of a named model, or of a function like those in MODELS."""
    if callable(model):
        return model(images, exposures, weight, **options)
    if model not in MODELS:
        raise ModelError(f"there is no model {model!r}: {', '.join(MODELS)} are there", model=model)
    return MODELS[model](images, exposures, weight, **options)
