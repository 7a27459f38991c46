"""Run by MagPy's Python: seconds that its filter takes for three components of a day of 1 s data, as JSON."""

import json
import os
import sys
import time

import magpy
from magpy.stream import read

day = read(os.path.join(os.path.dirname(magpy.__file__), "examples", "example5.sec"))
took_s = []
for _ in range(int(sys.argv[1])):
    began_s = time.perf_counter()
    minutes = day.filter(keys=["x", "y", "z"])
    took_s.append(time.perf_counter() - began_s)
print(json.dumps({"took_s": took_s, "samples": int(day.length()[0]), "minutes": int(minutes.length()[0])}))
