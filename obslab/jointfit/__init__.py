"""Simultaneous astrometry and relative photometry of many images of one field.

    datasets, polynomial, projection, pool -> headers, catalogue -> selection -> association -> mapping
      -> solve -> fitting -> solution -> wcs, ntuple, photometry, turbulence
      -> output, residuals, report, transforms -> result
      -> turbulence_stage -> astrometry (fit) -> many ; simulate

    measured, reference, exposures = jointfit.load("dataset")
    result = jointfit.fit(measured, reference, exposures)
    result.sky(exposure=3, detector=7, x=1024.5, y=17.0)

What is measured is M_exposure(M_detector(x)); what is expected is the projected place of a star. Mappings and
stars that make the sum of squares smallest are found together, stars being eliminated one by one (``solve``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from obslab.jointfit.association import AlignmentError, Association
    from obslab.jointfit.association.associate import associate
    from obslab.jointfit.astrometry import fit
    from obslab.jointfit.catalogue import Loaded, load, save, subset
    from obslab.jointfit.catalogue.importing import import_catalogues
    from obslab.jointfit.fitting.connections import DegenerateError
    from obslab.jointfit.many import fit_many
    from obslab.jointfit.mapping.refraction import Refraction
    from obslab.jointfit.mapping.templates import Template
    from obslab.jointfit.output import write
    from obslab.jointfit.photometry import fit_photometry
    from obslab.jointfit.result import FitResult
    from obslab.jointfit.selection import default_selection
    from obslab.jointfit.solve.newton import CancelledError, Iteration
    from obslab.jointfit.transforms import Transform, read_transform

# Loaded when asked for: numba takes half a second, and not everything here needs it.
_PLACES = {
    "AlignmentError": "association", "Association": "association", "associate": "association",
    "fit": "astrometry",
    "Loaded": "catalogue", "load": "catalogue", "save": "catalogue", "subset": "catalogue",
    "import_catalogues": "catalogue.importing", "DegenerateError": "fitting.connections", "fit_many": "many",
    "Refraction": "mapping.refraction", "Template": "mapping.templates", "write": "output",
    "fit_photometry": "photometry", "FitResult": "result", "default_selection": "selection",
    "CancelledError": "solve.newton", "Iteration": "solve.newton", "Transform": "transforms",
    "read_transform": "transforms",
}  # fmt: skip

__all__ = [
    "AlignmentError",
    "Association",
    "CancelledError",
    "DegenerateError",
    "FitResult",
    "Iteration",
    "Loaded",
    "Refraction",
    "Template",
    "Transform",
    "associate",
    "default_selection",
    "fit",
    "fit_many",
    "fit_photometry",
    "import_catalogues",
    "load",
    "read_transform",
    "save",
    "subset",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"obslab.jointfit.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'obslab.jointfit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
