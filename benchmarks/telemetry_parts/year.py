"""A year of 1 Hz vector samples with arrival times: its size on disk, and how fast it is asked about.

The samples are as noisy as a LEMI-25 (10 pT), the link as at Princess Elisabeth: 300 ms late with a tail,
ten short losses a month, and one outage of two days. Each question is put to an archive opened anew.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from obslab.telemetry.archive.store import Archive, open_archive
from obslab.telemetry.sample import FORMAT, Meta, Stream, as_datetime

STREAM = Stream("PEA", "lemi0001")
NS = 1_000_000_000
DAY_S = 86_400
BEGIN_S = 1_735_689_600  # 2025-01-01
OUTAGE_DAYS = (200, 201)
LOSSES_PER_DAY = 10 / 30

Question = Callable[[Archive], Any]


def measure(quick: bool) -> dict[str, Any]:
    days = 36 if quick else 365
    with tempfile.TemporaryDirectory(prefix="obslab-bench-") as name:
        path = Path(name) / "archive"
        began = time.perf_counter()
        samples, lost = _build(path, days)
        built_s = time.perf_counter() - began
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        begin, end = as_datetime(BEGIN_S * NS), as_datetime((BEGIN_S + days * DAY_S) * NS)
        what = (STREAM.station, STREAM.instrument, begin, end)
        questions: dict[str, Question] = {
            "open_and_dataset_lazy_s": lambda archive: archive.dataset(*what, lazy=True),
            "latency_by_day_s": lambda archive: archive.latency(*what, window="1d"),
            "latency_by_hour_s": lambda archive: archive.latency(*what, window="1h"),
            "gaps_s": lambda archive: archive.gaps(*what),
            "completeness_by_hour_s": lambda archive: archive.completeness(*what, by="hour"),
            "outages_s": lambda archive: archive.outages(*what),
            "losses_s": lambda archive: archive.losses(),
        }
        first_use_s = sum(_ask(path, question) for question in questions.values())
        took = {key: _ask(path, question) for key, question in questions.items()}
        with open_archive(path) as archive:
            gaps = archive.gaps(*what)
        return {
            "days": days,
            "samples": samples,
            "bytes_per_sample": round(size / samples, 2),
            "imported_samples_per_s": round(samples / built_s),
            "gaps_found": int(gaps.sizes["gap"]),
            "gaps_lost_samples": int(gaps.lost.sum()),
            "lost_samples_made": lost,
            **took,
            "all_for_the_first_time_with_imports_s": round(first_use_s, 3),
        }


def _ask(path: Path, question: Question) -> float:
    began = time.perf_counter()
    with open_archive(path) as archive:
        question(archive)
    return round(time.perf_counter() - began, 3)


def _build(path: Path, days: int) -> tuple[int, int]:
    """Samples stored, and those that were lost."""
    rng = np.random.default_rng(1)
    meta = Meta(
        format=FORMAT,
        valid_from=as_datetime(BEGIN_S * NS),
        kind="vector",
        components=("x", "y", "z"),
        scale=0.001,
        delay_s=0.3,
        orientation="XYZ",
    )
    samples = lost = 0
    with open_archive(path, write=True) as archive:
        for day in range(days):
            second = BEGIN_S + day * DAY_S + np.arange(DAY_S)
            there = np.full(DAY_S, day not in OUTAGE_DAYS)
            for _ in range(rng.poisson(LOSSES_PER_DAY)):
                at = rng.integers(DAY_S - 60)
                there[at : at + rng.integers(2, 60)] = False
            if there.any():
                second, bodies = second[there], _field(second, rng)[there].tobytes()
                late_ns = (300 + 150 + rng.gamma(9, 150 / 9, second.size)).astype(np.int64) * 1_000_000
                archive.import_day(STREAM, meta, second * NS, second * NS + late_ns, bodies)
            samples, lost = samples + int(there.sum()), lost + int((~there).sum())
    return samples, lost


def _field(second: Any, rng: np.random.Generator) -> Any:
    """A quiet day in counts of 1 pT: a constant, a daily variation, pulsations and noise."""
    phase = 2 * np.pi * second / DAY_S
    daily = np.stack([18e3 * np.cos(phase), 14e3 * np.sin(phase), 9e3 * np.cos(2 * phase)], axis=1)
    pulsation = 800 * np.sin(2 * np.pi * second / 45)[:, None] * [1.0, 0.7, 0.2]
    base = np.array([13_210_000, -3_105_000, -36_240_000])
    return np.rint(base + daily + pulsation + rng.normal(0, 10, (second.size, 3))).astype("<i4")
