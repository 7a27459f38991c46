"""Times from sheets to adjusted data: on the storm of May 2024, and on years of simulated spot baselines."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from obslab import conrad
from obslab.telemetry import absolutes, adjusted, baseline, flags
from obslab.telemetry.datasets import SPOTS

SPOTS_OF = {"0.5 years": 50, "5 years": 500, "50 years": 5000}


def measure(quick: bool) -> dict[str, Any]:
    rounds = 2 if quick else 5
    begin, end = conrad.span()
    with tempfile.TemporaryDirectory(prefix="obslab-bench-") as folder, conrad.archive(folder) as archive:
        raw, scalar = archive.dataset("WIC", conrad.VECTOR), archive.dataset("WIC", conrad.SCALAR)
        measurements = absolutes.measurements(archive)
    reduced = absolutes.reduce(measurements, raw, scalar, pier_difference_nt=conrad.PIER_DIFFERENCE_NT)
    found = baseline.spots(reduced, raw, scalar)
    adopted = baseline.fit(found, method="polynomial", degree=1, begin=begin, end=end).baseline
    day = raw.isel(time=slice(0, 86_400))
    field = adjusted.adjust(day, adopted)
    tasks: dict[str, Callable[[], object]] = {
        "reduce_20_measurements": lambda: absolutes.reduce(measurements, raw, scalar),
        "spots_20": lambda: baseline.spots(reduced, raw, scalar),
        "adjust_a_day": lambda: adjusted.adjust(day, adopted),
        "delta_f_of_a_day": lambda: adjusted.delta_f(field, scalar),
        "find_spikes_in_a_day": lambda: flags.find_spikes(day),
    }
    sizes = dict(list(SPOTS_OF.items())[: 2 if quick else 3])
    fits = {f"fit_{n}_spots_of_{years.replace(' ', '_')}": _fit(n) for years, n in sizes.items()}
    return {f"{what}_ms": _best_ms(task, rounds) for what, task in (tasks | fits).items()}


def _fit(spots: int) -> Callable[[], object]:
    table = _spots(spots)
    return lambda: baseline.fit(table, method="spline")


def _spots(count: int) -> xr.Dataset:
    """Two measurements a week, with a seasonal wave of some nT and 0.3 nT of scatter."""
    rng = np.random.default_rng(3)
    day = np.arange(count) * 3.5
    wave = np.sin(2 * np.pi * day / 365.25)[:, None] * np.array([3.0, 0.01, 2.0])
    sigma = np.array([0.3, 0.001, 0.3])
    base = np.array([23.0, 3.67, -21.0]) + wave + rng.normal(size=(count, 3)) * sigma
    text = np.full(count, "")
    return SPOTS.build(
        {"station": "WIC", "instrument": "lemi036", "frame": "hez", "pier_difference_nt": 0.0},
        time=np.datetime64("1970-01-01", "ns") + (day * 86_400e9).astype("timedelta64[ns]"),
        base=base,
        error=np.tile(sigma, (count, 1)),
        component=np.array(["h", "d", "z"]),
        unit=np.array(["nT", "deg", "nT"]),
        observer=text,
        source=text,
        used=np.ones(count, dtype=bool),
        note=text,
    )


def _best_ms(task: Callable[[], object], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        task()
        best = min(best, time.perf_counter() - began)
    return round(1e3 * best, 1)
