"""How long the one-minute filter takes for a day of 1 s data, against MagPy's, and how that grows."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from obslab.telemetry.activity import k_index
from obslab.telemetry.datasets import samples_schema
from obslab.telemetry.filters import gaussian_minutes, one_minute

PYTHON = "OBSLAB_MAGPY_PYTHON"
HERE = Path(__file__).parent
NS = 1_000_000_000
DAY_S = 86_400
DAYS = (1, 10, 30)
MISSING = 0.01


def measure(quick: bool) -> dict[str, Any]:
    rounds = 3 if quick else 9
    day = simulated(1)
    ours_s = median_s(lambda: one_minute(day), 5 * rounds)
    gaps = day.where(np.random.default_rng(1).random(DAY_S) >= MISSING)
    theirs_s = magpy_s(rounds)
    return {
        "samples": DAY_S,
        "components": 3,
        "obslab_ms": round(1e3 * ours_s, 2),
        "obslab_with_1_percent_missing_ms": round(1e3 * median_s(lambda: one_minute(gaps), rounds), 2),
        "magpy_ms": round(1e3 * theirs_s, 1) if theirs_s else None,
        "ratio": round(theirs_s / ours_s) if theirs_s else None,
        "growth_ms": growth(DAYS[:2] if quick else DAYS, rounds),
    }


def growth(days: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of the filter and of K indices, for so many days of three components."""
    found = {}
    for count in days:
        seconds = simulated(count)
        time_ns = seconds.time.values.astype(np.int64)
        values = np.stack([seconds[name].values for name in "xyz"], axis=1)

        def filtering(time_ns: Any = time_ns, values: Any = values) -> object:
            return gaussian_minutes(time_ns, values)

        minutes = one_minute(seconds)

        def indexing(minutes: xr.Dataset = minutes) -> object:
            return k_index(minutes, 500.0, 15.87)

        found[f"{count} days"] = {
            "filter": round(1e3 * median_s(filtering, rounds), 2),
            "k": round(1e3 * median_s(indexing, rounds), 2),
        }
    return found


def simulated(days: int) -> xr.Dataset:
    """Days of 1 s data of x, y, z that wander as the field does."""
    count = days * DAY_S
    field = np.random.default_rng(1).normal(0, 0.02, (3, count)).cumsum(axis=1)
    return samples_schema(dict.fromkeys("xyz", "nT")).build(
        {"station": "WIC", "instrument": "lemi036", "cadence_s": 1.0},
        time=np.datetime64("2024-05-10", "ns") + np.arange(count) * np.timedelta64(NS, "ns"),
        **{name: 20_000.0 + column for name, column in zip("xyz", field, strict=True)},
    )


def magpy_s(rounds: int) -> float | None:
    """Seconds by MagPy for its own day of 1 s data, in its own environment; None where there is none."""
    python = os.environ.get(PYTHON) or str(HERE.parents[1] / ".venv-magpy/bin/python")
    if not Path(python).exists():
        return None
    done = subprocess.run(
        [python, str(HERE / "magpy_filter.py"), str(rounds)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONWARNINGS": "ignore"},
    )
    told = json.loads(done.stdout.strip().splitlines()[-1])
    if told["samples"] != DAY_S:
        raise SystemExit(f"MagPy's day has {told['samples']} samples, not {DAY_S}")
    return statistics.median(told["took_s"])


def median_s(call: Callable[[], object], rounds: int) -> float:
    call()  # the first time imports and allocates
    took_s = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        call()
        took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s)
