"""What a fit reports: the contents of fit.json, and a few lines for a person."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Any

import numpy as np

from obslab.jointfit.fitting.stages import stage_of
from obslab.jointfit.projection import MAS

if TYPE_CHECKING:
    from obslab.jointfit.fitting.run import Outcome
    from obslab.jointfit.result import FitResult


def report(result: FitResult) -> dict[str, Any]:
    """Everything that fit.json says; plain numbers, strings and lists."""
    solver, outcome, layout = result.outcome.solver, result.outcome, result.layout
    p = solver.problem
    chi2, dof = solver.chi2, outcome.degrees_of_freedom
    weight = p.weight[0] > 0
    active = solver.active[0] > 0
    extra = {
        name: {"mas_per_mag": round(value, 4)}
        if stage_of(term) == "refraction"
        else {"strength": round(value, 6)}
        for term, part in zip(solver.terms.terms, solver.terms.parts, strict=True)
        for name, value in zip(term.names, solver.state.extra[part].tolist(), strict=True)
    }
    identity = result.choices.projector == "identity"
    scale = p.unit if identity else p.unit / MAS
    bright = active & (p.weight[0] >= np.median(p.weight[0][active])) if active.any() else active
    said: dict[str, Any] = {
        "model": layout.model,
        "mappings": layout.mappings,
        "mappings_are": layout.sentence(),
        "stages": ["+".join(sorted(stage)) for stage in result.stages],
        "chi2": round(chi2, 2),
        "degrees_of_freedom": dof,
        "chi2_per_degree": round(chi2 / dof, 5) if dof > 0 else None,
        "iterations": len(outcome.iterations),
        "history": [i.asdict() for i in outcome.iterations],
        "exact_steps": solver.exact_steps,
        "measurements": int(weight.sum()),
        "rejected": int((weight & ~active).sum()),
        "stars": len(solver.state.stars),
        "references": int((p.reference_on == 1)[result.association.reference >= 0].sum()),
        "references_rejected": int((p.reference_on == 2)[result.association.reference >= 0].sum()),
        "parameters": int(outcome.fitted.sum()),
        "converged": not outcome.unsettled,
        "unit": "pixel" if identity else "mas",
        "rms_bright": round(float(np.sqrt(np.mean(solver.residual[:, bright] ** 2)) * scale), 4)
        if bright.any()
        else None,
        "held_out": outcome.held_out,
        "association": {**result.association.counts, "radius_arcsec": result.association.radius_arcsec},
        "floor_mas": None if outcome.floor_mas is None else [round(float(f), 4) for f in outcome.floor_mas],
        "shrinkage_mas": outcome.shrunk,
        "terms": extra,
        "epoch": round(result.assembled.epoch_yr, 6),
        "seconds": {
            k: round(v, 4) for k, v in {**outcome.seconds, **result.extra.get("seconds", {})}.items()
        },
        "peak_mb": peak_mb(),
        "notes": [*result.notes, *_unsettled(outcome)],
    }
    if result.photometry is not None:
        said["photometry"] = result.photometry.report
    if result.turbulence is not None:
        said["turbulence"] = result.turbulence.report
    return said


def summary(result: FitResult) -> str:
    """A few lines."""
    r = result.report
    ratio = "" if r["chi2_per_degree"] is None else f": {r['chi2_per_degree']:.3f}"
    lines = [
        f"{r['measurements']:,} measurements of {r['stars']:,} stars, {r['references']:,} with a reference "
        f"star; "
        f"{r['rejected']:,} rejected",
        r["mappings_are"],
        f"chi2 {r['chi2']:,.0f} for {r['degrees_of_freedom']:,} degrees of freedom{ratio}, in "
        f"{r['iterations']} "
        "iterations",
    ]
    if r["held_out"] and r["held_out"]["chi2_per_degree"] is not None:
        held = r["held_out"]
        lines.append(f"{held['stars']:,} held-out stars: chi2 per degree {held['chi2_per_degree']:.3f}")
    return "\n".join(lines + list(r["notes"]))


def _unsettled(outcome: Outcome) -> list[str]:
    """A note on what ran out of iterations: its numbers are not those of the best fit."""
    if not outcome.unsettled:
        return []
    last = outcome.iterations[-1]
    return [
        f"not converged: {', '.join(outcome.unsettled)} ran out of iterations, the last step being "
        f"{last.step_sigma:.2g} "
        "sigma; allow more (most_iterations)"
    ]


def peak_mb() -> int:
    """Most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
