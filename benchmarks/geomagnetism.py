"""Figures of geomagnetic processing, as one JSON object; MagPy runs beside it, in `.venv-magpy`.

    python benchmarks/geomagnetism.py [--quick] [--only formats,filters,baselines]

formats    reading and writing a day of 1 s data as IAGA-2002 and ImagCDF, against MagPy
filters    one-minute values of a day, against MagPy; and how filter and K indices grow with the days
baselines  from sheets to adjusted data: reduce, spot baselines, fit, adjust, delta-F, spikes
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from typing import Any

from geomagnetism_parts import baselines, filters, formats

PARTS = {"formats": formats, "filters": filters, "baselines": baselines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(PARTS):
        parser.error(f"--only {', '.join(sorted(unknown))} is none of {', '.join(PARTS)}")
    figures: dict[str, Any] = {"machine": f"{os.cpu_count()} cores, Python {platform.python_version()}"}
    for part in chosen:
        figures |= {part: PARTS[part].measure(options.quick)}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
