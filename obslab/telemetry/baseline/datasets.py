"""The Datasets of baselines, besides SPOTS: residuals, jumps and drift."""

from __future__ import annotations

from obslab.schema import Schema, Var

RESIDUALS = Schema(
    "residuals of spot baselines",
    {
        "time": Var(("spot",), "datetime64[ns]", "", "Time of the absolute measurement."),
        "residual": Var(("spot", "component"), "float64", "", "Spot minus curve, in unit of component."),
        "fitted": Var(("spot", "component"), "float64", "", "The curve there, in unit of component."),
        "sigmas": Var(("spot", "component"), "float64", "1", "Residual by its robust standard deviation."),
        "component": Var(("component",), "str", "", "As in the spots."),
        "unit": Var(("component",), "str", "", "nT or deg."),
        "used": Var(("spot",), "bool", "", "Whether the curve was fitted to it."),
        "note": Var(("spot",), "str", "", "Why not."),
    },
)
"""What a fit leaves of each spot, used or not, in order of time."""

JUMPS = Schema(
    "jumps",
    {
        "component": Var(("jump",), "str", "", "The component that jumps."),
        "unit": Var(("jump",), "str", "", "Its unit, nT or deg."),
        "time": Var(("jump",), "datetime64[ns]", "", "The jump, or the middle between the spots around it."),
        "before": Var(("jump",), "datetime64[ns]", "", "Last spot before it."),
        "after": Var(("jump",), "datetime64[ns]", "", "First spot after it."),
        "size": Var(("jump",), "float64", "", "After minus before, in unit."),
        "error": Var(("jump",), "float64", "", "Its standard error, in unit."),
        "significance": Var(("jump",), "float64", "1", "Size by error, without sign."),
    },
)
"""Steps in spot baselines, those that stand out most first, or those of a curve in order of time."""

DRIFT = Schema(
    "drift of a baseline",
    {
        "component": Var(("component",), "str", "", "As in the baseline."),
        "unit": Var(("component",), "str", "", "nT or deg."),
        "per_year": Var(("component",), "float64", "", "Mean slope of the curve, jumps left out, in unit."),
        "error": Var(("component",), "float64", "", "Its standard error, in unit."),
        "per_year_nt": Var(("component",), "float64", "nT", "The same in nT; NaN: the field is unknown."),
        "error_nt": Var(("component",), "float64", "nT", "Its standard error."),
        "range_nt": Var(("component",), "float64", "nT", "Largest minus least value, with jumps."),
        "over_limit": Var(("component",), "bool", "", "Whether it drifts faster than INTERMAGNET's limit."),
    },
)
"""Drift of each component over the interval of validity, a year of 365.25 days."""
