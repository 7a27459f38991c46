"""``fit``: the whole joint fit, from tables to a FitResult."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.association import Association, associate
from obslab.jointfit.compiling import announce
from obslab.jointfit.fitting import connections
from obslab.jointfit.fitting import motion as moving
from obslab.jointfit.fitting import stages as staging
from obslab.jointfit.fitting.assembling import assemble
from obslab.jointfit.fitting.choices import Choices, FitError
from obslab.jointfit.fitting.color import colors
from obslab.jointfit.fitting.fixed import take_fixed
from obslab.jointfit.fitting.image_plane import held_image
from obslab.jointfit.fitting.leaving import nothing_to_fit, without_troubles
from obslab.jointfit.fitting.run import run
from obslab.jointfit.fitting.tables import in_order
from obslab.jointfit.mapping.layout import Layout, Model, layout
from obslab.jointfit.mapping.refraction import Refraction
from obslab.jointfit.mapping.terms import Term
from obslab.jointfit.result import FitResult
from obslab.jointfit.selection import chosen
from obslab.jointfit.solve.newton import Control, Progress

REFRACTIONS = {"tan z": False, "constant": True}


def fit(
    measured: xr.Dataset,
    reference: xr.Dataset | None,
    exposures: xr.Dataset,
    *,
    model: str | Model = "constrained",
    device_degree: int = 4,
    exposure_degree: int = 2,
    degree: int = 3,
    held: int | None = None,
    fixed: FitResult | None = None,
    stages: Iterable[str] | str | None = None,
    association: Association | None = None,
    select: Any = None,
    match_cut_arcsec: float = 3.0,
    on_trouble: str = "raise",
    motion: Any = "auto",
    parallax: Any = "auto",
    refraction: str | None = None,
    terms: Sequence[Term] = (),
    floor_mas: Any = 0.0,
    reference_error_mas: float | None = None,
    projector: str = "gnomonic",
    gauge_arcsec: float | None = None,
    clip_sigma: float = 5.0,
    tolerance_sigma: float = 0.1,
    most_iterations: int = 25,
    holdout: float = 0.1,
    seed: int = 0,
    shrinkage: bool = True,
    photometry: bool | dict[str, Any] = False,
    turbulence: bool | dict[str, Any] = False,
    progress: Progress | None = None,
) -> FitResult:
    """Mappings of all images and places of all stars that maximise the likelihood of what was measured.

    - ``model``: "constrained" (``device_degree``, ``exposure_degree``; ``held``: the exposure that holds the
      gauge), "simple" (``degree``), or a function like those in ``mapping.layout.MODELS``.
    - ``stages``: what is fitted, in order; see ``fitting.stages``. None: everything at once.
    - ``select``: mask of measurements to use, of those usable at all (finite, positive errors). None: the
      default of ``selection.default_selection``, by signal to noise, flags and isolation.
    - ``association``: one made before; else ``associate`` is called with ``match_cut_arcsec``.
    - ``on_trouble``: "raise" if an exposure or detector is not determined by the data, or cannot be aligned,
      or "exclude" it, by name in ``report["notes"]``.
    - ``motion``, ``parallax``: "auto" (a rule by time span and epochs, see ``fitting.motion``), True, False,
      or a mask over the fitted stars of ``association``.
    - ``refraction``: None, "tan z" (k_b in mas per mag, times tan z) or "constant"; naming it in a stage
      means "tan z".
    - ``floor_mas``: added to the measurements' errors in quadrature, one number or one for each row of
      measured; "fit" finds one, "fit per exposure" and "fit per detector" one for each.
      ``reference_error_mas``: in place of the reference's own errors.
    - ``projector``: "identity" with ``reference=None`` fits transformations between images: planes are pixels
      of the ``held`` exposure's image (the simple model, that image's mapping being the identity).
    - ``holdout``: share of the stars that first stay out, to judge the mappings by; the final ones use all.
    - ``shrinkage``: coefficients of degree 2 and up are drawn to what detectors, and exposures, have in
      common, as far as their scatter allows; see ``fitting.shrinkage``. False: plain least squares.
    - ``fixed``: an earlier result whose detectors' mappings are taken and kept as they are.
    - ``progress``: called after each iteration with an ``Iteration``; if it returns False, CancelledError is
      raised.

    Measured stars are outliers beyond ``clip_sigma``; they may come back. FitError, AlignmentError,
    DegenerateError and others, each one an ObslabError, say what is wrong and what to do.
    """
    announce()
    begin = time.perf_counter()
    _check(on_trouble, refraction, holdout, clip_sigma, tolerance_sigma, most_iterations)
    measured, exposures, select = in_order(measured, reference, exposures, select, association)
    names = staging.parse(stages)
    notes: list[str] = []
    if association is None:
        mask, bad = chosen(measured, select)
        association = associate(
            measured,
            reference,
            exposures,
            selected=mask,
            match_cut_arcsec=match_cut_arcsec,
            on_failure=on_trouble,  # type: ignore[arg-type]
        )
        notes += [f"{count:,} measurements left out: {why}" for why, count in bad.items() if count]
    notes += list(association.reasons)
    if not np.any(association.star >= 0):
        raise nothing_to_fit(association, [])
    associated = time.perf_counter()
    degrees = {"device_degree": device_degree, "exposure_degree": exposure_degree, "degree": degree}
    plan = _layout(measured, exposures, association, model, projector, reference, held, degrees)
    association, found = without_troubles(measured, exposures, association, plan, on_trouble, select)
    notes += [f"left out: {t.sentence}" for t in found]
    if found or association.excluded_exposures:
        held = _still_there(held, measured, association, notes)
        plan = _layout(measured, exposures, association, model, projector, reference, held, degrees)
    term_list = list(terms)
    if refraction is None and stages is not None and any("refraction" in n for n in names):
        refraction = "tan z"
    if refraction is not None:
        term_list.append(Refraction(REFRACTIONS[refraction]))
    staging.check(names, plan, term_list, moving.asked(motion), moving.asked(parallax))
    notes += moving.notes(reference, exposures, motion, parallax)
    fit_floor = isinstance(floor_mas, str)
    choices = Choices(
        motion if any("pm" in n for n in names) else False,
        parallax if any("parallax" in n for n in names) else False,
        refraction,
        tuple(term_list),
        0.0 if fit_floor else floor_mas,
        reference_error_mas,
        projector=projector,
        gauge_arcsec=gauge_arcsec,
    )
    rows = np.flatnonzero(association.star >= 0)
    color = colors(measured, reference, association)[rows] if term_list else None
    assembled = assemble(measured, reference, exposures, association, plan, choices, color=color)
    if fixed is not None:
        take_fixed(fixed, plan, assembled)
    if projector == "identity":
        notes += connections.apart_from(measured, association, held_image(plan))
    control = Control(clip_sigma, tolerance_sigma, most_iterations)
    group = _floor_groups(floor_mas, measured, rows) if fit_floor else None
    ready = time.perf_counter()
    outcome = run(
        assembled,
        plan,
        names,
        control,
        holdout_fraction=holdout,
        seed=seed,
        fit_floor=group,
        shrinkage=shrinkage,
        progress=progress,
    )
    outcome.seconds = {
        "association": associated - begin,
        "assembly": ready - associated,
        **outcome.seconds,
    }
    result = FitResult(
        measured,
        reference,
        exposures,
        association,
        plan,
        assembled,
        outcome,
        choices,
        control,
        names,
        notes + assembled.notes,
    )
    if turbulence:
        from obslab.jointfit.turbulence_stage import add_turbulence

        result = add_turbulence(
            result, progress=progress, **(turbulence if isinstance(turbulence, dict) else {})
        )
    if photometry:
        result = result.with_photometry(**(photometry if isinstance(photometry, dict) else {}))
    return result


def _check(
    on_trouble: str,
    refraction: str | None,
    holdout: float,
    clip_sigma: float,
    tolerance_sigma: float,
    most: int,
) -> None:
    """Options that no data are needed to refuse."""
    if on_trouble not in ("raise", "exclude"):
        raise FitError(f"on_trouble {on_trouble!r} is not known: 'raise' or 'exclude'", on_trouble=on_trouble)
    if refraction is not None and refraction not in REFRACTIONS:
        raise FitError(
            f"refraction {refraction!r} is not known: 'tan z' or 'constant', or None", refraction=refraction
        )
    limits = {"holdout": (holdout, 0.0, 0.9), "clip_sigma": (clip_sigma, 0.0, np.inf)}
    limits |= {"tolerance_sigma": (tolerance_sigma, 1e-9, np.inf), "most_iterations": (most, 1, np.inf)}
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise FitError(f"{name} is {value}, wanted {low:g} to {high:g}", option=name, value=value)


def _layout(
    measured: xr.Dataset,
    exposures: xr.Dataset,
    association: Association,
    model: str | Model,
    projector: str,
    reference: xr.Dataset | None,
    held: int | None,
    degrees: dict[str, int],
) -> Layout:
    if projector not in ("gnomonic", "identity"):
        raise FitError(f"projector {projector!r} is not known: 'gnomonic' or 'identity'", projector=projector)
    used = measured.image.values[association.star >= 0]
    exposure = np.searchsorted(exposures.exposure.values, measured.exposure.values)
    weight = np.bincount(exposure[used], minlength=exposures.sizes["exposure"])
    if projector == "identity":
        if reference is not None:
            raise FitError(
                "a fit between images has no reference: pass reference=None with projector='identity'"
            )
        plan = layout("simple", measured, exposures, weight, **degrees)
        per_image = np.bincount(used, minlength=measured.sizes["image"])
        which = int(np.argmax(per_image))
        if held is not None:
            mine = np.flatnonzero(measured.exposure.values == held)
            if not len(mine):
                raise FitError(f"exposure {held} cannot be held: there is none of that number", exposure=held)
            which = int(mine[np.argmax(per_image[mine])])
        plan.held_inner[which] = True
        return plan
    return layout(model, measured, exposures, weight, held=held, **degrees)


def _still_there(
    held: int | None, measured: xr.Dataset, association: Association, notes: list[str]
) -> int | None:
    """The exposure that is to hold the gauge, unless it was left out itself."""
    used = measured.exposure.values[measured.image.values[association.star >= 0]]
    if held is None or held in used:
        return held
    notes.append(
        f"exposure {held}, which was to hold the gauge, is left out: the one with most measurements holds it"
    )
    return None


def _floor_groups(floor: str, measured: xr.Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    image = measured.image.values[rows]
    kinds = {
        "fit": np.zeros(measured.sizes["image"]),
        "fit per exposure": measured.exposure.values,
        "fit per detector": measured.detector.values,
    }
    if floor not in kinds:
        raise FitError(f"floor_mas {floor!r} is not known: a number in mas, or {', '.join(map(repr, kinds))}")
    return np.asarray(np.unique(kinds[floor], return_inverse=True)[1][image])
