"""MagPy's reduction of DI sheets with the variometer of its own example5.sec: `oracle_di.py SHEET...`."""

import contextlib
import json
import os
import sys

import magpy
from magpy import absolutes

EXAMPLES = os.path.join(os.path.dirname(magpy.__file__), "examples")
KEYS = {
    "x": "i",
    "y": "d",
    "z": "f",
    "var1": "offset_d",
    "var2": "delta_h",
    "var3": "epsilon_z_d",
    "var4": "offset_i",
    "var5": "epsilon_z_i",
    "t2": "scale",
    "dx": "base_h",
    "dy": "base_d",
    "dz": "base_z",
}

found = []
with contextlib.redirect_stdout(sys.stderr):
    for sheet in sys.argv[1:]:
        series = os.path.join(EXAMPLES, "example5.sec")
        result = absolutes.absolute_analysis(
            sheet,
            series,
            series,
            diid=os.path.basename(sheet)[-4:],
            stationid="WIC",
            pier="A2",
            alpha=0.0,
            deltaF=0.0,
        )
        one = {name: float(result._get_column(key)[0]) for key, name in KEYS.items()}
        found.append({**one, "time": result._get_column("time")[0].isoformat()})
print(json.dumps(found))
