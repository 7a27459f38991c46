"""Figures of the telemetry part, as one JSON object.

    python benchmarks/telemetry.py [--quick] [--only rates,recovery,year,memory]

rates     how fast the collector stores, against a subscriber that keeps nothing; age of a sample
recovery  two days of vector and scalar samples over an emulated link of 56 kbit/s, live ones beside them
year      a year of 1 Hz samples: bytes on disk, and how long it takes to ask about it
memory    of a collector that takes 100 streams for an hour of their time
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from typing import Any

from telemetry_parts import memory, rates, recovery, year

PARTS = {"rates": rates, "recovery": recovery, "year": year, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, for a first look")
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
