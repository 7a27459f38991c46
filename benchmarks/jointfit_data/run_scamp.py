"""SCAMP on a data set, with what suits it best, as JSON: seconds, memory and its distance from the truth.

run_scamp.py DATASET [--degree 4] [--focdistort 1] [--match Y|N] [--threads 2] [--passes 1|2]
             [--crossid ARCSEC] [--extra "KEY VALUE,..."] [--timeout S]
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from commands import run


def main() -> None:
    options = _options()
    data = options.data.resolve()
    work = data / "scamp_out"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    names = sorted(path.name for path in (data / "ldac").glob("e*.cat"))
    for name in names:
        (work / name).symlink_to(data / "ldac" / name)
    settings = _settings(options, data)
    figures: dict[str, Any] = {"tool": "scamp", "data": data.name, "passes": options.passes}
    wall_s = cpu_s = peak_mb = 0.0
    for again in range(options.passes):
        if again:  # from its own first solution, with a closer match
            for head in work.glob("*.head"):
                head.replace(head.with_suffix(".ahead"))
            settings |= {"CROSSID_RADIUS": 0.6, "MATCH": "N"}
        (work / "scamp.conf").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        try:
            ran = run("scamp", *names, "-c", "scamp.conf", timeout_s=options.timeout, folder=work)
        except TimeoutError:
            print(json.dumps(figures | {"timeout_s": options.timeout}))
            return
        wall_s, cpu_s, peak_mb = wall_s + ran.wall_s, cpu_s + ran.cpu_s, max(peak_mb, ran.peak_mb)
        (work / "log").write_text(ran.output + ran.errors)
    figures |= {
        "code": ran.code,
        "wall_s": round(wall_s, 3),
        "cpu_s": round(cpu_s, 3),
        "peak_mb": round(peak_mb, 1),
    }
    if ran.code == 0:
        from evaluate import evaluate, heads_mapper  # not before: it would count as SCAMP's memory

        figures |= evaluate(data, heads_mapper(data, work))
    print(json.dumps(figures))


def _settings(options: argparse.Namespace, data: Path) -> dict[str, object]:
    settings: dict[str, object] = {
        "ASTREF_CATALOG": "FILE",
        "ASTREFCAT_NAME": data / "ldac/ref.cat",
        "ASTREFMAG_KEY": "MAG",
        "ASTREFMAGERR_KEY": "MAGERR",
        "MATCH": options.match,
        "POSITION_MAXERR": 0.2,
        "POSANGLE_MAXERR": 0.5,
        "PIXSCALE_MAXERR": 1.02,
        "CROSSID_RADIUS": options.crossid,
        "SOLVE_ASTROM": "Y",
        "PROJECTION_TYPE": "SAME",
        "STABILITY_TYPE": options.stability,
        "DISTORT_DEGREES": options.degree,
        "FOCDISTORT_DEGREE": options.focdistort,
        "ASTREF_WEIGHT": options.refweight,
        "ASTR_ACCURACY": 0.002,
        "ASTRCLIP_NSIGMA": 3.5,
        "SOLVE_PHOTOM": options.photom,
        "SN_THRESHOLDS": "5.0,100.0",
        "MOSAIC_TYPE": "UNCHANGED",
        "NTHREADS": options.threads,
        "VERBOSE_TYPE": "NORMAL",
        "WRITE_XML": "N",
        "CHECKPLOT_TYPE": "NONE",
        "CHECKPLOT_DEV": "NULL",
        "ASTRINSTRU_KEY": "FILTER,QRUNID",
        "FLAGS_MASK": "0x0",
        "INCLUDE_ASTREFCATALOG": "Y",
    }
    for pair in filter(None, options.extra.split(",")):
        key, value = pair.split()
        settings[key] = value
    return settings


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--degree", type=int, default=4)
    parser.add_argument("--focdistort", type=int, default=1)
    parser.add_argument("--match", default="N", choices=("Y", "N"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--crossid", type=float, default=2.5)
    parser.add_argument("--stability", default="INSTRUMENT")
    parser.add_argument("--photom", default="Y", choices=("Y", "N"))
    parser.add_argument("--refweight", type=float, default=1.0)
    parser.add_argument("--extra", default="", help="more of SCAMP's settings")
    parser.add_argument("--passes", type=int, default=1, help="2: again from the first solution")
    parser.add_argument("--timeout", type=float, default=1500)
    return parser.parse_args()


if __name__ == "__main__":
    main()
