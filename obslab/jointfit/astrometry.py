"""``fit``: the whole joint fit, from tables to a FitResult."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from obslab.jointfit.association import Association, associate
from obslab.jointfit.compiling import announce
from obslab.jointfit.datasets import EXPOSURES, MEASURED, REFERENCE
from obslab.jointfit.fitting import connections
from obslab.jointfit.fitting import stages as staging
from obslab.jointfit.fitting.color import colors
from obslab.jointfit.fitting.assembling import Choices, FitError, assemble
from obslab.jointfit.fitting.run import run
from obslab.jointfit.mapping.layout import Layout, Model, layout
from obslab.jointfit.mapping.refraction import Refraction
from obslab.jointfit.mapping.terms import Term
from obslab.jointfit.result import FitResult
from obslab.jointfit.selection import chosen
from obslab.jointfit.solve.newton import Control, Progress

log = logging.getLogger(__name__)

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
    photometry: bool | dict[str, Any] = False,
    turbulence: bool | dict[str, Any] = False,
    progress: Progress | None = None,
) -> FitResult:
    """Mappings of all images and places of all stars that maximise the likelihood of what was measured.

    - ``model``: "constrained" (``device_degree``, ``exposure_degree``; ``held``: the exposure that holds the gauge),
      "simple" (``degree``), or a function like those in ``mapping.layout.MODELS``.
    - ``stages``: what is fitted, in order; see ``fitting.stages``. None: everything at once.
    - ``select``: mask of measurements to use, of those usable at all (finite, positive errors). None: the default of
      ``selection.default_selection``, by signal to noise, flags and isolation.
    - ``association``: one made before; else ``associate`` is called with ``match_cut_arcsec``.
    - ``on_trouble``: "raise" if an exposure or detector is not determined by the data, or cannot be aligned, or
      "exclude" it, by name in ``report["notes"]``.
    - ``motion``, ``parallax``: "auto" (a rule by time span and epochs, see ``fitting.motion``), True, False, or a mask
      over the fitted stars of ``association``.
    - ``refraction``: None, "tan z" (k_b in mas per mag, times tan z) or "constant"; naming it in a stage means "tan z".
    - ``floor_mas``: added to the measurements' errors in quadrature; "fit" finds one, "fit per exposure" and "fit per
      detector" one for each. ``reference_error_mas``: in place of the reference's own errors.
    - ``projector``: "identity" with ``reference=None`` fits transformations between images: planes are pixels of the
      ``held`` exposure's image (the simple model, that image's mapping being the identity).
    - ``holdout``: share of the stars that first stay out, to judge the mappings by; the final ones use all.
    - ``fixed``: an earlier result whose detectors' mappings are taken and kept as they are.
    - ``progress``: called after each iteration with an ``Iteration``; if it returns False, CancelledError is raised.

    Measured stars are outliers beyond ``clip_sigma``; they may come back. FitError, AlignmentError, DegenerateError and
    others, each one an ObslabError, say what is wrong and what to do.
    """
    announce()
    begin = time.perf_counter()
    MEASURED.check(measured)
    EXPOSURES.check(exposures)
    if reference is not None:
        REFERENCE.check(reference)
    _known_exposures(measured, exposures)
    if np.any(np.diff(measured.image.values) < 0):
        # The kernels go along images.
        order = np.argsort(measured.image.values, kind="stable")
        if association is not None:
            raise FitError("measured is not ordered by image, and the association is; pass them as `load` gives them")
        measured = measured.isel(measured=order)
        select = None if select is None else np.asarray(select, bool)[order]
    names = staging.parse(stages)
    notes: list[str] = []
    if association is None:
        mask, bad = chosen(measured, select)
        association = associate(
            measured, reference, exposures, selected=mask, match_cut_arcsec=match_cut_arcsec, on_failure=on_trouble  # type: ignore[arg-type]
        )  # fmt: skip
        notes += [f"{count:,} measurements left out: {why}" for why, count in bad.items() if count]
    notes += list(association.reasons)
    associated = time.perf_counter()
    plan = _layout(measured, exposures, association, model, projector, reference, held, device_degree, exposure_degree, degree)
    association, found = _without_troubles(measured, exposures, association, plan, on_trouble)
    notes += [f"left out: {t.sentence}" for t in found]
    term_list = list(terms)
    if refraction is None and any("refraction" in n for n in names) and stages is not None:
        refraction = "tan z"
    if refraction is not None:
        if refraction not in REFRACTIONS:
            raise FitError(f"refraction {refraction!r} is not known: 'tan z' or 'constant', or None", refraction=refraction)
        term_list.append(Refraction(REFRACTIONS[refraction]))
    fit_floor = isinstance(floor_mas, str)
    choices = Choices(
        motion if any("pm" in n for n in names) else False,
        parallax if any("parallax" in n for n in names) else False, refraction, tuple(term_list), 0.0 if fit_floor else floor_mas, reference_error_mas,
        projector=projector, gauge_arcsec=gauge_arcsec,
    )  # fmt: skip
    rows = np.flatnonzero(association.star >= 0)
    color = colors(measured, reference, association)[rows] if term_list else None
    assembled = assemble(measured, reference, exposures, association, plan, choices, color=color)
    if fixed is not None:
        _take_fixed(fixed, plan, assembled)
    control = Control(clip_sigma, tolerance_sigma, most_iterations)
    group = _floor_groups(floor_mas, measured, rows) if fit_floor else None
    ready = time.perf_counter()
    outcome = run(
        assembled, plan, names, control, holdout_fraction=holdout, seed=seed, fit_floor=group, progress=progress
    )
    outcome.seconds = {
        "association": associated - begin, "assembly": ready - associated, **outcome.seconds,
    }  # fmt: skip
    result = FitResult(
        measured, reference, exposures, association, plan, assembled, outcome, choices, control, names,
        notes + assembled.notes,
    )  # fmt: skip
    if turbulence:
        from obslab.jointfit.fitting.turbulent import add_turbulence

        result = add_turbulence(result, progress=progress, **(turbulence if isinstance(turbulence, dict) else {}))
    if photometry:
        result = result.with_photometry(**(photometry if isinstance(photometry, dict) else {}))
    return result


def _known_exposures(measured: xr.Dataset, exposures: xr.Dataset) -> None:
    missing = sorted(set(measured.exposure.values.tolist()) - set(exposures.exposure.values.tolist()))
    if missing:
        raise FitError(
            f"images are of exposures {missing[:5]} that the exposure table does not have; add their rows",
            exposures=tuple(missing),
        )


def _layout(
    measured: xr.Dataset, exposures: xr.Dataset, association: Association, model: str | Model, projector: str,
    reference: xr.Dataset | None, held: int | None, device_degree: int, exposure_degree: int, degree: int,
) -> Layout:  # fmt: skip
    if projector not in ("gnomonic", "identity"):
        raise FitError(f"projector {projector!r} is not known: 'gnomonic' or 'identity'", projector=projector)
    used = measured.image.values[association.star >= 0]
    exposure = np.searchsorted(exposures.exposure.values, measured.exposure.values)
    weight = np.bincount(exposure[used], minlength=exposures.sizes["exposure"])
    if projector == "identity":
        if reference is not None:
            raise FitError("a fit between images has no reference: pass reference=None with projector='identity'")
        plan = layout("simple", measured, exposures, weight, degree=degree)
        per_image = np.bincount(used, minlength=measured.sizes["image"])
        which = int(np.argmax(per_image))
        if held is not None:
            mine = np.flatnonzero(measured.exposure.values == held)
            if not len(mine):
                raise FitError(f"exposure {held} cannot be held: there is none of that number", exposure=held)
            which = int(mine[np.argmax(per_image[mine])])
        plan.held_inner[which] = True
        return plan
    return layout(
        model, measured, exposures, weight, device_degree=device_degree, exposure_degree=exposure_degree, degree=degree,
        held=held,
    )  # fmt: skip


def _without_troubles(
    measured: xr.Dataset, exposures: xr.Dataset, association: Association, plan: Layout, on_trouble: str
) -> tuple[Association, list[connections.Trouble]]:
    """Refuse, or leave out, what the data do not determine."""
    exposure = np.searchsorted(exposures.exposure.values, measured.exposure.values).astype(np.int32)
    every: list[connections.Trouble] = []
    for _ in range(4):  # what leaves may leave others alone
        rows = np.flatnonzero(association.star >= 0)
        if not len(rows):
            raise FitError("no star was measured twice: nothing to fit", counts=association.counts)
        image = measured.image.values[rows]
        found = connections.troubles(
            plan, exposure, exposures.exposure.values, image, association.star[rows], association, ()
        )
        gone = set(association.excluded_exposures)
        numbers = measured.exposure.values
        known = {t.name for t in every}
        found = [t for t in found if t.name not in known and not all(numbers[i] in gone for i in t.images)]
        if not found:
            break
        if on_trouble == "raise":
            connections.refuse(found)
        every += found
        out = np.isin(measured.image.values, [i for t in found for i in t.images])
        association = _without(association, out)
    for trouble in every:
        log.warning("left out of the fit: %s", trouble.sentence)
    return association, every


def _without(association: Association, out: NDArray[np.bool_]) -> Association:
    """The association less some rows; stars measured once, and without a reference, go with them."""
    star = association.star.copy()
    star[out & (star >= 0)] = -4
    left = np.bincount(star[star >= 0], minlength=len(association.reference))
    keep = (left >= 2) | ((left == 1) & (association.reference >= 0))
    number = np.where(keep, np.cumsum(keep) - 1, -3).astype(np.int32)
    star = np.where(star >= 0, number[np.maximum(star, 0)], star).astype(np.int32)
    members = association.members[star[association.members] >= 0]
    count = np.bincount(star[star >= 0], minlength=int(keep.sum()))
    return replace(
        association, star=star, reference=association.reference[keep], position=association.position[keep],
        first=np.concatenate([[0], np.cumsum(count)]).astype(np.int64), members=members,
        counts={**association.counts, "excluded later": int(out.sum())},
    )  # fmt: skip


def _floor_groups(floor: str, measured: xr.Dataset, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    image = measured.image.values[rows]
    kinds = {"fit": np.zeros(measured.sizes["image"]), "fit per exposure": measured.exposure.values,
             "fit per detector": measured.detector.values}  # fmt: skip
    if floor not in kinds:
        raise FitError(f"floor_mas {floor!r} is not known: a number in mas, or {', '.join(map(repr, kinds))}")
    return np.asarray(np.unique(kinds[floor], return_inverse=True)[1][image])


def _take_fixed(fixed: FitResult, plan: Layout, assembled: Any) -> None:
    """Inner mappings of an earlier result, by their names, in this fit's units, held."""
    ratio = fixed.assembled.problem.unit / assembled.problem.unit
    theirs = {name: n for n, name in enumerate(fixed.layout.inner_names)}
    missing = [name for name in plan.inner_names if name not in theirs]
    if missing or fixed.layout.inner_degree != plan.inner_degree:
        raise FitError(
            f"the fixed mappings are of degree {fixed.layout.inner_degree} and lack {missing[:3] or 'none'}; this fit "
            f"needs degree {plan.inner_degree} for {len(plan.inner_names)} mappings"
        )
    for n, name in enumerate(plan.inner_names):
        assembled.state.inner[n] = fixed.outcome.solver.state.inner[theirs[name]] * ratio
    plan.held_inner[:] = True
    plan.held_outer[:] = False
    assembled.problem.inner_free[:] = False
    assembled.problem.outer_free[:] = True
