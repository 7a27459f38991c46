"""The Datasets of activity: every variable declared once."""

from __future__ import annotations

from obslab.schema import Schema, Var

K_INDEX = Schema(
    "k index",
    {
        "time": Var(("interval",), "datetime64[ns]", "", "Begin of the interval of three hours."),
        "k": Var(("interval",), "int8", "1", "K index, 0 to 9; -1 is not known, and note says why."),
        "range_x": Var(
            ("interval",),
            "float64",
            "nT",
            "Largest minus smallest x, without the quiet curve; NaN: not known.",
        ),
        "range_y": Var(("interval",), "float64", "nT", "The same of y."),
        "complete": Var(("interval",), "float64", "1", "Fraction of the interval's minutes that are there."),
        "note": Var(
            ("interval",), "str", "", "Why k is not known, or only provisional; empty when all is well."
        ),
        "sq_time": Var(("minute",), "datetime64[ns]", "", "Time of the quiet curve.", optional=True),
        "sq_x": Var(
            ("minute",), "float64", "nT", "Quiet curve of x, day by day; NaN: not known.", optional=True
        ),
        "sq_y": Var(("minute",), "float64", "nT", "Quiet curve of y.", optional=True),
    },
)
"""K indices in order of time, eight to each UTC day that has a sample; attributes ``station``,
``k9_limit_nt``, ``longitude_deg``, ``axes`` and ``method``."""

_FIGURE = ("period", "component")

STATISTICS = Schema(
    "statistics",
    {
        "time": Var(("period",), "datetime64[ns]", "", "Begin of the hour or day (UTC)."),
        "component": Var(("component",), "str", "", "As in the samples: x, h, d ..."),
        "unit": Var(("component",), "str", "", "nT or arcmin; of the figures of that component."),
        "mean": Var(_FIGURE, "float64", "", "Mean of the samples that are there."),
        "min": Var(_FIGURE, "float64", "", "Smallest of them."),
        "max": Var(_FIGURE, "float64", "", "Largest of them."),
        "std": Var(_FIGURE, "float64", "", "Their standard deviation about the mean (divided by n)."),
        "range": Var(_FIGURE, "float64", "", "Largest minus smallest."),
        "n": Var(_FIGURE, "int64", "1", "Samples that are there."),
        "complete": Var(_FIGURE, "float64", "1", "n as a fraction of what the cadence has room for."),
        "largest_range": Var(("component",), "float64", "", "The largest range of any hour or day."),
        "largest_range_at": Var(
            ("component",), "datetime64[ns]", "", "Begin of that hour or day; NaT: none."
        ),
    },
)
"""Figures of each hour or day from the first sample's to the last's, NaN where there are none; attributes
as the samples', and ``by``."""
