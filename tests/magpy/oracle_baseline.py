"""What MagPy makes of the spot baselines of WIC in its example3: a cubic and a spline, as JSON.

Both are unweighted least squares; the curves are sampled at fractions of the time from first to last spot.
"""

import json

import numpy as np
from magpy.stream import example3, example7, read

KEYS = ["dx", "dy", "dz"]
KNOT_STEP = 0.2

spots = read(example3)._drop_nans("dx")
at = np.linspace(0.02, 0.98, 49)


def curves(**options):
    functions = spots.fit(KEYS, **options)[0]
    return [[float(functions["f" + key](x)) for x in at] for key in KEYS]


since_s = (spots.ndarray[0].astype("datetime64[ms]") - np.datetime64("1970-01-01", "ms")).astype(int) / 1000
print(
    json.dumps(
        {
            "time_s": since_s.tolist(),
            "spots": [[float(value) for value in spots._get_column(key)] for key in KEYS],
            "at": at.tolist(),
            "cubic": curves(fitfunc="poly", fitdegree=3),
            "spline": curves(fitfunc="spline", knotstep=KNOT_STEP),
            "dou": str(example7),
            "knots": np.arange(KNOT_STEP, 1 - KNOT_STEP, KNOT_STEP).tolist(),
        }
    )
)
