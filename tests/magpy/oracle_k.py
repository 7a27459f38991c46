"""MagPy's K indices and quiet curve by the FMI method: ``oracle_k.py LIMIT LONGITUDE [MINUTES.npz]``.

Without a file the storm that it brings along, filtered by itself; else the arrays time, x and y in it.
"""

import json
import os
import sys

import magpy
import numpy as np
from magpy.core import activity
from magpy.stream import DataStream, read


def of_arrays(path):
    arrays = np.load(path)
    stream = DataStream()
    columns = [np.array([]) for _ in stream.KEYLIST]
    columns[stream.KEYLIST.index("time")] = arrays["time"].astype("datetime64[us]").astype(object)
    for name in ("x", "y"):
        columns[stream.KEYLIST.index(name)] = arrays[name]
    columns[stream.KEYLIST.index("z")] = np.full(arrays["x"].size, 44_000.0)
    return DataStream(header={}, ndarray=np.asarray(columns, dtype=object))


def column(stream, name):
    return [float(value) for value in stream._get_column(name)]


def times(stream):
    return np.array(stream._get_column("time"), dtype="datetime64[ns]").astype(np.int64).tolist()


if len(sys.argv) > 3:
    minutes = of_arrays(sys.argv[3])
else:
    minutes = read(os.path.join(os.path.dirname(magpy.__file__), "examples", "example4.cdf")).filter()
options = {"K9_limit": int(sys.argv[1]), "longitude": float(sys.argv[2])}
k = activity.K_fmi(minutes, **options)
sq = activity.K_fmi(minutes, return_sq=True, **options)
print(
    json.dumps(
        {
            "time_ns": times(k),
            "k": column(k, "var1"),
            "sq_time_ns": times(sq),
            "sq_x": column(sq, "x"),
            "sq_y": column(sq, "y"),
        }
    )
)
