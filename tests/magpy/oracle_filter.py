"""MagPy's minutes of the day of seconds that it brings along; prints where that file is, too."""

import json
import os

import magpy
import numpy as np
from magpy.stream import read

path = os.path.join(os.path.dirname(magpy.__file__), "examples", "example5.sec")
minutes = read(path).filter()
times = np.array(minutes._get_column("time"), dtype="datetime64[ns]").astype(np.int64)
values = [[float(value) for value in minutes._get_column(name)] for name in ("x", "y", "z")]
print(json.dumps({"path": path, "time_ns": times.tolist(), "values": values}))
