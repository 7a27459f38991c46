"""obslab on a data set in this process, as JSON: how long each step takes, and the full solution's accuracy.

    run_obslab.py DATASET [--rounds 5] [--fit JSON] [--colors] [--score] [--no-refit]

Association, fit and refit without the middle exposure, each the best of so many rounds after one that
compiles; wall clock and processor time are each the best. ``--fit`` are more arguments of ``jointfit.fit``.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from obslab import jointfit

MODEL: dict[str, Any] = {"model": "constrained", "device_degree": 4, "exposure_degree": 2}
REPORTED = (
    "chi2_per_degree",
    "degrees_of_freedom",
    "iterations",
    "rejected",
    "references_rejected",
    "mappings",
)


def main() -> None:
    options = _options()
    loaded, read_s = timed(lambda: jointfit.load(options.data), 1)
    asked = MODEL | json.loads(options.fit)
    fit = fitter(loaded, asked)
    figures: dict[str, Any] = {"measurements": int(loaded[0].sizes["measured"]), "read": read_s}
    association, figures["associate"] = timed(lambda: jointfit.associate(*loaded), options.rounds)
    result, figures["fit"] = timed(lambda: fit(association), options.rounds)
    figures["peak_mb"] = peak_mb()
    if options.refit:
        middle = int(loaded[2].sizes["exposure"]) // 2
        again, figures["refit"] = timed(lambda: result.refit(exclude={"exposure": middle}), options.rounds)
        del again
    figures |= {name: result.report[name] for name in REPORTED if name in result.report}
    if options.score:
        from evaluate import evaluate

        figures |= evaluate(options.data, result.sky, colors=options.colors)
    print(json.dumps(figures, default=str))


def fitter(loaded: Any, asked: dict[str, Any]) -> Callable[[Any], Any]:
    return lambda association: jointfit.fit(*loaded, association=association, **asked)


def timed(task: Callable[[], Any], rounds: int) -> tuple[Any, dict[str, float]]:
    """What it gives, and the best seconds; with more than one round the first does not count."""
    wall_s, cpu_s = [], []
    given: Any = None
    for _ in range(rounds + (rounds > 1)):
        del given  # two results would count twice as memory
        wall, cpu = time.perf_counter(), time.process_time()
        given = task()
        wall_s.append(time.perf_counter() - wall)
        cpu_s.append(time.process_time() - cpu)
    kept = slice(rounds > 1, None)
    return given, {"wall_s": round(min(wall_s[kept]), 4), "cpu_s": round(min(cpu_s[kept]), 4)}


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fit", default="{}", help="more arguments of the fit, a JSON object")
    parser.add_argument("--score", action="store_true", help="hold the full solution against the truth")
    parser.add_argument("--colors", action="store_true", help="with the stars' colors")
    parser.add_argument("--no-refit", dest="refit", action="store_false")
    return parser.parse_args()


if __name__ == "__main__":
    main()
