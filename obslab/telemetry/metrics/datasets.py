"""The Datasets of metrics: every variable declared once.

Times are the station's, except where it says otherwise. Rows are in order of stream, then of time.
"""

from __future__ import annotations

from obslab.schema import Schema, Var

_STREAM = "Station, instrument and samplerate, as in PEA lemi0001 sec."

LATENCY = Schema(
    "latency",
    {
        "begin": Var(("window",), "datetime64[ns]", "", "Sample times from here on."),
        "end": Var(("window",), "datetime64[ns]", "", "Sample times before this."),
        "stream": Var(("window",), "str", "", _STREAM),
        "n": Var(("window",), "int64", "1", "Samples that came; a window with none is left out."),
        "delay_s": Var(("window",), "float64", "s", "The instrument's own known delay, in the mean."),
        "mean_s": Var(("window",), "float64", "s", "Arrival by the station's clock minus sample time, mean."),
        "p50_s": Var(("window",), "float64", "s", "Half of the samples came within this."),
        "p90_s": Var(("window",), "float64", "s", "90 % of the samples came within this."),
        "p99_s": Var(("window",), "float64", "s", "99 % of the samples came within this."),
        "max_s": Var(("window",), "float64", "s", "The latest of all."),
        "transport_p50_s": Var(("window",), "float64", "s", "p50 without the instrument's delay."),
        "transport_p90_s": Var(("window",), "float64", "s", "p90 without the instrument's delay."),
        "transport_p99_s": Var(("window",), "float64", "s", "p99 without the instrument's delay."),
        "within_target": Var(
            ("window",), "float64", "1", "Fraction within INTERMAGNET's target; NaN where there is none."
        ),
    },
)
"""Latency in windows of time; see ``latency.latency``."""

LATENCY_HISTOGRAM = Schema(
    "latency histogram",
    {
        "low_s": Var(("bin",), "float64", "s", "Latency from here on."),
        "high_s": Var(("bin",), "float64", "s", "Latency below this."),
        "n": Var(("bin",), "int64", "1", "Samples of all streams asked for."),
    },
)
"""The distribution of latency on a logarithmic scale; see ``latency.distribution``."""

GAPS = Schema(
    "gaps",
    {
        "stream": Var(("gap",), "str", "", _STREAM),
        "begin": Var(("gap",), "datetime64[ns]", "", "Time of the first sample that is missing."),
        "end": Var(("gap",), "datetime64[ns]", "", "Time of the first sample that is there again."),
        "duration_s": Var(("gap",), "float64", "s", "From begin to end."),
        "lost": Var(("gap",), "int64", "1", "Samples missing."),
        "cause": Var(
            ("gap",),
            "str",
            "",
            "station, link, bridge, broker, rejected, lost at source or unknown.",
        ),
        "state": Var(("gap",), "str", "", "open, asked (for backfill) or lost at source."),
    },
)
"""Stretches with samples missing now; see ``gaps.gaps``."""

COMPLETENESS = Schema(
    "completeness",
    {
        "begin": Var(("interval",), "datetime64[ns]", "", "Sample times from here on."),
        "end": Var(("interval",), "datetime64[ns]", "", "Sample times before this."),
        "stream": Var(("interval",), "str", "", _STREAM),
        "expected": Var(("interval",), "int64", "1", "Samples there should be, by cadence or schedule."),
        "present": Var(("interval",), "int64", "1", "Samples there are, at most those expected."),
        "fraction": Var(("interval",), "float64", "1", "present / expected; NaN when none are expected."),
        "ok": Var(
            ("interval",), "bool", "", "Whether INTERMAGNET's rule of 90 % holds, or none are expected."
        ),
    },
)
"""Samples present by minute, hour, day or month; see ``completeness.completeness``."""

OUTAGES = Schema(
    "outages",
    {
        "stream": Var(("outage",), "str", "", _STREAM),
        "begin": Var(("outage",), "datetime64[ns]", "", "Time of the first sample not delivered in time."),
        "end": Var(
            ("outage",),
            "datetime64[ns]",
            "",
            "When delivery went on, by the station's clock; NaT: still out.",
        ),
        "duration_s": Var(("outage",), "float64", "s", "From begin to end; NaN while it lasts."),
        "late": Var(("outage",), "int64", "1", "Samples of it that came later."),
        "lost": Var(("outage",), "int64", "1", "Samples of it that never came so far."),
        "cause": Var(("outage",), "str", "", "As of a gap."),
    },
)
"""Stretches of samples not delivered in time, whether or not they came later; see ``outages.outages``."""

LOSSES = Schema(
    "losses",
    {
        "month": Var(("month",), "datetime64[ns]", "", "First instant of the month."),
        "stream": Var(("month",), "str", "", _STREAM),
        "losses": Var(("month",), "int64", "1", "Outages that began in it."),
        "out_s": Var(("month",), "float64", "s", "How long they lasted altogether."),
    },
)
"""Connection losses by month; see ``outages.losses``. ``month`` repeats for each stream."""

CLOCKS = Schema(
    "clocks",
    {
        "time": Var(("reading",), "datetime64[ns]", "", "When the clocks were compared, by the archive's."),
        "unit": Var(("reading",), "str", "", "Station and unit, as in PEA lemi0001."),
        "offset_s": Var(("reading",), "float64", "s", "How far the unit's clock was ahead."),
        "round_trip_s": Var(("reading",), "float64", "s", "The offset is good to half of this."),
    },
)
"""Clock comparisons; see ``clocks.clocks``."""

AGES = Schema(
    "ages",
    {
        "stream": Var(("stream",), "str", "", _STREAM),
        "newest": Var(("stream",), "datetime64[ns]", "", "Time of the newest sample."),
        "age_s": Var(("stream",), "float64", "s", "How old it is by the station's clock."),
        "target_s": Var(("stream",), "float64", "s", "INTERMAGNET's target; NaN where there is none."),
        "ok": Var(("stream",), "bool", "", "Whether the age is within the target, or there is none."),
    },
)
"""How old the newest sample of each stream is; see ``clocks.ages``."""
